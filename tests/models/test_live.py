"""The live watch: silent on kept promises, loud on broken ones, and the same after a restart."""

from __future__ import annotations

import json

import numpy as np

from models.live import Watch, new_watch, state_of_watch, watch_from, watched
from models.promises import Ending, Promise
from models.scorer import HorizonTail

MARKETS, HORIZON_S = 20, 14_400


def endings(breaching: np.ndarray) -> list[Ending]:
    tail = HorizonTail(
        horizon_s=HORIZON_S, long_990=0.05, long_995=0.06, short_990=0.05, short_995=0.06
    )
    promises = [
        Promise(market=market, from_ms=0, deviation=0.01, tail=tail) for market in range(MARKETS)
    ]
    return [
        Ending(promise=promise, variance=1e-4, fall=0.1 if breach else 0.01, rise=0.0)
        for promise, breach in zip(promises, breaching, strict=True)
    ]


def run(rate: float, steps: int, watch: Watch) -> tuple[Watch, list[tuple[int, str]]]:
    rng, found = np.random.default_rng(3), []
    for step in range(steps):
        watch, alarms = watched(watch, endings(rng.random(MARKETS) < rate))
        found += [(step, key) for key in alarms]
    return watch, found


def test_watched__promise_kept_for_a_year__is_silent():
    assert run(0.01, 2_190, new_watch())[1] == []


def test_watched__five_times_the_promise__alarms_within_weeks_and_names_it():
    _, found = run(0.05, 400, new_watch())
    assert found
    assert found[0][0] < 6 * 30
    assert {key for _, key in found} == {"14400/long"}


def test_watch__written_and_read__goes_on_to_the_bit():
    watch, _ = run(0.02, 50, new_watch())
    again = watch_from(json.loads(json.dumps(state_of_watch(watch))))
    assert again == watch
    assert run(0.05, 60, again)[1] == run(0.05, 60, watch)[1]
    assert watch_from({}) == new_watch()
