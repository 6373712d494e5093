"""Caps by size, coherent terms, and the ratio that an open position keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import margin_terms, risk_oracle, units
from contracts.messages import Adjustment
from tests.contracts.margins import PROVEN, leverages, money, ratios, usd

SCALE = usd(100_000)
scales = st.integers(10**9, 10**14)


@PROVEN
@given(leverages, scales, money, money, money, money)
def test_leverage_cap__more_size_or_open_interest__never_raises_it(
    cap, scale, account, more, interest, further
):
    here = margin_terms.leverage_cap(cap, scale, account, interest)
    assert 0 <= here <= cap
    assert margin_terms.leverage_cap(cap, scale, account + more, interest) <= here
    assert margin_terms.leverage_cap(cap, scale, account, interest + further) <= here
    assert margin_terms.leverage_cap(cap, scale + more, account, interest) >= here


@pytest.mark.parametrize(
    ("account", "interest", "cap"),
    [
        (0, 0, 2_000),
        (100_000, 0, 2_000),
        (200_000, 0, 1_000),
        (400_000, 0, 500),
        (50_000, 500_000, 2_000),  # half a scale, and a tenth of five
        (100_000, 1_000_000, 1_000),
        (10_000_000, 0, 20),  # less than 1x: nothing more may be opened
    ],
)
def test_leverage_cap__account_and_open_interest__count_together(account, interest, cap):
    assert margin_terms.leverage_cap(2_000, SCALE, usd(account), usd(interest)) == cap


@PROVEN
@given(leverages)
def test_is_within_terms__pair_of_a_cap__fits_and_one_more_does_not(cap):
    maintenance = units.maintenance_from_cap(cap)
    assert margin_terms.is_within_terms(maintenance, cap, cap)
    assert margin_terms.is_within_terms(maintenance, cap, 100)
    assert not margin_terms.is_within_terms(maintenance + 1, cap, cap)
    assert not margin_terms.is_within_terms(maintenance, cap, cap + 1)
    assert not margin_terms.is_within_terms(maintenance, cap, 99)


@PROVEN
@given(leverages)
def test_is_ceiling_bearable__ceiling__is_at_most_one_over_leverage(leverage):
    most = units.PPM * 100 // leverage
    assert margin_terms.is_ceiling_bearable(most, leverage)
    assert not margin_terms.is_ceiling_bearable(most + 1, leverage)


def test_is_opening_ratio__fixed__pays_for_certainty_with_the_floor():
    for adjustment, fits in ((Adjustment.FIXED, False), (Adjustment.MANAGED, True)):
        assert margin_terms.is_opening_ratio(adjustment, 10_000, 10_000, 20_000) is fits
        assert margin_terms.is_opening_ratio(adjustment, 20_000, 10_000, 20_000)
        assert not margin_terms.is_opening_ratio(adjustment, 9_999, 10_000, 0)


RATIOS = st.tuples(ratios, ratios, ratios, st.integers(0, units.PPM // 2))


@PROVEN
@given(RATIOS)
def test_position_maintenance__fixed__stays_whatever_the_market_does(four):
    assert margin_terms.position_maintenance_ppm(Adjustment.FIXED, *four) == four[0]


@PROVEN
@given(RATIOS, st.integers(1, 10**5))
def test_position_maintenance__managed__follows_up_to_the_accepted_ceiling(four, more):
    terms, ceiling, market, adjust = four
    here = margin_terms.position_maintenance_ppm(Adjustment.MANAGED, *four)
    assert here <= ceiling
    assert here == min(ceiling, max(terms, market, adjust))
    after = margin_terms.position_maintenance_ppm(
        Adjustment.MANAGED, terms, ceiling, market + more, adjust
    )
    assert here <= after <= ceiling


@pytest.mark.parametrize("adjustment", [0, 1, 3])
def test_position_maintenance__no_adjustment__is_refused(adjustment):
    with pytest.raises(units.UnitError, match="adjustment"):
        margin_terms.position_maintenance_ppm(adjustment, 1, 1, 1, 1)


@PROVEN
@given(ratios, ratios, st.integers(0, 10**5), st.integers(0, 10**5))
def test_ramped_ppm__any_moment__lies_between_start_and_target(start, target, elapsed, ramp):
    here = margin_terms.ramped_ppm(start, target, elapsed, ramp)
    assert min(start, target) <= here <= max(start, target)
    assert ramp == 0 or margin_terms.ramped_ppm(start, target, 0, ramp) == start
    assert margin_terms.ramped_ppm(start, target, ramp, ramp) == target


@PROVEN
@given(leverages, ratios, st.integers(0, 10**5), st.integers(0, 10**5 - 1))
def test_ramped_ppm__of_a_market__is_the_oracles_own(cap, start, elapsed, ramp):
    state = risk_oracle.decode_slot(risk_oracle.encode_slot(_market(cap, start, ramp % 65_536)))
    ours = margin_terms.ramped_ppm(start, state.target_maintenance_ppm, elapsed, state.ramp_s)
    assert ours == risk_oracle._maintenance_after(state, elapsed)


def _market(cap, start, ramp_s):
    values = risk_oracle.Values(
        cap_e2=cap, open_interest_cap_usdc=0, size_scale_usdc=1, spread_ppm=0, reduce_only=False
    )
    return risk_oracle.MarketState(
        values=values,
        previous=values,
        frozen=False,
        revertible=False,
        held=False,
        class_id=1,
        ai_epoch=0,
        drift_used=0,
        validity_s=0,
        observed_at_ms=risk_oracle.EPOCH_MS,
        ramp_from_ppm=start,
        changed_at_s=risk_oracle.EPOCH_S,
        ramp_s=ramp_s,
    )
