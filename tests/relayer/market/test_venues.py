"""The venues through unmodified ccxt: bulk answers, and none that is down blocks another."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from contracts.units import MarketId
from relayer.errors import FAULT_REASONS, Misconfigured, Unreachable
from relayer.local import client
from relayer.local.client import LocalClock
from relayer.local.state import WorldState
from relayer.market.aggregate import (
    AggregationRules,
    Mark,
    NoMark,
    NoMarkReason,
    aggregate_round,
)
from relayer.market.depth import depth_within
from relayer.market.history import HistoryStore
from relayer.market.settings import VenueSettings
from relayer.market.values import E18, HOUR_MS, MINUTE_MS, Listing, Market
from relayer.market.venues import VenuePool
from tests.relayer.market.builders import market
from tests.relayer.market.fakes import FakeClock, FakeExchange, FakeVenues

pytestmark = pytest.mark.loopback

BTC, ETH = MarketId(0), MarketId(1)
RULES = AggregationRules()


def _settings(world: WorldState, **changes: object) -> list[VenueSettings]:
    return [
        VenueSettings(
            id=venue.id,
            ccxt_class=venue.ccxt_class,
            urls={"rest": venue.url},
            stablecoin_symbol="USDC/USDT",
            rate_limit_ms=1,
            timeout_s=1.0,
            **changes,
        )
        for venue in world.venues
    ]


def _markets(world: WorldState, symbol: str | None = None) -> list[Market]:
    return [
        Market(
            market=MarketId(listed.market),
            symbol=listed.base,
            class_id=listed.class_id,
            listings=tuple(
                Listing(venue=venue.id, symbol=symbol or listed.symbol, quote_currency=listed.quote)
                for venue in world.venues
            ),
        )
        for listed in world.markets
    ]


@pytest.fixture
async def clock(exchanges: WorldState) -> AsyncIterator[LocalClock]:
    made = LocalClock(exchanges.control_url)
    yield made
    await made.close()


@pytest.fixture
async def pool(exchanges: WorldState, clock: LocalClock) -> AsyncIterator[VenuePool]:
    made = VenuePool(_settings(exchanges), _markets(exchanges), clock)
    assert await made.open() == ()
    yield made
    await made.close()
    for venue in range(3):
        client.switch_venue(exchanges, venue, "ok")


async def test_quotes__three_venues__every_market_of_each(pool: VenuePool) -> None:
    taken = await pool.quotes()
    assert taken.faults == ()
    assert taken.refused == ()
    assert [(quote.venue, quote.market) for quote in taken.quotes] == [
        (f"local-{venue}", market) for venue in range(3) for market in (BTC, ETH)
    ]
    assert all(quote.observed_at_ms == taken.taken_at_ms for quote in taken.quotes)
    assert all(quote.mark_e18 is not None for quote in taken.quotes)


async def test_quotes__to_marks__in_usdc(pool: VenuePool) -> None:
    taken = await pool.quotes()
    marks = aggregate_round(taken, [BTC, ETH], taken.taken_at_ms, RULES)
    assert all(isinstance(mark, Mark) and len(mark.venues) == 3 for mark in marks.values())
    assert {quote.currency for quote in taken.stablecoins} == {"USDT"}
    assert all(abs(quote.value_e18 - E18) < 5 * E18 // 10_000 for quote in taken.stablecoins)


async def test_quotes__one_venue_down__a_fault_and_the_others(
    pool: VenuePool, exchanges: WorldState
) -> None:
    client.switch_venue(exchanges, 0, "down")
    taken = await pool.quotes()
    assert [(fault.venue, fault.reason) for fault in taken.faults] == [("local-0", "unreachable")]
    assert {quote.venue for quote in taken.quotes} == {"local-1", "local-2"}
    marks = aggregate_round(taken, [BTC], taken.taken_at_ms, RULES)
    assert isinstance(marks[BTC], Mark)


async def test_quotes__one_venue_slow__not_waited_for_past_its_time(
    pool: VenuePool, exchanges: WorldState
) -> None:
    client.switch_venue(exchanges, 1, "slow", delay_s=3.0)
    before = time.monotonic()
    taken = await pool.quotes()
    assert time.monotonic() - before < 2.5
    assert [(fault.venue, fault.reason) for fault in taken.faults] == [("local-1", "unreachable")]
    assert len(taken.quotes) == 4


async def test_quotes__one_venue_stale__left_out_of_the_mark(
    pool: VenuePool, exchanges: WorldState, clock: LocalClock
) -> None:
    client.switch_venue(exchanges, 2, "stale")
    client.advance(exchanges, await clock.now_ms() + 6_000)
    taken = await pool.quotes()
    mark = aggregate_round(taken, [BTC], taken.taken_at_ms, RULES)[BTC]
    assert isinstance(mark, Mark)
    assert mark.venues == ("local-0", "local-1")


async def test_quotes__one_of_three_off_by_30_percent__excluded(
    pool: VenuePool, exchanges: WorldState
) -> None:
    honest = aggregate_round(await pool.quotes(), [BTC], await _now(pool), RULES)[BTC]
    client.switch_venue(exchanges, 2, "off", factor=1.3)
    mark = aggregate_round(await pool.quotes(), [BTC], await _now(pool), RULES)[BTC]
    assert isinstance(mark, Mark)
    assert isinstance(honest, Mark)
    assert mark.excluded == ("local-2",)
    assert abs(mark.price_e18 - honest.price_e18) * 1_000 < honest.price_e18


async def test_quotes__two_venues_left_and_one_off__no_mark(
    pool: VenuePool, exchanges: WorldState
) -> None:
    client.switch_venue(exchanges, 0, "down")
    client.switch_venue(exchanges, 2, "off", factor=1.3)
    none = aggregate_round(await pool.quotes(), [BTC], await _now(pool), RULES)[BTC]
    assert isinstance(none, NoMark)
    assert none.reason is NoMarkReason.DISAGREE


async def _now(pool: VenuePool) -> int:
    return (await pool.quotes()).taken_at_ms


async def test_books__one_a_market__deep_in_base_units(pool: VenuePool) -> None:
    taken = await pool.books([BTC, ETH])
    assert taken.faults == ()
    assert [book.market for book in taken.books] == [BTC, ETH]
    assert [book.venue for book in taken.books] == ["local-0", "local-1"]
    bids, asks = depth_within(taken.books[0])
    assert 0 < bids[0] < bids[1] < bids[2] < bids[3]
    assert 0 < asks[0] < asks[3]


async def test_books__first_venue_down__the_next_answers(
    pool: VenuePool, exchanges: WorldState
) -> None:
    client.switch_venue(exchanges, 0, "down")
    taken = await pool.books([BTC])
    assert [book.venue for book in taken.books] == ["local-1"]
    assert [fault.venue for fault in taken.faults] == ["local-0"]


async def test_candles__closed_bars_only(pool: VenuePool, clock: LocalClock) -> None:
    now_ms = await clock.now_ms()
    page = await pool.candles(BTC, MINUTE_MS, now_ms - 60 * MINUTE_MS, 300, set())
    bars = page.bars
    assert 59 <= len(bars) <= 60
    assert bars.open_ms[-1] + MINUTE_MS <= now_ms


async def test_candles__every_venue_down__unreachable_with_what_each_said(
    pool: VenuePool, exchanges: WorldState, clock: LocalClock
) -> None:
    for venue in range(3):
        client.switch_venue(exchanges, venue, "down")
    with pytest.raises(Unreachable, match=r"local-0: .*local-1: .*local-2: "):
        await pool.candles(BTC, HOUR_MS, await clock.now_ms() - 10 * HOUR_MS, 10, set())


async def test_history__filled_from_the_venues__whole_up_to_now(
    pool: VenuePool, clock: LocalClock, tmp_path: Path
) -> None:
    store = HistoryStore(tmp_path, pool.markets)
    store.open()
    now_ms = await clock.now_ms()
    report = await store.fill(pool, now_ms)
    window = store.window(BTC, now_ms)
    assert report.faults == ()
    assert len(window.hours) >= 72
    assert len(window.minutes) >= 1_439
    assert now_ms - window.minutes.open_ms[-1] < 2 * MINUTE_MS


async def test_open__venue_down_at_start__joins_later(
    exchanges: WorldState, clock: LocalClock
) -> None:
    client.switch_venue(exchanges, 0, "down")
    pool = VenuePool(_settings(exchanges), _markets(exchanges), clock)
    faults = await pool.open()
    client.switch_venue(exchanges, 0, "ok")
    taken = await pool.quotes()
    await pool.close()
    assert [fault.venue for fault in faults] == ["local-0"]
    assert all(fault.reason in FAULT_REASONS for fault in faults)
    assert len(taken.quotes) == 6


async def test_open__symbol_that_no_venue_lists__nearest_offered(
    exchanges: WorldState, clock: LocalClock
) -> None:
    pool = VenuePool(_settings(exchanges), _markets(exchanges, symbol="BTC/USDT"), clock)
    with pytest.raises(Misconfigured, match="did you mean BTC/USDT:USDT"):
        await pool.open()


async def test_pool__listing_at_an_unknown_venue__nearest_offered(exchanges: WorldState) -> None:
    listing = Listing(venue="local-9", symbol="BTC/USDT:USDT", quote_currency="USDT")
    stray = Market(market=BTC, symbol="BTC", class_id=1, listings=(listing,))
    with pytest.raises(Misconfigured, match="no venue local-9; did you mean local-"):
        VenuePool(_settings(exchanges), [stray], FakeClock(0))


async def test_pool__unknown_ccxt_class__nearest_offered() -> None:
    venue = VenueSettings(id="a", ccxt_class="okex")
    with pytest.raises(Misconfigured, match="ccxt has no exchange okex; did you mean okx"):
        VenuePool([venue], [], FakeClock(0))


def test_settings__unknown_key__refused() -> None:
    with pytest.raises(ValidationError, match="timeout"):
        VenueSettings(id="a", ccxt_class="okx", timeout=3)


async def test_quotes__a_ticker_of_another_shape__a_fault_of_its_venue_alone() -> None:
    venues = FakeVenues(FakeExchange("a"), FakeExchange("b"))
    venues.of["b"].ticker = None
    pool = VenuePool(venues.settings(), [market(0, ("a", "b"))], FakeClock(0), venues.connect)
    taken = await pool.quotes()
    await pool.close()
    assert [quote.venue for quote in taken.quotes] == ["a"]
    assert [(fault.venue, fault.reason) for fault in taken.faults] == [("b", "bad_answer")]
