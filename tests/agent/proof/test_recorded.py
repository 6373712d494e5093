"""Outcomes of the journal: read by path or URL, and compared on what all models forecast."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli.models import app
from agent.proof.recorded import packed, read_outcomes, recorded, side_by_side
from models.features import FeatureVector
from relayer import migrations
from relayer.forecasts import ForecastRow, Forecasts, Lesson
from relayer.storage import Database

ONE, TWO = b"\x01" * 32, b"\x02" * 32


def ended(model: bytes, from_ms: int, *, deviation: float = 0.01, fall: float = 0.0) -> ForecastRow:
    vector = FeatureVector(market=0, as_of_ms=from_ms, names=("a", "b"), values=(1.0, 0.1))
    return ForecastRow(
        model_hash=model,
        symbol="BTC",
        horizon_s=3_600,
        from_ms=from_ms,
        deviation=deviation,
        quantiles=(0.02, 0.03, 0.02, 0.03),
        features=packed(vector),
        ended_ms=from_ms + 3_600_000,
        variance=1e-4,
        fall=fall,
        rise=0.0,
    )


def journal(folder: Path, rows: list[ForecastRow]) -> Path:
    path = folder / "aml.db"

    async def write() -> None:
        url = f"sqlite:///{path}"
        migrations.upgrade(url)
        database = Database.open(url)
        for model in {row.model_hash for row in rows}:
            own = [row for row in rows if row.model_hash == model]
            await Forecasts(database).write(Lesson(model_hash=model, at_ms=0, opened=own))
        await database.close()

    asyncio.run(write())
    return path


def test_side_by_side__two_models__are_judged_on_what_both_forecast():
    rows = [ended(ONE, 0), ended(ONE, 3_600_000, fall=0.05), ended(TWO, 0, deviation=0.02)]
    first, second = side_by_side(rows)
    assert (first.outcomes, second.outcomes) == (1, 1)
    assert first.qlike == pytest.approx(0.0)
    assert second.qlike > 0.6
    assert first.long == 0.0


def test_recorded__same_outcomes__same_digest_and_columns(tmp_path: Path):
    path = journal(tmp_path, [ended(ONE, 0), ended(ONE, 3_600_000)])
    found = recorded(str(path))
    assert found.sha256 == recorded(f"sqlite:///{path}").sha256
    (minutes,) = found.minutes
    assert minutes.names == ("a", "b")
    assert minutes.features.tolist() == [[1.0, 0.1]] * 2
    assert minutes.variance[:, 1].tolist() == [1e-4, 1e-4]
    assert len(read_outcomes(str(path))) == 2


def test_models__shadow__prints_the_models_of_a_journal(tmp_path: Path):
    path = journal(tmp_path, [ended(ONE, 0), ended(TWO, 0)])
    ran = CliRunner().invoke(app, ["shadow", "--database", str(path)])
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.count("1 outcomes") == 2
    empty = journal(tmp_path / "empty", [])
    assert "no outcomes yet" in CliRunner().invoke(app, ["shadow", "--database", str(empty)]).stdout
