"""What the models are compared with: right where the answer is known, and deaf to the future."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from models.baselines import (
    FilteredHistory,
    HourReturns,
    ewma_forecast,
    garch_forecast,
    static_tables,
)
from models.combination import PooledHar
from models.dataset import HOUR_MS, Rows
from models.evaluate import Walk, walk_months
from models.volatility import PooledLogHar

DAY_MS = 86_400_000
START_MS = int(datetime(2018, 1, 1, tzinfo=UTC).timestamp() * 1_000)


def daily_rows(days: int, falls: np.ndarray | None = None) -> Rows:
    outcome = np.full((days, 1), 0.01) if falls is None else falls[:, None]
    return Rows(
        names=(),
        features=np.zeros((days, 0)),
        as_of_ms=START_MS + DAY_MS * np.arange(days, dtype=np.int64),
        symbols=np.full(days, "A"),
        variance=np.full((days, 1), 0.0001),
        falls=outcome,
        rises=outcome,
    )


def walk(start: datetime, end: datetime) -> Walk:
    return Walk(column=0, horizon_s=86_400, names=(), model=PooledLogHar, start=start, end=end)


def hourly(days: int, deviation: float = 0.01) -> HourReturns:
    rng = np.random.default_rng(1)
    return HourReturns(
        symbol="A",
        end_ms=START_MS + HOUR_MS * np.arange(1, 24 * days + 1, dtype=np.int64),
        values=rng.standard_normal(24 * days) * deviation,
    )


def test_ewma_forecast__steady_market__is_its_variance_over_the_horizon():
    rows = daily_rows(100).select(np.arange(100) > 50)
    forecast = ewma_forecast(rows, [hourly(100)], 0.994, 86_400)
    assert np.exp(forecast).mean() == pytest.approx(24 * 0.01**2, rel=0.1)


def test_ewma_forecast__later_returns__change_nothing():
    rows, returns = daily_rows(40), hourly(100)
    other = replace(returns, values=np.where(np.arange(2_400) >= 39 * 24, 1.0, returns.values))
    one, two = (ewma_forecast(rows, [each], 0.94, 86_400) for each in (returns, other))
    assert one.tolist() == two.tolist()


def test_pooled_har__forecast_below_zero__is_lifted_to_the_smallest_outcomes():
    rng = np.random.default_rng(2)
    features = rng.normal(-9.0, 1.0, (500, 3))
    fitted = PooledHar().fit(features, np.exp(features[:, 0]))
    assert np.isfinite(fitted.predict(np.full((1, 3), -40.0))).all()


def test_filtered_history__new_draws__are_covered_as_promised():
    rng = np.random.default_rng(3)
    deviation = np.exp(rng.normal(-4.0, 0.5, 20_000))
    excursion = np.abs(rng.standard_normal(20_000)) * deviation
    none = np.zeros(20_000)
    quantile = FilteredHistory().fit(excursion, deviation, none).predict(deviation, none, none)
    assert (excursion > quantile[:, 0]).mean() == pytest.approx(0.01, rel=0.1)


def test_static_tables__quantile_of_outcomes_that_had_ended():
    falls = np.random.default_rng(4).random(400)
    start, end = datetime(2019, 1, 1, tzinfo=UTC), datetime(2019, 2, 1, tzinfo=UTC)
    rows, period = daily_rows(400, falls), walk(start, end)
    long, short = static_tables(rows, period, walk_months(start, end)[-1:])
    known = np.sort(falls[:364])
    january = (rows.as_of_ms >= START_MS + 365 * DAY_MS) & np.isfinite(long[:, 0])
    assert january.sum() == 31
    # ceil(365 * 0.99) is 362: the 362nd smallest
    assert set(long[january, 0]) == {known[361]}
    assert short[january].tolist() == long[january].tolist()


def test_garch_forecast__steady_market__is_near_its_variance_and_deaf_to_the_future():
    pytest.importorskip("arch", reason="arch is in the extra `research`")
    rows, returns = daily_rows(400), hourly(420)
    start, end = datetime(2018, 12, 1, tzinfo=UTC), datetime(2019, 1, 1, tzinfo=UTC)
    months = walk_months(start, end)[-1:]
    forecast = garch_forecast(rows, [returns], months)
    december = np.isfinite(forecast)
    assert december.sum() == 31
    assert np.exp(forecast[december]).mean() == pytest.approx(24 * 0.01**2, rel=0.2)
    late = returns.end_ms > rows.as_of_ms[december][0] + 10 * DAY_MS
    other = replace(returns, values=np.where(late, 9.0 * returns.values, returns.values))
    again = garch_forecast(rows, [other], months)
    assert again[december][:11].tolist() == pytest.approx(forecast[december][:11].tolist())
