"""One exchange through unmodified ccxt: bulk calls within a time, in our values and exceptions."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import ccxt.async_support as ccxt

from contracts.units import MarketId
from relayer.errors import (
    BadAnswer,
    Misconfigured,
    RelayerError,
    Unreachable,
    fault_reason,
    translate_ccxt,
)
from relayer.market.parsing import (
    parse_book,
    parse_candles,
    parse_quote,
    parse_stablecoin,
    reading,
)
from relayer.market.settings import VenueSettings
from relayer.market.values import (
    HOUR_MS,
    MINUTE_MS,
    Book,
    CandleSeries,
    Market,
    Quote,
    RefusedQuote,
    StablecoinQuote,
    VenueFault,
)

TIMEFRAMES: Final = {MINUTE_MS: "1m", HOUR_MS: "1h"}
OPEN_TIMEOUT_S: Final = 20.0  # loading a venue's markets: megabytes on the large ones
CANDLE_PAGE: Final = 300  # bars that OKX gives at most; others give more
SLOW_LANE: Final = 4  # calls for one market that may wait in ccxt's queue before a tick's calls

# What ccxt and its transport raise; everything else is a mistake of ours and ends the task.
_FOREIGN: Final = (
    ccxt.BaseError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ArithmeticError,
)

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
    """One venue: ccxt's client, loaded once, and the markets of ours that it lists."""

    def __init__(self, settings: VenueSettings, markets: Sequence[Market]) -> None:
        self.settings = settings
        self.id = settings.id
        self._listings = {
            market.market: listing
            for market in markets
            if (listing := market.listing(settings.id)) is not None
        }
        self._exchange = exchange_class(settings)(settings.ccxt_config())
        self._loading: asyncio.Task[None] | None = None
        # ccxt queues calls first come, first served: hundreds of candle calls at once would make
        # the next tick wait until its quotes are stale.
        self._slow_lane = asyncio.Semaphore(SLOW_LANE)

    async def load(self) -> None:
        """Load the venue's markets once; raises what `translate_ccxt` says, or Misconfigured.

        The loading goes on when who waits for it gives up, so that a slow venue joins later.
        """
        failed = self._loading is not None and self._loading.done() and _failed(self._loading)
        if self._loading is None or failed:
            self._loading = asyncio.create_task(self._load())
        await asyncio.shield(self._loading)

    async def close(self) -> None:
        """Close the connection."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        await self._exchange.close()

    async def _load(self) -> None:
        """Load the markets and look for ours among them."""
        await self._ask(self._exchange.load_markets(), OPEN_TIMEOUT_S)
        known = self._exchange.markets
        symbols = [listing.symbol for listing in self._listings.values()]
        unknown = [_unknown_symbol(self.id, each, known) for each in symbols if each not in known]
        if unknown:
            raise Misconfigured("; ".join(unknown))

    def can(self, capability: str) -> bool:
        """Tell whether ccxt offers a call for this venue, emulated calls not counted."""
        return self._exchange.has.get(capability) is True

    async def answer(self, received_at_ms: int) -> VenueAnswer:
        """Ask for all quotes with bulk calls; what fails is a fault, the rest counts."""
        if not self._listings:
            return VenueAnswer()
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                await self.load()
                tickers, marks, stablecoin = await asyncio.gather(
                    self._tickers(),
                    self._or_fault(self._marks()),
                    self._or_fault(self._stablecoin()),
                )
        except RelayerError as fault:
            return VenueAnswer(faults=(venue_fault(self.id, fault),))
        except TimeoutError:
            late = Unreachable(f"no answer within {self.settings.timeout_s:g} s")
            return VenueAnswer(faults=(venue_fault(self.id, late),))
        faults = tuple(each for each in (marks, stablecoin) if isinstance(each, VenueFault))
        known_marks = {} if isinstance(marks, VenueFault) else marks
        read = self._read(tickers, known_marks, received_at_ms)
        return VenueAnswer(
            quotes=tuple(each for each in read if isinstance(each, Quote)),
            stablecoins=(stablecoin,) if isinstance(stablecoin, StablecoinQuote) else (),
            refused=tuple(each for each in read if isinstance(each, RefusedQuote)),
            faults=faults + tuple(each for each in read if isinstance(each, VenueFault)),
        )

    async def book(self, market: MarketId, away: set[str]) -> Book:
        """Ask for one market's order book."""
        async with self._lane(away):
            listing = self._listings[market]
            levels = self.settings.book_levels
            call = self._exchange.fetch_order_book(listing.symbol, levels)
            raw = await self._ask(call, self.settings.timeout_s)
        size = self._exchange.markets[listing.symbol].get("contractSize") or 1.0
        return parse_book(listing, market, raw, size)

    async def candles(self, market: MarketId, ask: CandleAsk, away: set[str]) -> CandleSeries:
        """Ask for one page of bars."""
        async with self._lane(away):
            listing = self._listings[market]
            count = min(ask.limit, CANDLE_PAGE)
            frame = TIMEFRAMES[ask.bar_ms]
            call = self._exchange.fetch_ohlcv(listing.symbol, frame, ask.since_ms, count)
            rows = await self._ask(call, self.settings.timeout_s)
        return parse_candles(listing, market, ask.bar_ms, rows, ask.now_ms)

    # --- inside -------------------------------------------------------------------------------

    @asynccontextmanager
    async def _lane(self, away: set[str]) -> AsyncIterator[None]:
        """Take a turn for a call about one market, unless this venue is among those away.

        The first call that gets no answer puts it there: the markets behind it do not wait too.
        """
        async with self._slow_lane:
            if self.id in away:
                raise Unreachable(f"{self.id}: passed over, it did not answer a moment ago")
            try:
                await self._ask(self.load(), self.settings.timeout_s)
                yield
            except Unreachable:
                away.add(self.id)
                raise

    def _read(
        self, tickers: Mapping[str, Any], marks: Mapping[str, Any], received_at_ms: int
    ) -> list[Quote | RefusedQuote | VenueFault]:
        """Pick our markets out of a bulk answer; one that is not in it is not quoted.

        One that cannot be read is a fault of the venue's, and spoils no other.
        """
        read: list[Quote | RefusedQuote | VenueFault] = []
        for market, listing in self._listings.items():
            symbol = listing.symbol
            try:
                with reading(symbol):
                    found = [(tickers[symbol], marks.get(symbol))] if symbol in tickers else []
                read += [parse_quote(listing, market, *each, received_at_ms) for each in found]
            except BadAnswer as fault:
                read.append(venue_fault(self.id, fault))
        return read

    async def _tickers(self) -> Mapping[str, Any]:
        """Ask for the tickers of our markets in one call."""
        if not self.can("fetchTickers"):
            raise Misconfigured(f"{self.id}: ccxt's {self._exchange.id} has no bulk tickers")
        symbols = [listing.symbol for listing in self._listings.values()]
        return await self._translated(self._exchange.fetch_tickers(symbols))

    async def _marks(self) -> Mapping[str, Any]:
        """Ask for the mark prices of our markets in one call, where the venue has it."""
        if not self.can("fetchMarkPrices"):
            return {}
        symbols = [listing.symbol for listing in self._listings.values()]
        return await self._translated(self._exchange.fetch_mark_prices(symbols))

    async def _stablecoin(self) -> StablecoinQuote | None:
        """Ask for the stablecoin's price, where one is configured."""
        symbol = self.settings.stablecoin_symbol
        if symbol is None:
            return None
        ticker = await self._translated(self._exchange.fetch_ticker(symbol))
        return parse_stablecoin(self.id, symbol, ticker)

    async def _or_fault(self, call: Awaitable[Answer]) -> Answer | VenueFault:
        """Give a fault instead of raising it."""
        try:
            return await call
        except RelayerError as fault:
            return venue_fault(self.id, fault)

    async def _ask(self, call: Awaitable[Answer], timeout_s: float) -> Answer:
        """Await ccxt within a time, in our own exceptions."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._translated(call)
        except TimeoutError:
            raise Unreachable(f"{self.id}: no answer within {timeout_s:g} s") from None

    async def _translated(self, call: Awaitable[Answer]) -> Answer:
        """Await ccxt in our own exceptions."""
        try:
            return await call
        except RelayerError:
            raise
        except _FOREIGN as foreign:
            raise translate_ccxt(foreign) from foreign


def exchange_class(settings: VenueSettings) -> type[ccxt.Exchange]:
    """Find ccxt's class; raises Misconfigured with the nearest name."""
    if settings.ccxt_class not in ccxt.exchanges:
        message = f"venue {settings.id}: ccxt has no exchange {settings.ccxt_class}"
        raise Misconfigured(nearest(message, settings.ccxt_class, ccxt.exchanges))
    found: type[ccxt.Exchange] = getattr(ccxt, settings.ccxt_class)
    return found


def _unknown_symbol(venue: str, symbol: str, known: Mapping[str, Any]) -> str:
    """Say that a venue does not list a symbol, with the nearest that it does."""
    return nearest(f"venue {venue} lists no {symbol}", symbol, known)


def nearest(message: str, name: str, known: Collection[str]) -> str:
    """Add the nearest known name to a message."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"{message}; did you mean {near[0]}?" if near else message


def _failed(task: asyncio.Task[None]) -> bool:
    """Tell whether a task that is done ended without its work done."""
    return task.cancelled() or task.exception() is not None


def venue_fault(venue: str, error: RelayerError) -> VenueFault:
    """Write an exception as a value."""
    return VenueFault(venue=venue, reason=fault_reason(error), detail=str(error))
