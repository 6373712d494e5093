# pragma version 0.4.3
# pragma evm-version prague
"""
@title DeskEngine: a test double of the engine, as the desk sees it
@license Apache-2.0
@notice For tests only: it believes everything and writes down what it was asked.
"""

from contracts.interfaces import IMarginEngine

event Held:
    account: indexed(address)
    nonce: uint256
    mode: uint256
    fee: uint256
    margin: uint256

event Unheld:
    account: indexed(address)
    mode: uint256
    fee: uint256
    margin: uint256

event Ordered:
    order: IMarginEngine.Order

event Retuned:
    account: indexed(address)
    market: uint256
    mode: uint256
    nonce: uint256
    leverage_e2: uint256
    managed: bool
    maintenance_ppm: uint256
    ceiling_ppm: uint256


rules: public(HashMap[uint256, uint256])
words: HashMap[uint256, uint256]
price: uint256
failing: bool


@deploy
def __init__():
    """
    @notice No market has rules, nobody holds a position.
    """
    pass


@external
def set_rules(market: uint256, rules: uint256):
    """
    @notice Give a market rules.
    """
    self.rules[market] = rules


@external
def set_position(id: uint256, word: uint256, price: uint256):
    """
    @notice Give a position, and the price of everything.
    """
    self.words[id] = word
    self.price = price


@external
def set_failing(failing: bool):
    """
    @notice Refuse to execute, or do not.
    """
    self.failing = failing


@external
@view
def position(id: uint256) -> (uint256, uint256, uint256):
    """
    @return What was set.
    """
    return self.words[id], 0, 0


@external
@view
def health(id: uint256) -> IMarginEngine.Health:
    """
    @return What was set.
    """
    found: IMarginEngine.Health = empty(IMarginEngine.Health)
    found.size = self.words[id] & (2**120 - 1)
    found.long = (self.words[id] >> 248) & 1 == 1
    found.price = self.price
    return found


@external
def hold(account: address, nonce: uint256, market: uint256, mode: uint256, fee: uint256, margin: uint256):
    """
    @notice Write down.
    """
    log Held(account=account, nonce=nonce, mode=mode, fee=fee, margin=margin)


@external
def unhold(account: address, mode: uint256, fee: uint256, margin: uint256):
    """
    @notice Write down.
    """
    log Unheld(account=account, mode=mode, fee=fee, margin=margin)


@external
def execute(order: IMarginEngine.Order):
    """
    @notice Write down.
    """
    assert not self.failing, "told to"
    log Ordered(order=order)


@external
def retune(
    account: address,
    market: uint256,
    mode: uint256,
    nonce: uint256,
    leverage_e2: uint256,
    managed: bool,
    maintenance_ppm: uint256,
    ceiling_ppm: uint256,
):
    """
    @notice Write down.
    """
    log Retuned(
        account=account,
        market=market,
        mode=mode,
        nonce=nonce,
        leverage_e2=leverage_e2,
        managed=managed,
        maintenance_ppm=maintenance_ppm,
        ceiling_ppm=ceiling_ppm,
    )
