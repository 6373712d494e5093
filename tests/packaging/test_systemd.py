"""The service units: valid, hardened, and leaving the daemon's libraries what they need."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging import confined

ROOT = Path(__file__).resolve().parent.parent.parent
UNITS = sorted((ROOT / "config" / "systemd").glob("*.service"))
CONFINED = [sys.executable, confined.__file__]
MOST_EXPOSED = 1.5
WORK = """
import ccxt, coincurve, pyarrow, sqlalchemy, web3
import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from models.artifact import default_artifact, load
from relayer.signing.keys_source import forbid_core_dumps
load(default_artifact(), None)
rows = np.random.default_rng(1).random((500, 4))
np.linalg.svd(rows @ rows.T)
HistGradientBoostingRegressor(max_iter=5).fit(rows, rows[:, 0]).predict(rows)
coincurve.PrivateKey().sign(b"message")
forbid_core_dumps()
print("worked")
"""
PROBE = """
import mmap, os
for attempt in (
    lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    lambda: os.chroot("/"),
    lambda: os.nice(-1),
):
    try:
        attempt()
        print("allowed")
    except PermissionError:
        print("refused")
"""


def tool() -> str:
    """Find systemd-analyze; without it skip, or fail where everything is required."""
    found = shutil.which("systemd-analyze")
    if found is None or not confined.HEADER.exists():
        reason = "needs apt-get install systemd linux-libc-dev"
        if os.environ.get("AML_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit__exposure__is_at_most_what_was_promised(unit: Path) -> None:
    ran = subprocess.run(
        [tool(), "security", "--offline=true", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", ran.stdout)
    assert found is not None, ran.stdout + ran.stderr
    assert float(found[1]) <= MOST_EXPOSED


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit__verified__has_nothing_to_say(unit: Path, tmp_path: Path) -> None:
    # The program is where the operator's guide puts it; here any that exists will do.
    copy = tmp_path / unit.name.replace("@.", "@1.")
    copy.write_text(unit.read_text().replace("/opt/aml/bin/aml", "/bin/true"))
    ran = subprocess.run(
        [tool(), "verify", "--man=no", copy], capture_output=True, text=True, check=False
    )
    said = [line for line in ran.stderr.splitlines() if unit.stem.split("@")[0] in line]
    assert said == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit__command__is_one_of_ours_with_its_options(unit: Path) -> None:
    from agent.cli.main import app  # noqa: PLC0415 -- the command line imports late

    (line,) = re.findall(r"^ExecStart=/opt/aml/bin/aml (.*)$", unit.read_text(), re.MULTILINE)
    name, *words = line.split()
    command = next(each for each in app.registered_commands if each.name == name)
    assert command.callback is not None
    text = subprocess.run(
        [sys.executable, "-m", "agent.cli.main", name, "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for option in (word for word in words if word.startswith("--")):
        assert option in text


def test_confined__what_the_unit_forbids__is_refused() -> None:
    tool()
    unit = ROOT / "config" / "systemd" / "aml.service"
    ran = subprocess.run(
        [*CONFINED, unit, sys.executable, "-c", PROBE], capture_output=True, text=True, check=False
    )
    assert ran.stdout.split() == ["refused"] * 3, ran.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit__system_calls_and_memory__let_the_libraries_work(unit: Path) -> None:
    tool()
    ran = subprocess.run(
        [*CONFINED, unit, sys.executable, "-c", WORK],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert ran.stdout.strip() == "worked", ran.stderr[-2_000:]


@pytest.mark.long
def test_unit__system_calls_and_memory__let_the_whole_daemon_run(tmp_path: Path) -> None:
    """The local world, deployment, venues, cycles, signing and delivery, all under the filter."""
    tool()
    unit = ROOT / "config" / "systemd" / "aml.service"
    aml = [*CONFINED, unit, sys.executable, "-m", "agent.cli.main"]
    try:
        ran = subprocess.run(
            [*aml, "run", "--state", tmp_path, "--speed", "20", "--cycles", "2"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=600,
            check=False,
        )
    finally:
        subprocess.run([*aml, "local", "down", "--state", tmp_path], cwd=ROOT, check=False)
    assert ran.returncode == 0, ran.stderr[-2_000:]
    assert "stopped after 2 risk cycles" in ran.stderr
