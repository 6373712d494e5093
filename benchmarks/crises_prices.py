"""Recorded candles as minutes: a seeded bridge through each bar's open, low, high and close.

Minutes made so are SYNTHETIC and labelled so: of a bar only its four prices and its volume are
recorded. The walk touches the recorded extremes exactly and never leaves them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.dataset import Series, read_series

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
LOOK_BACK_HOURS: Final = 720
LEAD_MINUTES: Final = 1_440
USUAL_ORDER: Final = 0.75
"""Share of rising bars that touch their low first, and of falling ones their high."""
NOISE: Final = 0.85
"""Of a Parkinson deviation a minute: the legs through the extremes bring the rest."""
WICK: Final = 0.4
WITNESS: Final = 0.03
"""How far beyond the other venue's extremes a wick may reach."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bars:
    """Bars of some markets side by side on one full grid, shape (bars, markets) each."""

    bar_ms: int
    start_ms: int
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @property
    def open_ms(self) -> Integers:
        """When each bar opens."""
        return self.start_ms + self.bar_ms * np.arange(len(self.close), dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walk:
    """What a replay plays: hours from 30 days before, minutes from a day before its start."""

    symbols: tuple[str, ...]
    start_ms: int
    hours: Bars
    minutes: Bars

    @property
    def length(self) -> int:
        """Minutes to play, the lead left out."""
        return len(self.minutes.close) - LEAD_MINUTES


class MissingCandlesError(Exception):
    """The recorded candles do not cover what was asked for."""


def read_bars(file: Path, symbols: Sequence[str], start_ms: int, end_ms: int) -> Bars:
    """Read some symbols of a candle file over [start, end) onto one grid; gaps stand still."""
    wanted = {each.symbol: each for each in read_series(file) if each.symbol in symbols}
    missing = [symbol for symbol in symbols if symbol not in wanted]
    if missing:
        raise MissingCandlesError(f"{file.name} has no {', '.join(missing)}")
    parts = [_cut(wanted[symbol], start_ms, end_ms) for symbol in symbols]
    columns = [np.stack(column, axis=1) for column in zip(*parts, strict=True)]
    names = ("open", "high", "low", "close", "volume")
    bar_ms = wanted[symbols[0]].bar_ms
    return Bars(bar_ms=bar_ms, start_ms=start_ms, **dict(zip(names, columns, strict=True)))


def _cut(series: Series, start_ms: int, end_ms: int) -> tuple[Floats, ...]:
    """Give open, high, low, close, volume over [start, end); a missing bar trades nothing."""
    first = (start_ms - series.start_ms) // series.bar_ms
    last = (end_ms - series.start_ms) // series.bar_ms
    if first < 0 or last > series.length:
        raise MissingCandlesError(f"{series.symbol} is not recorded over all of the period")
    bars = series.bars
    columns = [getattr(bars, name)[0, first:last].copy() for name in ("open", "high", "low")]
    close, volume = bars.close[0, first:last].copy(), bars.volume[0, first:last]
    gone = ~np.isfinite(close)
    if gone.all() or gone[0]:
        raise MissingCandlesError(f"{series.symbol} does not trade when the period begins")
    kept = np.maximum.accumulate(np.where(gone, 0, np.arange(len(close))))
    close = close[kept]
    columns = [np.where(gone, close, column) for column in columns]
    return (*columns, close, np.where(gone, 0.0, volume))


def within(bars: Bars, witness: Bars) -> Bars:
    """Hold wicks to what a second venue shows, give or take `WITNESS`; bodies stay.

    A mark is a median over venues: one venue's stray print is none (2020-03-13 02:00 has a high of
    323 of ETH's perpetual, three times its close).
    """
    body_high, body_low = np.maximum(bars.open, bars.close), np.minimum(bars.open, bars.close)
    high = np.minimum(bars.high, witness.high * (1.0 + WITNESS))
    low = np.maximum(bars.low, witness.low * (1.0 - WITNESS))
    return replace(bars, high=np.maximum(high, body_high), low=np.minimum(low, body_low))


def coarser(bars: Bars, bar_ms: int) -> Bars:
    """Join bars into longer ones; the grid must begin and end at one."""
    factor = bar_ms // bars.bar_ms
    if factor == 1:
        return bars
    shape = (len(bars.close) // factor, factor, bars.close.shape[1])
    return Bars(
        bar_ms=bar_ms,
        start_ms=bars.start_ms,
        open=bars.open.reshape(shape)[:, 0],
        high=bars.high.reshape(shape).max(axis=1),
        low=bars.low.reshape(shape).min(axis=1),
        close=bars.close.reshape(shape)[:, -1],
        volume=bars.volume.reshape(shape).sum(axis=1),
    )


def path_of(bars: Bars, symbols: Sequence[str], start_ms: int, seed: int) -> Walk:
    """Make the minutes of a replay that begins at `start_ms`; `bars` hold 30 days before it."""
    rng = np.random.default_rng((seed, 5))
    first = (start_ms - LEAD_MINUTES * MINUTE_MS - bars.start_ms) // bars.bar_ms
    steps = bars.bar_ms // MINUTE_MS
    made = [_minutes(bars, market, first, rng) for market in range(len(symbols))]
    columns = [np.stack(column, axis=1) for column in zip(*made, strict=True)]
    names = ("open", "high", "low", "close", "volume")
    minutes = Bars(
        bar_ms=MINUTE_MS,
        start_ms=bars.start_ms + first * steps * MINUTE_MS,
        **dict(zip(names, columns, strict=True)),
    )
    return Walk(
        symbols=tuple(symbols), start_ms=start_ms, hours=coarser(bars, HOUR_MS), minutes=minutes
    )


def _minutes(bars: Bars, market: int, first: int, rng: np.random.Generator) -> tuple[Floats, ...]:
    """Walk through a market's bars from the first asked for: open, high, low, close, volume."""
    steps = bars.bar_ms // MINUTE_MS
    prices = (bars.open, bars.high, bars.low, bars.close)
    rows = np.log(np.stack([column[first:, market] for column in prices], axis=1))
    if steps == 1:
        columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        return tuple(column[first:, market] for column in columns)
    close = np.concatenate([bridge(row, steps, rng) for row in rows])
    opened = np.concatenate([rows[:1, 0], close[:-1]])
    top, bottom = np.repeat(rows[:, 1], steps), np.repeat(rows[:, 2], steps)
    wick = WICK * np.repeat(_deviation(rows, steps), steps)
    reach = np.abs(rng.standard_normal((2, len(close)))) * wick
    body_high, body_low = np.maximum(opened, close), np.minimum(opened, close)
    high = np.maximum(np.minimum(body_high + reach[0], top), body_high)
    low = np.minimum(np.maximum(body_low - reach[1], bottom), body_low)
    weight = rng.exponential(1.0, len(close)).reshape(-1, steps)
    weight /= weight.sum(axis=1, keepdims=True)
    volume = (weight * bars.volume[first:, market, None]).ravel()
    return np.exp(opened), np.exp(high), np.exp(low), np.exp(close), volume


def bridge(row: Floats, steps: int, rng: np.random.Generator) -> Floats:
    """Walk from a bar's open to its close in so many closes, through both extremes; logarithms."""
    opened, high, low, close = row
    if high - low < 1e-12:
        return np.full(steps, close)
    low_first = (rng.random() < USUAL_ORDER) == (close >= opened)
    knots = [opened, low, high, close] if low_first else [opened, high, low, close]
    at = _turns(np.abs(np.diff(knots)), steps, rng)
    line = np.interp(np.arange(1, steps + 1), at, knots)
    noise = np.cumsum(rng.standard_normal(steps)) * float(_deviation(row[None], steps)[0])
    pinned = np.interp(np.arange(1, steps + 1), at, [0.0, *noise[at[1:] - 1]])
    return np.asarray(np.clip(line + NOISE * (noise - pinned), low, high), dtype=np.float64)


def _turns(legs: Floats, steps: int, rng: np.random.Generator) -> Integers:
    """Give the minutes at which a walk turns: a longer leg takes longer, each at least one."""
    weight = (legs + 1e-12) * rng.gamma(2.0, size=len(legs))
    lasts = 1 + np.floor((steps - len(legs)) * weight / weight.sum())
    lasts[int(np.argmax(weight))] += steps - lasts.sum()
    return np.concatenate([[0], np.cumsum(lasts)]).astype(np.int64)


def _deviation(rows: Floats, steps: int) -> Floats:
    """Parkinson's deviation a minute from bars' ranges."""
    ranges = rows[:, 1] - rows[:, 2]
    return np.asarray(ranges / math.sqrt(4.0 * math.log(2.0) * steps))
