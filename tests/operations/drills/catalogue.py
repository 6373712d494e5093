"""Which alerts are drilled, and why the others cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.operations.drills.chances import SCENE as CHANCES
from tests.operations.drills.disk import SCENE as DISK
from tests.operations.drills.live import SCENE as LIVE
from tests.operations.drills.market import SCENE as MARKET
from tests.operations.drills.money import SCENE as MONEY
from tests.operations.drills.script import Case, Labels, Scene
from tests.operations.drills.services_cases import SCENE as SERVICES

SCENES: tuple[Scene[Any], ...] = (SERVICES, MONEY, MARKET, LIVE, DISK, CHANCES)
NOT_DRILLED: dict[str, str] = {}

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
