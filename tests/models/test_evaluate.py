"""The walk forward: judged on forecasts of the time, against baselines that know no more."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from models.dataset import Rows, hour_rows, joined, read_series
from models.evaluate import Walk, coverage, daily, ewma, mean_qlike, walk_forward
from models.features import HOUR_MS
from models.volatility import PooledLogHar
from tests.models.fakes import frame

START, END = datetime(2019, 10, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)
NAMES = ("hours_squared_24", "hours_squared_168", "hours_squared_720")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    path = tmp_path_factory.mktemp("walk") / "x.parquet"
    parts = [frame(name, HOUR_MS, 24 * 560, seed=seed) for seed, name in enumerate("AB")]
    pd.concat(parts).to_parquet(path)
    return joined(
        [
            hour_rows(series, horizons_s=(86_400,), stride_ms=8 * HOUR_MS)
            for series in read_series(path)
        ]
    )


@pytest.fixture(scope="module")
def walk() -> Walk:
    return Walk(column=0, horizon_s=86_400, names=NAMES, model=PooledLogHar, start=START, end=END)


def test_walk_forward__judges_the_period_and_nothing_else(rows: Rows, walk: Walk):
    judged = walk_forward(rows, walk)
    stamps = judged.as_of_ms.astype("datetime64[ms]")
    assert stamps.min() == np.datetime64("2019-10-01")
    assert stamps.max() < np.datetime64("2020-01-01")
    assert set(judged.symbols) == {"A", "B"}


def test_walk_forward__what_follows__changes_no_forecast(rows: Rows, walk: Walk):
    border = int(datetime(2019, 12, 1, tzinfo=UTC).timestamp() * 1_000)
    late = rows.as_of_ms >= border - 86_400_000
    other = Rows(
        names=rows.names,
        features=rows.features,
        as_of_ms=rows.as_of_ms,
        symbols=rows.symbols,
        variance=np.where(late[:, None], rows.variance * 50.0, rows.variance),
        falls=np.where(late[:, None], rows.falls * 7.0, rows.falls),
        rises=rows.rises,
    )
    one, two = walk_forward(rows, walk), walk_forward(other, walk)
    # December's refit learns from outcomes that ended before it began, and so do all before
    known = one.as_of_ms < border + 31 * 86_400_000
    assert one.forecast[known].tolist() == two.forecast[known].tolist()
    # the online factor learns from each outcome as it ends, the first changed one at the border
    known = one.as_of_ms < border
    assert one.long[known].tolist() == two.long[known].tolist()


def test_walk_forward__nothing_before__is_refused(rows: Rows, walk: Walk):
    with pytest.raises(Exception, match="nothing to learn from"):
        walk_forward(rows.select(rows.as_of_ms >= rows.as_of_ms.max() - 86_400_000 * 30), walk)


def test_walk_forward__progress__counts_months(rows: Rows, walk: Walk):
    told: list[tuple[str, int, int]] = []
    walk_forward(rows, walk, lambda *step: told.append(step))
    assert told[-1] == ("walking", 14, 15)


def test_coverage__known_truth__is_near_the_promise(rows: Rows, walk: Walk):
    judged = walk_forward(rows, walk)
    result = coverage(judged, 0.99)
    assert result.symbols == 2
    assert result.breach_share < 0.04
    assert 0.0 < result.average < 1.0


def test_mean_qlike__ours__beats_ewma_on_a_mean_reverting_truth(rows: Rows, walk: Walk):
    judged = walk_forward(rows, walk)
    judged = judged.select(daily(judged.as_of_ms))
    midnight = rows.select(daily(rows.as_of_ms))
    level = ewma(midnight, 0)
    judged_days = midnight.as_of_ms >= judged.as_of_ms.min()
    judged_days &= np.isfinite(midnight.variance[:, 0])
    ratio = midnight.variance[judged_days, 0] / level[judged_days]
    assert mean_qlike(judged) < 1.2 * float((ratio - np.log(ratio) - 1.0).mean())


def test_ewma__two_days__hand_computed():
    rows = Rows(
        names=(),
        features=np.zeros((3, 0)),
        as_of_ms=np.arange(3, dtype=np.int64),
        symbols=np.array(["A"] * 3),
        variance=np.array([[1.0], [2.0], [3.0]]),
        falls=np.zeros((3, 1)),
        rises=np.zeros((3, 1)),
    )
    level = ewma(rows, 0)
    assert np.isnan(level[0])
    assert level[1:].tolist() == [1.0, pytest.approx(0.94 + 0.06 * 2.0)]
