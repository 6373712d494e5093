"""The loops as a service: what was late is counted, a fault that passes holds, any other ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Never, cast

import pytest
from prometheus_client import CollectorRegistry

from agent.cycle import Mind
from agent.loops import Loops, LoopSettings
from agent.ports import Hands
from agent.prices import PriceSettings
from relayer.errors import Unreachable
from relayer.market.aggregate import AggregationRules
from relayer.market.jumps import JumpRules
from tests.agent.test_telemetry import counted, telemetry
from tests.fakes import FakeClock

EVENTS = "aml_scheduler_events_total"


@dataclass
class Failing:
    """A world that cannot be looked at; each look takes as long as it is told."""

    clock: FakeClock
    fault: Exception
    takes_ms: int = 0
    looks: int = 0

    async def observe(self) -> Never:
        self.looks += 1
        self.clock.now += self.takes_ms
        raise self.fault

    feed = observe


@dataclass
class Resumed:
    """A delivery with nothing left open."""

    asked: int = 0

    async def resume(self) -> tuple[()]:
        self.asked += 1
        return ()


@dataclass
class Turning:
    """Loops around a world that fails."""

    world: Failing
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    delivery: Resumed = field(default_factory=Resumed)

    def loops(self, cycles: int) -> Loops:
        hands: Any = SimpleNamespace(
            clock=self.world.clock, world=self.world, delivery=self.delivery
        )
        settings = LoopSettings(
            every_s=60,
            prices=PriceSettings(),
            marks=AggregationRules(),
            jumps=JumpRules(),
            cycles=cycles,
        )
        return Loops(cast(Hands, hands), cast(Mind, None), telemetry(self.registry), settings)


class Standing(FakeClock):
    """A clock that only what is done moves on."""

    async def sleep_until(self, at_ms: int) -> None:
        await asyncio.Event().wait()


async def test_loops__a_fault_that_does_not_pass__ends_the_run_with_it() -> None:
    turning = Turning(world=Failing(clock=Standing(), fault=RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        await turning.loops(cycles=9).run()
    assert turning.world.looks <= 2  # neither loop turns again


async def test_loops__a_fault_that_passes__is_held_and_what_was_overlapped_is_counted() -> None:
    turning = Turning(world=Failing(clock=Standing(), fault=Unreachable("away"), takes_ms=200_000))
    loops = turning.loops(cycles=2)
    said: list[tuple[int, int]] = []
    loops.counts(lambda done, of: said.append((done, of)))
    await loops.run()
    assert (loops.cycles_done, said) == (2, [(1, 2), (2, 2)])
    assert turning.delivery.asked >= 2
    # The first cycle took more than three periods of the clock: what it overlapped is counted.
    assert (counted(turning.registry, EVENTS, event="overlapped") or 0) >= 2
