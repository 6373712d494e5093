"""`aml models`: evaluate, card, promote and roll back as an operator types them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from agent.cli.models import app
from models.artifact import default_artifact
from models.features import HOUR_MS
from models.registry import RegistryError
from tests.models.fakes import frame


def aml(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def said(ran: Result) -> str:
    """What `aml` prints of a fault that it knows."""
    assert isinstance(ran.exception, RegistryError)
    return str(ran.exception)


@pytest.mark.parametrize(
    "command", ["train", "evaluate", "card", "list", "promote", "rollback", "challenge", "shadow"]
)
def test_models__help__answers(command: str) -> None:
    ran = aml(command, "--help")
    assert ran.exit_code == 0
    assert "Example: aml models" in ran.stdout


def test_models__evaluate_card_promote_rollback__as_an_operator_does(tmp_path: Path) -> None:
    candles, out, page = tmp_path / "c.parquet", tmp_path / "r.json", tmp_path / "card.html"
    registry = ["--models", str(tmp_path / "models")]
    (tmp_path / "models").mkdir()
    frame("NEW/X", HOUR_MS, 24 * 100, seed=1).pipe(pd.DataFrame.to_parquet, candles)
    ran = aml("evaluate", "--candles", str(candles), "--json", str(out), *registry)
    assert ran.exit_code == 0, ran.output
    assert "Kupiec" in ran.stdout
    assert "static two years" in ran.stdout
    assert "log-HAR" in ran.stdout
    shipped = default_artifact().name
    assert json.loads(out.read_text())["modelHash"] == shipped
    ran = aml("card", "--report", str(out), "--out", str(page), *registry)
    assert ran.exit_code == 0, ran.output
    assert page.read_text().count("<svg") == 5
    assert "Cap through a crisis: NEW/X" in page.read_text()
    few = aml("promote", shipped, "--report", str(out), "--reason", "try", *registry)
    assert "not promoted: rows is" in said(few)
    forced = aml("promote", shipped, "--report", str(out), "--reason", "t", "--force", *registry)
    assert forced.exit_code == 0, forced.output
    assert "FAIL rows" in forced.stdout
    assert " force " in aml("list", *registry).stdout
    listed = json.loads(aml("list", "--json", *registry).stdout)
    assert [each["model"] for each in listed["models"] if each["champion"]] == [shipped]
    assert len(listed["steps"]) == 1
    assert aml("rollback", "--reason", "t", *registry).exit_code == 0
    again = aml("rollback", "--reason", "t", *registry)
    assert "no promotion to go back from" in said(again)


def test_models__evaluate_with_an_unknown_horizon__offers_those_there_are(tmp_path: Path) -> None:
    ran = aml("evaluate", "--candles", str(tmp_path), "--horizon", "2d")
    assert ran.exit_code != 0
    assert "15m" in ran.output
