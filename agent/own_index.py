"""A signer's own index of positions: from its own endpoint, in its own memory, read by nobody else.

It is followed at each update that is proposed, so that the next look is never far behind; a look
that comes too early says so and leaves the reading to go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import structlog

from agent.ground import Ground
from agent.impact import NoEngine, NotSeen, Seen
from agent.positions.exposure import IndexExposures
from contracts.units import MarketId
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.index import Index
from relayer.chain.index_reader import IndexReader
from relayer.chain.index_store import IndexStore


class OwnIndex:
    """One index, brought to the head by one reading at a time, which no asker can cut off."""

    def __init__(self, reader: IndexReader, endpoint: ChainEndpoint) -> None:
        self._reader = reader
        self._endpoint = endpoint
        self._reading: asyncio.Task[None] | None = None

    async def followed(self) -> Index:
        """Bring the index to the head as it is now."""
        if self._reading is not None:  # what began before may end at an older head
            await asyncio.gather(asyncio.shield(self._reading), return_exceptions=True)
        await asyncio.shield(self.begin())
        return self._reader.index

    def begin(self) -> asyncio.Task[None]:
        """Begin to read on, unless that is under way."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_on())
        return self._reading

    async def close(self) -> None:
        """Stop reading; what was read is on disk."""
        if self._reading is not None and not self._reading.done():
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read_on(self) -> None:
        await self._reader.advance(self._endpoint)


class OwnBooks:
    """The `Exposures` port of a signer; its look has a time limit, its reading has none."""

    def __init__(self, index: OwnIndex, exposures: IndexExposures, wait_s: float) -> None:
        self._index = index
        self._exposures = exposures
        self._wait_s = wait_s

    async def look(self, markets: Sequence[MarketId]) -> Seen:
        """Read whom a change in these markets may touch; none asked: only follow the chain."""
        if not markets:
            self._index.begin().add_done_callback(_noted)
            return NoEngine()
        try:
            async with asyncio.timeout(self._wait_s):
                return await self._exposures.look(markets)
        except TimeoutError:
            return NotSeen(detail=f"the own index was not at the head within {self._wait_s:g} s")


async def own_books(
    ground: Ground, endpoint: ChainEndpoint, stack: AsyncExitStack
) -> OwnBooks | None:
    """Take a signer's index up where it was left, and begin to read on.

    None: no margin contracts are deployed, so there is nobody whom a change could hurt.
    """
    deployment = ground.deployment
    if deployment.margin is None:
        return None
    store = IndexStore(ground.database, deployment.chain_id, deployment.margin.engine)
    reader = IndexReader(deployment, store, Index(await store.load()))
    index = OwnIndex(reader, endpoint)
    stack.push_async_callback(index.close)
    index.begin().add_done_callback(_noted)
    exposures = IndexExposures(index, (endpoint, deployment), ground.network.clock)
    return OwnBooks(index, exposures, ground.settings.derive.wait_s)


def _noted(reading: asyncio.Task[None]) -> None:
    """Say a fault that nobody waited for: whoever looks next reads again."""
    fault = None if reading.cancelled() else reading.exception()
    if fault is not None:
        said = f"{type(fault).__name__}: {fault}"
        structlog.get_logger("aml").warning("own_index_behind", detail=said)
