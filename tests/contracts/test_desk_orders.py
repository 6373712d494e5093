"""Orders from request to position with every contract in place: both modes, both sides."""

from __future__ import annotations

import pytest

from contracts.margin import average_entry_price, charge, unrealised_pnl
from contracts.margin_price import TradeRules, impact_cost
from contracts.messages import Adjustment, MarginMode, Side
from contracts.refusals import Refusal
from contracts.units import UsdcE6
from tests.contracts.chain import PyEvm
from tests.contracts.margin_world import (
    CROSS,
    E18,
    ISOLATED,
    KEEPER,
    MARKET_RULES,
    PRICES,
    TRADER,
    TRADERS,
    USDC,
    MarginWorld,
)
from tests.contracts.world import GUARDIAN

FEE_E6 = MARKET_RULES.execution_fee
SPREAD_PPM = 1_000
SIZE = 50 * E18  # 5,000 USDC in market 0
MARGIN = 1_200 * USDC
START = 10_000 * USDC
MODES = [MarginMode.ISOLATED, MarginMode.CROSS]
both = pytest.mark.parametrize("mode", MODES)
sides = pytest.mark.parametrize("side", list(Side))


@pytest.fixture
def world():
    found = MarginWorld()
    found.deposit(TRADER, START)
    return found


def terms(world, side, mode, **changes):
    return world.terms(side=side, margin_mode=mode, **changes)


def opened(world, side, mode, size=SIZE, **asked):
    margin = MARGIN if mode == MarginMode.ISOLATED else 0
    return world.open(terms(world, side, mode), size, **{"margin": margin, **asked})


def cost_of(world, direction, size, skew, price=PRICES[0]):
    """Give spread, impact and fee of a leg, as the law has them."""
    rules = TradeRules(
        fee_ppm=MARKET_RULES.fee_ppm,
        spread_ppm=SPREAD_PPM,
        impact_ppm=MARKET_RULES.impact_ppm,
        size_scale=UsdcE6(world.oracle.parameters()["size_scale_usdc"] * USDC),
    )
    spread = charge(size, price, SPREAD_PPM)
    impact = impact_cost(skew, skew + direction * size, price, rules)
    return spread + impact + charge(size, price, rules.fee_ppm)


class TestOpening:
    """What an opening leaves behind."""

    @both
    @sides
    def test_open__first__holds_what_was_asked_at_the_mark(self, world, side, mode):
        opened(world, side, mode)
        held = world.held(TRADER, 0, mode)
        assert (held.size, held.basis, held.side, held.leverage_e2) == (SIZE, PRICES[0], side, 500)
        assert (held.maintenance_ppm, held.version, held.stamp_ms) == (50_000, 1, world.now_ms)
        world.invariants()

    @both
    @sides
    def test_open__first__costs_spread_impact_and_fee(self, world, side, mode):
        opened(world, side, mode)
        cost = cost_of(world, int(side), SIZE, 0)
        if mode == MarginMode.ISOLATED:
            assert world.held(TRADER).collateral == MARGIN - cost
            assert world.holder(TRADER).balance == START - MARGIN - FEE_E6
        else:
            assert world.holder(TRADER).balance == START - cost - FEE_E6
        assert world.holder(KEEPER).balance == FEE_E6

    @both
    @sides
    def test_open__again__averages_the_entry(self, world, side, mode):
        opened(world, side, mode)
        world.rest(0, PRICES[0] * 101 // 100)
        before = world.market(0)
        opened(world, side, mode, size=SIZE // 2)
        held = world.held(TRADER, 0, mode)
        net = world.prices[0] - before.index_at(world.now_s)
        assert held.size == SIZE + SIZE // 2
        assert held.basis == average_entry_price(int(side), SIZE, PRICES[0], SIZE // 2, net)
        assert held.version == 2
        world.invariants()

    @both
    def test_open__two_sides_of_modes__stand_side_by_side(self, world, mode):
        other = MODES[mode == MarginMode.ISOLATED]
        opened(world, Side.LONG, mode)
        opened(world, Side.SHORT, other)
        assert world.held(TRADER, 0, mode).long
        assert not world.held(TRADER, 0, other).long
        world.invariants()


class TestAgainst:
    """Orders against a position, and closes."""

    @both
    @sides
    def test_order__against_a_part__reduces(self, world, side, mode):
        opened(world, side, mode)
        opened(world, Side(-side), mode, size=SIZE // 5, margin=0)
        held = world.held(TRADER, 0, mode)
        assert (held.size, held.side, held.version) == (SIZE - SIZE // 5, side, 2)
        world.invariants()

    @both
    @sides
    def test_order__against_more_than_all__flips(self, world, side, mode):
        opened(world, side, mode)
        opened(world, Side(-side), mode, size=2 * SIZE)
        held = world.held(TRADER, 0, mode)
        assert (held.size, held.side) == (SIZE, -side)
        assert held.version > 1
        world.invariants()

    @both
    @sides
    def test_close__part__reduces_and_releases(self, world, side, mode):
        opened(world, side, mode)
        world.close(TRADER, 0, mode, SIZE // 4)
        assert world.held(TRADER, 0, mode).size == SIZE - SIZE // 4
        world.invariants()

    @both
    @sides
    @pytest.mark.parametrize("percent", [97, 100, 104])
    def test_close__all__leaves_profit_less_costs_and_nothing_else(
        self, world, side, mode, percent
    ):
        opened(world, side, mode)
        world.rest(0, PRICES[0] * percent // 100)
        before = world.holder(TRADER).balance + world.held(TRADER, 0, mode).collateral
        requested = world.request_close(TRADER, 0, mode)
        world.wait(3)
        world.post()
        found = world.view("position_view", TRADER, 0, mode)
        world.execute(requested)
        price, _, _ = world.feed.read("mark", 0)
        cost = cost_of(world, -int(side), SIZE, int(side) * SIZE, price)
        assert world.held(TRADER, 0, mode).size == 0
        assert world.holder(TRADER).balance == before + found["profit"] - cost - FEE_E6
        entry = found["entry_price"]
        assert found["profit"] == unrealised_pnl(int(side), SIZE, entry, price)
        market = world.market(0)
        assert (market.long_size, market.short_size, market.long_basis, market.short_basis) == (
            0,
        ) * 4
        world.invariants()

    @both
    def test_close__then_withdrawing_everything__leaves_nothing(self, world, mode):
        opened(world, Side.LONG, mode)
        world.close(TRADER, 0, mode)
        balance = world.holder(TRADER).balance
        world.engine.send(TRADER, "withdraw", balance)
        assert (world.wallet(TRADER), world.holder(TRADER).balance) == (balance, 0)
        world.invariants()

    @both
    def test_close__waiting_while_the_position_flips__refuses_nothing_to_reduce(self, world, mode):
        opened(world, Side.LONG, mode)
        margin = 2 * MARGIN if mode == MarginMode.ISOLATED else 0
        flip = world.request_open(terms(world, Side.SHORT, mode), 2 * SIZE, margin=margin)
        close = world.request_close(TRADER, 0, mode)
        world.fill(flip)
        with world.refuses(Refusal.NOTHING_TO_REDUCE):
            world.execute(close)

    @both
    def test_close__while_nothing_may_be_opened__goes_on(self, world, mode):
        opened(world, Side.LONG, mode)
        world.oracle.send(GUARDIAN, "pause", 1, 3_000)
        with pytest.raises(Exception, match="OPENING_PAUSED"):
            opened(world, Side.LONG, mode)
        world.close(TRADER, 0, mode)
        assert world.held(TRADER, 0, mode).size == 0


class TestWaiting:
    """What a request holds, and what comes back."""

    def test_request__isolated__holds_margin_and_fee_apart(self, world):
        requested = world.request_open(terms(world, Side.LONG, MarginMode.ISOLATED), SIZE, margin=7)
        assert world.holder(TRADER).balance == START - 7 - FEE_E6
        world.invariants()
        world.wait(18)
        insurance = world.totals()["insurance"]
        world.cancel(requested)
        assert world.holder(TRADER).balance == START - FEE_E6
        assert world.totals()["insurance"] == insurance + FEE_E6
        world.invariants()

    def test_request__cross__promises_the_fee(self, world):
        requested = world.request_open(terms(world, Side.LONG, MarginMode.CROSS), SIZE)
        assert (world.holder(TRADER).balance, world.holder(TRADER).promised) == (START, FEE_E6)
        with world.refuses(Refusal.BALANCE_SHORT):
            world.engine.send(TRADER, "withdraw", START)
        world.wait(18)
        world.cancel(requested)
        holder = world.holder(TRADER)
        assert (holder.balance, holder.promised) == (START - FEE_E6, 0)
        world.invariants()

    def test_execute__before_a_new_price__refuses_price_outside_window(self, world):
        requested = world.request_open(
            terms(world, Side.LONG, MarginMode.ISOLATED), SIZE, margin=MARGIN
        )
        with world.refuses(Refusal.PRICE_OUTSIDE_WINDOW):
            world.execute(requested)
        world.wait(3)
        with world.refuses(Refusal.PRICE_OUTSIDE_WINDOW):
            world.execute(requested)

    @pytest.mark.parametrize("ahead_ms", [1_999, 2_000])
    def test_execute__price_stamped_ahead_in_the_same_second__refuses_price_outside_window(
        self, world, ahead_ms
    ):
        requested = world.request_open(
            terms(world, Side.LONG, MarginMode.ISOLATED), SIZE, margin=MARGIN
        )
        world.post(observed_at_ms=world.now_ms + ahead_ms)
        with world.refuses(Refusal.PRICE_OUTSIDE_WINDOW):
            world.execute(requested)
        world.wait(3)
        with world.refuses(Refusal.PRICE_OUTSIDE_WINDOW):
            world.execute(requested)

    @pytest.mark.parametrize(("side", "mended"), [(Side.LONG, 1), (Side.SHORT, -1)])
    def test_execute__price_worse_than_acceptable__refuses_price_not_acceptable(
        self, world, side, mended
    ):
        cost = cost_of(world, int(side), SIZE, 0) - charge(SIZE, PRICES[0], 500)
        worst = PRICES[0] + int(side) * -(-cost * 10**30 // SIZE)
        asked = {"margin": MARGIN, "acceptable_price": worst - mended}
        requested = world.request_open(terms(world, side, MarginMode.ISOLATED), SIZE, **asked)
        world.wait(3)
        world.post()
        with world.refuses(Refusal.PRICE_NOT_ACCEPTABLE):
            world.execute(requested)
        again = terms(world, side, MarginMode.ISOLATED)
        world.open(again, SIZE, margin=MARGIN, acceptable_price=worst)
        assert world.held(TRADER).size == SIZE

    def test_execute__by_the_trader__earns_the_fee_back(self, world):
        requested = world.request_open(terms(world, Side.LONG, MarginMode.CROSS), SIZE)
        world.wait(3)
        world.post()
        world.execute(requested, TRADER)
        assert world.holder(TRADER).balance == START - cost_of(world, 1, SIZE, 0)

    def test_request__beyond_the_balance__refuses_balance_short(self, world):
        with world.refuses(Refusal.BALANCE_SHORT):
            world.request_open(terms(world, Side.LONG, MarginMode.ISOLATED), SIZE, margin=START)


class TestTerms:
    """Leverage and adjustment of an open position."""

    @both
    def test_change_terms__new_leverage_and_adjustment__hold_at_once(self, world, mode):
        opened(world, Side.LONG, mode)
        new = terms(world, Side.LONG, mode, adjustment=Adjustment.MANAGED)
        world.change_terms(new, 450)
        held = world.held(TRADER, 0, mode)
        assert (held.leverage_e2, held.managed, held.ceiling_ppm) == (450, True, 80_000)
        assert held.version == 2
        world.invariants()

    def test_change_terms__more_leverage_than_margin__refuses_margin_short(self, world):
        opened(world, Side.LONG, MarginMode.ISOLATED)
        with world.refuses(Refusal.MARGIN_SHORT):
            world.change_terms(terms(world, Side.LONG, MarginMode.ISOLATED), 200)

    def test_change_terms__same_terms_twice__refuses_terms_used(self, world):
        opened(world, Side.LONG, MarginMode.ISOLATED)
        new = terms(world, Side.LONG, MarginMode.ISOLATED)
        world.change_terms(new, 450)
        with world.refuses(Refusal.TERMS_USED):
            world.change_terms(new, 450)


class TestViews:
    """What the views say of real positions."""

    @both
    def test_position_view__open__agrees_with_the_engine(self, world, mode):
        opened(world, Side.SHORT, mode)
        found = world.view("position_view", TRADER, 0, mode)
        assert (found["side"], found["size"], found["entry_price"]) == (-1, SIZE, PRICES[0])
        assert found["own_maintenance"] == charge(SIZE, PRICES[0], 50_000)
        assert not found["liquidatable"]

    @pytest.mark.parametrize("market", [0, 65_535])
    @pytest.mark.parametrize("mode", [ISOLATED, CROSS])
    def test_position_view__none__is_empty(self, world, market, mode):
        found = world.view("position_view", TRADERS[1], market, mode)
        assert set(found.values()) == {0}

    def test_account_view__withdrawable__is_what_can_be_withdrawn(self, world):
        opened(world, Side.LONG, MarginMode.CROSS)
        found = world.view("account_view", TRADER)
        assert list(found["markets"]) == [0]
        with world.refuses(Refusal.MARGIN_LOCKED):
            world.engine.send(TRADER, "withdraw", found["withdrawable"] + 1)
        world.engine.send(TRADER, "withdraw", found["withdrawable"])
        assert world.view("account_view", TRADER)["withdrawable"] == 0
        world.invariants()

    @both
    @sides
    def test_quote__at_execution__is_what_is_paid(self, world, mode, side):
        found = world.view("quote", 0, side > 0, True, SIZE)
        opened(world, side, mode)
        cost = found["spread"] + found["impact"] + found["fee"]
        paid = START - FEE_E6 - world.holder(TRADER).balance
        if mode == MarginMode.ISOLATED:
            paid -= world.held(TRADER).collateral
        assert paid == cost

    @both
    def test_exposure__open_positions__equal_the_pool_s_side(self, world, mode):
        opened(world, Side.LONG, mode)
        world.rest(0, PRICES[0] * 103 // 100)
        found = world.view("position_view", TRADER, 0, mode)
        _, high, low, reserve = world.views.read("exposure", world.now_ms)
        assert low <= found["profit"] <= high <= reserve
        assert world.views.read("exposure_at_last_prices") == (0, found["profit"])


class TestGas:
    """The whole path, cold and exact, in a market that is traded, by an account that never did."""

    @both
    def test_gas__open_and_close__stay_within_their_targets(self, mode):
        world = MarginWorld(evm=PyEvm(), threshold=3)
        margin = MARGIN if mode == MarginMode.ISOLATED else 0
        for account in (TRADERS[1], TRADER):
            world.deposit(account, START)
            asked = world.terms(account, margin_mode=mode)
            requested = world.request_open(asked, SIZE, margin=margin)
            executed = world.fill(requested)
        assert requested.gas_used <= 127_000
        assert requested.gas_used + executed.gas_used <= 350_000
        asked = world.request_close(TRADER, 0, mode)
        closed = world.fill(asked)
        assert asked.gas_used + closed.gas_used <= 250_000
