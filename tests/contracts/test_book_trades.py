"""Orders and closes on the book: what they cost, what they refuse, and who is spared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import (
    book_closing,
    book_desk,
    book_legs,
    book_liquidator,
    book_margin,
    book_money,
    book_views,
)
from contracts.book import Refused
from contracts.book_words import CROSS, ISOLATED, position_id
from contracts.margin import LONG, SHORT
from contracts.margin_sides import WHOLE_E27
from contracts.messages import ActionKind
from contracts.refusals import Refusal
from tests.contracts.books import (
    ACCOUNTS,
    KEEPER,
    RULES,
    action_for,
    at_price,
    opened_book,
    pool_worth,
    readings,
    terms,
    trade,
)
from tests.contracts.margins import PROVEN, e18, usd

MINE = position_id(ACCOUNTS[0], 0, ISOLATED)
CROSSED = position_id(ACCOUNTS[0], 0, CROSS)
SIDES = st.sampled_from([LONG, SHORT])
NOTIONALS = st.integers(20, 100_000)


def refusal(call, *args, **kwargs) -> Refusal:
    with pytest.raises(Refused) as caught:
        call(*args, **kwargs)
    return caught.value.refusal


def close(book, seen, identity, size):
    """Ask to close a part and execute it 3 s later."""
    worst = 1 if book.position(identity).long else 2**127
    book = book_money.deposit(book, identity >> 24, usd(1))
    book, request = book_desk.request_close(book, seen, identity, size, worst)
    seen = at_price(seen, seen.markets[0].mark.price)
    return book_desk.execute_request(book, seen, request, KEEPER), seen


@PROVEN
@given(SIDES, NOTIONALS, st.integers(-(10**21), 10**21), st.integers(1, 99), st.booleans())
def test_leg__split__is_never_cheaper(side, notional, skew, percent, opens):
    now = book_margin.market_now(opened_book(), readings(), 0)
    widen = now.confidence_ppm if opens else 0
    size = notional * 10**16
    first = size * percent // 100
    whole = book_legs.leg_costs(now, skew, side, size, widen)
    parts = [
        book_legs.leg_costs(now, skew, side, first, widen),
        book_legs.leg_costs(now, skew + side * first, side, size - first, widen),
    ]
    assert sum(each.total for each in parts) >= whole.total


@PROVEN
@given(SIDES, NOTIONALS)
def test_round_trip__at_one_price__pays_the_pool(side, notional):
    before, seen = opened_book(), readings()
    book, seen = trade(before, seen, side, notional)
    (after, fill), seen = close(book, seen, MINE, 2**119)
    assert fill.closed == book.position(MINE).size
    assert after.position(MINE).size == 0
    assert pool_worth(after, seen) > pool_worth(before, readings())


@PROVEN
@given(SIDES, NOTIONALS, st.integers(1, 100))
def test_liquidation__of_any_part__is_never_cheaper_than_a_close(side, notional, percent):
    book, seen = trade(opened_book(), readings(), side, notional)
    size = max(1, book.position(MINE).size * percent // 100)
    now = book_margin.market_now(book, seen, 0)
    widen = min(now.confidence_ppm, RULES.penalty_min_ppm)
    asked = book_legs.leg_costs(now, now.book.skew, -side, size, widen).total
    order = book_closing.Close(
        size=size,
        penalty_ppm=RULES.penalty_min_ppm,
        available=2**60,
        reward=RULES.reward,
        recipient=KEEPER,
    )
    _, taken = book_closing.liquidate(book, seen, MINE, order)
    assert taken.cost + taken.penalty >= asked
    assert taken.reward <= taken.penalty


def fallen(side, mode, percent):
    """A position after its price went so far against it, two rounds having agreed."""
    change = {"mode": mode, "margin": usd(1_100)}
    book, seen = trade(opened_book(), readings(), side, 10_000, **change)
    return book, at_price(seen, e18(100) - side * e18(percent), 400)


@PROVEN
@given(SIDES, st.sampled_from([ISOLATED, CROSS]), st.integers(900, 1_800))
def test_liquidation__any_fall__restores_or_closes_and_pays_at_most_the_penalty(side, mode, tenths):
    book, seen = fallen(side, mode, tenths / 100)
    identity = position_id(ACCOUNTS[0], 0, mode)
    found = book_margin.health(book, seen, identity)
    call = book_liquidator.liquidate_by_formula
    if found.equity >= found.maintenance:
        assert refusal(call, book, seen, identity, KEEPER) is Refusal.NOT_LIQUIDATABLE
        return
    after, size = call(book, seen, identity, KEEPER)
    left = book_margin.health(after, seen, identity)
    whole = size == found.standing.position.size
    assert whole or 2 * left.equity >= 3 * left.maintenance
    if 3 * found.equity < 2 * found.maintenance:
        assert whole
    earned = after.account(KEEPER).balance - book.account(KEEPER).balance
    assert earned <= RULES.reward
    assert after.position(identity).version == book.position(identity).version + 1


def test_liquidation__far_price__is_noted_then_confirmed_by_another_round():
    book, seen = fallen(LONG, ISOLATED, 10)
    far = at_price(seen, e18(90), average=e18(100))
    noted, size = book_liquidator.liquidate_by_formula(book, far, MINE, KEEPER)
    assert size == 0
    assert noted.pace(0).note_s == far.now_s
    soon = at_price(far, e18(90), 1, average=e18(100))
    call = book_liquidator.liquidate_by_formula
    assert refusal(call, noted, soon, MINE, KEEPER) is Refusal.AWAITING_SECOND_ROUND
    later = at_price(far, e18(90), 3, average=e18(100))
    assert call(noted, later, MINE, KEEPER)[1] > 0


def test_liquidation__at_the_price_it_was_made_at__refuses():
    book, seen = trade(opened_book(), readings(), LONG, 10_000)
    call = book_liquidator.liquidate_by_formula
    assert refusal(call, book, seen, MINE, KEEPER) is Refusal.PRICE_BEFORE_POSITION


def test_liquidation__after_a_gap__waits_five_minutes_but_not_below_two_thirds():
    call = book_liquidator.liquidate_by_formula
    for percent, is_backstop in ((9.2, False), (10.2, True)):
        book, seen = fallen(LONG, ISOLATED, percent)
        reading = replace(seen.markets[0], price_resumed_at_s=seen.now_s - 299)
        seen = replace(seen, markets={**seen.markets, 0: reading})
        if is_backstop:
            assert call(book, seen, MINE, KEEPER)[1] == book.position(MINE).size
        else:
            assert refusal(call, book, seen, MINE, KEEPER) is Refusal.GRACE_RUNNING


def test_liquidation__of_an_isolated_position__spares_the_cross_account_beside_it():
    book, seen = trade(opened_book(), readings(), SHORT, 5_000, mode=CROSS, margin=usd(5_000))
    book, seen = trade(book, seen, LONG, 10_000)
    seen = at_price(seen, e18(85), 400)
    after, _ = book_liquidator.liquidate_by_formula(book, seen, MINE, KEEPER)
    assert after.position(MINE).size == 0
    assert after.account(ACCOUNTS[0]) == book.account(ACCOUNTS[0])
    assert after.position(CROSSED) == book.position(CROSSED)


def test_cross__largest_maintenance__goes_first():
    book, seen = trade(opened_book(), readings(), LONG, 10_000, mode=CROSS, margin=usd(1_300))
    book, seen = trade(book, seen, LONG, 2_000, mode=CROSS, margin=usd(100), market=1)
    seen = at_price(seen, e18(90), 400)
    small = position_id(ACCOUNTS[0], 1, CROSS)
    call = book_liquidator.liquidate_by_formula
    assert refusal(call, book, seen, small, KEEPER) is Refusal.NOT_THE_LARGEST
    assert call(book, seen, CROSSED, KEEPER)[1] > 0


def test_cross__stale_dust_market__shields_nothing_and_gains_nothing():
    book, seen = trade(opened_book(), readings(), LONG, 10_000, mode=CROSS, margin=usd(1_200))
    book, seen = trade(book, seen, SHORT, 20, mode=CROSS, margin=usd(10), market=1)
    fresh = at_price(seen, e18(88), 400)
    stale = replace(seen.markets[1], mark=replace(fresh.markets[1].mark, fresh=False))
    seen = replace(fresh, markets={**fresh.markets, 1: stale})
    with_profit = book_margin.cross_margin(book, fresh, ACCOUNTS[0])
    without = book_margin.cross_margin(book, seen, ACCOUNTS[0])
    assert without.equity < with_profit.equity
    assert book_liquidator.liquidate_by_formula(book, seen, CROSSED, KEEPER)[1] > 0


@PROVEN
@given(st.integers(110, 160), st.integers(1, 60))
def test_cut__any__is_pro_rata_and_never_above_the_excess(price, percent):
    book, seen = trade(opened_book(usd(100_000)), readings(), LONG, 20_000)
    other = {"account": ACCOUNTS[1]}
    book, seen = trade(book, seen, LONG, 100 * percent, **other)
    seen = at_price(seen, e18(price), 400)
    after, payout = book_liquidator.deleverage_side(book, seen, 0, LONG)
    kept = after.markets[0].long.cuts[-1].keep_e27
    for account in ACCOUNTS[:2]:
        identity = position_id(account, 0, ISOLATED)
        before = book_margin.standing(book, seen, identity)
        now = book_margin.standing(after, seen, identity)
        assert now.position.size == before.position.size * kept // WHOLE_E27
        assert abs(now.equity - before.equity) <= 3
        caught_up = book_closing.catch_up(after, identity)
        assert book_margin.standing(caught_up, seen, identity) == replace(
            now, now=replace(now.now, book=caught_up.markets[0])
        )
    left = book_views.profit_at(book_margin.market_now(after, seen, 0), LONG, e18(price))
    share = after.pool.assets * RULES.cut_share_ppm // 10**6
    assert left >= share - usd(1)
    assert after.pool.assets == book.pool.assets - payout


def test_adjust__in_its_block__changes_no_ratio_and_then_ramps():
    book, seen = trade(opened_book(), readings(), LONG, 10_000)
    before = book_margin.standing(book, seen, MINE).ratio_ppm
    action = action_for(book, MINE, ActionKind.ADJUST, 0, maintenance_ppm=90_000)
    after, target = book_liquidator.adjust(book, seen, action)
    assert target == 40_000  # its ceiling
    assert book_margin.standing(after, seen, MINE).ratio_ppm == before
    half = replace(seen, now_s=seen.now_s + 150)
    assert book_margin.standing(after, half, MINE).ratio_ppm == (before + target) // 2
    stopped = replace(half, epoch_ended_s={0: seen.now_s + 30})
    assert book_margin.standing(after, stopped, MINE).ratio_ppm == before + (target - before) // 10
    call = book_liquidator.adjust
    assert refusal(call, after, seen, action) is Refusal.ACTION_VOID


def test_deleverage__below_the_margin_at_its_ceiling__restores_it_without_penalty():
    book, seen = fallen(LONG, ISOLATED, 8)
    action = action_for(book, MINE, ActionKind.DELEVERAGE, 0)
    after, size = book_liquidator.deleverage(book, seen, action, KEEPER)
    assert 0 < size < book.position(MINE).size
    left = book_margin.standing(after, seen, MINE)
    asked = left.position.size * left.now.price * 40_000 // 10**36
    assert left.equity >= asked
    assert after.account(KEEPER) == book.account(KEEPER)
    assert after.pool.insurance == book.pool.insurance


def test_order__against_a_position__closes_it_and_opens_the_rest():
    book, seen = trade(opened_book(), readings(), LONG, 1_000)
    flipped, seen = trade(book, seen, SHORT, 3_000)
    position = flipped.position(MINE)
    assert (position.long, position.size) == (False, 20 * 10**18)
    assert flipped.markets[0].long.size == 0
    assert flipped.markets[0].long.basis_sum == 0
    assert position.version == book.position(MINE).version + 1


def test_cross__flip__keeps_its_place_in_the_list():
    change = {"mode": CROSS, "margin": usd(1_000)}
    book, seen = trade(opened_book(), readings(), LONG, 1_000, **change)
    book, seen = trade(book, seen, LONG, 1_000, market=1, **change)
    book, seen = trade(book, seen, SHORT, 3_000, **change)
    assert book.account(ACCOUNTS[0]).markets == (0, 1)
    (book, _), seen = close(book, seen, CROSSED, 2**119)
    assert book.account(ACCOUNTS[0]).markets == (1,)


def test_reduction__of_a_part__leaves_the_minimum_or_nothing():
    book, seen = trade(opened_book(), readings(), LONG, 20)
    size = book.position(MINE).size
    assert refusal(close, book, seen, MINE, size * 3 // 5) is Refusal.BELOW_MINIMUM_SIZE
    assert close(book, seen, MINE, size // 2)[0][0].position(MINE).size == size - size // 2


def test_close__of_more_than_its_margin__refuses():
    book, seen = fallen(LONG, ISOLATED, 12)
    assert refusal(close, book, seen, MINE, 2**119) is Refusal.LOSS_EXCEEDS_MARGIN


def test_close__price_not_accepted__refuses():
    book, seen = trade(opened_book(), readings(), LONG, 1_000)
    book = book_money.deposit(book, ACCOUNTS[0], usd(1))
    book, request = book_desk.request_close(book, seen, MINE, 2**119, e18(100))
    seen = at_price(seen, e18(100))
    call = book_desk.execute_request
    assert refusal(call, book, seen, request, KEEPER) is Refusal.PRICE_NOT_ACCEPTABLE


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"permissions": 30}, Refusal.OPENING_PAUSED),
        ({"halted": True}, Refusal.PRICE_NOT_READY),
        ({"cap_e2": 2_000}, Refusal.MAINTENANCE_TOO_LOW),
        ({"size_scale_usdc": 100}, Refusal.LEVERAGE_ABOVE_CAP),
        ({"open_interest_cap_usdc": 999}, Refusal.OPEN_INTEREST_FULL),
    ],
)
def test_opening__what_the_market_does_not_allow__refuses(changes, expected):
    seen = readings(**changes)
    leverage = {"leverage_e2": 2_500}
    assert refusal(trade, opened_book(), seen, LONG, 1_000, **leverage) is expected


def test_opening__beyond_the_pool_s_shares__refuses():
    small = opened_book(usd(1_000))
    assert refusal(trade, small, readings(), LONG, 600) is Refusal.OPEN_INTEREST_FULL
    assert refusal(trade, small, readings(), LONG, 400) is Refusal.SKEW_FULL


def test_opening__without_initial_margin__refuses():
    for mode in (ISOLATED, CROSS):
        change = {"margin": usd(99), "mode": mode}
        assert refusal(trade, opened_book(), readings(), LONG, 1_000, **change) is (
            Refusal.MARGIN_SHORT
        )


def test_cross__profit_not_realised__carries_new_positions_by_its_share():
    change = {"mode": CROSS, "margin": usd(110)}
    book, seen = trade(opened_book(), readings(), LONG, 1_000, **change)
    seen = at_price(seen, e18(140))
    more = {"mode": CROSS, "margin": 0, "market": 1}
    grown, _ = trade(book, seen, LONG, 1_500, **more)
    assert grown.position(position_id(ACCOUNTS[0], 1, CROSS)).size > 0
    assert refusal(trade, book, seen, LONG, 3_000, **more) is Refusal.MARGIN_SHORT


def test_terms__used_once__are_used_up():
    book = book_money.deposit(opened_book(), ACCOUNTS[0], usd(1_000))
    wish = book_desk.Wish(size=e18(1), leverage_e2=1_000, acceptable_price=e18(200), margin=usd(50))
    asked = terms(ACCOUNTS[0], 0, 1)
    book, _ = book_desk.request_open(book, readings(), ACCOUNTS[0], asked, wish)
    later = readings(now_s=readings().now_s + 1)
    call = book_desk.request_open
    assert refusal(call, book, later, ACCOUNTS[0], asked, wish) is Refusal.TERMS_USED
    assert refusal(call, book, later, ACCOUNTS[1], asked, wish) is Refusal.TERMS_OF_ANOTHER


def test_request__never_executed__gives_its_margin_back_and_loses_its_fee():
    start = book_money.deposit(opened_book(), ACCOUNTS[0], usd(100))
    wish = book_desk.Wish(size=e18(1), leverage_e2=1_000, acceptable_price=e18(200), margin=usd(50))
    seen = readings()
    book, request = book_desk.request_open(start, seen, ACCOUNTS[0], terms(ACCOUNTS[0], 0, 1), wish)
    early, late = at_price(seen, e18(100), 17), at_price(seen, e18(100), 18)
    assert refusal(book_desk.cancel, book, early, request) is Refusal.OUTSIDE_WINDOW
    call = book_desk.execute_request
    assert refusal(call, book, late, request, KEEPER) is Refusal.OUTSIDE_WINDOW
    assert refusal(call, book, seen, request, KEEPER) is Refusal.PRICE_OUTSIDE_WINDOW
    after = book_desk.cancel(book, late, request)
    assert after.account(ACCOUNTS[0]).balance == usd(100) - RULES.execution_fee
    assert after.pool.insurance == start.pool.insurance + RULES.execution_fee
    assert refusal(book_desk.cancel, after, late, request) is Refusal.NOT_REQUESTED


@PROVEN
@given(SIDES, st.sampled_from([ISOLATED, CROSS]), NOTIONALS)
def test_liquidation_price__of_a_position__is_the_first_that_liquidates(side, mode, notional):
    change = {"mode": mode, "margin": usd(notional) // 8 + usd(2)}
    book, seen = trade(opened_book(), readings(), side, notional, **change)
    book, seen = trade(book, seen, -side, 20, mode=mode, market=1, margin=usd(4))
    identity = position_id(ACCOUNTS[0], 0, mode)
    price = book_views.position_liquidation_price(book, seen, identity)
    assert price is not None
    for at, expected in ((price, True), (price + side, False)):
        reading = replace(seen.markets[0], mark=replace(seen.markets[0].mark, price=at))
        moved = replace(seen, markets={**seen.markets, 0: reading})
        found = book_margin.health(book, moved, identity)
        assert (found.equity < found.maintenance) is expected


def test_exposure__of_open_positions__is_widened_both_ways_and_needs_known_prices():
    book, seen = trade(opened_book(), readings(), LONG, 10_000)
    seen = at_price(seen, e18(110))
    since_ms = seen.now_s * 1_000
    found = book_views.exposure(book, seen, since_ms)
    plain = book_views.exposure_at_last_prices(book, seen)[1]
    assert found.profit_low < plain < found.profit_high
    assert found.reserve >= found.profit_high + usd(110)
    late = refusal(book_views.exposure, book, seen, since_ms + 1)
    assert late is Refusal.EXPOSURE_UNKNOWN


def test_rules__incoherent__are_refused():
    book, seen = opened_book(), readings()
    for bad in (
        {"penalty_max_ppm": 9_500},  # with the fee above the floor of maintenance
        {"penalty_min_ppm": 1_000},  # would not pay the reward
        {"penalty_min_ppm": 6_000},  # above the maximum
        {"min_notional_usdc": 0},
        {"liquidation_age_s": 0},
        {"execution_fee": 9_999},  # who executes would be paid for nothing
    ):
        rules = replace(RULES, **bad)
        assert refusal(book_closing.set_rules, book, seen, 0, rules) is Refusal.RULES_INVALID
    kept = book_closing.set_rules(book, seen, 0, replace(RULES, fee_ppm=1))
    assert kept.markets[0].rules.fee_ppm == 1
    assert refusal(book_closing.set_rules, book, seen, 256, RULES) is Refusal.TOO_MANY_MARKETS


def test_settlement__of_a_live_market__refuses():
    book, seen = opened_book(), readings()
    call = book_closing.begin_settlement
    assert refusal(call, book, seen, 0) is Refusal.PRICE_STILL_YOUNG
    assert refusal(book_closing.settle, book, seen, MINE) is Refusal.NO_POSITION
    held, _ = trade(book, seen, LONG, 100)
    assert refusal(book_closing.settle, held, seen, MINE) is Refusal.NOT_SETTLED
    settled = call(book, replace(seen, now_s=seen.now_s + 86_400), 0)
    assert refusal(call, settled, seen, 0) is Refusal.MARKET_SETTLED
    assert refusal(trade, settled, seen, LONG, 100) is Refusal.MARKET_SETTLED
