"""Ctrl-C in the middle of long work: the code says so, and nothing half-written is left."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from agent.cli.main import EXIT_STOPPED
from models.features import HOUR_MS
from tests.agent.instances import AML, PATIENCE_S
from tests.models.fakes import frame

pytestmark = pytest.mark.long


def interrupted(command: list[str], word: str) -> int:
    """Run a command, interrupt it as soon as it has said a word, and give its code."""
    running = subprocess.Popen(
        [*AML, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert running.stdout is not None
    said = ""
    for line in running.stdout:
        said += line
        if word in line:
            break
    else:
        pytest.fail(f"it never said {word!r}: {said}")
    running.send_signal(signal.SIGINT)
    rest, _ = running.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in said + rest
    return running.returncode


def test_train__interrupted__leaves_no_artifact(tmp_path: Path) -> None:
    hours, minutes, out = tmp_path / "h.parquet", tmp_path / "m.parquet", tmp_path / "out"
    frame("NEW/X", HOUR_MS, 24 * 200, seed=1).pipe(pd.DataFrame.to_parquet, hours)
    frame("NEW/X", HOUR_MS // 60, 60 * 24 * 40, seed=1).pipe(pd.DataFrame.to_parquet, minutes)
    command = ["models", "train", "--out", str(out), "--before", "2030-01-01"]
    assert interrupted([*command, "--data", str(hours), "--data", str(minutes)], "") == EXIT_STOPPED
    assert not out.exists() or list(out.iterdir()) == []
