"""The policy: what it adds up, which way it rounds, and what it refuses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.decisions import Decision, Hold, HoldReason
from agent.policy import decide, margin_of, round_cap_down, slippage_at, stress
from contracts.units import is_coherent, maintenance_from_cap
from tests.agent.builders import policy, scores

RATIO = st.floats(min_value=0.0008, max_value=0.5)


def decided(tail: float, **changes: object) -> Decision:
    decision = decide(scores(tail=tail, **changes), 1, policy())
    assert isinstance(decision, Decision)
    return decision


def test_policy__calm_market__adds_tail_slippage_fee_and_buffer() -> None:
    margin = margin_of(scores(tail=0.02), policy().classes["1"], policy())
    assert margin.ratio == pytest.approx((0.02 + 0.0005 + 0.0005) * 1.25)


def test_policy__tiny_tail__rests_on_the_floor_and_the_class_maximum() -> None:
    assert decided(0.0001).cap_e2 == 5_000


@given(st.floats(0.001, 0.3), st.floats(1.0, 2.0))
def test_policy__larger_tail__never_gives_a_larger_cap(tail: float, factor: float) -> None:
    assert decided(min(tail * factor, 0.39)).cap_e2 <= decided(tail).cap_e2


@given(RATIO)
def test_policy__cap__is_coherent_and_its_maintenance_covers_the_ratio(ratio: float) -> None:
    cap = round_cap_down(ratio, 650.0)
    maintenance = maintenance_from_cap(cap)
    assert is_coherent(cap, maintenance)
    assert maintenance >= math.ceil(ratio * 1_000_000)


def test_policy__tail_beyond_half__holds() -> None:
    hold = decide(scores(tail=0.6), 1, policy())
    assert isinstance(hold, Hold)
    assert hold.reason is HoldReason.NO_FEASIBLE_CAP


def test_policy__tail_not_a_number__holds() -> None:
    hold = decide(scores(tail=math.nan), 1, policy())
    assert isinstance(hold, Hold)


def test_policy__out_of_domain__holds_with_the_models_reason() -> None:
    hold = decide(scores(out_of_domain=("volume is absurd",)), 1, policy())
    assert hold == Hold(market=0, reason=HoldReason.OUT_OF_DOMAIN, detail="volume is absurd")  # type: ignore[arg-type]


def test_policy__unknown_class__holds_and_says_what_to_add() -> None:
    hold = decide(scores(), 9, policy())
    assert isinstance(hold, Hold)
    assert "[policy.classes.9]" in hold.detail


def test_policy__notional_between_references__pays_the_larger_ones_slippage() -> None:
    assert slippage_at(scores(), 150_000.0) == 0.002


def test_policy__notional_beyond_the_largest_reference__counts_as_total_loss() -> None:
    assert slippage_at(scores(), 1e9) == 1.0


def test_policy__now_twice_as_rough_as_the_day__uses_the_buffer_up() -> None:
    rough = scores(volatility=(0.004, 0.008, 0.016, 0.004 * math.sqrt(96) / 2))
    assert stress(rough) == pytest.approx(1.0)
    assert margin_of(rough, policy().classes["1"], policy()).buffer == pytest.approx(0.0)


def test_policy__spread__is_rounded_up_to_a_ppm_and_bounded() -> None:
    assert decided(0.02, volatility=(0.004_000_1, 0.008, 0.016, 0.04)).spread_ppm == 301
    assert decided(0.02, volatility=(9.0, 9.0, 9.0, 9.0)).spread_ppm == 20_000
