"""Liquidation from end to end: real prices, parameters, signatures, engine, vault and pool."""

from __future__ import annotations

import pytest

from contracts import margin
from contracts.book_words import CROSS, ISOLATED, account_number
from contracts.book_words import position_id as identity
from contracts.messages import ActionKind, Adjustment, MarginMode, Side
from contracts.refusals import Refusal
from tests.contracts.chain import PyEvm
from tests.contracts.margin_world import (
    E18,
    KEEPER,
    MARKET_RULES,
    TRADER,
    TRADERS,
    USDC,
    MarginWorld,
    events,
    message_tuple,
)
from tests.contracts.world import GUARDIAN, OWNER

SIZE = 1_000 * E18  # of market 0 at 100 USDC
MARGIN = 20_500 * USDC
LIQUIDATION = 4  # pause scope
CENT = E18 // 100


def position_id(account, market=0, mode=ISOLATED):
    """Name a position."""
    return identity(account_number(account), market, mode)


HELD = position_id(TRADER)


@pytest.fixture
def world() -> MarginWorld:
    return MarginWorld()


def price(cents: int) -> int:
    """Give a price from hundredths of a USDC."""
    return cents * CENT


def settle_down(world, market, price_e18):
    """Bring a market to a price, until its average has followed."""
    world.move(market, price_e18)
    world.pass_time(1_200)
    world.update()
    world.post()


def health(world, held_id=HELD):
    """Read equity and maintenance as the engine sees them."""
    answer = world.engine.read("health", held_id)
    return answer[0], answer[1]


def isolated(world, account=TRADER, size=SIZE, collateral=MARGIN, **changes):
    """Open at 5x."""
    world.deposit(account, collateral + 1_000 * USDC)
    world.open(world.terms(account, **changes), size, margin=collateral)


def cross(world, account=TRADER, money=29_500 * USDC, sizes=((0, SIZE), (1, 20 * E18))):
    """Open longs in one account, its markets as given."""
    world.deposit(account, money)
    for market, size in sizes:
        terms = world.terms(account, market=market, margin_mode=MarginMode.CROSS)
        world.open(terms, size)


def find_price(world, low, high, share_e2, held_id=HELD, market=0):
    """Bring a market to rest where a long's equity is this share (e2) of its maintenance."""
    while high - low > 1:
        middle = (low + high) // 2
        probe = price(middle)
        if _share(world, probe, held_id) >= share_e2:
            high = middle
        else:
            low = middle
    settle_down(world, market, price(high))


def _share(world, probe, held_id):
    held = world.held(TRADER, 0, held_id & 255)
    equity = held.collateral + margin.unrealised_pnl(1, held.size, held.basis, probe)
    asked = margin.maintenance_margin(held.size, probe, held.maintenance_ppm)
    return equity * 100 // asked


def at_share(world, share_e2):
    """Bring market 0 to rest where the isolated long's equity is this share of maintenance."""
    find_price(world, 5_000, 10_000, share_e2)
    equity, asked = health(world)
    assert abs(equity * 100 // asked - share_e2) <= 3


class TestLadder:
    def test_partial__below_maintenance__restores_half_again_and_pays_the_penalty(self, world):
        isolated(world)
        at_share(world, 85)
        before, reserve = world.held(TRADER), world.totals()["insurance"]
        had = world.holder(KEEPER).balance
        receipt = world.liquidate(TRADER)
        (told,) = events(receipt, "PositionLiquidated")
        assert 0 < told["size"] < before.size
        equity, asked = health(world)
        assert equity >= margin.ppm_ceil(asked, margin.TARGET_PPM)
        assert equity < asked * 152 // 100
        earned = world.holder(KEEPER).balance - had
        assert 0 < earned == MARKET_RULES.reward
        penalty = margin.charge(told["size"], world.prices[0], told["penalty_ppm"])
        assert earned + world.totals()["insurance"] - reserve == penalty
        world.invariants()

    def test_partial__again_at_the_same_price__is_refused(self, world):
        isolated(world)
        at_share(world, 85)
        world.liquidate(TRADER)
        with world.refuses(Refusal.PRICE_BEFORE_POSITION):
            world.liquidate(TRADER)
        world.wait(3)
        world.post()
        with world.refuses(Refusal.NOT_LIQUIDATABLE):
            world.liquidate(TRADER)

    def test_backstop__below_two_thirds__closes_all_and_returns_the_rest(self, world):
        isolated(world)
        at_share(world, 60)
        balance = world.holder(TRADER).balance
        equity, _ = health(world)
        world.liquidate(TRADER)
        assert world.held(TRADER).size == 0
        returned = world.holder(TRADER).balance - balance
        assert 0 < returned < equity
        world.invariants()

    def test_bankrupt__loss_beyond_the_collateral__is_borne_by_insurance(self, world):
        isolated(world)
        before = world.totals()
        settle_down(world, 0, price(7_500))
        balance = world.holder(TRADER).balance
        world.liquidate(TRADER)
        assert world.holder(TRADER).balance == balance
        assert world.holder(KEEPER).balance == MARKET_RULES.execution_fee  # nothing to take it from
        after = world.totals()
        assert after["insurance"] < before["insurance"]
        assert after["pool"] > before["pool"]
        world.invariants()

    def test_liquidation__isolated__leaves_the_other_positions_alone(self, world):
        isolated(world)
        cross(world)
        other = (world.held(TRADER, 0, CROSS), world.held(TRADER, 1, CROSS))
        settle_down(world, 0, price(8_100))
        world.liquidate(TRADER)
        assert world.held(TRADER).size == 0
        assert (world.held(TRADER, 0, CROSS), world.held(TRADER, 1, CROSS)) == other
        world.invariants()

    def test_liquidated__beside_one_who_closes__gets_less(self, world):
        for account in TRADERS[:2]:
            isolated(world, account)
        at_share(world, 60)
        had = [world.holder(account).balance for account in TRADERS[:2]]
        world.close(TRADERS[1])
        world.liquidate(TRADER)
        got, closed = (
            world.holder(account).balance - before
            for account, before in zip(TRADERS[:2], had, strict=True)
        )
        assert 0 < got < closed

    @pytest.mark.parametrize("share_e2", [5, 60, 67, 85, 99])
    def test_reward__any_health__is_never_more_than_the_penalty(self, world, share_e2):
        world.set_rules(0, reward=250_000, min_notional_usdc=100)
        isolated(world, size=E18 * 102 // 100, collateral=21 * USDC)
        find_price(world, 7_000, 10_000, share_e2)  # 102 USDC: the least
        had, reserve = world.holder(KEEPER).balance, world.totals()["insurance"]
        receipt = world.liquidate(TRADER)
        (done,) = events(receipt, "Liquidation")
        earned = world.holder(KEEPER).balance - had
        assert earned == done["reward"] <= done["penalty"]
        kept = world.totals()["insurance"] - reserve
        assert kept == done["penalty"] - earned - done["shortfall"]
        world.invariants()


class TestSecondRound:
    def test_bad_print__accepted_by_the_feed__then_back__liquidates_nobody(self, world):
        isolated(world)
        world.move(0, price(7_000))
        receipt = world.liquidate(TRADER)
        assert events(receipt, "LiquidationDeferred")
        world.move(0, price(10_000))
        with world.refuses(Refusal.NOT_LIQUIDATABLE):
            world.liquidate(TRADER)
        assert world.held(TRADER).size == SIZE

    def test_crash__is_liquidated_within_30_s(self, world):
        isolated(world)
        world.move(0, price(7_000))
        begun = world.now_s
        world.liquidate(TRADER)
        with world.refuses(Refusal.AWAITING_SECOND_ROUND):
            world.liquidate(TRADER)
        world.wait(4)
        world.post()
        world.liquidate(TRADER)
        assert world.held(TRADER).size == 0
        assert world.now_s - begun <= 30
        world.invariants()

    def test_crash__feed_stands_still__is_liquidated_after_30_s(self, world):
        isolated(world)
        world.move(0, price(7_000))
        world.liquidate(TRADER)
        world.wait(30)
        world.liquidate(TRADER)
        assert world.held(TRADER).size == 0

    def test_bad_print__in_another_market_of_the_account__liquidates_nobody(self, world):
        cross(world)
        world.move(1, 500 * E18)
        assert events(world.liquidate(TRADER, 0, CROSS), "LiquidationDeferred")
        assert world.held(TRADER, 0, CROSS).size == SIZE


class TestCross:
    def test_cross__largest_maintenance_first(self, world):
        cross(world)
        settle_down(world, 0, price(7_300))
        with world.refuses(Refusal.NOT_THE_LARGEST):
            world.liquidate(TRADER, 1, CROSS)
        world.liquidate(TRADER, 0, CROSS)
        world.invariants()

    def test_cross__the_largest_s_market_is_stale__the_next_is_liquidated(self, world):
        cross(world, sizes=((0, SIZE), (1, 20 * E18)))
        kept = world.prices.pop(0)
        settle_down(world, 1, 700 * E18)
        world.prices[0] = kept
        with world.refuses(Refusal.PRICE_TOO_OLD):
            world.liquidate(TRADER, 0, CROSS)
        world.liquidate(TRADER, 1, CROSS)
        assert world.held(TRADER, 1, CROSS).size < 20 * E18
        world.invariants()

    def test_cross__signed__need_not_be_the_largest(self, world):
        cross(world)
        settle_down(world, 0, price(7_300))
        action = world.action(position_id(TRADER, 1, CROSS), ActionKind.LIQUIDATE)
        world.wait(1)
        world.post()
        world.act("liquidate_signed", action)
        assert world.held(TRADER, 1, CROSS).size < 20 * E18


class TestGrace:
    def test_partial__after_a_pause__waits_five_minutes(self, world):
        isolated(world)
        at_share(world, 85)
        world.oracle.send(GUARDIAN, "pause", LIQUIDATION, 400)
        with world.refuses(Refusal.LIQUIDATION_PAUSED):
            world.liquidate(TRADER)
        world.pass_time(400)
        with world.refuses(Refusal.GRACE_RUNNING):
            world.liquidate(TRADER)
        world.pass_time(300)
        world.liquidate(TRADER)
        assert 0 < world.held(TRADER).size < SIZE

    def test_partial__resumed_by_the_owner__waits_from_there(self, world):
        isolated(world)
        at_share(world, 85)
        world.oracle.send(GUARDIAN, "pause", LIQUIDATION, 3_000)
        world.pass_time(80)
        world.oracle.send(OWNER, "resume", LIQUIDATION)
        world.pass_time(280)
        with world.refuses(Refusal.GRACE_RUNNING):
            world.liquidate(TRADER)
        world.pass_time(20)
        world.liquidate(TRADER)

    def test_backstop__right_after_a_pause__does_not_wait(self, world):
        isolated(world)
        at_share(world, 60)
        world.oracle.send(GUARDIAN, "pause", LIQUIDATION, 400)
        world.pass_time(400)
        world.liquidate(TRADER)
        assert world.held(TRADER).size == 0

    def test_partial__after_a_price_gap__waits_five_minutes(self, world):
        isolated(world)
        at_share(world, 85)
        world.wait(301)
        world.post()
        with world.refuses(Refusal.GRACE_RUNNING):
            world.liquidate(TRADER)
        world.pass_time(300)
        world.liquidate(TRADER)
        assert 0 < world.held(TRADER).size < SIZE


class TestWindow:
    def test_large__partials_of_a_minute__are_paced(self, world):
        isolated(world, size=8_000 * E18, collateral=165_000 * USDC)
        at_share(world, 70)
        first = world.liquidate(TRADER)
        (told,) = events(first, "PositionLiquidated")
        assert margin.notional_down(told["size"], world.prices[0]) <= 250_000 * USDC
        world.wait(3)
        world.post()
        equity, asked = health(world)
        if equity < asked:
            with world.refuses(Refusal.WINDOW_USED_UP):
                world.liquidate(TRADER)
            world.pass_time(60)
            world.liquidate(TRADER)
        world.invariants()


def managed(world, **changes):
    isolated(world, adjustment=Adjustment.MANAGED, **changes)


class TestActions:
    def later(self, world, action):
        world.wait(1)
        world.post()
        return action

    def test_deleverage__restores_the_margin_at_the_ceiling_at_no_penalty(self, world):
        managed(world)
        at_share(world, 120)
        reserve = world.totals()["insurance"]
        action = self.later(world, world.action(HELD, ActionKind.DELEVERAGE))
        world.act("deleverage", action)
        held = world.held(TRADER)
        assert 0 < held.size < SIZE
        equity, _ = health(world)
        assert equity >= margin.maintenance_margin(held.size, world.prices[0], held.ceiling_ppm)
        assert world.totals()["insurance"] == reserve
        assert world.holder(KEEPER).balance == MARKET_RULES.execution_fee
        world.invariants()

    def test_action__brought_again__is_void(self, world):
        managed(world)
        at_share(world, 120)
        action = self.later(
            world, world.action(HELD, ActionKind.DELEVERAGE, max_size_e18=100 * E18)
        )
        world.act("deleverage", action)
        world.wait(1)
        world.post()
        with world.refuses(Refusal.ACTION_VOID):
            world.act("deleverage", action)

    def test_action__after_adding_margin__still_holds(self, world):
        managed(world)
        at_share(world, 120)
        action = self.later(world, world.action(HELD, ActionKind.DELEVERAGE))
        world.engine.send(TRADER, "add_margin", 0, 10 * USDC, False)
        world.act("deleverage", action)
        assert world.held(TRADER).size < SIZE

    def test_action__after_the_size_changed__is_void(self, world):
        managed(world)
        at_share(world, 120)
        action = world.action(HELD, ActionKind.DELEVERAGE)
        world.close(TRADER, size=E18)
        with world.refuses(Refusal.ACTION_VOID):
            world.act("deleverage", action)

    def test_action__trigger_gone_by_added_margin__is_refused(self, world):
        managed(world)
        at_share(world, 120)
        action = self.later(world, world.action(HELD, ActionKind.DELEVERAGE))
        world.mint(TRADER, 20_000 * USDC, world.vault)
        world.engine.send(TRADER, "add_margin", 0, 20_000 * USDC, True)
        with world.refuses(Refusal.TRIGGER_GONE):
            world.act("deleverage", action)

    def test_action__price_of_the_signing__is_refused(self, world):
        managed(world)
        at_share(world, 120)
        action = world.action(HELD, ActionKind.DELEVERAGE)
        world.post()
        with world.refuses(Refusal.PRICE_BEFORE_ACTION):
            world.act("deleverage", action)

    def test_action__fixed_position__is_refused(self, world):
        isolated(world)
        action = self.later(world, world.action(HELD, ActionKind.ADJUST))
        with world.refuses(Refusal.NOT_MANAGED):
            world.act("adjust", action)

    def test_action__with_the_signatures_of_another__is_refused(self, world):
        managed(world)
        action = self.later(world, world.action(HELD, ActionKind.ADJUST))
        other = world.action(HELD, ActionKind.ADJUST, maintenance_ppm=60_000)
        with world.refuses(Refusal.UNKNOWN_SIGNER):
            world.liquidator.send(KEEPER, "adjust", message_tuple(action), world.sign(other))

    def test_action__while_ai_input_is_paused__is_refused(self, world):
        managed(world)
        action = self.later(world, world.action(HELD, ActionKind.ADJUST))
        world.oracle.send(GUARDIAN, "pause", 2, 700)
        with world.refuses(Refusal.AI_INPUT_PAUSED):
            world.act("adjust", action)

    def test_adjust__any__changes_nothing_in_its_block_and_stops_at_the_ceiling(self, world):
        managed(world)
        before = health(world)
        action = self.later(world, world.action(HELD, ActionKind.ADJUST, maintenance_ppm=90_000))
        world.act("adjust", action)
        assert health(world)[1] == before[1]
        world.pass_time(1_800)
        world.update()
        halfway = world.engine.read("health", HELD)[6]
        assert 64_900 <= halfway <= 65_100
        world.pass_time(1_800)
        world.update()
        assert world.engine.read("health", HELD)[6] == 80_000
        world.pass_time(600)
        assert world.engine.read("health", HELD)[6] == 80_000
        with world.refuses(Refusal.OBSERVATION_TOO_OLD):
            world.act("adjust", action)

    def test_adjust__brought_again__is_void(self, world):
        managed(world)
        action = self.later(world, world.action(HELD, ActionKind.ADJUST))
        world.act("adjust", action)
        with world.refuses(Refusal.ACTION_VOID):
            world.act("adjust", action)


class TestSides:
    def lopsided(self, world):
        """Longs of 500,000 USDC, a short of 100,000."""
        for account in TRADERS[:2]:
            isolated(world, account, size=2_500 * E18, collateral=60_000 * USDC)
        short = {"side": Side.SHORT}
        isolated(world, TRADERS[2], size=SIZE, collateral=100_000 * USDC, **short)
        world.set_rules(0, cut_share_ppm=50_000)

    def test_side__beyond_its_share__is_cut_alike_and_no_further(self, world):
        self.lopsided(world)
        settle_down(world, 0, price(14_000))
        ids = [position_id(account, 0, ISOLATED) for account in TRADERS[:3]]
        equities = [health(world, held)[0] for held in ids]
        sizes = [world.engine.read("health", held)[3] for held in ids]
        pool = world.totals()["pool"]
        receipt = world.liquidator.send(KEEPER, "deleverage_side", 0, True)
        payout = int.from_bytes(receipt.output, "big")
        assert 0 < payout <= pool
        longs, _ = world.market(0).profits(world.prices[0], world.now_s)
        left = world.totals()["pool"]
        assert abs(longs - left * 50_000 // 10**6) <= USDC
        after = [world.engine.read("health", held) for held in ids]
        for now, before in zip(after, equities, strict=True):
            assert before - 3 <= now[0] <= before
        kept = [now[3] * 10**6 // size for now, size in zip(after, sizes, strict=True)]
        assert kept[0] == kept[1] < 10**6 == kept[2]
        with world.refuses(Refusal.NOTHING_TO_DELEVERAGE):
            world.liquidator.send(KEEPER, "deleverage_side", 0, True)
        world.invariants()
        for held in ids[:2]:
            world.engine.send(KEEPER, "catch_up", held)
        world.invariants()

    def test_side__losers__keep_their_equity(self, world):
        self.lopsided(world)
        settle_down(world, 0, price(13_500))
        isolated(world, TRADERS[3], size=100 * E18, collateral=8_000 * USDC)
        settle_down(world, 0, price(13_200))
        late = position_id(TRADERS[3], 0, ISOLATED)
        equity, asked = health(world, late)
        world.liquidator.send(KEEPER, "deleverage_side", 0, True)
        after, less = health(world, late)
        assert equity - 3 <= after <= equity
        assert less < asked
        world.invariants()

    def test_side__far_price__needs_a_second_round(self, world):
        self.lopsided(world)
        world.move(0, price(14_000))
        receipt = world.liquidator.send(KEEPER, "deleverage_side", 0, True)
        assert events(receipt, "LiquidationDeferred")
        world.wait(4)
        world.post()
        assert events(world.liquidator.send(KEEPER, "deleverage_side", 0, True), "SideDeleveraged")


class TestGas:
    MOST = 250_000

    def test_full_liquidation__isolated_and_cold__stays_below_its_target(self):
        world = MarginWorld(PyEvm())
        for account in TRADERS[:2]:
            isolated(world, account)
        at_share(world, 60)
        receipt = world.liquidate(TRADER)
        assert world.held(TRADER).size == 0
        assert receipt.gas_used <= self.MOST

    def test_partial_liquidation__isolated_and_cold__stays_below_its_target(self):
        world = MarginWorld(PyEvm())
        for account in TRADERS[:2]:
            isolated(world, account)
        at_share(world, 85)
        receipt = world.liquidate(TRADER)
        assert world.held(TRADER).size > 0
        assert receipt.gas_used <= self.MOST
