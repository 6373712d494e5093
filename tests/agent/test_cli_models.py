"""`aml models`: evaluate, card, promote and roll back as an operator types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from models.artifact import default_artifact
from models.features import HOUR_MS
from tests.models.fakes import frame

AML = [sys.executable, "-m", "agent.cli.main", "models"]


def aml(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AML, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("command", ["evaluate", "card", "list", "promote", "rollback"])
def test_models__help__answers(command: str) -> None:
    ran = aml(command, "--help")
    assert ran.returncode == 0
    assert "Example: aml models" in ran.stdout


def test_models__evaluate_card_promote_rollback__as_an_operator_does(tmp_path: Path) -> None:
    candles, out, page = tmp_path / "c.parquet", tmp_path / "r.json", tmp_path / "card.html"
    registry = ["--models", str(tmp_path / "models")]
    (tmp_path / "models").mkdir()
    frame("NEW/X", HOUR_MS, 24 * 100, seed=1).pipe(pd.DataFrame.to_parquet, candles)
    ran = aml("evaluate", "--candles", str(candles), "--json", str(out), *registry)
    assert ran.returncode == 0, ran.stderr
    assert "Kupiec" in ran.stdout
    assert "static" in ran.stdout
    shipped = default_artifact().name
    assert json.loads(out.read_text())["modelHash"] == shipped
    ran = aml("card", "--report", str(out), "--out", str(page), *registry)
    assert ran.returncode == 0, ran.stderr
    assert page.read_text().count("<svg") >= 3
    few = aml("promote", shipped, "--report", str(out), "--reason", "try", *registry)
    assert few.returncode == 1
    assert "not promoted: rows is" in few.stderr
    assert "Traceback" not in few.stderr
    forced = aml("promote", shipped, "--report", str(out), "--reason", "t", "--force", *registry)
    assert forced.returncode == 0, forced.stderr
    assert "FAIL rows" in forced.stdout
    assert " force " in aml("list", *registry).stdout
    assert aml("rollback", "--reason", "t", *registry).returncode == 0
    again = aml("rollback", "--reason", "t", *registry)
    assert again.returncode == 1
    assert "no promotion to go back from" in again.stderr


def test_models__evaluate_with_an_unknown_horizon__offers_those_there_are(tmp_path: Path) -> None:
    ran = aml("evaluate", "--candles", str(tmp_path), "--horizon", "2d")
    assert ran.returncode != 0
    assert "15m" in ran.stderr
