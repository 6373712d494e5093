"""Streamed books: the same as REST gives, healed after a gap, and what they say of liquidity."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agent.network import local_network
from contracts.units import MarketId
from relayer.local import client
from relayer.local.client import LocalClock
from relayer.local.state import WorldState
from relayer.market.book_measures import measure
from relayer.market.book_streams import BookStreams
from relayer.market.events import StreamEvent
from relayer.market.settings import VenueSettings
from relayer.market.values import E18, Book, BookLevel
from relayer.market.venue_client import VenueClient
from relayer.market.venues import VenuePool
from tests.relayer.market.exchanges.test_protocols import Events

pytestmark = pytest.mark.loopback

BTC, ETH = MarketId(0), MarketId(1)
PATIENCE_S = 10.0


class Desk:
    """A pool whose venues stream quotes and books, one that asks, and all that is counted."""

    def __init__(self, world: WorldState, clock: LocalClock) -> None:
        self.world, self.clock, self.events = world, clock, Events()
        network = local_network(world, Path("unused"))
        streaming = {"streams": ("quotes", "books"), "silent_after_s": 1.0}
        venues = [venue.model_copy(update=streaming) for venue in network.venues]
        connect = partial(VenueClient, events=self.events)
        self.pool = VenuePool(venues, network.markets, clock, connect)
        asking = [venue.model_copy(update={"streams": ()}) for venue in venues]
        self.rest = VenuePool(asking, network.markets, clock)

    def raw(self, venue: int, market: MarketId) -> Any:
        """What ccxt keeps of a book."""
        link = self.pool.venues[venue].link
        return link.exchange.orderbooks.get(link.listings[market].symbol)

    async def step(self) -> None:
        client.advance(self.world, await self.clock.now_ms() + 1_000)
        await asyncio.sleep(0.02)

    async def streamed_up_to_now(self) -> bool:
        now_ms = await self.clock.now_ms()
        books = [self.raw(0, BTC), self.raw(1, ETH)]
        return all(book is not None and book["timestamp"] == now_ms for book in books)


@pytest.fixture
async def desk(exchanges: WorldState) -> AsyncIterator[Desk]:
    clock = LocalClock(exchanges.control_url)
    made = Desk(exchanges, clock)
    await asyncio.gather(made.pool.open(), made.rest.open())
    yield made
    await asyncio.gather(made.pool.close(), made.rest.close())
    await clock.close()
    client.switch_venue(exchanges, 0, "ok")


async def _until(true: Callable[[], object], desk: Desk) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not true() and time.monotonic() < ends:
        await desk.step()
    assert true()


async def test_streamed__each_market_at_its_first_venue__as_rest_gives_it(desk: Desk) -> None:
    await _until(lambda: desk.raw(0, BTC) and desk.raw(1, ETH), desk)
    ends = time.monotonic() + PATIENCE_S
    while not await desk.streamed_up_to_now() and time.monotonic() < ends:  # noqa: ASYNC110 - real sockets have no event
        await asyncio.sleep(0.02)
    streamed, asked = await desk.pool.books([BTC, ETH]), await desk.rest.books([BTC, ETH])
    assert await desk.streamed_up_to_now()
    assert desk.raw(1, BTC) is None
    assert [book.venue for book in streamed.books] == ["local-0", "local-1"]
    assert streamed.books == asked.books


async def test_gap__book_is_dropped_and_asked_for_by_rest__quotes_go_on(desk: Desk) -> None:
    await _until(lambda: desk.raw(0, BTC), desk)
    live = desk.events.streams.count(StreamEvent.LIVE)
    client.switch_venue(desk.world, 0, "skips")
    await _until(lambda: StreamEvent.GAP in desk.events.streams, desk)
    client.switch_venue(desk.world, 0, "ok")
    assert (await desk.pool.books([BTC])).books == (await desk.rest.books([BTC])).books
    await _until(lambda: desk.raw(0, BTC), desk)
    assert desk.events.streams.count(StreamEvent.LIVE) == live
    assert StreamEvent.CLOSED not in desk.events.streams


async def test_measures__everything_that_a_book_says(desk: Desk) -> None:
    [book] = (await desk.rest.books([BTC])).books
    found = desk.pool.measures(book)
    assert (found.venue, found.observed_at_ms) == (book.venue, book.observed_at_ms)
    paid = [rung.buy_ppm for rung in found.slippage if rung.buy_ppm is not None]
    assert paid
    assert paid == sorted(paid)
    assert -1_000_000 < found.imbalance_ppm < 1_000_000


class _Raw(dict[str, Any]):
    def limit(self) -> _Raw:
        return self


class _Kept:
    """What ccxt keeps of streamed books, as a test says."""

    has: ClassVar[dict[str, bool]] = {"watchOrderBook": True}

    def __init__(self) -> None:
        self.orderbooks: dict[str, _Raw] = {}


def _streams(exchange: _Kept, crossed: list[str]) -> BookStreams:
    settings = VenueSettings(id="v", ccxt_class="okx", streams=("books",))
    return BookStreams(exchange, settings, ["X"], Events(), crossed.append)


def _raw(size: float, at_ms: int, *, bid: float = 99.99) -> _Raw:
    return _Raw(bids=[[bid, size]], asks=[[100.01, size]], timestamp=at_ms)


def test_sample__depth_falls_and_comes_back__half_life() -> None:
    exchange, crossed = _Kept(), []
    streams = _streams(exchange, crossed)
    for at_ms, size in ((1_000, 10.0), (2_000, 2.0), (3_000, 3.0), (4_500, 9.0)):
        exchange.orderbooks["X"] = _raw(size, at_ms)
        streams.sample("X")
    seen = streams.resiliency("X")
    assert seen is not None
    assert (seen.half_life_ms, seen.shocks, crossed) == (2_500, 1, [])
    sides = {
        side: (BookLevel(price_e18=price * E18, size_e18=E18),)
        for side, price in (("bids", 99), ("asks", 101))
    }
    book = Book(venue="v", market=BTC, quote_currency="USDC", observed_at_ms=4_500, **sides)
    assert measure(book, seen) == replace(measure(book, None), half_life_ms=2_500, shocks=1)


def test_sample__crossed__told() -> None:
    exchange, crossed = _Kept(), []
    exchange.orderbooks["X"] = _raw(1.0, 1_000, bid=100.02)
    _streams(exchange, crossed).sample("X")
    assert crossed == ["X"]


@pytest.mark.parametrize(("age_ms", "given"), [(0, True), (5_000, True), (5_001, False)])
def test_newest__too_old__not_given(age_ms: int, given: bool) -> None:
    exchange = _Kept()
    exchange.orderbooks["X"] = _raw(1.0, 1_000)
    assert (_streams(exchange, []).newest("X", 1_000 + age_ms) is not None) == given
    assert _streams(exchange, []).newest("Y", 1_000) is None
