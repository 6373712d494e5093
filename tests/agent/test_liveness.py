"""The watchdog is fed while every loop ends its turns, and starved when one does not."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from agent.liveness import Liveness
from relayer.service import Service


class Manager(Service):
    """A manager that remembers what it heard; the socket itself is tested in relayer."""

    heard: list[str] = []  # noqa: RUF012 - filled by each test

    def alive(self) -> None:
        self.heard.append("alive")

    def status(self, status: str) -> None:
        self.heard.append(status)


class Hands:
    """A clock's hands, moved by the test."""

    at_s = 0.0

    def now_s(self) -> float:
        return self.at_s


@pytest.fixture
def hands() -> Hands:
    return Hands()


def liveness(hands: Hands) -> Liveness:
    Manager.heard = []
    return Liveness(Manager(address="/unused", watchdog_s=0.002), hands.now_s)


async def fed(alive: Liveness) -> list[str]:
    """Let the watchdog be fed until something was heard."""
    feeding = asyncio.create_task(alive.feed())
    async with asyncio.timeout(30):
        while not Manager.heard:  # noqa: ASYNC110 -- nothing but the list tells
            await asyncio.sleep(0)
    feeding.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await feeding
    return Manager.heard


async def test_liveness__every_loop_in_time__feeds_the_watchdog(hands: Hands) -> None:
    alive = liveness(hands)
    with alive.expecting({"price": 30.0, "risk": 180.0}):
        hands.at_s = 29.0
        assert set(await fed(alive)) == {"alive"}


async def test_liveness__one_loop_late__starves_it_and_says_which(hands: Hands) -> None:
    alive = liveness(hands)
    with alive.expecting({"price": 30.0, "risk": 180.0}):
        hands.at_s = 31.0
        alive.beat("risk")
        assert alive.stuck() == ("price",)
        assert (alive.is_stuck("price"), alive.is_stuck("risk")) == (1.0, 0.0)
        assert await fed(alive) == ["stuck: price"]


def test_liveness__a_turn_that_ends_late__is_forgiven(hands: Hands) -> None:
    alive = liveness(hands)
    with alive.expecting({"price": 30.0}):
        hands.at_s = 31.0
        assert alive.stuck()
        alive.beat("price")
        assert alive.stuck() == ()


def test_liveness__standing_by__expects_no_turn(hands: Hands) -> None:
    alive = liveness(hands)
    with alive.expecting({"price": 30.0}):
        pass
    hands.at_s = 1_000.0
    assert alive.stuck() == ()
