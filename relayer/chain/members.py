"""The endpoints that are used as one: asked, timed, left out, and opened again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import structlog

from relayer.chain import rpc
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.standing import Compared, EndpointMetrics, PoolRules, Table, Why
from relayer.errors import RelayerError, Retry, Unreachable

Result = TypeVar("Result")

OPENING_S: Final = 5.0  # for the others, once one is open


class Members:
    """Endpoints by number; one that is not open is None until it can be."""

    def __init__(
        self,
        members: Sequence[ChainEndpoint | None],
        urls: Sequence[str],
        rules: PoolRules,
        metrics: EndpointMetrics | None,
    ) -> None:
        first = next(member for member in members if member is not None)
        self.first = first
        self.table = Table(len(members), rules)
        self.rules = rules
        self._members = list(members)
        self._urls = urls
        self._metrics = metrics
        self.log = structlog.get_logger("aml")
        for number, member in enumerate(members):
            if member is None:
                self.leave_out(number, Why.CLOSED)

    def __len__(self) -> int:
        return len(self._members)

    async def close(self) -> None:
        """Close every connection."""
        for member in self._members:
            if member is not None:
                await member.close()

    def may_be_tried(self) -> list[int]:
        """Name those that are in use, and those that have rested."""
        now_s = time.monotonic()
        return [
            n
            for n, member in enumerate(self._members)
            if member is not None and (self.table[n].out is None or self.table.rested(n, now_s))
        ]

    async def ask(
        self, number: int, question: Callable[[ChainEndpoint], Awaitable[Result]]
    ) -> Result:
        """Ask one endpoint, and note how it did; a refusal is an answer."""
        member = self._members[number]
        if member is None:
            raise Unreachable(f"endpoint {number + 1} is not open")
        began_s = time.monotonic()
        try:
            answer = await question(member)
        except Retry:
            before = self.table[number].out
            self.table.failed(number, time.monotonic())
            if before is None and self.table[number].out is not None:
                self.say_left_out(number)
            raise
        self.table.answered(number, time.monotonic() - began_s)
        return answer

    async def reopen(self) -> None:
        """Open what was closed at the start, once it has rested."""
        for number, member in enumerate(self._members):
            if member is not None or not self.table.rested(number, time.monotonic()):
                continue
            try:
                opening = ChainEndpoint.open(self._urls[number], chain_id=self.first.chain_id)
                self._members[number] = await asyncio.wait_for(opening, OPENING_S)
            except (RelayerError, TimeoutError):
                self.table.leave_out(number, Why.CLOSED, time.monotonic())

    async def head(self, number: int) -> rpc.BlockStamp | None:
        """Read an endpoint's newest block; None where it does not answer in time."""
        with suppress(RelayerError, TimeoutError):
            head = self.ask(number, lambda member: member.block("latest"))
            return await asyncio.wait_for(head, max(self.rules.look_s, 1.0))
        return None

    async def hash_at(self, number: int, head: rpc.BlockStamp, height: int) -> bytes | None:
        """Read a block's hash; None where it is not to be had."""
        if head.number == height:
            return head.block_hash
        with suppress(RelayerError):
            return (await self.ask(number, lambda member: member.block(height))).block_hash
        return None

    def leave_out(self, number: int, why: Why) -> None:
        """Ask an endpoint no more for a while."""
        self.table.leave_out(number, why, time.monotonic())
        self.say_left_out(number)

    def say_left_out(self, number: int) -> None:
        """Log and count that an endpoint is left out."""
        why = self.table[number].out
        assert why is not None
        self.log.warning("endpoint_left_out", endpoint=number + 1, reason=why.value)
        if self._metrics is not None:
            self._metrics.quarantines[str(number + 1), why].inc()

    def count(self, result: Compared) -> None:
        """Count what came of a comparison."""
        if self._metrics is not None:
            self._metrics.comparisons[result].inc()

    def show(self) -> None:
        """Show where every endpoint stands."""
        if self._metrics is not None:
            self._metrics.show(self.table)
