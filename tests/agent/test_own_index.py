"""Facts about a signer's index: one reading at a time, which no impatience cuts off."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from agent.impact import Exposure, NoEngine, NotSeen, Seen
from agent.own_index import OwnBooks, OwnIndex
from agent.positions.exposure import IndexExposures
from contracts.units import MarketId
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.index import Index
from relayer.chain.index_reader import IndexReader
from relayer.errors import Unreachable
from tests.agent.test_impact_budget import crowd

BTC = MarketId(0)


@dataclass
class Reader:
    """A reader that the test lets go on."""

    index: Index = field(default_factory=Index)
    may: asyncio.Event = field(default_factory=asyncio.Event)
    begun: int = 0
    ended: int = 0
    fault: Exception | None = None

    async def advance(self, endpoint: object) -> None:
        self.begun += 1
        await self.may.wait()
        if self.fault is not None:
            raise self.fault
        self.ended += 1


@dataclass
class Looking:
    """Exposures over an index: the books once it is at the head."""

    following: OwnIndex

    async def look(self, markets: Sequence[MarketId]) -> Seen:
        await self.following.followed()
        return crowd("99")


def books(reader: Reader, wait_s: float = 30.0) -> tuple[OwnBooks, OwnIndex]:
    index = OwnIndex(cast("IndexReader", reader), cast("ChainEndpoint", None))
    return OwnBooks(index, cast("IndexExposures", Looking(index)), wait_s), index


async def test_look__at_the_head__gives_the_books() -> None:
    reader = Reader()
    reader.may.set()
    made, _ = books(reader)
    assert isinstance(await made.look([BTC]), Exposure)


async def test_look__behind__says_so_and_the_reading_goes_on() -> None:
    reader = Reader()
    made, index = books(reader, wait_s=0.01)
    seen = await made.look([BTC])
    assert isinstance(seen, NotSeen)
    assert "not at the head within 0.01 s" in seen.detail
    assert (reader.begun, reader.ended) == (1, 0)
    reader.may.set()
    await index.begin()
    assert reader.ended == 1


async def test_look__nothing_to_count__only_follows_the_chain() -> None:
    reader = Reader()
    reader.may.set()
    made, index = books(reader)
    assert isinstance(await made.look([]), NoEngine)
    await index.begin()
    assert reader.ended == 1


async def test_followed__a_reading_under_way__is_waited_for_and_followed_by_one_of_now() -> None:
    """What began before may have asked for an older head."""
    reader = Reader()
    _, index = books(reader)
    index.begin()
    asking = asyncio.create_task(index.followed())
    await asyncio.sleep(0)
    reader.may.set()
    assert await asking is reader.index
    assert reader.ended == 2


async def test_followed__endpoint_down__is_raised_and_the_next_reads_again() -> None:
    reader = Reader(fault=Unreachable("gone"))
    reader.may.set()
    _, index = books(reader)
    with pytest.raises(Unreachable):
        await index.followed()
    reader.fault = None
    assert await index.followed() is reader.index


async def test_close__while_reading__ends_it() -> None:
    reader = Reader()
    _, index = books(reader)
    reading = index.begin()
    await asyncio.sleep(0)
    await index.close()
    assert reading.cancelled()
