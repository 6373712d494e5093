# pragma version 0.4.3
# pragma evm-version prague
"""
@title EngineStub: a test double of the engine and its views, as vault and pool see them
@license Apache-2.0
@notice For tests only: whoever asks may settle and say what positions are worth. It has the real lock, and nothing
        else that is real.
"""

from contracts import refusals
from contracts.interfaces import ICollateralVault
from contracts.interfaces import IExposure
from contracts.interfaces import ILiquidityPool
from contracts.interfaces import ILock

implements: IExposure
implements: ILock

vault: ICollateralVault
pool: ILiquidityPool
locked: transient(bool)

debts: uint256
profit_high: int256
profit_low: int256
reserve: uint256
observed_ms: uint256
profit: int256
withdrawals_open: public(bool)


@deploy
def __init__(vault: address, pool: address):
    """
    @notice Withdrawals are open, nobody holds a position, prices are of any time.
    """
    self.vault = ICollateralVault(vault)
    self.pool = ILiquidityPool(pool)
    self.withdrawals_open = True
    self.observed_ms = max_value(uint256)


@external
def enter():
    """
    @notice Take the lock.
    """
    assert msg.sender in [self.vault.address, self.pool.address], "not a part of the system"
    assert not self.locked, "locked"
    self.locked = True


@external
def leave():
    """
    @notice Give the lock back.
    """
    assert msg.sender in [self.vault.address, self.pool.address], "not a part of the system"
    assert self.locked, "not locked"
    self.locked = False


@external
@view
def exposure(since_ms: uint256) -> (uint256, int256, int256, uint256):
    """
    @notice What was set, unless the price is older than asked for.
    """
    if self.observed_ms < since_ms:
        refusals.refuse(refusals.OBSERVATION_TOO_OLD)
    return self.debts, self.profit_high, self.profit_low, self.reserve


@external
@view
def exposure_at_last_prices() -> (uint256, int256):
    """
    @notice What was set, whatever the age of prices.
    """
    return self.debts, self.profit


@external
def set_exposure(debts: uint256, high: int256, low: int256, reserve: uint256, profit: int256):
    """
    @notice Say what positions are worth.
    """
    self.debts = debts
    self.profit_high = high
    self.profit_low = low
    self.reserve = reserve
    self.profit = profit


@external
def set_observed(observed_ms: uint256):
    """
    @notice Say when prices were observed.
    """
    self.observed_ms = observed_ms


@external
def set_withdrawals(open: bool):
    """
    @notice Pause withdrawals, or do not.
    """
    self.withdrawals_open = open


@external
def pull(account: address, amount: uint256):
    """
    @notice Take collateral.
    """
    self._lock()
    extcall self.vault.pull(account, amount)
    self.locked = False


@external
def pay(account: address, amount: uint256):
    """
    @notice Pay collateral out.
    """
    self._lock()
    extcall self.vault.pay(account, amount)
    self.locked = False


@external
def settle(to_pool: int256, to_insurance: uint256, shortfall: uint256) -> uint256:
    """
    @notice Settle with the pool.
    @return Gas that the call took.
    """
    self._lock()
    pool: ILiquidityPool = self.pool
    before: uint256 = msg.gas
    extcall pool.settle(to_pool, to_insurance, shortfall)
    used: uint256 = before - msg.gas
    self.locked = False
    return used


@external
def insure(amount: uint256):
    """
    @notice Count tokens that were sent to the pool as insurance.
    """
    self._lock()
    extcall self.pool.insure(amount)
    self.locked = False


@internal
def _lock():
    """
    @notice Take the lock for a call of the engine's own.
    """
    assert not self.locked, "locked"
    self.locked = True
