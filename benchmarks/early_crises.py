"""Crises before 2020, from Bitfinex candles: what thresholds and policies may be chosen on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.crises_prices import (
    LEAD_MINUTES,
    LOOK_BACK_HOURS,
    MINUTE_MS,
    Bars,
    coarser,
    read_bars,
)
from benchmarks.crises_run import Crisis

FOLDER: Final = "bitfinex-1m-2013-2019"
FILES: Final = {"BTCUSD": "BTCUSD-1m", "ETHUSD": "ETHUSD-5m", "XRPUSD": "XRPUSD-5m"}
MARKETS: Final = (("BTCUSD", 1), ("ETHUSD", 1), ("XRPUSD", 2))
BAR_MS: Final = 5 * MINUTE_MS


def _crisis(name: str, first: tuple[int, int, int], last: tuple[int, int, int]) -> Crisis:
    start, end = datetime(*first, tzinfo=UTC), datetime(*last, tzinfo=UTC)
    return Crisis(name=name, file=FOLDER, markets=MARKETS, start=start, end=end)


EARLY: Final = (
    _crisis("2018-01", (2018, 1, 15), (2018, 1, 18)),
    _crisis("2018-11", (2018, 11, 18), (2018, 11, 21)),
    _crisis("2019-06", (2019, 6, 25), (2019, 6, 28)),
)
"""A day that fills the books, and the worst days, as in `benchmarks.crises`."""


def early_bars(data: Path, crisis: Crisis) -> Bars:
    """Read a crisis' candles, a file a market, onto one grid of five minutes."""
    start_ms = int(crisis.start.timestamp()) * 1_000
    first_ms = start_ms - (LOOK_BACK_HOURS * 60 + LEAD_MINUTES) * MINUTE_MS
    end_ms = int(crisis.end.timestamp()) * 1_000
    parts = []
    for symbol in crisis.symbols:
        file = data / crisis.file / f"{FILES[symbol]}.parquet"
        bars = read_bars(file, (symbol,), first_ms, end_ms)
        parts.append(bars if bars.bar_ms == BAR_MS else coarser(bars, BAR_MS))
    names = ("open", "high", "low", "close", "volume")
    columns = {name: np.concatenate([getattr(p, name) for p in parts], axis=1) for name in names}
    return Bars(bar_ms=BAR_MS, start_ms=first_ms, **columns)
