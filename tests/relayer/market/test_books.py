"""A book from changes: right or silent, whatever is lost on the way; and what is read off it."""

from __future__ import annotations

import csv
import itertools
import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayer.market.books import (
    Applied,
    BookChange,
    BookState,
    LiveBook,
    Resiliency,
    imbalance_ppm,
    slippage_ladder,
)
from relayer.market.depth import depth_within
from relayer.market.values import E18, Book, BookLevel, Listing, MarketDataError
from tests.relayer.market.builders import MARKET, NOW_MS

LISTING = Listing(venue="a", symbol="BTC/USD:USD", quote_currency="USD")
RECORDED = (
    Path(__file__).resolve().parents[4] / "shared/data/bitstamp-lob-events-2015/orders.csv.xz"
)
SATOSHI_E18 = E18 // 10**8

Side = dict[int, int]


def _book(bids: Side, asks: Side) -> LiveBook:
    made = LiveBook(LISTING, MARKET)
    made.load(_whole(bids, asks, 0))
    return made


def _whole(bids: Side, asks: Side, sequence: int | None) -> BookChange:
    return BookChange(
        bids=tuple(bids.items()), asks=tuple(asks.items()), sequence=sequence, at_ms=NOW_MS
    )


def _value(bids: Side, asks: Side) -> Book:
    found = _book(
        {p * E18: s * E18 for p, s in bids.items()}, {p * E18: s * E18 for p, s in asks.items()}
    ).book()
    assert found is not None
    return found


def test_apply__before_any_snapshot__ignored() -> None:
    made = LiveBook(LISTING, MARKET)
    assert made.apply(BookChange(bids=((1, 1),))) is Applied.IGNORED
    assert made.book() is None


def test_apply__next_in_order__taken() -> None:
    made = _book({100: 1}, {101: 1})
    assert made.apply(BookChange(bids=((100, 0), (99, 5)), sequence=1, follows=0)) is Applied.TAKEN
    assert made.best() == (99, 101)


def test_apply__one_missing__gap_until_the_next_snapshot() -> None:
    made = _book({100: 1}, {101: 1})
    assert made.apply(BookChange(sequence=3, follows=2)) is Applied.GAP
    assert made.state is BookState.GAP
    assert made.book() is None
    assert made.apply(BookChange(sequence=4, follows=3)) is Applied.IGNORED
    assert made.load(_whole({90: 1}, {91: 1}, 10)) is Applied.TAKEN
    assert made.best() == (90, 91)


def test_apply__seen_already__left_out() -> None:
    made = _book({100: 1}, {101: 1})
    made.apply(BookChange(bids=((100, 7),), sequence=1, follows=0))
    assert made.apply(BookChange(bids=((100, 3),), sequence=1, follows=0)) is Applied.OLD
    found = made.book()
    assert found is not None
    assert found.bids[0].size_e18 == 7


def test_apply__overlaps_the_snapshot__taken() -> None:
    """The first change after a snapshot may begin before it, as on Binance."""
    made = LiveBook(LISTING, MARKET)
    made.load(_whole({100: 1}, {101: 1}, 50))
    change = BookChange(bids=((100, 2),), sequence=55, follows=45)
    assert made.apply(change) is Applied.TAKEN


def test_apply__venue_starts_its_numbers_anew__follows_on() -> None:
    """OKX's numbers restart after maintenance; what names its predecessor is in order."""
    made = LiveBook(LISTING, MARKET)
    made.load(_whole({100: 1}, {101: 1}, 5_000))
    assert made.apply(BookChange(bids=((100, 2),), sequence=3, follows=5_000)) is Applied.TAKEN
    assert made.apply(BookChange(bids=((100, 4),), sequence=4, follows=3)) is Applied.TAKEN


def test_apply__crosses__nothing_to_be_read() -> None:
    made = _book({100: 1}, {101: 1})
    assert made.apply(BookChange(bids=((102, 1),))) is Applied.CROSSED
    assert made.book() is None
    assert made.needs_snapshot


@pytest.mark.parametrize("level", [(-1, 1), (0, 1), (1, -1)])
def test_load__negative__refused(level: tuple[int, int]) -> None:
    with pytest.raises(MarketDataError):
        LiveBook(LISTING, MARKET).load(BookChange(bids=(level,)))


PRICES = st.integers(1, 40)
SIZES = st.integers(0, 5)
BIDS = st.dictionaries(st.integers(1, 20), st.integers(1, 5), min_size=1)
ASKS = st.dictionaries(st.integers(21, 40), st.integers(1, 5), min_size=1)
CHANGES = st.lists(st.tuples(st.booleans(), PRICES, SIZES), max_size=40)


@given(BIDS, ASKS, CHANGES)
def test_apply__any_changes__as_a_table_would_have_it(
    bids: Side, asks: Side, changes: list[tuple[bool, int, int]]
) -> None:
    made = _book(bids, asks)
    for number, (is_bid, price, size) in enumerate(changes, 1):
        side = bids if is_bid else asks
        side[price] = size
        level = ((price, size),)
        change = BookChange(
            bids=level if is_bid else (),
            asks=() if is_bid else level,
            sequence=number,
            follows=number - 1,
        )
        became = made.apply(change)
        live_bids = sorted(p for p, s in bids.items() if s)
        live_asks = sorted(p for p, s in asks.items() if s)
        if live_bids and live_asks and live_bids[-1] > live_asks[0]:
            assert became is Applied.CROSSED
            return
        found = made.book()
        if live_bids and live_asks:
            assert found is not None
            assert [(x.price_e18, x.size_e18) for x in found.bids] == [
                (p, bids[p]) for p in reversed(live_bids)
            ]
            assert [(x.price_e18, x.size_e18) for x in found.asks] == [
                (p, asks[p]) for p in live_asks
            ]
        else:
            assert found is None


@given(BIDS, ASKS, CHANGES, st.sets(st.integers(0, 39), min_size=1))
def test_apply__changes_lost__never_a_wrong_book(
    bids: Side, asks: Side, changes: list[tuple[bool, int, int]], lost: set[int]
) -> None:
    """After anything is lost the book says nothing; before that it says what a table says."""
    made = _book(bids, asks)
    for number, (is_bid, price, size) in enumerate(changes):
        if number in lost:
            continue
        level = ((price, size),)
        made.apply(
            BookChange(
                bids=level if is_bid else (),
                asks=() if is_bid else level,
                sequence=number + 1,
                follows=number,
            )
        )
        if any(earlier < number for earlier in lost):
            assert made.book() is None


def test_slippage__within_the_first_level__the_half_spread() -> None:
    found = slippage_ladder(_value({99: 1_000}, {101: 1_000}), values=(1_000,))[0]
    assert (found.buy_ppm, found.sell_ppm) == (10_000, 10_000)


def test_slippage__two_levels__their_average() -> None:
    found = slippage_ladder(_value({99: 10}, {101: 10, 111: 10}), values=(2_120,))[0]
    assert found.buy_ppm == 60_000  # 20 units for 2,120: 106 each
    assert found.sell_ppm is None


@given(BIDS, ASKS)
def test_slippage__larger_value__never_cheaper(bids: Side, asks: Side) -> None:
    rungs = slippage_ladder(_value(bids, asks), values=(1, 5, 20, 80))
    for known in ([r.buy_ppm for r in rungs], [r.sell_ppm for r in rungs]):
        given_ = [each for each in known if each is not None]
        assert given_ == sorted(given_)
        assert known[: len(given_)] == given_  # none beyond what the book holds


def test_imbalance__only_one_side_near__all_of_it() -> None:
    assert imbalance_ppm(_value({1_000: 5}, {1_001: 5}), band_bp=10) == pytest.approx(0, abs=600)
    assert imbalance_ppm(_value({1_000: 15}, {1_001: 5}), band_bp=10) == pytest.approx(
        500_000, abs=600
    )


@given(BIDS, ASKS, st.integers(1, 10_000))
def test_imbalance__any_book__between_minus_one_and_one(bids: Side, asks: Side, band: int) -> None:
    assert -1_000_000 <= imbalance_ppm(_value(bids, asks), band) <= 1_000_000


def test_resiliency__depth_comes_back__half_life() -> None:
    seen = Resiliency()
    for second in range(10):
        seen.observe(second * 1_000, 100.0)
    assert seen.half_life_ms is None
    seen.observe(10_000, 40.0)
    seen.observe(11_000, 60.0)
    seen.observe(13_000, 80.0)
    assert (seen.half_life_ms, seen.shocks) == (3_000, 1)


def test_resiliency__small_fall__no_shock() -> None:
    seen = Resiliency()
    for second, depth in enumerate((100.0, 90.0, 100.0, 80.0, 100.0)):
        seen.observe(second * 1_000, depth)
    assert seen.shocks == 0


# --- recorded orders ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def orders() -> list[dict[str, str]]:
    if not RECORDED.exists():
        pytest.skip("no recorded orders: ../shared/data/bitstamp-lob-events-2015 is absent")
    with lzma.open(RECORDED, "rt") as file:
        return list(csv.DictReader(file))


class _Orders:
    """Every resting order of a recording, and the levels they add up to: the slow, plain way.

    An order that crosses when it comes trades before it rests: it is no part of the book until a
    later event leaves it on its own side.
    """

    def __init__(self) -> None:
        self.live: dict[str, tuple[bool, int, int]] = {}

    def take(self, row: dict[str, str], best: tuple[int, int] | None) -> tuple[bool, Side]:
        """Take one event; gives the levels that it leaves behind: an order may change its price."""
        is_bid = row["direction"] == "bid"
        price = round(float(row["price"]) * 100) * (E18 // 100)
        volume = int(float(row["volume"])) * SATOSHI_E18
        before = self.live.pop(row["id"], None)
        crosses = best is not None and (price >= best[1] if is_bid else price <= best[0])
        if row["action"] != "deleted" and volume > 0 and (before is not None or not crosses):
            self.live[row["id"]] = is_bid, price, volume
        touched = {price} if before is None else {price, before[1]}
        return is_bid, {each: self.level(is_bid, each) for each in touched}

    def level(self, is_bid: bool, price: int) -> int:
        return sum(v for b, p, v in self.live.values() if b is is_bid and p == price)

    def uncross(self) -> None:
        """Drop the bids that stand above the best ask: their end was not recorded."""
        best_ask = min(self.side(False))
        self.live = {
            order: each for order, each in self.live.items() if not each[0] or each[1] < best_ask
        }

    def side(self, is_bid: bool) -> Side:
        levels: Side = {}
        for bid, price, volume in self.live.values():
            if bid is is_bid:
                levels[price] = levels.get(price, 0) + volume
        return levels


def test_recorded_orders__event_by_event__the_levels_they_add_up_to(
    orders: list[dict[str, str]],
) -> None:
    """Where the recording itself crosses, the book says nothing until it is given whole again."""
    known, made = _Orders(), LiveBook(LISTING, MARKET)
    made.load(BookChange(sequence=0))
    crossed = compared = 0
    for number, row in enumerate(orders, 1):
        is_bid, touched = known.take(row, made.best())
        level = tuple(touched.items())
        became = made.apply(
            BookChange(
                bids=level if is_bid else (),
                asks=() if is_bid else level,
                sequence=number,
                follows=number - 1,
                at_ms=int(row["timestamp"]),
            )
        )
        if became is Applied.CROSSED:
            crossed += 1
            assert made.book() is None
            known.uncross()
            made.load(_whole(known.side(True), known.side(False), number))
        elif number % 200 == 0:
            compared += 1
            found = made.book()
            assert found is not None
            assert {x.price_e18: x.size_e18 for x in found.bids} == known.side(True)
            assert {x.price_e18: x.size_e18 for x in found.asks} == known.side(False)
    assert compared > 50
    assert crossed < 60


def test_recorded_orders__features__sound(orders: list[dict[str, str]]) -> None:
    known = _Orders()
    for row in orders[:20_000]:
        known.take(row, None)
    known.uncross()
    bids, asks = known.side(True), known.side(False)
    found = _book(bids, asks).book()
    assert found is not None
    deep_bids, deep_asks = depth_within(found)
    for bands in (deep_bids, deep_asks):
        assert all(near <= far for near, far in itertools.pairwise(bands))
        assert bands[3] > 0
    rungs = slippage_ladder(found, values=(100, 1_000, 10_000))
    spreads = [rung.buy_ppm for rung in rungs if rung.buy_ppm is not None]
    assert spreads
    assert spreads == sorted(spreads)


def test_level__nothing_rests_at_it__not_in_the_book() -> None:
    assert BookLevel(price_e18=1, size_e18=0).size_e18 == 0
    found = _book({100: 0, 99: 1}, {101: 1}).book()
    assert found is not None
    assert [level.price_e18 for level in found.bids] == [99]
