"""An order book kept from a snapshot and changes, and what can be read off it. Pure.

A book is right only while every change since its snapshot was applied, in order. So each change
says which number it follows; after a gap the book says nothing until the next snapshot.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from contracts.units import PPM, MarketId, UnixMs
from relayer.market.values import E18, Book, BookLevel, Listing, MarketDataError

KEPT_SHOCKS: Final = 100  # the half-life is the median of so many, the newest
LADDER_USDC: Final = (10_000, 50_000, 100_000, 500_000, 1_000_000)

Levels = Iterable[tuple[int, int]]  # price × 10^18, size × 10^18


class BookState(StrEnum):
    """Whether a book may be read."""

    WAITING = "waiting"  # no snapshot yet
    LIVE = "live"
    GAP = "gap"  # a change is missing
    CROSSED = "crossed"  # a change must be missing: nobody sells below the best bid


class Applied(StrEnum):
    """What became of a message (closed set)."""

    TAKEN = "taken"
    OLD = "old"  # from before the snapshot, or seen already: left out
    IGNORED = "ignored"  # after a gap, until the next snapshot
    GAP = "gap"
    CROSSED = "crossed"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookChange:
    """Levels that changed; a size of 0 removes one.

    Numbers are the venue's: `sequence` is this change's last one, and `follows` the one it builds
    on (OKX's `prevSeqId`; one less than its first on Binance and Kraken). Venues without numbers
    give None, and their gaps show only when the book crosses.
    """

    bids: tuple[tuple[int, int], ...] = ()
    asks: tuple[tuple[int, int], ...] = ()
    sequence: int | None = None
    follows: int | None = None
    at_ms: int = 0


class _Side:
    """One side of a book: sizes by price, and the prices in ascending order."""

    __slots__ = ("prices", "sizes")

    def __init__(self) -> None:
        self.prices: list[int] = []
        self.sizes: dict[int, int] = {}

    def put(self, price: int, size: int) -> None:
        known = price in self.sizes
        if size > 0:
            self.sizes[price] = size
            if not known:
                bisect.insort(self.prices, price)
        elif known:
            del self.sizes[price]
            del self.prices[bisect.bisect_left(self.prices, price)]


class LiveBook:
    """One market's book, from a venue's snapshots and changes."""

    def __init__(self, listing: Listing, market: MarketId) -> None:
        self._listing = listing
        self._market = market
        self._bids = _Side()
        self._asks = _Side()
        self._sequence: int | None = None
        self._at_ms = 0
        self.state = BookState.WAITING

    @property
    def needs_snapshot(self) -> bool:
        """Tell whether nothing can be read until the venue sends the whole book again."""
        return self.state is not BookState.LIVE

    def load(self, snapshot: BookChange) -> Applied:
        """Start from a whole book; a negative price or size is refused with MarketDataError."""
        self._check(snapshot)
        self._bids, self._asks = _Side(), _Side()
        self.state = BookState.LIVE
        return self._take(snapshot)

    def apply(self, change: BookChange) -> Applied:
        """Apply one change, unless it is old, or one before it is missing."""
        if self.needs_snapshot:
            return Applied.IGNORED
        self._check(change)
        follows_on = change.follows is not None and change.follows == self._sequence
        # One that follows on counts even when its number is lower: OKX starts anew at times.
        if change.sequence is not None and self._sequence is not None and not follows_on:
            if change.sequence <= self._sequence:
                return Applied.OLD
            # What overlaps the snapshot (`follows` before it) is right: sizes are absolute.
            if change.follows is not None and change.follows > self._sequence:
                self.state = BookState.GAP
                return Applied.GAP
        return self._take(change)

    def book(self) -> Book | None:
        """Give the book as a value, or None where there is nothing to be read."""
        if self.needs_snapshot or not self._bids.prices or not self._asks.prices:
            return None
        return Book(
            venue=self._listing.venue,
            market=self._market,
            quote_currency=self._listing.quote_currency,
            bids=_levels(self._bids, reversed(self._bids.prices)),
            asks=_levels(self._asks, self._asks.prices),
            observed_at_ms=UnixMs(self._at_ms),
        )

    def best(self) -> tuple[int, int] | None:
        """Give best bid and ask, or None where there is nothing to be read."""
        if self.needs_snapshot or not self._bids.prices or not self._asks.prices:
            return None
        return self._bids.prices[-1], self._asks.prices[0]

    def _take(self, change: BookChange) -> Applied:
        for side, levels in ((self._bids, change.bids), (self._asks, change.asks)):
            for price, size in levels:
                side.put(price, size)
        self._sequence, self._at_ms = change.sequence, max(self._at_ms, change.at_ms)
        best = self.best()
        if best is not None and best[0] > best[1]:
            self.state = BookState.CROSSED
            return Applied.CROSSED
        return Applied.TAKEN

    def _check(self, change: BookChange) -> None:
        if any(price <= 0 or size < 0 for price, size in (*change.bids, *change.asks)):
            symbol = f"{self._listing.venue} {self._listing.symbol}"
            raise MarketDataError(f"{symbol}: a price is not above 0 or a size is negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slippage:
    """What it costs to trade a value at once, against the mid, rounded up."""

    value: int  # in whole units of the quote currency
    buy_ppm: int | None  # None: the book does not hold so much
    sell_ppm: int | None


def slippage_ladder(book: Book, values: Sequence[int] = LADDER_USDC) -> tuple[Slippage, ...]:
    """Say for a ladder of values how far from the mid a market order would end up on average."""
    mid = mid_e18(book)
    return tuple(
        Slippage(
            value=value,
            buy_ppm=_away(book.asks, value * E18, mid),
            sell_ppm=_away(book.bids, value * E18, mid),
        )
        for value in values
    )


def imbalance_ppm(book: Book, band_bp: int = 10) -> int:
    """Say which side is heavier near the mid, −10^6 (only asks) to 10^6 (only bids)."""
    mid = mid_e18(book)
    reach = mid * band_bp // 10_000
    bids = sum(x.price_e18 * x.size_e18 for x in book.bids if mid - x.price_e18 <= reach)
    asks = sum(x.price_e18 * x.size_e18 for x in book.asks if x.price_e18 - mid <= reach)
    return 0 if bids + asks == 0 else (bids - asks) * PPM // (bids + asks)


def mid_e18(book: Book) -> int:
    """Give the middle between the best prices, rounded down."""
    return (book.bids[0].price_e18 + book.asks[0].price_e18) // 2


class Resiliency:
    """How fast depth comes back: the half-life of shocks to it, as seen so far.

    A shock is a fall of depth to at most `fallen` of its running average; it has recovered when
    half of what was missing is back. Until one has, nothing is known. The average moves slowly
    (`weight`), so that a shock does not become what is usual.
    """

    def __init__(self, fallen: float = 0.7, weight: float = 0.02) -> None:
        self._fallen = fallen
        self._weight = weight
        self._usual: float | None = None
        self._shock: tuple[int, float] | None = None  # when it began, and half way back
        self._half_lives_ms: deque[int] = deque(maxlen=KEPT_SHOCKS)

    @property
    def half_life_ms(self) -> int | None:
        """The median time in which half of what was taken came back, or None."""
        known = sorted(self._half_lives_ms)
        return known[len(known) // 2] if known else None

    @property
    def shocks(self) -> int:
        """How many shocks have recovered, of the newest."""
        return len(self._half_lives_ms)

    def observe(self, at_ms: int, depth: float) -> None:
        """Note the depth of a moment; moments come in order."""
        if self._usual is None:
            self._usual = depth
        if self._shock is not None:
            began_ms, half_way = self._shock
            if depth >= half_way:
                self._half_lives_ms.append(at_ms - began_ms)
                self._shock = None
        elif depth <= self._fallen * self._usual:
            self._shock = at_ms, (depth + self._usual) / 2
        self._usual += self._weight * (depth - self._usual)


def _away(levels: Sequence[BookLevel], value_e18: int, mid: int) -> int | None:
    """Say how far the average price of a value lies from the mid, in ppm, rounded up."""
    whole = left = value_e18 * E18  # value × 10^36, as price × size is
    size = 0
    for level in levels:
        worth = level.price_e18 * level.size_e18
        if worth < left:
            size, left = size + level.size_e18, left - worth
            continue
        average = Fraction(whole) / (size + Fraction(left, level.price_e18))
        return math.ceil(abs(average - mid) * PPM / mid)
    return None


def _levels(side: _Side, prices: Iterable[int]) -> tuple[BookLevel, ...]:
    return tuple(BookLevel(price_e18=price, size_e18=side.sizes[price]) for price in prices)
