"""Several endpoints as one: the best is asked, the next takes over, what decides is asked twice.

Heads are compared at every look, and block hashes at a height that all have. What is read at a
numbered block in one batch (limits, prices, configuration digest, read-back) is asked of a second
endpoint at the same time. Where two differ and no third decides, nothing is answered at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from relayer.chain import rpc
from relayer.chain.endpoints import Call, ChainEndpoint, SendAnswer, block_call
from relayer.chain.members import OPENING_S, Members
from relayer.chain.standing import Compared, EndpointMetrics, PoolRules, Why, outvoted
from relayer.errors import (
    ChainRefused,
    EndpointsDisagree,
    Misconfigured,
    Retry,
    Unreachable,
    WrongChain,
)

Result = TypeVar("Result")


class EndpointPool(ChainEndpoint):
    """A `ChainEndpoint` over several; build it with `open_pool`."""

    def __init__(self, members: Members) -> None:
        self.members = members
        self.table = members.table
        self.name = members.first.name
        self.chain_id = members.first.chain_id
        self.sends_by = members.first.sends_by
        self._rules = members.rules
        self._split: str | None = None
        self._differed = False
        self._log = members.log
        self._watch = asyncio.create_task(self._look_on())

    async def close(self) -> None:
        """Stop looking, and close every connection."""
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        await self.members.close()

    async def call(self, method: str, *params: Any) -> Any:  # noqa: ANN401 -- JSON
        """Make one call where it is best made; another endpoint is tried once."""
        return await self._from_best(lambda member: member.call(method, *params))

    async def batch(self, calls: Sequence[Call]) -> tuple[Any, ...]:
        """Make several calls in one round trip; those that decide go to two endpoints at once."""
        if not calls:
            return ()
        asked = self._asked()
        if len(asked) < 2 or not _decides(calls):
            if _decides(calls):
                self.members.count(Compared.ALONE)
            return await self._from_best(lambda member: member.batch(calls))
        return await self._compared(calls, asked)

    async def send(self, raw: bytes) -> SendAnswer:
        """Hand over signed bytes at one endpoint; the next try may be at another."""
        number = self._asked()[0]
        return await self.members.ask(number, lambda member: member.send(raw))

    def _asked(self) -> list[int]:
        """Name the endpoints to ask, best first."""
        if self._split is not None:
            raise EndpointsDisagree(self._split)
        asked = self.table.in_use()
        if not asked:
            raise Unreachable("every endpoint is left out for now")
        return asked

    async def _from_best(self, ask: Callable[[ChainEndpoint], Awaitable[Result]]) -> Result:
        first, *others = self._asked()
        try:
            return await self.members.ask(first, ask)
        except Retry:
            if not others:
                raise
        return await self.members.ask(others[0], ask)

    async def _compared(self, calls: Sequence[Call], asked: list[int]) -> tuple[Any, ...]:
        """Ask two at once; where they differ, both again and everybody else."""
        first, second = asked[:2]
        witness = asyncio.create_task(self._witness(second, calls))
        try:
            answer = await self.members.ask(first, lambda member: member.batch(calls))
        except Retry:
            return await self._second_answer(witness)
        except BaseException:
            witness.cancel()
            raise
        with suppress(TimeoutError):
            other = await asyncio.wait_for(witness, self._rules.witness_s)
            if other is not None:
                if _told(other) == _told(answer):
                    self.members.count(Compared.SAME)
                    return answer
                return await self._settled(calls, asked)
        self.members.count(Compared.ALONE)
        return answer

    async def _second_answer(
        self, witness: asyncio.Task[tuple[Any, ...] | None]
    ) -> tuple[Any, ...]:
        answer = await witness
        if answer is None:
            raise Unreachable("two endpoints did not answer")
        self.members.count(Compared.ALONE)
        return answer

    async def _witness(self, number: int, calls: Sequence[Call]) -> tuple[Any, ...] | None:
        """Ask a second endpoint; None where it cannot say, as one that is a block behind."""
        try:
            answer = await self.members.ask(number, lambda member: member.batch(calls))
        except (Retry, ChainRefused):
            return None
        return answer if answer[0] is not None else None

    async def _settled(self, calls: Sequence[Call], asked: list[int]) -> tuple[Any, ...]:
        """Ask all once more, since blocks may just have been replaced; then the majority counts."""
        found = await asyncio.gather(*(self._witness(number, calls) for number in asked))
        answers = {n: a for n, a in zip(asked, found, strict=True) if a is not None}
        told = {number: _told(answer) for number, answer in answers.items()}
        wrong = outvoted(told)
        if wrong is None or len(told) < 2:
            self.members.count(Compared.DIFFERENT)
            names = " and ".join(str(number + 1) for number in answers)
            raise EndpointsDisagree(f"endpoints {names} answer differently at one block")
        self.members.count(Compared.DIFFERENT if wrong else Compared.SAME)
        for number in wrong:
            self.members.leave_out(number, Why.LYING)
        return next(answer for number, answer in answers.items() if number not in wrong)

    async def _look_on(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._rules.look_s)

    async def look(self) -> None:
        """Compare heads and hashes once, and try those again that have rested."""
        await self.members.reopen()
        now_s = time.monotonic()
        tried = self.members.may_be_tried()
        found = await asyncio.gather(*(self.members.head(number) for number in tried))
        heads = {n: block for n, block in zip(tried, found, strict=True) if block is not None}
        before = {n: self.table[n].out for n in heads}
        self.table.heads({n: block.number for n, block in heads.items()}, now_s)
        for number, out in before.items():
            if out is None and self.table[number].out is not None:
                self.members.say_left_out(number)
        if heads:
            await self._compare_hashes(heads)
        self.members.show()

    async def _compare_hashes(self, heads: Mapping[int, rpc.BlockStamp]) -> None:
        """Compare block hashes at the highest block that all have that are not behind."""
        near = {n: b for n, b in heads.items() if self.table[n].lagging == 0}
        height = min(block.number for block in near.values()) if near else 0
        found = await asyncio.gather(*(self.members.hash_at(n, b, height) for n, b in near.items()))
        hashes = {n: h for n, h in zip(near, found, strict=True) if h is not None}
        if len(set(hashes.values())) <= 1:
            self._split, self._differed = None, False
            for number in hashes:
                if self.table[number].out is not None:
                    self.table.release(number)
                    self._log.info("endpoint_released", endpoint=number + 1)
            return
        again, self._differed = self._differed, True
        if again:  # not a block that was just being replaced
            self._part(hashes, height)

    def _part(self, hashes: Mapping[int, bytes], height: int) -> None:
        """Leave out who is outvoted; without a majority nobody is believed."""
        wrong = outvoted(hashes)
        for number in wrong or ():
            if self.table[number].out is None:
                self.members.leave_out(number, Why.LYING)
        if wrong is None:
            names = " and ".join(str(number + 1) for number in hashes)
            self._split = f"endpoints {names} have different blocks {height}"
            self.members.count(Compared.DIFFERENT)
            self._log.error("endpoints_disagree", detail=self._split)


async def open_pool(
    urls: Sequence[str],
    *,
    chain_id: int | None,
    rules: PoolRules | None = None,
    metrics: EndpointMetrics | None = None,
) -> ChainEndpoint:
    """Open one endpoint, or several as one; a dead or foreign spare does not hold up the start.

    Raises
    ------
    RelayerError
        None of them could be opened: what the first one said.
    """
    if len(urls) == 1:
        return await ChainEndpoint.open(urls[0], chain_id=chain_id)
    if chain_id is None:
        raise Misconfigured("several endpoints need network.chain_id, to be held against it")
    opening = [asyncio.create_task(ChainEndpoint.open(url, chain_id=chain_id)) for url in urls]
    await _first_open(opening)
    await asyncio.wait(opening, timeout=OPENING_S)
    for task in opening:
        task.cancel()
    found = await asyncio.gather(*opening, return_exceptions=True)
    for number, each in enumerate(found):
        if isinstance(each, WrongChain):
            structlog.get_logger("aml").error("endpoint_of_another_chain", endpoint=number + 1)
    members = [each if isinstance(each, ChainEndpoint) else None for each in found]
    if not any(members):
        raise next(each for each in found if isinstance(each, BaseException))
    return EndpointPool(Members(members, urls, rules or PoolRules(), metrics))


async def _first_open(opening: Sequence[asyncio.Task[ChainEndpoint]]) -> None:
    """Return when one is open, or none is going to be."""
    waiting = set(opening)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if any(not task.cancelled() and task.exception() is None for task in done):
            return


def _decides(calls: Sequence[Call]) -> bool:
    """Tell whether a batch asks contracts at a numbered block, its header first."""
    method, params = calls[0]
    pinned = method == block_call(0)[0] and str(params[0]).startswith("0x")
    return pinned and any(method == "eth_call" for method, _ in calls[1:])


def _told(answers: Sequence[Any]) -> tuple[str, ...]:
    """Give what two honest endpoints agree on: headers by their hash, values as they are."""
    return tuple(
        str(each.get("hash") if isinstance(each, Mapping) else each).lower() for each in answers
    )
