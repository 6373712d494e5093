"""The daemon's life as systemd sees it: ready, alive, reloading, stopping, over a real socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import FOLDER
from relayer.local import client

pytestmark = pytest.mark.loopback
AML = [sys.executable, "-m", "agent.cli.main"]
PATIENCE_S = 180


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    client.start(folder)
    yield folder
    client.stop(folder)


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, address: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(address))
        self.socket.settimeout(PATIENCE_S)

    def until(self, beginning: str) -> str:
        """Listen until something that begins so is said."""
        while not (said := self.socket.recv(4_096).decode()).startswith(beginning):
            continue
        return said


def test_daemon__under_a_manager__says_how_it_stands(state: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    text = (FOLDER / "local.toml").read_text().replace("port = 910", "port = 0 # ")
    config.write_text(text)
    manager = Manager(tmp_path / "notify")
    told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    log = tmp_path / "log"
    with log.open("w") as written:
        running = subprocess.Popen(
            [*AML, "run", "--network", config, "--state", state],
            stderr=written,
            env={**os.environ, **told},
        )
    try:
        assert "STATUS=running" in manager.until("READY=1")
        manager.until("WATCHDOG=1")

        config.write_text(text.replace("heartbeat_s = 30", "heartbeat_s = 20"))
        running.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in manager.until("RELOADING=1")
        assert "reloaded: 1 changed, 0 wait for a restart" in manager.until("READY=1")

        config.write_text(text.replace("heartbeat_s = 30", "hartbeat_s = 20"))
        running.send_signal(signal.SIGHUP)
        assert "reload refused" in manager.until("READY=1")

        running.send_signal(signal.SIGTERM)
        manager.until("STOPPING=1")
        assert running.wait(timeout=PATIENCE_S) == 0, log.read_text()
        said = log.read_text()
        assert "setting_changed" in said
        assert "did you mean 'heartbeat_s'?" in said
        assert "stopped after" in said
    finally:
        running.kill()
        running.wait()
        manager.socket.close()
