"""A daemon whose turns a drill takes by hand, as the demo does, so that hours pass in seconds."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import threading
import traceback
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import app
from agent.cli.session import configure_logging
from agent.config import Settings
from agent.demo.stage import Stage
from agent.deploying import deploy_network
from agent.network import local_network
from relayer.errors import HoldCycle, Retry
from relayer.local.state import WorldState
from relayer.market.jumps import JumpWatch
from tests.operations.drills.gate import Gate
from tests.operations.drills.server import Prometheus, until

Turn = Callable[[Stage], Coroutine[Any, Any, None]]


@dataclass
class Stand:
    """A daemon in this process, on a loop of its own; `turn` is what it does again and again."""

    home: Path
    world: WorldState
    settings: Settings
    prometheus: Prometheus
    gate: Gate
    turn: Turn | None = None
    ended: bool = False
    turning: bool = False
    stage: Stage | None = None
    failed: list[str] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _stack: AsyncExitStack | None = None

    def start(self) -> None:
        """Put the contracts on the chain and build the daemon."""
        configure_logging(logging.CRITICAL)
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.do(deploy_network(self._network(), self.settings, lambda _: None))
        self.open()
        asyncio.run_coroutine_threadsafe(self._live(), self.loop).add_done_callback(_told)

    def open(self) -> None:
        self.do(self._open())

    def close(self) -> None:
        """End the daemon, as a restart begins."""
        self.pause()
        self.do(self._close())

    def pause(self) -> None:
        """Take no further turn, and wait for the one that goes on: two at once trip each other."""
        self.turn = None
        until(lambda: not self.turning, "the end of a turn")

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something on the daemon's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=300)

    def play(self, *steps: Callable[[Stage], Coroutine[Any, Any, Any]]) -> None:
        """Take steps of the demo's story."""
        assert self.stage is not None
        for step in steps:
            self.do(step(self.stage))

    def _network(self) -> Any:
        world = dataclasses.replace(self.world, rpc_url=self.gate.url)
        return local_network(world, self.home)

    async def _open(self) -> None:
        self._stack = AsyncExitStack()
        network, model = self._network(), app.load_model(self.settings)
        running = await self._stack.enter_async_context(app.daemon(network, self.settings, model))
        seen = [JumpWatch(rules=self.settings.jumps)]
        self.stage = Stage(
            world=self.world, daemon=running, settings=self.settings, say=lambda _: None, seen=seen
        )
        self.prometheus.scrape("aml", [running.metrics_port])

    async def _close(self) -> None:
        assert self._stack is not None
        await self._stack.aclose()
        self.stage = None

    async def _live(self) -> None:
        """Take turns; a fault of the world ends a turn, and is told as the loops tell it."""
        while not self.ended:
            turn, stage = self.turn, self.stage
            self.turning = turn is not None and stage is not None
            if turn is None or stage is None:
                await asyncio.sleep(0.05)
                continue
            try:
                await turn(stage)
            except (Retry, HoldCycle) as fault:
                self.failed.append(f"{type(fault).__name__}: {fault}")
                with contextlib.suppress(Retry, HoldCycle):
                    await stage.daemon.hands.delivery.resume()
            await asyncio.sleep(0.01)

    def end(self) -> None:
        self.ended = True
        self.turn = None
        with contextlib.suppress(Exception):
            self.do(self._close())


def _told(living: Future[None]) -> None:
    """A daemon whose turns have ended by a fault of ours shows nothing but old ages: say why."""
    if not living.cancelled() and (fault := living.exception()) is not None:
        traceback.print_exception(fault)


def quiet(settings: Settings, port: int) -> Settings:
    """Give settings with a port for metrics, and none for anything else."""
    metrics = settings.metrics.model_copy(update={"port": port})
    return settings.model_copy(update={"metrics": metrics, "http": None})


@contextlib.contextmanager
def ended(stand: Stand) -> Iterator[None]:
    try:
        yield
    finally:
        stand.end()
        stand.prometheus.kill()
