"""The short form of `make chaos`: a few decisions through everything, each accounted for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.relayer import postgres
from tests.relayer.anvil import ROOT, binary

pytestmark = [pytest.mark.anvil, pytest.mark.loopback]


@pytest.mark.parametrize(("database", "decisions"), [("sqlite", 30), ("postgresql", 12)])
def test_chaos__deaths_rollbacks_and_a_lying_endpoint__nothing_lost_twice_or_stranded(
    database: str, decisions: int, tmp_path: Path
) -> None:
    binary()
    if database == "postgresql":
        postgres.binaries()
    out = tmp_path / "chaos.json"
    command = [sys.executable, "-m", "benchmarks.chaos", "--seed", "5"]
    ran = subprocess.run(
        [
            *command,
            *("--decisions", str(decisions), "--database", database, "--json", str(out)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(out.read_text())
    assert found["decisions"] >= decisions
    assert found["faults"] == []
