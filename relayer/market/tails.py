"""The day in progress on disk: one small file a market and bar length, rewritten now and then."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from contracts.units import MarketId
from relayer.market.hash_files import storing
from relayer.market.segments import decode, encode
from relayer.market.values import CandleSeries, empty_series

EVERY_BARS: Final = 10  # a crash costs at most so many bars, which are one page


class TailFiles:
    """The bars that no segment holds yet, each file after its own hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with storing("the history tails' folder"):
            self._folder.mkdir(parents=True, exist_ok=True)
        self._written: dict[tuple[str, int], int] = {}  # open time of the last stored bar

    def is_due(self, symbol: str, series: CandleSeries) -> bool:
        """Tell whether enough bars have come since the file was written."""
        last = int(series.open_ms[-1]) if len(series) else 0
        written = self._written.get((symbol, series.bar_ms), 0)
        return last - written >= EVERY_BARS * series.bar_ms

    @storing("a history tail")
    def write(self, symbol: str, tail: CandleSeries) -> None:
        """Store a tail whole or not at all."""
        content = encode(tail)
        path = self._path(symbol, tail.bar_ms)
        draft = path.with_suffix(".tmp")
        draft.write_bytes(hashlib.sha256(content).digest() + content)
        draft.replace(path)
        self._written[symbol, tail.bar_ms] = int(tail.open_ms[-1]) if len(tail) else 0

    @storing("a history tail")
    def read(self, symbol: str, market: MarketId, bar_ms: int) -> CandleSeries:
        """Read a tail; one that is absent or damaged is empty, and is fetched again."""
        path = self._path(symbol, bar_ms)
        stored = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(stored[32:]).digest() != stored[:32]:
            return empty_series(market, bar_ms)
        return decode(stored[32:], market, bar_ms)

    def _path(self, symbol: str, bar_ms: int) -> Path:
        """Give a tail's place."""
        name = hashlib.sha256(symbol.encode()).hexdigest()[:16]
        return self._folder / f"{name}-{bar_ms}.arrow"
