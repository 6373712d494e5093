"""The values that market data enters the house as: normalised or refused here, then frozen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.units import MarketId, UnixMs
from relayer.errors import HoldCycle

E18: Final = 10**18
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
SETTLEMENT_CURRENCY: Final = "USDC"  # marks are in it; whatever else a venue quotes is converted

Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]


class MarketDataError(HoldCycle, ValueError):
    """A value that says what market data cannot say."""


class QuoteRefusal(StrEnum):
    """Why what a venue answered is not a quote (closed set, a metric's label)."""

    NO_PRICE = "no_price"
    NO_TIME = "no_time"
    NOT_A_NUMBER = "not_a_number"
    NOT_POSITIVE = "not_positive"
    CROSSED = "crossed"
    MARK_OFF_BOOK = "mark_off_book"
    FROZEN = "frozen"  # the same with fresh stamps, while most others moved
    ABSENT = "absent"  # delisted, renamed or suspended: not in the venue's answer
    WRONG_SCALE = "wrong_scale"  # a power of ten from what the other venues say
    OTHER_ASSET = "other_asset"  # so far from the others that it means something else


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One market as one venue lists it."""

    venue: str
    symbol: str  # ccxt's unified name, e.g. BTC/USDT:USDT
    quote_currency: str
    multiplier: int = 1  # base units in one priced unit: 1,000 for a 1000PEPE contract

    def __post_init__(self) -> None:
        """Refuse a multiplier that would turn prices around."""
        if self.multiplier < 1:
            raise MarketDataError(f"{self.venue} {self.symbol}: multiplier must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """One market of ours and where it is listed."""

    market: MarketId
    symbol: str  # our own name for it, e.g. BTC
    class_id: int
    listings: tuple[Listing, ...]

    def __post_init__(self) -> None:
        """Refuse a market that is listed twice at one venue, which would then vote twice."""
        venues = [listing.venue for listing in self.listings]
        if len(set(venues)) != len(venues):
            raise MarketDataError(f"{self.symbol}: a venue is listed twice ({', '.join(venues)})")

    @property
    def venue_symbols(self) -> Mapping[str, str]:
        """Map each venue to its ccxt symbol of this market."""
        return {listing.venue: listing.symbol for listing in self.listings}

    @property
    def book_venue(self) -> str | None:
        """The venue whose book is asked for first; the markets' ids spread the load."""
        listings = self.listings
        return listings[self.market % len(listings)].venue if listings else None

    def listing(self, venue: str) -> Listing | None:
        """Find this market's listing at a venue."""
        return next((each for each in self.listings if each.venue == venue), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Best bid and ask of a perpetual, for one base unit, in its quote currency × 10^18."""

    venue: str
    market: MarketId
    quote_currency: str
    bid_e18: int
    ask_e18: int
    mark_e18: int | None  # the venue's own mark price, where it gives one
    observed_at_ms: UnixMs  # the exchange's stamp, the older one when mark and book differ
    received_at_ms: UnixMs

    def __post_init__(self) -> None:
        """Refuse what `quote_fault` refuses, so that no crossed quote can exist."""
        refusal = quote_fault(self.bid_e18, self.ask_e18, self.mark_e18)
        if refusal is not None:
            raise MarketDataError(f"{self.venue} market {self.market}: {refusal}")

    @property
    def value_e18(self) -> int:
        """The venue's vote: its mark price where it gives one, else its mid (rounded down)."""
        return self.mark_e18 if self.mark_e18 is not None else (self.bid_e18 + self.ask_e18) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedQuote:
    """What a venue answered for a market, and why it is not a quote."""

    venue: str
    market: MarketId
    reason: QuoteRefusal
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StablecoinQuote:
    """What one venue pays for one unit of a stablecoin, in USDC × 10^18."""

    venue: str
    currency: str  # e.g. USDT
    value_e18: int
    observed_at_ms: UnixMs

    def __post_init__(self) -> None:
        """Refuse a price that is none."""
        if self.value_e18 <= 0:
            raise MarketDataError(f"{self.venue} {self.currency}: price must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueFault:
    """One venue could not be asked, and what to do about it."""

    venue: str
    reason: str  # one of relayer.errors.FAULT_REASONS
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteRound:
    """One tick: all that the venues answered, and those that did not."""

    quotes: tuple[Quote, ...]
    stablecoins: tuple[StablecoinQuote, ...]
    refused: tuple[RefusedQuote, ...]
    faults: tuple[VenueFault, ...]
    taken_at_ms: UnixMs

    def of(self, market: MarketId) -> tuple[Quote, ...]:
        """Give one market's quotes, in the order of the venues."""
        return tuple(quote for quote in self.quotes if quote.market == market)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookLevel:
    """One price of a book: quote currency × 10^18, and base units × 10^18."""

    price_e18: int
    size_e18: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """One venue's order book, best price first on both sides."""

    venue: str
    market: MarketId
    quote_currency: str
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    observed_at_ms: UnixMs

    def __post_init__(self) -> None:
        """Refuse an empty, unsorted or crossed book."""
        if not self.bids or not self.asks:
            raise MarketDataError(f"{self.venue} market {self.market}: a side of the book is empty")
        if not _falls(self.bids) or not _falls(self.asks[::-1]):
            raise MarketDataError(f"{self.venue} market {self.market}: book is not sorted")
        if self.bids[0].price_e18 > self.asks[0].price_e18:
            raise MarketDataError(f"{self.venue} market {self.market}: book is crossed")
        if any(level.price_e18 <= 0 or level.size_e18 < 0 for level in (*self.bids, *self.asks)):
            raise MarketDataError(f"{self.venue} market {self.market}: price or size not positive")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandleSeries:
    """Closed bars of one market, ascending, as columns that cannot be written to.

    `open_ms` is each bar's open time; a bar is known only at its open time plus `bar_ms`. Volume
    is in base units. Arrays have shape (n,); gaps are allowed and stay gaps.
    """

    market: MarketId
    bar_ms: int
    open_ms: Int64s
    open: Float64s
    high: Float64s
    low: Float64s
    close: Float64s
    volume: Float64s
    _length: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the columns against each other and close them for writing."""
        fault = candle_fault(self.bar_ms, self.open_ms, self.prices, self.volume)
        if fault is not None:
            raise MarketDataError(f"market {self.market}, bars of {self.bar_ms} ms: {fault}")
        for column in (self.open_ms, *self.prices, self.volume):
            column.setflags(write=False)
        object.__setattr__(self, "_length", len(self.open_ms))

    @property
    def prices(self) -> tuple[Float64s, Float64s, Float64s, Float64s]:
        """Open, high, low, close."""
        return self.open, self.high, self.low, self.close

    def __len__(self) -> int:
        """Count the bars."""
        return self._length

    def between(self, start_ms: int, end_ms: int) -> CandleSeries:
        """Take the bars that open at `start_ms` or later and close at `end_ms` or earlier."""
        first = int(np.searchsorted(self.open_ms, start_ms, side="left"))
        last = int(np.searchsorted(self.open_ms, end_ms - self.bar_ms, side="right"))
        rows = slice(first, max(first, last))
        return CandleSeries(
            market=self.market,
            bar_ms=self.bar_ms,
            open_ms=self.open_ms[rows],
            open=self.open[rows],
            high=self.high[rows],
            low=self.low[rows],
            close=self.close[rows],
            volume=self.volume[rows],
        )


def quote_fault(bid_e18: int, ask_e18: int, mark_e18: int | None) -> QuoteRefusal | None:
    """Say why these prices are no quote, or None; a bid equal to the ask (locked) is one."""
    if bid_e18 <= 0 or ask_e18 <= 0 or (mark_e18 is not None and mark_e18 <= 0):
        return QuoteRefusal.NOT_POSITIVE
    if bid_e18 > ask_e18:
        return QuoteRefusal.CROSSED
    return None


def candle_fault(
    bar_ms: int, open_ms: Int64s, prices: Sequence[Float64s], volume: Float64s
) -> str | None:
    """Say what is wrong with the columns of a candle series, or None."""
    columns = (*prices, volume)
    if any(column.shape != open_ms.shape or column.ndim != 1 for column in columns):
        return "columns differ in length"
    if np.any(open_ms % bar_ms) or np.any(np.diff(open_ms) <= 0):
        return "open times are not ascending multiples of the bar"
    if not all(np.isfinite(column).all() for column in columns):
        return "a price or volume is not a finite number"
    opened, high, low, closed = prices
    if np.any(low <= 0) or np.any(volume < 0):
        return "a price is not positive or a volume is negative"
    if np.any(high < np.maximum(opened, closed)) or np.any(low > np.minimum(opened, closed)):
        return "open or close lies outside low … high"
    return None


def price_e18(value: float | str) -> int:
    """Put a venue's decimal price on the 10^-18 grid, nearest, ties to even.

    Through the shortest decimal that reads back as the float, which is what the venue wrote.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise MarketDataError("price is not a finite number")
    return int((Decimal(str(value)) * E18).to_integral_value(rounding=ROUND_HALF_EVEN))


def concatenate(parts: Sequence[CandleSeries]) -> CandleSeries:
    """Join series of one market and bar length, given in ascending order of time."""
    return CandleSeries(
        market=parts[0].market,
        bar_ms=parts[0].bar_ms,
        open_ms=np.concatenate([part.open_ms for part in parts]),
        open=np.concatenate([part.open for part in parts]),
        high=np.concatenate([part.high for part in parts]),
        low=np.concatenate([part.low for part in parts]),
        close=np.concatenate([part.close for part in parts]),
        volume=np.concatenate([part.volume for part in parts]),
    )


def empty_series(market: MarketId, bar_ms: int) -> CandleSeries:
    """Give a series without bars."""
    none = np.empty(0, dtype=np.float64)
    times = np.empty(0, dtype=np.int64)
    return CandleSeries(
        market=market, bar_ms=bar_ms, open_ms=times,
        open=none, high=none.copy(), low=none.copy(), close=none.copy(), volume=none.copy(),
    )  # fmt: skip


def _falls(levels: Sequence[BookLevel]) -> bool:
    """Tell whether prices strictly fall."""
    return all(a.price_e18 > b.price_e18 for a, b in itertools.pairwise(levels))
