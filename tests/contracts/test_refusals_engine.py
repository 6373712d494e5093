"""Each refusal of the margin engine: reached, the model agrees, and nothing moved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.book_words import (
    CROSS,
    ISOLATED,
    MAX_COLLATERAL,
    MAX_PROMISED,
    MAX_SIZE,
    Position,
    Ramp,
)
from contracts.refusals import Refusal
from tests.contracts.chain import RefusedError
from tests.contracts.engines import (
    DESK,
    KEEPER,
    LIQUIDATOR,
    MANAGED,
    MODES,
    RULES,
    TERMS,
    TRADER,
    TRADERS,
    EngineWorld,
)
from tests.contracts.margins import e18, usd
from tests.contracts.world import GUARDIAN, OWNER, STRANGER

SIZE = e18(50)  # 5,000 USDC
both = pytest.mark.parametrize("mode", MODES)
RAMP = Ramp(from_ppm=50_000, target_ppm=60_000, begun_s=0, ramp_s=300, ai_epoch=0)


@pytest.fixture
def world():
    """A trader with 10,000 USDC and nothing open."""
    found = EngineWorld()
    found.deposit(TRADER, usd(10_000))
    return found


def refused(world, refusal, call):
    before = world.held_words()
    assert call().refusal is refusal
    assert world.held_words() == before


def sending(world, refusal, sender, *call):
    before = world.held_words()
    with pytest.raises(RefusedError) as caught:
        world.engine.send(sender, *call)
    assert caught.value.refusal is refusal
    assert world.held_words() == before


def order_refused(world, refusal, mode, size=SIZE, margin=0, market=0, **changes):
    assert world.hold(TRADER, mode, margin).refusal is None
    order = world.order(TRADER, market, mode, size, margin=margin, **changes)
    refused(world, refusal, lambda: world.execute(order))


def opened(world, mode, size=SIZE, market=0, **changes):
    assert world.trade(TRADER, market, mode, size, **changes).refusal is None
    return world.identity(TRADER, market, mode)


def limited(world, market=0, **changes):
    world.wait(3)
    world.set_market(market, **changes)


class TestLock:
    """One lock, and who may take it."""

    @pytest.mark.parametrize("function", ["deposit", "add_margin"])
    def test_transfer__that_calls_back__refuses_reentered(self, world, function):
        opened(world, ISOLATED)
        world.outside.send(OWNER, "set_calls_back", True)
        values = (usd(1),) if function == "deposit" else (0, usd(1), True)
        sending(world, Refusal.REENTERED, TRADER, function, *values)

    @pytest.mark.parametrize("function", ["enter", "leave"])
    @pytest.mark.parametrize("caller", [STRANGER, OWNER, DESK, LIQUIDATOR])
    def test_lock__of_another__refuses_not_pool(self, world, function, caller):
        sending(world, Refusal.NOT_POOL, caller, function)

    def test_lock__of_the_pool__is_taken_and_given_back(self, world):
        for entering in (True, False, True, False):
            world.outside.send(KEEPER, "pass_lock", world.engine.address, entering)
        assert world.deposit(TRADER, usd(1)).refusal is None


class TestCallers:
    """What only desk and liquidator may ask."""

    @pytest.mark.parametrize("caller", [STRANGER, OWNER, GUARDIAN, LIQUIDATOR, TRADER])
    def test_orders__of_another__refuses_not_desk(self, world, caller):
        sending(world, Refusal.NOT_DESK, caller, "hold", TRADER, 1, 0, ISOLATED, 1, 1)
        sending(world, Refusal.NOT_DESK, caller, "unhold", TRADER, ISOLATED, 1, 1)
        terms = (1, 100, False, 50_000, 50_000)
        sending(world, Refusal.NOT_DESK, caller, "retune", TRADER, 0, ISOLATED, *terms)
        zeros = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        order = (TRADER, 0, 1, True, False, False, *zeros, caller)
        sending(world, Refusal.NOT_DESK, caller, "execute", order)

    @pytest.mark.parametrize("caller", [STRANGER, OWNER, GUARDIAN, DESK, TRADER])
    def test_closing__of_another__refuses_not_liquidator(self, world, caller):
        identity = opened(world, ISOLATED)
        close = (identity, SIZE, 0, 0, 0, caller)
        sending(world, Refusal.NOT_LIQUIDATOR, caller, "liquidate", *close)
        sending(world, Refusal.NOT_LIQUIDATOR, caller, "adjust", identity, 1, 1, 1, 1)
        sending(world, Refusal.NOT_LIQUIDATOR, caller, "cut", 0, True, 10**26)

    @pytest.mark.parametrize("caller", [STRANGER, GUARDIAN, DESK, TRADER])
    def test_rules__of_another__refuses_not_owner(self, world, caller):
        sending(world, Refusal.NOT_OWNER, caller, "set_rules", 0, 1)
        sending(world, Refusal.NOT_OWNER, caller, "begin_settlement", 0)

    def test_rules__not_announced_once_launched__refuses_not_scheduled(self, world):
        world.engine.send(OWNER, "launch")
        sending(world, Refusal.NOT_SCHEDULED, OWNER, "set_rules", 0, 1)
        sending(world, Refusal.NOT_SCHEDULED, OWNER, "begin_settlement", 0)


class TestMoney:
    """Deposits, withdrawals, margin, escrow."""

    def test_amounts__of_nothing__refuses_amount_zero(self, world):
        opened(world, ISOLATED)
        calls = (
            lambda: world.deposit(TRADER, 0),
            lambda: world.withdraw(TRADER, 0),
            lambda: world.add_margin(TRADER, 0, 0, wallet=True),
            lambda: world.remove_margin(TRADER, 0, 0),
        )
        for call in calls:
            refused(world, Refusal.AMOUNT_ZERO, call)

    @pytest.mark.parametrize("amount", [2**96, 2**255, 2**256 - 1])
    def test_amounts__no_token_has__refuses_amount_out_of_range(self, world, amount):
        opened(world, ISOLATED)
        calls = (
            ("deposit", amount),
            ("withdraw", amount),
            ("add_margin", 0, amount, True),
            ("add_margin", 0, amount, False),
            ("remove_margin", 0, amount),
        )
        for call in calls:
            sending(world, Refusal.AMOUNT_OUT_OF_RANGE, TRADER, *call)

    def test_withdraw__more_than_the_balance__refuses_balance_short(self, world):
        refused(world, Refusal.BALANCE_SHORT, lambda: world.withdraw(TRADER, usd(10_000) + 1))

    def test_withdraw__what_is_promised__refuses_balance_short(self, world):
        world.hold(TRADER, CROSS)
        refused(world, Refusal.BALANCE_SHORT, lambda: world.withdraw(TRADER, usd(10_000)))
        kept = usd(10_000) - RULES.execution_fee
        assert world.withdraw(TRADER, kept).refusal is None

    @both
    def test_hold__more_than_the_balance__refuses_balance_short(self, world, mode):
        world.withdraw(TRADER, usd(10_000) - RULES.execution_fee + 1)
        refused(world, Refusal.BALANCE_SHORT, lambda: world.hold(TRADER, mode, nonce=1))

    def test_hold__promises_beyond_their_field__refuses_amount_out_of_range(self, world):
        call = ("hold", TRADER, 0, 0, CROSS, MAX_PROMISED + 1, 0)
        sending(world, Refusal.AMOUNT_OUT_OF_RANGE, DESK, *call)

    def test_hold__nonce_beyond_its_field__refuses_amount_out_of_range(self, world):
        sending(world, Refusal.AMOUNT_OUT_OF_RANGE, DESK, "hold", TRADER, 2**64, 0, CROSS, 1, 0)

    def test_hold__terms_used_before__refuses_terms_used(self, world):
        world.hold(TRADER, CROSS, nonce=7)
        for nonce in (6, 7):
            refused(
                world,
                Refusal.TERMS_USED,
                lambda nonce=nonce: world.hold(TRADER, CROSS, nonce=nonce),
            )

    def test_withdraw__while_paused__refuses_withdrawals_paused(self, world):
        world.set_outside(paused=True)
        refused(world, Refusal.WITHDRAWALS_PAUSED, lambda: world.withdraw(TRADER, 1))

    def test_withdraw__where_a_market_s_are_paused__refuses_withdrawals_paused(self, world):
        opened(world, CROSS)
        limited(world, permissions=31 - 8)
        refused(world, Refusal.WITHDRAWALS_PAUSED, lambda: world.withdraw(TRADER, 1))
        assert world.hold(TRADER, ISOLATED, usd(1)).refusal is None

    def test_remove_margin__while_paused__refuses_withdrawals_paused(self, world):
        opened(world, ISOLATED)
        world.set_outside(paused=True)
        refused(world, Refusal.WITHDRAWALS_PAUSED, lambda: world.remove_margin(TRADER, 0, 1))
        world.set_outside()
        limited(world, permissions=31 - 8)
        refused(world, Refusal.WITHDRAWALS_PAUSED, lambda: world.remove_margin(TRADER, 0, 1))

    def test_add_margin__whatever_is_paused__goes_on(self, world):
        opened(world, ISOLATED)
        limited(world, permissions=0, halted=True, fresh=False, new_risk=False)
        world.set_outside(paused=True)
        assert world.add_margin(TRADER, 0, usd(1), wallet=True).refusal is None
        assert world.add_margin(TRADER, 0, usd(1), wallet=False).refusal is None
        assert world.deposit(TRADER, usd(1)).refusal is None

    def test_withdraw__locked_margin__refuses_margin_locked(self, world):
        opened(world, CROSS)
        sums = world.engine.read("account_margin", TRADER)
        free = sums[1] - sums[3]  # equity above initial margin, at confidence 0
        refused(world, Refusal.MARGIN_LOCKED, lambda: world.withdraw(TRADER, free + 1))
        assert world.withdraw(TRADER, free).refusal is None

    def test_hold__locked_margin__refuses_margin_locked(self, world):
        opened(world, CROSS)
        refused(world, Refusal.MARGIN_LOCKED, lambda: world.hold(TRADER, ISOLATED, usd(9_500), 1))
        opened(world, ISOLATED, market=1)
        call = lambda: world.add_margin(TRADER, 1, usd(8_000), wallet=False)  # noqa: E731
        refused(world, Refusal.MARGIN_LOCKED, call)

    def test_remove_margin__locked_margin__refuses_margin_locked(self, world):
        identity = opened(world, ISOLATED, margin=usd(2_000))
        left = world.book.position(identity).collateral - usd(1_000)
        refused(world, Refusal.MARGIN_LOCKED, lambda: world.remove_margin(TRADER, 0, left + 1))
        assert world.remove_margin(TRADER, 0, left).refusal is None

    def test_remove_margin__profit_nobody_paid_yet__refuses_margin_locked(self, world):
        identity = opened(world, ISOLATED)
        world.move(0, e18(300))
        held = world.book.position(identity).collateral
        refused(world, Refusal.MARGIN_LOCKED, lambda: world.remove_margin(TRADER, 0, held + 1))

    @pytest.mark.parametrize("flaw", [{"new_risk": False}, {"halted": True}])
    def test_margin_out__price_not_fit_for_new_risk__refuses_price_not_ready(self, world, flaw):
        opened(world, CROSS)
        opened(world, ISOLATED, market=1)
        limited(world, **flaw)
        limited(world, market=1, **flaw)
        refused(world, Refusal.PRICE_NOT_READY, lambda: world.withdraw(TRADER, 1))
        refused(world, Refusal.PRICE_NOT_READY, lambda: world.remove_margin(TRADER, 1, 1))
        refused(world, Refusal.PRICE_NOT_READY, lambda: world.hold(TRADER, ISOLATED, 1, 1))

    def test_add_margin__beyond_its_field__refuses_amount_out_of_range(self, world):
        opened(world, ISOLATED)
        call = lambda: world.add_margin(TRADER, 0, MAX_COLLATERAL, wallet=True)  # noqa: E731
        refused(world, Refusal.AMOUNT_OUT_OF_RANGE, call)

    def test_margin__of_no_position__refuses_no_position(self, world):
        opened(world, CROSS)
        for wallet in (True, False):
            refused(
                world,
                Refusal.NO_POSITION,
                lambda wallet=wallet: world.add_margin(TRADER, 0, 1, wallet=wallet),
            )
        refused(world, Refusal.NO_POSITION, lambda: world.remove_margin(TRADER, 0, 1))
        sending(world, Refusal.NO_POSITION, TRADER, "add_margin", 2**152, 1, True)


class TestOrders:
    """Orders and terms."""

    @both
    @pytest.mark.parametrize("bounds", [(1, 2**60), (0, -1)])
    def test_execute__price_of_another_time__refuses_price_outside_window(
        self, world, mode, bounds
    ):
        now_ms = world.readings.markets[0].mark.observed_at_ms
        first, last = now_ms + bounds[0], min(2**60, now_ms + bounds[1])
        asked = {"not_before_ms": first if bounds[0] else 0, "not_after_ms": last}
        order_refused(world, Refusal.PRICE_OUTSIDE_WINDOW, mode, **asked)

    @both
    @pytest.mark.parametrize("long", [True, False])
    def test_execute__worse_than_acceptable__refuses_price_not_acceptable(self, world, mode, long):
        asked = {"long": long, "acceptable_price": e18(100)}
        margin = usd(1_500) if mode == ISOLATED else 0
        order_refused(world, Refusal.PRICE_NOT_ACCEPTABLE, mode, margin=margin, **asked)

    @both
    def test_execute__reducing_nothing__refuses_nothing_to_reduce(self, world, mode):
        order_refused(world, Refusal.NOTHING_TO_REDUCE, mode, reduce_only=True)
        opened(world, mode)
        order_refused(world, Refusal.NOTHING_TO_REDUCE, mode, reduce_only=True, long=True)

    @both
    def test_open__while_paused__refuses_opening_paused(self, world, mode):
        limited(world, permissions=30)
        order_refused(world, Refusal.OPENING_PAUSED, mode)

    @both
    @pytest.mark.parametrize("flaw", [{"new_risk": False}, {"halted": True}])
    def test_open__price_not_fit_for_new_risk__refuses_price_not_ready(self, world, mode, flaw):
        limited(world, **flaw)
        order_refused(world, Refusal.PRICE_NOT_READY, mode)

    def test_open__another_cross_price_not_fit__refuses_price_not_ready(self, world):
        opened(world, CROSS)
        limited(world, new_risk=False)
        order_refused(world, Refusal.PRICE_NOT_READY, CROSS, market=1)

    @both
    def test_close__while_paused__refuses_closing_paused(self, world, mode):
        opened(world, mode)
        limited(world, permissions=29)
        order_refused(world, Refusal.CLOSING_PAUSED, mode, reduce_only=True, long=False)

    @both
    @pytest.mark.parametrize("flaw", [{"fresh": False}, {"unconfirmed": True}])
    def test_close__price_old_or_unconfirmed__refuses_price_not_ready(self, world, mode, flaw):
        opened(world, mode)
        limited(world, **flaw)
        order_refused(world, Refusal.PRICE_NOT_READY, mode, reduce_only=True, long=False)

    def test_close__loss_beyond_the_collateral__refuses_loss_exceeds_margin(self, world):
        opened(world, ISOLATED)
        world.move(0, e18(70))
        asked = {"reduce_only": True, "long": False}
        order_refused(world, Refusal.LOSS_EXCEEDS_MARGIN, ISOLATED, **asked)

    @both
    def test_close__leaving_dust__refuses_below_minimum_size(self, world, mode):
        opened(world, mode)
        asked = {"reduce_only": True, "long": False, "size": SIZE - e18(1) + 1}
        order_refused(world, Refusal.BELOW_MINIMUM_SIZE, mode, **asked)

    @both
    def test_open__dust__refuses_below_minimum_size(self, world, mode):
        order_refused(world, Refusal.BELOW_MINIMUM_SIZE, mode, size=e18(1) - 1, margin=0)

    @both
    def test_close__still_liquidatable_after_it__refuses_would_be_liquidatable(self, world, mode):
        for market in (0, 1):
            margin = {"margin": usd(1_100)} if mode == ISOLATED else {"size": 4 * SIZE}
            opened(world, mode, market=market, **margin)
        for market in (0, 1):
            world.move(market, e18(80) if mode == ISOLATED else e18(78))
        asked = {"reduce_only": True, "long": False, "size": SIZE // 5}
        order_refused(world, Refusal.WOULD_BE_LIQUIDATABLE, mode, **asked)

    def test_close__the_last_cross_one_into_debt__refuses_would_be_liquidatable(self, world):
        opened(world, CROSS, size=8 * SIZE)
        world.move(0, e18(70))
        asked = {"reduce_only": True, "long": False, "size": MAX_SIZE}
        order_refused(world, Refusal.WOULD_BE_LIQUIDATABLE, CROSS, **asked)

    @both
    @pytest.mark.parametrize("terms", [TERMS, MANAGED])
    def test_open__ratio_below_the_target__refuses_maintenance_too_low(self, world, mode, terms):
        low = replace(terms, maintenance_ppm=49_999)
        order_refused(world, Refusal.MAINTENANCE_TOO_LOW, mode, terms=low)

    @both
    def test_open__fixed_ratio_below_the_floor__refuses_maintenance_too_low(self, world, mode):
        limited(world, floor_maintenance_ppm=50_001)
        order_refused(world, Refusal.MAINTENANCE_TOO_LOW, mode, terms=TERMS)
        margin = usd(1_500) if mode == ISOLATED else 0
        assert world.trade(TRADER, 0, mode, SIZE, margin=margin, terms=MANAGED).refusal is None

    @both
    @pytest.mark.parametrize("ceiling_ppm", [49_999, 200_001])
    def test_open__ceiling_beyond_its_margin__refuses_ceiling_unbearable(
        self, world, mode, ceiling_ppm
    ):
        terms = replace(MANAGED, ceiling_ppm=ceiling_ppm)
        order_refused(world, Refusal.CEILING_UNBEARABLE, mode, terms=terms)

    @both
    def test_open__leverage_above_the_cap__refuses_leverage_above_cap(self, world, mode):
        high = replace(TERMS, leverage_e2=1_001)
        order_refused(world, Refusal.LEVERAGE_ABOVE_CAP, mode, terms=high)

    def test_open__both_modes_together_too_large__refuses_leverage_above_cap(self, world):
        limited(world, size_scale_usdc=6_000)
        full = replace(TERMS, leverage_e2=1_000)
        assert world.trade(TRADER, 0, CROSS, SIZE, terms=full).refusal is None
        asked = {"terms": full, "margin": usd(1_500)}
        order_refused(world, Refusal.LEVERAGE_ABOVE_CAP, ISOLATED, size=SIZE // 2, **asked)

    @both
    def test_open__more_than_the_terms_are_for__refuses_notional_above_terms(self, world, mode):
        order_refused(world, Refusal.NOTIONAL_ABOVE_TERMS, mode, max_notional=usd(5_000) - 1)

    @both
    def test_open__beyond_the_signed_cap__refuses_open_interest_full(self, world, mode):
        limited(world, open_interest_cap_usdc=4_999)
        order_refused(world, Refusal.OPEN_INTEREST_FULL, mode)

    @both
    def test_open__beyond_the_pool_s_share__refuses_open_interest_full(self, world, mode):
        world.fund(usd(10_000) - 1, 0)
        order_refused(world, Refusal.OPEN_INTEREST_FULL, mode)

    @both
    def test_open__skew_beyond_the_pool_s_share__refuses_skew_full(self, world, mode):
        world.fund(usd(12_500) - 1, 0)
        order_refused(world, Refusal.SKEW_FULL, mode)

    def test_open__skew_toward_zero__is_always_welcome(self, world):
        opened(world, CROSS)
        world.fund(usd(11_000), 0)
        world.deposit(TRADERS[1], usd(5_000))
        assert world.trade(TRADERS[1], 0, CROSS, SIZE, long=False).refusal is None

    def test_open__margin_below_the_costs__refuses_margin_short(self, world):
        order_refused(world, Refusal.MARGIN_SHORT, ISOLATED, margin=1)

    def test_open__margin_below_initial__refuses_margin_short(self, world):
        order_refused(world, Refusal.MARGIN_SHORT, ISOLATED, margin=usd(1_000))
        order_refused(world, Refusal.MARGIN_SHORT, CROSS, size=11 * SIZE)

    def test_open__an_eleventh_cross_position__refuses_too_many_positions(self):
        world = EngineWorld(markets=11)
        world.deposit(TRADER, usd(10_000))
        for market in range(10):
            opened(world, CROSS, size=e18(1), market=market)
        order_refused(world, Refusal.TOO_MANY_POSITIONS, CROSS, size=e18(1), market=10)
        assert world.trade(TRADER, 3, CROSS, e18(1)).refusal is None
        closing = {"reduce_only": True, "long": False}
        assert world.trade(TRADER, 3, CROSS, MAX_SIZE, **closing).refusal is None
        opened(world, CROSS, size=e18(1), market=10)
        world.check()

    def test_open__beyond_the_field_of_a_size__refuses_amount_out_of_range(self, world):
        world.set_market(0, 10**11)
        order_refused(world, Refusal.AMOUNT_OUT_OF_RANGE, CROSS, size=MAX_SIZE + 1)

    def test_execute__market_nobody_opened__refuses_unknown_market(self, world):
        world.hold(TRADER, CROSS)
        order = world.order(TRADER, 3, CROSS, SIZE)
        refused(world, Refusal.UNKNOWN_MARKET, lambda: world.execute(order))

    @both
    def test_retune__used_terms__refuses_terms_used(self, world, mode):
        identity = opened(world, mode)
        assert world.retune(identity, 3, MANAGED).refusal is None
        refused(world, Refusal.TERMS_USED, lambda: world.retune(identity, 3, MANAGED))

    @both
    def test_retune__nothing__refuses_no_position(self, world, mode):
        identity = world.identity(TRADER, 0, mode)
        refused(world, Refusal.NO_POSITION, lambda: world.retune(identity, 1, TERMS))

    @both
    def test_retune__more_leverage_undone__refuses_margin_short(self, world, mode):
        size = 9 * SIZE if mode == CROSS else SIZE
        identity = opened(world, mode, size=size)
        less = replace(TERMS, leverage_e2=100)
        refused(world, Refusal.MARGIN_SHORT, lambda: world.retune(identity, 1, less))

    @both
    def test_retune__while_nothing_may_open__refuses_opening_paused(self, world, mode):
        identity = opened(world, mode)
        limited(world, permissions=30)
        refused(world, Refusal.OPENING_PAUSED, lambda: world.retune(identity, 1, TERMS))


class TestOthers:
    """Liquidation, cuts, settlement, rules."""

    @both
    def test_closing__nothing__refuses_no_position(self, world, mode):
        identity = world.identity(TRADER, 0, mode)
        refused(world, Refusal.NO_POSITION, lambda: world.liquidate(identity, SIZE, 0, 0))
        refused(world, Refusal.NO_POSITION, lambda: world.adjust(identity, RAMP))
        refused(world, Refusal.NO_POSITION, lambda: world.catch_up(identity))
        refused(world, Refusal.NO_POSITION, lambda: world.settle(identity))
        sending(world, Refusal.NO_POSITION, KEEPER, "settle", TRADER, 0, 3)
        sending(world, Refusal.NO_POSITION, KEEPER, "catch_up", (identity & ~255) | 3)
        for market in (3, 256, 2**256 - 1):
            sending(world, Refusal.NO_POSITION, KEEPER, "settle", TRADER, market, mode)
        for beyond in (1 << 184, 2**256 - 1):
            sending(world, Refusal.NO_POSITION, KEEPER, "catch_up", identity | beyond)

    def test_cut__below_the_least_share__refuses_cut_too_deep(self, world):
        opened(world, CROSS)
        world.move(0, e18(110))
        for _ in range(6):
            assert world.cut(0, long=True, keep_e27=10**24).refusal is None
        refused(world, Refusal.CUT_TOO_DEEP, lambda: world.cut(0, long=True, keep_e27=10**26))
        world.check()

    def test_settle__a_market_that_lives__refuses_not_settled(self, world):
        identity = opened(world, CROSS)
        refused(world, Refusal.NOT_SETTLED, lambda: world.settle(identity))

    def test_begin_settlement__while_prices_come__refuses_price_still_young(self, world):
        world.wait(86_399)
        refused(world, Refusal.PRICE_STILL_YOUNG, lambda: world.begin_settlement(0))
        world.wait(1)
        assert world.begin_settlement(0).refusal is None

    def test_begin_settlement__never_priced__refuses_price_not_ready(self, world):
        world.set_market(0, 0, observed_at_ms=0)
        refused(world, Refusal.PRICE_NOT_READY, lambda: world.begin_settlement(0))

    def test_begin_settlement__unknown__refuses_unknown_market(self, world):
        refused(world, Refusal.UNKNOWN_MARKET, lambda: world.begin_settlement(3))

    def test_settled__anything_but_settling__refuses_market_settled(self, world):
        identity = opened(world, CROSS)
        world.wait(86_400)
        world.begin_settlement(0)
        world.hold(TRADER, CROSS)
        order = world.order(TRADER, 0, CROSS, SIZE)
        refused(world, Refusal.MARKET_SETTLED, lambda: world.execute(order))
        refused(world, Refusal.MARKET_SETTLED, lambda: world.retune(identity, 1, TERMS))
        refused(world, Refusal.MARKET_SETTLED, lambda: world.begin_settlement(0))
        refused(world, Refusal.MARKET_SETTLED, lambda: world.set_rules(0, RULES))

    @pytest.mark.parametrize(
        "changes",
        [
            {"penalty_min_ppm": 15_001},
            {"penalty_max_ppm": 19_500},
            {"reward": RULES.penalty_min_ppm * RULES.min_notional_usdc + 1},
            {"min_notional_usdc": 0, "reward": 0},
            {"impact_ppm": 1_000_001},
            {"funding_daily_ppm": 1_000_001},
            {"interest_share_ppm": 0},
            {"interest_share_ppm": 1_000_001},
            {"skew_share_ppm": 0},
            {"skew_share_ppm": 1_000_001},
            {"cut_share_ppm": 0},
            {"cut_share_ppm": 1_000_001},
            {"liquidation_age_s": 0},
            {"band_ppm": 9_999},
            {"execution_fee": 0},
            {"execution_fee": 9_999},
        ],
        ids=str,
    )
    def test_set_rules__that_nobody_can_live_with__refuses_rules_invalid(self, world, changes):
        rules = replace(RULES, **changes)
        refused(world, Refusal.RULES_INVALID, lambda: world.set_rules(0, rules))

    def test_set_rules__leaving_one_out__refuses_market_out_of_order(self, world):
        world.set_market(4)
        refused(world, Refusal.MARKET_OUT_OF_ORDER, lambda: world.set_rules(4, RULES))

    def test_set_rules__beyond_the_last__refuses_too_many_markets(self, world):
        refused(world, Refusal.TOO_MANY_MARKETS, lambda: world.set_rules(256, RULES))

    def test_set_rules__market_of_no_oracle__refuses_unknown_market(self, world):
        refused(world, Refusal.UNKNOWN_MARKET, lambda: world.set_rules(3, RULES))

    def test_health__of_no_market__refuses_unknown_market(self, world):
        identity = world.identity(TRADER, 9, ISOLATED)
        with pytest.raises(RefusedError) as caught:
            world.engine.read("health", identity)
        assert caught.value.refusal is Refusal.UNKNOWN_MARKET

    def test_profit__beyond_both_tranches__refuses_pool_exhausted(self, world):
        opened(world, CROSS)
        world.move(0, e18(400))
        world.fund(usd(1), usd(1))
        asked = {"reduce_only": True, "long": False}
        order_refused(world, Refusal.POOL_EXHAUSTED, CROSS, **asked)


def test_deploy__without_a_part__refuses_address_missing(world):
    assert Position().size == 0
    place = world.outside.address
    for missing in range(6):
        parts = [place] * 6
        parts[missing] = "0x" + "00" * 20
        with pytest.raises(RefusedError) as caught:
            type(world.engine)(world.evm, "MarginEngine", OWNER, [*parts, OWNER, GUARDIAN, 86_400])
        assert caught.value.refusal is Refusal.ADDRESS_MISSING
