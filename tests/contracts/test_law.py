"""What the law promises: nothing gained by splitting, no leaping ramp, no drift past its budget."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import risk_oracle
from contracts.envelope import EPOCH_MS
from contracts.halts import NO_CONTROLS
from contracts.packing import (
    PriceHalf,
    RiskFields,
    expand_amount,
    join_risk_word,
    pack_amount,
)
from contracts.price_feed import (
    AVERAGE_MS,
    MAX_BAND_PPB,
    ClassRules,
    MarketPrice,
    allowed_move_ppb,
    apply_price,
    decode_rules,
    encode_rules,
)
from contracts.refusals import Refusal
from contracts.risk_bounds import (
    DAY_S,
    Values,
    decode_bounds,
    encode_bounds,
    judge_change,
    loosening_ppm,
)
from contracts.risk_oracle import MarketState, Stamp, apply_item, effective_maintenance_ppm
from contracts.units import maintenance_from_cap
from tests.contracts.world import BOUNDS, FIELDS, PRICE, RULES

PPB = 10**9
NOW_S = 1_700_000_000
THOROUGH = settings(max_examples=300, deadline=None, derandomize=True)
rates = st.integers(1, 65_535)


@st.composite
def rules(draw):
    rate = draw(rates)
    window = draw(st.integers(2, min(2**24 - 1, MAX_BAND_PPB // rate)))
    return replace(RULES, rate_ppm_per_s=rate, window_ms=window)


class TestBand:
    """Many rounds in a time are worth no more than one."""

    @THOROUGH
    @given(rules(), st.lists(st.integers(1, 2_000), min_size=1, max_size=30), st.booleans())
    def test_band__move_split_into_many__never_gains(self, rules, elapsed, up):
        total = sum(elapsed)
        whole = allowed_move_ppb(rules, total)
        if whole is None:
            return
        sign = 1 if up else -1
        reached = Fraction(1)
        for milliseconds in elapsed:
            reached *= 1 + sign * Fraction(allowed_move_ppb(rules, milliseconds), PPB)
        # rt is exact in parts per billion, (rt)^2 is rounded down to one: that one is the tolerance
        assert abs(reached - 1) <= Fraction(whole + 1, PPB)

    @THOROUGH
    @given(rules(), st.lists(st.integers(1, 3_000), min_size=2, max_size=12), st.booleans())
    def test_band__greedy_rounds__end_within_one_round_s_reach(self, rules, elapsed, up):
        total = sum(elapsed)
        whole = allowed_move_ppb(rules, total)
        if whole is None:
            return
        rules = replace(rules, max_age_ms=2**17 - 1)
        market, at = first_price(), NOW_S * 1_000
        for milliseconds in elapsed:
            at += milliseconds
            half = farthest(market, allowed_move_ppb(rules, milliseconds), up)
            market, refusal = apply_price(market, half, at, at // 1_000, rules)
            assert refusal is None
        assert abs(market.price_e18 - first_price().price_e18) * PPB <= (
            first_price().price_e18 * whole
        )

    @THOROUGH
    @given(rules(), st.integers(1, 2**24))
    def test_band__window_passed__accepts_any_price(self, rules, more):
        assert allowed_move_ppb(rules, rules.window_ms + more - 1) is None
        assert allowed_move_ppb(rules, rules.window_ms - 1) <= 2 * MAX_BAND_PPB

    @THOROUGH
    @given(rules())
    def test_rules__packed__come_back(self, rules):
        assert decode_rules(encode_rules(rules)) == rules
        assert rules.fault() is None


def first_price():
    return MarketPrice(
        mantissa=PRICE.mantissa,
        exponent=PRICE.exponent,
        average=PRICE.mantissa,
        confidence=6,
        observed_at_ms=NOW_S * 1_000,
        class_id=1,
        unconfirmed=False,
    )


def farthest(market, allowed_ppb, up):
    """Give the price at the band's edge, rounded to what the band still accepts."""
    edge = market.price_e18 * allowed_ppb // PPB
    value = market.price_e18 + edge if up else market.price_e18 - edge
    exponent = value.bit_length() - 32
    mantissa = value >> exponent if up else -(-value >> exponent)
    return PriceHalf(mantissa, exponent, 6, 0)


class TestAverage:
    """A stranger's print moves the average only by the time that it stood."""

    @THOROUGH
    @given(st.integers(1, 400_000), st.integers(2**31 + 1, 2**32 - 2))
    def test_average__after_a_step__lies_between(self, elapsed, mantissa):
        rules = ClassRules(
            rate_ppm_per_s=1,
            window_ms=1,
            max_age_ms=2**17 - 1,
            max_confidence_ppm=50,
            new_risk_age_ms=1,
        )
        start = replace(first_price(), average=2**31)
        at = NOW_S * 1_000 + elapsed
        after, refusal = apply_price(
            start, PriceHalf(mantissa, PRICE.exponent, 6, 0), at, NOW_S, rules
        )
        assert refusal is None
        assert start.average <= after.average <= start.mantissa
        assert (after.average == start.mantissa) == (elapsed >= AVERAGE_MS)


def state_of(cap_e2=1_000, **changes):
    values = Values(
        cap_e2=cap_e2,
        open_interest_cap_usdc=expand_amount(FIELDS.open_interest_cap),
        size_scale_usdc=expand_amount(FIELDS.size_scale),
        spread_ppm=1_000,
        reduce_only=False,
    )
    plain = {
        "values": values,
        "previous": values,
        "frozen": False,
        "revertible": False,
        "held": False,
        "class_id": 1,
        "ai_epoch": 0,
        "drift_used": 0,
        "validity_s": 7_200,
        "observed_at_ms": NOW_S * 1_000,
        "ramp_from_ppm": maintenance_from_cap(cap_e2),
        "changed_at_s": NOW_S,
        "ramp_s": 0,
    }
    return MarketState(**{**plain, **changes})


def items(state, cap_e2, ramp_s=0):
    values = state.values
    return join_risk_word(
        RiskFields(
            market=0,
            cap_e2=cap_e2,
            maintenance_ppm=maintenance_from_cap(cap_e2),
            open_interest_cap=pack_amount(values.open_interest_cap_usdc),
            size_scale=pack_amount(values.size_scale_usdc),
            spread=values.spread_ppm // 20,
            reduce_only=0,
            ramp_s=ramp_s,
        )
    )


WIDE = replace(BOUNDS, tighten_ppm=1_000_000, loosen_ppm=1_000_000)


def accept(state, word, now_s, controls=NO_CONTROLS, validity_s=7_200):
    stamp = Stamp(now_s * 1_000, validity_s, now_s)
    return apply_item(state, word, WIDE, stamp, controls)


def pause(controls, now_s):
    """Begin an AI-input pause at a time, which the owner ends at once."""
    ended = list(controls.epoch_ended_s)
    ended[controls.ai_epoch] = now_s
    return replace(controls, ai_epoch=(controls.ai_epoch + 1) % 64, epoch_ended_s=tuple(ended))


class TestRamp:
    """No one is carried toward liquidation by a leap."""

    @THOROUGH
    @given(
        st.integers(100, 5_000),
        st.lists(
            st.tuples(
                st.sampled_from(["cap", "renew", "pause", "wait"]),
                st.integers(1, 9_000),
                st.integers(50, 200),
                st.sampled_from([600, 1_800, 7_200]),
            ),
            min_size=1,
            max_size=12,
        ),
    )
    def test_ramp__whatever_happens__never_leaps_and_never_passes_its_target(self, cap, events):
        state, controls, now_s = state_of(cap), NO_CONTROLS, NOW_S
        for kind, wait_s, percent, validity_s in events:
            before = effective_maintenance_ppm(state, now_s, controls)
            slope = self.steepest(state)
            now_s += wait_s
            live = effective_maintenance_ppm(state, now_s, controls)
            assert abs(live - before) <= wait_s * slope + 1
            low, high = sorted((before, state.target_maintenance_ppm))
            assert low <= live <= high
            if kind == "pause":
                controls = pause(controls, now_s)
            if kind in ("cap", "renew"):
                wanted = state.values.cap_e2 * percent // 100 if kind == "cap" else None
                cap_e2 = min(5_000, max(100, wanted or state.values.cap_e2))
                after = accept(state, items(state, cap_e2), now_s, controls, validity_s)
                state = state if isinstance(after, Refusal) else after
            assert effective_maintenance_ppm(state, now_s, controls) == live

    def steepest(self, state):
        if not state.ramp_s:
            return 0
        return Fraction(abs(state.target_maintenance_ppm - state.ramp_from_ppm), state.ramp_s)

    def test_ramp__at_the_middle__is_half_way(self):
        state = accept(state_of(1_000), items(state_of(), 500), NOW_S + 1)
        assert effective_maintenance_ppm(state, NOW_S + 1 + 1_800, NO_CONTROLS) == 75_000
        assert effective_maintenance_ppm(state, NOW_S + 1 + 3_600, NO_CONTROLS) == 100_000

    def test_ramp__parameters_expired__stops_and_goes_on_from_there(self):
        state = accept(state_of(), items(state_of(), 500), NOW_S + 1, validity_s=1_800)
        assert effective_maintenance_ppm(state, NOW_S + 90_000, NO_CONTROLS) == 75_000
        again = accept(state, items(state, 500), NOW_S + 90_000)
        assert effective_maintenance_ppm(again, NOW_S + 90_000, NO_CONTROLS) == 75_000
        assert effective_maintenance_ppm(again, NOW_S + 91_800, NO_CONTROLS) == 100_000

    def test_ramp__ai_input_paused_twice__stands_where_the_first_pause_began(self):
        state = accept(state_of(), items(state_of(), 500), NOW_S)  # observed with the last: refused
        assert state is Refusal.OLDER_OBSERVATION
        state = accept(state_of(), items(state_of(), 500), NOW_S + 1)
        controls = pause(pause(NO_CONTROLS, NOW_S + 1 + 900), NOW_S + 1 + 2_700)
        assert effective_maintenance_ppm(state, NOW_S + 5_000, controls) == 62_500

    def test_ramp__market_paused__stands_still_until_its_end(self):
        state = accept(state_of(), items(state_of(), 500), NOW_S + 1)
        now_s = NOW_S + 1 + 900
        state = risk_oracle.stand_still(state, now_s + 600, now_s, NO_CONTROLS)
        assert effective_maintenance_ppm(state, now_s, NO_CONTROLS) == 62_500
        assert effective_maintenance_ppm(state, now_s + 600, NO_CONTROLS) == 62_500
        assert effective_maintenance_ppm(state, now_s + 3_300, NO_CONTROLS) == 100_000


class TestDrift:
    """In any 24 hours at most the daily budget, whatever the rhythm."""

    @THOROUGH
    @given(
        st.lists(
            st.tuples(st.integers(900, 30_000), st.integers(70, 110), st.integers(70, 110)),
            min_size=1,
            max_size=60,
        ),
        st.sampled_from([2_000, 50_000, 300_000, 1_000_000]),
    )
    def test_drift__any_rhythm_of_changes__stays_in_the_daily_budget(self, steps, budget):
        bounds = replace(BOUNDS, daily_drift_ppm=budget, min_step_cap_e2=1)
        state, used, now_s, changed_at_s = state_of().values, 0, NOW_S, NOW_S
        accepted = deque()
        for wait_s, cap_percent, spread_percent in steps:
            now_s += wait_s
            wanted = replace(
                state,
                cap_e2=min(5_000, max(100, state.cap_e2 * cap_percent // 100)),
                spread_ppm=min(5_000, state.spread_ppm * spread_percent // 2_000 * 20),
            )
            drift = judge_change(state, wanted, bounds, used, now_s - changed_at_s)
            if isinstance(drift, Refusal) or wanted == state:
                continue
            accepted.append((now_s, loosening_ppm(state, wanted, bounds)))
            state, used, changed_at_s = wanted, drift, now_s
            while accepted[0][0] <= now_s - DAY_S:
                accepted.popleft()
            assert sum(ppm for _, ppm in accepted) <= budget


@THOROUGH
@given(st.integers(0, 2**16 - 2), st.integers(1, 2**12 - 1), st.integers(2, 1_023))
def test_bounds__packed__come_back(notice_s, validity, drift):
    bounds = replace(
        BOUNDS, notice_s=notice_s, max_validity_s=10 * validity, daily_drift_ppm=1_000 * drift
    )
    assert decode_bounds(encode_bounds(bounds)) == bounds


def test_bounds__that_a_test_world_uses__are_sound():
    assert BOUNDS.fault() is None
    assert RULES.fault() is None


@pytest.mark.parametrize("cap_e2", [100, 333, 5_000])
def test_slot__encoded__decodes_to_itself(cap_e2):
    state = state_of(cap_e2, ramp_s=3_600, drift_used=511, frozen=True)
    assert risk_oracle.decode_slot(risk_oracle.encode_slot(state)) == state
    assert risk_oracle.decode_slot(0) is None
    assert state.valid_until_ms - EPOCH_MS > 0
