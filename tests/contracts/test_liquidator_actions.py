"""Signed actions do what was signed, once, and never more than the position's owner accepted."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import margin
from contracts.fields import keccak256
from contracts.refusals import Refusal
from contracts.units import PPM
from tests.contracts.liquidators import (
    ADJUST,
    CROSS,
    DELEVERAGE,
    KEEPER,
    LIQUIDATE,
    MARKET,
    PRICE,
    Place,
    closed,
    event,
    law_of,
    mark,
    names,
    position_id,
    worth,
)
from tests.contracts.margins import e18, usd
from tests.contracts.world import OWNER

FEW = settings(derandomize=True, deadline=None, max_examples=60)
FUNCTIONS = {ADJUST: "adjust", DELEVERAGE: "deleverage", LIQUIDATE: "liquidate_signed"}
SHARES = {ADJUST: 1.2, DELEVERAGE: 1.2, LIQUIDATE: 0.9}  # of maintenance: where each may happen
EVENTS = {
    ADJUST: "PositionAdjusted",
    DELEVERAGE: "PositionDeleveraged",
    LIQUIDATE: "PositionLiquidated",
}
CLOSING = [DELEVERAGE, LIQUIDATE]


@pytest.fixture
def place() -> Place:
    return Place()


def carried_out(place, kind, **changes):
    return place.act(FUNCTIONS[kind], place.action(kind, **changes))


def stand(place, kind, **changes):
    return place.stand(SHARES[kind], **changes)


class TestOnce:
    @pytest.mark.parametrize("kind", FUNCTIONS)
    def test_action__brought_again__is_void(self, place, kind):
        stand(place, kind)
        action = place.action(kind)
        place.act(FUNCTIONS[kind], action)
        assert place.version() == 6
        with place.refuses(Refusal.ACTION_VOID):
            place.act(FUNCTIONS[kind], action)

    @pytest.mark.parametrize("kind", FUNCTIONS)
    @pytest.mark.parametrize("version", [0, 4, 6, 2**64 - 1])
    def test_action__another_version__is_void(self, place, kind, version):
        stand(place, kind)
        with place.refuses(Refusal.ACTION_VOID):
            carried_out(place, kind, position_version=version)

    @pytest.mark.parametrize("kind", FUNCTIONS)
    def test_action__after_adding_margin__still_holds(self, place, kind):
        health = stand(place, kind)
        action = place.action(kind)
        place.put(replace(health, equity=health.equity + 1))  # the version stays
        place.act(FUNCTIONS[kind], action)
        assert place.version() == 6

    @pytest.mark.parametrize("kind", CLOSING)
    def test_action__deferred_by_the_band__is_not_used_up(self, place, kind):
        stand(place, kind, average=PRICE * 100 // 97)
        action = place.action(kind)
        assert names(place.act(FUNCTIONS[kind], action)) == ["LiquidationDeferred"]
        place.wait(4)
        stand(place, kind, average=PRICE * 100 // 97)
        assert closed(place.act(FUNCTIONS[kind], action))

    @pytest.mark.parametrize("kind", FUNCTIONS)
    def test_action__any__names_what_was_signed(self, place, kind):
        stand(place, kind)
        action = place.action(kind)
        receipt = place.act(FUNCTIONS[kind], action)
        encoded = place.contract.calldata(FUNCTIONS[kind], astuple(action), [])
        logged = event(receipt, EVENTS[kind]).fields
        assert logged["action_hash"] == keccak256(encoded[4 : 4 + 32 * 10])
        assert logged["caller"] == KEEPER.lower()


class TestBounds:
    @pytest.mark.parametrize("kind", FUNCTIONS)
    @pytest.mark.parametrize("long", [True, False])
    def test_price_bound__met_exactly__holds(self, place, kind, long):
        stand(place, kind, long=long)
        carried_out(place, kind, price_bound=PRICE)
        assert place.version() == 6

    @pytest.mark.parametrize("kind", FUNCTIONS)
    @pytest.mark.parametrize("long", [True, False])
    def test_price_bound__one_unit_worse__is_beyond(self, place, kind, long):
        stand(place, kind, long=long)
        with place.refuses(Refusal.PRICE_BEYOND_BOUND):
            carried_out(place, kind, price_bound=PRICE + 1 if long else PRICE - 1)

    @pytest.mark.parametrize("kind", CLOSING)
    def test_price__that_the_signers_knew__is_refused(self, place, kind):
        stand(place, kind)
        with place.refuses(Refusal.PRICE_BEFORE_ACTION):
            carried_out(place, kind, observed_at=place.now_ms - 1_000)
        carried_out(place, kind, observed_at=place.now_ms - 1_001)

    @pytest.mark.parametrize("kind", CLOSING)
    def test_action__pause_old_price_or_price_of_the_position__stops_it_too(self, place, kind):
        stand(place, kind, margin=0)
        with place.refuses(Refusal.LIQUIDATION_PAUSED):
            carried_out(place, kind)
        stand(place, kind, mark=mark(place.now_ms - 60_001), stamp_ms=0)
        with place.refuses(Refusal.PRICE_TOO_OLD):
            carried_out(place, kind)
        stand(place, kind, stamp_ms=place.now_ms - 1_000)
        with place.refuses(Refusal.PRICE_BEFORE_POSITION):
            carried_out(place, kind)

    @pytest.mark.parametrize("kind", [ADJUST, DELEVERAGE])
    def test_fixed_position__adjusted_or_deleveraged__is_refused(self, place, kind):
        stand(place, kind, managed=False)
        with place.refuses(Refusal.NOT_MANAGED):
            carried_out(place, kind)

    def test_fixed_position__liquidated_by_signature__may_be(self, place):
        stand(place, LIQUIDATE, managed=False)
        assert closed(carried_out(place, LIQUIDATE))

    @pytest.mark.parametrize("kind", FUNCTIONS)
    @pytest.mark.parametrize("other", FUNCTIONS)
    def test_kind__of_another_function__is_refused(self, place, kind, other):
        if kind == other:
            return
        stand(place, kind)
        with place.refuses(Refusal.WRONG_ACTION_KIND):
            place.act(FUNCTIONS[kind], place.action(other))


class TestLiquidate:
    @FEW
    @given(share=st.integers(670, 999), most=st.integers(e18("0.1"), e18(10)))
    def test_liquidate_signed__above_two_thirds__closes_no_more_than_signed(self, share, most):
        place = Place()
        health = place.stand(share / 1_000)
        needed = law_of(health)
        if worth(health.size - min(needed, most)) < usd(100):
            return
        assert closed(carried_out(place, LIQUIDATE, max_size=most)) == min(needed, most)

    def test_liquidate_signed__below_two_thirds__closes_everything(self, place):
        health = place.stand(0.6)
        assert closed(carried_out(place, LIQUIDATE, max_size=1)) == health.size

    def test_liquidate_signed__a_healthy_position__is_refused(self, place):
        place.stand(1.0)
        with place.refuses(Refusal.NOT_LIQUIDATABLE):
            carried_out(place, LIQUIDATE)

    def test_liquidate_signed__cross__need_not_be_the_largest(self, place):
        place.stand(0.9, mode=CROSS, largest_market=MARKET + 1)
        cross = position_id(mode=CROSS)
        assert closed(carried_out(place, LIQUIDATE, position_id=cross))

    def test_liquidate_signed__no_size__is_void(self, place):
        place.stand(0.9)
        with place.refuses(Refusal.ACTION_VOID):
            carried_out(place, LIQUIDATE, max_size=0)

    def test_liquidate_signed__a_size_that_leaves_dust__is_void(self, place):
        size = e18("0.05")  # 150 USDC: the formula would take it all
        place.stand(0.9, size=size)
        with place.refuses(Refusal.ACTION_VOID):
            carried_out(place, LIQUIDATE, max_size=size - 1)
        assert closed(carried_out(place, LIQUIDATE, max_size=size)) == size

    def test_liquidate_signed__grace_and_window__hold(self, place):
        place.around.send(OWNER, "set_times", place.now_s, 0)
        place.stand(0.9)
        with place.refuses(Refusal.GRACE_RUNNING):
            carried_out(place, LIQUIDATE)
        place.around.send(OWNER, "set_times", 0, 0)
        place.stand(0.68, size=e18(200))
        place.liquidate()
        with place.refuses(Refusal.WINDOW_USED_UP):
            carried_out(place, LIQUIDATE, position_version=5 + 1)


class TestDeleverage:
    @FEW
    @given(share=st.integers(667, 1_599), long=st.booleans())
    def test_deleverage__below_the_margin_at_its_ceiling__closes_what_restores_it(
        self, share, long
    ):
        place = Place()
        health = place.stand(share / 1_000, long=long)
        receipt = carried_out(place, DELEVERAGE)
        size = closed(receipt)
        assert size == law_of(health, target_ppm=PPM, penalty_ppm=0) > 0
        call = event(receipt, "Liquidate").fields
        assert (call["penalty_ppm"], call["reward"]) == (0, 0)
        assert call["available"] == health.equity

    def test_deleverage__at_the_margin_of_its_ceiling__is_gone(self, place):
        at_ceiling = margin.maintenance_margin(e18(10), PRICE, 80_000)
        place.stand(equity=at_ceiling)
        with place.refuses(Refusal.TRIGGER_GONE):
            carried_out(place, DELEVERAGE)
        place.stand(equity=at_ceiling - 1)
        assert closed(carried_out(place, DELEVERAGE))

    def test_deleverage__below_two_thirds__leaves_it_to_liquidation(self, place):
        place.stand(equity=usd(1_000) - 1)
        with place.refuses(Refusal.TRIGGER_GONE):
            carried_out(place, DELEVERAGE)
        place.stand(equity=usd(1_000))
        assert closed(carried_out(place, DELEVERAGE))

    def test_deleverage__cross__counts_what_the_other_positions_ask(self, place):
        cross = position_id(mode=CROSS)
        others = usd(1_000)
        trigger = margin.maintenance_margin(e18(10), PRICE, 80_000) + others
        asked = usd(1_500) + others
        place.stand(mode=CROSS, equity=trigger, maintenance=asked)
        with place.refuses(Refusal.TRIGGER_GONE):
            carried_out(place, DELEVERAGE, position_id=cross)
        health = place.stand(mode=CROSS, equity=trigger - 1, maintenance=asked)
        size = closed(carried_out(place, DELEVERAGE, position_id=cross))
        assert size == law_of(health, target_ppm=PPM, penalty_ppm=0)

    def test_deleverage__smaller_size_signed__closes_that(self, place):
        place.stand(0.8)
        assert closed(carried_out(place, DELEVERAGE, max_size=e18(1))) == e18(1)

    def test_deleverage__grace_and_window__do_not_hold(self, place):
        place.around.send(OWNER, "set_times", place.now_s, place.now_s)
        health = place.stand(0.8, size=e18(200))
        assert worth(law_of(health, target_ppm=PPM, penalty_ppm=0)) > usd(250_000)
        assert closed(carried_out(place, DELEVERAGE)) == law_of(
            health, target_ppm=PPM, penalty_ppm=0
        )
        assert place.pace() == 0


class TestAdjust:
    def test_adjust__any__starts_at_the_live_ratio_and_takes_the_notice(self, place):
        place.stand(1.2, ratio_ppm=61_234)
        receipt = carried_out(place, ADJUST, maintenance_ppm=70_000)
        assert event(receipt, "Adjust").fields == {
            "position_id": position_id(),
            "from_ppm": 61_234,
            "target_ppm": 70_000,
            "ramp_s": 3_000,  # the double's notice of class 3
            "ai_epoch": 7,
        }
        assert int.from_bytes(receipt.output, "big") == 70_000

    @pytest.mark.parametrize("asked", [80_000, 80_001, 2**32 - 1])
    def test_adjust__beyond_the_ceiling__stops_at_it(self, place, asked):
        place.stand(1.2)
        receipt = carried_out(place, ADJUST, maintenance_ppm=asked)
        assert event(receipt, "Adjust").fields["target_ppm"] == 80_000

    def test_adjust__stale_price_and_paused_liquidation__does_not_matter(self, place):
        place.stand(1.2, mark=mark(place.now_ms - 10**7), margin=0)
        assert event(carried_out(place, ADJUST, maintenance_ppm=60_000), "Adjust")
