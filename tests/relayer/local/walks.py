"""Candles of made-up markets in a file that the local exchanges replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Steps = Callable[[np.random.Generator, int], NDArray[np.float64]]
TWO = {"BTC/USDC:USDC": 90_000.0, "ETH/USDC:USDC": 3_000.0}


def write_walks(
    path: Path, times_ms: NDArray[np.int64], seed: int, steps: Steps, first: Mapping[str, float]
) -> None:
    """Write a candle a minute of each market: from its first price on, by the steps of its log."""
    random, tables = np.random.default_rng(seed), []
    for symbol, price in first.items():
        close = price * np.exp(np.cumsum(steps(random, len(times_ms))))
        opened = np.concatenate([[price], close[:-1]])
        columns = {
            "symbol": [symbol] * len(times_ms),
            "ts": pa.array(times_ms, pa.timestamp("ms", tz="UTC")),
            "open": opened,
            "high": np.maximum(opened, close) * 1.0002,
            "low": np.minimum(opened, close) * 0.9998,
            "close": close,
            "volume": random.uniform(1.0, 50.0, len(times_ms)),
        }
        tables.append(pa.table(columns))
    pq.write_table(pa.concat_tables(tables), path)


def quiet(a_minute: float) -> Steps:
    """Give steps of a market in which nothing happens."""
    return lambda random, count: random.normal(0.0, a_minute, count)
