"""One exchange's websockets through unmodified ccxt: the newest quotes, and what happened.

ccxt keeps what its streams said last; after every message that wakes us, and at every tick, we look
at what it keeps, since of a burst of messages ccxt gives back the first alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from contracts.units import MarketId
from relayer.market.asking import FOREIGN
from relayer.market.book_streams import BookStreams
from relayer.market.dialects import QuoteStream, dialect_of
from relayer.market.event_streams import EventStreams
from relayer.market.events import MarketEvents, StreamEvent
from relayer.market.parsing import Ticker, reading
from relayer.market.quoting import top_of
from relayer.market.settings import VenueSettings
from relayer.market.streams import (
    Channel,
    StreamPorts,
    StreamRules,
    StreamState,
    StreamSupervisor,
)
from relayer.market.values import Listing

_CLOSE_TIMEOUT_S: Final = 1.0  # a peer that is gone does not answer a goodbye
_NEEDS: Final = {
    QuoteStream.TICKERS: "watchTickers",
    QuoteStream.BIDS_ASKS: "watchBidsAsks",
    QuoteStream.BOOKS: "watchOrderBook",
}

Listings = Mapping[MarketId, Listing]


class VenueStreams:
    """What one venue's streams say; begins with `start`, ends with `close`.

    `followed` are the symbols whose books are followed here, where books are.
    """

    def __init__(
        self,
        exchange: Any,  # noqa: ANN401 - ccxt is untyped
        settings: VenueSettings,
        listings: Listings,
        followed: Sequence[str],
        events: MarketEvents,
    ) -> None:
        self._exchange = exchange
        self._settings = settings
        self._listings = listings
        self._events = events
        self._by_symbol = {listing.symbol: market for market, listing in listings.items()}
        self._call = dialect_of(settings.ccxt_class).stream
        self._task: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._supervisor: StreamSupervisor | None = None
        self.tops: dict[str, Ticker] = {}  # best prices, by symbol
        self.marks: dict[str, Ticker] = {}
        self._heard: dict[str, float] = {}  # when a market last said something newer
        self.happened = EventStreams(exchange, settings, listings, events)
        self.books = BookStreams(
            exchange, settings, followed, events, crossed=partial(self._gap, "the book is crossed")
        )

    def start(self) -> None:
        """Begin to follow what is configured and what ccxt says that the venue has."""
        channels = self._channels()
        if self._task is not None or not channels:
            return
        self._supervisor = StreamSupervisor(
            channels,
            StreamRules(silent_after_s=self._settings.silent_after_s),
            StreamPorts(
                reset=self._reset, count=lambda event: self._events.stream(self._settings.id, event)
            ),
        )
        self._task = asyncio.create_task(self._supervisor.run())

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for task in self._closing:
            task.cancel()

    @property
    def state(self) -> str:
        """Say where the streams stand, and what ended them last."""
        if self._supervisor is None:
            return "none"
        last = self._supervisor.last
        return self._supervisor.state.value + (f" ({last.event}: {last.detail})" if last else "")

    @property
    def is_live(self) -> bool:
        """Tell whether messages come in."""
        return self._supervisor is not None and self._supervisor.state is StreamState.LIVE

    def has(self, capability: str) -> bool:
        """Tell whether ccxt follows it, emulated calls not counted."""
        return self._exchange.has.get(capability) is True

    def lagging(self, symbols: Iterable[str]) -> None:
        """Start anew where REST has long had newer prices for these than their streams.

        Long by this machine's time too: a replayed clock runs minutes between two messages.
        """
        spoke = time.monotonic() - self._settings.silent_after_s
        quiet = [symbol for symbol in symbols if self._heard.get(symbol, spoke) < spoke]
        if quiet and self._supervisor is not None and self.is_live:
            self._supervisor.restart(StreamEvent.LAGGING, ", ".join(quiet))

    def look(self) -> None:
        """Take over what ccxt keeps of our markets; raises BadAnswer for what cannot be read."""
        for symbol in self._by_symbol:
            for kept in (self._exchange.tickers, self._exchange.bidsasks):
                self._note(symbol, self._stamped(kept.get(symbol)))
            if self._call is QuoteStream.BOOKS:
                self._look_at_book(symbol)

    # --- inside -------------------------------------------------------------------------------

    def _channels(self) -> list[Channel]:
        """List what to follow."""
        wanted = self._settings.streams
        channels: list[Channel] = []
        if "quotes" in wanted and self.has(_NEEDS[self._call]):
            channels += self._quote_channels()
        if not (channels and self._call is QuoteStream.BOOKS):  # else the same books once more
            channels += self.books.channels()
        return channels + self.happened.channels()

    def _quote_channels(self) -> list[Channel]:
        """Follow best prices, and mark prices where they have a stream of their own."""
        exchange, symbols = self._exchange, list(self._by_symbol)

        def take(_: object) -> None:
            self.look()

        if self._call is QuoteStream.BOOKS:
            return [
                Channel(
                    name=f"book of {symbol}",
                    watch=partial(exchange.watch_order_book, symbol),
                    take=partial(self._take_book, symbol),
                )
                for symbol in symbols
            ]
        calls = {
            QuoteStream.TICKERS: exchange.watch_tickers,
            QuoteStream.BIDS_ASKS: exchange.watch_bids_asks,
        }
        channels = [Channel(name="quotes", watch=partial(calls[self._call], symbols), take=take)]
        if self.has("watchMarkPrices"):
            watch = partial(exchange.watch_mark_prices, symbols)
            channels.append(Channel(name="marks", watch=watch, take=take))
        return channels

    def _take_book(self, symbol: str, _: object) -> None:
        self._look_at_book(symbol)

    def _look_at_book(self, symbol: str) -> None:
        """Take over the top of a book."""
        book = self._exchange.orderbooks.get(symbol)
        if book is not None and book["bids"] and book["asks"]:
            self._note(symbol, top_of(book))
            self.books.sample(symbol)

    def _stamped(self, entry: Ticker | None) -> Ticker | None:
        """Add the exchange's stamp where ccxt leaves it in the message."""
        field = dialect_of(self._settings.ccxt_class).stamp_field
        if entry is None or field is None:
            return entry
        with reading("a ticker's time"):
            return {**entry, "timestamp": entry["info"].get(field)}

    def _note(self, symbol: str, entry: Ticker | None) -> None:
        """Keep what is newer than what is known; a crossed top means that messages are missing."""
        if entry is None or not isinstance(entry.get("timestamp"), int):
            return
        # A mark inside the ticker goes with it: kept apart it would age what REST gives later.
        if entry.get("markPrice") is not None and self.has("watchMarkPrices"):
            self._keep_newer(self.marks, symbol, entry)
        bid, ask = entry.get("bid"), entry.get("ask")
        if bid is None or ask is None:
            return
        with reading(symbol):
            crossed = bid > ask
        if crossed:
            self._gap(f"bid {bid} above ask {ask}", symbol)
        self._keep_newer(self.tops, symbol, entry)

    def _gap(self, detail: str, symbol: str) -> None:
        """Start anew, from new snapshots: messages must be missing."""
        if self._supervisor is not None:
            self._supervisor.restart(StreamEvent.GAP, f"{symbol}: {detail}")

    def _keep_newer(self, kept: dict[str, Ticker], symbol: str, entry: Ticker) -> None:
        """Keep an entry unless a newer one is there."""
        known = kept.get(symbol)
        if known is None or known["timestamp"] < entry["timestamp"]:
            self._heard[symbol] = time.monotonic()
        if known is None or known["timestamp"] <= entry["timestamp"]:
            kept[symbol] = entry

    async def _reset(self) -> None:
        """Let go of every connection and of what ccxt keeps of it, so that the next is new.

        ccxt would merge the next connection's first change into what the last one left.
        """
        clients = list(self._exchange.clients.values())
        for kept in (self._exchange.clients, self._exchange.orderbooks):
            kept.clear()
        for kept in (self._exchange.tickers, self._exchange.bidsasks):
            kept.clear()
        for client in clients:
            task = asyncio.create_task(_close(client))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _close(client: Any) -> None:  # noqa: ANN401
    """Close a connection that may be dead, or still about to be made."""
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            if client.connecting:
                await client.connected
            await client.close()
    except (TimeoutError, *FOREIGN):
        return
