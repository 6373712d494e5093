"""A real PostgreSQL for tests: a cluster of its own in a temporary folder, a database a test."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pg8000.native
import pytest

ROLE = "aml"
_PORT = 5432  # in a folder of its own, so that it is nobody else's
_ACCOUNT = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root


def binaries() -> Path:
    """Find the server's programs; without them skip, or fail where everything is required."""
    named = os.environ.get("AML_POSTGRES")
    candidates = [Path(named)] if named else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    on_path = shutil.which("initdb")
    candidates += [Path(on_path).parent] if on_path else []
    found = [folder for folder in candidates if (folder / "initdb").exists()]
    if found:
        return found[-1]
    reason = "PostgreSQL is not installed: apt-get install postgresql, or set AML_POSTGRES"
    if os.environ.get("AML_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(kw_only=True)
class Postgres:
    """A cluster; `stop`, `start`, `pause` and `resume` do to it what operators and kernels do."""

    programs: Path
    folder: Path
    tcp_port: int | None = None
    process: subprocess.Popen[bytes] | None = None
    _names: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def socket(self) -> str:
        """The socket that clients on this machine use."""
        return f"{self.folder}/.s.PGSQL.{self.tcp_port or _PORT}"

    def fresh(self) -> str:
        """Make an empty database and give its URL."""
        name = f"test_{next(self._names)}"
        with self._session() as session:
            session.run(f"CREATE DATABASE {name}")
        return f"postgresql+pg8000://{ROLE}@/{name}?unix_sock={self.socket}"

    def sessions_of(self, url: str) -> int:
        """Count who is connected to a database."""
        name = url.split("/")[3].split("?", maxsplit=1)[0]
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = :name"
        with self._session() as session:
            return int(session.run(query, name=name)[0][0])

    def start(self) -> None:
        """Start the server, and return when it answers."""
        network = (
            ("-c", "listen_addresses=127.0.0.1", "-p", str(self.tcp_port))
            if self.tcp_port
            else ("-c", "listen_addresses=", "-p", str(_PORT))
        )
        # What a kill of the server leaves is kept all the same; only the machine's own end is not.
        quick = ("-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=40")
        command = (self.programs / "postgres", "-D", self.folder / "data", "-k", self.folder)
        self.process = subprocess.Popen(
            [*command, *network, *quick],
            cwd=self.folder,
            user=_ACCOUNT,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("ab"),
        )
        self._wait_ready()

    def stop(self) -> None:
        """End the server at once, as a crash does: no session says goodbye."""
        assert self.process is not None
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=60)

    @contextmanager
    def _session(self) -> Iterator[pg8000.native.Connection]:
        session = pg8000.native.Connection(ROLE, database="postgres", unix_sock=self.socket)
        try:
            yield session
        finally:
            session.close()

    def _wait_ready(self) -> None:
        for _ in range(600):
            try:
                with self._session():
                    return
            except pg8000.native.Error:
                time.sleep(0.05)
        pytest.fail(f"PostgreSQL did not answer within 30 s: {(self.folder / 'log').read_text()}")


@contextmanager
def running(*, tcp: bool = False) -> Iterator[Postgres]:
    """Make a cluster and run it; with `tcp` it can be reached, and cut off, through loopback."""
    programs = binaries()
    # Short, because a socket's path has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="aml-pg-", dir="/tmp"))
    if _ACCOUNT:
        shutil.chown(folder, _ACCOUNT)
    cluster = Postgres(programs=programs, folder=folder, tcp_port=_free_port() if tcp else None)
    options = ("-U", ROLE, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    subprocess.run(
        [programs / "initdb", "-D", folder / "data", *options],
        cwd=folder,
        user=_ACCOUNT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        cluster.start()
        yield cluster
    finally:
        if cluster.process is not None and cluster.process.poll() is None:
            cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
