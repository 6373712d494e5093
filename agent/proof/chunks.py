"""Closed history in chunks that are named by their hashes, each hashed once.

Most of what a cycle saw, the one before saw too: where the bars are the same, bit for bit, their
chunks keep the names that they got then.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from relayer.market.values import CandleSeries

COLUMNS: Final = ("open_ms", "open", "high", "low", "close", "volume")
ROW: Final = np.dtype("<f8")
ROW_BYTES: Final = len(COLUMNS) * ROW.itemsize

Places = Mapping[int, tuple[int, int]]
"""By chunk number, the first row of a chunk and the row behind its last."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A chunk's rows as they are stored, and their hash."""

    digest: bytes
    rows: memoryview


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A series in its closed chunks, by their numbers; what lies behind them is the tail."""

    series: CandleSeries
    places: Places
    chunks: Mapping[int, Chunk]
    tail: bytes


class Chunks:
    """Cuts series at the chunk boundaries, and remembers the last cut of each."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, int], Cut] = {}

    def cut(self, series: CandleSeries, chunk_ms: int, as_of_ms: int) -> Cut:
        """Cut a series; what lies in the chunk that is still open is the tail."""
        number = series.open_ms // chunk_ms
        closed = int(np.searchsorted(number, as_of_ms // chunk_ms))
        edges = [0, *(np.flatnonzero(np.diff(number[:closed])) + 1).tolist(), closed]
        pairs = itertools.pairwise(edges) if closed else ()
        places = {int(number[first]): (first, last) for first, last in pairs}
        key = (series.market, series.bar_ms)
        known = _same(series, places, self._last[key]) if key in self._last else {}
        new = _hashed(series, {each: places[each] for each in places if each not in known})
        chunks = {each: known.get(each) or new[each] for each in places}
        tail = rows_of(series, closed, len(series))
        self._last[key] = Cut(series, places, chunks, tail)
        return self._last[key]


def rows_of(series: CandleSeries, first: int, last: int) -> bytes:
    """Lay the columns side by side, row after row; open times are exact below 2^53."""
    rows = np.empty((last - first, len(COLUMNS)), dtype=ROW)
    for index, name in enumerate(COLUMNS):
        rows[:, index] = getattr(series, name)[first:last]
    return rows.tobytes()


def _hashed(series: CandleSeries, places: Places) -> dict[int, Chunk]:
    if not places:
        return {}
    ends = list(places.values())
    start = ends[0][0]
    rows = memoryview(rows_of(series, start, ends[-1][1]))
    made = {}
    for number, (first, last) in places.items():
        chunk = rows[(first - start) * ROW_BYTES : (last - start) * ROW_BYTES]
        made[number] = Chunk(hashlib.sha256(chunk).digest(), chunk)
    return made


def _same(series: CandleSeries, places: Places, before: Cut) -> dict[int, Chunk]:
    """Give the chunks that are as they were; a window that has moved on lacks rows of its first."""
    shared = [
        each
        for each, place in places.items()
        if each in before.places and _length(place) == _length(before.places[each])
    ]
    if not shared:
        return {}
    now = slice(places[shared[0]][0], places[shared[-1]][1])
    then = slice(before.places[shared[0]][0], before.places[shared[-1]][1])
    for name in COLUMNS:
        # as integers: 0.0 and -0.0 are equal, and are not the same bytes
        new, old = getattr(series, name)[now], getattr(before.series, name)[then]
        if not np.array_equal(new.view(np.int64), old.view(np.int64)):
            return {}
    return {each: before.chunks[each] for each in shared}


def _length(place: tuple[int, int]) -> int:
    return place[1] - place[0]
