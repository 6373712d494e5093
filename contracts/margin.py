"""The margin law of a position, to the unit: what the Vyper engine must equal, bit for bit.

Pure and integer. Prices and sizes × 10^18, USDC × 10^6, ratios in ppm, leverage × 100; a side is
+1 (long) or −1 (short). Each amount is rounded once, and always against the trader::

    initial margin       size × price ÷ leverage                  up: it is asked
    maintenance margin   size × price × ratio                     up: it is asked
    cost, penalty        size × price × ratio                     up: it is asked
    unrealised profit    side × size × (price − entry)            down, toward −∞: it is owned

docs/margin.md proves the two solvers and states the domain in which nothing passes 256 bits. The
rest of the law: margin_terms (caps and ratios), margin_price (price paid, funding), margin_account
(cross accounts, withdrawals, order), margin_losses (penalty, and who bears a loss), margin_sides
(what a side of a market holds, funding in its prices, cuts), margin_pace (when to wait).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NewType

from contracts.units import (
    ONE_X,
    PPM,
    LeverageE2,
    Ppm,
    PriceE18,
    UnitError,
    UsdcE6,
    ceil_div,
    floor_div,
    int_fault,
    ppm_ceil,
)

SizeE18 = NewType("SizeE18", int)
"""Whole units of the asset, × 10^18; never below 0, the side stands beside it."""

LONG: Final = 1
SHORT: Final = -1
NOTHING: Final = UsdcE6(0)
NO_RATIO: Final = Ppm(0)
TARGET_PPM: Final = Ppm(1_500_000)  # design 2.5: a partial liquidation restores 1.5 × maintenance

_E30: Final = 10**30  # SizeE18 × PriceE18 in one UsdcE6
_E36: Final = _E30 * PPM
_HIGHEST: Final = 2**255 - 1
# What a close may cost beyond its ratio: fee, spread and impact are rounded apart (less than 5
# units), and the profit of two parts is rounded down where that of one was (1 unit).
_CLOSE_ROUNDINGS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseRules:
    """What a close asks of the trader, as ratios of its notional at the mark, and where it stops.

    `cost_ppm` is what any close of that size would pay (spread, impact, fee): an upper bound where
    impact grows with size. `target_ppm` is of the maintenance margin.
    """

    cost_ppm: Ppm = NO_RATIO
    penalty_ppm: Ppm = NO_RATIO
    target_ppm: Ppm = TARGET_PPM

    def __post_init__(self) -> None:
        """Refuse ratios that no rule can have; a target below maintenance would cure nothing."""
        check("cost_ppm", self.cost_ppm, 0, PPM)
        check("penalty_ppm", self.penalty_ppm, 0, PPM)
        check("target_ppm", self.target_ppm, PPM, 10 * PPM)


def check(name: str, value: int, low: int = -_HIGHEST, high: int = _HIGHEST) -> None:
    """Refuse what is not an exact int in [low, high]; UnitError names it."""
    fault = int_fault(value, low, high)
    if fault:
        raise UnitError(f"{name} {fault}")


def check_side(side: int) -> None:
    """Refuse what is neither +1 nor −1; the enum of messages.py is one of them."""
    if not isinstance(side, int) or isinstance(side, bool) or side not in (LONG, SHORT):
        raise UnitError(f"side is {side!r}; give 1 for long or -1 for short")


def _value(size: SizeE18, price: PriceE18) -> int:
    """Give size × price, exactly, in units of 10^-36 USDC."""
    check("size", size, 0)
    check("price", price, 0)
    return size * price


def notional_up(size: SizeE18, price: PriceE18) -> UsdcE6:
    """Give what a size is worth at a price, rounded up: where more is asked for more."""
    return UsdcE6(ceil_div(_value(size, price), _E30))


def notional_down(size: SizeE18, price: PriceE18) -> UsdcE6:
    """Give what a size is worth at a price, rounded down: where more is paid for more."""
    return UsdcE6(floor_div(_value(size, price), _E30))


def initial_margin(size: SizeE18, price: PriceE18, leverage_e2: LeverageE2) -> UsdcE6:
    """Give what opening asks: size × price ÷ leverage, rounded up."""
    check("leverage_e2", leverage_e2, ONE_X)
    return UsdcE6(ceil_div(_value(size, price) * ONE_X, leverage_e2 * _E30))


def charge(size: SizeE18, price: PriceE18, ratio: Ppm) -> UsdcE6:
    """Give a ratio (0 … 1) of a size's worth, rounded up: a fee, a spread, a penalty."""
    check("ratio", ratio, 0, PPM)
    return UsdcE6(ceil_div(_value(size, price) * ratio, _E36))


def maintenance_margin(size: SizeE18, price: PriceE18, maintenance_ppm: Ppm) -> UsdcE6:
    """Give what keeping a position asks: size × price × ratio, rounded up; the ratio is ≤ 1."""
    return charge(size, price, maintenance_ppm)


def unrealised_pnl(side: int, size: SizeE18, entry_price: PriceE18, price: PriceE18) -> UsdcE6:
    """Give side × size × (price − entry), rounded toward minus infinity: losses grow, profits not.

    Funding moves the entry price (margin_sides), past 0 as well. Vyper's `//` rounds a negative
    number toward 0; the engine has to round it away from there.
    """
    check_side(side)
    check("entry_price", entry_price)
    return UsdcE6(floor_div(side * (_value(size, price) - size * entry_price), _E30))


def average_entry_price(
    side: int, size: SizeE18, entry_price: PriceE18, added: SizeE18, price: PriceE18
) -> PriceE18:
    """Give the entry of a position that grew by `added` at `price`: a long's up, a short's down.

    Both prices may be net of funding, and below 0.
    """
    check_side(side)
    check("entry_price", entry_price)
    check("price", price)
    check("size", size, 0)
    check("added", added, 1)
    paid = size * entry_price + added * price
    rounded = ceil_div if side == LONG else floor_div
    return PriceE18(rounded(paid, size + added))


def is_liquidatable(equity: int, maintenance: int) -> bool:
    """Tell whether equity is below maintenance, strictly.

    Where nothing is asked for (0: no position is open, as an open one asks for at least 1) there
    is nothing to liquidate, whatever the account owes.
    """
    return maintenance > 0 and equity < maintenance


def liquidation_price(  # noqa: PLR0913, PLR0917  # the project's fixed interface
    side: int,
    size: SizeE18,
    entry_price: PriceE18,
    collateral: UsdcE6,
    maintenance_ppm: Ppm,
    other_equity: UsdcE6 = NOTHING,
    other_maintenance: UsdcE6 = NOTHING,
) -> PriceE18 | None:
    """Give the first price, in the direction of loss, at which `is_liquidatable` holds; or None.

    Exact to the last unit, under the same roundings: the highest such price for a long, the lowest
    above zero for a short. `other_*`: the rest of a cross account, at its own prices.

    From the first price at which less than one unit of headroom is left, it goes from one rounding
    step to the next until the predicate holds: for a ratio ≤ 50 % at most five times.
    """
    check_side(side)
    check("size", size, 1)
    check("entry_price", entry_price)
    check("maintenance_ppm", maintenance_ppm, 0, PPM - 1)
    check("other_maintenance", other_maintenance, 0)
    cushion = collateral + other_equity
    check("collateral + other_equity", cushion)
    if maintenance_ppm == 0 and other_maintenance == 0:
        return None
    price = _price_of_last_unit(
        side, size, entry_price, cushion - other_maintenance, maintenance_ppm
    )
    while price > 0:
        equity = cushion + unrealised_pnl(side, size, entry_price, price)
        asked = maintenance_margin(size, price, maintenance_ppm) + other_maintenance
        if is_liquidatable(equity, asked):
            return price
        price = _next_worse_price(side, size, entry_price, maintenance_ppm, price)
    return None


def _price_of_last_unit(
    side: int, size: SizeE18, entry_price: PriceE18, cushion: int, maintenance_ppm: Ppm
) -> PriceE18:
    """Give the first price with less than one unit of headroom before rounding: safe until it."""
    lost = cushion - 1  # what the price may take
    if side == LONG:  # p × size × (1 − m) < size × entry − lost
        bound = (size * entry_price - lost * _E30) * PPM
        return PriceE18(ceil_div(bound, size * (PPM - maintenance_ppm)) - 1)
    bound = (size * entry_price + lost * _E30) * PPM  # p × size × (1 + m) > size × entry + lost
    return PriceE18(max(1, floor_div(bound, size * (PPM + maintenance_ppm)) + 1))


def _next_worse_price(
    side: int, size: SizeE18, entry_price: PriceE18, maintenance_ppm: Ppm, price: PriceE18
) -> PriceE18:
    """Give the next price at which the rounded profit falls, or the rounded maintenance rises."""
    floor_pnl = unrealised_pnl(side, size, entry_price, price)
    if side == LONG:  # maintenance falls with the price: only the profit can bring it about
        return PriceE18(entry_price + ceil_div(floor_pnl * _E30, size) - 1)
    profit_falls = entry_price - ceil_div(floor_pnl * _E30, size) + 1
    if maintenance_ppm == 0:
        return PriceE18(profit_falls)
    asked = maintenance_margin(size, price, maintenance_ppm)
    maintenance_rises = floor_div(asked * _E36, size * maintenance_ppm) + 1
    return PriceE18(min(profit_falls, maintenance_rises))


def close_grid(price: PriceE18, maintenance_ppm: Ppm, rules: CloseRules) -> SizeE18 | None:
    """Give the unit in which partial closes count; None where closing restores nothing.

    It is the smallest size whose close brings more than all roundings together can take, some ten
    millionths of a USDC; so one step past the exact answer always restores.
    """
    check("price", price, 1)
    gain = _gain(maintenance_ppm, rules)
    if gain <= 0:
        return None
    # two charges, the target's share of the maintenance's rounding, and the target's own
    roundings = _CLOSE_ROUNDINGS + 3 + ceil_div(rules.target_ppm, PPM)
    return SizeE18(ceil_div(roundings * _E36 * PPM, price * gain))


def _gain(maintenance_ppm: Ppm, rules: CloseRules) -> int:
    """Give what closing one USDC brings nearer to the target, × 10^12."""
    return rules.target_ppm * maintenance_ppm - (rules.cost_ppm + rules.penalty_ppm) * PPM


def is_restored(
    size: SizeE18,
    price: PriceE18,
    maintenance_ppm: Ppm,
    equity: UsdcE6,
    rules: CloseRules,
    other_maintenance: UsdcE6 = NOTHING,
) -> bool:
    """Tell whether equity reaches target × maintenance; `size` is what stays open."""
    asked = maintenance_margin(size, price, maintenance_ppm) + other_maintenance
    return equity >= ppm_ceil(asked, rules.target_ppm)


def equity_after_close(
    close: SizeE18, price: PriceE18, equity: UsdcE6, rules: CloseRules
) -> UsdcE6:
    """Give the equity that a partial close leaves at least.

    Cost and penalty are rounded up, each; `_CLOSE_ROUNDINGS` covers what is rounded beside them.
    """
    cost = charge(close, price, rules.cost_ppm)
    penalty = charge(close, price, rules.penalty_ppm)
    return UsdcE6(equity - cost - penalty - _CLOSE_ROUNDINGS)


def partial_close_size(
    size: SizeE18,
    price: PriceE18,
    maintenance_ppm: Ppm,
    equity: UsdcE6,
    rules: CloseRules,
    other_maintenance: UsdcE6 = NOTHING,
) -> SizeE18:
    """Give the smallest close that restores equity ≥ target × maintenance.

    `equity` is the account's at `price`, profit included; `other_maintenance` is asked by its other
    positions. The answer is a multiple of `close_grid`, and one grid unit less does not restore;
    0 where nothing has to be closed; the whole `size` where no part of it restores.
    """
    check("size", size, 1)
    check("equity", equity)
    check("other_maintenance", other_maintenance, 0)
    if is_restored(size, price, maintenance_ppm, equity, rules, other_maintenance):
        return SizeE18(0)
    grid = close_grid(price, maintenance_ppm, rules)
    if grid is None:
        return size
    asked = size * price * maintenance_ppm + other_maintenance * _E36
    short = asked * rules.target_ppm - equity * _E36 * PPM  # what is missing before any rounding
    units = max(1, ceil_div(short, price * _gain(maintenance_ppm, rules) * grid))
    for close in (SizeE18(units * grid), SizeE18((units + 1) * grid)):
        if close >= size:
            return size
        left = equity_after_close(close, price, equity, rules)
        rest = SizeE18(size - close)
        if is_restored(rest, price, maintenance_ppm, left, rules, other_maintenance):
            return close
    raise AssertionError("a grid unit brings more than all roundings take")
