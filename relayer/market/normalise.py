"""Whether venues mean the same unit of the same asset: each against the others. Pure.

A multiplier that was forgotten, or set twice, moves a price by a power of ten, and little else
does. So a price that stands a power of ten from the other venues' is named as that, with the
multiplier that would mend it; one that is far off by another factor is another asset of the name.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from contracts.units import MarketId
from relayer.market.derivatives import OpenInterest
from relayer.market.values import E18, Listing, Market, Quote, QuoteRefusal

# Venues agree within this factor, USDT's and the dollar's peg included, even in a crash. What is
# less far off is for the aggregation to judge, at every tick.
SAME_WITHIN: Final = 2.0
# How far from a whole power of ten a mistaken multiplier may leave a price.
POWER_WITHIN: Final = 1.12


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleFinding:
    """One venue's listing that does not mean what the others mean."""

    venue: str
    market: MarketId
    reason: QuoteRefusal  # WRONG_SCALE or OTHER_ASSET
    detail: str


def check_prices(quotes: Sequence[Quote], markets: Mapping[MarketId, Market]) -> list[ScaleFinding]:
    """Compare each venue's price of a base unit with the other venues' of the same market.

    Judged against the median of all. With two venues nobody can say which is wrong: both are.
    One venue alone is not judged.
    """
    findings: list[ScaleFinding] = []
    for market in sorted({quote.market for quote in quotes}):
        told = [quote for quote in quotes if quote.market == market]
        if len(told) >= 2 and market in markets:
            findings += _off(told, markets[market])
    return findings


def check_sizes(
    sizes: Iterable[OpenInterest],
    prices: Mapping[MarketId, float],
    markets: Mapping[MarketId, Market],
) -> list[ScaleFinding]:
    """Compare what a venue says its open interest is worth with its size at the others' price.

    A contract size that is wrong by a power of ten shows here, where prices look right. `prices`
    are of one base unit. Venues that do not say the value are not judged.
    """
    findings = []
    for each in sizes:
        price = prices.get(each.market)
        if each.value is None or price is None or each.value <= 0 or each.size_e18 <= 0:
            continue
        factor = each.size_e18 / E18 * price / each.value
        power = power_of_ten(factor)
        if power:
            listing = markets[each.market].listing(each.venue)
            symbol = "" if listing is None else listing.symbol
            detail = (
                f"{each.venue} {symbol}: its open interest is 10^{power} times what the venue says "
                f"it is worth; the contract size is wrong by that"
            )
            findings.append(
                ScaleFinding(
                    venue=each.venue, market=each.market, reason=QuoteRefusal.WRONG_SCALE,
                    detail=detail,
                )
            )  # fmt: skip
    return findings


def middle_prices(quotes: Sequence[Quote]) -> dict[MarketId, float]:
    """Give the median price of each market that at least two venues quote."""
    told: dict[MarketId, list[int]] = {}
    for quote in quotes:
        told.setdefault(quote.market, []).append(quote.value_e18)
    return {
        market: statistics.median_low(values) / E18
        for market, values in told.items()
        if len(values) >= 2
    }


def power_of_ten(factor: float) -> int | None:
    """Say which power of ten a factor is: 0 for about the same, None for none."""
    if 1 / SAME_WITHIN < factor < SAME_WITHIN:
        return 0
    power = round(math.log10(factor))
    off = factor / 10.0**power
    return power if power and 1 / POWER_WITHIN < off < POWER_WITHIN else None


def _off(told: Sequence[Quote], market: Market) -> list[ScaleFinding]:
    """Find the venues that stand apart from the median."""
    usual = statistics.median_low(quote.value_e18 for quote in told)
    factors = {quote.venue: quote.value_e18 / usual for quote in told}
    apart = [venue for venue, factor in factors.items() if power_of_ten(factor) != 0]
    if len(told) == 2 and apart:
        apart = [quote.venue for quote in told]
    return [
        _finding(venue, factors[venue], market, [v for v in factors if v != venue])
        for venue in apart
    ]


def _finding(venue: str, factor: float, market: Market, others: Sequence[str]) -> ScaleFinding:
    """Name what is off, and what would mend it."""
    listing = market.listing(venue)
    symbol = "" if listing is None else listing.symbol
    power = power_of_ten(factor)
    said = f"{market.symbol}: {venue} {symbol} prices one unit at {factor:.6g} × the median"
    reason = QuoteRefusal.WRONG_SCALE
    if power is None:
        reason = QuoteRefusal.OTHER_ASSET
        detail = f"{said}, which is another asset or a broken feed ({', '.join(others)} differ)"
    elif power == 0:
        detail = f"{said}; the only other venue, {others[0]}, is far from it: one of them is wrong"
    else:
        detail = f"{said}: 10^{power} off{_mend(listing, power)}"
    return ScaleFinding(venue=venue, market=market.market, reason=reason, detail=detail)


def _mend(listing: Listing | None, power: int) -> str:
    """Say which multiplier would bring the price in line."""
    if listing is None:
        return ""
    wanted = listing.multiplier * 10.0**power
    return f"; its multiplier should be {wanted:g}" if wanted >= 1 else ""
