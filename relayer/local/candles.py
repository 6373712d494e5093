"""The demo's own candles: small, seeded, made up by us, and labelled so in the file's metadata.

Six perpetuals in USDC, four days of minutes: calm with clustered volatility and a common factor,
then, in the fourth day, a storm with a crash in it. Not calibrated to any market.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from relayer.local.replay import SYNTHETIC_KEY
from relayer.local.tape import BAR_MS

STARTS_MS: Final = 1_767_225_600_000  # 2026-01-01T00:00:00Z
DAYS: Final = 4
PLAY_MS: Final = STARTS_MS + 3 * 86_400_000  # scoring has its 3 days from here on
STORM_MS: Final = PLAY_MS + 8 * 3_600_000  # volatility starts to rise
CRASH_MS: Final = STORM_MS + 2 * 3_600_000  # and the crash begins
ENDS_MS: Final = STARTS_MS + DAYS * 86_400_000

_STEPS: Final = 6  # of the walk inside one minute
_COMMON: Final = 0.8  # correlation of each market with the common factor
_PERSISTENCE: Final = 0.99  # of log volatility, a minute
_VOL_OF_VOL: Final = 0.06
_STORM_FACTOR: Final = 4.0
_CRASH_MINUTES: Final = 20
_TAIL: Final = 5.0  # degrees of freedom of Student's t


@dataclass(frozen=True, slots=True, kw_only=True)
class _Market:
    """One made-up market: first price, volatility a year, USDC turned over a minute, crash."""

    base: str
    price: float
    volatility: float
    turnover: float
    crash: float  # log return of the crash


_MARKETS: Final = (
    _Market(base="BTC", price=90_000.0, volatility=0.45, turnover=9e6, crash=-0.10),
    _Market(base="ETH", price=3_000.0, volatility=0.60, turnover=5e6, crash=-0.13),
    _Market(base="SOL", price=140.0, volatility=0.80, turnover=1.5e6, crash=-0.17),
    _Market(base="LINK", price=14.0, volatility=0.85, turnover=4e5, crash=-0.18),
    _Market(base="ADA", price=0.42, volatility=0.85, turnover=4e5, crash=-0.18),
    _Market(base="PEBL", price=0.031, volatility=1.20, turnover=6e4, crash=-0.25),
)


def write_demo_candles(path: Path, seed: int, starts_ms: int = STARTS_MS) -> None:
    """Write the demo's candles; the same seed gives the same rows, whenever they start."""
    minutes = DAYS * 1_440
    chance = np.random.default_rng(seed)
    common = chance.standard_t(_TAIL, (minutes, _STEPS)) / np.sqrt(_TAIL / (_TAIL - 2))
    times = STARTS_MS + BAR_MS * np.arange(minutes, dtype=np.int64)
    later_ms = starts_ms - STARTS_MS
    tables = [
        _table(market, (times, later_ms), common, chance) for market in sorted(_MARKETS, key=_name)
    ]
    label = {SYNTHETIC_KEY: f"made up by write_demo_candles, seed {seed}".encode()}
    pq.write_table(pa.concat_tables(tables).replace_schema_metadata(label), path)


def _name(market: _Market) -> str:
    """Give a market's symbol."""
    return f"{market.base}/USDC:USDC"


def _table(
    market: _Market,
    when: tuple[NDArray[np.int64], int],
    common: NDArray[np.float64],
    chance: np.random.Generator,
) -> pa.Table:
    """Make one market's rows, so much later than the minutes that they are made for."""
    times, later_ms = when
    own = chance.standard_normal(common.shape)
    sigma = _volatility(market, times, chance)
    noise = _COMMON * common + np.sqrt(1 - _COMMON**2) * own
    steps = sigma[:, None] / np.sqrt(_STEPS) * noise + _crash(market, times)[:, None] / _STEPS
    walk = market.price * np.exp(np.cumsum(steps.ravel())).reshape(steps.shape)
    opened = np.concatenate(([market.price], walk[:-1, -1]))
    busy = np.abs(steps).sum(axis=1) / (sigma.mean() * np.sqrt(_STEPS))
    usdc = market.turnover * (0.3 + busy) * chance.lognormal(0.0, 0.4, len(times))
    closed = walk[:, -1]
    return pa.table(
        {
            "symbol": [_name(market)] * len(times),
            "ts": pa.array(times + later_ms, pa.timestamp("ms", tz="UTC")),
            "open": pa.array(opened),
            "high": pa.array(np.maximum(opened, walk.max(axis=1))),
            "low": pa.array(np.minimum(opened, walk.min(axis=1))),
            "close": pa.array(closed),
            "volume": pa.array(usdc / closed),
        }
    )


def _volatility(
    market: _Market, times: NDArray[np.int64], chance: np.random.Generator
) -> NDArray[np.float64]:
    """Give each minute's standard deviation: its log wanders, and the storm multiplies it by 4."""
    shocks = chance.standard_normal(len(times)) * _VOL_OF_VOL
    wander = np.empty(len(times))
    level = 0.0
    for minute, shock in enumerate(shocks):
        level = _PERSISTENCE * level + shock
        wander[minute] = level
    hours_in = np.clip((times - STORM_MS) / 3_600_000, 0.0, None)
    storm = 1 + (_STORM_FACTOR - 1) * np.minimum(1.0, hours_in / 1.5) * np.exp(-hours_in / 10)
    minute = market.volatility / np.sqrt(365 * 1_440)
    sigma: NDArray[np.float64] = minute * np.exp(wander - wander.var() / 2) * storm
    return sigma


def _crash(market: _Market, times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give each minute's drift: the crash falls evenly over 20 minutes, and a third comes back."""
    into = (times - CRASH_MS) // BAR_MS
    falling = (into >= 0) & (into < _CRASH_MINUTES)
    back = (into >= 2 * _CRASH_MINUTES) & (into < 8 * _CRASH_MINUTES)
    recovery = -market.crash / 3 / (6 * _CRASH_MINUTES)
    return np.where(falling, market.crash / _CRASH_MINUTES, 0.0) + np.where(back, recovery, 0.0)
