"""A running daemon's keys are looked for wherever it leaves anything: they must be nowhere."""

from __future__ import annotations

import base64
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import FOLDER
from relayer.local import client
from relayer.local.accounts import local_key
from tests.agent.instances import AML, Instance, wait_until

pytestmark = [pytest.mark.loopback, pytest.mark.long]
ROLES = ("gas-payer", "price-signer-1", "risk-signer-1", "guardian")


def forms(role: str) -> list[bytes]:
    """Every way in which a key could be written down."""
    secret = local_key(role)
    number = int.from_bytes(secret, "big")
    texts = [secret.hex(), secret.hex().upper(), str(number), repr(secret)[2:-1]]
    encoded = [base64.b64encode(secret), base64.urlsafe_b64encode(secret)]
    return [secret, *(text.encode() for text in texts), *encoded]


def found_in(content: bytes) -> list[str]:
    return [role for role in ROLES if any(form in content for form in forms(role))]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Instance, Path]]:
    """A daemon that has signed and posted, lost its chain, and said so."""
    folder = tmp_path_factory.mktemp("planted")
    client.start(folder, speed=20.0)
    config = folder / "planted.toml"
    config.write_text((FOLDER / "local.toml").read_text().replace("port = 910", "port = 0 # "))
    command = [*AML, "run", "--network", str(config), "--state", str(folder)]
    daemon = Instance(command, folder / "daemon.log")
    daemon.start()
    try:
        wait_until(lambda: daemon.effective >= 2, daemon)
        yield daemon, folder
    finally:
        client.stop(folder)
        assert daemon.process is not None
        if daemon.process.poll() is None:
            daemon.end(signal.SIGKILL)


def test_forms__a_key_that_is_there__is_found() -> None:
    for form in forms("gas-payer"):
        assert found_in(b"before " + form + b" behind") == ["gas-payer"]


def test_process__arguments_and_environment__have_no_key(running: tuple[Instance, Path]) -> None:
    daemon, _ = running
    assert daemon.process is not None
    listed = subprocess.run(["ps", "axeww", "-o", "args"], capture_output=True, check=True).stdout
    assert found_in(listed) == []
    proc = Path(f"/proc/{daemon.process.pid}")
    for name in ("cmdline", "environ", "status"):
        assert found_in((proc / name).read_bytes()) == []


def test_process__core_dumps__are_off(running: tuple[Instance, Path]) -> None:
    daemon, _ = running
    assert daemon.process is not None
    limits = Path(f"/proc/{daemon.process.pid}/limits").read_text()
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]


def test_metrics__have_no_key(running: tuple[Instance, Path]) -> None:
    daemon, _ = running
    assert found_in(daemon.page("metrics at").encode()) == []


def test_files__memory_evidence_and_history__have_no_key(running: tuple[Instance, Path]) -> None:
    _, folder = running
    holding = [path for path in folder.rglob("*") if path.is_file() and found_in(path.read_bytes())]
    assert holding == []


def test_output__after_faults_and_a_fatal_end__has_no_key(running: tuple[Instance, Path]) -> None:
    """Last: the chain goes away, turns fail with their reasons, and the process is ended."""
    daemon, folder = running
    client.stop(folder)
    assert daemon.process is not None
    wait_until(
        lambda: daemon.said.count("turn_held") >= 2 or "Traceback" in daemon.said,
        daemon,
        alive=False,
    )
    if daemon.process.poll() is None:
        daemon.end(signal.SIGABRT)
    assert found_in(daemon.log.read_bytes()) == []
    assert "event=" in daemon.said
