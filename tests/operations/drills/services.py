"""Drills on processes: daemon, signers, watcher and PostgreSQL over the local world, sped up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from relayer.local import client
from relayer.local.state import WorldState
from tests.operations.drills.gate import Gate
from tests.operations.drills.house import AML, Acts, Process, configuration, run, view
from tests.operations.drills.server import Prometheus, free_port, until
from tests.relayer import postgres
from tests.relayer.local.walks import TWO, quiet, write_walks

FACTOR = 30.0  # a minute of the rules is two seconds
SPEED = 30.0  # of the world's clock
SIGNERS = (1, 2, 3)
START = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = '[lease]\nheartbeat_s = 1.0\nlasts_s = 6.0\ninstance = "{name}"\n'
# Grows as a process does that forgets to forget: a megabyte a second.
LEAKS = """
import sys, threading, time
kept = []
def leak():
    while True:
        kept.append(bytearray(1_000_000))
        time.sleep(1.0)
threading.Thread(target=leak, daemon=True).start()
from agent.cli.main import main
main()
"""


@dataclass
class Services:
    """Everything that runs, and the ways in which it can be disturbed."""

    home: Path
    world: WorldState
    database: postgres.Postgres
    prometheus: Prometheus
    ports: dict[str, int]
    first: Gate
    second: Gate
    watched: Gate
    processes: dict[str, Process] = field(default_factory=dict)
    acts: Acts = field(default_factory=Acts)

    def command(self, name: str, *arguments: str, state: Path | None = None) -> tuple[str, ...]:
        config, place = self.home / f"{name}.toml", state or self.home
        return (*AML, *arguments, "--network", str(config), "--state", str(place))

    def add(self, name: str, command: tuple[str, ...], ready: str) -> Process:
        log = self.home / f"{name}.log"
        self.processes[name] = Process(name=name, command=command, ready=ready, log=log)
        return self.processes[name]

    @property
    def daemon(self) -> Process:
        return self.processes["daemon"]

    @property
    def watcher(self) -> Process:
        return self.processes["watcher"]

    def venue(self, number: int, mode: str, **details: float | str) -> None:
        client.switch_venue(self.world, number, mode, **details)

    def all_venues(self, mode: str, **details: float | str) -> None:
        for number in range(len(self.world.venues)):
            self.venue(number, mode, **details)

    def wait_for_rounds(self) -> None:
        """Wait until prices and parameters take effect, as Prometheus sees it."""
        for name in ("price_rounds_total{state", "cycles_total{result"):
            asked = f'increase(aml_{name}="effective",job="aml"}}[8s]) > 0'
            until(lambda asked=asked: self.prometheus.value(asked), asked)


@contextlib.contextmanager
def services() -> Iterator[tuple[Services, Prometheus]]:
    """Start everything, wait until all is well, and end everything."""
    with TemporaryDirectory(prefix="aml-drill-") as folder, postgres.running(tcp=True) as database:
        made = _ground(Path(folder), database)
        try:
            _start(made)
            yield made, made.prometheus
        finally:
            made.acts.end_all()
            for each in made.processes.values():
                with contextlib.suppress(Exception):
                    each.kill()
            made.prometheus.kill()
            client.stop(made.home)


def _ground(folder: Path, database: postgres.Postgres) -> Services:
    home = folder / "state"
    candles = folder / "drill.parquet"
    times = int(START.timestamp()) * 1_000 + 60_000 * np.arange(14 * 1_440, dtype=np.int64)
    write_walks(candles, times, 5, quiet(0.0004), TWO)  # two markets, so that turns are short
    world = client.start(home, replay=candles, start_at=START + timedelta(days=4), speed=SPEED)
    names = ("daemon", "other", "watcher", "leaking", *(f"signer-{n}" for n in SIGNERS))
    ports = {name: free_port() for name in names}
    ports |= {f"door-{n}": free_port() for n in SIGNERS}
    doors = (Gate(world.rpc_url).start() for _ in range(3))
    first, second, watched = doors
    prometheus = Prometheus.start(folder / "prometheus", FACTOR)
    return Services(home, world, database, prometheus, ports, first, second, watched)


def _start(made: Services) -> None:
    configure(made, "daemon")
    daemon = view(made.home, "daemon", rpc_url=made.first.url)
    run(made.command("daemon", "deploy"))
    for number in SIGNERS:
        name = f"signer-{number}"
        metrics = str(made.ports[name])
        command = made.command(
            "daemon", "signer", "--index", str(number), "--metrics-port", metrics
        )
        made.add(name, command, "metrics at").start(wait=False)
    made.add("daemon", made.command("daemon", "run", state=daemon), "turn_ended")
    seen = view(made.home, "watcher", rpc_url=made.watched.url)
    made.add("watcher", made.command("daemon", "watcher", state=seen), "metrics at")
    made.daemon.start()
    made.watcher.start()
    made.prometheus.scrape("aml", [made.ports["daemon"]])
    made.prometheus.scrape("aml-watcher", [made.ports["watcher"]])
    made.prometheus.scrape("aml-signer", [made.ports[f"signer-{n}"] for n in SIGNERS])
    made.wait_for_rounds()


def configure(made: Services, name: str) -> None:
    """Write a daemon's configuration, on an empty database of its own."""
    database = made.database.fresh().split("/")[3].split("?")[0]
    storage = f"postgresql://{postgres.ROLE}@127.0.0.1:{made.database.tcp_port}/{database}"
    peers = "".join(
        f'[[signers.peers]]\nurl = "http://127.0.0.1:{made.ports[f"door-{n}"]}"\n' for n in SIGNERS
    )
    more = f"""
[storage]
url = "{storage}"

{LEASE.format(name=name)}
[payer]
every_s = 1.0

[watcher]
port = {made.ports["watcher"]}
every_s = 0.3

[derive] # what signers decide for themselves is no alert of its own
mode = "off"

[signers]
timeout_s = 10.0
{peers}"""
    changes = {'name = "local"': f'name = "local"\nspare_rpc_urls = ["{made.second.url}"]'}
    changes["tick_s = 5.0"] = "tick_s = 15.0"
    configuration(made.home / f"{name}.toml", made.ports, more, changes)
