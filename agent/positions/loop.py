"""The loop over positions: a turn after each price tick, the contracts' totals after each cycle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from agent.faults import reason_of
from agent.ports import Delivery
from agent.positions.ahead import Ahead
from agent.positions.feedback import Feedback
from agent.positions.look import Turn
from agent.positions.reconcile import Difference
from agent.positions.telemetry import PositionTelemetry
from agent.positions.turn import Positions
from relayer.chain.index import Index
from relayer.delivery import calls
from relayer.delivery.calls import ContractCall
from relayer.delivery.states import Outcome, detail_of
from relayer.errors import HoldCycle, Retry

NEW_RISK = 1  # the contract's scope of a pause
FREEZE_S = 3_600  # long enough for somebody to look; it ends by itself
MS = 1_000
Faults = Callable[[str, str], None]


class Caller(Protocol):
    """Who can send a call (`relayer.delivery.transactor.Transactor`, with the guardian's key)."""

    async def call(self, call: ContractCall) -> Outcome:
        """Send a call, and read back whether it took effect."""
        ...


class Guardian:
    """Stops new risk with the guardian's key, where this process has it; otherwise only says so."""

    def __init__(self, delivery: Caller | None, chain_id: int, oracle: str) -> None:
        self._delivery = delivery
        self._chain_id = chain_id
        self._oracle = oracle

    async def stop_new_risk(self, now_ms: int) -> str:
        """Pause new risk for an hour; say what became of it."""
        if self._delivery is None:
            return "this process has no guardian key: pause new risk by hand (aml halt)"
        outcome = await self._delivery.call(
            ContractCall(
                kind="guardian",
                chain_id=self._chain_id,
                contract=self._oracle,
                payload=calls.pause(NEW_RISK, FREEZE_S),
                made_at_ms=now_ms - now_ms % (FREEZE_S * MS),  # once an hour, whoever asks
                valid_until_ms=now_ms + FREEZE_S * MS,
            )
        )
        return detail_of(outcome)


class PositionLoop:
    """Takes turns until told to stop; a fault of the world ends a turn, not the loop."""

    def __init__(
        self,
        positions: Positions,
        telemetry: PositionTelemetry,
        guardian: Guardian,
        delivery: Delivery,
        feedback: Feedback | None = None,
    ) -> None:
        self.positions = positions
        self._feedback = feedback
        self._telemetry = telemetry
        self._guardian = guardian
        self._delivery = delivery
        self._woken = asyncio.Event()
        self._lock = asyncio.Lock()

    def wake(self) -> None:
        """Say that there may be something new: a tick has ended."""
        self._woken.set()

    async def run(self, stopping: asyncio.Event, faults: Faults) -> None:
        """Take a turn each time that it is woken."""
        while not stopping.is_set():
            waiting = [asyncio.create_task(each.wait()) for each in (stopping, self._woken)]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            if self._woken.is_set() and not stopping.is_set():
                self._woken.clear()
                await self._guarded(faults)

    async def turn(self) -> Turn:
        """Take one turn, and report it."""
        async with self._lock:
            try:
                turn = await self.positions.turn()
            finally:  # what a turn saw counts, also where it failed at what it sent
                if self._feedback is not None:
                    await self._feedback.looked(self.positions.looked)
        self._telemetry.turn(turn, self.positions.index)
        if self.positions.warner is not None:
            board = self.positions.warner.board
            self._telemetry.warnings(board.counts())
            stands = (each.found.chances for each in board.standing.values())
            self._telemetry.chances([each for each in stands if each is not None])
        if self.positions.actor is not None:
            self._telemetry.pending_actions(len(self.positions.actor.pending))
        return turn

    async def after_cycle(self, ahead: Ahead, now_ms: int) -> Sequence[Difference]:
        """Take what a cycle foresaw, for warnings and actions, then compare totals."""
        if self.positions.warner is not None:
            self.positions.warner.expect(ahead)
        if self.positions.actor is not None:
            self.positions.actor.expect(ahead)
        found = await self.reconcile(now_ms)
        await self._record(ahead, now_ms)
        return found

    async def _record(self, ahead: Ahead, now_ms: int) -> None:
        """Keep who is watched, and join what became of those who were."""
        if self._feedback is not None:
            warner = self.positions.warner
            board = warner.current() if warner is not None else ()
            await self._feedback.after_cycle(board, self.positions.index, ahead, now_ms)

    async def reconcile(self, now_ms: int) -> Sequence[Difference]:
        """Compare the contracts' totals with the index, and stop new risk where harm is certain."""
        async with self._lock:
            found, certain = await self.positions.reconcile()
        self._telemetry.differences(found, certain)
        if certain:
            self._telemetry.frozen(certain, await self._guardian.stop_new_risk(now_ms))
        return found

    async def followed(self) -> Index:
        """Bring the index to the chain's head, when no turn is under way."""
        async with self._lock:
            return await self.positions.follow()

    async def _guarded(self, faults: Faults) -> None:
        try:
            await self.turn()
        except (Retry, HoldCycle) as fault:
            faults(reason_of(fault), f"{type(fault).__name__}: {fault}")
            await self._recover(faults)

    async def _recover(self, faults: Faults) -> None:
        """Bring what the fault left open to its end; if that fails too, the next turn tries."""
        try:
            await self._delivery.resume()
        except (Retry, HoldCycle) as fault:
            faults(reason_of(fault), f"{type(fault).__name__}: {fault}")
