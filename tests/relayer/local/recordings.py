"""Small candle files for tests: seeded walks, made up, written where the test says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from relayer.local.tape import BAR_MS, Tape

STARTS_MS = 1_746_316_800_000  # 2025-05-04T00:00:00Z
THREE_DAYS_MS = 3 * 86_400_000


def columns(
    symbol: str, minutes: int, *, starts_ms: int = STARTS_MS, seed: int = 3
) -> dict[str, Any]:
    """Columns of a walk whose highs and lows lie outside of open and close."""
    chance = np.random.default_rng(seed)
    closes = 100.0 * np.exp(np.cumsum(chance.normal(0.0, 0.001, minutes)))
    opens = np.concatenate(([100.0], closes[:-1]))[:minutes]
    return {
        "symbol": [symbol] * minutes,
        "ts": starts_ms + BAR_MS * np.arange(minutes, dtype=np.int64),
        "open": opens,
        "high": np.maximum(opens, closes) * (1 + chance.uniform(0, 0.001, minutes)),
        "low": np.minimum(opens, closes) * (1 - chance.uniform(0, 0.001, minutes)),
        "close": closes,
        "volume": chance.uniform(1.0, 1_000.0, minutes),
    }


def tape(minutes: int = 600, *, seed: int = 3) -> Tape:
    made = columns("BTC/USDT:USDT", minutes, seed=seed)
    return Tape(
        symbol="BTC/USDT:USDT",
        base="BTC",
        quote="USDT",
        open_ms=made["ts"],
        open=made["open"],
        high=made["high"],
        low=made["low"],
        close=made["close"],
        volume=made["volume"],
    )


def write(path: Path, *markets: dict[str, Any]) -> Path:
    """Write markets one after the other."""
    tables = [pa.table(market) for market in markets]
    pq.write_table(pa.concat_tables(tables, promote_options="permissive"), path)
    return path


def write_small_recording(path: Path) -> Path:
    """Write two markets of three days and four hours; the second starts and ends an hour later."""
    minutes = 3 * 1_440 + 240
    later = STARTS_MS + 60 * BAR_MS
    return write(
        path,
        columns("BTC/USDT:USDT", minutes, seed=1),
        columns("ETH/USDT:USDT", minutes, starts_ms=later, seed=2),
    )
