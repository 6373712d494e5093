"""At exactly a limit of the engine, what it limits still goes; one unit beyond, it does not."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

import pytest

from contracts.book_words import CROSS, ISOLATED, MAX_PROMISED, MAX_SIZE, account_number
from contracts.refusals import Refusal
from tests.contracts.chain import RefusedError
from tests.contracts.engines import DESK, MANAGED, PRICE, RULES, TERMS, TRADER, TRADERS, EngineWorld
from tests.contracts.margins import e18, usd

SIZE = e18(50)
WORTH = usd(5_000)
LEVERAGE_E2 = TERMS.leverage_e2
sides = pytest.mark.parametrize("long", [True, False])


@pytest.fixture
def world():
    return funded()


def funded():
    found = EngineWorld()
    found.deposit(TRADER, usd(10_000))
    return found


def traded(world, **changes):
    """Give why an isolated order was refused, or None."""
    return world.trade(TRADER, 0, ISOLATED, SIZE, **changes).refusal


@sides
def test_price_paid__as_acceptable__fills(long):
    (fill,) = [
        event
        for event in funded().trade(TRADER, 0, ISOLATED, SIZE, long=long).receipt.events
        if event.name == "Filled"
    ]
    paid = fill.fields["price_paid"]
    worse = paid - 1 if long else paid + 1
    assert traded(funded(), long=long, acceptable_price=paid) is None
    assert traded(funded(), long=long, acceptable_price=worse) is Refusal.PRICE_NOT_ACCEPTABLE


def test_promises__as_many_as_fit__are_held(world):
    world.engine.send(DESK, "hold", TRADER, 1, 0, CROSS, MAX_PROMISED, 0)
    with pytest.raises(RefusedError) as caught:
        world.engine.send(DESK, "hold", TRADER, 2, 0, CROSS, 1, 0)
    assert caught.value.refusal is Refusal.AMOUNT_OUT_OF_RANGE


def test_nonce__last_that_fits__is_used(world):
    assert world.hold(TRADER, CROSS, nonce=2**64 - 1).refusal is None


@pytest.mark.parametrize(("before", "after", "fills"), [(0, 0, 1), (1, 1, 0), (-1, -1, 0)])
def test_window__of_one_moment__takes_a_price_of_it(world, before, after, fills):
    at_ms = world.readings.markets[0].mark.observed_at_ms
    window = {"not_before_ms": at_ms + before, "not_after_ms": at_ms + after}
    assert traded(world, **window) is (None if fills else Refusal.PRICE_OUTSIDE_WINDOW)


def test_side__as_large_as_its_field__is_held(world):
    world.set_market(0, 1_000)
    assert world.trade(TRADER, 0, ISOLATED, MAX_SIZE).refusal is None
    assert world.trade(TRADER, 0, ISOLATED, 1).refusal is Refusal.AMOUNT_OUT_OF_RANGE


def test_notional__as_the_terms_allow__opens():
    assert traded(funded(), max_notional=WORTH) is None
    assert traded(funded(), max_notional=WORTH - 1) is Refusal.NOTIONAL_ABOVE_TERMS


def test_ceiling__of_the_maintenance_itself__opens():
    least = MANAGED.maintenance_ppm
    assert traded(funded(), terms=replace(MANAGED, ceiling_ppm=least)) is None
    lower = replace(MANAGED, ceiling_ppm=least - 1)
    assert traded(funded(), terms=lower) is Refusal.CEILING_UNBEARABLE


def test_ceiling__of_all_initial_margin__opens():
    whole = 10**8 // LEVERAGE_E2
    assert traded(funded(), terms=replace(MANAGED, ceiling_ppm=whole)) is None
    higher = replace(MANAGED, ceiling_ppm=whole + 1)
    assert traded(funded(), terms=higher) is Refusal.CEILING_UNBEARABLE


def test_increase__whose_margin_is_its_cost__lives_on_profit():
    def increased(margin):
        world = funded()
        assert traded(world) is None
        collateral = world.book.position(world.identity(TRADER, 0, ISOLATED)).collateral
        world.move(0, 3 * PRICE)
        assert world.remove_margin(TRADER, 0, collateral).refusal is None
        return world.trade(TRADER, 0, ISOLATED, e18(1), margin=margin)

    (fill,) = [event for event in increased(usd(50)).receipt.events if event.name == "Filled"]
    charged = fill.fields["cost"] + fill.fields["fee"]
    assert increased(charged).refusal is None
    assert increased(charged - 1).refusal is Refusal.MARGIN_SHORT


def test_skew__of_all_its_share__opens():
    def opened(size):
        world = EngineWorld()
        world.deposit(TRADER, usd(500_000))
        return world.trade(TRADER, 0, ISOLATED, size).refusal

    share = e18(8_000)  # 40 % of two millions, at 100
    assert opened(share) is None
    assert opened(share + 10**12) is Refusal.SKEW_FULL


@pytest.mark.parametrize(("more", "refusal"), [(0, None), (10**12, Refusal.OPEN_INTEREST_FULL)])
def test_open_interest__of_all_its_share__opens(world, more, refusal):
    for account in (TRADER, TRADERS[1]):
        world.deposit(account, usd(500_000))
    assert world.trade(TRADERS[1], 0, ISOLATED, e18(3_000), long=False).refusal is None
    world.fund(usd(2_000_000), usd(50_000))
    half = e18(10_000)  # 50 % of two millions, at 100
    asked = world.trade(TRADER, 0, ISOLATED, half + more, max_notional=usd(2_000_000))
    assert asked.refusal is refusal


@pytest.mark.parametrize(("more", "refusal"), [(0, None), (10**12, Refusal.SKEW_FULL)])
def test_skew__beyond_its_share__may_change_sides(world, more, refusal):
    world.deposit(TRADERS[1], usd(10_000))
    assert world.trade(TRADERS[1], 0, ISOLATED, e18(10), long=False).refusal is None
    world.set_rules(0, replace(RULES, skew_share_ppm=100_000))
    world.fund(usd(5_000), usd(50_000))
    assert world.trade(TRADER, 0, ISOLATED, e18(20) + more).refusal is refusal


def charged(mode):
    world = funded()
    receipt = world.trade(TRADER, 0, mode, SIZE).receipt
    (fill,) = [event for event in receipt.events if event.name == "Filled"]
    return fill.fields["cost"] + fill.fields["fee"]


def test_opening__with_initial_margin_to_the_unit__opens():
    exact = WORTH * 100 // LEVERAGE_E2 + charged(ISOLATED)
    assert traded(funded(), margin=exact) is None
    assert traded(funded(), margin=exact - 1) is Refusal.MARGIN_SHORT


def test_cross_opening__with_initial_margin_to_the_unit__opens():
    def opened(amount):
        world = EngineWorld()
        world.deposit(TRADER, amount)
        return world.trade(TRADER, 0, CROSS, SIZE).refusal

    exact = WORTH * 100 // LEVERAGE_E2 + charged(CROSS) + RULES.execution_fee
    assert opened(exact) is None
    assert opened(exact - 1) is Refusal.MARGIN_SHORT


@pytest.mark.parametrize("mode", [ISOLATED, CROSS])
def test_reduction__that_leaves_maintenance_to_the_unit__is_made(mode):
    def reduced(amount):
        world = EngineWorld()
        world.deposit(TRADER, amount if mode == CROSS else usd(10_000))
        margin = amount if mode == ISOLATED else 0
        assert world.trade(TRADER, 0, mode, SIZE, margin=margin).refusal is None
        world.move(0, e18(81))
        if mode == ISOLATED:
            world.deposit(TRADER, usd(10_000))
        done = world.trade(TRADER, 0, mode, SIZE // 2, margin=0, long=False, reduce_only=True)
        health = world.engine.read("health", world.identity(TRADER, 0, mode))
        return done.refusal, health[0] - health[1]

    amounts = range(usd(1_020), usd(1_500))
    least = amounts[bisect_left(amounts, True, key=lambda amount: reduced(amount)[0] is None)]
    assert reduced(least) == (None, 0)
    assert reduced(least - 1)[0] is Refusal.WOULD_BE_LIQUIDATABLE


def test_close__whose_loss_is_its_margin_to_the_unit__is_made():
    def closed(amount):
        world = EngineWorld()
        world.deposit(TRADER, usd(10_000))
        assert world.trade(TRADER, 0, ISOLATED, SIZE, margin=amount).refusal is None
        world.move(0, e18(75))
        world.deposit(TRADER, usd(10_000))
        before = world.book.account(account_number(TRADER)).balance
        done = world.trade(TRADER, 0, ISOLATED, SIZE, margin=0, long=False, reduce_only=True)
        after = world.book.account(account_number(TRADER)).balance
        return done.refusal, after - before

    amounts = range(usd(1_020), usd(1_500))
    least = amounts[bisect_left(amounts, True, key=lambda amount: closed(amount)[0] is None)]
    assert closed(least) == (None, -RULES.execution_fee)
    assert closed(least - 1)[0] is Refusal.LOSS_EXCEEDS_MARGIN


def test_collateral__that_fills_its_field__is_kept(world):
    assert traded(world) is None
    held = world.book.position(world.identity(TRADER, 0, ISOLATED)).collateral
    left = 2**64 - 1 - held
    assert world.add_margin(TRADER, 0, left, wallet=True).refusal is None
    more = world.add_margin(TRADER, 0, 1, wallet=True).refusal
    assert more is Refusal.AMOUNT_OUT_OF_RANGE
