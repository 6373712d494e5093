"""A limit that is shown is where the contract's mirror refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.proof.limits import live_limits
from contracts.envelope import EPOCH_MS, Configuration
from contracts.halts import NO_CONTROLS, DecisionKind, decode_guard
from contracts.refusals import Refusal
from contracts.risk_bounds import judge_change
from contracts.risk_oracle import OracleState
from tests.agent.builders import NOW_MS, bounds, live, state

NOW_S = NOW_MS // 1_000
NOBODY = Configuration(config_digest=b"\0" * 32, config_count=1, threshold=2, signers=())


def oracle(**changes) -> OracleState:
    """One market, whose state is changed."""
    return OracleState(
        config=NOBODY,
        latest_round=1,
        bounds={1: bounds()},
        markets=(state(**changes),),
        guards=(decode_guard(0),),
        controls=NO_CONTROLS,
    )


@settings(max_examples=60, deadline=None)
@given(
    cap=st.integers(100, 5_000),
    ago_s=st.integers(0, 200_000),
    used=st.integers(0, 300),
)
def test_limits__furthest_caps__are_the_last_that_pass(cap: int, ago_s: int, used: int) -> None:
    held = oracle(values=live(cap_e2=cap), changed_at_s=NOW_S - ago_s, drift_used=used)
    (market,) = live_limits(held, NOW_S).markets
    before, rules = held.markets[0], held.bounds[1]
    for furthest, further, at_s in (
        (market.tighter_to_e2, -1, NOW_S),
        (market.looser_to_e2, 1, market.looser_at_s),
    ):
        since_s = at_s - before.changed_at_s

        def judged(cap_e2: int, since_s: int = since_s) -> object:
            after = replace(before.values, cap_e2=cap_e2)
            return judge_change(before.values, after, rules, before.drift_used, since_s)

        assert furthest == cap or not isinstance(judged(furthest), Refusal)
        beyond = furthest + further
        if rules.min_cap_e2 <= beyond <= rules.max_cap_e2:
            assert isinstance(judged(beyond), Refusal)


def test_limits__loosening_lately__waits_for_its_delay() -> None:
    (market,) = live_limits(oracle(changed_at_s=NOW_S - 10), NOW_S).markets
    assert market.looser_at_s == NOW_S - 10 + bounds().loosen_delay_s


def test_limits__kind_disabled__is_named() -> None:
    controls = replace(NO_CONTROLS, disabled_kinds=frozenset({DecisionKind.POSITION_TERMS}))
    limits = live_limits(replace(oracle(), controls=controls), NOW_S)
    assert limits.decisions["position_terms"] is Refusal.DECISION_KIND_DISABLED
    assert limits.decisions["risk_update"] is None


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"frozen": True}, "frozen"), ({"observed_at_ms": NOW_MS - 10**7}, "expired"), ({}, "")],
)
def test_limits__why_not__is_said(changes: dict, word: str) -> None:
    (market,) = live_limits(oracle(**changes), NOW_S).markets
    assert market.why_not.startswith(word)
    assert bool(market.why_not) == bool(word)


def test_limits__pause__is_shown_while_it_lasts() -> None:
    controls = replace(NO_CONTROLS, ai_input_until_s=NOW_S + 60)
    limits = live_limits(replace(oracle(), controls=controls), NOW_S)
    assert limits.paused_until_s == {"ai_input": NOW_S + 60}
    assert limits.decisions["risk_update"] is Refusal.AI_INPUT_PAUSED


def test_limits__never_signed__expire_at_no_time() -> None:
    (fresh,) = live_limits(oracle(observed_at_ms=EPOCH_MS, validity_s=0), NOW_S).markets
    (signed,) = live_limits(oracle(), NOW_S).markets
    assert fresh.expires_at_s is None
    assert signed.expires_at_s is not None
