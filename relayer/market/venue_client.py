"""One exchange's quotes, books and candles, by websocket where followed and by REST where not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from contracts.units import MarketId
from relayer.errors import BadAnswer, RelayerError, Unreachable
from relayer.market.books import Resiliency
from relayer.market.capabilities import VenueReads
from relayer.market.dialects import QuoteCall, dialect_of
from relayer.market.events import MarketEvents, Repair, StreamEvent, Uncounted
from relayer.market.parsing import (
    Ticker,
    bar_repairs,
    parse_book,
    parse_candles,
    parse_quote,
    parse_stablecoin,
    reading,
)
from relayer.market.quoting import TOP_LEVELS, RestQuotes, Tickers, top_of
from relayer.market.settings import VenueSettings
from relayer.market.values import (
    HOUR_MS,
    MINUTE_MS,
    Book,
    CandleSeries,
    Market,
    Quote,
    QuoteRefusal,
    RefusedQuote,
    StablecoinQuote,
    VenueFault,
)
from relayer.market.venue_link import VenueLink, venue_fault
from relayer.market.venue_streams import VenueStreams

TIMEFRAMES: Final = {MINUTE_MS: "1m", HOUR_MS: "1h"}
CANDLE_PAGE: Final = 300  # bars that OKX gives at most; others give more
# A streamed quote this old is asked for by REST too: votes must lie within a second of each other.
STREAM_FRESH_MS: Final = 1_000
KEPT_MS: Final = 5_000  # and after this it says nothing any more, whatever REST says

_OF_ALL_CALLS: Final = ("unreachable", "rate_limited")  # one connection, however many calls

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleAsk:
    """Which page of bars: those from `since_ms` on that are closed at `now_ms`."""

    bar_ms: int
    since_ms: int
    limit: int
    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueAnswer:
    """What one venue contributed to a tick."""

    quotes: tuple[Quote, ...] = ()
    stablecoins: tuple[StablecoinQuote, ...] = ()
    refused: tuple[RefusedQuote, ...] = ()
    faults: tuple[VenueFault, ...] = ()


class VenueClient:
    """One venue, asked for what the loops need."""

    def __init__(
        self,
        settings: VenueSettings,
        markets: Sequence[Market],
        events: MarketEvents | None = None,
        exchange: Any | None = None,  # noqa: ANN401 - ccxt is untyped
    ) -> None:
        self.settings = settings
        self.id = settings.id
        self.events = events or Uncounted()
        self.link = VenueLink(settings, markets, exchange)
        here = (each for each in markets if each.book_venue == settings.id)
        self.streams = VenueStreams(
            self.link.exchange,
            settings,
            self.link.listings,
            followed=[self.link.listings[each.market].symbol for each in here],
            events=self.events,
        )
        self.reads = VenueReads(self.link, self.events)
        self._rest = RestQuotes(self.link.exchange, self.link.symbols, settings.timeout_s)

    async def load(self) -> None:
        """Load the venue's markets once, then follow its streams; raises as `VenueLink.load`."""
        await self.link.load()
        self.streams.start()

    async def close(self) -> None:
        """Close the connections."""
        await self.streams.close()
        await self.link.close()

    async def answer(self, received_at_ms: int) -> VenueAnswer:
        """Give all quotes, from streams where they are fresh; what fails is a fault."""
        if not self.link.listings and self.settings.stablecoin_symbol is None:
            return VenueAnswer()
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                await self.load()
                read, stablecoin = await asyncio.gather(
                    self._quotes(received_at_ms), self._or_fault(self._stablecoin())
                )
        except RelayerError as fault:
            return VenueAnswer(faults=(venue_fault(self.id, fault),))
        except TimeoutError:
            late = Unreachable(f"no answer within {self.settings.timeout_s:g} s")
            return VenueAnswer(faults=(venue_fault(self.id, late),))
        found = [*read, stablecoin]
        for each in read:
            if isinstance(each, RefusedQuote):
                self.events.refused(self.id, each.reason)
        return VenueAnswer(
            quotes=tuple(each for each in found if isinstance(each, Quote)),
            stablecoins=tuple(each for each in found if isinstance(each, StablecoinQuote)),
            refused=tuple(each for each in found if isinstance(each, RefusedQuote)),
            faults=_told_once([each for each in found if isinstance(each, VenueFault)]),
        )

    async def book(self, market: MarketId, away: set[str], now_ms: int | None = None) -> Book:
        """Give one market's order book: the streamed one where it is fresh, else ask for it."""
        exchange, listing = self.link.exchange, self.link.listings[market]
        levels = self.settings.book_levels
        kept = None if now_ms is None else self.streams.books.newest(listing.symbol, now_ms)
        if kept is not None:
            with suppress(BadAnswer):  # it is counted, and REST may have a better one
                return self._book(market, kept)
        async with self.link.lane(away):
            raw = await self.link.ask(lambda: exchange.fetch_order_book(listing.symbol, levels))
        return self._book(market, raw)

    def resiliency(self, market: MarketId) -> Resiliency | None:
        """Give what streams told of how fast a market's depth comes back."""
        return self.streams.books.resiliency(self.link.listings[market].symbol)

    async def candles(self, market: MarketId, ask: CandleAsk, away: set[str]) -> CandleSeries:
        """Ask for one page of bars."""
        exchange, listing = self.link.exchange, self.link.listings[market]
        page = (TIMEFRAMES[ask.bar_ms], ask.since_ms, min(ask.limit, CANDLE_PAGE))
        async with self.link.lane(away):
            rows = await self.link.ask(lambda: exchange.fetch_ohlcv(listing.symbol, *page))
        try:
            bars = parse_candles(listing, market, ask.bar_ms, rows, ask.now_ms)
        except BadAnswer:
            self.events.repaired(self.id, Repair.BAR_REFUSED)
            raise
        for repair in bar_repairs(rows):
            self.events.repaired(self.id, repair)
        return bars

    # --- inside -------------------------------------------------------------------------------

    def _book(self, market: MarketId, raw: Mapping[str, Any]) -> Book:
        """Read a book; one that is none is counted."""
        listing = self.link.listings[market]
        try:
            return parse_book(listing, market, raw, self.link.contract_size(market))
        except BadAnswer:
            self.events.repaired(self.id, Repair.BOOK_REFUSED)
            raise

    async def _quotes(self, received_at_ms: int) -> list[Quote | RefusedQuote | VenueFault]:
        """Take what the streams say; where that is not all, and fresh, ask by REST as well."""
        if not self.link.listings:
            return []
        streamed = self._streamed()
        if streamed is not None and self._is_fresh(*streamed, received_at_ms):
            return self._read(*streamed, received_at_ms)
        if streamed is not None:
            self.events.stream(self.id, StreamEvent.FALLBACK)
        tickers, marks = await asyncio.gather(
            self._or_fault(self.link.polite(self._rest.tickers)),
            self._or_fault(self.link.polite(self._rest.marks)),
        )
        faults = [each for each in (tickers, marks) if isinstance(each, VenueFault)]
        tops, known = (_recent(kept, received_at_ms) for kept in streamed or ({}, {}))
        if isinstance(tickers, VenueFault) and not tops:
            return list(faults[:1])
        asked_marks: Tickers = {} if isinstance(marks, VenueFault) else marks
        with reading("tickers"):
            known = _newest(asked_marks, known)
            if isinstance(tickers, VenueFault):  # it says nothing of what streams do not have
                return [*faults, *self._read(tops, known, received_at_ms, only=tops)]
            if len(self.link.symbols) > 1 and not any(x in tickers for x in self.link.symbols):
                raise BadAnswer(f"{self.id}: an answer with none of our markets")
            lag_ms = self.settings.silent_after_s * 1_000
            if behind := _behind(tickers, streamed[0] if streamed else {}, lag_ms):
                self.streams.lagging(behind)
            return [*faults, *self._read(_newest(tickers, tops), known, received_at_ms)]

    def _streamed(self) -> tuple[Tickers, Tickers] | None:
        """Give what the streams know of best prices and marks; None where none are followed."""
        if "quotes" not in self.settings.streams:
            return None
        self.streams.look()
        return self.streams.tops, self.streams.marks

    def _is_fresh(self, tops: Tickers, marks: Tickers, now_ms: int) -> bool:
        """Tell whether streams have all of our markets, of a moment ago."""
        needed = [tops, marks] if self.streams.has("watchMarkPrices") else [tops]
        wanted = self.link.symbols
        return self.streams.is_live and all(_has_all(kept, wanted, now_ms) for kept in needed)

    def _read(
        self,
        tickers: Tickers,
        marks: Tickers,
        received_at_ms: int,
        only: Container[str] | None = None,
    ) -> list[Quote | RefusedQuote | VenueFault]:
        """Pick our markets out of an answer; what is not in it is refused as absent.

        One that cannot be read is a fault of the venue's, and spoils no other.
        """
        read: list[Quote | RefusedQuote | VenueFault] = []
        for market, listing in self.link.listings.items():
            if only is not None and listing.symbol not in only:
                continue
            try:
                with reading(listing.symbol):
                    ticker, mark = tickers.get(listing.symbol), marks.get(listing.symbol)
                if ticker is None and listing.symbol not in tickers:
                    read += self._absent(market)
                else:
                    read.append(parse_quote(listing, market, ticker, mark, received_at_ms))
            except BadAnswer as fault:
                read.append(venue_fault(self.id, fault))
        return read

    def _absent(self, market: MarketId) -> list[RefusedQuote]:
        """Refuse a market that the answer does not have; books come in turns, so they may wait."""
        if dialect_of(self.settings.ccxt_class).quotes is QuoteCall.BOOKS:
            return []
        detail = f"no {self.link.listings[market].symbol}: delisted, renamed or suspended"
        return [
            RefusedQuote(venue=self.id, market=market, reason=QuoteRefusal.ABSENT, detail=detail)
        ]

    async def _stablecoin(self) -> StablecoinQuote | None:
        """Ask for the stablecoin's price, where one is configured.

        Its book is asked for where the venue's tickers carry no time of their own.
        """
        symbol, exchange = self.settings.stablecoin_symbol, self.link.exchange
        if symbol is None:
            return None
        if dialect_of(self.settings.ccxt_class).quotes is QuoteCall.TICKERS:
            ticker = await self.link.polite(lambda: exchange.fetch_ticker(symbol))
            return parse_stablecoin(self.id, symbol, ticker)
        book = await self.link.polite(lambda: exchange.fetch_order_book(symbol, TOP_LEVELS))
        return parse_stablecoin(self.id, symbol, top_of(book))

    async def _or_fault(self, call: Awaitable[Answer]) -> Answer | VenueFault:
        """Give a fault instead of raising it."""
        try:
            return await call
        except RelayerError as fault:
            return venue_fault(self.id, fault)


def _told_once(faults: Sequence[VenueFault]) -> tuple[VenueFault, ...]:
    """Leave out what several calls say of one connection."""
    of_all = {fault.reason: fault for fault in reversed(faults) if fault.reason in _OF_ALL_CALLS}
    return (*of_all.values(), *(each for each in faults if each.reason not in of_all))


def _has_all(kept: Tickers, symbols: Sequence[str], now_ms: int) -> bool:
    """Tell whether a stream has each symbol, of a moment ago."""
    return all(
        each in kept and now_ms - kept[each]["timestamp"] <= STREAM_FRESH_MS for each in symbols
    )


def _behind(asked: Tickers, streamed: Tickers, lag_ms: float) -> list[str]:
    """Find streams that ended for one market alone: REST has long had newer prices."""
    return [
        symbol
        for symbol, entry in asked.items()
        if symbol in streamed
        and isinstance(entry.get("timestamp"), int)
        and entry["timestamp"] - streamed[symbol]["timestamp"] > lag_ms
    ]


def _recent(kept: Mapping[str, Ticker], now_ms: int) -> Tickers:
    """Leave out what streams said too long ago to say anything of now."""
    return {name: each for name, each in kept.items() if now_ms - each["timestamp"] <= KEPT_MS}


def _newest(asked: Tickers, streamed: Mapping[str, Ticker]) -> dict[str, Ticker]:
    """Join two sources, the newer of each market; one without a stamp gives way to one with."""
    joined = dict(asked)
    for symbol, entry in streamed.items():
        other = joined.get(symbol)
        stamp = None if other is None else other.get("timestamp")
        if not isinstance(stamp, int) or stamp <= entry["timestamp"]:
            joined[symbol] = entry
    return joined
