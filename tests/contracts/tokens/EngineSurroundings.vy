# pragma version 0.4.3
# pragma evm-version prague
"""
@title EngineSurroundings: a test double of feed, oracle, vault and pool in one, as the engine sees them
@license Apache-2.0
@notice For tests only: prices, parameters, pauses and assets are what the test says. It moves no tokens, and books as
        vault and pool do.
"""

from contracts import refusals
from contracts.interfaces import IMarginEngine

marks: HashMap[uint256, uint256[3]]
margins: HashMap[uint256, uint256]
stops: HashMap[uint256, uint256]
paused: bool
assets: uint256
insurance: uint256
credited: int256
calls_back: bool


@deploy
def __init__():
    """
    @notice Poor, open, and without a market.
    """
    pass


@external
def set_market(market: uint256, words: uint256[3], margin: uint256):
    """
    @notice Give a market its price, average and mark's word, and its parameters.
    """
    self.marks[market] = words
    self.margins[market] = margin


@external
def set_outside(paused: bool, epoch: uint256, stopped_s: uint256):
    """
    @notice Pause withdrawals, and end an AI-input epoch.
    """
    self.paused = paused
    self.stops[epoch] = stopped_s


@external
def set_pool(assets: uint256, insurance: uint256):
    """
    @notice Fund the pool.
    """
    self.assets = assets
    self.insurance = insurance


@external
def set_calls_back(calls_back: bool):
    """
    @notice Have the next transfer call the engine again, as a token with hooks would.
    """
    self.calls_back = calls_back


@external
@view
def mark(market: uint256) -> (uint256, uint256, uint256):
    """
    @return What was set.
    """
    words: uint256[3] = self.marks[market]
    return words[0], words[1], words[2]


@external
@view
def margin(market: uint256) -> uint256:
    """
    @return What was set; refuses a market that was not.
    """
    if self.margins[market] == 0:
        refusals.refuse(refusals.UNKNOWN_MARKET)
    return self.margins[market]


@external
@view
def withdrawals_open() -> bool:
    """
    @return Unless the test said otherwise.
    """
    return not self.paused


@external
@view
def ramp_elapsed_s(epoch: uint256, begun_s: uint256) -> uint256:
    """
    @return By what was set; an epoch runs that has no end.
    """
    if self.stops[(epoch + 63) % 64] > begun_s:
        return 0
    stopped_s: uint256 = min(self.stops[epoch], block.timestamp)
    if stopped_s == 0:
        stopped_s = block.timestamp
    return max(stopped_s, begun_s) - begun_s


@external
@view
def assets_for_limits() -> uint256:
    """
    @return The pool's assets.
    """
    return self.assets


@external
@view
def money() -> (uint256, uint256, int256):
    """
    @return The pool's assets, its insurance, and what traders are owed.
    """
    return self.assets, self.insurance, self.credited


@external
def pull(account: address, amount: uint256):
    """
    @notice Count what came in.
    """
    if self.calls_back:
        extcall IMarginEngine(msg.sender).deposit(1)
    self.credited += convert(amount, int256)


@external
def pay(account: address, amount: uint256):
    """
    @notice Count what went out.
    """
    self.credited -= convert(amount, int256)


@external
def settle(to_pool: int256, to_insurance: uint256, shortfall: uint256):
    """
    @notice As LiquidityPool books it.
    """
    insurance: uint256 = self.insurance + to_insurance
    covered: uint256 = min(shortfall, insurance)
    assets: int256 = convert(self.assets, int256) + to_pool + convert(covered, int256)
    left: int256 = convert(insurance - covered, int256) + min(assets, 0)
    if left < 0:
        refusals.refuse(refusals.POOL_EXHAUSTED)
    self.assets = convert(max(assets, 0), uint256)
    self.insurance = convert(left, uint256)
    self.credited -= to_pool + convert(to_insurance, int256)


@external
def pass_lock(engine: address, entering: bool):
    """
    @notice Take or give back the engine's lock, as vault and pool may.
    """
    if entering:
        extcall IMarginEngine(engine).enter()
    else:
        extcall IMarginEngine(engine).leave()
