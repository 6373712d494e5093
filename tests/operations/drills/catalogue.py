"""Which alerts are drilled, and why the others cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.operations.drills.live import SCENE as LIVE
from tests.operations.drills.market import SCENE as MARKET
from tests.operations.drills.money import SCENE as MONEY
from tests.operations.drills.script import Case, Labels, Scene
from tests.operations.drills.services_cases import SCENE as SERVICES

SCENES: tuple[Scene[Any], ...] = (SERVICES, MONEY, MARKET, LIVE)
NOT_DRILLED = {
    "AmlLoopStuck": "each wait of ours has a limit far below the minutes that count as stuck. "
    "Endpoints, exchanges, signers, database and channels are drilled hanging or gone, and none "
    "of them stops a loop. What is left is a system call that never returns, as on a remote disk "
    "that is gone, and takes a kernel's help. The metric is tested with a loop that hangs "
    "(`tests/agent/test_liveness.py`), the rule by promtool.",
    "AmlChancesOff": "each outcome is of positions that were watched a day before, and a test "
    "needs weeks of them. The tests and the metric are run on made-up months "
    "(`tests/agent/positions/test_calibration.py`), the rule by promtool.",
}


# What is drilled, and has not come to its end yet; the page says so.
UNFINISHED: dict[str, str] = {}


def drilled() -> dict[str, str]:
    """Give each alert of the drills with its scene."""
    return {name: scene for scene, case in _cases() for name in case.alerts}


def labels() -> dict[str, Labels]:
    """Give each alert of the drills with the labels that its drill waits for."""
    return {name: wanted for _, case in _cases() for name, wanted in case.alerts.items()}


def _cases() -> Iterator[tuple[str, Case[Any]]]:
    for scene in SCENES:
        for lane in (scene.cases, *scene.beside):
            yield from ((scene.name, case) for case in lane)
