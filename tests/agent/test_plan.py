"""Plans: feasible by the contract's own mirror, whole tuples only, tightening before loosening."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.decisions import Decision, GuardedDecision, Hold, HoldReason
from agent.plan import Move, Plan, PlanSettings, plan
from agent.snapshot import Limits, MarketSnapshot
from contracts.halts import NO_CONTROLS
from contracts.packing import round_down_amount
from contracts.refusals import Refusal
from contracts.risk_bounds import ClassBounds, Values
from contracts.risk_oracle import MarketState, Stamp, apply_item, effective_maintenance_ppm
from contracts.units import (
    LeverageE2,
    Ppm,
    UnixS,
    WholeUsdc,
    is_coherent,
    maintenance_from_cap,
)
from tests.agent.builders import BTC, NOW_MS, bounds, limits, live, market_snapshot, state

SETTINGS = PlanSettings()
STAMP = Stamp(NOW_MS, 900, UnixS(NOW_MS // 1_000))


def decision(
    *, cap: int = 1_900, interest: int = 20_000_000, scale: int = 2_000_000, spread: int = 300
) -> GuardedDecision:
    made = Decision(
        market=BTC,
        as_of_ms=NOW_MS,
        cap_e2=LeverageE2(cap),
        maintenance_ppm=maintenance_from_cap(LeverageE2(cap)),
        open_interest_cap_usdc=WholeUsdc(interest),
        size_scale_usdc=WholeUsdc(scale),
        spread_ppm=Ppm(spread),
        reasons=(),
    )
    return GuardedDecision(decision=made)


def planned(guarded: GuardedDecision, before: MarketState, **changes: object) -> Plan:
    made = plan(guarded, snapshot(before), around(before, **changes), 900, SETTINGS)
    assert isinstance(made, Plan)
    return made


def snapshot(before: MarketState) -> MarketSnapshot:
    return market_snapshot(state=before)


def around(before: MarketState, **changes: object) -> Limits:
    return limits(states=(before,), bounds={1: bounds(**changes)})


def test_plan__target_near_the_live_values__renews_them() -> None:
    made = planned(decision(cap=1_950, spread=310), state())
    assert (made.move, made.parameters.cap_e2) == (Move.RENEW, 1_900)


def test_plan__tighter_within_the_step__goes_at_once() -> None:
    made = planned(decision(cap=1_200), state())
    assert (made.move, made.parameters.cap_e2, made.parts) == (Move.TIGHTEN, 1_200, 1)


def test_plan__tighter_beyond_the_step__goes_a_whole_share_of_the_way() -> None:
    made = planned(decision(cap=300), state())
    assert (made.move, made.parts, made.parameters.cap_e2) == (Move.TIGHTEN, 2, 1_100)
    assert "steps" in made.note


def test_plan__looser__waits_for_the_delay_and_says_so() -> None:
    before = state(changed_at_s=UnixS(NOW_MS // 1_000 - 600))
    made = planned(decision(cap=4_000), before)
    assert (made.move, made.parameters.cap_e2) == (Move.RENEW, 1_900)
    assert "TOO_SOON" in made.note


def test_plan__looser_after_the_delay__goes_a_whole_share_inside_step_and_drift() -> None:
    made = planned(decision(cap=4_000), state())
    assert made.move is Move.LOOSEN
    assert 1_900 < made.parameters.cap_e2 <= 1_900 * 1.1


def test_plan__drift_budget_spent__renews_and_says_so() -> None:
    before = state(drift_used=300, changed_at_s=UnixS(NOW_MS // 1_000 - 3_600))
    made = planned(decision(cap=4_000), before, daily_drift_ppm=600_000, loosen_ppm=100_000)
    assert made.move in {Move.RENEW, Move.LOOSEN}
    if made.move is Move.RENEW:
        assert "DRIFT_SPENT" in made.note


def test_plan__noise_in_depth_and_spread__changes_nothing() -> None:
    made = planned(decision(interest=18_000_000, scale=2_300_000, spread=340), state())
    assert made.move is Move.RENEW


def test_plan__one_field_tighter_one_looser__tightens_only() -> None:
    made = planned(decision(cap=1_000, interest=90_000_000), state())
    assert made.move is Move.TIGHTEN
    assert made.parameters.open_interest_cap_usdc == state().values.open_interest_cap_usdc


def test_plan__frozen_market__renews() -> None:
    made = planned(decision(cap=300), state(frozen=True))
    assert (made.move, made.note) == (Move.RENEW, "frozen")


def test_plan__wanted_cap_below_the_class_minimum__takes_no_new_risk() -> None:
    made = planned(decision(cap=1_000), state(values=live(cap_e2=1_500)), min_cap_e2=1_500)
    assert made.parameters.reduce_only
    assert made.parameters.cap_e2 == 1_500


def test_plan__wanted_cap_above_the_class_maximum__rests_on_the_bound() -> None:
    made = planned(decision(cap=5_000), state(), max_cap_e2=1_900)
    assert made.parameters.cap_e2 == 1_900


def test_plan__bounds_narrowed_below_the_live_values__comes_down_at_once() -> None:
    made = planned(decision(cap=4_000), state(), max_cap_e2=600, tighten_ppm=300_000)
    assert (made.move, made.parameters.cap_e2) == (Move.TIGHTEN, 600)


def test_plan__class_without_bounds__holds() -> None:
    made = plan(decision(), snapshot(state()), limits(bounds={}), 900, SETTINGS)
    assert isinstance(made, Hold)
    assert made.reason is HoldReason.UNKNOWN_MARKET


def test_plan__observation_not_newer_than_the_chains__holds() -> None:
    made = plan(decision(), snapshot(state(observed_at_ms=NOW_MS)), around(state()), 900, SETTINGS)
    assert isinstance(made, Hold)
    assert "OLDER_OBSERVATION" in made.detail


AMOUNT = st.integers(1_000, 90_000_000)
CAP = st.integers(100, 5_000)
SPREAD = st.integers(0, 500)


@st.composite
def live_values(draw: st.DrawFn) -> Values:
    return live(
        cap_e2=draw(CAP),
        open_interest_cap_usdc=round_down_amount(WholeUsdc(draw(AMOUNT))),
        size_scale_usdc=round_down_amount(WholeUsdc(draw(AMOUNT))),
        spread_ppm=draw(SPREAD) * 20,
        reduce_only=draw(st.booleans()),
    )


@st.composite
def states(draw: st.DrawFn) -> MarketState:
    return state(
        values=draw(live_values()),
        drift_used=draw(st.integers(0, 300)),
        changed_at_s=UnixS(NOW_MS // 1_000 - draw(st.integers(0, 200_000))),
        ramp_from_ppm=draw(st.integers(763, 500_000)),
        ramp_s=draw(st.integers(0, 60_000)),
        frozen=draw(st.booleans()),
    )


GUARDED = st.builds(decision, cap=CAP, interest=AMOUNT, scale=AMOUNT, spread=st.integers(1, 10_000))
LOOSE_BOUNDS = st.fixed_dictionaries(
    {"loosen_ppm": st.integers(10_000, 400_000), "loosen_delay_s": st.integers(1, 90_000)}
)


@given(states(), GUARDED, LOOSE_BOUNDS)
def test_plan__any_state_and_decision__the_contract_takes_it_and_it_is_one_tuple(
    before: MarketState, guarded: GuardedDecision, changes: dict[str, object]
) -> None:
    made = planned(guarded, before, **changes)
    rules: ClassBounds = bounds(**changes)
    after = apply_item(before, made.word, rules, STAMP, NO_CONTROLS)
    assert not isinstance(after, Refusal)
    assert is_coherent(made.parameters.cap_e2, made.parameters.maintenance_ppm)
    now_s = STAMP.now_s
    live_now = effective_maintenance_ppm(before, now_s, NO_CONTROLS)
    assert effective_maintenance_ppm(after, now_s, NO_CONTROLS) == live_now


@settings(max_examples=25)
@given(live_values(), GUARDED)
def test_plan__repeated_with_time_between__arrives_within_the_deadbands(
    start: Values, guarded: GuardedDecision
) -> None:
    """No sequence of feasible steps gets stuck half way."""
    wide = {"daily_drift_ppm": 1_000_000, "loosen_ppm": 200_000, "loosen_delay_s": 3_600}
    values, rules = start, bounds(**wide)
    for _ in range(400):
        made = planned(guarded, state(values=values), **wide)
        if made.move is Move.RENEW:
            break
        after = apply_item(state(values=values), made.word, rules, STAMP, NO_CONTROLS)
        assert isinstance(after, MarketState)
        values = after.values
    assert made.note == "near enough"
