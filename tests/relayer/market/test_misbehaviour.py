"""Each way the local exchanges misbehave, and what quotes, marks and history made of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.units import MarketId
from relayer.local import client
from relayer.local.client import LocalClock
from relayer.local.state import WorldState
from relayer.market.aggregate import AggregationRules, Mark, NoMark, aggregate_round
from relayer.market.archive import RecordArchive
from relayer.market.feeds import FeedMemory, FeedRules, frozen_feeds, withhold_frozen
from relayer.market.history import HistoryStore
from relayer.market.records import RecordKind
from relayer.market.settings import VenueSettings
from relayer.market.values import HOUR_MS, MINUTE_MS, Listing, Market, QuoteRound
from relayer.market.venues import VenuePool

pytestmark = pytest.mark.loopback

BTC, ETH = MarketId(0), MarketId(1)
RULES = AggregationRules()


class Desk:
    """A pool over the local exchanges, and the hand that makes them misbehave."""

    def __init__(self, world: WorldState, clock: LocalClock) -> None:
        self.world = world
        self.clock = clock
        venues = [
            VenueSettings(
                id=venue.id,
                ccxt_class=venue.ccxt_class,
                urls={"rest": venue.url, "ws": venue.ws_url},
                stablecoin_symbol="USDC/USDT",
                rate_limit_ms=1,
                timeout_s=0.5,
            )
            for venue in world.venues
        ]
        markets = [
            Market(
                market=MarketId(listed.market),
                symbol=listed.base,
                class_id=listed.class_id,
                listings=tuple(
                    Listing(venue=venue.id, symbol=listed.symbol, quote_currency=listed.quote)
                    for venue in world.venues
                ),
            )
            for listed in world.markets
        ]
        self.markets = markets
        self.pool = VenuePool(venues, markets, clock)

    def tell(self, mode: str, venue: int = 0, **details: float | str) -> None:
        client.switch_venue(self.world, venue, mode, **details)

    async def later(self, seconds: float) -> None:
        now_ms = await self.clock.now_ms()
        client.advance(self.world, now_ms + int(1_000 * seconds))

    async def quotes(self) -> QuoteRound:
        return await self.pool.quotes()

    async def marks(self, taken: QuoteRound | None = None) -> dict[MarketId, Mark | NoMark]:
        taken = taken if taken is not None else await self.pool.quotes()
        return aggregate_round(taken, [BTC, ETH], await self.clock.now_ms(), RULES)

    async def faults(self) -> list[tuple[str, str]]:
        return [(each.venue, each.reason) for each in (await self.quotes()).faults]

    async def refusals(self) -> set[tuple[str, str]]:
        return {(each.venue, each.reason.value) for each in (await self.quotes()).refused}


@pytest.fixture
async def desk(exchanges: WorldState) -> AsyncIterator[Desk]:
    clock = LocalClock(exchanges.control_url)
    made = Desk(exchanges, clock)
    assert await made.pool.open() == ()
    yield made
    await made.pool.close()
    await clock.close()
    for venue in range(3):
        client.switch_venue(exchanges, venue, "ok")


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("down", "unreachable"),
        ("slow", "unreachable"),
        ("limited", "rate_limited"),
        ("banned", "unreachable"),
        ("broken", "unreachable"),
        ("garbage", "bad_answer"),
    ],
)
async def test_venue__cannot_be_used__a_fault_and_the_mark_of_the_others(
    desk: Desk, mode: str, reason: str
) -> None:
    desk.tell(mode)
    taken = await desk.quotes()
    assert {(fault.venue, fault.reason) for fault in taken.faults} == {("local-0", reason)}
    mark = (await desk.marks(taken))[BTC]
    assert isinstance(mark, Mark)
    assert mark.venues == ("local-1", "local-2")


async def test_venue__came_back__quotes_again(desk: Desk) -> None:
    desk.tell("down")
    assert len((await desk.quotes()).quotes) == 4
    desk.tell("ok")
    assert len((await desk.quotes()).quotes) == 6


@pytest.mark.parametrize("factor", [10.0, 0.1, 1.03])
async def test_venue__lies__excluded_and_the_mark_stays(desk: Desk, factor: float) -> None:
    honest = (await desk.marks())[BTC]
    desk.tell("off", factor=factor)
    mark = (await desk.marks())[BTC]
    assert isinstance(honest, Mark)
    assert isinstance(mark, Mark)
    assert mark.excluded == ("local-0",)
    assert abs(mark.price_e18 / honest.price_e18 - 1) < 0.001


async def test_venue__crossed__refused(desk: Desk) -> None:
    desk.tell("crossed")
    assert await desk.refusals() == {("local-0", "crossed")}
    assert isinstance((await desk.marks())[BTC], Mark)


@pytest.mark.parametrize("skew_ms", [60_000, -60_000, -3_000])
async def test_venue__clock_is_off__left_out(desk: Desk, skew_ms: int) -> None:
    """By a minute: from the future or stale; by three seconds: not of the others' moment."""
    desk.tell("skew", skew_ms=skew_ms)
    mark = (await desk.marks())[BTC]
    assert isinstance(mark, Mark)
    assert mark.venues == ("local-1", "local-2")


async def test_venue__frozen_with_fresh_stamps__withheld(desk: Desk) -> None:
    desk.tell("frozen", venue=2)
    memory, shown = FeedMemory(), await desk.quotes()
    for _ in range(8):
        shown, memory = withhold_frozen(memory, await desk.quotes(), FeedRules())
        if frozen_feeds(shown.refused):
            break
        await desk.later(30)
    assert {venue for venue, _ in frozen_feeds(shown.refused)} == {"local-2"}
    assert all(quote.observed_at_ms == shown.taken_at_ms for quote in shown.quotes)


async def test_market__delisted__not_quoted_there_and_the_mark_of_the_others(desk: Desk) -> None:
    desk.tell("delisted", symbol="BTC/USDT:USDT")
    taken = await desk.quotes()
    assert {quote.venue for quote in taken.of(BTC)} == {"local-1", "local-2"}
    assert len(taken.of(ETH)) == 3
    assert isinstance((await desk.marks(taken))[BTC], Mark)


async def test_market__renamed__not_quoted_there_under_either_name(desk: Desk) -> None:
    desk.tell("renamed", symbol="BTC/USDT:USDT", name="XBT")
    taken = await desk.quotes()
    assert {quote.venue for quote in taken.of(BTC)} == {"local-1", "local-2"}
    assert len(taken.of(ETH)) == 3


async def test_two_venues__out__no_mark(desk: Desk) -> None:
    desk.tell("down", 0)
    desk.tell("broken", 1)
    none = (await desk.marks())[BTC]
    assert isinstance(none, NoMark)
    assert none.reason.value == "stablecoin_unknown"  # one venue alone says what USDT is worth


async def test_history__gap_at_one_venue__filled_by_the_others(desk: Desk, tmp_path: Path) -> None:
    now_ms = await desk.clock.now_ms()
    gap_ms = now_ms - now_ms % HOUR_MS - 5 * HOUR_MS
    _play(desk, {"mode": "gaps", "venue": 0, "at_s": (gap_ms - now_ms) / 1e3, "for_s": 3600})
    minutes = await _filled(desk, tmp_path, now_ms)
    missing = set(range(gap_ms, gap_ms + HOUR_MS, MINUTE_MS)) - set(minutes)
    assert missing == set()


async def test_history__the_same_gap_everywhere__stays_a_gap(desk: Desk, tmp_path: Path) -> None:
    now_ms = await desk.clock.now_ms()
    gap_ms = now_ms - now_ms % HOUR_MS - 5 * HOUR_MS
    _play(desk, {"mode": "gaps", "at_s": (gap_ms - now_ms) / 1e3, "for_s": 3600})
    minutes = await _filled(desk, tmp_path, now_ms)
    assert set(range(gap_ms, gap_ms + HOUR_MS, MINUTE_MS)) & set(minutes) == set()
    assert gap_ms + HOUR_MS in minutes


async def test_history__one_venue_lies__bars_of_the_two_that_agree(
    desk: Desk, tmp_path: Path
) -> None:
    honest = await _closes(desk, tmp_path / "honest")
    desk.tell("off", 1, factor=10.0)
    lied = await _closes(desk, tmp_path / "lied")
    shared = honest.keys() & lied.keys()
    assert len(shared) == len(honest)
    assert all(abs(lied[at] / honest[at] - 1) < 0.001 for at in shared)


async def test_history__rate_limited_for_a_while__goes_on_where_it_was(
    desk: Desk, tmp_path: Path
) -> None:
    now_ms = await desk.clock.now_ms()
    store = HistoryStore(tmp_path, desk.markets)
    store.open()
    for venue in range(3):
        desk.tell("limited", venue, rate=1.0)
    report = await store.fill(desk.pool, now_ms)
    assert {fault.reason for fault in report.faults} <= {"rate_limited", "unreachable"}
    assert report.faults
    for venue in range(3):
        desk.tell("ok", venue)
    async with asyncio.timeout(10):  # the pool leaves a venue that limits it alone for a moment
        while (await store.fill(desk.pool, now_ms)).faults:
            await desk.pool.quotes()
    assert len(store.window(BTC, now_ms).hours) > 48


def _play(desk: Desk, step: dict[str, object]) -> None:
    client.fetch_json(desk.world.control_url + "/control/scenario", {"step": [step]})


async def _filled(desk: Desk, folder: Path, now_ms: int) -> list[int]:
    store = HistoryStore(folder, desk.markets)
    store.open()
    await store.fill(desk.pool, now_ms)
    return [int(at) for at in store.window(BTC, now_ms).minutes.open_ms]


async def _closes(desk: Desk, folder: Path) -> dict[int, float]:
    now_ms = await desk.clock.now_ms()
    store = HistoryStore(folder, desk.markets)
    store.open()
    await store.fill(desk.pool, now_ms)
    bars = store.window(BTC, now_ms).minutes
    return dict(zip(bars.open_ms.tolist(), bars.close.tolist(), strict=True))


async def test_records__pool_gives_settled_funding_and_trades(desk: Desk, tmp_path: Path) -> None:
    """The recording has no funding file, so there is none; nothing is made up."""
    archive = RecordArchive(tmp_path, desk.markets)
    now_ms = await desk.clock.now_ms()
    archive.open(now_ms)
    assert await archive.fill_funding(desk.pool, now_ms) == ()
    archive.add_trades(BTC, desk.pool.trades(BTC), now_ms)
    archive.add_books((await desk.pool.books([BTC])).books)
    assert archive.rows(BTC, RecordKind.FUNDING, 0, now_ms + 1) == []
    assert len(archive.rows(BTC, RecordKind.DEPTH, 0, now_ms + 1)) == 1
    for venue in range(3):
        desk.tell("down", venue)
    [first, _] = await archive.fill_funding(desk.pool, now_ms + HOUR_MS)
    assert "settled funding of market 0" in str(first)
