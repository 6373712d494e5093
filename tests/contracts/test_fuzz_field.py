"""The seven properties that failed in the field (Guardian's suite for Synthetix perps), held here.

ORD and LIQ numbers are those of that suite; each test says what the property is in this system.
"""

from __future__ import annotations

import pytest

from contracts.book_margin import cross_margin, standing
from contracts.book_views import position_liquidation_price
from contracts.book_words import CROSS, PositionId, split_position_id
from contracts.margin import LONG, SHORT, is_liquidatable
from contracts.messages import MarginMode
from contracts.pool import Tranche
from contracts.refusals import Refusal
from contracts.units import PPM, MarketId
from tests.contracts.lockstep_stage import ALICE, BOB, CALLER, CAROL, DAVE, USDC, Stage
from tests.contracts.margin_world import ANY_PRICE, LP

E18 = 10**18
GRID = 2**39  # what a round can say of a price near 2,000


@pytest.fixture
def stage() -> Stage:
    return Stage()


def is_weak(stage: Stage, identity: PositionId) -> bool:
    """Tell by the engine's own view whether a position is below maintenance."""
    stage.compare_health(identity)
    account, _, mode = split_position_id(identity)
    if mode == CROSS:
        return cross_margin(stage.book, stage.seen, account).is_liquidatable
    own = standing(stage.book, stage.seen, identity)
    return is_liquidatable(own.equity, own.maintenance)


def edge(stage: Stage, identity: PositionId, above: int) -> int:
    """Give the price just so far, in steps of the grid, from where a long is liquidated."""
    price = position_liquidation_price(stage.book, stage.seen, identity)
    assert price is not None
    return (price // GRID + above) * GRID


@pytest.mark.parametrize("mode", MarginMode)
@pytest.mark.parametrize("confidence_ppm", [0, 2_000])
def test_ord_03__order_with_the_least_margin__is_not_liquidatable_after_it(
    stage: Stage, mode: MarginMode, confidence_ppm: int
) -> None:
    stage.world.confidence_ppm = confidence_ppm
    stage.refresh()
    stage.deposit(ALICE, 100 * USDC)
    lowest, outcomes = 1_990 * USDC, set()
    for step in range(60):
        terms = stage.terms(ALICE, 0, LONG, margin_mode=mode)
        asked = lowest + step * 2 * USDC
        stage.withdraw(ALICE, stage.book.account(ALICE).balance)
        assert stage.ask(terms, 20_000, leverage_e2=1_000, margin=asked) is None
        outcomes.add(refusal := stage.fill())
        if refusal is None:
            break
        stage.wait(20)
        assert stage.cancel(*stage.book.requests) is None
    assert outcomes == {None, Refusal.MARGIN_SHORT}
    (identity,) = stage.book.positions
    assert not is_weak(stage, identity)
    own = standing(stage.book, stage.seen, identity)
    assert own.initial >= 2 * own.maintenance - 2


@pytest.mark.parametrize("mode", MarginMode)
def test_ord_03__reduction_at_the_edge__is_refused_or_leaves_it_safe(
    stage: Stage, mode: MarginMode
) -> None:
    identity = stage.opened(stage.terms(ALICE, 0, LONG, margin_mode=mode), 20_000)
    stage.move(0, edge(stage, identity, 1) + 2 * E18)
    outcomes = set()
    for part in (50, 7, 3, 2):
        size = stage.book.position(identity).size // part
        price = edge(stage, identity, 2)
        stage.move(0, price)
        refusal = stage.closed(identity, size)
        outcomes.add(refusal)
        if refusal is None:
            assert not is_weak(stage, identity)
    stage.move(0, 2_000 * E18)
    outcomes.add(stage.closed(identity, stage.book.position(identity).size // 2))
    assert outcomes <= {None, Refusal.WOULD_BE_LIQUIDATABLE, Refusal.LOSS_EXCEEDS_MARGIN}
    assert None in outcomes


def test_ord_06__increases__stay_within_what_the_pool_stands_for(stage: Stage) -> None:
    refusal = None
    for who in (ALICE, BOB, CAROL, DAVE) * 3:
        for mode in MarginMode:
            terms = stage.terms(who, 0, LONG, margin_mode=mode)
            assets = stage.book.pool.assets
            stage.ask(terms, 120_000, leverage_e2=200)
            refusal = stage.fill() or refusal
            market = stage.book.markets[MarketId(0)]
            worth = market.long.size * stage.world.prices[0] // 10**30
            assert worth <= assets * market.rules.interest_share_ppm // PPM
            assert worth <= assets * market.rules.skew_share_ppm // PPM
    assert refusal in {Refusal.SKEW_FULL, Refusal.OPEN_INTEREST_FULL}


def test_ord_07__pool_that_shrank_below_use__takes_no_increase_and_every_reduction(
    stage: Stage,
) -> None:
    held = [
        stage.opened(stage.terms(who, 0, LONG), 180_000, leverage_e2=200)
        for who in (ALICE, BOB, CAROL, DAVE)
    ]
    shares = stage.shares_of(LP, Tranche.POOL) * 9 // 10
    assert stage.request_redeem(LP, Tranche.POOL, shares) is None
    stage.wait(3_600)
    stage.refresh()
    assert stage.execute_redeem(stage.request_count) is None
    market = stage.book.markets[MarketId(0)]
    assert market.long.size * stage.world.prices[0] // 10**30 > stage.book.pool.assets
    stage.ask(stage.terms(ALICE, 0, LONG), 1_000)
    assert stage.fill() is Refusal.OPEN_INTEREST_FULL
    for identity in held:
        assert stage.closed(identity, stage.book.position(identity).size // 2) is None
        assert stage.closed(identity) is None
    assert stage.book.markets[MarketId(0)].long.size == 0


def test_ord_15__cancelling_at_the_edge__takes_no_fee_that_would_liquidate(stage: Stage) -> None:
    identity = stage.opened(stage.terms(ALICE, 0, LONG, margin_mode=MarginMode.CROSS), 20_000)
    assert stage.request_close(identity, ANY_PRICE, 0) is None
    stage.wait(121)
    stage.changed()
    stage.post({0: edge(stage, identity, 1)})
    stage.post({0: edge(stage, identity, 0)})
    assert not is_weak(stage, identity)
    sums = cross_margin(stage.book, stage.seen, ALICE)
    fee = stage.book.markets[MarketId(0)].rules.execution_fee
    assert sums.equity - sums.maintenance < fee
    before = stage.book.account(ALICE).balance
    assert stage.cancel(*stage.book.requests) is None
    assert not is_weak(stage, identity)
    assert stage.book.account(ALICE).balance == before


def indebted(stage: Stage) -> tuple[PositionId, PositionId]:
    """Close a losing cross position against the profit of another, which stays open."""
    winner = stage.opened(stage.terms(ALICE, 0, LONG, margin_mode=MarginMode.CROSS), 30_000)
    loser = stage.opened(stage.terms(ALICE, 2, SHORT, margin_mode=MarginMode.CROSS), 20_000)
    stage.wait(121)
    prices = stage.world.prices
    stage.post({0: prices[0] * 2, 2: prices[2] * 17 // 10})
    stage.rest()
    assert stage.closed(loser, stage.book.position(loser).size // 2) is None
    assert stage.closed(loser) is None
    assert stage.book.account(ALICE).balance < 0
    return winner, loser


def test_ord_18__debts_of_all_accounts__are_the_debt_of_all(stage: Stage) -> None:
    stage.deposit(BOB, 100 * USDC)
    indebted(stage)
    owed = sum(max(0, -each.balance) for each in stage.book.accounts.values())
    assert stage.read(stage.world.engine, "debts") == (owed,)
    assert owed > 0
    stage.deposit(ALICE, owed // 3)
    stage.deposit(ALICE, owed)
    assert stage.read(stage.world.engine, "debts") == (0,)


def test_ord_19__debt__does_not_vanish_with_another_order(stage: Stage) -> None:
    indebted(stage)
    debt = stage.book.debts
    assert stage.withdraw(ALICE, 1) is Refusal.BALANCE_SHORT
    stage.deposit(ALICE, debt - USDC)
    equity = cross_margin(stage.book, stage.seen, ALICE).equity
    assert stage.book.debts == USDC
    for market in (1, 2):
        other = stage.terms(ALICE, market, LONG, margin_mode=MarginMode.CROSS)
        stage.deposit(ALICE, 2 * USDC)
        equity += 2 * USDC
        stage.ask(other, 200, margin=0)
        equity += USDC
        before = stage.book
        assert stage.fill() is None
        paid = cross_margin(stage.book, stage.seen, ALICE)
        assert paid.equity < equity
        assert paid.balance - before.account(ALICE).balance < 0
        equity = paid.equity
        negative = sum(max(0, -each.balance) for each in stage.book.accounts.values())
        assert stage.book.debts == negative


def test_liq_03__pool_without_money__still_liquidates(stage: Stage) -> None:
    for who in (ALICE, BOB):
        stage.opened(stage.terms(who, 1, LONG), 180_000, leverage_e2=300)
    weak = [
        stage.opened(stage.terms(who, 0, SHORT, margin_mode=mode), 20_000)
        for who, mode in ((CAROL, MarginMode.ISOLATED), (DAVE, MarginMode.CROSS))
    ]
    stage.move(1, 8 * E18)
    stage.deleverage_side(MarketId(1), LONG)
    stage.later()
    assert stage.deleverage_side(MarketId(1), LONG) is None
    assert stage.book.pool.assets < USDC
    stage.move(0, 2_320 * E18)
    for identity in weak:
        assert is_weak(stage, identity)
        assert stage.confirmed(identity) is None
        assert stage.book.position(identity).size < 10 * E18
    assert stage.book.account(CALLER).balance > 0
    stage.compare_all()
