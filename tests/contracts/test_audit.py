"""What an audit found and what was done about it: each test is the attack as it was first tried."""

from __future__ import annotations

import pytest

from contracts.book_words import ISOLATED
from contracts.messages import ActionKind, Adjustment, MarginMode
from contracts.refusals import Refusal
from tests.contracts.margin_world import (
    AVERAGE_S,
    CROSS,
    E18,
    GAP_S,
    HOUR_S,
    KEEPER,
    LP,
    MARKET_RULES,
    POOL_E6,
    TRADER,
    TRADERS,
    USDC,
    MarginWorld,
    events,
)
from tests.contracts.world import GUARDIAN, OWNER, STRANGER

FEE_E6 = MARKET_RULES.execution_fee
SIZE = 100 * E18  # 10,000 USDC in market 0
AI_INPUT, EVERYTHING = 2, 5
EPOCHS = 64
GUARDIAN_PAUSE_S = 660  # the shortest that the guardian may
DAY_S = 86_400


@pytest.fixture
def world():
    found = MarginWorld()
    found.deposit(TRADER, 50_000 * USDC)
    return found


def isolated(world, size=SIZE, margin=2_500 * USDC, account=TRADER, **changes):
    """Open alone at 5x, all the way."""
    return world.open(world.terms(account, **changes), size, margin=margin)


def cross(world, size=SIZE, account=TRADER, **changes):
    """Open into the shared account at 5x, all the way."""
    terms = world.terms(account, margin_mode=MarginMode.CROSS, **changes)
    return world.open(terms, size)


def let_go_stale(world, market):
    """Let one market's price grow too old for new risk while the others are renewed."""
    others = [each for each in world.prices if each != market]
    for _ in range(3):
        world.wait(20)
        world.post(only=others)


class TestLockedIn:
    """A close is stopped by its market's pause and by everything's, and by nothing else."""

    def test_isolated__another_market_of_the_account_is_stale__closes(self, world):
        isolated(world)
        cross(world, size=E18, market=1)
        let_go_stale(world, 1)
        requested = world.request_close(TRADER)
        world.wait(3)
        world.post(only=(0, 2))
        world.execute(requested)
        assert world.held(TRADER).size == 0
        world.invariants()

    def test_isolated__the_account_s_free_margin_is_used_up__closes(self, world):
        isolated(world)
        world.engine.send(TRADER, "withdraw", world.holder(TRADER).balance - 2_200 * USDC)
        cross(world, size=5 * E18, market=1)
        world.rest(1, 1_900 * E18)
        world.refresh()
        found = world.view("account_view", TRADER)
        assert found["equity"] < found["initial"]
        world.close(TRADER)
        assert world.held(TRADER).size == 0
        world.invariants()

    def test_isolated__fee_that_the_cross_account_cannot_bear__comes_out_of_the_position(
        self, world
    ):
        isolated(world)
        world.engine.send(TRADER, "withdraw", world.holder(TRADER).balance - 2_200 * USDC)
        cross(world, size=5 * E18, market=1)
        world.rest(1, 1_620 * E18)
        world.refresh()
        found = world.view("account_view", TRADER)
        assert found["liquidatable"]
        collateral, balance = world.held(TRADER).collateral, world.holder(TRADER).balance
        world.request_close(TRADER)
        assert world.held(TRADER).collateral == collateral - FEE_E6
        assert world.holder(TRADER).balance == balance
        assert world.escrow() == FEE_E6
        world.invariants()

    def all_in(self, world):
        """Leave an account all of whose money is one position's margin."""
        isolated(world)
        world.engine.send(TRADER, "withdraw", world.holder(TRADER).balance)
        assert world.holder(TRADER).balance == 0

    def test_isolated__all_money_is_its_margin__closes_and_pays_out_of_it(self, world):
        self.all_in(world)
        collateral, before = world.held(TRADER).collateral, world.holder(KEEPER).balance
        requested = world.request_close(TRADER)
        assert world.held(TRADER).collateral == collateral - FEE_E6
        world.fill(requested)
        assert world.held(TRADER).size == 0
        assert 0 < world.holder(TRADER).balance < collateral - FEE_E6
        assert world.holder(KEEPER).balance == before + FEE_E6
        world.invariants()

    def test_isolated__all_money_is_its_margin_and_the_close_lapses__costs_its_fee(self, world):
        self.all_in(world)
        collateral, insurance = world.held(TRADER).collateral, world.totals()["insurance"]
        requested = world.request_close(TRADER)
        world.wait(18)
        world.cancel(requested)
        assert world.held(TRADER).collateral == collateral - FEE_E6
        assert world.totals()["insurance"] == insurance + FEE_E6
        world.invariants()

    def test_isolated__fee_that_would_make_the_position_liquidatable__is_refused(self, world):
        self.all_in(world)
        world.rest(0, 79 * E18)
        found = world.view("position_view", TRADER, 0, ISOLATED)
        assert found["liquidatable"]
        with world.refuses(Refusal.WOULD_BE_LIQUIDATABLE):
            world.request_close(TRADER)

    def test_isolated__fee_that_only_profit_could_pay__refuses_balance_short(self, world):
        self.all_in(world)
        world.rest(0, 190 * E18)
        world.engine.send(TRADER, "remove_margin", 0, world.held(TRADER).collateral - FEE_E6 + 1)
        world.engine.send(TRADER, "withdraw", world.holder(TRADER).balance)
        with world.refuses(Refusal.BALANCE_SHORT):
            world.request_close(TRADER)
        world.engine.send(TRADER, "deposit", 1)
        world.engine.send(TRADER, "add_margin", 0, 1, False)
        world.request_close(TRADER)
        assert world.held(TRADER).collateral == 0

    def in_debt(self, world):
        """Leave an account with a balance below 0 and a profit far above it."""
        cross(world, size=1_000 * E18)
        cross(world, size=10 * E18, market=1)
        world.rest(0, 160 * E18)
        world.refresh()
        world.engine.send(TRADER, "withdraw", world.holder(TRADER).balance - 100 * USDC)
        world.rest(1, 1_500 * E18)
        world.refresh()
        world.close(TRADER, 1, CROSS)
        found = world.view("account_view", TRADER)
        assert found["balance"] < 0
        assert found["equity"] > 50_000 * USDC
        return found

    def test_cross__balance_below_zero_and_profit_above__closes_and_pays_the_executor(self, world):
        found = self.in_debt(world)
        before = world.holder(KEEPER).balance
        world.close(TRADER, 0, CROSS)
        assert world.holder(KEEPER).balance == before + FEE_E6
        assert world.holder(TRADER).balance > found["equity"] * 99 // 100
        world.invariants()

    def test_cross__close_owed_for_and_lapsed__costs_its_fee(self, world):
        found = self.in_debt(world)
        requested = world.request_close(TRADER, 0, CROSS)
        insurance = world.totals()["insurance"]
        world.wait(18)
        world.cancel(requested)
        assert world.holder(TRADER).balance == found["balance"] - FEE_E6
        assert world.totals()["insurance"] == insurance + FEE_E6
        assert world.totals()["debts"] == FEE_E6 - found["balance"]
        world.invariants()

    def test_cross__new_risk_on_credit__refuses_balance_short(self, world):
        self.in_debt(world)
        terms = world.terms(market=1, margin_mode=MarginMode.CROSS)
        with world.refuses(Refusal.BALANCE_SHORT):
            world.request_open(terms, E18)


class TestRampsLeap:
    """Epochs of AI input are counted modulo 64; a guardian gone bad ends 64 of them in 12 hours."""

    def test_adjust__stopped_and_its_epoch_s_number_comes_round__never_leaps(self, world):
        terms = world.terms(adjustment=Adjustment.MANAGED, maintenance_ceiling_ppm=200_000)
        world.open(terms, SIZE, margin=2_500 * USDC)
        held_id = world.held_id(TRADER)
        world.act("adjust", world.action(held_id, ActionKind.ADJUST, maintenance_ppm=200_000))
        world.wait(600)  # of an hour
        ratios = []
        for count in range(2 * EPOCHS):
            scope = EVERYTHING if count & 1 else AI_INPUT
            world.oracle.contract.send(GUARDIAN, "pause", scope, GUARDIAN_PAUSE_S)
            ratios.append(world.engine.read("health", held_id)[6])
            world.wait(GUARDIAN_PAUSE_S)
        assert max(ratios) == ratios[0] == 75_000
        # Where its number has come round nobody knows any more where it stopped: it began here.
        assert ratios[EPOCHS - 2 :] == [75_000] + [50_000] * (EPOCHS + 1)


class TestPoolWaits:
    """Nobody is locked into the pool by what no position holds."""

    def test_dust_of_a_cut_side__in_a_market_without_prices__waits_for_nothing(self, world):
        for account in TRADERS[1:]:
            world.deposit(account, 150_000 * USDC)
        for account in TRADERS[1:]:
            isolated(world, 2_000 * E18 + 1, 80_000 * USDC, account)
        world.set_rules(0, cut_share_ppm=100_000)
        world.rest(0, 150 * E18)
        world.refresh()
        world.liquidator.send(KEEPER, "deleverage_side", 0, True)
        for account in TRADERS[1:]:
            world.close(account)
        found = world.market(0)
        assert 0 < found.long_size < 10
        self.leave_after_stale(world)

    def leave_after_stale(self, world):
        world.pool.send(OWNER, "set_cooldowns", 1, HOUR_S, HOUR_S)
        shares = world.pool.read("balanceOf", LP)
        receipt = world.pool.send(LP, "request_redeem", 1, shares)
        world.wait(HOUR_S)
        world.post(only=(1, 2))
        world.pool.send(KEEPER, "execute_redeem", int.from_bytes(receipt.output, "big"))


class TestSettledMarket:
    """A market that stands at its settlement price delays nobody's liquidation."""

    def test_cross__settled_market_far_from_its_last_average__needs_no_second_round(self, world):
        cross(world, size=900 * E18)
        cross(world, size=E18, market=1)
        world.wait(GAP_S)
        world.post({1: 1_500 * E18})
        world.wait(DAY_S)
        world.engine.send(OWNER, "begin_settlement", 1)
        world.update()
        world.post({0: 46 * E18}, only=(0, 2))
        world.wait(AVERAGE_S)
        world.post(only=(0, 2))
        price, average, _ = world.feed.contract.read("mark", 1)
        assert average > price * 11 // 10
        receipt = world.liquidate(TRADER, 0, CROSS)
        assert not events(receipt, "LiquidationDeferred")
        assert world.held(TRADER, 0, CROSS).size == 0
        world.engine.send(KEEPER, "settle", TRADER, 1, CROSS)
        world.invariants()


def test_leaving__before_a_bad_debt_is_closed__takes_nothing_from_who_stays():
    """A gap leaves a loss beyond collateral; the first to redeem is not paid for it."""
    world, leaver = MarginWorld(), TRADERS[3]
    world.deposit(TRADER, 200_000 * USDC)
    world.supply(1, POOL_E6, leaver)
    shares = world.pool.read("balanceOf", leaver)
    asked = world.pool.send(leaver, "request_redeem", 1, shares)
    world.wait(3_600)
    world.refresh()
    world.open(world.terms(), 7_000 * E18, margin=150_000 * USDC)
    world.rest(0, 60 * E18)
    world.refresh()
    assert world.engine.read("health", world.held_id(TRADER))[0] < 0
    own, before = world.totals()["pool"], world.wallet(leaver)
    world.pool.send(STRANGER, "execute_redeem", int.from_bytes(asked.output, "big"))
    paid = world.wallet(leaver) - before
    assert paid <= own // 2
    world.liquidate(TRADER)
    assert world.totals()["pool"] >= own - paid
