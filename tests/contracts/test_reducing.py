"""Reducing an isolated position: what is released, and that whoever reduces is not refused."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, example, given
from hypothesis import strategies as st

from contracts import book_trades
from contracts.book import Refused
from contracts.book_margin import is_safe, market_now, standing
from contracts.book_words import ISOLATED, MAX_SIZE, position_id
from contracts.margin import LONG, SHORT
from contracts.refusals import Refusal
from tests.contracts.books import ACCOUNTS, at_price, opened_book, readings, trade
from tests.contracts.fuzz_laws import NO_ORDER
from tests.contracts.margins import PROVEN, e18, usd

MINE = position_id(ACCOUNTS[0], 0, ISOLATED)
SIDES = st.sampled_from([LONG, SHORT])
# of 10x: 10 % of margin, 2 % of maintenance, so that 8 % against it is near the threshold
MOVES = st.integers(-20_000, 10_500)
PARTS = st.integers(1, 999)


def held(side, margin, move_e5):
    """A position of 10,000 USDC after its price went so far against it."""
    book, seen = trade(opened_book(), readings(), side, 10_000, margin=usd(margin))
    return book, at_price(seen, e18(100) - side * move_e5 * 10**15, 400)


def reduce(book, seen, size):
    """Take a size off the position at the mark, whatever it costs, the executor unpaid."""
    position = book.position(MINE)
    order = replace(
        NO_ORDER,
        account=ACCOUNTS[0],
        market=0,
        mode=ISOLATED,
        long=not position.long,
        size=size,
        acceptable_price=0 if position.long else MAX_SIZE,
    )
    return book_trades.execute(book, seen, order)


def outcome(book, seen, size):
    """Give the book after it and the fill, or why not."""
    try:
        return reduce(book, seen, size)
    except Refused as refused:
        return refused.refusal


@PROVEN
@given(SIDES, st.integers(1_015, 1_400), MOVES, PARTS)
@example(LONG, 1_015, 7_900, 300)
def test_reduction__of_a_healthy_position__is_refused_only_where_its_costs_weaken_it(
    side, margin, move_e5, permille
):
    book, seen = held(side, margin, move_e5)
    assume(is_safe(book, seen, MINE))
    own = standing(book, seen, MINE)
    size = own.position.size * permille // 1_000
    found = outcome(book, seen, size)
    if isinstance(found, Refusal):
        assert found is Refusal.WOULD_BE_LIQUIDATABLE
        rest = replace(own, position=replace(own.position, size=own.position.size - size))
        # Two units of profit: it is rounded down twice, for the part and for the rest.
        assert own.equity - costs_of(book, seen, size) - 2 < rest.maintenance
        return
    after, fill = found
    left = standing(after, seen, MINE)
    released = after.account(ACCOUNTS[0]).balance - book.account(ACCOUNTS[0]).balance
    assert released >= 0
    assert left.equity >= left.initial or released == 0
    assert left.equity + released + fill.costs.total <= own.equity
    assert released * own.position.size <= max(0, own.equity) * size


@PROVEN
@given(SIDES, st.integers(1_015, 1_400), MOVES, PARTS, st.integers(1, 99))
def test_reduction__split__releases_no_more_and_leaves_no_more(
    side, margin, move_e5, permille, percent
):
    book, seen = held(side, margin, move_e5)
    size = book.position(MINE).size * permille // 1_000
    first = size * percent // 100
    assume(first and size - first)
    try:
        whole, _ = reduce(book, seen, size)
        split, _ = reduce(reduce(book, seen, first)[0], seen, size - first)
    except Refused:
        return
    once, twice = (each.account(ACCOUNTS[0]).balance for each in (whole, split))
    kept = [standing(each, seen, MINE).equity for each in (whole, split)]
    # One unit of release, and one of profit, by rounding.
    assert twice <= once + 2
    assert twice + kept[1] <= once + kept[0]


@PROVEN
@given(SIDES, st.integers(8_005, 8_300), st.integers(200, 900))
def test_reduction__below_maintenance__that_restores_it_is_made(side, move_e5, permille):
    book, seen = held(side, 1_015, move_e5)
    assume(not is_safe(book, seen, MINE))
    size = book.position(MINE).size * permille // 1_000
    own = standing(book, seen, MINE)
    rest = replace(own, position=replace(own.position, size=own.position.size - size))
    assume(own.equity - costs_of(book, seen, size) - 2 >= rest.maintenance)
    after, _ = reduce(book, seen, size)
    assert is_safe(after, seen, MINE)
    left = standing(after, seen, MINE)
    released = after.account(ACCOUNTS[0]).balance - book.account(ACCOUNTS[0]).balance
    assert left.equity >= left.initial or released == 0


def costs_of(book, seen, size):
    """Give what a close of a size costs now."""
    now = market_now(book, seen, 0)
    widen_ppm = min(now.confidence_ppm, now.book.rules.penalty_min_ppm)
    side = book.position(MINE).side
    costs = book_trades.leg_costs(now, now.book.skew, -side, size, widen_ppm)
    return costs.total
