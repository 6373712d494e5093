"""LiquidityPool's money in Python: what shares are worth, entering, leaving, and who bears a loss.

Pure, integer, and bit for bit what contracts/LiquidityPool.vy computes. Requests and cooldowns are
not here: an entering or leaving is the moment at which a request is executed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from contracts.refusals import Refusal
from contracts.units import UnitError, UsdcE6, ceil_div, floor_div, int_fault

VIRTUAL_SHARES: Final = 10**6
"""Shares that nobody holds, beside one unit of assets that nobody gave."""
MAX_AMOUNT: Final = 2**96 - 1
MAX_SHARES: Final = 2**150
_NOTHING: Final = UsdcE6(0)
_MAX_ASKED: Final = 2**256 - 1


class Tranche(IntEnum):
    """Whose shares: the pool's, or those of the insurance, which loses first."""

    POOL = 1
    INSURANCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What open positions mean to the pool, as the engine's views say."""

    debts: UsdcE6 = _NOTHING
    profit_high: int = 0
    profit_low: int = 0
    reserve: UsdcE6 = _NOTHING

    def __post_init__(self) -> None:
        _check("debts", self.debts)
        _check("reserve", self.reserve)
        if self.profit_low > self.profit_high:
            raise UnitError(f"profit_low {self.profit_low} is above profit_high {self.profit_high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """What `totals()` gives, in its order."""

    assets: UsdcE6 = _NOTHING
    insurance: UsdcE6 = _NOTHING
    pending: UsdcE6 = _NOTHING
    shares: int = 0
    insurance_shares: int = 0

    def __post_init__(self) -> None:
        _check("assets", self.assets)
        _check("insurance", self.insurance)
        _check("pending", self.pending, _MAX_ASKED)
        _check("shares", self.shares, MAX_SHARES)
        _check("insurance_shares", self.insurance_shares, MAX_SHARES)

    def supply(self, tranche: Tranche) -> int:
        """Give a tranche's shares."""
        return self.shares if tranche is Tranche.POOL else self.insurance_shares

    def own(self, tranche: Tranche) -> UsdcE6:
        """Give a tranche's own money."""
        return self.assets if tranche is Tranche.POOL else self.insurance


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Nothing happened, and why."""

    refusal: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A deposit became shares."""

    state: PoolState
    shares: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Shares became money."""

    state: PoolState
    paid: UsdcE6


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Who bore what; `to_vault` is what traders are owed more, negative when less."""

    state: PoolState
    covered: UsdcE6
    drawn: UsdcE6
    to_vault: int


def shares_for(assets: int, supply: int, worth: int) -> int:
    """Give the shares that assets buy, rounded down: against whoever enters."""
    return floor_div(assets * (supply + VIRTUAL_SHARES), worth + 1)


def assets_for(shares: int, supply: int, worth: int) -> UsdcE6:
    """Give what shares are worth, rounded down: against whoever leaves.

    All shares of a supply together are never worth more than `worth`.
    """
    return UsdcE6(floor_div(shares * (worth + 1), supply + VIRTUAL_SHARES))


def assets_to_mint(shares: int, supply: int, worth: int) -> UsdcE6:
    """Give the least that buys so many shares, rounded up: `previewMint`."""
    return UsdcE6(ceil_div(shares * (worth + 1), supply + VIRTUAL_SHARES))


def shares_to_withdraw(assets: int, supply: int, worth: int) -> int:
    """Give the fewest shares that are worth so much, rounded up: `previewWithdraw`."""
    return ceil_div(assets * (supply + VIRTUAL_SHARES), worth + 1)


def entering_value(state: PoolState, tranche: Tranche, exposure: Exposure) -> int | Refused:
    """Give what a tranche is worth to whoever enters: the high value.

    A pool that owes traders all it has is not empty: whoever entered at 0 would own what it wins
    back, so it refuses.
    """
    if tranche is Tranche.INSURANCE:
        return state.insurance
    worth = state.assets + exposure.debts - exposure.profit_low
    if worth <= 0 and exposure.profit_low > 0:
        return Refused(refusal=Refusal.POOL_UNDER_WATER)
    return worth


def leaving_value(state: PoolState, tranche: Tranche, exposure: Exposure) -> UsdcE6:
    """Give what a tranche is worth to whoever leaves: the low value.

    Debts and traders' losses are not counted before they are paid: some are beyond what the traders
    have, and whoever left first would be paid them by those who stay.
    """
    if tranche is Tranche.INSURANCE:
        return state.insurance
    return UsdcE6(max(0, state.assets - max(0, exposure.profit_high)))


def middle_value(state: PoolState, debts: UsdcE6, profit: int) -> UsdcE6:
    """Give `totalAssets()`: the pool's value at the last accepted marks."""
    return UsdcE6(max(0, state.assets + debts - profit))


def request_deposit(state: PoolState, amount: UsdcE6) -> PoolState:
    """Let a deposit wait: its money is in neither tranche."""
    _check("amount", amount)
    return replace(state, pending=UsdcE6(state.pending + amount))


def cancel_deposit(state: PoolState, amount: UsdcE6) -> PoolState:
    """Give a waiting deposit back."""
    return replace(state, pending=UsdcE6(state.pending - amount))


def enter(
    state: PoolState, tranche: Tranche, amount: UsdcE6, exposure: Exposure
) -> Entered | Refused:
    """Turn a waiting deposit into shares."""
    worth = entering_value(state, tranche, exposure)
    if isinstance(worth, Refused):
        return worth
    supply = state.supply(tranche)
    shares = shares_for(amount, supply, worth)
    if shares == 0:
        return Refused(refusal=Refusal.SHARES_ZERO)
    if shares > MAX_SHARES - supply:
        return Refused(refusal=Refusal.SHARES_EXHAUSTED)
    if state.own(tranche) + amount > MAX_AMOUNT:
        return Refused(refusal=Refusal.AMOUNT_TOO_LARGE)
    waiting = cancel_deposit(state, amount)
    return Entered(state=_changed(waiting, tranche, amount, shares), shares=shares)


def leave(state: PoolState, tranche: Tranche, shares: int, exposure: Exposure) -> Left | Refused:
    """Turn shares into money, as long as open profit stays payable."""
    worth = leaving_value(state, tranche, exposure)
    paid = assets_for(shares, state.supply(tranche), worth)
    if paid == 0:
        return Refused(refusal=Refusal.ASSETS_ZERO)
    behind = 0 if tranche is Tranche.POOL else state.insurance
    if paid + exposure.reserve > state.assets + behind:
        return Refused(refusal=Refusal.RESERVE_NEEDED)
    return Left(state=_changed(state, tranche, -paid, -shares), paid=paid)


def settle(
    state: PoolState, to_pool: int, to_insurance: UsdcE6, shortfall: UsdcE6
) -> Settled | Refused:
    """Book an action of traders: insurance makes a shortfall good first, the pool bears the rest.

    A profit is paid from assets; where they end, insurance stands in.
    """
    insurance = state.insurance + to_insurance
    covered = min(shortfall, insurance)
    assets = state.assets + to_pool + covered
    drawn = max(0, -assets)
    if drawn > insurance - covered:
        return Refused(refusal=Refusal.POOL_EXHAUSTED)
    assets, insurance = assets + drawn, insurance - covered - drawn
    if max(assets, insurance) > MAX_AMOUNT:
        return Refused(refusal=Refusal.AMOUNT_TOO_LARGE)
    return Settled(
        state=replace(state, assets=UsdcE6(assets), insurance=UsdcE6(insurance)),
        covered=UsdcE6(covered),
        drawn=UsdcE6(drawn),
        to_vault=-to_pool - to_insurance,
    )


def insure(state: PoolState, amount: UsdcE6) -> PoolState:
    """Add to insurance."""
    return replace(state, insurance=UsdcE6(state.insurance + amount))


def _changed(state: PoolState, tranche: Tranche, amount: int, shares: int) -> PoolState:
    """Move a tranche's money and shares."""
    if tranche is Tranche.POOL:
        return replace(state, assets=UsdcE6(state.assets + amount), shares=state.shares + shares)
    return replace(
        state,
        insurance=UsdcE6(state.insurance + amount),
        insurance_shares=state.insurance_shares + shares,
    )


def _check(name: str, value: object, high: int = MAX_AMOUNT) -> None:
    """Refuse what is no exact int from 0 to `high`."""
    fault = int_fault(value, 0, high)
    if fault:
        raise UnitError(f"{name} {fault}")
