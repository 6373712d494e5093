"""Series cut by UTC days, and joined again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from relayer.market.segments import SegmentRef, series_of
from relayer.market.values import DAY_MS, CandleSeries, concatenate

FOREVER_MS: Final = 1 << 60


def merge(old: CandleSeries, new: CandleSeries) -> CandleSeries:
    """Join two series; where both have a bar, the new one counts."""
    if not len(new):
        return old
    before = old.between(0, int(new.open_ms[0]))
    after = old.between(int(new.open_ms[-1]) + new.bar_ms, FOREVER_MS)
    return concatenate([before, new, after])


def of_day(series: CandleSeries, day: int) -> CandleSeries:
    """Give the bars of one UTC day."""
    return series.between(day * DAY_MS, (day + 1) * DAY_MS)


def outside(series: CandleSeries, refs: Iterable[SegmentRef]) -> CandleSeries:
    """Give the bars of the days that no segment holds."""
    days = [ref.day for ref in refs if ref.bar_ms == series.bar_ms]
    rows = ~np.isin(series.open_ms // DAY_MS, days)
    columns = [column[rows] for column in (series.open_ms, *series.prices, series.volume)]
    return series_of(series.market, series.bar_ms, columns)


def joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ascending spans of [start, end) in milliseconds that touch."""
    whole: list[tuple[int, int]] = []
    for start, end in spans:
        first = whole.pop()[0] if whole and whole[-1][1] == start else start
        whole.append((first, end))
    return whole
