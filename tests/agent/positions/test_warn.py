"""Facts about warnings: exact cures, levels that do not tremble, no flood, nothing lost."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.positions.cure import close_of, cure_of, margin_missing
from agent.positions.levels import (
    GRID,
    LEVELS,
    Level,
    Outlook,
    WarnSettings,
    outlook_of,
    textbook,
    triggers_of,
    without_forecast,
)
from agent.positions.warn import Assessed, Board, Pace, Waiting, due
from agent.positions.warn_turn import Warner
from agent.positions.watch import Watch, markets_now
from benchmarks.positions import Drawn, filled, readings_at
from contracts.book import Book
from contracts.book_margin import health
from contracts.book_readings import Readings
from contracts.book_trades import execute
from contracts.book_words import ISOLATED, PositionId, split_position_id
from contracts.margin import is_liquidatable
from contracts.units import MarketId, PriceE18, UsdcE6
from models.heads import HORIZONS_S
from relayer.notices import NoticeStore
from tests.contracts.chain import FAST
from tests.relayer import builders as b
from tests.relayer.chain.index_walks import History

E18 = 10**18
NOW_MS = 1_700_000_000_000
SETTINGS = WarnSettings()
CALM = (0.002, 0.004, 0.008, 0.02)


def assessed(level: Level, distance: float = 0.01, key: str = "a") -> Assessed:
    return Assessed(
        key=key,
        account="0x" + "11" * 20,
        market=MarketId(0),
        side=1,
        is_cross=False,
        level=level,
        distance=distance,
        price=PriceE18(100 * E18),
        liquidation_price=PriceE18(90 * E18),
        next_price=PriceE18(91 * E18),
        chances=None,
    )


def test_triggers__nearer__is_never_a_lesser_level() -> None:
    for scale in (0.1, 1.0, 10.0):
        deviations = tuple(scale * each for each in CALM)
        triggers = triggers_of(1, deviations, textbook, SETTINGS)
        levels = [triggers.level_of(float(distance)) for distance in GRID]
        assert levels == sorted(levels, reverse=True)
        assert triggers.level_of(0.0) is Level.CRITICAL
        assert triggers.level_of(math.inf) is Level.NONE
        assert all(far >= near for near, far in zip(triggers.enter, triggers.leave, strict=True))


def test_triggers__where_a_level_begins__its_probability_is_the_stated_one() -> None:
    triggers = triggers_of(1, CALM, textbook, SETTINGS)
    horizons = sorted(HORIZONS_S, reverse=True)
    for number, level in enumerate(LEVELS):
        at = np.array([triggers.enter[number], triggers.enter[number] * 1.03])
        column = HORIZONS_S.index(horizons[number])
        inside, outside = textbook(1, at, CALM)[:, column]
        by_distance = triggers.enter[number] == SETTINGS.distances[number]
        assert by_distance or (outside < SETTINGS.chances[number] <= inside * 1.1), level


def test_outlook__a_market_without_forecast__warns_by_distance() -> None:
    outlook = outlook_of({MarketId(0): CALM}, textbook, SETTINGS)
    assert outlook.of(MarketId(1), 1) == without_forecast(SETTINGS)
    assert outlook.chances(MarketId(1), 1, 0.01) is None
    found = outlook.chances(MarketId(0), 1, 0.01)
    assert found is not None
    assert list(found) == sorted(found)
    assert outlook.chances(MarketId(0), 1, 0.0) == (1.0,) * 4


def test_board__trembling_at_a_border__rises_once() -> None:
    board, said = Board(), 0
    for second in range(300):
        level = Level.WARNING if second % 2 else Level.NOTICE
        board, risen, _ = board.step([assessed(level)], NOW_MS + 1_000 * second, SETTINGS)
        said += len(risen)
    assert said == 2  # notice, then warning, which stays
    assert board.standing["a"].level is Level.WARNING


def test_board__lower_for_long_enough__falls_and_then_is_over() -> None:
    board, _, _ = Board().step([assessed(Level.DANGER)], NOW_MS, SETTINGS)
    calm_ms = SETTINGS.calm_s * 1_000
    board, _, over = board.step([], NOW_MS + 1, SETTINGS)
    assert board.standing["a"].level is Level.DANGER
    board, _, over = board.step([assessed(Level.NOTICE)], NOW_MS + 1 + calm_ms, SETTINGS)
    assert board.standing["a"].level is Level.NOTICE
    board, _, over = board.step([], NOW_MS + 2 + calm_ms, SETTINGS)
    board, _, over = board.step([], NOW_MS + 2 + 2 * calm_ms, SETTINGS)
    assert over == ("a",)
    assert not board.standing


def test_due__ten_thousand_at_once__is_one_digest_and_then_silence() -> None:
    waiting = tuple(
        Waiting(key=str(n), level=LEVELS[n % 4], text="t", row=n) for n in range(10_000)
    )
    (notice,), pace = due(waiting, Pace(), NOW_MS, SETTINGS)
    assert len(notice.rows) == 10_000
    assert notice.title.startswith("10000 warnings: 2500 critical, 2500 danger")
    assert len(notice.body) < 2_000
    assert due(waiting, pace, NOW_MS + 59_000, SETTINGS)[0] == ()
    assert len(due(waiting, pace, NOW_MS + 61_000, SETTINGS)[0]) == 1


def test_due__few__are_said_one_by_one_within_the_rate() -> None:
    pace, said = Pace(), 0
    for second in range(120):
        row = Waiting(key=str(second), level=Level.NOTICE, text="t", row=second)
        notices, pace = due((row,), pace, NOW_MS + 1_000 * second, SETTINGS)
        said += len(notices)
    assert said <= 2 * SETTINGS.singles_a_minute + 2


class Outbox:
    """A channel that takes messages, or not."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.works = True

    async def send(self, title: str, body: str, urgency: int) -> bool:
        del urgency
        if self.works:
            self.sent.append((title, body))
        return self.works


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[NoticeStore]:
    async with b.database(f"sqlite:///{tmp_path}/w.sqlite") as database:
        yield NoticeStore(database, 6343, "0x" + "ee" * 20)


class Storm:
    """Positions of one market that all are a little above liquidation, and a price that falls."""

    def __init__(self, count: int, store: NoticeStore, nearest: int = -1) -> None:
        self.prices = [100 * E18] * 50
        rows = [
            Drawn(
                account=(1 << 159) + n,
                market=0,
                mode=ISOLATED,
                long=True,
                notional_usdc=1_000.0,
                leverage=10.0,
                spare=0.045 if n == nearest else 0.05,
            )
            for n in range(count)
        ]
        self.index = filled(rows, self.prices)
        self.watch = Watch(self.index)
        self.outbox = Outbox()
        self.store = store
        self.warner = self.process()

    def process(self) -> Warner:
        return Warner(self.index, SETTINGS, self.outbox, self.store)

    async def at(self, price: float, now_ms: int) -> Readings:
        self.prices[0] = int(price * E18)
        readings = readings_at(self.prices)
        now = markets_now(Book(markets=self.index.markets()), readings)
        self.watch.candidates(now)
        await self.warner.turn(self.watch, readings, now, now_ms)
        return readings


async def test_storm__ten_thousand_cross_at_once__all_are_listed_in_few_messages(
    store: NoticeStore,
) -> None:
    storm = Storm(10_000, store)
    listener = storm.warner.stream.listen()
    await storm.at(100.0, NOW_MS)
    assert storm.outbox.sent == []
    assert storm.warner.current() == ()
    for second, price in enumerate((96.0, 95.2), 1):
        await storm.at(price, NOW_MS + 1_000 * second)
    assert len(storm.warner.current()) == 10_000
    assert len(storm.outbox.sent) <= 2
    assert all(len(body) < 6_000 for _, body in storm.outbox.sent)
    assert await listener.get() is None  # too many to follow one by one: read the list


async def test_storm__nobody_takes_the_message__it_is_said_later_by_another_process(
    store: NoticeStore,
) -> None:
    storm = Storm(40, store)
    storm.outbox.works = False
    await storm.at(96.0, NOW_MS)
    await storm.at(96.0, NOW_MS + 1_000)  # backs off
    assert len(await store.waiting()) == 40
    storm.warner = storm.process()
    storm.outbox.works = True
    await storm.at(96.0, NOW_MS + 400_000)
    assert len(storm.outbox.sent) == 1
    titles = storm.outbox.sent[0][0]
    assert titles.startswith(("80 warnings", "40 warnings"))
    assert await store.waiting() == []


async def test_turn__more_near_than_one_turn_takes__all_have_theirs_and_none_is_forgotten(
    store: NoticeStore,
) -> None:
    storm = Storm(25, store)
    storm.warner = Warner(storm.index, SETTINGS, storm.outbox, store, looked_at_once=10)
    calm_ms, counts = 1_000 * int(SETTINGS.calm_s), []
    for turn in range(6):
        await storm.at(96.0, NOW_MS + turn * calm_ms)
        counts.append(len(storm.warner.current()))
    assert counts == [10, 18, 25, 25, 25, 25]  # whoever waits for a look stands as before
    for turn in range(6, 15):
        await storm.at(100.0, NOW_MS + turn * calm_ms)
    assert storm.warner.current() == ()


async def test_turn__more_near_than_one_turn_takes__the_most_endangered_is_in_every_turn(
    store: NoticeStore,
) -> None:
    storm = Storm(25, store, nearest=20)
    storm.warner = Warner(storm.index, SETTINGS, storm.outbox, store, looked_at_once=10)
    distances = []
    for turn in range(8):
        await storm.at(96.0 - 0.02 * turn, NOW_MS + turn * 1_000)
        distances.append(storm.warner.current()[0].found.distance)
    seen = distances[2:]  # from then on everybody is on the board
    assert seen == sorted(set(seen), reverse=True)


async def test_turn__after_a_restart__what_was_just_said_is_not_repeated(
    store: NoticeStore,
) -> None:
    storm = Storm(3, store)
    await storm.at(96.0, NOW_MS)
    assert len(storm.outbox.sent) == 3
    storm.warner = storm.process()
    await storm.at(96.0, NOW_MS + 60_000)
    assert len(storm.outbox.sent) == 3
    assert len(storm.warner.current()) == 3


async def test_turn__a_warning__names_next_price_and_an_exact_cure(store: NoticeStore) -> None:
    storm = Storm(1, store)
    readings = await storm.at(96.0, NOW_MS)
    (warned,) = storm.warner.current()
    ((_, body),) = storm.outbox.sent
    assert "next level at" in body
    assert "to cure: add" in body
    assert warned.margin_to_add
    found = warned.found
    assert found.liquidation_price is not None
    assert found.next_price is not None
    assert found.liquidation_price < found.next_price < found.price
    await storm.at(found.next_price / E18 * 0.9999, NOW_MS + 1_000)
    (later,) = storm.warner.current()
    assert later.level is Level(warned.level + 1)
    await storm.at(found.next_price / E18 * 1.001, NOW_MS + 2_000)
    (same,) = storm.warner.current()
    assert same.level is later.level  # it stays, until it is calm
    assert readings.now_s


@pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")
def test_cure__margin__is_exact_to_the_unit() -> None:
    chance, checked = random.Random(3), 0
    for seed in range(51, 57):
        history = History(seed)
        for _ in range(8):
            history.step(30)
            book, readings = history.walk.book, history.walk.seen
            for identity, held in book.positions.items():
                _, market, mode = split_position_id(identity)
                if not held.size or mode != ISOLATED or book.market(market).settled:
                    continue
                if book.market(market).side(held.side).number != held.cuts:
                    continue
                price = readings.markets[market].mark.price
                at_price = PriceE18(price * chance.randint(50, 150) // 100)
                missing = margin_missing(book, readings, identity, at_price)
                there = moved(readings, market, at_price)
                enough = replace(held, collateral=UsdcE6(held.collateral + missing))
                assert not is_weak(with_position(book, identity, enough), there, identity)
                if missing:
                    less = replace(held, collateral=UsdcE6(held.collateral + missing - 1))
                    assert is_weak(with_position(book, identity, less), there, identity)
                    checked += 1
    assert checked > 4


def moved(readings: Readings, market: MarketId, price: PriceE18) -> Readings:
    reading = readings.markets[market]
    live = replace(reading, mark=replace(reading.mark, price=price))
    return replace(readings, markets={**readings.markets, market: live})


def with_position(book: Book, identity: PositionId, held: object) -> Book:
    return replace(book, positions={**book.positions, identity: held})  # type: ignore[dict-item]


def is_weak(book: Book, readings: Readings, identity: PositionId) -> bool:
    found = health(book, readings, identity)
    return is_liquidatable(found.equity, found.maintenance)


@pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")
def test_cure__size__once_closed_outlasts_the_price() -> None:
    found = 0
    for seed in (61, 62, 63, 64, 67, 68):
        history = History(seed)
        for _ in range(6):
            history.step(30)
            book, readings = history.walk.book, history.walk.seen
            for identity, held in book.positions.items():
                _, market, _ = split_position_id(identity)
                price = readings.markets[market].mark.price
                at_price = PriceE18(price * (94 if held.long else 106) // 100)
                if not held.size or not margin_missing(book, readings, identity, at_price):
                    continue
                cure = cure_of(book, readings, identity, at_price)
                if cure.size is None:
                    continue
                after, _ = execute(book, readings, close_of(book, identity, cure.size))
                assert margin_missing(after, readings, identity, at_price) == 0
                found += 1
    assert found > 3


def test_outlook__default__knows_nothing() -> None:
    outlook = Outlook(otherwise=without_forecast(SETTINGS))
    assert outlook.farthest(MarketId(9)) == max(SETTINGS.distances) * SETTINGS.leave_distance_ratio


async def test_store__of_another_engine__is_apart(tmp_path: Path) -> None:
    async with b.database(f"sqlite:///{tmp_path}/w.sqlite") as database:
        mine, theirs = (NoticeStore(database, 1, "0x" + each * 20) for each in ("aa", "bb"))
        await mine.note([("k", 2, "t")], 5)
        assert await theirs.waiting() == []
        assert len(await mine.waiting()) == 1
