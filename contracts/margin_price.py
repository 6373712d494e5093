"""The price a trader pays: mark, spread, impact, and the funding of a lopsided market.

Pure and integer; the units of margin.py. `direction` is +1 for who buys (opens a long, closes a
short) and −1 for who sells. `skew` is long minus short open interest, signed, in SizeE18. Costs are
rounded up, credits down.

Impact is the integral of the marginal premium over the skew, from before the trade to after it,
over the part where the skew grows away from zero; the premium is proportional to the skew and
reaches `impact_ppm` at the size scale. So the cost of growing from skew a to b is, exactly,
`impact_ppm × (b² − a²) ÷ (2 × scale)` with a and b in USDC. It is a difference of one function at
two ends: splitting an order changes nothing but roundings, which only add.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contracts.margin import (
    SizeE18,
    charge,
    check,
    check_side,
    notional_down,
    notional_up,
)
from contracts.units import (
    PPM,
    Ppm,
    PriceE18,
    UnitError,
    UsdcE6,
    ceil_div,
    floor_div,
    ppm_ceil,
    ppm_floor,
    trunc_div,
)

_E30: Final = 10**30  # SizeE18 × PriceE18 in one UsdcE6
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRules:
    """What a market asks of a trade: fee and spread of its notional, and impact at the scale."""

    fee_ppm: Ppm
    spread_ppm: Ppm
    impact_ppm: Ppm
    size_scale: UsdcE6

    def __post_init__(self) -> None:
        """Refuse what no market can have."""
        for name in ("fee_ppm", "spread_ppm", "impact_ppm"):
            check(name, getattr(self, name), 0, PPM)
        check("size_scale", self.size_scale, 1)


def widened_price(direction: int, price: PriceE18, confidence_ppm: Ppm) -> PriceE18:
    """Give the mark moved by its confidence against the trader: a buyer's up, a seller's down.

    For opening, closing and withdrawal; never for liquidation.
    """
    check_side(direction)
    check("price", price, 1)
    check("confidence_ppm", confidence_ppm, 0, PPM - 1)
    if direction > 0:
        return PriceE18(ppm_ceil(price, Ppm(PPM + confidence_ppm)))
    return PriceE18(ppm_floor(price, Ppm(PPM - confidence_ppm)))


def impact_cost(skew_before: int, skew_after: int, price: PriceE18, rules: TradeRules) -> UsdcE6:
    """Give what moving the skew costs, rounded up; nothing where it moves toward zero.

    Through zero, only the part beyond it pays.
    """
    check("skew_before", skew_before)
    check("skew_after", skew_after)
    crossed = skew_before * skew_after < 0
    start = 0 if crossed else abs(skew_before)
    end = abs(skew_after)
    if end <= start:
        return UsdcE6(0)
    far = notional_up(SizeE18(end), price)
    near = notional_down(SizeE18(start), price)
    area = far * far - near * near
    return UsdcE6(ceil_div(area * rules.impact_ppm, 2 * rules.size_scale * PPM))


def trade_cost(
    direction: int, size: SizeE18, price: PriceE18, skew: int, rules: TradeRules
) -> UsdcE6:
    """Give spread and impact of a trade that finds the market at `skew`, each rounded up."""
    check_side(direction)
    spread = charge(size, price, rules.spread_ppm)
    return UsdcE6(spread + impact_cost(skew, skew + direction * size, price, rules))


def close_cost_ppm(
    direction: int, size: SizeE18, price: PriceE18, skew: int, rules: TradeRules
) -> Ppm:
    """Give a ratio that no close of up to `size` exceeds: fee, spread and impact; rounded up.

    For the close rules of a liquidation. Impact takes its marginal rate at the far end, where it is
    dearest, so a part pays at most this; capped at the whole notional.
    """
    check_side(direction)
    end = skew + direction * size
    grows = end * direction > 0
    reach = notional_up(SizeE18(abs(end)), price) if grows else 0
    impact = ceil_div(reach * rules.impact_ppm, rules.size_scale)
    return Ppm(min(PPM, rules.fee_ppm + rules.spread_ppm + impact))


def price_paid(direction: int, size: SizeE18, price: PriceE18, cost: UsdcE6) -> PriceE18:
    """Give the price for one unit with the cost in it: a buyer's rounded up, a seller's down.

    A cost that leaves a seller nothing is a UnitError: no such trade has a price.
    """
    check_side(direction)
    check("size", size, 1)
    check("cost", cost, 0)
    paid = price + direction * ceil_div(cost * _E30, size)
    if paid <= 0:
        raise UnitError(f"cost {cost} leaves nothing of the price {price}; trade less at once")
    return PriceE18(paid)


def funding_step(
    skew: int, price: PriceE18, elapsed_s: int, max_daily_ppm: Ppm, size_scale: UsdcE6
) -> int:
    """Give the growth of a market's funding index: USDC a unit × 10^18 that a long pays a short.

    price × rate × time, where the daily rate is `max_daily_ppm` × skew ÷ scale, at most
    `max_daily_ppm` either way; rounded toward 0, so that who pays is never asked for more.
    """
    check("skew", skew)
    check("elapsed_s", elapsed_s, 0)
    check("max_daily_ppm", max_daily_ppm, 0, PPM)
    check("size_scale", size_scale, 1)
    worth = min(size_scale, notional_down(SizeE18(abs(skew)), price))
    signed = worth if skew > 0 else -worth
    rate = price * max_daily_ppm * elapsed_s
    return trunc_div(rate * signed, PPM * _DAY_S * size_scale)


def funding_payment(side: int, size: SizeE18, index_before: int, index_now: int) -> UsdcE6:
    """Give what funding brings a position since its index was read; below 0 it pays. Down.

    So payments are rounded up and receipts down; the pool keeps the rest.
    """
    check_side(side)
    check("size", size, 0)
    return UsdcE6(floor_div(-side * size * (index_now - index_before), _E30))
