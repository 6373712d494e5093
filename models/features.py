"""What a market looked like at one instant: the same columns for training and for serving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.bars import BarMatrix, aggregate, clean
from models.columns import DAY_MS, five_minute_columns, hour_columns
from models.state import in_state

FEATURE_VERSION = 2

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
HOURS_LOOK_BACK = 720
"""Bars of one hour that a window may hold: 30 days (design.md section 3)."""
MINUTES_LOOK_BACK = 1_440
"""Bars of one minute that a window may hold: one day (design.md section 3)."""
HOURS_MINIMUM = 72
"""Fewer present hours than 3 days cannot be scored (design.md section 3)."""
RECENT_HOURS_MINIMUM = 12
"""Fewer present hours in the last day say nothing about today."""
FIVE_MINUTES_IN_DAY = 288
MARKETS_AT_ONCE = 16
"""Markets whose windows are worked on together: few enough to stay in a processor's cache."""
MINUTES_MINIMUM = 72
"""Bars of five minutes (6 hours) below which the minutes family is left unknown."""
HOUR_PREFIXES = ("hours_", "market_", "clock_")
"""How the columns of the hours family begin; they stand before all others."""
BOOK_NAMES = ("book_depth_10", "book_depth_25", "book_depth_50", "book_depth_100")
"""Money within so many basis points of the mid, on the thinner side, in quote units."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candles:
    """Closed bars of one length, ascending by open time; a missing bar has no row.

    Attributes
    ----------
    bar_ms : int
        Length of a bar in milliseconds.
    open_ms : ndarray of int64, shape (n,)
        Open time of each bar, milliseconds UTC, strictly ascending multiples of ``bar_ms``.
    open, high, low, close : ndarray of float64, shape (n,)
        Prices in the quote currency.
    volume : ndarray of float64, shape (n,)
        Amount traded, in base units.
    """

    bar_ms: int
    open_ms: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    def __post_init__(self) -> None:
        """Refuse columns of other types or lengths and bars out of order."""
        if self.bar_ms <= 0:
            raise ValueError(f"bar_ms must be positive, not {self.bar_ms}")
        if self.open_ms.dtype != np.int64 or self.open_ms.ndim != 1:
            raise ValueError("open_ms must be a one-dimensional int64 array")
        for name in ("open", "high", "low", "close", "volume"):
            column = getattr(self, name)
            if column.dtype != np.float64 or column.shape != self.open_ms.shape:
                raise ValueError(f"{name} must be a float64 array as long as open_ms")
        if np.any(np.diff(self.open_ms) <= 0):
            raise ValueError("bars must be strictly ascending by open_ms")
        if np.any(self.open_ms % self.bar_ms):
            raise ValueError("every open_ms must be a multiple of bar_ms")

    def __len__(self) -> int:
        """Return the number of bars that are present."""
        return len(self.open_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookDepth:
    """Resting money within 10, 25, 50 and 100 basis points of the mid, in quote units.

    Attributes
    ----------
    bid_usdc, ask_usdc : tuple of 4 floats
        Cumulative depth on each side; nothing negative.
    """

    bid_usdc: tuple[float, float, float, float]
    ask_usdc: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        """Refuse depth that is negative or not a number."""
        for depth in (*self.bid_usdc, *self.ask_usdc):
            if not 0.0 <= depth < float("inf"):
                raise ValueError(f"depth must be a finite amount of at least 0, not {depth}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarketWindow:
    """One market's past as it was known at `as_of_ms`; bars not closed by then are ignored.

    Attributes
    ----------
    market : int
        Market id of the contracts.
    as_of_ms : int
        The instant of the decision, milliseconds UTC.
    hours : Candles
        Hourly bars, at most the latest 30 days are read.
    minutes : Candles
        Bars of one or five minutes, at most the latest day is read; may be empty.
    book : BookDepth or None
        Depth at `as_of_ms`, where a book was observed.
    """

    market: int
    as_of_ms: int
    hours: Candles
    minutes: Candles
    book: BookDepth | None = None

    def __post_init__(self) -> None:
        """Refuse bars of a length that the features do not know."""
        if self.hours.bar_ms != HOUR_MS:
            raise ValueError("hours must have bars of 3,600,000 ms")
        if self.minutes.bar_ms not in (MINUTE_MS, 5 * MINUTE_MS):
            raise ValueError("minutes must have bars of 60,000 or 300,000 ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureVector:
    """What the models see of one market; what is unknown has no name here.

    Attributes
    ----------
    market, as_of_ms : int
        As in the window.
    names : tuple of str
        The known features, in the fixed order of the families: hours (always), minutes, book.
    values : tuple of float
        One finite number a name.
    """

    market: int
    as_of_ms: int
    names: tuple[str, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse a name without a number: what is unknown has no name."""
        if len(self.names) != len(self.values) or not all(map(math.isfinite, self.values)):
            raise ValueError("every name needs one finite value")


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmingUp:
    """A market that cannot be scored yet, and why."""

    market: int
    as_of_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureTable:
    """Features of many rows: the columns->matrix form that training and serving share.

    Attributes
    ----------
    names : tuple of str
        Column names, in order.
    values : ndarray of float64, shape (rows, columns)
        A row whose `faults` entry is set has no meaning.
    faults : tuple of (str or None)
        Why a row cannot be used, or None.
    """

    names: tuple[str, ...]
    values: FloatArray
    faults: tuple[str | None, ...]


def feature_vectors(windows: Sequence[MarketWindow]) -> tuple[FeatureVector | WarmingUp, ...]:
    """Compute the features of the markets of one snapshot.

    All columns but those of state (`models.state`) are what the market alone would get; the
    state is the median over the markets given that can be scored, in whatever order.
    """
    vectors: list[FeatureVector | WarmingUp] = []
    for start in range(0, len(windows), MARKETS_AT_ONCE):
        vectors += _few_vectors(windows[start : start + MARKETS_AT_ONCE])
    return _together(vectors)


def feature_vector(window: MarketWindow) -> FeatureVector | WarmingUp:
    """Compute the features of one market at its instant; its state is its own."""
    return feature_vectors((window,))[0]


def hour_table(bars: BarMatrix, as_of_ms: IntArray) -> FeatureTable:
    """Compute the hours family of many rows of 720 hourly bars that end at `as_of_ms`."""
    cleaned = clean(bars)
    columns = hour_columns(cleaned, as_of_ms)
    present = cleaned.present
    total, day, last = (
        present.sum(axis=1),
        present[:, -24:].sum(axis=1),
        present[:, -3:].sum(axis=1),
    )
    faults = tuple(
        _hours_fault(int(hours), int(recent), int(latest))
        for hours, recent, latest in zip(total, day, last, strict=True)
    )
    return FeatureTable(names=tuple(columns), values=_stacked(columns), faults=faults)


def minute_table(bars: BarMatrix) -> FeatureTable:
    """Compute the minutes family of many rows of one day in bars of one or five minutes."""
    cleaned = clean(aggregate(bars, bars.close.shape[1] // FIVE_MINUTES_IN_DAY))
    columns = five_minute_columns(cleaned)
    recent = cleaned.present[:, -6:].any(axis=1)
    traded = cleaned.present.sum(axis=1)
    usable = recent & (cleaned.known >= MINUTES_MINIMUM) & (traded >= MINUTES_MINIMUM // 4)
    faults = tuple(None if ok else "too few bars of minutes" for ok in usable)
    return FeatureTable(names=tuple(columns), values=_stacked(columns), faults=faults)


def bar_matrix(pairs: Sequence[tuple[Candles, int]], bars: int) -> BarMatrix:
    """Lay the last `bars` bars closed at each instant on a full grid; a missing bar is NaN."""
    columns = [np.full((len(pairs), bars), np.nan) for _ in range(5)]
    for row, (candles, as_of_ms) in enumerate(pairs):
        start = (as_of_ms // candles.bar_ms - bars) * candles.bar_ms
        first, end = np.searchsorted(candles.open_ms, (start, start + bars * candles.bar_ms))
        # a window without gaps, the usual case, is copied as it lies
        whole = end - first == bars
        place = slice(None) if whole else (candles.open_ms[first:end] - start) // candles.bar_ms
        sources = (candles.open, candles.high, candles.low, candles.close, candles.volume)
        for column, source in zip(columns, sources, strict=True):
            column[row, place] = source[first:end]
    names = ("open", "high", "low", "close", "volume")
    return BarMatrix(**dict(zip(names, columns, strict=True)))


def _few_vectors(windows: Sequence[MarketWindow]) -> list[FeatureVector | WarmingUp]:
    as_of = np.array([window.as_of_ms for window in windows], dtype=np.int64)
    hours = hour_table(bar_matrix([(w.hours, w.as_of_ms) for w in windows], HOURS_LOOK_BACK), as_of)
    minutes: list[dict[str, float]] = [{} for _ in windows]
    for bar_ms in (MINUTE_MS, 5 * MINUTE_MS):
        chosen = [i for i, w in enumerate(windows) if len(w.minutes) and w.minutes.bar_ms == bar_ms]
        if chosen:
            pairs = [(windows[i].minutes, windows[i].as_of_ms) for i in chosen]
            table = minute_table(bar_matrix(pairs, DAY_MS // bar_ms))
            for row, i in enumerate(chosen):
                minutes[i] = _known_row(table, row)
    return [_vector(window, hours, row, minutes[row]) for row, window in enumerate(windows)]


def _together(
    vectors: Sequence[FeatureVector | WarmingUp],
) -> tuple[FeatureVector | WarmingUp, ...]:
    """Put the state of all markets into the columns of each; the hours family comes first."""
    places = [place for place, each in enumerate(vectors) if isinstance(each, FeatureVector)]
    known = [vector for vector in vectors if isinstance(vector, FeatureVector)]
    if len(known) < 2:
        return tuple(vectors)
    names = tuple(name for name in known[0].names if name.startswith(HOUR_PREFIXES))
    width = len(names)
    values = np.array([vector.values[:width] for vector in known])
    instants = np.array([vector.as_of_ms for vector in known], dtype=np.int64)
    table: list[list[float]] = in_state(names, values, instants).tolist()
    result = list(vectors)
    for place, vector, row in zip(places, known, table, strict=True):
        result[place] = FeatureVector(
            market=vector.market,
            as_of_ms=vector.as_of_ms,
            names=vector.names,
            values=(*row, *vector.values[width:]),
        )
    return tuple(result)


def _vector(
    window: MarketWindow, hours: FeatureTable, row: int, minutes: dict[str, float]
) -> FeatureVector | WarmingUp:
    fault = hours.faults[row]
    if fault is not None:
        return WarmingUp(market=window.market, as_of_ms=window.as_of_ms, reason=fault)
    known = _known_row(hours, row) | minutes | _book_columns(window.book)
    return FeatureVector(
        market=window.market,
        as_of_ms=window.as_of_ms,
        names=tuple(known),
        values=tuple(known.values()),
    )


def _known_row(table: FeatureTable, row: int) -> dict[str, float]:
    if table.faults[row] is not None:
        return {}
    return dict(zip(table.names, (float(value) for value in table.values[row]), strict=True))


def _book_columns(book: BookDepth | None) -> dict[str, float]:
    """Depth of the thinner side at each distance, never deeper than at the next distance."""
    if book is None:
        return {}
    thinner = [min(bid, ask) for bid, ask in zip(book.bid_usdc, book.ask_usdc, strict=True)]
    for nearer in (2, 1, 0):
        thinner[nearer] = min(thinner[nearer], thinner[nearer + 1])
    return dict(zip(BOOK_NAMES, thinner, strict=True))


def _hours_fault(hours: int, recent: int, latest: int) -> str | None:
    if hours < HOURS_MINIMUM:
        return f"{hours} hourly bars in the last 30 days, {HOURS_MINIMUM} are needed"
    if recent < RECENT_HOURS_MINIMUM:
        return f"{recent} hourly bars in the last day, {RECENT_HOURS_MINIMUM} are needed"
    if latest == 0:
        return "no hourly bar in the last 3 hours"
    return None


def _stacked(columns: dict[str, FloatArray]) -> FloatArray:
    return np.stack(list(columns.values()), axis=1)
