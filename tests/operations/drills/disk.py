"""A drill on a disk that is gone: what the daemon writes never returns, as from a remote one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.operations.drills.alone import FACTOR, Alone, alone
from tests.operations.drills.script import Case, Scene
from tests.operations.drills.server import Prometheus
from tests.operations.drills.volume import Volume, missing, volume


@dataclass
class Disk:
    """A daemon whose database, evidence and history are on a disk of their own."""

    daemon: Alone
    volume: Volume


@contextlib.contextmanager
def disk() -> Iterator[tuple[Disk, Prometheus]]:
    with TemporaryDirectory(prefix="aml-drill-") as name:
        folder = Path(name)
        with volume(folder) as made, alone(folder, made.mount / "state") as daemon:
            try:
                yield Disk(daemon, made), daemon.prometheus
            finally:
                made.thaw()  # before the daemon is ended: who waits for a disk cannot be


def disk_is_gone(s: Disk) -> None:
    s.volume.freeze()


def disk_is_back(s: Disk) -> None:
    """What waited goes on by itself."""
    s.volume.thaw()
    s.daemon.wait_for_rounds()


CASES: tuple[Case[Disk], ...] = (
    Case(
        alerts={"AmlLoopStuck": {"loop": "price"}},
        fault="the disk with the daemon's state is frozen: each write waits in the kernel",
        provoke=disk_is_gone,
        mended="the disk answers again",
        mend=disk_is_back,
        patience_s=600.0,  # a loop may take minutes; no factor shortens that
    ),
)
SCENE = Scene(name="disk", factor=FACTOR, open=disk, cases=CASES, missing=missing)
