"""Up to one hour ahead on Bitfinex, BTC and ETH, 2018-19: forecasts, and QLIKE of the hour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.inference import diebold_mariano, per_instant
from benchmarks.walks import DATA, FILES, Cache, tell
from models.backtests import qlike
from models.combination import PooledHar
from models.dataset import HOUR_MS, Rows, joined, minute_rows, read_series, with_state
from models.evaluate import Walk, forecasts, with_outcome
from models.heads import forecast_columns
from models.samples import EARLIEST_MS
from models.train import Recipe, volatility_forecast
from models.volatility import PooledLogHar

FloatArray = NDArray[np.float64]

HOUR_S = 3_600
START, END = datetime(2018, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)
HAR_NAMES = ("minutes_squared_60m", "minutes_squared_1440m", "hours_squared_168")
JUDGED = ("BTCUSD", "ETHUSD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A model of the short horizon: the columns it reads, and how it is made."""

    names: tuple[str, ...]
    make: Any


def short_table(cache: Cache) -> dict[str, Any]:
    """QLIKE of ours, HAR and log-HAR one hour ahead, with Diebold-Mariano against HAR."""
    rows = with_outcome(_rows(HOUR_S), 0)
    names = forecast_columns(rows.names, minutes=True)
    contenders = {
        "ours": Contender(names=names, make=lambda: volatility_forecast(names, Recipe())),
        "HAR": Contender(names=HAR_NAMES, make=PooledHar),
        "log-HAR": Contender(names=HAR_NAMES, make=PooledLogHar),
    }
    first = int(START.timestamp() * 1_000)
    judged = np.isin(rows.symbols, JUDGED) & (rows.as_of_ms >= first)
    losses = {}
    for name, contender in contenders.items():
        walked = partial(_walked, rows, contender, HOUR_S)
        forecast = cache.get(f"short-{name}", rows, walked)
        losses[name] = qlike(rows.variance[judged, 0], np.exp(forecast[judged]))
    series = {name: per_instant(rows.as_of_ms[judged], loss) for name, loss in losses.items()}
    return {name: float(loss.mean()) for name, loss in losses.items()} | {
        "rows": int(judged.sum()),
        "dm_ours_against_har": diebold_mariano(series["ours"], series["HAR"]),
    }


def our_forecasts(cache: Cache, horizon_s: int = HOUR_S) -> tuple[Rows, FloatArray]:
    """Return the rows and our walked forecasts of log variance, from the cache where they are."""
    rows = with_outcome(_rows(horizon_s), 0)
    names = forecast_columns(rows.names, minutes=True)
    ours = Contender(names=names, make=lambda: volatility_forecast(names, Recipe()))
    name = "short-ours" if horizon_s == HOUR_S else f"short-{horizon_s}-ours"
    return rows, cache.get(name, rows, partial(_walked, rows, ours, horizon_s))


def _rows(horizon_s: int) -> Rows:
    parts: list[Rows] = []
    for name in FILES[1:]:
        tell("reading minutes", len(parts), len(FILES) - 1)
        parts += [
            minute_rows(series, horizons_s=(horizon_s,), stride_ms=HOUR_MS)
            for series in read_series(DATA / name)
        ]
    rows = with_state(joined(parts))
    return rows.select(rows.as_of_ms >= EARLIEST_MS)


def _walked(rows: Rows, contender: Contender, horizon_s: int) -> FloatArray:
    walk = Walk(
        column=0,
        horizon_s=horizon_s,
        names=contender.names,
        model=contender.make,
        start=START,
        end=END,
    )
    return forecasts(rows, walk, tell)
