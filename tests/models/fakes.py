"""Markets with a known truth: simulated paths as candles, frames, windows and a small model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from models.features import HOUR_MS, MINUTE_MS, Candles, MarketWindow
from models.manifest import TrainedModel
from models.train import Progress, Recipe, train

AS_OF_MS = 1_577_836_800_000
"""2020-01-01T00:00:00Z."""
DAY_MS = 86_400_000


def returns(rng: np.random.Generator, count: int, deviation: float) -> np.ndarray:
    """Returns whose log variance walks slowly around `deviation`: clustered, heavy-tailed."""
    shocks = rng.standard_normal(count) * 0.06
    level = np.zeros(count)
    for step in range(1, count):
        level[step] = 0.997 * level[step - 1] + shocks[step]
    return deviation * np.exp(0.5 * level) * rng.standard_normal(count)


def columns(
    rng: np.random.Generator, count: int, deviation: float, steps: int = 6
) -> dict[str, np.ndarray]:
    """Bars whose highs and lows are those of `steps` returns inside each bar."""
    path = returns(rng, count * steps, deviation / np.sqrt(steps)).cumsum().reshape(count, steps)
    closes = path[:, -1]
    opens = np.concatenate([[0.0], closes])[:count]
    high = np.maximum(path.max(axis=1), opens)
    low = np.minimum(path.min(axis=1), opens)
    prices = {"open": opens, "high": high, "low": low, "close": closes}
    bars = {name: 100.0 * np.exp(values) for name, values in prices.items()}
    return bars | {"volume": rng.gamma(2.0, 5_000.0, count)}


def candles(bar_ms: int, count: int, *, seed: int = 0, deviation: float = 0.008) -> Candles:
    """`count` bars that end at `AS_OF_MS`; `deviation` is that of an hour."""
    rng = np.random.default_rng(seed)
    bars = columns(rng, count, deviation * np.sqrt(bar_ms / HOUR_MS))
    open_ms = AS_OF_MS - bar_ms * np.arange(count, 0, -1, dtype=np.int64)
    return Candles(bar_ms=bar_ms, open_ms=open_ms, **bars)


def window(
    *, market: int = 0, hours: int = 720, minutes: int = 1_440, deviation: float = 0.008
) -> MarketWindow:
    """A market's past of so many bars, different for each market id."""
    return MarketWindow(
        market=market,
        as_of_ms=AS_OF_MS,
        hours=candles(HOUR_MS, hours, seed=2 * market, deviation=deviation),
        minutes=candles(MINUTE_MS, minutes, seed=2 * market + 1, deviation=deviation),
    )


def changed(bars: Candles, **arrays: np.ndarray) -> Candles:
    """The same bars with other columns."""
    names = ("open_ms", "open", "high", "low", "close", "volume")
    kept = {name: getattr(bars, name) for name in names}
    return Candles(bar_ms=bars.bar_ms, **(kept | arrays))


def scaled(bars: Candles, factor: float) -> Candles:
    """The same market in another denomination: prices times, volume divided by `factor`."""
    prices = {name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")}
    return changed(bars, **prices, volume=bars.volume / factor)


def stormier(bars: Candles, factor: float) -> Candles:
    """The same market with every logarithmic move `factor` times as large."""
    prices = {
        name: 100.0 * (getattr(bars, name) / 100.0) ** factor
        for name in ("open", "high", "low", "close")
    }
    return changed(bars, **prices)


def frame(
    symbol: str, bar_ms: int, count: int, *, seed: int, deviation: float = 0.008
) -> pd.DataFrame:
    """A candle file's rows for one symbol; the last bar ends at `AS_OF_MS`."""
    bars = candles(bar_ms, count, seed=seed, deviation=deviation)
    stamps = pd.to_datetime(bars.open_ms, unit="ms", utc=True)
    prices = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame({"symbol": symbol, "ts": stamps, **prices})


def small_files(folder: Path) -> tuple[Path, Path]:
    """Write a small hourly file of two symbols and a small five-minute file of one."""
    hours = [frame(name, HOUR_MS, 24 * 150, seed=seed) for seed, name in enumerate(("A", "B"))]
    paths = folder / "hours.parquet", folder / "SOLO-5m.parquet"
    pd.concat(hours).to_parquet(paths[0])
    frame("SOLO", 5 * MINUTE_MS, 288 * 75, seed=9).drop(columns="symbol").to_parquet(paths[1])
    return paths


def small_model(folder: Path, progress: Progress | None = None, jobs: int = 1) -> TrainedModel:
    """Train on the small files: quick, and good for nothing but tests."""
    recipe = Recipe(trees=30, accounts=60, worlds=1)
    return train(small_files(folder), recipe=recipe, jobs=jobs, progress=progress)
