"""Facts about the watch: whom the law would liquidate is found, at every price, and few others."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.positions.watch import SORT_AFTER, Watch, decide, markets_now
from contracts.book import Book, Refused
from contracts.book_margin import health, standing
from contracts.book_readings import Readings
from contracts.book_views import position_liquidation_price
from contracts.book_words import CROSS, PositionId, encode_position, split_position_id
from contracts.margin import is_liquidatable
from contracts.units import MarketId, PriceE18, UnixS
from relayer.chain.index import Index
from relayer.chain.index_ledger import Ledger, Table
from tests.contracts.chain import FAST
from tests.relayer.chain.index_walks import History, tell, told

pytestmark = pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")


def liquidatable(book: Book, readings: Readings) -> set[PositionId]:
    """Ask the law about each position, one by one."""
    found = set()
    for identity, position in book.positions.items():
        stands = health(book, readings, identity)
        if position.size and is_liquidatable(stands.equity, stands.maintenance):
            found.add(identity)
    return found


def at_price(readings: Readings, market: MarketId, price: int) -> Readings:
    reading = readings.markets[market]
    mark = replace(reading.mark, price=PriceE18(max(1, price)))
    return replace(readings, markets={**readings.markets, market: replace(reading, mark=mark)})


def edges(book: Book, readings: Readings) -> Iterator[tuple[MarketId, int]]:
    """Give prices around the exact liquidation price of each position."""
    for identity in book.positions:
        if standing(book, readings, identity).position.size == 0:
            continue
        price = position_liquidation_price(book, readings, identity)
        if price is not None and price < 2**100:
            for step in (-1, 0, 1):
                yield split_position_id(identity)[1], price + step


@pytest.fixture(scope="module", params=[11, 12, 13])
def history(request: pytest.FixtureRequest) -> History:
    found = History(request.param)
    found.step(300)
    return found


def test_candidates__at_every_edge__miss_nobody(history: History) -> None:
    book, readings = history.walk.book, history.walk.seen
    watch = Watch(Index(told(history.blocks)))
    for market, price in edges(book, readings):
        there = at_price(readings, market, price)
        missed = liquidatable(book, there) - set(watch.candidates(markets_now(book, there)))
        assert not missed


def test_candidates__any_prices_and_times__miss_nobody(history: History) -> None:
    chance = random.Random(7)
    book, readings = history.walk.book, history.walk.seen
    watch = Watch(Index(told(history.blocks)))
    for round_ in range(120):
        there = replace(readings, now_s=UnixS(readings.now_s + chance.choice([0, 9, 4_000])))
        for market in readings.markets:
            price = readings.markets[market].mark.price
            there = at_price(there, market, price * chance.randint(40, 190) // 100)
            if chance.random() < 0.1:
                reading = there.markets[market]
                dull = replace(reading, mark=replace(reading.mark, fresh=False, new_risk=False))
                there = replace(there, markets={**there.markets, market: dull})
        now = markets_now(book, there)
        assert not liquidatable(book, there) - set(watch.candidates(now)), round_
        if chance.random() < 0.3:
            watch.tidy(now)


def test_decide__candidates__are_whom_the_law_liquidates(history: History) -> None:
    book, readings = history.walk.book, history.walk.seen
    watch = Watch(Index(told(history.blocks)))
    for market in readings.markets:
        price = readings.markets[market].mark.price
        for share in (50, 90, 110, 200):
            there = at_price(readings, market, price * share // 100)
            found = decide(book, there, watch.candidates(markets_now(book, there)))
            assert set(found) == liquidatable(book, there)


def test_take__all_along_a_history__misses_nobody() -> None:
    history = History(14)
    ledger, read = Ledger(), 0
    index = Index(ledger)
    watch = Watch(index)
    for _ in range(12):
        history.step(25)
        blocks = history.blocks
        for number in range(read, len(blocks)):
            tell(ledger, number + 1, blocks[number])
            watch.take(key for key, _ in ledger.marks[-1].undo)
        read = len(blocks)
        book, readings = history.walk.book, history.walk.seen
        for market, price in edges(book, readings):
            there = at_price(readings, market, price)
            now = markets_now(book, there)
            assert not liquidatable(book, there) - set(watch.candidates(now))
        watch.tidy(markets_now(book, readings))


def test_candidates__a_calm_market__are_few() -> None:
    history = History(17)
    history.step(60)
    index = Index(told(history.blocks))
    book, readings = history.walk.book, history.walk.seen
    first = next(
        i for i, p in book.positions.items() if p.size and split_position_id(i)[2] != CROSS
    )
    model = book.positions[first]
    safe = replace(model, collateral=model.collateral * 40)
    rows = index.ledger.tables[Table.POSITION]
    for number in range(3 * SORT_AFTER):
        rows[(first & 0xFFFFFF) | (number + 1_000) << 24] = encode_position(safe)
    watch = Watch(index)
    now = markets_now(book, readings)
    watch.candidates(now)
    assert len(watch.candidates(now)) <= len([p for p in book.positions.values() if p.size])


def test_decide__a_market_without_a_price__is_left_alone() -> None:
    history = History(16)
    watch = Watch(Index(told(history.blocks)))
    readings = Readings(now_s=UnixS(1), markets={})
    assert markets_now(history.walk.book, readings) == {}
    assert watch.candidates({}) == ()
    with pytest.raises(Refused):
        health(history.walk.book, readings, PositionId(0))
