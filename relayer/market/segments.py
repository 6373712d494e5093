"""Immutable day segments of closed bars: Arrow files named by their own sha256, so damage shows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from contracts.units import MarketId
from relayer.errors import EvidenceDamaged
from relayer.market.hash_files import HashFiles, storing
from relayer.market.values import DAY_MS, CandleSeries, MarketDataError

COLUMNS: Final = ("open_ms", "open", "high", "low", "close", "volume")
_SCHEMA: Final = pa.schema(
    [("open_ms", pa.int64())] + [(name, pa.float64()) for name in COLUMNS[1:]]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRef:
    """One market's closed bars of one whole UTC day, by the hash of their file."""

    market: MarketId
    bar_ms: int
    day: int  # days since 1970-01-01, UTC
    sha256: str

    @property
    def start_ms(self) -> int:
        """Give the day's first millisecond."""
        return self.day * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One line of the index: which file holds a day, found by our own name of the market."""

    symbol: str
    bar_ms: int
    day: int
    sha256: str
    rows: int

    @property
    def key(self) -> tuple[str, int, int]:
        """Give what the entry is found by."""
        return self.symbol, self.bar_ms, self.day


class SegmentFolder:
    """The files of all segments and the index that says which day each one is."""

    def __init__(self, folder: Path) -> None:
        self._files = HashFiles(folder / "segments")
        self._index = folder / "index.jsonl"

    @storing("the history's index")
    def entries(self) -> dict[tuple[str, int, int], IndexEntry]:
        """Read the index; the last line of a day counts, a torn last line does not."""
        if not self._index.exists():
            return {}
        found: dict[tuple[str, int, int], IndexEntry] = {}
        for line in self._index.read_text(encoding="utf-8").splitlines():
            entry = _entry(line)
            if entry is not None:
                found[entry.key] = entry
        return found

    @storing("the history's index")
    def write(self, symbol: str, series: CandleSeries, day: int) -> IndexEntry:
        """Store a day's bars and add them to the index; the same bars give the same file."""
        digest = self._files.write(encode(series))
        entry = IndexEntry(
            symbol=symbol, bar_ms=series.bar_ms, day=day, sha256=digest, rows=len(series)
        )
        with self._index.open("a", encoding="utf-8") as index:
            index.write(_line(entry))
        return entry

    def read(self, entry: IndexEntry, market: MarketId) -> CandleSeries:
        """Read a day's bars; raises EvidenceMissing or EvidenceDamaged, checked by hash."""
        return decode(self.content(entry.sha256), market, entry.bar_ms)

    def content(self, sha256: str) -> bytes:
        """Read a segment's bytes and check them against their name."""
        return self._files.read(sha256)

    @storing("the history's index")
    def rewrite(self, entries: dict[tuple[str, int, int], IndexEntry]) -> None:
        """Write the index anew with these entries, and remove the files that none of them names."""
        draft = self._index.with_suffix(".tmp")
        draft.write_text("".join(map(_line, entries.values())), encoding="utf-8")
        draft.replace(self._index)
        self._files.keep_only({entry.sha256 for entry in entries.values()})


def encode(series: CandleSeries) -> bytes:
    """Write a series as an Arrow IPC file; the same bars give the same bytes."""
    columns = (series.open_ms, *series.prices, series.volume)
    batch = pa.record_batch([pa.array(column) for column in columns], schema=_SCHEMA)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def decode(content: bytes, market: MarketId, bar_ms: int) -> CandleSeries:
    """Read what `encode` wrote; raises EvidenceDamaged when it is something else."""
    try:
        table = pa.ipc.open_file(pa.py_buffer(content)).read_all()
        columns = [np.array(table[name].to_numpy()) for name in COLUMNS]
        return series_of(market, bar_ms, columns)
    except (pa.ArrowException, KeyError, MarketDataError) as fault:
        raise EvidenceDamaged(f"not a segment of bars: {fault}") from None


def series_of(market: MarketId, bar_ms: int, columns: list[np.ndarray]) -> CandleSeries:
    """Make a series of columns in the order of `COLUMNS`."""
    open_ms, opened, high, low, close, volume = columns
    return CandleSeries(
        market=market,
        bar_ms=bar_ms,
        open_ms=open_ms,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
    )


def _line(entry: IndexEntry) -> str:
    """Write an index line."""
    return json.dumps(asdict(entry), sort_keys=True) + "\n"


def _entry(line: str) -> IndexEntry | None:
    """Read an index line; None when it is torn or not one."""
    try:
        fields: dict[str, Any] = json.loads(line)
        return IndexEntry(**fields)
    except (ValueError, TypeError):
        return None
