"""Real daemons on one PostgreSQL, as operators run them: started, killed, paused, cut off."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agent.config import FOLDER

AML = [sys.executable, "-m", "agent.cli.main"]
PATIENCE_S = 240  # for what takes a second or two on a machine that has nothing else to do


def wait_until(true: Callable[[], bool], instance: Instance, *, alive: bool = True) -> float:
    """Wait until something is so; return how long that took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < PATIENCE_S, instance.said
        assert instance.process is not None
        assert not alive or instance.process.poll() is None, instance.said
        time.sleep(0.05)
    return time.monotonic() - began


@dataclass
class Instance:
    """One daemon and what it wrote."""

    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its log goes on where it was."""
        self.process = subprocess.Popen(self.command, stderr=self.log.open("ab"))

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: signal.Signals) -> int:
        """End it by a signal, and return its code."""
        self.send(number)
        assert self.process is not None
        return self.process.wait(timeout=PATIENCE_S)

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    @property
    def terms(self) -> list[int]:
        """The terms that it has led in."""
        return [int(term) for term in re.findall(r"event='leading'.* term=(\d+)", self.said)]

    @property
    def effective(self) -> int:
        """How many of its decisions took effect."""
        return self.said.count("result='effective'")

    def page(self, said: str) -> str:
        """Fetch what is served at the address that it said last."""
        url = re.findall(rf"^{said} (\S+)", self.said, re.MULTILINE)[-1]
        with urllib.request.urlopen(url, timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    def metric(self, name: str) -> float:
        """Scrape one metric without labels."""
        found = re.search(rf"^{name} (\S+)$", self.page("metrics at"), re.MULTILINE)
        assert found is not None, name
        return float(found[1])


@dataclass
class Wire:
    """A TCP forwarder that can be cut: what is there is closed, what is new is refused."""

    port_behind: int
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    cut: bool = False
    _open: list[socket.socket] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def start(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def break_off(self) -> None:
        """Drop every connection, and take no new one."""
        self.cut = True
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self) -> None:
        self.cut = False

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self.cut:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.port_behind))
            except OSError:
                near.close()
                continue
            self._open += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65_536):
            sink.sendall(content)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def configuration(storage_url: str, name: str, times: tuple[float, float]) -> str:
    """Write the local network's own configuration with a shared database and a lease."""
    local = (FOLDER / "local.toml").read_text().replace("port = 910", "port = 0 # ")
    lease = f'[lease]\nheartbeat_s = {times[0]}\nlasts_s = {times[1]}\ninstance = "{name}"\n'
    return f'{local}\n[storage]\nurl = "{storage_url}"\n\n{lease}'
