"""The two loops: prices on their own task, parameters when APScheduler finds a cycle due."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from agent.cycle import CycleResult, Mind, risk_cycle
from agent.faults import reason_of
from agent.impact import ImpactSettings
from agent.ports import Hands
from agent.positions.ahead import ahead_of
from agent.positions.loop import PositionLoop
from agent.posting import Kind
from agent.prices import PriceSettings, price_tick
from agent.telemetry import Telemetry
from relayer.errors import HoldCycle, Retry
from relayer.market.aggregate import AggregationRules
from relayer.market.jumps import JumpRules, JumpWatch

LAG_EVERY_S = 0.25  # wall seconds between two measurements of the loop
POLL_S = 0.05  # wall seconds between two looks at whether a cycle is due
MS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """When the loops turn, and after how many cycles they end (None: never)."""

    every_s: int
    prices: PriceSettings
    marks: AggregationRules
    jumps: JumpRules
    cycles: int | None = None


class Collector:
    """Keeps the garbage collector out of turns: its pauses would be the path's slowest moments.

    A turn makes some hundred thousand short-lived values; they are collected when none is on.
    """

    def __init__(self) -> None:
        self._turns = 0

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Collect nothing inside."""
        self._turns += 1
        gc.disable()
        try:
            yield
        finally:
            self._turns -= 1
            if self._turns == 0:
                gc.enable()
                gc.collect(1)


class Loops:
    """Runs both loops until told to stop; a turn that is under way is finished first."""

    def __init__(
        self,
        hands: Hands,
        mind: Mind,
        telemetry: Telemetry,
        settings: LoopSettings,
        heed: Callable[[CycleResult], None] = lambda _: None,
    ) -> None:
        self._hands = hands
        self._mind = mind
        self._telemetry = telemetry
        self._settings = settings
        self._heed = heed
        self._stopping = asyncio.Event()
        # One turn a loop at a time; a slow venue in the risk cycle must not hold up prices. What
        # both need, the account that posts, has an order of its own.
        self._turns: dict[Kind, asyncio.Lock] = {"price": asyncio.Lock(), "risk": asyncio.Lock()}
        self._collector = Collector()
        self._marks_seen = JumpWatch(rules=settings.jumps)
        self._next_cycle_ms = 0
        self._fault: BaseException | None = None
        self._positions: PositionLoop | None = None
        self._ended_turn: Callable[[str], None] = lambda _: None
        self._counted: Callable[[int, int], None] = lambda _done, _of: None
        self.cycles_done = 0

    def follow(self, positions: PositionLoop | None) -> Loops:
        """Take a turn over positions after each tick, and compare totals after each cycle."""
        self._positions = positions
        return self

    def tells(self, ended: Callable[[str], None]) -> None:
        """Tell somebody each time that a loop has ended a turn, or found none due."""
        self._ended_turn = ended

    def counts(self, counted: Callable[[int, int], None]) -> None:
        """Tell somebody after each cycle how many of how many are done, where an end is set."""
        self._counted = counted

    def retune(self, every_s: int, prices: PriceSettings, impact: ImpactSettings) -> None:
        """Take other paces and budgets; a turn under way ends with what it began with."""
        self._mind = replace(self._mind, impact=impact)
        if every_s != self._settings.every_s:
            self._next_cycle_ms = 0
        self._settings = replace(self._settings, every_s=every_s, prices=prices)

    def stop(self) -> None:
        """End after the turn that is under way."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until stopped; raise what ended a loop, if a fault did."""
        scheduler = AsyncIOScheduler(
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        # Looks that find a cycle under way (EVENT_JOB_MAX_INSTANCES) are nothing; that a whole
        # period went by in the meantime is counted where the clock is read.
        scheduler.add_listener(self._noticed, EVENT_JOB_MISSED | EVENT_JOB_ERROR)
        # APScheduler knows only wall time; the clock says whether a cycle is due.
        scheduler.add_job(self._cycle_if_due, "interval", seconds=POLL_S, id="risk_cycle")
        beside = {
            asyncio.create_task(self._price_loop()),
            asyncio.create_task(self._watch_lag()),
        }
        if self._positions is not None:
            faults = partial(self._telemetry.fault, "keeper")
            beside.add(asyncio.create_task(self._positions.run(self._stopping, faults)))
        for each in beside:
            each.add_done_callback(self._ended)
        scheduler.start()
        try:
            await self._stopping.wait()
        finally:
            scheduler.pause()
            await asyncio.wait(beside)
            async with self._turns["risk"]:  # it ends before the loop that it runs in is gone
                scheduler.shutdown(wait=False)
        if self._fault is not None:
            raise self._fault

    def _noticed(self, event: JobEvent) -> None:
        """Count what APScheduler only logs; a fault in a cycle ends the process."""
        if event.code == EVENT_JOB_ERROR:
            self._fault = event.exception
            self.stop()
        else:
            self._telemetry.cycles_late("missed", 1)

    async def _price_loop(self) -> None:
        """Tick until stopped, from one clock instant to the next."""
        while not self._stopping.is_set():
            tick_ms = round(self._settings.prices.tick_s * MS)
            began_ms = await self._hands.clock.now_ms()
            await self._guarded("price", self._tick)
            self._ended_turn("price")
            # Ticks that were slept through are not made up for: only the newest price counts.
            await self._sleep_until(began_ms + tick_ms)

    async def _watch_lag(self) -> None:
        """Measure how late the loop wakes who sleeps in it, until stopped."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            due = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self._telemetry.lagged(loop.time() - due)

    def _ended(self, ended: asyncio.Task[None]) -> None:
        """End the process with the fault that ended a loop, if one did."""
        if not ended.cancelled() and ended.exception() is not None:
            self._fault = ended.exception()
            self.stop()

    async def _sleep_until(self, at_ms: int) -> None:
        """Sleep on the clock, but wake up to stop."""
        sleeping = asyncio.create_task(self._hands.clock.sleep_until(at_ms))
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (sleeping, stopping):
            task.cancel()
        await asyncio.gather(sleeping, stopping, return_exceptions=True)

    async def _tick(self) -> None:
        marks, prices = self._settings.marks, self._settings.prices
        result = await price_tick(self._hands, marks, prices, self._marks_seen)
        self._marks_seen = result.seen
        self._telemetry.tick(result)
        if self._positions is not None:
            self._positions.wake()

    async def _cycle_if_due(self) -> None:
        """Run a cycle when the clock has come to it."""
        now_ms = await self._hands.clock.now_ms()
        if self._stopping.is_set() or now_ms < self._next_cycle_ms:
            self._ended_turn("risk")
            return
        every_ms = self._settings.every_s * MS
        if self._next_cycle_ms:
            self._telemetry.cycles_late("overlapped", (now_ms - self._next_cycle_ms) // every_ms)
        self._next_cycle_ms = now_ms - now_ms % every_ms + every_ms
        await self._guarded("risk", self._cycle)
        self._ended_turn("risk")
        self.cycles_done += 1
        if self._settings.cycles is not None:
            self._counted(self.cycles_done, self._settings.cycles)
            if self.cycles_done >= self._settings.cycles:
                self.stop()

    async def _cycle(self) -> None:
        result: CycleResult = await risk_cycle(self._hands, self._mind, self._marks_seen)
        self._heed(result)
        self._telemetry.cycle(result)
        if self._positions is not None:
            await self._positions.after_cycle(ahead_of(result), result.entry.finished_at_ms)

    async def _guarded(self, kind: Kind, turn: Callable[[], Awaitable[None]]) -> None:
        """Run one turn; a fault that passes is a hold, any other ends the process."""
        async with self._turns[kind]:
            try:
                with self._collector.held_off():
                    await turn()
            except (Retry, HoldCycle) as fault:
                self._telemetry.fault(kind, reason_of(fault), f"{type(fault).__name__}: {fault}")
                await self._recover(kind)

    async def _recover(self, kind: Kind) -> None:
        """Bring what the fault left open to its end; if that fails too, the next turn tries."""
        try:
            await self._hands.delivery.resume()
        except (Retry, HoldCycle) as fault:
            self._telemetry.fault(kind, reason_of(fault), f"{type(fault).__name__}: {fault}")
