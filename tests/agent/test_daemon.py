"""The daemon on the embedded world, as its user runs it: real chain, real ccxt, real files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import FOLDER
from relayer.local import client
from relayer.local.candles import PLAY_MS

pytestmark = pytest.mark.loopback
AML = [sys.executable, "-m", "agent.cli.main"]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A local world on which the daemon has run three cycles."""
    folder = tmp_path_factory.mktemp("daemon")
    client.start(folder, speed=60.0)  # its day of play then outlasts a slow machine: 24 minutes
    ran = aml("run", "--cycles", "3", state=folder)
    assert ran.returncode == 0, ran.stderr
    yield folder
    client.stop(folder)


def command(*arguments: str, state: Path) -> list[str]:
    """Write a command with the local network's own configuration, on a free metrics port."""
    config = state / "free-port.toml"
    if not config.exists():
        config.write_text((FOLDER / "local.toml").read_text().replace("port = 910", "port = 0 # "))
    return [*AML, *arguments, "--network", str(config), "--state", str(state)]


def aml(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would."""
    return subprocess.run(
        command(*arguments, state=state), capture_output=True, text=True, timeout=120, check=False
    )


def bundle_of(state: Path, number: int) -> Path:
    """Find the evidence of a round of the oracle."""
    said = aml("verify", str(number), state=state).stdout
    found = re.search(r"^evidence +([0-9a-f]{64})$", said, re.MULTILINE)
    assert found is not None, said
    (path,) = (state / "chains").glob(f"*/evidence/bundles/*/{found[1]}.json")
    return path


def test_daemon__three_cycles__each_update_is_effective_and_reproduces(state: Path) -> None:
    for number in (1, 2, 3):
        verified = aml("verify", str(number), state=state)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert "reproduces: every field is the same" in verified.stdout


def test_daemon__price_round__reproduces(state: Path) -> None:
    assert aml("verify", "--price", "1", state=state).returncode == 0


@pytest.mark.parametrize(
    ("marker", "field"),
    [
        (b'"features/0":{', "features/0"),
        (b'"slots":["0x', "chain"),
        (b'"quotes":[[', "quotes"),
        (b'"hours":{"bar_ms":', "market/0"),
    ],
)
def test_daemon__one_byte_of_evidence_changed__names_the_field(
    state: Path, marker: bytes, field: str
) -> None:
    path = bundle_of(state, 2)
    original = path.read_bytes()
    at = original.index(marker) + len(marker)
    digit = next(i for i in range(at, len(original)) if original[i : i + 1].isdigit())
    swapped = b"1" if original[digit : digit + 1] != b"1" else b"2"
    path.write_bytes(original[:digit] + swapped + original[digit + 1 :])
    verified = aml("verify", "2", state=state)
    path.write_bytes(original)
    assert verified.returncode == 1
    assert f"EVIDENCE CHANGED  {field}" in verified.stdout


def test_daemon__evidence_gone__says_so(state: Path, tmp_path: Path) -> None:
    verified = aml("verify", "2", "--evidence", str(tmp_path), state=state)
    assert verified.returncode == 1
    assert "--evidence" in verified.stderr


def test_daemon__unknown_round__names_the_latest(state: Path) -> None:
    verified = aml("verify", "4000", state=state)
    assert verified.returncode == 1
    assert re.search(r"the latest round is \d+", verified.stderr)


def test_daemon__second_run_on_the_same_chain__goes_on_with_the_next_round(state: Path) -> None:
    """Rounds, nonces and history are picked up where the first process left them."""
    before = latest_round(state)
    ran = aml("run", "--cycles", "2", state=state)
    assert ran.returncode == 0, ran.stderr
    assert landed(ran.stderr) >= 1, ran.stderr
    assert latest_round(state) == before + landed(ran.stderr)


def landed(log: str) -> int:
    """Count risk updates that took effect; a fault of a busy machine may hold one cycle."""
    return log.count("kind='risk' result='effective'")


def latest_round(state: Path) -> int:
    said = aml("status", state=state).stdout
    found = re.search(r"RiskOracle \S+ +round (\d+)", said)
    assert found is not None, said
    return int(found[1])


def test_daemon__sigterm__ends_clean_with_code_0(state: Path) -> None:
    process = subprocess.Popen(command("run", state=state), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "kind='price'" in line:
            break
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 0, rest
    assert "stopped after" in rest
    assert "Traceback" not in rest


def test_daemon__kill_9__next_run_goes_on(state: Path) -> None:
    process = subprocess.Popen(command("run", state=state), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "turn_ended" in line:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    before = latest_round(state)
    ran = aml("run", "--cycles", "2", state=state)
    assert ran.returncode == 0, ran.stderr
    assert latest_round(state) >= before + landed(ran.stderr) > before, ran.stderr


def test_daemon__other_speed_asked_of_a_running_world__is_refused(state: Path) -> None:
    refused = aml("run", "--speed", "7", state=state)
    assert refused.returncode == 1
    assert "runs at 60x" in refused.stderr


@pytest.mark.parametrize(
    ("mode", "reason"), [("stale", "venues_stale"), ("down", "too_few_venues")]
)
def test_daemon__two_venues_fail__holds_with_its_reason_and_posts_nothing(
    tmp_path: Path, mode: str, reason: str
) -> None:
    world = client.start(tmp_path, speed=600.0)
    try:
        for venue in (0, 1):
            client.switch_venue(world, venue, mode)
        ran = aml("run", "--cycles", "1", state=tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert f"reason='{reason}'" in ran.stderr
        assert latest_round(tmp_path) == 0
    finally:
        client.stop(tmp_path)


def test_daemon__metrics__show_holds_by_reason_and_on_chain_rounds(state: Path) -> None:
    process = subprocess.Popen(command("run", state=state), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    url = ""
    for line in process.stderr:
        if line.startswith("metrics at "):
            url = line.split()[2]
        if landed(line) and url:
            break
    text = client.fetch_text(url)
    process.terminate()
    process.communicate(timeout=30)
    counted = [line for line in text.splitlines() if line.startswith(("aml_cycles", "aml_holds"))]
    assert 'aml_cycles_total{result="effective"} 1.0' in text, counted
    assert 'aml_holds_total{reason="warming_up"} 0.0' in text
    assert 'aml_onchain_round{kind="risk"}' in text
    assert 'aml_market_leverage_cap_ratio{market="BTC"}' in text


def test_daemon__start_before_scoring_has_its_three_days__holds_warming_up(tmp_path: Path) -> None:
    early = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(PLAY_MS / 1_000 - 86_400))
    ran = aml("run", "--cycles", "1", "--from", early, "--speed", "600", state=tmp_path)
    client.stop(tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "reason='warming_up'" in ran.stderr
