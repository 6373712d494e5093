"""The processes of a drill: daemon, signers and watcher, each as operators run it."""

from __future__ import annotations

import dataclasses
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.config import FOLDER
from relayer.local import client
from relayer.local.state import LOCK_FILE, LocalVenue, write_state
from tests.operations.drills.server import until

AML = (sys.executable, "-m", "agent.cli.main")
START_S = 600.0  # a machine may be busy


@dataclass
class Process:
    """One process of ours; what it says is kept by us, so that it needs no file of its own."""

    name: str
    command: Sequence[str]
    ready: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, *, wait: bool = True) -> Process:
        before = self.log.stat().st_size if self.log.exists() else 0
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self.environment},
        )
        threading.Thread(target=self._keep, args=(self.process,), daemon=True).start()
        if wait:
            until(lambda: self._is_ready(before), f"{self.name} says {self.ready!r}", START_S)
        return self

    def _keep(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with self.log.open("ab") as log:
            for line in process.stdout:
                log.write(line)
                log.flush()

    def _is_ready(self, before: int) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended: {self.said[-2_000:]}")
        return self.ready in self.said[before:]

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """End it as the kernel would."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        if self.process is not None:
            self.process.wait(timeout=30)

    def stop(self) -> None:
        """Tell it to end."""
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()

    def restart(self, command: Sequence[str] | None = None) -> None:
        """Tell it to end, and start it again, with another command if one is given."""
        self.stop()
        self.command = command or self.command
        self.start()

    def limit(self, what: int, soft: int) -> None:
        """Change one of its limits while it runs."""
        _, hard = resource.prlimit(self.pid, what)
        resource.prlimit(self.pid, what, (soft, hard))


@dataclass
class Acts:
    """What is done again and again until it is ended, each by its name."""

    under_way: dict[str, tuple[threading.Event, threading.Thread]] = field(default_factory=dict)

    def begin(self, name: str, act: Callable[[], object], every_s: float = 0.0) -> None:
        ending = threading.Event()

        def run() -> None:
            while not ending.is_set():
                act()
                ending.wait(every_s)

        thread = threading.Thread(target=run, daemon=True)
        self.under_way[name] = ending, thread
        thread.start()

    def end(self, name: str) -> None:
        ending, thread = self.under_way.pop(name)
        ending.set()
        thread.join(timeout=60)

    def end_all(self) -> None:
        for name in list(self.under_way):
            self.end(name)


def run(command: Sequence[str]) -> None:
    """Run a command to its end, which must be a good one."""
    subprocess.run(command, check=True, capture_output=True, timeout=START_S)


def view(
    home: Path,
    name: str,
    *,
    rpc_url: str | None = None,
    venues: tuple[LocalVenue, ...] | None = None,
    control_url: str | None = None,
) -> Path:
    """Make a state folder in which a process finds the same world by other ways.

    Contracts and evidence are shared; the endpoint and the exchanges may be others.
    """
    world = client.status(home).state
    folder = home.with_name(f"{home.name}-{name}")
    (home / "chains").mkdir(exist_ok=True)
    if not folder.exists():
        folder.mkdir()
        (folder / LOCK_FILE).symlink_to(home / LOCK_FILE)
        (folder / "chains").symlink_to(home / "chains")
    told = dataclasses.replace(
        world,
        rpc_url=rpc_url or world.rpc_url,
        venues=venues or world.venues,
        control_url=control_url or world.control_url,
    )
    write_state(folder, told)
    return folder


def configuration(
    path: Path, ports: Mapping[str, int], more: str, changes: Mapping[str, str]
) -> Path:
    """Write the local network's own configuration with ports of a drill, and what differs."""
    text = (FOLDER / "local.toml").read_text()
    text = text.replace("port = 9108", f"port = {ports['daemon']}")
    text = re.sub(r"\[http\][^\[]*", "", text)
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(f"{text}\n{more}")
    return path
