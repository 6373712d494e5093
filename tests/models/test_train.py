"""Training: reproducible, deaf to the future, and its tails cover markets it has not seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config

from models.artifact import save
from models.bars import BarMatrix
from models.dataset import DatasetError, Rows, Series, hour_rows, joined, read_series
from models.features import HOUR_MS, MINUTE_MS
from models.heads import HORIZONS_S, forecast_columns
from models.manifest import TrainedModel
from models.samples import HOUR_HORIZONS_S, Recorded, columns_of
from models.train import Recipe, fit_head, train
from tests.models.fakes import candles, frame, small_files, small_model

QUICK = Recipe(trees=10, accounts=20, worlds=1)


def test_train__same_files_and_seed__give_the_same_hash(trained: TrainedModel, tmp_path: Path):
    again = small_model(tmp_path)
    assert save(again, tmp_path / "b").name == save(trained, tmp_path / "a").name


def test_train__two_jobs__give_the_same_hash(trained: TrainedModel, tmp_path: Path):
    again = small_model(tmp_path, jobs=2)
    assert save(again, tmp_path / "b").name == save(trained, tmp_path / "a").name


@pytest.mark.loopback  # a cluster's parts speak through sockets, on one machine too
def test_train__fits_on_a_dask_cluster__give_the_same_hash(trained: TrainedModel, tmp_path: Path):
    distributed = pytest.importorskip("distributed", reason="the extra `research` brings Dask")
    with (
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            host="127.0.0.1",
            protocol="tcp",
            dashboard_address=None,
        ) as cluster,
        distributed.Client(cluster),
        parallel_config(backend="dask"),
    ):
        again = small_model(tmp_path, jobs=-1)
    assert save(again, tmp_path / "b").name == save(trained, tmp_path / "a").name


def recorded_rows(days: int = 40) -> Rows:
    """Hourly outcomes as a daemon records them: with columns of a book, one horizon unknown."""
    part = next(iter(read_series_of("LIVE", days)))
    rows = hour_rows(part, horizons_s=HOUR_HORIZONS_S, stride_ms=4 * HOUR_MS)
    book = np.zeros((len(rows.as_of_ms), 1))
    return replace(
        rows,
        names=("book_depth_10", *rows.names),
        features=np.concatenate([book, rows.features], axis=1),
        variance=np.where([[False, True]], np.nan, rows.variance),
    )


def read_series_of(symbol: str, days: int) -> list[Series]:
    bars = candles(HOUR_MS, 24 * (days + 30), seed=5)
    names = ("open", "high", "low", "close", "volume")
    columns = {name: getattr(bars, name)[None, :] for name in names}
    start = int(bars.open_ms[0])
    return [Series(symbol=symbol, bar_ms=HOUR_MS, start_ms=start, bars=BarMatrix(**columns))]


def test_train__outcomes_of_a_journal__join_the_rows_and_are_named_in_the_manifest(
    trained: TrainedModel, tmp_path: Path
):
    live = Recorded(name="journal", sha256="ab" * 32, hours=(recorded_rows(),), minutes=())
    model = train(small_files(tmp_path), recipe=QUICK, recorded=[live])
    more = model.manifest.metrics["rows_hours"] - trained.manifest.metrics["rows_hours"]
    assert 0 < more <= len(recorded_rows().as_of_ms)
    assert "LIVE" in model.manifest.symbols
    assert model.manifest.data_files["ab" * 32] == "journal"


def test_train__bars_at_or_after_the_cutoff__change_nothing(tmp_path: Path):
    hours, minutes = small_files(tmp_path)
    cutoff = datetime(2020, 1, 1, tzinfo=UTC) - timedelta(days=20)
    before = train((hours, minutes), before=cutoff, recipe=QUICK).fitted
    for path in (hours, minutes):
        content = pd.read_parquet(path)
        late = content["ts"] >= cutoff
        content.loc[late, ["open", "high", "low", "close"]] *= 3.0
        content.to_parquet(path)
    after = train((hours, minutes), before=cutoff, recipe=QUICK).fitted
    for one, other in zip(before.heads, after.heads, strict=True):
        assert one.forecast.linear_.coefficients_.tolist() == (
            other.forecast.linear_.coefficients_.tolist()
        )
        assert one.long.quantiles_.tolist() == other.long.quantiles_.tolist()


def test_train__every_horizon__has_a_head_without_minutes(trained: TrainedModel):
    plain = [
        head.horizon_s
        for head in trained.fitted.heads
        if not any(name.startswith("minutes_") for name in head.names)
    ]
    assert tuple(plain) == HORIZONS_S


def test_train__progress__is_told_to_the_end(
    training: tuple[TrainedModel, list[tuple[str, int, int]]],
):
    told = training[1]
    assert told[0] == ("reading", 0, 2)
    assert told[-1] == ("simulating accounts", 1, 1)


def test_train__no_minutes__says_what_is_needed(tmp_path: Path):
    with pytest.raises(DatasetError, match="at most five minutes"):
        train(small_files(tmp_path)[:1])


def test_train__too_little_history__says_so(tmp_path: Path):
    path = tmp_path / "X-5m.parquet"
    frame("X", 5 * MINUTE_MS, 288 * 2, seed=1).to_parquet(path)
    with pytest.raises(DatasetError, match="history"):
        train((path,))


def test_manifest__says_what_was_learned_from(trained: TrainedModel):
    manifest = trained.manifest
    assert manifest.symbols == ("A", "B", "SOLO")
    assert sorted(manifest.data_files.values()) == ["SOLO-5m.parquet", "hours.parquet"]
    assert manifest.trained_before == "2020-01-01T00:00:00+00:00"


def simulated(tmp_path: Path, seeds: range, horizon_s: int) -> Rows:
    """Rows of markets whose truth is known: stochastic volatility around levels of their own."""
    parts = []
    for seed in seeds:
        path = tmp_path / f"{seed}.parquet"
        deviation = 0.004 * 1.3 ** (seed % 8)
        frame(f"S{seed}", HOUR_MS, 24 * 220, seed=seed, deviation=deviation).to_parquet(path)
        series = next(read_series(path))
        parts.append(hour_rows(series, horizons_s=(horizon_s,), stride_ms=4 * HOUR_MS))
    rows = joined(parts)
    return rows.select(np.isfinite(rows.falls[:, 0]))


@pytest.mark.parametrize("horizon_s", [14_400, 86_400])
def test_tails__simulated_markets_never_seen__are_covered_as_promised(
    tmp_path: Path, horizon_s: int
):
    past = simulated(tmp_path, range(24), horizon_s)
    names = forecast_columns(past.names, minutes=False)
    head = fit_head(past, horizon_s, 0, names, Recipe()).head
    rows = simulated(tmp_path, range(100, 110), horizon_s)
    deviation = np.exp(0.5 * head.forecast.predict(columns_of(rows, head.names)))
    for tail, outcome, name in (
        (head.long, rows.falls, "hours_long_excursion"),
        (head.short, rows.rises, "hours_short_excursion"),
    ):
        score = columns_of(rows, (name,))[:, 0]
        share = (outcome > tail.predict(deviation, score, np.ones(len(score)))).mean(axis=0)
        # 12,000 rows, of which those within a horizon of each other are not independent
        assert share == pytest.approx([0.01, 0.005], abs=0.0035)
