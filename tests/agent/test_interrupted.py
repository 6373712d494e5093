"""Ctrl-C in the middle of long work: the code and a line say so; nothing half-written is left."""

from __future__ import annotations

import re
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from agent.cli.main import EXIT_STOPPED
from models.features import HOUR_MS
from relayer.chain import deployments
from relayer.local import client
from relayer.local.state import write_state
from tests.agent.instances import AML, PATIENCE_S
from tests.models.fakes import frame

pytestmark = [pytest.mark.loopback, pytest.mark.long]
STOPPED = "aml: stopped by Ctrl-C"


def started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*AML, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def interrupted(running: subprocess.Popen[str], said: str = "") -> str:
    """Interrupt a command, require its code and its line, and give all that it said."""
    running.send_signal(signal.SIGINT)
    rest, _ = running.communicate(timeout=PATIENCE_S)
    said += rest
    assert running.returncode == EXIT_STOPPED, said
    assert "Traceback" not in said
    assert said.splitlines().count(STOPPED) == 1
    return said


def interrupted_at(command: list[str], word: str) -> str:
    """Run a command and interrupt it as soon as it has said a word."""
    running = started(command)
    assert running.stdout is not None
    said = ""
    for line in running.stdout:
        said += line
        if word in line:
            return interrupted(running, said)
    pytest.fail(f"it never said {word!r}: {said}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A local world with nothing on its chain."""
    made = tmp_path_factory.mktemp("interrupted")
    client.start(made)
    yield made
    client.stop(made)


@contextmanager
def silent(folder: Path) -> Iterator[socket.socket]:
    """Let the chain's endpoint take connections and answer nothing."""
    state = client.status(folder).state
    with socket.create_server(("127.0.0.1", 0)) as server:
        write_state(folder, replace(state, rpc_url=f"http://127.0.0.1:{server.getsockname()[1]}"))
        try:
            yield server
        finally:
            write_state(folder, state)


def interrupted_while_asking(folder: Path, command: list[str]) -> str:
    """Interrupt a command while it waits for the chain's answer."""
    with silent(folder) as server:
        running = started([*command, "--state", str(folder)])
        ready, _, _ = select.select([server], [], [], PATIENCE_S)
        assert ready, "it never asked the chain"
        return interrupted(running)


def test_deploy__interrupted__says_what_stands_and_the_same_command_goes_on(folder: Path) -> None:
    said = interrupted_at(["deploy", "--state", str(folder)], "risk oracle")
    (stands,) = re.findall("on the chain stand: (.*)", said)
    assert re.match("PriceFeed 0x[0-9a-fA-F]{40}", stands)
    assert "deploy again with the same command" in said
    assert not list(folder.rglob("deployment.*"))
    assert not list(folder.rglob("*.standard.json"))
    again = subprocess.run(
        [*AML, "deploy", "--state", str(folder)], check=True, capture_output=True, timeout=240
    )
    assert b"deploying 1/" in again.stderr
    (file,) = folder.rglob("deployment.json")
    assert deployments.read(file).price_feed not in stands


@pytest.mark.parametrize("command", ["verify", "owner"])
def test_reading_the_chain__interrupted__leaves_what_was_there(
    folder: Path, tmp_path: Path, command: str
) -> None:
    if not list(folder.rglob("deployment.json")):
        subprocess.run([*AML, "deploy", "--state", str(folder)], check=True, timeout=240)
    earlier = tmp_path / "accept.2-apply.json"
    earlier.write_text("whole")
    owner = ["owner", "accept", "--out", str(tmp_path)]
    interrupted_while_asking(folder, ["verify", "1"] if command == "verify" else owner)
    assert list(tmp_path.iterdir()) == [earlier]
    assert earlier.read_text() == "whole"


def test_run__interrupted_while_its_history_is_filled__the_next_start_fills_the_rest(
    folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "local"\n[metrics]\nport = 0\n[http]\nport = 0\n')
    command = ["run", "--network", str(file), "--state", str(folder), "--cycles", "1"]
    running = started(command)
    assert running.stdout is not None
    said = ""
    for line in running.stdout:
        said += line
        if line.startswith("history 1/"):
            break
    running.send_signal(signal.SIGINT)
    rest, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0, said + rest  # a daemon that was told to end has done so
    assert "Traceback" not in rest
    assert rest.splitlines()[-1] == "stopped"
    again = subprocess.run(
        [*AML, *command], check=False, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert again.returncode == 0, again.stderr
    assert "1 of 1 risk cycles" in again.stderr
    assert "stopped after 1 risk cycles" in again.stderr


def test_evaluate__interrupted__leaves_the_report_of_before(tmp_path: Path) -> None:
    candles, out = tmp_path / "c.parquet", tmp_path / "r.json"
    frame("NEW/X", HOUR_MS, 24 * 400, seed=1).pipe(pd.DataFrame.to_parquet, candles)
    out.write_text("whole")
    command = ["models", "evaluate", "--candles", str(candles), "--json", str(out)]
    interrupted_at([*command, "--models", str(tmp_path / "none")], "reading markets")
    assert {path.name for path in tmp_path.iterdir()} <= {"c.parquet", "r.json", "none"}
    assert out.read_text() == "whole"


def test_train__interrupted__leaves_no_artifact(tmp_path: Path) -> None:
    hours, minutes, out = tmp_path / "h.parquet", tmp_path / "m.parquet", tmp_path / "out"
    frame("NEW/X", HOUR_MS, 24 * 200, seed=1).pipe(pd.DataFrame.to_parquet, hours)
    frame("NEW/X", HOUR_MS // 60, 60 * 24 * 40, seed=1).pipe(pd.DataFrame.to_parquet, minutes)
    command = ["models", "train", "--out", str(out), "--before", "2030-01-01"]
    interrupted_at([*command, "--data", str(hours), "--data", str(minutes)], "")
    assert not out.exists() or list(out.iterdir()) == []
