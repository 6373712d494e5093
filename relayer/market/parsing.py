"""Turn what ccxt parsed into our values: normalised to base units, or refused with a reason."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from contracts.units import PPM, MarketId, UnixMs
from relayer.errors import BadAnswer
from relayer.market.events import Repair
from relayer.market.values import (
    E18,
    SETTLEMENT_CURRENCY,
    Book,
    BookLevel,
    CandleSeries,
    Listing,
    MarketDataError,
    Quote,
    QuoteRefusal,
    RefusedQuote,
    StablecoinQuote,
    price_e18,
    quote_fault,
)

# A venue whose mark stands further from its own mid contradicts itself; funding and the index
# keep the two within 1 % even in the crash of May 2021.
MARK_OFF_BOOK_PPM: Final = 100_000

# What reading an answer of another shape raises: a null, a text for a number, a short row.
_ODD: Final = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)

Ticker = Mapping[str, Any]


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Say BadAnswer of whatever an answer of an unexpected shape raises inside."""
    try:
        yield
    except _ODD as odd:
        raise BadAnswer(f"{what}: {type(odd).__name__}: {odd}") from odd


@reading("a ticker")
def parse_quote(
    listing: Listing,
    market: MarketId,
    ticker: Ticker | None,
    mark: Ticker | None,
    received_at_ms: int,
) -> Quote | RefusedQuote:
    """Make a quote of a ticker and, where the venue has one, of its mark price.

    Some venues give the mark in the ticker, others by a call of its own, which counts first.
    """
    if ticker is None:
        raise BadAnswer(f"{listing.symbol}: the ticker is null")
    bid: Any = ticker.get("bid")
    ask: Any = ticker.get("ask")
    given: Any = None if mark is None else mark.get("markPrice")
    marked: Any = ticker.get("markPrice") if given is None else given
    used = [ticker] if mark is None or given is None else [ticker, mark]
    refusal = _unusable(bid, ask, marked)
    if refusal is not None:
        detail = f"bid {bid}, ask {ask}, mark {marked}"
        return RefusedQuote(venue=listing.venue, market=market, reason=refusal, detail=detail)
    stamps = [each["timestamp"] for each in used if isinstance(each.get("timestamp"), int)]
    if len(stamps) < len(used):
        detail = "the exchange gives no time for it"
        reason = QuoteRefusal.NO_TIME
        return RefusedQuote(venue=listing.venue, market=market, reason=reason, detail=detail)
    bid_e18, ask_e18 = _unit_price(bid, listing), _unit_price(ask, listing)
    mark_e18 = None if marked is None else _unit_price(marked, listing)
    refusal = quote_fault(bid_e18, ask_e18, mark_e18) or _off_book(bid_e18, ask_e18, mark_e18)
    if refusal is not None:
        detail = f"bid {bid}, ask {ask}, mark {marked}"
        return RefusedQuote(venue=listing.venue, market=market, reason=refusal, detail=detail)
    return Quote(
        venue=listing.venue,
        market=market,
        quote_currency=listing.quote_currency,
        bid_e18=bid_e18,
        ask_e18=ask_e18,
        mark_e18=mark_e18,
        observed_at_ms=UnixMs(min(stamps)),
        received_at_ms=UnixMs(received_at_ms),
    )


@reading("a stablecoin's ticker")
def parse_stablecoin(venue: str, symbol: str, ticker: Ticker) -> StablecoinQuote:
    """Make a stablecoin's price in USDC of a spot ticker, whichever way round it is quoted.

    Raises BadAnswer when the ticker has no usable price or time.
    """
    base, quote = symbol.split("/")
    bid: Any = ticker.get("bid")
    ask: Any = ticker.get("ask")
    stamp = ticker.get("timestamp")
    if not (_is_price(bid) and _is_price(ask) and bid <= ask and isinstance(stamp, int)):
        raise BadAnswer(f"{symbol}: bid {bid}, ask {ask}, time {stamp}")
    mid = (price_e18(bid) + price_e18(ask)) // 2
    inverse = base == SETTLEMENT_CURRENCY
    return StablecoinQuote(
        venue=venue,
        currency=quote if inverse else base,
        value_e18=E18 * E18 // mid if inverse else mid,
        observed_at_ms=UnixMs(stamp),
    )


@reading("an order book")
def parse_book(
    listing: Listing, market: MarketId, raw: Mapping[str, Any], contract_size: float
) -> Book:
    """Make a book in base units; raises BadAnswer when it is crossed, unsorted or empty."""
    stamp = raw.get("timestamp")
    if not isinstance(stamp, int):
        raise BadAnswer(f"{listing.symbol}: the book has no time")
    try:
        return Book(
            venue=listing.venue,
            market=market,
            quote_currency=listing.quote_currency,
            bids=_levels(raw["bids"], listing, contract_size),
            asks=_levels(raw["asks"], listing, contract_size),
            observed_at_ms=UnixMs(stamp),
        )
    except MarketDataError as fault:
        raise BadAnswer(str(fault)) from None


@reading("candles")
def parse_candles(
    listing: Listing, market: MarketId, bar_ms: int, rows: Sequence[Sequence[Any]], now_ms: int
) -> CandleSeries:
    """Make a series of the bars that are closed at `now_ms`; the last of repeated bars counts.

    Raises BadAnswer when a bar is none.
    """
    by_time = {row[0]: row for row in rows if row[0] + bar_ms <= now_ms}
    ordered = [by_time[at] for at in sorted(by_time)]
    if any(value is None for row in ordered for value in row[:6]):
        raise BadAnswer(f"{listing.symbol}: a bar has no price or volume")
    table = np.array([row[1:6] for row in ordered], dtype=np.float64).reshape(len(ordered), 5)
    prices = table[:, :4] / listing.multiplier
    try:
        return CandleSeries(
            market=market,
            bar_ms=bar_ms,
            open_ms=np.array([row[0] for row in ordered], dtype=np.int64),
            open=prices[:, 0].copy(),
            high=prices[:, 1].copy(),
            low=prices[:, 2].copy(),
            close=prices[:, 3].copy(),
            volume=table[:, 4] * listing.multiplier,
        )
    except MarketDataError as fault:
        raise BadAnswer(f"{listing.symbol}: {fault}") from None


def bar_repairs(rows: Sequence[Sequence[Any]]) -> tuple[Repair, ...]:
    """Say what `parse_candles` had to put right in rows that it could read."""
    times = [row[0] for row in rows]
    repeated = [Repair.BARS_REPEATED] if len(set(times)) < len(times) else []
    descending = times == sorted(times, reverse=True)  # the way some venues answer: no disorder
    disordered = times != sorted(times) and not descending
    return (*repeated, *([Repair.BARS_OUT_OF_ORDER] if disordered else []))


def _unusable(bid: object, ask: object, mark: object) -> QuoteRefusal | None:
    """Say why the raw numbers cannot be prices, or None."""
    given = [bid, ask] if mark is None else [bid, ask, mark]
    if any(not isinstance(value, int | float) for value in given):
        return QuoteRefusal.NO_PRICE
    if any(not math.isfinite(value) for value in given if isinstance(value, float)):
        return QuoteRefusal.NOT_A_NUMBER
    return None


def _is_price(value: object) -> bool:
    """Tell whether a raw number can be a price."""
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _unit_price(value: float, listing: Listing) -> int:
    """Put a price on the grid, for one base unit; a multiplier divides, rounding down."""
    return price_e18(value) // listing.multiplier


def _off_book(bid_e18: int, ask_e18: int, mark_e18: int | None) -> QuoteRefusal | None:
    """Refuse a mark that contradicts the venue's own book."""
    if mark_e18 is None:
        return None
    mid = (bid_e18 + ask_e18) // 2
    far = abs(mark_e18 - mid) * PPM > MARK_OFF_BOOK_PPM * mid
    return QuoteRefusal.MARK_OFF_BOOK if far else None


def _levels(
    rows: Sequence[Sequence[Any]], listing: Listing, contract_size: float
) -> tuple[BookLevel, ...]:
    """Write one side in base units; a level without size is none."""
    units = price_e18(contract_size) * listing.multiplier
    return tuple(
        BookLevel(price_e18=_unit_price(row[0], listing), size_e18=price_e18(row[1]) * units // E18)
        for row in rows
        if row[0] is not None and row[1]
    )
