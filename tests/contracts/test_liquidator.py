"""Who is liquidated, how much, when: before a double of the engine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.refusals import Refusal
from tests.contracts.chain import RefusedError
from tests.contracts.liquidators import (
    BAND_PPM,
    CROSS,
    KEEPER,
    MARGIN,
    MARKET,
    PENALTY_MAX_PPM,
    PRICE,
    REWARD_E6,
    RULES,
    SCALE_USDC,
    Place,
    closed,
    event,
    law_of,
    mark,
    names,
    penalty_of,
    position_id,
    used,
    worth,
)
from tests.contracts.margins import e18, usd
from tests.contracts.world import OWNER

CAPACITY = usd(SCALE_USDC) // 4
FAR = PRICE * 100 // 97  # an average, from which the price is beyond the band
FEW = settings(derandomize=True, deadline=None, max_examples=60)


@pytest.fixture
def place() -> Place:
    return Place()


def observed(place, age_s):
    return mark(place.now_ms - 1_000 * age_s)


def attempt(place):
    """Close what the window lets; 0 where it lets nothing."""
    try:
        return closed(place.liquidate())
    except RefusedError as error:
        if error.refusal is not Refusal.WINDOW_USED_UP:
            raise
        return 0


class TestAmount:
    @FEW
    @given(
        share=st.integers(670_000, 999_000),
        long=st.booleans(),
        skew=st.integers(-e18(100), e18(100)),
    )
    def test_liquidate__between_two_thirds_and_maintenance__closes_what_the_law_says(
        self, share, long, skew
    ):
        place = Place()
        health = place.stand(share / 10**6, long=long, skew=skew)
        size = closed(place.liquidate())
        assert size == law_of(health)
        assert 0 < size < health.size

    @FEW
    @given(share=st.integers(-500_000, 666_000))
    def test_liquidate__below_two_thirds__closes_everything(self, share):
        place = Place()
        health = place.stand(share / 10**6)
        receipt = place.liquidate()
        assert closed(receipt) == health.size
        assert event(receipt, "PositionLiquidated").fields["whole"]

    def test_liquidate__exactly_two_thirds__closes_a_part(self, place):
        health = place.stand(maintenance=usd(1_500), equity=usd(1_000))
        assert closed(place.liquidate()) == law_of(health) < health.size
        place.stand(maintenance=usd(1_500), equity=usd(1_000) - 1)
        assert closed(place.liquidate()) == health.size

    def test_liquidate__a_rest_of_dust__closes_everything(self, place):
        health = place.stand(0.7, size=e18("0.05"))  # 150 USDC, of which 100 have to stay
        assert 0 < law_of(health) < health.size
        assert closed(place.liquidate()) == health.size

    def test_liquidate__cross__counts_what_the_other_positions_ask(self, place):
        health = place.stand(0.9, mode=CROSS, maintenance=usd(2_000))
        size = closed(place.liquidate(CROSS))
        assert size == law_of(health) > law_of(replace(health, maintenance=usd(1_500)))

    @FEW
    @given(equity=st.integers(-usd(100), usd(1_499)))
    def test_liquidate__any__passes_penalty_reward_and_what_is_there_to_the_engine(self, equity):
        place = Place()
        health = place.stand(equity=equity)
        assert health.maintenance == usd(1_500)
        call = event(place.liquidate(), "Liquidate").fields
        assert call["penalty_ppm"] == penalty_of(health) <= PENALTY_MAX_PPM
        assert call["available"] == max(0, equity)
        assert call["reward"] == REWARD_E6
        assert call["recipient"].lower() == KEEPER.lower()
        assert call["position_id"] == position_id()

    def test_liquidate__any__says_why(self, place):
        health = place.stand(0.8)
        receipt = place.liquidate()
        assert event(receipt, "PositionLiquidated").fields == {
            "position_id": position_id(),
            "caller": KEEPER.lower(),
            "size": closed(receipt),
            "whole": False,
            "penalty_ppm": penalty_of(health),
            "equity": health.equity,
            "maintenance": health.maintenance,
            "action_hash": bytes(32),
        }


class TestSecondRound:
    def test_bad_print__one_round_then_back__liquidates_nobody(self, place):
        place.stand(0.1, average=FAR)
        receipt = place.liquidate()
        assert names(receipt) == ["LiquidationDeferred"]
        assert int.from_bytes(receipt.output, "big") == 0
        place.wait(5)
        place.stand(3.0)
        with place.refuses(Refusal.NOT_LIQUIDATABLE):
            place.liquidate()

    @pytest.mark.parametrize("later_s", [3, 5, 30])
    def test_crash__a_second_round_agrees__is_liquidated(self, place, later_s):
        health = place.stand(0.1, average=FAR)
        place.liquidate()
        place.wait(later_s)
        place.stand(0.1, average=FAR)  # its price is of now
        assert closed(place.liquidate()) == health.size

    def test_crash__no_other_round__is_liquidated_within_30_s(self, place):
        health = place.stand(0.1, average=FAR)
        place.liquidate()
        place.wait(29)
        with place.refuses(Refusal.AWAITING_SECOND_ROUND):
            place.liquidate()
        place.wait(1)
        assert closed(place.liquidate()) == health.size

    def test_crash__second_round_too_near_the_first__waits(self, place):
        place.stand(0.1, average=FAR, mark=observed(place, 1))
        place.liquidate()
        place.wait(2)
        place.stand(0.1, average=FAR, mark=mark(place.now_ms - 1_000 + 999))
        with place.refuses(Refusal.AWAITING_SECOND_ROUND):
            place.liquidate()
        place.stand(0.1, average=FAR, mark=mark(place.now_ms))
        assert closed(place.liquidate())

    def test_note__the_other_side__is_no_agreement(self, place):
        place.stand(0.1, average=FAR)
        place.liquidate()
        place.wait(5)
        place.stand(0.1, average=PRICE * 100 // 103)
        assert names(place.liquidate()) == ["LiquidationDeferred"]
        place.wait(5)
        place.stand(0.1, average=PRICE * 100 // 103)
        assert closed(place.liquidate())

    def test_note__two_minutes_old__is_no_agreement(self, place):
        place.stand(0.1, average=FAR)
        place.liquidate()
        place.wait(119)
        place.stand(0.1, average=FAR)
        assert closed(place.liquidate())
        place.wait(1)
        place.stand(0.1, average=FAR)
        assert names(place.liquidate()) == ["LiquidationDeferred"]

    def test_note__another_call__does_not_make_it_younger(self, place):
        place.stand(0.1, average=FAR)
        place.liquidate()
        noted = place.pace()
        place.wait(20)
        with place.refuses(Refusal.AWAITING_SECOND_ROUND):
            place.liquidate()
        place.wait(10)
        place.liquidate()
        assert place.pace() == noted

    def test_note__one_market__says_nothing_of_another(self, place):
        place.stand(0.1, average=FAR)
        place.liquidate()
        other = position_id(market=8)
        place.put(place.health(0.1, average=FAR), other)
        place.wait(5)
        assert names(place.liquidate(market=8)) == ["LiquidationDeferred"]

    @pytest.mark.parametrize("above", [False, True])
    def test_band__its_edge__needs_no_second_round(self, place, above):
        average = e18(1_000)
        edge = average * BAND_PPM // 1_000_000
        price = average + edge if above else average - edge
        place.stand(0.1, price=price, average=average)
        assert closed(place.liquidate())
        beyond = price + 1 if above else price - 1
        place.stand(0.1, price=beyond, average=average)
        assert names(place.liquidate()) == ["LiquidationDeferred"]

    def test_band__healthy_account__leaves_no_note(self, place):
        place.stand(1.0, average=FAR)
        with place.refuses(Refusal.NOT_LIQUIDATABLE):
            place.liquidate()

    def test_note__kept_by_a_window__and_a_window_by_a_note(self, place):
        place.stand(0.9)
        place.liquidate()
        before = used(place)
        place.stand(0.9, average=FAR)
        place.liquidate()
        assert used(place) == before > 0
        note = place.pace() >> 104
        place.wait(4)
        place.stand(0.9, average=FAR)
        place.liquidate()
        assert place.pace() >> 104 == note
        assert used(place) > before


class TestOtherMarkets:
    """A cross account is also liquidated by what its other positions lose."""

    NEAR, FAR_BELOW, FAR_ABOVE = PRICE, PRICE * 100 // 97, PRICE * 100 // 103

    def cross(self, place, averages, longs=(True, True)):
        """Stand below two thirds, holding markets 8, 9 ... at these averages."""
        markets = range(8, 8 + len(averages))
        place.around.send(OWNER, "set_cross", [8, MARKET, *list(markets)[1:]])
        place.around.send(OWNER, "set_words", MARGIN, RULES)
        for number, average, long in zip(markets, averages, longs, strict=True):
            place.put(place.health(long=long), position_id(market=number, mode=CROSS))
            told = (PRICE, average, mark(place.now_ms - 1_000))
            place.around.send(OWNER, "set_mark", number, told)
        return place.stand(0.1, mode=CROSS)

    def test_bad_print__elsewhere_in_the_account__liquidates_nobody(self, place):
        self.cross(place, [self.FAR_BELOW], [True])
        receipt = place.liquidate(CROSS)
        assert event(receipt, "LiquidationDeferred").fields["market"] == 8
        assert names(receipt) == ["LiquidationDeferred"]
        with pytest.raises(RefusedError, match="AWAITING_SECOND_ROUND"):
            place.liquidate(CROSS)

    def test_crash__elsewhere_in_the_account__is_liquidated_when_confirmed(self, place):
        self.cross(place, [self.FAR_BELOW], [True])
        place.liquidate(CROSS)
        place.wait(4)
        health = self.cross(place, [self.FAR_BELOW], [True])
        assert closed(place.liquidate(CROSS)) == health.size

    def test_several_far__are_noted_at_once_and_wait_together(self, place):
        self.cross(place, [self.FAR_BELOW, self.FAR_ABOVE], [True, False])
        receipt = place.liquidate(CROSS)
        assert [item.fields["market"] for item in receipt.events] == [8, 9]
        place.wait(30)
        assert closed(place.liquidate(CROSS))

    def test_one_waits__another_is_noted__the_note_stays(self, place):
        self.cross(place, [self.FAR_BELOW, self.NEAR])
        place.liquidate(CROSS)
        place.wait(1)
        self.cross(place, [self.FAR_BELOW, self.FAR_BELOW])
        assert names(place.liquidate(CROSS)) == ["LiquidationDeferred"]
        assert place.pace(9) >> 148

    @pytest.mark.parametrize(("average", "long"), [(FAR_BELOW, False), (FAR_ABOVE, True)])
    def test_far_price__that_the_account_gains_by__delays_nothing(self, place, average, long):
        health = self.cross(place, [average], [long])
        assert closed(place.liquidate(CROSS)) == health.size

    def test_isolated__far_prices_elsewhere__do_not_matter(self, place):
        self.cross(place, [self.FAR_BELOW], [True])
        place.stand(0.1)
        assert closed(place.liquidate())

    def test_ten_far__are_all_asked(self, place):
        self.cross(place, [self.FAR_BELOW] * 9, [True] * 9)
        assert len(place.liquidate(CROSS).events) == 9


class TestWindow:
    LARGE = e18(200)  # 600,000 USDC against a window of 250,000

    def test_large__partial__is_paced(self, place):
        health = place.stand(0.68, size=self.LARGE)
        assert worth(law_of(health)) > CAPACITY
        receipt = place.liquidate()
        first = closed(receipt)
        assert CAPACITY - 1 <= worth(first) <= CAPACITY
        assert event(receipt, "WindowUsed").fields["used"] == used(place) == worth(first)
        with place.refuses(Refusal.WINDOW_USED_UP):
            place.liquidate()
        place.wait(59)
        place.stand(0.68, size=self.LARGE)
        with place.refuses(Refusal.WINDOW_USED_UP):
            place.liquidate()
        place.wait(1)
        assert closed(place.liquidate()) == first

    def test_window__used_by_several__adds_up(self, place):
        sizes = []
        for market_mode in (1, 2):
            health = place.stand(0.9, mode=market_mode)
            sizes.append(closed(place.liquidate(market_mode)))
            assert sizes[-1] == law_of(health)
        assert used(place) == sum(worth(size) for size in sizes)

    def test_dust__any_number__does_not_use_the_window(self, place):
        place.stand(0.99, size=e18("0.08"))  # 240 USDC
        for _ in range(5):
            assert worth(closed(place.liquidate())) < usd(100)
        assert place.pace() == 0

    def test_dust__window_used_up__is_closed_all_the_same(self, place):
        place.stand(0.68, size=self.LARGE)
        place.liquidate()
        full = place.pace()
        place.stand(0.99, size=e18("0.08"))
        assert closed(place.liquidate())
        assert place.pace() == full

    def test_backstop__window_used_up__does_not_wait(self, place):
        place.stand(0.68, size=self.LARGE)
        place.liquidate()
        full = place.pace()
        place.stand(0.66, size=self.LARGE)
        assert closed(place.liquidate()) == self.LARGE
        assert place.pace() == full

    def test_window__a_rest_of_dust__takes_the_whole_once(self, place):
        # what the window leaves of 250,050 USDC is less than the least position
        size = e18("83.35")
        place.stand(
            0.67, size=size, ratio_ppm=1_000
        )  # no part restores: the ratio is below the cost
        assert closed(place.liquidate()) == size
        assert CAPACITY < used(place) < CAPACITY + usd(100)
        with place.refuses(Refusal.WINDOW_USED_UP):
            place.liquidate()

    def test_window__small_scale__still_closes_what_a_position_must_be_worth(self, place):
        scale = 4 | 90 << 92 | 40 << 160  # a quarter of 40 USDC
        health = place.stand(0.68, margin=scale)
        size = closed(place.liquidate())
        assert usd(100) - 1 <= worth(size) <= usd(100)
        assert size < health.size

    @FEW
    @given(
        parts=st.lists(
            st.tuples(st.integers(1, 400), st.integers(670, 999)), min_size=1, max_size=8
        )
    )
    def test_window__any_partials_of_a_minute__stay_within_it_but_for_one_rest(self, parts):
        place = Place()
        total = 0
        for units, share in parts:
            place.stand(share / 1_000, size=e18(units))
            size = attempt(place)
            if worth(size) >= usd(100):
                total += worth(size)
        assert total == used(place) < CAPACITY + usd(100)


class TestGrace:
    @pytest.mark.parametrize("which", [0, 1])
    def test_partial__five_minutes_after_a_gap_or_a_pause__waits(self, place, which):
        times = [0, 0]
        times[which] = place.now_s - 299
        place.around.send(OWNER, "set_times", *times)
        health = place.stand(0.9)
        with place.refuses(Refusal.GRACE_RUNNING):
            place.liquidate()
        place.wait(1)
        assert closed(place.liquidate()) == law_of(health)

    @pytest.mark.parametrize("which", [0, 1])
    def test_backstop__right_after_a_gap_or_a_pause__does_not_wait(self, place, which):
        times = [0, 0]
        times[which] = place.now_s
        place.around.send(OWNER, "set_times", *times)
        health = place.stand(0.6)
        assert closed(place.liquidate()) == health.size


class TestOrder:
    def test_cross__the_largest__goes_first(self, place):
        place.stand(0.9, mode=CROSS, largest_market=MARKET + 1)
        with pytest.raises(RefusedError):
            place.liquidate(CROSS)
        place.stand(0.9, mode=CROSS, largest_market=MARKET)
        assert closed(place.liquidate(CROSS))

    def test_isolated__another_is_larger__does_not_matter(self, place):
        place.stand(0.9, largest_market=MARKET + 1)
        assert closed(place.liquidate())
