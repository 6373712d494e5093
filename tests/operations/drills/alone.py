"""One daemon, as `aml run` makes it, over a local world of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from relayer.local import client
from relayer.local.state import LOCK_FILE, WorldState, write_state
from tests.operations.drills.house import AML, Acts, Process, configuration, run
from tests.operations.drills.server import Prometheus, free_port, until
from tests.relayer.local.walks import TWO, quiet, write_walks

FACTOR = 30.0  # a minute of the rules is two seconds
SPEED = 30.0  # of the world's clock
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Alone:
    """The daemon, its state's folder, and who watches it."""

    world: WorldState
    state: Path
    daemon: Process
    prometheus: Prometheus
    acts: Acts = field(default_factory=Acts)

    @property
    def place(self) -> Path:
        """Where it keeps what belongs to this chain."""
        return self.state / "chains" / self.world.instance

    def wait_for_rounds(self) -> None:
        """Wait until prices and parameters take effect, as Prometheus sees it."""
        for name in ("price_rounds_total{state", "cycles_total{result"):
            asked = f'increase(aml_{name}="effective",job="aml"}}[8s]) > 0'
            until(lambda asked=asked: self.prometheus.value(asked), asked)


@contextlib.contextmanager
def alone(folder: Path, state: Path, more: str = "") -> Iterator[Alone]:
    """Start a world, deploy, run a daemon whose state is in a folder, and end everything."""
    home, candles = folder / "world", folder / "walks.parquet"
    times = int(START.timestamp()) * 1_000 + 60_000 * np.arange(14 * 1_440, dtype=np.int64)
    write_walks(candles, times, 5, quiet(0.0004), TWO)
    world = client.start(home, replay=candles, start_at=START + timedelta(days=4), speed=SPEED)
    try:
        state.mkdir()
        (state / LOCK_FILE).symlink_to(home / LOCK_FILE)
        write_state(state, world)
        port, config = free_port(), folder / "daemon.toml"
        configuration(config, {"daemon": port}, more, {"tick_s = 5.0": "tick_s = 15.0"})
        where = ("--network", str(config), "--state", str(state))
        run((*AML, "deploy", *where))
        log, command = folder / "daemon.log", (*AML, "run", *where)
        daemon = Process(name="daemon", command=command, ready="turn_ended", log=log)
        made = Alone(world, state, daemon, Prometheus.start(folder / "prometheus", FACTOR))
        try:
            daemon.start()
            made.prometheus.scrape("aml", [port])
            made.wait_for_rounds()
            yield made
        finally:
            made.acts.end_all()
            daemon.kill()
            made.prometheus.kill()
    finally:
        client.stop(home)
