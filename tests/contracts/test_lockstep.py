"""The margin contracts do what the book model does, call by call and word by word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.book_words import CROSS, position_id
from contracts.margin import LONG, SHORT
from contracts.messages import ActionKind, Adjustment, MarginMode
from contracts.pool import Tranche
from contracts.refusals import Refusal
from tests.contracts.fuzz import Walk
from tests.contracts.lockstep_stage import ALICE, BOB, CALLER, CAROL, DAVE, USDC, Stage
from tests.contracts.margin_world import KEEPER, LP, MARKET_RULES

E18 = 10**18
CROSS_MODE = {"margin_mode": MarginMode.CROSS}
MANAGED = {"adjustment": Adjustment.MANAGED}


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_lockstep__deposit_open_close_withdraw__are_equal(stage: Stage) -> None:
    for mode in MarginMode:
        for side in (LONG, SHORT):
            terms = stage.terms(ALICE, 0, side, margin_mode=mode)
            identity = stage.opened(terms, 20_000)
            stage.move(0, 2_000 * E18 * (100 + side) // 100)
            assert stage.closed(identity, stage.book.position(identity).size // 3) is None
            assert stage.closed(identity) is None
            assert stage.withdraw(ALICE, stage.book.account(ALICE).balance) is None
    stage.compare_all()


def test_lockstep__flip_in_both_modes__is_equal(stage: Stage) -> None:
    for mode in MarginMode:
        identity = stage.opened(stage.terms(ALICE, 2, LONG, margin_mode=mode), 20_000)
        stage.opened(stage.terms(ALICE, 2, SHORT, margin_mode=mode), 50_000)
        assert not stage.book.position(identity).long
        stage.opened(stage.terms(ALICE, 2, LONG, margin_mode=mode), 10_000, margin=USDC)
        assert stage.closed(identity) is None
    stage.compare_all()


def test_lockstep__price_stamped_after_the_window__is_refused_though_the_block_is_in_it(
    stage: Stage,
) -> None:
    assert stage.ask(stage.terms(ALICE, 0, LONG), 1_000) is None
    stage.wait(17)
    stage.post(age_ms=-1_500)
    (request,) = stage.book.requests
    assert stage.execute(request, CALLER) is Refusal.PRICE_OUTSIDE_WINDOW


def test_lockstep__eleventh_cross_market__is_refused_and_the_largest_goes_first(
    stage: Stage,
) -> None:
    for market in range(3, 11):
        stage.open_market(market, 7 * E18, 1 << 20, MARKET_RULES)
        stage.refresh()
    stage.deposit(ALICE, 3_000 * USDC)
    for market in range(10):
        stage.opened(stage.terms(ALICE, market, LONG, **CROSS_MODE), 1_000 + 200 * market)
    assert stage.ask(stage.terms(ALICE, 10, LONG, **CROSS_MODE), 1_000) is None
    assert stage.fill() is Refusal.TOO_MANY_POSITIONS
    stage.wait(121)
    fallen = {market: price * 6 // 10 for market, price in stage.world.prices.items()}
    stage.post(fallen)
    stage.rest()
    smallest = position_id(ALICE, 0, CROSS)
    assert stage.liquidate(smallest, CALLER) is Refusal.NOT_THE_LARGEST
    while stage.book.account(ALICE).markets:
        sizes = stage.book.account(ALICE).markets
        order = [each for each in sizes if stage.liquidate_largest(ALICE, each)]
        assert len(order) == len(sizes), "somebody larger was in the way for ever"
    stage.compare_all()


def test_lockstep__pool_that_cannot_pay__refuses_and_side_is_cut_again_and_again(
    stage: Stage,
) -> None:
    held = [
        stage.opened(stage.terms(who, 1, LONG, margin_mode=mode), worth, leverage_e2=400)
        for who, mode, worth in (
            (ALICE, MarginMode.CROSS, 240_000),
            (BOB, MarginMode.ISOLATED, 120_000),
        )
    ]
    loser = stage.opened(stage.terms(CAROL, 1, SHORT), 20_000, leverage_e2=200)
    stage.move(1, 6 * E18)
    stage.rest()
    assert stage.closed(held[0]) is Refusal.POOL_EXHAUSTED
    stage.wait(20)
    (request,) = stage.book.requests
    assert stage.cancel(request) is None
    stage.rest()
    assert stage.deleverage_side(1, LONG) is None  # far from its average: noted
    stage.later()
    assert stage.deleverage_side(1, LONG) is None
    assert stage.ask(stage.terms(DAVE, 1, SHORT), 20_000) is None
    assert stage.fill() is Refusal.OPEN_INTEREST_FULL
    assert stage.catch_up(held[1]) is None
    assert stage.confirmed(loser) is None
    assert stage.request_deposit(LP, Tranche.POOL, 4_000_000 * USDC) is None
    stage.wait(3_600)
    stage.refresh()
    assert stage.execute_deposit(stage.request_count) is Refusal.POOL_UNDER_WATER
    stage.move(1, E18 * 55 // 100)
    assert stage.execute_deposit(stage.request_count) is None
    for times in (9, 4, 20):
        stage.refresh()
        stage.move(1, times * E18)
        for _ in range(2):
            assert stage.deleverage_side(1, LONG) in {None, Refusal.NOTHING_TO_DELEVERAGE}
            stage.later()
        stage.compare_all()
    assert stage.book.markets[1].long.number >= 3
    stage.move(1, E18)
    for identity in held:
        assert stage.closed(identity) is None
    assert stage.withdraw(ALICE, stage.book.account(ALICE).balance) is None
    stage.compare_all()


def test_lockstep__window_of_a_small_market__is_used_up(stage: Stage) -> None:
    stage.open_market(3, 7 * E18, 4_096, MARKET_RULES)
    stage.refresh()
    held = []
    for who in (ALICE, BOB, CAROL, DAVE):
        for mode in MarginMode:
            terms = stage.terms(who, 3, LONG, margin_mode=mode, maintenance_ppm=100_000)
            held.append(stage.opened(replace(terms, max_leverage_e2=400), 1_000, leverage_e2=400))
    stage.move(3, 7 * E18 * 81 // 100)
    stage.rest()
    outcomes = {stage.confirmed(identity) for identity in held}
    assert {None, Refusal.WINDOW_USED_UP} <= outcomes
    stage.wait(61)
    stage.post()
    assert None in {stage.confirmed(identity) for identity in held}
    stage.compare_all()


def test_lockstep__adjusted_then_deleveraged__is_equal(stage: Stage) -> None:
    held = [
        stage.opened(stage.terms(who, 0, LONG, margin_mode=mode, **MANAGED), 20_000, margin=m)
        for who, mode, m in (
            (ALICE, MarginMode.ISOLATED, 4_150 * USDC),
            (BOB, MarginMode.CROSS, 4_150 * USDC),
        )
    ]
    stage.move(0, 2_000 * E18 * 860 // 1_000)
    stage.rest()
    for identity in held:
        adjusted = stage.action(identity, ActionKind.ADJUST)
        assert stage.act("adjust", adjusted, CALLER) is None
        assert stage.act("adjust", adjusted, CALLER) is Refusal.ACTION_VOID
    stage.guard("pause", 2, 700)
    for _ in range(4):
        stage.wait(1_000)
        stage.control("resume", 2)
        stage.refresh()
    stage.compare_all()
    for identity in held:
        action = stage.action(identity, ActionKind.DELEVERAGE)
        stage.later()
        assert stage.act("deleverage", action, CALLER) is None
        assert stage.book.position(identity).size > 0
    stage.compare_all()


def test_lockstep__settled_market__pays_everybody_in_both_modes(stage: Stage) -> None:
    held = [
        stage.opened(stage.terms(who, 2, side, margin_mode=mode), 30_000, leverage_e2=200)
        for who, mode in ((ALICE, MarginMode.CROSS), (BOB, MarginMode.ISOLATED))
        for side in (LONG, SHORT)[who == BOB :]
        if not stage.book.position(position_id(who, 2, mode)).size
    ]
    ruined = stage.opened(stage.terms(CAROL, 2, LONG), 30_000, leverage_e2=500)
    waiting = stage.terms(DAVE, 2, LONG)
    assert stage.ask(waiting, 1_000) is None
    stage.move(2, 70_000 * E18)
    stage.wait(86_400 - 60)
    stage.update()
    assert stage.begin_settlement(2) is Refusal.PRICE_STILL_YOUNG
    stage.wait(60)
    stage.post({0: 2_000 * E18, 1: E18 // 2}, [0, 1])
    assert stage.begin_settlement(2) is None
    assert stage.begin_settlement(2) is Refusal.MARKET_SETTLED
    (request,) = stage.book.requests
    assert stage.cancel(request) is None
    stage.wait(3_000)
    for identity in (*held, ruined):
        assert stage.liquidate(identity, CALLER) is Refusal.MARKET_SETTLED
        assert stage.settle(identity) is None
        assert stage.settle(identity) is Refusal.NO_POSITION
    assert stage.withdraw(BOB, stage.book.account(BOB).balance) in {None, Refusal.AMOUNT_ZERO}
    market = stage.book.markets[2]
    assert (market.long.size, market.short.size) == (0, 0)
    stage.compare_all()


def test_lockstep__lp_enters_and_leaves_around_open_profit__is_equal(stage: Stage) -> None:
    stage.opened(stage.terms(ALICE, 0, LONG), 300_000, leverage_e2=400)
    for tranche in Tranche:
        assert stage.request_deposit(LP, tranche, 50_000 * USDC) is None
        assert stage.execute_deposit(stage.request_count) is Refusal.COOLDOWN_RUNNING
        stage.move(0, 2_300 * E18)
        stage.wait(3_600)
        assert stage.execute_deposit(stage.request_count) is Refusal.EXPOSURE_UNKNOWN
        stage.refresh()
        assert stage.execute_deposit(stage.request_count) is None
        shares = stage.shares_of(LP, tranche)
        assert stage.request_redeem(LP, tranche, shares) is None
        stage.wait(3_600)
        stage.refresh()
        refusal = stage.execute_redeem(stage.request_count)
        assert refusal is (Refusal.RESERVE_NEEDED if tranche is Tranche.POOL else None)
    stage.compare_all()


def test_lockstep__gifts_and_sweeps__are_insurance_on_both_sides(stage: Stage) -> None:
    for name, at in (("vault", stage.world.vault), ("pool", stage.world.pool)):
        assert stage.sweep(name) is Refusal.NOTHING_TO_SWEEP
        stage.donate(at.address, 5_000 * USDC)
        assert stage.sweep(name) is None
    assert stage.held_tokens(KEEPER) == 0


@pytest.mark.parametrize("seed", [101, 102])
def test_lockstep__random_history__every_word_is_equal_all_along(seed: int) -> None:
    walk = Walk(seed)
    while walk.calls < 3_000:
        walk.step()
        if walk.random.random() < 0.05:
            walk.compare_all()
    walk.compare_all()
