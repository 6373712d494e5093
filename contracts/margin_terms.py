"""Caps and ratios of the margin law: what a position may be opened with, and what it then keeps.

Pure and integer; the units of margin.py. A cap is rounded down; a ramped ratio toward its start.
"""

from __future__ import annotations

from typing import Final

from contracts.margin import check
from contracts.messages import Adjustment
from contracts.units import ONE_X, PPM, LeverageE2, Ppm, UnitError, UsdcE6, floor_div, ppm_ceil

OPEN_INTEREST_SHARE_PPM: Final = Ppm(100_000)  # the policy signs ten size scales of open interest
_ONE_E2_PPM: Final = ONE_X * PPM  # 1x × 100 %


def leverage_cap(
    cap_e2: LeverageE2,
    size_scale: UsdcE6,
    account_notional: UsdcE6,
    open_interest: UsdcE6,
    open_interest_share_ppm: Ppm = OPEN_INTEREST_SHARE_PPM,
) -> LeverageE2:
    """Give the cap for a size: cap × scale ÷ max(scale, account + share of open interest), down.

    `account_notional`: all of the account's positions in the market together, of both modes, after
    the trade. `open_interest`: the market's, of the heavier side, after the trade. Up to one scale
    the cap holds; at two it is half. Below 100 (1x) nothing more may be opened. It bears on
    initial margin only: no growth of others' positions brings anyone nearer to liquidation.
    """
    check("cap_e2", cap_e2, ONE_X)
    check("size_scale", size_scale, 1)
    check("account_notional", account_notional, 0)
    check("open_interest", open_interest, 0)
    check("open_interest_share_ppm", open_interest_share_ppm, 0, PPM)
    exposure = account_notional + ppm_ceil(open_interest, open_interest_share_ppm)
    return LeverageE2(floor_div(cap_e2 * size_scale, max(size_scale, exposure)))


def is_within_terms(
    maintenance_ppm: Ppm, max_leverage_e2: LeverageE2, leverage_e2: LeverageE2
) -> bool:
    """Tell whether terms fit: 1x ≤ leverage ≤ their maximum, 2 × maintenance × maximum ≤ 1.

    Total over integers, as the two below: they judge what others propose.
    """
    fits = 0 < 2 * maintenance_ppm * max_leverage_e2 <= _ONE_E2_PPM
    return fits and ONE_X <= leverage_e2 <= max_leverage_e2


def is_ceiling_bearable(maintenance_ceiling_ppm: Ppm, leverage_e2: LeverageE2) -> bool:
    """Tell whether a managed position can bear its ceiling: ceiling ≤ 1 ÷ leverage.

    Above it, a ramp to the ceiling alone would liquidate a position whose price never moved.
    """
    return 0 < maintenance_ceiling_ppm * leverage_e2 <= _ONE_E2_PPM


def is_opening_ratio(
    adjustment: Adjustment, terms_ppm: Ppm, target_ppm: Ppm, floor_ppm: Ppm
) -> bool:
    """Tell whether terms ask enough of a new position: at least the market's target at once.

    A fixed one asks for the market's through-the-cycle floor as well, because it never follows.
    """
    if adjustment is Adjustment.FIXED:
        return terms_ppm >= max(target_ppm, floor_ppm)
    return terms_ppm >= target_ppm


def ramped_ppm(start_ppm: Ppm, target_ppm: Ppm, elapsed_s: int, ramp_s: int) -> Ppm:
    """Give a ratio on its way from start to target, linear in time, rounded toward the start.

    As RiskOracle ramps the market's ratio; the engine ramps an `ADJUST` by it.
    """
    check("elapsed_s", elapsed_s, 0)
    check("ramp_s", ramp_s, 0)
    if elapsed_s >= ramp_s:
        return target_ppm
    moved = floor_div(abs(target_ppm - start_ppm) * elapsed_s, ramp_s)
    return Ppm(start_ppm + moved if target_ppm >= start_ppm else start_ppm - moved)


def position_maintenance_ppm(
    adjustment: Adjustment, terms_ppm: Ppm, ceiling_ppm: Ppm, market_ppm: Ppm, adjust_ppm: Ppm
) -> Ppm:
    """Give the maintenance ratio that an open position keeps now.

    Fixed: the ratio of the terms. Managed: min(ceiling, max(terms, market as ramped now, `ADJUST`
    as ramped now)); `adjust_ppm` is 0 where no `ADJUST` was signed. Exact: nothing is rounded.
    """
    if adjustment is Adjustment.FIXED:
        return terms_ppm
    if adjustment is not Adjustment.MANAGED:
        raise UnitError(f"adjustment is {adjustment!r}; give Adjustment.FIXED or MANAGED")
    return min(ceiling_ppm, max(terms_ppm, market_ppm, adjust_ppm))
