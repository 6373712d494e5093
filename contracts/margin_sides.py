"""What a side of a market holds: funding in its prices, its unrealised profit, and its cuts.

Pure and integer; the units of margin.py. An index is USDC × 10^18 a unit that longs paid shorts.
A position stores `basis` = entry price − index at its entry, so that with the net price
`price − index` every formula of margin.py holds as it stands, funding included. A side's aggregates
are its size and `sum`, the sum of size × basis: its profit is one subtraction.

A cut closes the same share of every position of a side at one price. It is two numbers a side:
`keep_e27`, the product of what was kept, and `cash`, the price-weighted sum of what was not. What
they were when a position was stored, and are now, says what it has left and what it is owed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contracts.margin import LONG, SizeE18, check, check_side
from contracts.margin_price import funding_step
from contracts.units import PPM, Ppm, PriceE18, UsdcE6, ceil_div, floor_div

WHOLE_E27: Final = 10**27
LEAST_KEEP_E27: Final = 10**9  # below it, rounding would take more than 10^-9 of a share
MOST_CUT_E27: Final = 9 * 10**26  # one cut takes at most 90 % of a side
LEAST_CUT_E27: Final = 10**25  # a trickle would use up the numbers of cuts
MAX_CUTS: Final = 2**15 - 1
MAX_RATE: Final = 2**71 - 1

_E30: Final = 10**30  # SizeE18 × PriceE18 in one UsdcE6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A side after a cut: what is kept of what there was before the first, and the cash paid out.

    `cash` is in units of price × 10^27: (K before − K after) × net price, summed.
    """

    keep_e27: int = WHOLE_E27
    cash: int = 0


NO_CUT: Final = Cut()


def index_at(index: int, rate: int, elapsed_s: int) -> int:
    """Give the funding index so long after it was stored."""
    check("elapsed_s", elapsed_s, 0)
    return index + rate * elapsed_s


def funding_rate(skew: int, price: PriceE18, max_daily_ppm: Ppm, size_scale: UsdcE6) -> int:
    """Give what the index grows by in a second, toward 0, held to 72 bits with a sign."""
    rate = funding_step(skew, price, 1, max_daily_ppm, size_scale)
    return max(-MAX_RATE, min(MAX_RATE, rate))


def side_numerator(side: int, size: SizeE18, basis_sum: int, net_price: int) -> int:
    """Give a side's unrealised profit, funding included, exactly, in units of 10^-36 USDC."""
    check_side(side)
    check("size", size, 0)
    return side * (size * net_price - basis_sum)


def side_profit(side: int, size: SizeE18, basis_sum: int, net_price: int) -> UsdcE6:
    """Give a side's unrealised profit, funding included, rounded down."""
    return UsdcE6(floor_div(side_numerator(side, size, basis_sum, net_price), _E30))


def next_cut(last: Cut, keep_e27: int, net_price: int) -> Cut:
    """Give a side's two numbers after a cut that keeps `keep_e27` of it, at a net price."""
    check("keep_e27", keep_e27, 1, WHOLE_E27)
    keep = floor_div(last.keep_e27 * keep_e27, WHOLE_E27)
    return Cut(keep_e27=keep, cash=last.cash + (last.keep_e27 - keep) * net_price)


def size_after_cuts(size: SizeE18, then: Cut, now: Cut) -> SizeE18:
    """Give what is left of a position's size, rounded down."""
    return SizeE18(floor_div(size * now.keep_e27, then.keep_e27))


def cash_of_cuts(side: int, size: SizeE18, basis: int, then: Cut, now: Cut) -> UsdcE6:
    """Give what cuts have paid a position of `size` before them, or taken, rounded down twice."""
    check_side(side)
    paid = (now.cash - then.cash) - basis * (then.keep_e27 - now.keep_e27)
    return UsdcE6(floor_div(size * floor_div(side * paid, then.keep_e27), _E30))


def sums_after_cut(
    side: int, size: SizeE18, basis_sum: int, then: Cut, now: Cut
) -> tuple[SizeE18, int]:
    """Give a side's aggregates after a cut: never less size than its positions, never more profit.

    The size is rounded up, because the floors of cut after cut could fall below a position's own.
    """
    check_side(side)
    rounded = floor_div if side == LONG else ceil_div
    left = ceil_div(size * now.keep_e27, then.keep_e27)
    return SizeE18(left), rounded(basis_sum * now.keep_e27, then.keep_e27)


def cut_payout(before: int, after: int) -> UsdcE6:
    """Give what a cut moves from the pool to the side's pot, of its profit's numerators.

    Rounded up, and one unit more: aggregates round so that they keep up to one price of numerator.
    """
    return UsdcE6(ceil_div(before - after, _E30) + 1)


def cut_e27(profit: UsdcE6, assets: UsdcE6, share_ppm: Ppm) -> int:
    """Give the smallest share of a side that brings its profit to its share of the pool, up.

    (profit − cut) ≤ share × (assets − cut). At most 90 %, and what the assets can pay: two units of
    them stay for the payout's roundings, one of profit was lost. 0 where profit is within its
    share, or beyond it by so little that less than 1 % would be cut.
    """
    check("profit", profit, 0)
    check("assets", assets, 0)
    check("share_ppm", share_ppm, 0, PPM)
    bound = share_ppm * assets
    if profit * PPM <= bound or assets < 2:
        return 0
    cut = min(MOST_CUT_E27, (assets - 2) * WHOLE_E27 // (profit + 1))
    if share_ppm < PPM:
        exact = ceil_div((profit * PPM - bound) * WHOLE_E27, profit * (PPM - share_ppm))
        cut = min(cut, exact)
    return cut if cut >= LEAST_CUT_E27 else 0
