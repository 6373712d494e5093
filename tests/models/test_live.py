"""The live watch: silent on kept promises, loud on broken ones, and the same after a restart."""

from __future__ import annotations

import json

import numpy as np

from models.drift import Reference
from models.features import HOUR_MS, FeatureVector
from models.live import (
    BREACHES,
    DRIFT,
    LEVEL_MONITOR,
    MARKET,
    Terms,
    Watch,
    new_watch,
    seen,
    shares,
    state_of_watch,
    watch_from,
    watched,
)
from models.promises import Ending, Promise
from models.scorer import HorizonTail

MARKETS, HORIZON_S = 20, 14_400


TERMS = Terms(markets=MARKETS, losses={HORIZON_S: 0.9})


def endings(breaching: np.ndarray, ratio: float | np.ndarray = 1.0) -> list[Ending]:
    tail = HorizonTail(
        horizon_s=HORIZON_S, long_990=0.05, long_995=0.06, short_990=0.05, short_995=0.06
    )
    promises = [
        Promise(market=market, from_ms=0, deviation=0.01, tail=tail) for market in range(MARKETS)
    ]
    realised = 1e-4 * np.broadcast_to(np.asarray(ratio), (MARKETS,))
    return [
        Ending(promise=promise, variance=float(own), fall=0.1 if breach else 0.01, rise=0.0)
        for promise, breach, own in zip(promises, breaching, realised, strict=True)
    ]


def run(rate: float, steps: int, watch: Watch) -> tuple[Watch, list[tuple[int, str]]]:
    rng, found = np.random.default_rng(3), []
    for step in range(steps):
        watch, alarms = watched(watch, endings(rng.random(MARKETS) < rate), TERMS)
        found += [(step, alarm.key) for alarm in alarms]
    return watch, found


def test_watched__promise_kept_for_a_year__is_silent():
    assert run(0.01, 2_190, new_watch(TERMS))[1] == []


def test_watched__five_times_the_promise__alarms_within_weeks_and_names_it():
    _, found = run(0.05, 400, new_watch(TERMS))
    assert found
    assert found[0][0] < 6 * 30
    assert found[0][1] == "14400/long"


def test_watched__one_market_of_twenty_broken__is_named_before_the_pool_notices():
    rng, watch, found = np.random.default_rng(4), new_watch(TERMS), []
    for step in range(200):
        breaching = rng.random(MARKETS) < np.where(np.arange(MARKETS) == 7, 0.3, 0.01)
        watch, alarms = watched(watch, endings(breaching), TERMS)
        found += [(step, alarm) for alarm in alarms]
    step, first = found[0]
    assert (first.monitor, first.key) == (MARKET, "14400/long/000007")
    assert "in market 7" in first.words
    assert step < 60


def heavy(rng: np.random.Generator, mean: float) -> np.ndarray:
    """Realised over forecast variance: skewed, and half of it shared by all markets."""
    shocks = rng.standard_normal(MARKETS) * 0.7 + rng.standard_normal() * 0.7
    return mean * np.exp(shocks - 0.49)


def levels(mean: float, steps: int, seed: int, losses: float = 0.9) -> list[str]:
    rng, terms = np.random.default_rng(seed), Terms(markets=MARKETS, losses={HORIZON_S: losses})
    watch, found = new_watch(terms), []
    nothing = np.zeros(MARKETS, dtype=bool)
    for _ in range(steps):
        watch, alarms = watched(watch, endings(nothing, heavy(rng, mean)), terms)
        found += [alarm.key for alarm in alarms if alarm.monitor == LEVEL_MONITOR]
    return found


def test_watched__forecasts_at_the_right_level__false_alarms_are_rarer_than_stated():
    years, steps = 6, 2_190
    assert sum(len(levels(1.2, steps, seed)) for seed in range(years)) <= years


def test_watched__forecasts_too_low_too_high_or_worse__are_each_named():
    assert "14400/low" in levels(3.0, 300, 1)
    assert "14400/high" in levels(0.15, 600, 2)
    assert "14400/loss" in levels(1.0, 300, 3, losses=0.1)


def test_watched__endings__never_alarm_for_breaches_of_another_monitor():
    watch, alarms = watched(new_watch(TERMS), endings(np.ones(MARKETS, dtype=bool)), TERMS)
    for _ in range(10):
        watch, more = watched(watch, endings(np.ones(MARKETS, dtype=bool)), TERMS)
        alarms = (*alarms, *more)
    assert {alarm.monitor for alarm in alarms} == {BREACHES, MARKET}


def test_shares__evidence_over_what_alarms__is_below_one_and_grows():
    before, _ = watched(new_watch(TERMS), endings(np.zeros(MARKETS, dtype=bool)), TERMS)
    after, _ = watched(before, endings(np.ones(MARKETS, dtype=bool)), TERMS)
    assert 0.0 < shares(before)["14400", "long"] < shares(after)["14400", "long"] < 1.0
    assert shares(after)["14400", "market"] > shares(before)["14400", "market"]


REFERENCE = Reference(
    names=("hours_a",), centre=np.zeros(1), scale=np.ones(1), level=np.full(1, 3.0)
)


def week_at(value: float, watch: Watch, first_hour: int, terms: Terms) -> tuple[Watch, list[str]]:
    found = []
    for hour in range(first_hour, first_hour + 168):
        vector = FeatureVector(
            market=0, as_of_ms=hour * HOUR_MS, names=("hours_a",), values=(value,)
        )
        watch, alarms = seen(watch, [vector], hour * HOUR_MS + 5, terms)
        again, none = seen(watch, [vector], hour * HOUR_MS + 9, terms)
        assert (again, none) == (watch, ())
        found += [alarm.words for alarm in alarms if alarm.monitor == DRIFT]
    return watch, found


def test_seen__a_week_beyond_what_training_knew__is_named_when_it_has_ended():
    terms = Terms(markets=1, reference=REFERENCE)
    watch, first = week_at(6.0, new_watch(terms), 168, terms)
    watch, second = week_at(1.0, watch, 336, terms)
    _, third = week_at(1.0, watch, 504, terms)
    assert (first, third) == ([], [])
    assert "hours_a (2.0 times the level)" in second[0]


def test_seen__artifact_without_a_reference__keeps_no_week():
    assert week_at(6.0, new_watch(TERMS), 168, TERMS)[0].week is None


def test_watch__written_and_read__goes_on_to_the_bit():
    terms = Terms(markets=MARKETS, losses={HORIZON_S: 0.9}, reference=REFERENCE)
    watch, _ = run(0.02, 50, new_watch(terms))
    watch, _ = week_at(1.0, watch, 168, terms)
    again = watch_from(json.loads(json.dumps(state_of_watch(watch))), terms)
    assert again == watch
    assert run(0.05, 60, again)[1] == run(0.05, 60, watch)[1]
    assert watch_from({}, terms) == new_watch(terms)


def test_watch__state_with_other_bets__begins_anew():
    assert watch_from({"14400/long": [7, 1.0]}, TERMS) == new_watch(TERMS)
