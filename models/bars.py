"""Bars as matrices, one row a window: cleaning and the statistics that features are made of.

Every function works along a row only, in a fixed order and without BLAS, so a row's result is
the same bits whether the row stands alone or among thousands. Training and serving both come
through here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

BAD_WICK = float(np.log(2.0))
"""A low under half (a high over twice) the body is a bad print: Binance LINK 2020-03-12 0.0001."""
BAD_PRINT = 0.5
"""A close that moves more than this (log) and is taken back by the next bar is a bad print."""
TAKEN_BACK = 0.25
"""Share of a bad print's move that may remain after the next bar."""
PARKINSON = 1.0 / (4.0 * float(np.log(2.0)))
"""Parkinson 1980: variance of a bar is (ln high/low)^2 / (4 ln 2)."""
BIPOWER = float(np.pi / 2.0)
"""Barndorff-Nielsen and Shephard 2004: scale of the products of neighbouring |returns|."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BarMatrix:
    """Raw bars on a full grid, shape (rows, bars); a missing bar is NaN in every price."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CleanBars:
    """Bars without gaps and bad prints, shape (rows, bars); prices are natural logarithms.

    A missing bar repeats the last close, so the first bar after a gap carries its whole move.
    ``present`` marks bars that were traded; ``known`` counts those since the row's first bar.
    """

    close: FloatArray
    low: FloatArray
    high: FloatArray
    returns: FloatArray
    range_variance: FloatArray
    volume: FloatArray
    quote_volume: FloatArray
    present: BoolArray
    known: FloatArray


def aggregate(bars: BarMatrix, factor: int) -> BarMatrix:
    """Join each run of `factor` bars into one; a run without any bar stays missing."""
    rows, count = bars.close.shape
    shape = (rows, count // factor, factor)
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    opens, highs, lows, closes, volumes = (column.reshape(shape) for column in columns)
    first, last = opens[:, :, factor - 1], closes[:, :, 0]
    for step in range(1, factor):
        earlier, later = opens[:, :, factor - 1 - step], closes[:, :, step]
        first = np.where(np.isnan(earlier), first, earlier)
        last = np.where(np.isnan(later), last, later)
    missing = np.isnan(last)
    high = np.where(np.isnan(highs), -np.inf, highs).max(axis=2)
    low = np.where(np.isnan(lows), np.inf, lows).min(axis=2)
    return BarMatrix(
        open=first,
        high=np.where(missing, np.nan, high),
        low=np.where(missing, np.nan, low),
        close=last,
        volume=np.where(np.isnan(volumes), 0.0, volumes).sum(axis=2),
    )


def clean(bars: BarMatrix) -> CleanBars:
    """Take logarithms, drop bad bars, prints and wicks, and fill gaps with the last close."""
    present = _usable(bars)
    # a placeholder price of 1 keeps logarithms of missing bars defined; they are masked below
    opens, highs, lows, closes = (
        np.log(np.where(present, column, 1.0))
        for column in (bars.open, bars.high, bars.low, bars.close)
    )
    filled = _fill(closes, opens, present)
    bad = _bad_prints(filled)
    if bad.any():
        present = present & ~bad
        filled = _fill(closes, opens, present)
    top, bottom = np.maximum(opens, closes), np.minimum(opens, closes)
    high = np.where(highs - top > BAD_WICK, top, np.maximum(highs, top))
    low = np.where(bottom - lows > BAD_WICK, bottom, np.minimum(lows, bottom))
    high, low = np.where(present, high, filled), np.where(present, low, filled)
    returns = np.empty_like(filled)
    returns[:, 1:] = filled[:, 1:] - filled[:, :-1]
    returns[:, 0] = np.where(present[:, 0], filled[:, 0] - opens[:, 0], 0.0)
    first = np.where(present.any(axis=1), present.argmax(axis=1), present.shape[1])
    counted = present & (bars.volume > 0.0) & np.isfinite(bars.volume)
    volume = np.where(counted, bars.volume, 0.0)
    return CleanBars(
        close=filled,
        low=low,
        high=high,
        returns=returns,
        range_variance=np.square(high - low) * PARKINSON,
        volume=volume,
        quote_volume=volume * np.exp(filled),
        present=present,
        known=(present.shape[1] - first).astype(np.float64),
    )


def mean_of_last(values: FloatArray, bars: int, counts: FloatArray) -> FloatArray:
    """Mean over the last `bars` columns, of which only `counts` a row are known; shape (rows,)."""
    total = np.ascontiguousarray(values[:, -bars:]).sum(axis=1)
    return np.asarray(total / np.maximum(np.minimum(counts, bars), 1.0), dtype=np.float64)


def present_in_last(clean_bars: CleanBars, bars: int) -> FloatArray:
    """How many of the last `bars` bars were traded; shape (rows,)."""
    return np.asarray(clean_bars.present[:, -bars:].sum(axis=1), dtype=np.float64)


def fall_share(returns: FloatArray, bars: int) -> FloatArray:
    """Share of the squared returns that fell, less one half: downside semivariance."""
    last = np.ascontiguousarray(returns[:, -bars:])
    squares = np.square(last)
    falling = np.where(last < 0.0, squares, 0.0).sum(axis=1)
    total = squares.sum(axis=1)
    return np.where(total > 0.0, falling / np.where(total > 0.0, total, 1.0), 0.5) - 0.5


def jump_share(returns: FloatArray, bars: int) -> FloatArray:
    """Share of the realised variance that bipower variation does not see, in [0, 1]."""
    size = np.abs(np.ascontiguousarray(returns[:, -bars:]))
    total = np.square(size).sum(axis=1)
    smooth = BIPOWER * (size[:, 1:] * size[:, :-1]).sum(axis=1) * (bars / (bars - 1))
    share = 1.0 - smooth / np.where(total > 0.0, total, 1.0)
    return np.where(total > 0.0, np.clip(share, 0.0, 1.0), 0.0)


def largest_share(returns: FloatArray, bars: int) -> FloatArray:
    """Share of the realised variance that came in its largest single bar, in [0, 1]."""
    squares = np.square(np.ascontiguousarray(returns[:, -bars:]))
    total = squares.sum(axis=1)
    return np.where(total > 0.0, squares.max(axis=1) / np.where(total > 0.0, total, 1.0), 0.0)


def excursion_scores(
    clean_bars: CleanBars, *, scale_bars: int, ahead: int, share: float
) -> tuple[FloatArray, FloatArray]:
    """How far price ran against each side in the row's own past, in units of its own volatility.

    At each past bar the excursion over the next `ahead` bars is divided by the deviation that
    the `scale_bars` bars before it announced; the score is the value that `share` of these
    reach (their upper quantile), for longs and for shorts, shape (rows,) each. A market whose
    excursions outrun its volatility scores above others: the memory of the online tail factor.
    """
    sums = np.cumsum(clean_bars.range_variance, axis=1)
    count = sums.shape[1] - ahead - scale_bars
    variance = (sums[:, scale_bars : scale_bars + count] - sums[:, :count]) / scale_bars
    start = clean_bars.close[:, scale_bars : scale_bars + count]
    lowest, highest = start, start
    for step in range(1, ahead + 1):
        window = slice(scale_bars + step, scale_bars + step + count)
        lowest = np.minimum(lowest, clean_bars.low[:, window])
        highest = np.maximum(highest, clean_bars.high[:, window])
    deviation = np.sqrt(np.maximum(variance * ahead, 1e-12))
    # a start before the row's first bars has no announced volatility: it must not be counted
    position = np.arange(count)[None, :] + scale_bars
    first = (clean_bars.close.shape[1] - clean_bars.known)[:, None]
    known = position >= first + scale_bars
    falls = np.where(known, (start - lowest) / deviation, -1.0)
    rises = np.where(known, (highest - start) / deviation, -1.0)
    usable = known.sum(axis=1)
    return _upper(falls, usable, share), _upper(rises, usable, share)


def low_daily_quote_volume(clean_bars: CleanBars) -> FloatArray:
    """Quote volume of a thin day: the 10 % quantile of the row's whole days, shape (rows,)."""
    rows, bars = clean_bars.volume.shape
    days = clean_bars.quote_volume.reshape(rows, bars // 24, 24).sum(axis=2)
    usable = np.floor(clean_bars.known / 24.0)
    # days before the market began are no thin days: they sort behind all others
    began = np.arange(bars // 24)[None, :] >= (bars // 24 - usable)[:, None]
    ordered = np.sort(np.where(began, days, np.inf), axis=1)
    rank = np.minimum(np.floor(usable * 0.1), bars // 24 - 1).astype(np.int64)
    chosen = ordered[np.arange(rows), rank]
    return np.where(np.isfinite(chosen), chosen, 0.0)


def _upper(values: FloatArray, usable: NDArray[np.int64], share: float) -> FloatArray:
    """Value that `share` of the usable entries of a row reach; 1 where a row has none."""
    depth = max(int(np.ceil(values.shape[1] * share)), 1)
    top = -np.sort(-np.partition(values, values.shape[1] - depth, axis=1)[:, -depth:], axis=1)
    rank = np.clip(np.ceil(usable * share).astype(np.int64) - 1, 0, depth - 1)
    chosen = top[np.arange(len(top)), rank]
    return np.where(chosen > 0.0, chosen, 1.0)


def _usable(bars: BarMatrix) -> BoolArray:
    """Mark bars whose four prices are finite and positive and whose high is not under the low."""
    usable = np.isfinite(bars.open) & np.isfinite(bars.close)
    usable &= np.isfinite(bars.high) & np.isfinite(bars.low)
    positive = (bars.open > 0.0) & (bars.close > 0.0) & (bars.low > 0.0)
    return np.asarray(usable & positive & (bars.high >= bars.low), dtype=np.bool_)


def _fill(closes: FloatArray, opens: FloatArray, present: BoolArray) -> FloatArray:
    """Carry the last close over missing bars; before the first bar its open stands."""
    position = np.where(present, np.arange(closes.shape[1])[None, :], -1)
    last = np.maximum.accumulate(position, axis=1)
    filled = np.take_along_axis(closes, np.maximum(last, 0), axis=1)
    first = present.argmax(axis=1)
    before = opens[np.arange(len(opens)), first]
    return np.where(last >= 0, filled, before[:, None])


def _bad_prints(filled: FloatArray) -> BoolArray:
    """Mark closes far away that the next bar takes back; the last bar has no next and stays."""
    moves = filled[:, 1:] - filled[:, :-1]
    bad = np.zeros(filled.shape, dtype=np.bool_)
    left = np.abs(moves[:, :-1] + moves[:, 1:])
    far = np.abs(moves[:, :-1])
    bad[:, 1:-1] = (far > BAD_PRINT) & (left < TAKEN_BACK * far)
    return bad
