"""The policy: what it adds up, which way it rounds, and what it refuses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.decisions import Decision, Hold, HoldReason
from agent.policy import Margin, decide, margin_of, round_cap_down, slippage_at, stress
from contracts.units import is_coherent, maintenance_from_cap
from tests.agent.builders import policy, scores

RATIO = st.floats(min_value=0.0008, max_value=0.5)
TAIL = st.floats(min_value=0.0001, max_value=0.5)
WEIGHT = st.floats(min_value=0.0, max_value=1.0)


def decided(tail: float, **changes: object) -> Decision:
    decision = decide(scores(tail=tail, **changes), 1, policy())
    assert isinstance(decision, Decision)
    return decision


def margin(tail: float, **changes: float) -> Margin:
    rules = policy(**changes)
    return margin_of(scores(tail=tail), rules.classes["1"], rules)


def test_policy__calm_market__leans_on_the_stressed_tail_and_keeps_most_of_the_buffer() -> None:
    through = 0.03 + 0.25 * (0.075 - 0.03)
    assert margin(0.03).through_cycle == pytest.approx(through)
    assert margin(0.03).buffer == pytest.approx(0.25 * 0.6)
    assert margin(0.03).ratio == pytest.approx(through * 1.15 + 0.0005 + 0.0005)


def test_policy__tail_as_under_stress_and_beyond__is_asked_for_as_it_is() -> None:
    for tail in (0.075, 0.2, 0.45):
        assert margin(tail).buffer == 0.0
        assert margin(tail).ratio == pytest.approx(tail + 0.0005 + 0.0005)


def test_policy__no_weight_and_no_buffer__rests_on_the_floor_and_the_class_maximum() -> None:
    bare = policy(stressed_weight=0.0, buffer_ratio=0.0)
    calm = decide(scores(tail=0.0001), 1, bare)
    assert isinstance(calm, Decision)
    assert calm.cap_e2 == 5_000


@given(TAIL, WEIGHT, WEIGHT)
def test_policy__any_tail__is_never_asked_for_less_than_tail_way_out_and_fee(
    tail: float, weight: float, share: float
) -> None:
    asked = margin(tail, stressed_weight=weight, buffer_ratio=share * (1.0 - weight))
    assert asked.ratio >= tail + asked.slippage + asked.fee - 1e-15


@given(TAIL, st.floats(1.0, 3.0), WEIGHT, WEIGHT)
def test_policy__larger_tail__is_never_asked_for_less(
    tail: float, factor: float, weight: float, share: float
) -> None:
    rules = {"stressed_weight": weight, "buffer_ratio": share * (1.0 - weight)}
    assert margin(min(tail * factor, 0.5), **rules).ratio >= margin(tail, **rules).ratio - 1e-12


@given(st.floats(0.005, 0.5), st.floats(1.0, 3.0))
def test_policy__tail_that_rises__lifts_the_margin_by_less_than_without_the_tools(
    tail: float, factor: float
) -> None:
    bare = {"stressed_weight": 0.0, "buffer_ratio": 0.0}
    after = min(tail * factor, 0.5)
    with_tools = margin(after).ratio / margin(tail).ratio
    assert with_tools <= margin(after, **bare).ratio / margin(tail, **bare).ratio + 1e-12


@given(TAIL)
def test_policy__with_the_tools__is_never_looser_than_without(tail: float) -> None:
    bare = margin(tail, stressed_weight=0.0, buffer_ratio=0.0)
    assert margin(tail).ratio >= bare.ratio - 1e-15


def test_policy__buffer_drawn_down_faster_than_the_tail_rises__is_refused() -> None:
    with pytest.raises(ValidationError, match="together must be at most 1"):
        policy(stressed_weight=0.5, buffer_ratio=0.6)


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


def test_policy__stress__grows_with_the_tail_to_all_of_the_buffer() -> None:
    drawn = [stress(tail, 0.075) for tail in (0.0, 0.0375, 0.075, 0.3)]
    assert drawn == [0.0, 0.5, 1.0, 1.0]


def test_policy__spread__is_rounded_up_to_a_ppm_and_bounded() -> None:
    assert decided(0.02, volatility=(0.004_000_1, 0.008, 0.016, 0.04)).spread_ppm == 301
    assert decided(0.02, volatility=(9.0, 9.0, 9.0, 9.0)).spread_ppm == 20_000
