"""Order books as one exchange streams them, through unmodified ccxt: the newest, and how they heal.

ccxt merges the changes. Where it checks their numbers it says so when one is missing: that book is
subscribed to anew, after a pause, and the venue's other streams go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from relayer.errors import BadAnswer
from relayer.market.asking import translated
from relayer.market.books import Resiliency
from relayer.market.dialects import dialect_of
from relayer.market.events import MarketEvents, StreamEvent
from relayer.market.parsing import reading
from relayer.market.settings import VenueSettings
from relayer.market.streams import Channel

FRESH_MS: Final = 5_000  # an older book is asked for by REST
SAMPLE_MS: Final = 250  # of the book's own stamps, between two looks at its depth
NEAR: Final = 0.001  # depth within 10 bp of the mid is what a shock takes

RawBook = Mapping[str, Any]


class BookStreams:
    """The books of one venue that are followed; `crossed` is told of what must have a gap."""

    def __init__(
        self,
        exchange: Any,  # noqa: ANN401 - ccxt is untyped
        settings: VenueSettings,
        symbols: Sequence[str],
        events: MarketEvents,
        crossed: Callable[[str], None],
    ) -> None:
        self._exchange = exchange
        self._settings = settings
        self._symbols = tuple(symbols)
        self._events = events
        self._crossed = crossed
        self._levels = dialect_of(settings.ccxt_class).streamed_levels
        self._not_before: dict[str, float] = {}
        self._sampled_ms: dict[str, int] = {}
        self._resiliency: dict[str, Resiliency] = {}

    def channels(self) -> list[Channel]:
        """List the books that are configured and that ccxt says the venue streams."""
        can = self._exchange.has.get("watchOrderBook") is True
        if not can or "books" not in self._settings.streams:
            return []
        return [
            Channel(
                name=f"levels of {symbol}",
                watch=partial(self._watch, symbol),
                take=partial(self._take, symbol),
                may_be_quiet=True,
            )
            for symbol in self._symbols
        ]

    def newest(self, symbol: str, now_ms: int) -> RawBook | None:
        """Give a book as ccxt keeps it, unless there is none or it is too old."""
        book = self._exchange.orderbooks.get(symbol)
        if book is None or not isinstance(book.get("timestamp"), int):
            return None
        fresh = abs(now_ms - book["timestamp"]) <= FRESH_MS
        kept: RawBook = book.limit()
        return kept if fresh and kept["bids"] and kept["asks"] else None

    def resiliency(self, symbol: str) -> Resiliency | None:
        """Give what is known of how fast a market's depth comes back; None: it is not followed."""
        return self._resiliency.get(symbol)

    def sample(self, symbol: str) -> None:
        """Note how deep a book is now, for its resiliency."""
        book = self._exchange.orderbooks.get(symbol)
        if book is None or not isinstance(book.get("timestamp"), int):
            return
        if book["timestamp"] - self._sampled_ms.get(symbol, 0) < SAMPLE_MS:
            return
        self._sampled_ms[symbol] = book["timestamp"]
        with reading(f"the levels of {symbol}"):
            depth = _near_depth(book)
        if depth is None:
            self._crossed(symbol)
        elif depth > 0:
            self._resiliency.setdefault(symbol, Resiliency()).observe(book["timestamp"], depth)

    async def _watch(self, symbol: str) -> None:
        """Wait for the next change; a missing one costs this book alone."""
        await asyncio.sleep(self._not_before.get(symbol, 0.0) - time.monotonic())
        try:
            await translated(self._exchange.watch_order_book(symbol, self._levels))
        except BadAnswer:  # ccxt has let go of the subscription
            self._exchange.orderbooks.pop(symbol, None)
            # OKX allows 480 subscriptions an hour on one connection.
            self._not_before[symbol] = time.monotonic() + self._settings.silent_after_s
            self._events.stream(self._settings.id, StreamEvent.GAP)

    def _take(self, symbol: str, _: object) -> None:
        self.sample(symbol)


def _near_depth(book: RawBook) -> float | None:
    """Add up the value near the mid, in the venue's own units; None where the book is crossed."""
    bids, asks = book["bids"], book["asks"]
    if not bids or not asks:
        return 0.0
    if bids[0][0] > asks[0][0]:
        return None
    mid = (bids[0][0] + asks[0][0]) / 2
    total = 0.0
    for side in (bids, asks):
        for level in side:
            if abs(level[0] - mid) > NEAR * mid:
                break
            total += level[0] * level[1]
    return float(total)
