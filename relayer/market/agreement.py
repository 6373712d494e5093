"""Believe a bar only where two venues tell the same of it, so that none alone writes history. Pure.

Rules and their reasons: docs/market-data.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from relayer.market.segments import series_of
from relayer.market.values import CandleSeries, Float64s, Int64s

# As far as two honest marks may stand apart (AggregationRules.maximum_deviation_ppm): wider than
# venues differ in a crash, whose bars must not be lost.
CLOSE_TOLERANCE: Final = 0.02
# Extremes are single trades, and differ more than closes do.
EXTREME_TOLERANCE: Final = 0.05
# A flat series stays within the tolerances while the price is quiet. Honest venues' bars move
# alike; so many bars are compared at a time, and so much less movement is another market's.
COMPARED_BARS: Final = 60
FEWEST_COMPARED: Final = 8  # of fewer bars the movement says nothing
MOVEMENT_FACTOR: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CandlePage:
    """Bars that may be believed; `unconfirmed` says of those left out who said what, or None."""

    bars: CandleSeries
    unconfirmed: str | None = None
    unconfirmed_ms: tuple[int, ...] = ()  # open times of the bars left out


def is_settled(answers: Sequence[CandleSeries], needed: int, since_ms: int) -> bool:
    """Tell whether enough venues answered and nothing that they gave is in doubt."""
    if len(answers) < max(1, needed):
        return False
    return settle(answers, needed, since_ms, "").unconfirmed is None


def settle(answers: Sequence[CandleSeries], needed: int, since_ms: int, said: str) -> CandlePage:
    """Take the bars from `since_ms` on that a pair of answers agrees on, of its first as it is."""
    if needed < 2:
        return CandlePage(bars=_since(answers[0], since_ms))
    agreed = answers[0].between(0, 0)
    for one, other in itertools.combinations(answers, 2):
        more = confirmed(one, other)
        agreed = _union(agreed, _rows(more, ~np.isin(more.open_ms, agreed.open_ms)))
    bars = _since(agreed, since_ms)
    doubtful = _doubtful(answers, bars, since_ms)
    if not len(doubtful):
        return CandlePage(bars=bars)
    detail = f"{len(doubtful)} bars from {doubtful[0]} that no two venues agree on ({said})"
    return CandlePage(bars=bars, unconfirmed=detail, unconfirmed_ms=tuple(doubtful.tolist()))


def confirmed(one: CandleSeries, other: CandleSeries) -> CandleSeries:
    """Give the bars of `one` that `other` has too, near enough, and moving alike."""
    mine = _rows(one, np.isin(one.open_ms, other.open_ms))
    theirs = _rows(other, np.isin(other.open_ms, one.open_ms))
    near = _near(mine.close, theirs.close, CLOSE_TOLERANCE)
    for extreme, its in ((mine.high, theirs.high), (mine.low, theirs.low)):
        near &= _near(extreme, its, EXTREME_TOLERANCE)
    for first in range(0, len(mine), COMPARED_BARS):
        # The last stretch reaches back, so that it too is long enough to compare.
        start = max(0, min(first, len(mine) - COMPARED_BARS))
        stretch = slice(start, start + COMPARED_BARS)
        if not _moves_alike(mine, theirs, stretch):
            near[first : first + COMPARED_BARS] = False
    return _rows(mine, near)


def _near(one: Float64s, other: Float64s, tolerance: float) -> NDArray[np.bool_]:
    """Tell where two columns lie within a share of the lower."""
    return np.asarray(np.abs(one - other) <= tolerance * np.minimum(one, other))


def _moves_alike(one: CandleSeries, other: CandleSeries, stretch: slice) -> bool:
    """Tell whether two series' bars move comparably, both within bars and from bar to bar."""
    if len(one.open_ms[stretch]) < FEWEST_COMPARED:
        return True
    for measure in (_ranges, _steps):
        less, more = sorted((measure(one, stretch), measure(other, stretch)))
        if more > MOVEMENT_FACTOR * less:
            return False
    return True


def _ranges(series: CandleSeries, stretch: slice) -> float:
    """Sum the ranges inside the bars, in logarithms."""
    return float(np.log(series.high[stretch] / series.low[stretch]).sum())


def _steps(series: CandleSeries, stretch: slice) -> float:
    """Sum the steps between closes, in logarithms."""
    return float(np.abs(np.diff(np.log(series.close[stretch]))).sum())


def _doubtful(answers: Sequence[CandleSeries], bars: CandleSeries, since_ms: int) -> Int64s:
    """List the bars that were given, and that two venues could have agreed on, but did not.

    Past the end of the second longest answer a page merely ends: the rest is asked for again.
    """
    given = np.unique(np.concatenate([each.open_ms for each in answers]))
    given = given[given >= since_ms]
    left = given[~np.isin(given, bars.open_ms)]
    ends = sorted((int(each.open_ms[-1]) for each in answers if len(each)), reverse=True)
    if len(ends) < 2 or not len(bars):
        return left
    return left[left <= ends[1]]


def _since(series: CandleSeries, since_ms: int) -> CandleSeries:
    """Give the bars from a time on."""
    return _rows(series, series.open_ms >= since_ms)


def _rows(series: CandleSeries, keep: NDArray[np.bool_]) -> CandleSeries:
    """Give the bars that a mask keeps."""
    columns = [column[keep] for column in (series.open_ms, *series.prices, series.volume)]
    return series_of(series.market, series.bar_ms, columns)


def _union(one: CandleSeries, other: CandleSeries) -> CandleSeries:
    """Join two series that share no bar."""
    pairs = zip(
        (one.open_ms, *one.prices, one.volume),
        (other.open_ms, *other.prices, other.volume),
        strict=True,
    )
    columns = [np.concatenate(pair) for pair in pairs]
    order = np.argsort(columns[0])
    return series_of(one.market, one.bar_ms, [column[order] for column in columns])
