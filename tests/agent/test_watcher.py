"""The watcher as its user runs it: a process of its own beside a real chain, and one that dies."""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import FOLDER
from relayer.local import client

pytestmark = pytest.mark.loopback
AML = [sys.executable, "-m", "agent.cli.main"]
PATIENCE_S = 120


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A local world with the contracts on it, and no daemon."""
    folder = tmp_path_factory.mktemp("watched")
    client.start(folder)
    deployed = subprocess.run(
        [*AML, "deploy", "--state", folder], capture_output=True, text=True, check=False
    )
    assert deployed.returncode == 0, deployed.stderr
    yield folder
    client.stop(folder)


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return str(answer.read().decode())


def value(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found is not None, f"{name} is not in\n{text}"
    return float(found[1])


def until(port: int, name: str, least: float) -> str:
    """Scrape until a metric has come so far."""
    deadline = time.monotonic() + PATIENCE_S
    while value(text := metrics(port), name) < least:
        assert time.monotonic() < deadline, text
        time.sleep(0.1)
    return text


def test_watcher__chain_seen_then_gone__ages_grow_and_the_manager_hears(
    state: Path, tmp_path: Path
) -> None:
    config = tmp_path / "mine.toml"
    local = (FOLDER / "local.toml").read_text()
    config.write_text(local + "[watcher]\nport = 0\nevery_s = 0.1\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        running = subprocess.Popen(
            [*AML, "watcher", "--network", config, "--state", state],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        try:
            assert running.stderr is not None
            said = running.stderr.readline()
            found = re.search(r"metrics at http://127\.0\.0\.1:(\d+)", said)
            assert found is not None, said
            port = int(found[1])
            assert manager.recv(4_096).decode().startswith("READY=1")
            text = until(port, 'aml_watcher_reads_total{result="read"}', 1)
            assert value(text, 'aml_watcher_round_number{kind="price"}') == 0
            assert value(text, "aml_watcher_read_age_seconds") < PATIENCE_S
            assert (
                value(text, 'aml_watcher_price_age_seconds{market="BTC"}') == math.inf
            )  # none ever
            assert value(text, 'aml_watcher_parameters_left_seconds{market="BTC"}') == -math.inf
            assert value(text, "process_start_time_seconds") > 0  # AmlRestarting counts its changes
            assert value(text, "process_open_fds") < value(text, "process_max_fds")
            assert value(text, "process_resident_memory_bytes") > 0
            words = {manager.recv(4_096).decode() for _ in range(4)}
            assert "WATCHDOG=1" in words
            running.send_signal(signal.SIGTERM)
            assert running.wait(timeout=PATIENCE_S) == 0
        finally:
            running.kill()
            running.wait()


def test_watcher__endpoint_of_its_own_down__serves_and_counts(state: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    local = (FOLDER / "local.toml").read_text()
    config.write_text(local + "[watcher]\nport = 0\nevery_s = 0.1\n")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}"
        running = subprocess.Popen(
            [*AML, "watcher", "--network", config, "--state", state, "--rpc", dead],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert running.stderr is not None
            found = re.search(r":(\d+)/metrics$", running.stderr.readline().strip())
            assert found is not None
            text = until(int(found[1]), 'aml_watcher_reads_total{result="failed"}', 2)
            assert 0 < value(text, "aml_watcher_read_age_seconds") < PATIENCE_S
            for unread in ("block_age_seconds", 'price_age_seconds{market="BTC"}'):
                assert math.isnan(value(text, f"aml_watcher_{unread}"))
        finally:
            running.terminate()
            running.wait(timeout=PATIENCE_S)
