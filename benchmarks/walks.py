"""All models and baselines walked forward over the same instants (docs/evaluation.md)."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.baselines import (
    DECAYS,
    FilteredHistory,
    HourReturns,
    boosted_tables,
    ewma_forecast,
    garch_forecast,
    hour_returns,
    static_tables,
)
from models.combination import PooledHar
from models.dataset import HOUR_MS, Rows, hour_rows, joined, read_series, with_state
from models.evaluate import Judged, Walk, daily, forecasts, walk_months, with_outcome, with_tails
from models.heads import forecast_columns
from models.samples import EARLIEST_MS
from models.tails import LEVELS
from models.train import Recipe, volatility_forecast
from models.volatility import PooledLogHar

FloatArray = NDArray[np.float64]

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FILES = (
    "binance-spot-1h-2017-2023/ohlcv-1h.parquet",
    "bitfinex-1m-2013-2019/BTCUSD-1m.parquet",
    "bitfinex-1m-2013-2019/ETHUSD-5m.parquet",
    "bitfinex-1m-2013-2019/LTCUSD-5m.parquet",
    "bitfinex-1m-2013-2019/XRPUSD-5m.parquet",
)
COINS = ("BTC", "ETH", "BNB", "XRP", "LTC", "ETC", "EOS", "TRX", "XLM", "XMR", "MATIC")
START, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2023, 6, 17, tzinfo=UTC)
DEVELOPED_FROM, DEVELOPED_TO = datetime(2018, 7, 1, tzinfo=UTC), START
HORIZONS_S = (14_400, 86_400)
FOUR_HOURS, DAY = 0, 1
PROMISES = {FOUR_HOURS: 0.995, DAY: 0.99}
HAR_NAMES = ("hours_squared_24", "hours_squared_168", "hours_squared_720")
BOOSTED_MONTHS = 6
OURS, LOG_HAR = "ours", "log-HAR"
STATIC, BOOSTED, GARCH = "static two years", "raw boosted quantile", "GJR-GARCH-t"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """Rows to learn from and to judge on, and the hourly returns that baselines read."""

    rows: Rows
    returns: tuple[HourReturns, ...]


class Cache:
    """Forecasts kept in a folder from one run to the next; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, name: str, rows: Rows, make: Callable[[], FloatArray]) -> FloatArray:
        """Return what was made for these very rows before, or make it now."""
        if self._folder is None:
            return make()
        digest = hashlib.sha256(np.ascontiguousarray(rows.features).tobytes())
        path = self._folder / f"{name}-{digest.hexdigest()[:16]}.npy"
        if not path.is_file():
            self._folder.mkdir(parents=True, exist_ok=True)
            np.save(path, make())
        return np.asarray(np.load(path), dtype=np.float64)


def read_world() -> World:
    """Read every file once."""
    parts: list[Rows] = []
    returns: list[HourReturns] = []
    for name in FILES:
        for series in read_series(DATA / name):
            tell("reading", len(parts), 0)
            parts.append(hour_rows(series, horizons_s=HORIZONS_S, stride_ms=4 * HOUR_MS))
            returns.append(hour_returns(series))
    rows = with_state(joined(parts))
    return World(rows=rows.select(rows.as_of_ms >= EARLIEST_MS), returns=tuple(returns))


def walk_all(world: World, column: int, cache: Cache, *, develop: bool) -> dict[str, Judged]:
    """Walk every model over one horizon; the judged symbols only."""
    rows = with_outcome(world.rows, column)
    names = forecast_columns(rows.names, minutes=False)
    walk = Walk(
        column=column,
        horizon_s=HORIZONS_S[column],
        names=names,
        model=lambda: volatility_forecast(names, Recipe()),
        start=DEVELOPED_FROM if develop else START,
        end=DEVELOPED_TO if develop else END,
    )
    label = f"{'develop' if develop else 'judge'}-{walk.horizon_s}"
    ours = cache.get(f"{label}-ours", rows, lambda: forecasts(rows, walk, tell))
    judged = {OURS: with_tails(rows, walk, ours)}
    history = replace(walk, tail=FilteredHistory, rules=None)
    judged["ours, filtered history alone"] = with_tails(rows, history, ours)
    judged["ours, no online factor"] = with_tails(rows, replace(walk, rules=None), ours)
    for name, forecast in _variance_baselines(world, rows, history, cache, label).items():
        judged[name] = with_tails(rows, history, forecast)
    judged |= _quantile_baselines(rows, walk, ours, cache, label)
    return {name: _kept(each, column, develop=develop) for name, each in judged.items()}


def tell(stage: str, done: int, total: int) -> None:
    """Report progress on standard error."""
    print(f"\r{stage} {done}/{total or '?'}   ", end="", file=sys.stderr, flush=True)


def _variance_baselines(
    world: World, rows: Rows, walk: Walk, cache: Cache, label: str
) -> dict[str, FloatArray]:
    har = replace(walk, names=HAR_NAMES, model=PooledHar)
    log_har = replace(walk, names=HAR_NAMES, model=PooledLogHar)
    made = {
        LOG_HAR: cache.get(f"{label}-loghar", rows, lambda: forecasts(rows, log_har, tell)),
        "HAR": cache.get(f"{label}-har", rows, lambda: forecasts(rows, har, tell)),
    }
    for decay in DECAYS:
        made[f"EWMA({decay})"] = ewma_forecast(rows, world.returns, decay, walk.horizon_s)
    if walk.column == DAY:
        months = walk_months(walk.start, walk.end)
        made[GARCH] = cache.get(
            f"{label}-garch", rows, lambda: garch_forecast(rows, _judged_returns(world), months)
        )
    return made


def _quantile_baselines(
    rows: Rows, walk: Walk, ours: FloatArray, cache: Cache, label: str
) -> dict[str, Judged]:
    """Models that forecast no variance; ours stands in for it and is not judged."""
    months = walk_months(walk.start, walk.end)
    names = forecast_columns(rows.names, minutes=False)
    periods = [
        (months[place][0], months[min(place + BOOSTED_MONTHS, len(months)) - 1][1])
        for place in range(0, len(months), BOOSTED_MONTHS)
    ]
    level = PROMISES[walk.column]
    boosted = cache.get(
        f"{label}-boosted",
        rows,
        lambda: np.stack(boosted_tables(rows, walk, names, periods, level)),
    )
    tables = {STATIC: static_tables(rows, walk, months), BOOSTED: list(boosted)}
    start_ms = int(walk.start.timestamp() * 1_000)
    place = LEVELS.index(level)
    return {
        name: Judged(
            as_of_ms=rows.as_of_ms,
            symbols=rows.symbols,
            variance=rows.variance[:, walk.column],
            forecast=ours,
            falls=rows.falls[:, walk.column],
            rises=rows.rises[:, walk.column],
            long=long,
            short=short,
        ).select(np.isfinite(long[:, place]) & (rows.as_of_ms >= start_ms))
        for name, (long, short) in tables.items()
    }


def _judged_returns(world: World) -> list[HourReturns]:
    return [each for each in world.returns if each.symbol in judged_symbols()]


def judged_symbols() -> list[str]:
    """Names of the judged coins as the file writes them."""
    return [f"{coin}/USDT" for coin in COINS]


def _kept(judged: Judged, column: int, *, develop: bool) -> Judged:
    """Coins of the protocol (all of them while developing), at the hours of its horizon."""
    chosen = np.ones(len(judged.as_of_ms), dtype=np.bool_)
    if not develop:
        chosen &= np.isin(judged.symbols, judged_symbols())
    if column == DAY:
        chosen &= daily(judged.as_of_ms)
    return judged.select(chosen)
