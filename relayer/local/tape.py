"""One market's recorded bars, walked inside their own time so that no bar shows its future.

A bar is walked open → first extreme → second extreme → close, straight between them. Which extreme
comes first and when both are reached is a seeded function of symbol and bar: an up bar goes low
first three times in four, a down bar high first three times in four, so that the order of the
extremes does not give the close away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from relayer.local.seeds import unit

BAR_MS: Final = 60_000
_USUAL_ORDER: Final = 0.75  # share of bars that reach the extreme against their direction first


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One candle, or as much of it as was walked."""

    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a market stands at one instant."""

    price: float
    observed_ms: int  # older than the instant where nothing was recorded
    bar: int  # index of the bar in progress, or of the last one
    live: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tape:
    """One market's recorded minutes as columns of shape (n,), ascending; gaps stay gaps."""

    symbol: str  # ccxt's unified name
    base: str
    quote: str
    open_ms: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    @property
    def starts_ms(self) -> int:
        """Give the time at which the first bar opens."""
        return int(self.open_ms[0])

    @property
    def ends_ms(self) -> int:
        """Give the time at which the last bar closes."""
        return int(self.open_ms[-1]) + BAR_MS

    def bar_at(self, at_ms: int) -> int:
        """Find the last bar that opens at a time or before; -1 before the first."""
        return int(np.searchsorted(self.open_ms, at_ms, side="right")) - 1

    def spot(self, at_ms: int) -> Spot | None:
        """Give the market's price at an instant; None before its first bar."""
        bar = self.bar_at(at_ms)
        if bar < 0:
            return None
        elapsed = at_ms - int(self.open_ms[bar])
        if elapsed >= BAR_MS:
            ended = int(self.open_ms[bar]) + BAR_MS
            return Spot(price=float(self.close[bar]), observed_ms=ended, bar=bar, live=False)
        times, prices = self.path(bar)
        price = float(np.interp(elapsed / BAR_MS, times, prices))
        return Spot(price=price, observed_ms=at_ms, bar=bar, live=True)

    def path(self, bar: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Give the corners of a bar's walk: shares of its time, and prices."""
        opened, closed = float(self.open[bar]), float(self.close[bar])
        high, low = float(self.high[bar]), float(self.low[bar])
        key = (self.symbol, int(self.open_ms[bar]))
        usual = unit("order", *key) < _USUAL_ORDER
        rising = closed > opened or (closed == opened and unit("flat", *key) < 0.5)
        first, second = (low, high) if rising == usual else (high, low)
        reached = 0.2 + 0.2 * unit("first", *key), 0.6 + 0.2 * unit("second", *key)
        return (0.0, *reached, 1.0), (opened, first, second, closed)

    def bar(self, index: int, at_ms: int) -> Bar:
        """Give a bar as it is known at an instant: walked so far when it is not closed yet."""
        open_ms = int(self.open_ms[index])
        elapsed = (at_ms - open_ms) / BAR_MS
        if elapsed >= 1:
            return Bar(
                open_ms=open_ms,
                open=float(self.open[index]),
                high=float(self.high[index]),
                low=float(self.low[index]),
                close=float(self.close[index]),
                volume=float(self.volume[index]),
                closed=True,
            )
        times, prices = self.path(index)
        now = float(np.interp(elapsed, times, prices))
        walked = [p for t, p in zip(times, prices, strict=True) if t <= elapsed]
        return Bar(
            open_ms=open_ms,
            open=prices[0],
            high=max(*walked, now),
            low=min(*walked, now),
            close=now,
            volume=float(self.volume[index]) * elapsed,
            closed=False,
        )

    def closed_before(self, at_ms: int) -> int:
        """Count the bars that are closed at a time."""
        return int(np.searchsorted(self.open_ms, at_ms - BAR_MS, side="right"))

    def bars(self, timeframe_ms: int, start_ms: int, end_ms: int, at_ms: int) -> list[Bar]:
        """List the bars of a timeframe that open in [start, end), as known at an instant.

        Built from the minutes; the one in progress holds only what was walked, and is not closed.
        """
        known_end = min(end_ms + timeframe_ms - 1, at_ms)
        first = int(np.searchsorted(self.open_ms, start_ms, side="left"))
        last = min(self.closed_before(at_ms), int(np.searchsorted(self.open_ms, end_ms)))
        bars = _grouped(self, slice(first, max(first, last)), timeframe_ms, at_ms)
        current = self.bar_at(known_end)
        open_ms = int(self.open_ms[current]) if current >= 0 else -1
        if current >= last and start_ms <= open_ms < end_ms:
            _append(bars, self.bar(current, at_ms), timeframe_ms)
        return bars


def _grouped(tape: Tape, rows: slice, timeframe_ms: int, at_ms: int) -> list[Bar]:
    """Join closed minutes into bars of a timeframe."""
    opens = tape.open_ms[rows]
    if not len(opens):
        return []
    group = opens - opens % timeframe_ms
    starts = np.concatenate(([0], np.flatnonzero(np.diff(group)) + 1))
    lasts = np.concatenate((starts[1:], [len(opens)])) - 1
    columns = zip(
        group[starts].tolist(),
        tape.open[rows][starts].tolist(),
        np.maximum.reduceat(tape.high[rows], starts).tolist(),
        np.minimum.reduceat(tape.low[rows], starts).tolist(),
        tape.close[rows][lasts].tolist(),
        np.add.reduceat(tape.volume[rows], starts).tolist(),
        strict=True,
    )
    return [
        Bar(
            open_ms=at, open=o, high=h, low=lo, close=c, volume=v, closed=at + timeframe_ms <= at_ms
        )
        for at, o, h, lo, c, v in columns
    ]


def _append(bars: list[Bar], minute: Bar, timeframe_ms: int) -> None:
    """Add the minute in progress to the bar that it belongs to."""
    open_ms = minute.open_ms - minute.open_ms % timeframe_ms
    before = bars.pop() if bars and bars[-1].open_ms == open_ms else minute
    bars.append(
        Bar(
            open_ms=open_ms,
            open=before.open,
            high=max(before.high, minute.high),
            low=min(before.low, minute.low),
            close=minute.close,
            volume=minute.volume + (before.volume if before is not minute else 0.0),
            closed=False,
        )
    )
