"""What a market looked like at one instant: the same columns for training and for serving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEATURE_VERSION = 1

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
HOURS_LOOK_BACK = 720
"""Bars of one hour that a window may hold: 30 days (design.md section 3)."""
MINUTES_LOOK_BACK = 1_440
"""Bars of one minute that a window may hold: one day (design.md section 3)."""
HOURS_MINIMUM = 72
"""Fewer present hours than 3 days cannot be scored (design.md section 3)."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmingUp:
    """A market that cannot be scored yet, and why."""

    market: int
    as_of_ms: int
    reason: str


def feature_vectors(windows: Sequence[MarketWindow]) -> tuple[FeatureVector | WarmingUp, ...]:
    """Compute the features of many markets; each result is what that market alone would get."""
    raise NotImplementedError


def feature_vector(window: MarketWindow) -> FeatureVector | WarmingUp:
    """Compute the features of one market at its instant."""
    return feature_vectors((window,))[0]
