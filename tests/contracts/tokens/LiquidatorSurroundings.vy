# pragma version 0.4.3
# pragma evm-version prague
"""
@title LiquidatorSurroundings: a test double of engine, feed, oracle and pool, as the liquidator sees them
@license Apache-2.0
@notice For tests only: it is as healthy, as late and as rich as the test says, believes every signature, and writes
        down what it was asked.
"""

from contracts.interfaces import IMarginEngine
from contracts.interfaces import IRiskOracle

event Liquidate:
    position_id: uint256
    size: uint256
    penalty_ppm: uint256
    available: uint256
    reward: uint256
    recipient: address

event Adjust:
    position_id: uint256
    from_ppm: uint256
    target_ppm: uint256
    ramp_s: uint256
    ai_epoch: uint256

event Cut:
    market: uint256
    long: bool
    keep_e27: uint256


struct Side:
    sizes: uint256
    long_basis: int256
    short_basis: int256
    flow: uint256


struct Mark:
    price: uint256
    average: uint256
    word: uint256


healths: HashMap[uint256, IMarginEngine.Health]
side: Side
after_cut: Side
assets: uint256
assets_after_cut: uint256
kept_e27: uint256
marks: HashMap[uint256, Mark]
cross_markets: DynArray[uint256, 10]
margin_word: uint256
rules_word: uint256
resumed_s: uint256
resumes_s: uint256


@deploy
def __init__():
    """
    @notice Nobody holds anything.
    """
    pass


@external
def set_health(position_id: uint256, health: IMarginEngine.Health):
    """
    @notice Give a position.
    """
    self.healths[position_id] = health


@external
def set_times(resumed_s: uint256, resumes_s: uint256):
    """
    @notice Say when prices came back, and when liquidation goes on.
    """
    self.resumed_s = resumed_s
    self.resumes_s = resumes_s


@external
def set_mark(market: uint256, mark: Mark):
    """
    @notice Give a market its price.
    """
    self.marks[market] = mark


@external
def set_words(margin: uint256, rules: uint256):
    """
    @notice Give every market its parameters and rules.
    """
    self.margin_word = margin
    self.rules_word = rules


@external
def set_cross(markets: DynArray[uint256, 10]):
    """
    @notice Say in which markets everybody has a cross position.
    """
    self.cross_markets = markets


@external
def set_side(side: Side, assets: uint256, kept_e27: uint256):
    """
    @notice Give every market's aggregates, the pool's assets, and what is kept of the side so far.
    """
    self.side = side
    self.after_cut = side
    self.assets = assets
    self.assets_after_cut = assets
    self.kept_e27 = kept_e27


@external
def set_after_cut(side: Side, assets: uint256):
    """
    @notice Say what a cut leaves, whatever is asked.
    """
    self.after_cut = side
    self.assets_after_cut = assets


@external
@view
def health(position_id: uint256) -> IMarginEngine.Health:
    """
    @return What was set.
    """
    return self.healths[position_id]


@external
def liquidate(
    position_id: uint256,
    size: uint256,
    penalty_ppm: uint256,
    available: uint256,
    reward: uint256,
    recipient: address,
) -> IMarginEngine.Liquidated:
    """
    @notice Write down, and raise the version as the engine does.
    """
    self.healths[position_id].version += 1
    log Liquidate(
        position_id=position_id,
        size=size,
        penalty_ppm=penalty_ppm,
        available=available,
        reward=reward,
        recipient=recipient,
    )
    return empty(IMarginEngine.Liquidated)


@external
def adjust(position_id: uint256, from_ppm: uint256, target_ppm: uint256, ramp_s: uint256, ai_epoch: uint256):
    """
    @notice Write down, and raise the version as the engine does.
    """
    self.healths[position_id].version += 1
    log Adjust(
        position_id=position_id, from_ppm=from_ppm, target_ppm=target_ppm, ramp_s=ramp_s, ai_epoch=ai_epoch
    )


@external
def cut(market: uint256, long: bool, keep_e27: uint256) -> uint256:
    """
    @notice Write down; leave what was set.
    """
    self.side = self.after_cut
    paid: uint256 = self.assets - self.assets_after_cut
    self.assets = self.assets_after_cut
    log Cut(market=market, long=long, keep_e27=keep_e27)
    return paid


@external
@view
def market(market: uint256) -> (uint256, int256, int256, uint256, uint256, uint256, int256):
    """
    @return What was set.
    """
    side: Side = self.side
    return side.sizes, side.long_basis, side.short_basis, side.flow, self.rules_word, 0, 0


@external
@view
def cut_at(market: uint256, long: bool, number: uint256) -> (uint256, int256):
    """
    @return What was set.
    """
    return self.kept_e27, 0


@external
@view
def account(account: address) -> (uint256, int256):
    """
    @return The account's word with its open cross markets.
    """
    word: uint256 = len(self.cross_markets) << 92
    for i: uint256 in range(10):
        if i < len(self.cross_markets):
            word |= self.cross_markets[i] << (96 + 16 * i)
    return word, 0


@external
@view
def position(position_id: uint256) -> (uint256, uint256, uint256):
    """
    @return Its side, alone.
    """
    return convert(self.healths[position_id].long, uint256) << 248, 0, 0


@external
@view
def rules(market: uint256) -> uint256:
    """
    @return What was set.
    """
    return self.rules_word


@external
@view
def mark(market: uint256) -> (uint256, uint256, uint256):
    """
    @return What was set.
    """
    found: Mark = self.marks[market]
    return found.price, found.average, found.word


@external
@view
def margin(market: uint256) -> uint256:
    """
    @return What was set.
    """
    return self.margin_word


@external
@view
def resumed_at(market: uint256) -> uint256:
    """
    @return What was set.
    """
    return self.resumed_s


@external
@view
def liquidation_resumes_at(market: uint256) -> uint256:
    """
    @return What was set.
    """
    return self.resumes_s


@external
@view
def verify_position_action(
    action: IRiskOracle.PositionAction, signatures: DynArray[bytes32, 32]
) -> bytes32:
    """
    @return A hash of the action.
    """
    return keccak256(abi_encode(action))


@external
@view
def slots(first: uint256, count: uint256) -> DynArray[uint256, 256]:
    """
    @return A slot of class 3.
    """
    return [3 << 121]


@external
@view
def bounds(class_id: uint256) -> uint256:
    """
    @return A notice of 1,000 s times the class.
    """
    return (class_id * 1_000) << 95


@external
@view
def ai_epoch() -> uint256:
    """
    @return The seventh.
    """
    return 7


@external
@view
def assets_for_limits() -> uint256:
    """
    @return What was set.
    """
    return self.assets
