"""Facts about cascades: on the law's book, the pace that sets off least, and the same anywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import pytest

from agent.positions.cascade import (
    MOST_POSITIONS,
    SLOWEST,
    Cascade,
    Order,
    Plan,
    choose,
    chosen_again,
    encode_cascade,
    in_order,
    simulate,
    turn_of,
)
from agent.positions.watch import decide
from benchmarks.positions import Drawn, filled, readings_at
from contracts.book import Book
from contracts.book_readings import Readings
from contracts.book_words import ISOLATED, Account
from contracts.units import MarketId

E18 = 10**18
KEEPER = Account(1)
MARKET = MarketId(0)
PACE = 16
WEAK = 6


def drawn(number: int, spare: float, notional: float = 5_000.0) -> Drawn:
    return Drawn(
        account=(1 << 159) + number,
        market=0,
        mode=ISOLATED,
        long=True,
        notional_usdc=notional,
        leverage=10.0,
        spare=spare,
    )


@cache
def ladder(count: int = 40) -> tuple[Book, Readings]:
    """Longs of one market, each a little farther from liquidation than the one before."""
    prices = [100 * E18] * 50
    index = filled([drawn(n, 0.01 + 0.0005 * n) for n in range(count)], prices)
    book = replace(index.book(), markets={MARKET: index.market(MARKET)})
    for step in range(1, 2_000):
        prices[0] = 100 * E18 * (10_000 - step) // 10_000
        readings = readings_at(prices)
        if len(decide(book, readings, book.positions)) >= WEAK:
            return book, replace(readings, markets={MARKET: readings.markets[MARKET]})
    raise AssertionError("nobody falls")


def test_choose__a_deep_market__nothing_is_set_off_and_nobody_is_slowed() -> None:
    book, readings = ladder()
    found = choose(book, readings, {MARKET: 1e12}, KEEPER, PACE)
    assert found.plan == Plan(calls_a_turn=PACE)
    assert found.unpaced is not None
    assert found.unpaced.accounts == WEAK


def test_choose__a_thin_market__sets_off_no_more_than_without_pacing() -> None:
    book, readings = ladder()
    worse = 0
    for depth in (3e4, 6e4, 1e5, 2e5):
        found = choose(book, readings, {MARKET: depth}, KEEPER, PACE)
        assert found.paced is not None
        assert found.unpaced is not None
        assert found.paced.cost <= found.unpaced.cost
        worse += found.paced.notional_usdc < found.unpaced.notional_usdc
    assert worse  # somewhere pacing closes less


def test_simulate__a_thinner_market__never_closes_less() -> None:
    book, readings = ladder()
    closed = [
        simulate(book, readings, Plan(calls_a_turn=PACE), ({MARKET: d}, KEEPER), [10**6])
        for d in (1e12, 1e5, 3e4)
    ]
    assert [each.accounts for each in closed] == sorted(each.accounts for each in closed)
    assert closed[-1].accounts > closed[0].accounts
    assert closed[-1].lowest_ppm[str(MARKET)] > 0


@pytest.mark.parametrize(
    ("depths", "why"), [({}, "no forecast of its depth"), ({MARKET: 1e5}, "positions are near")]
)
def test_choose__cannot_be_simulated__is_the_slowest_and_says_so(
    depths: dict[MarketId, float], why: str
) -> None:
    book, readings = ladder()
    if depths:
        many = {k + (n << 40): p for n in range(8) for k, p in book.positions.items()}
        book = replace(book, positions=many)
        assert len(book.positions) > MOST_POSITIONS
    found = choose(book, readings, depths, KEEPER, PACE)
    assert (found.plan, found.paced) == (SLOWEST, None)
    assert why in found.why


def test_evidence__read_back__leads_to_the_same_choice() -> None:
    book, readings = ladder()
    depths = {MARKET: 5e4}
    found: Cascade = choose(book, readings, depths, KEEPER, PACE)
    written = json.loads(json.dumps(encode_cascade(found, book, readings, depths, (KEEPER, PACE))))
    again = json.loads(json.dumps(chosen_again(written)))
    assert again == written["cascade"]


def test_turn__beyond_two_thirds__never_waits() -> None:
    book, readings = ladder()
    prices = [100 * E18] * 50
    prices[0] = 85 * E18
    weak = list(decide(book, readings_at(prices), book.positions).items())
    lost = [i for i, e in weak if 3 * e.equity < 2 * e.maintenance]
    chosen = [identity for identity, _ in turn_of(weak, SLOWEST)]
    assert set(lost) <= set(chosen)
    assert len(chosen) <= len(lost) + 1
    for order in Order:
        ordered = [i in lost for i, _ in in_order(weak, order)]
        assert ordered == sorted(ordered, reverse=True)
    assert readings.now_s
