"""What the configured venues give now, in an operator's words: reach, health and disagreement."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agent.network import Network
from contracts.units import PPM, MarketId
from relayer.market.aggregate import (
    AggregationRules,
    ConversionRate,
    Mark,
    NoMark,
    aggregate_round,
    conversion_rates,
)
from relayer.market.capabilities import Capability, Reached
from relayer.market.depth import depth_within
from relayer.market.health import VenueHealth, venue_health
from relayer.market.values import E18, SETTLEMENT_CURRENCY, Market, Quote, QuoteRound, VenueFault
from relayer.market.venue_client import VenueClient
from relayer.market.venues import BookRound, VenuePool

Marks = Mapping[MarketId, Mark | NoMark]
Table = list[tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueReport:
    """Three tables, what is wrong, and whether anything is."""

    capabilities: Table
    health: Table
    disagreement: Table
    books: Table  # empty when they were not asked for
    notices: tuple[str, ...]
    sound: bool  # every venue answered, and every market has a mark


async def report_venues(
    network: Network, rules: AggregationRules, follow_s: float = 0.0, *, books: bool = False
) -> VenueReport:
    """Ask every venue, after having followed its streams for a while; on demand for books too."""
    pool = VenuePool(network.venues, network.markets, network.clock)
    try:
        faults = await pool.open()
        await asyncio.sleep(follow_s)
        async with network.clock.hold():
            taken = await pool.quotes()
            seen = await pool.books([m.market for m in pool.markets] if books else [])
            now_ms = await network.clock.now_ms()
        report = _report(pool, taken, (*faults, *seen.faults), now_ms, rules)
        return replace(report, books=_books(pool, seen) if books else [])
    finally:
        await pool.close()
        await network.clock.close()


def _report(
    pool: VenuePool,
    taken: QuoteRound,
    faults: Sequence[VenueFault],
    now_ms: int,
    rules: AggregationRules,
) -> VenueReport:
    """Put the tables together."""
    markets = {market.market: market for market in pool.markets}
    marks = aggregate_round(taken, list(markets), now_ms, rules)
    health = {each.venue: each for each in venue_health(taken, marks, now_ms)}
    missing = [each for each in marks.values() if isinstance(each, NoMark)]
    silent = {fault.venue for fault in faults if fault.reason == "unreachable"}
    none = len(silent) == len(pool.venues)
    told = dict.fromkeys(
        (
            *((NOBODY,) if none else ()),
            *(f"{fault.venue}: {fault.reason}: {fault.detail}" for fault in faults),
            *(f"{fault.venue}: {fault.reason}: {fault.detail}" for fault in taken.faults),
            *(
                f"{q.venue} {markets[q.market].symbol}: {q.reason}: {q.detail}"
                for q in taken.refused
            ),
            *(f"{markets[each.market].symbol}: no mark: {each.detail}" for each in missing),
        )
    )
    return VenueReport(
        capabilities=_capabilities(pool.venues),
        health=[_HEALTH, *(_health_row(venue, health.get(venue.id)) for venue in pool.venues)],
        disagreement=_disagreement(pool, taken, marks, conversions(taken, now_ms, rules)),
        books=[],
        notices=tuple(told),
        sound=not told,
    )


_SHOWN_VALUE = 100_000  # of the ladder, in the quote currency
NOBODY = "no exchange answers: does this machine reach the network that they are on?"
_HEALTH = ("venue", "quotes", "used", "weight", "age ms", "streams", "left alone s")


def _health_row(venue: VenueClient, health: VenueHealth | None) -> tuple[str, ...]:
    """Sum up one venue."""
    alone = f"{venue.link.limited_s:.0f}"
    if health is None:
        return (venue.id, "0", "0", "0 %", "-", venue.streams.state, alone)
    return (
        venue.id,
        str(health.quoted),
        str(health.used),
        f"{health.weight_ppm / 10_000:.1f} %",
        "-" if health.age_ms is None else str(health.age_ms),
        venue.streams.state,
        alone,
    )


def _capabilities(venues: Sequence[VenueClient]) -> Table:
    """Say for each thing how each venue gives it: by call, by stream, both, or not at all."""
    rows: Table = [("", *(f"{venue.id} ({venue.settings.ccxt_class})" for venue in venues))]
    for capability in Capability:
        ways = (_way(venue.reads.reached(capability)) for venue in venues)
        rows.append((capability.value, *ways))
    return rows


def _way(reached: Reached) -> str:
    """Name the ways to a thing."""
    ways = ("call" if reached.call else "", "stream" if reached.stream else "")
    return " + ".join(way for way in ways if way) or "none"


def conversions(taken: QuoteRound, now_ms: int, rules: AggregationRules) -> Mapping[str, int]:
    """Give what one unit of each currency is in USDC × 10^18, where it is known."""
    rates = conversion_rates(taken.stablecoins, now_ms, rules)
    known = {
        name: rate.value_e18 for name, rate in rates.items() if isinstance(rate, ConversionRate)
    }
    return {**known, SETTLEMENT_CURRENCY: E18}


def _disagreement(
    pool: VenuePool, taken: QuoteRound, marks: Marks, rates: Mapping[str, int]
) -> Table:
    """Say for each market how far each venue stands from the mark, in ppm."""
    rows: Table = [("market", "mark", "±ppm", *(venue.id for venue in pool.venues))]
    for market in pool.markets:
        mark = marks[market.market]
        quotes = {quote.venue: quote for quote in taken.of(market.market)}
        found = mark if isinstance(mark, Mark) else None
        cells = (_distance(market, venue.id, quotes, found, rates) for venue in pool.venues)
        price = f"{found.price_e18 / E18:.6g}" if found else str(getattr(mark, "reason", "none"))
        rows.append((market.symbol, price, str(found.confidence_ppm) if found else "-", *cells))
    return rows


_BOOKS = (
    "market",
    "venue",
    "within 10 bp",
    "50 bp",
    "buy 100k ppm",
    "sell",
    "imbalance",
    "half-life",
)


def _books(pool: VenuePool, seen: BookRound) -> Table:
    """Say what each market's book holds, in its quote currency, and what it costs to take from."""
    rows: Table = [_BOOKS]
    found = {book.market: book for book in seen.books}
    for market in pool.markets:
        book = found.get(market.market)
        if book is None:
            rows.append((market.symbol, "no book", *["-"] * (len(_BOOKS) - 2)))
            continue
        read, (bids, asks) = pool.measures(book), depth_within(book)
        rung = next(each for each in read.slippage if each.value == _SHOWN_VALUE)
        half_life = "-" if read.half_life_ms is None else f"{read.half_life_ms / 1_000:.1f} s"
        cells = (f"{bids[n] + asks[n]:,.0f}" for n in (0, 2))
        paid = ("-" if ppm is None else str(ppm) for ppm in (rung.buy_ppm, rung.sell_ppm))
        imbalance = f"{read.imbalance_ppm / 10_000:+.0f} %"
        rows.append((market.symbol, book.venue, *cells, *paid, imbalance, half_life))
    return rows


def _distance(
    market: Market,
    venue: str,
    quotes: Mapping[str, Quote],
    mark: Mark | None,
    rates: Mapping[str, int],
) -> str:
    """Say how far one venue stands from a mark; `!` when it was left out for that."""
    if market.listing(venue) is None:
        return "-"
    if venue not in quotes:
        return "no quote"
    rate = rates.get(quotes[venue].quote_currency)
    if mark is None or rate is None:
        return "?"
    value_e18 = quotes[venue].value_e18 * rate // E18
    away = (value_e18 - mark.price_e18) * PPM // mark.price_e18
    return f"{away:+d}{'!' if venue in mark.excluded else ''}"
