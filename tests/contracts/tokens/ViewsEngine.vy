# pragma version 0.4.3
# pragma evm-version prague
"""
@title ViewsEngine: a test double of the engine, as its views see it
@license Apache-2.0
@notice For tests only: markets are what somebody says they are.
"""

struct Market:
    sizes: uint256
    long_basis: int256
    short_basis: int256
    flow: uint256
    rules: uint256
    settlement: uint256
    pot: int256


markets: HashMap[uint256, Market]
market_count: public(uint256)
debts: public(uint256)


@deploy
def __init__():
    """
    @notice There is no market.
    """
    pass


@external
def set_market(market: uint256, found: Market):
    """
    @notice Say what a market is.
    """
    self.markets[market] = found
    self.market_count = max(self.market_count, market + 1)


@external
def set_debts(debts: uint256):
    """
    @notice Say what traders owe.
    """
    self.debts = debts


@external
@view
def market(market: uint256) -> (uint256, int256, int256, uint256, uint256, uint256, int256):
    """
    @return What was set.
    """
    found: Market = self.markets[market]
    return (
        found.sizes,
        found.long_basis,
        found.short_basis,
        found.flow,
        found.rules,
        found.settlement,
        found.pot,
    )
