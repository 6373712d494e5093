"""No venue alone writes history, and none that hangs is waited for twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from contracts.units import MarketId
from relayer.errors import Unreachable
from relayer.market.agreement import CandlePage, confirmed
from relayer.market.history import HistoryStore
from relayer.market.values import DAY_MS, MINUTE_MS, CandleSeries
from relayer.market.venues import VenuePool
from tests.relayer.market.builders import market, series
from tests.relayer.market.fakes import FakeClock, FakeExchange, FakeVenues

SINCE_MS = 20_220 * DAY_MS
NOW_MS = SINCE_MS + DAY_MS
BTC = MarketId(0)


async def _page(
    *exchanges: FakeExchange, listed: Sequence[str] = ("a", "b", "c"), limit: int = 100
) -> CandlePage:
    venues = FakeVenues(*exchanges)
    markets = [market(0, listed)]
    pool = VenuePool(venues.settings(), markets, FakeClock(NOW_MS), venues.connect)
    try:
        return await pool.candles(BTC, MINUTE_MS, SINCE_MS, limit, set())
    finally:
        await pool.close()


def _is_honest(bars: CandleSeries) -> bool:
    return len(bars) == 100 and abs(bars.close - 100.3).max() < 0.4 and bars.high.max() > 100.5


async def test_candles__two_venues_agree__third_is_not_asked() -> None:
    third = FakeExchange("c")
    page = await _page(FakeExchange("a"), FakeExchange("b"), third)
    assert _is_honest(page.bars)
    assert page.unconfirmed is None
    assert third.calls == 0


@pytest.mark.parametrize("liar", range(3))
@pytest.mark.parametrize("lie", [{"factor": 1.3}, {"factor": 0.7}, {"flat": True}])
async def test_candles__one_of_three_lies__outvoted(liar: int, lie: dict[str, Any]) -> None:
    exchanges = [FakeExchange(name) for name in "abc"]
    exchanges[liar] = FakeExchange("abc"[liar], **lie)
    page = await _page(*exchanges)
    assert _is_honest(page.bars)
    assert page.unconfirmed is None


@pytest.mark.parametrize("lie", [{"factor": 1.3}, {"flat": True}])
async def test_candles__two_venues_and_one_lies__nothing(lie: dict[str, Any]) -> None:
    page = await _page(FakeExchange("a"), FakeExchange("b", **lie), listed=("a", "b"))
    assert len(page.bars) == 0
    assert page.unconfirmed is not None
    assert "no two venues agree" in page.unconfirmed


async def test_candles__flat_last_bar_alone__caught_by_the_bars_before() -> None:
    page = await _page(FakeExchange("a", flat=True), FakeExchange("b"), FakeExchange("c"), limit=1)
    assert page.bars.open_ms.tolist() == [SINCE_MS]
    assert page.bars.high[0] > 100.1


async def test_candles__several_list_it_and_one_answers__unconfirmed() -> None:
    away = [FakeExchange(name, hangs=True) for name in "bc"]
    with pytest.raises(Unreachable, match="unconfirmed"):
        await _page(FakeExchange("a"), *away)


async def test_candles__one_venue_lists_it__believed() -> None:
    page = await _page(FakeExchange("a"), listed=("a",))
    assert _is_honest(page.bars)


async def test_fill__two_venues_disagree__fault_and_nothing_stored(tmp_path: Path) -> None:
    venues = FakeVenues(FakeExchange("a"), FakeExchange("b", factor=1.3))
    markets = [market(0, ("a", "b"))]
    pool = VenuePool(venues.settings(), markets, FakeClock(NOW_MS), venues.connect)
    store = HistoryStore(tmp_path, markets)
    store.open()
    report = await store.fill(pool, NOW_MS)
    await pool.close()
    assert {fault.reason for fault in report.faults} == {"bad_answer"}
    assert all("unconfirmed" in fault.detail for fault in report.faults)
    assert report.segments == 0
    assert len(store.window(BTC, NOW_MS).hours) == 0
    assert list((tmp_path / "segments").glob("*/*")) == []


async def test_books__one_venue_hangs__asked_once_a_lane_and_passed_over() -> None:
    venues = FakeVenues(FakeExchange("a", hangs=True), FakeExchange("b"), FakeExchange("c"))
    markets = [market(number) for number in range(40)]
    pool = VenuePool(venues.settings(), markets, FakeClock(NOW_MS), venues.connect)
    taken = await pool.books([each.market for each in markets])
    await pool.close()
    assert len(taken.books) == 40
    assert venues.of["a"].calls <= 4


async def test_fill__one_venue_hangs__passed_over_for_the_whole_fill(tmp_path: Path) -> None:
    venues = FakeVenues(FakeExchange("a", hangs=True), FakeExchange("b"), FakeExchange("c"))
    markets = [market(number) for number in range(8)]
    pool = VenuePool(venues.settings(), markets, FakeClock(NOW_MS), venues.connect)
    store = HistoryStore(tmp_path, markets)
    store.open()
    report = await store.fill(pool, NOW_MS)
    await pool.close()
    assert report.faults == ()
    assert venues.of["a"].calls <= 4


def test_confirmed__one_bar_with_a_far_wick__that_bar_alone_is_left_out() -> None:
    honest = series(SINCE_MS, 20)
    high = honest.high.copy()
    high[5] *= 1.1
    wicked = CandleSeries(
        market=honest.market,
        bar_ms=honest.bar_ms,
        open_ms=honest.open_ms,
        open=honest.open,
        high=high,
        low=honest.low,
        close=honest.close,
        volume=honest.volume,
    )
    kept = confirmed(wicked, honest)
    assert len(kept) == 19
    assert honest.open_ms[5] not in kept.open_ms
