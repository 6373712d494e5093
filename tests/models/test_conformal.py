"""The online factor: keeps promises that the model breaks, in bounds, from known outcomes only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.conformal import RULES, FactorRules, Factors, Outcome, Promises, learned, replayed

DAY_MS = 86_400_000
BREACHES = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), max_size=60)


def after(factors: Factors, *breached: bool, rules: FactorRules = RULES) -> Factors:
    """One day later, with one outcome for each of the markets A, B, ..."""
    outcomes = [
        Outcome(market=market, breached=breach)
        for market, breach in zip("ABC"[: len(breached)], breached, strict=True)
    ]
    return learned(factors, outcomes, level=0.99, elapsed_ms=DAY_MS, weight=1.0, rules=rules)


def promises(days: int, *, scale: float, markets: int = 4, seed: int = 0) -> Promises:
    """Normal excursions against a quantile that is `scale` times the true one."""
    rng = np.random.default_rng(seed)
    size = days * markets
    return Promises(
        as_of_ms=np.repeat(np.arange(days, dtype=np.int64) * DAY_MS, markets),
        markets=np.tile([f"M{i}" for i in range(markets)], days),
        quantile=np.full(size, 2.5758 * scale),
        outcome=np.abs(rng.standard_normal(size)),
    )


def test_learned__breach__raises_by_at_most_the_step():
    factors = after(Factors(logs={}), True)
    assert factors.logs["A"] == pytest.approx(RULES.step * 0.99)


def test_learned__quiet_day__lowers_by_the_promised_share():
    assert after(Factors(logs={}), False).logs["A"] == pytest.approx(-RULES.step * 0.01)


def test_learned__overlapping_outcomes__together_count_as_one():
    outcome = [Outcome(market="A", breached=True)]
    factors = learned(
        Factors(logs={}),
        outcome,
        level=0.99,
        elapsed_ms=DAY_MS // 6,
        weight=1 / 6,
        rules=RULES,
    )
    assert factors.logs["A"] == pytest.approx(RULES.step * 0.99 / 6)


def test_learned__nothing_judged__draws_all_to_their_mean():
    forgetful = FactorRules(half_life_days=1.0)
    factors = after(Factors(logs={"A": 0.2, "B": 0.0}), rules=forgetful)
    assert factors.logs == pytest.approx({"A": 0.15, "B": 0.05})


def test_factor__market_never_seen__is_the_pooled_mean():
    assert Factors(logs={"A": 0.2, "B": 0.0}).factor("C") == pytest.approx(np.exp(0.1))


def test_factor__nothing_known__is_one():
    assert Factors(logs={}).factor("A") == 1.0


@given(BREACHES)
def test_learned__any_history__stays_within_its_bounds(history: list[list[bool]]):
    factors = Factors(logs={})
    for day in history:
        factors = after(factors, *day)
    for market in "ABC":
        assert RULES.low - 1e-12 <= factors.factor(market) <= RULES.high + 1e-12


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.25])
def test_replayed__quantile_that_is_off__keeps_its_promise(scale: float):
    history = promises(6_000, scale=scale)
    factor = replayed(history, level=0.99, horizon_ms=DAY_MS, rules=RULES)
    late = history.as_of_ms > 1_000 * DAY_MS
    breached = (history.outcome > history.quantile * factor)[late]
    assert breached.mean() == pytest.approx(0.01, rel=0.15)


def test_replayed__outcome_not_yet_ended__changes_nothing():
    history = promises(40, scale=0.5)
    last = history.as_of_ms >= 30 * DAY_MS
    other = Promises(
        as_of_ms=history.as_of_ms,
        markets=history.markets,
        quantile=history.quantile,
        outcome=np.where(last, 9.0, history.outcome),
    )
    one, two = (
        replayed(each, level=0.99, horizon_ms=DAY_MS, rules=RULES) for each in (history, other)
    )
    known = history.as_of_ms <= 30 * DAY_MS
    assert one[known].tolist() == two[known].tolist()
    assert (two[~known] > one[~known]).any()


def test_replayed__rows_in_another_order__give_the_same_factors():
    history = promises(50, scale=0.7)
    order = np.random.default_rng(1).permutation(len(history.as_of_ms))
    shuffled = Promises(
        as_of_ms=history.as_of_ms[order],
        markets=history.markets[order],
        quantile=history.quantile[order],
        outcome=history.outcome[order],
    )
    one = replayed(history, level=0.99, horizon_ms=DAY_MS, rules=RULES)
    two = replayed(shuffled, level=0.99, horizon_ms=DAY_MS, rules=RULES)
    assert two.tolist() == one[order].tolist()
