"""The daemon with its signers in processes of their own, as their users run them."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.config import FOLDER
from relayer.local import client

pytestmark = [pytest.mark.loopback, pytest.mark.long]
AML = [sys.executable, "-m", "agent.cli.main"]
COUNT = 3


@dataclass
class House:
    """A local world, a configuration with three signers, and the processes that are up."""

    state: Path
    config: Path
    running: dict[int, subprocess.Popen[str]] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        return [*AML, *arguments, "--network", str(self.config), "--state", str(self.state)]

    def aml(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=400, check=False
        )

    def start_signer(self, number: int) -> None:
        log = (self.state / f"signer-{number}.log").open("w")
        self.running[number] = subprocess.Popen(
            self.command("signer", "--index", str(number)), stderr=log, text=True
        )

    def said(self, number: int) -> str:
        return (self.state / f"signer-{number}.log").read_text()

    def wait_until_signers_listen(self) -> None:
        deadline = time.monotonic() + 300
        while not all("metrics at" in self.said(number) for number in self.running):
            assert time.monotonic() < deadline, [self.said(n) for n in self.running]
            assert all(each.poll() is None for each in self.running.values())
            time.sleep(0.1)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("signers")
    client.start(folder, speed=60.0)
    made = House(state=folder, config=folder / "signers.toml")
    made.config.write_text(configuration())
    deployed = made.aml("deploy")
    assert deployed.returncode == 0, deployed.stderr
    for number in range(1, COUNT + 1):
        made.start_signer(number)
    made.wait_until_signers_listen()
    yield made
    for process in made.running.values():
        process.kill()
        process.wait()
    client.stop(folder)


def configuration(count: int = COUNT) -> str:
    """Write the local network's own configuration with signers beside it."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        urls = [f"http://127.0.0.1:{probe.getsockname()[1]}" for probe in probes]
    peers = "".join(f'\n[[signers.peers]]\nurl = "{url}"\n' for url in urls)
    local = (FOLDER / "local.toml").read_text().replace("port = 910", "port = 0 # ")
    # An own decision is required: what takes effect below was decided by each signer as well.
    derive = '\n[derive]\nmode = "required"\nwait_s = 50.0\n'
    return local + derive + "\n[signers]\ntimeout_s = 60.0\n" + peers


def test_run__signers_of_their_own__decisions_are_effective(house: House) -> None:
    ran = house.aml("run", "--cycles", "1")
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"result='effective'", ran.stderr), ran.stderr
    assert house.aml("verify", "1").returncode == 0


def test_run__one_signer_killed__the_other_two_are_enough(house: House) -> None:
    house.running[1].kill()
    house.running[1].wait()
    ran = house.aml("run", "--cycles", "1")
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"result='effective'", ran.stderr), ran.stderr


def test_run__two_signers_killed__holds_and_names_both(house: House) -> None:
    for number in (1, 2):
        house.running[number].kill()
        house.running[number].wait()
    ran = house.aml("run", "--cycles", "1")
    assert ran.returncode == 0, ran.stderr
    assert "no_quorum" in ran.stderr
    assert "result='effective'" not in ran.stderr
