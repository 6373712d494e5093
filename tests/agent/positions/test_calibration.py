"""Facts about chances held against what followed: looks apart, who counts, and when it alarms."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from agent.positions.calibration import (
    HIGH,
    KINDS,
    LOW,
    Calibration,
    Judged,
    calibration_from,
    judged,
    shares,
    state_of,
)
from agent.positions.chance_telemetry import ChanceTelemetry
from models.heads import HORIZONS_S
from relayer.chance_metrics import CHANCE_KINDS, ChanceMetrics
from relayer.outcomes import Watched

START_S = 1_700_000_000
SAID = (0.1, 0.2, 0.3, 0.5)
DAY_S = 86_400


def row(
    at_s: int,
    said: Sequence[float] = SAID,
    *,
    liquidated: int | None = None,
    closed: int | None = None,
    distance: float = 0.01,
) -> Watched:
    """One position that ended so many seconds after the look."""
    return Watched(
        watched_as="a",
        at_ms=at_s * 1_000,
        facts={"chances": list(said), "distance": distance},
        liquidated_s=None if liquidated is None else at_s + liquidated,
        closed_s=None if closed is None else at_s + closed,
    )


def counts(found: Judged) -> list[tuple[int, float, int]]:
    return [(t.outcomes, round(t.predicted, 9), t.liquidated) for t in found.tallies.values()]


def test_judged__liquidated_after_an_hour__counts_for_the_longer_horizons() -> None:
    found = judged(Calibration(), [row(START_S, liquidated=3_601), row(START_S)])
    assert counts(found) == [(2, 0.2, 0), (2, 0.4, 0), (2, 0.6, 1), (2, 1.0, 1)]


def test_judged__looks_within_a_horizon__are_one_step() -> None:
    rows = [row(START_S + 600 * place) for place in range(13)]
    found = judged(Calibration(), rows)
    assert [each.outcomes for each in found.tallies.values()] == [7, 3, 1, 1]


def test_judged__closed_before_the_end__is_no_known_outcome() -> None:
    found = judged(Calibration(), [row(START_S, closed=1_000)])
    assert [each.outcomes for each in found.tallies.values()] == [1, 0, 0, 0]
    late = judged(Calibration(), [row(START_S, closed=1_000, liquidated=2_000)])
    assert [each.liquidated for each in late.tallies.values()] == [0, 0, 0, 0]
    early = judged(Calibration(), [row(START_S, closed=1_000, liquidated=500)])
    assert [each.liquidated for each in early.tallies.values()] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "found",
    [
        row(START_S, (0.1, math.nan, 0.2, 0.3)),
        row(START_S, (0.1,)),
        row(START_S, distance=0.0),
        Watched(watched_as="a", at_ms=START_S * 1_000, facts={"chances": None, "distance": 0.1}),
        Watched(watched_as="a", at_ms=START_S * 1_000, facts={}),
    ],
)
def test_judged__nothing_said_or_due_already__is_not_counted(found: Watched) -> None:
    assert all(each.outcomes == 0 for each in judged(Calibration(), [found]).tallies.values())


def walk(said: float, truth: float, days: int, seed: int, heeding: float = 0.0) -> Judged:
    """Daily looks at twenty positions that share the day's luck in part."""
    rng = np.random.default_rng(seed)
    rows = []
    for day in range(days):
        common = rng.random() < 0.5
        for _ in range(20):
            hit = rng.random() < truth * (1.5 if common else 0.5)
            closed = 100 if rng.random() < heeding else None
            rows.append(
                row(
                    START_S + day * DAY_S,
                    (said,) * 4,
                    liquidated=500 if hit else None,
                    closed=closed,
                )
            )
    return judged(Calibration(), rows)


def test_judged__chances_that_come_true__do_not_alarm_in_a_year() -> None:
    assert sum(len(walk(0.2, 0.2, 365, seed).alarms) for seed in range(5)) == 0


def test_judged__owners_who_close_first__raise_no_alarm() -> None:
    assert walk(0.3, 0.3, 365, 1, heeding=0.7).alarms == ()


def test_judged__twice_as_many_liquidated__alarms_low_within_two_months() -> None:
    kinds = {kind for _, kind in walk(0.2, 0.45, 60, 1).alarms}
    assert kinds == {LOW}


def test_judged__hardly_anybody_liquidated__alarms_high() -> None:
    kinds = {kind for _, kind in walk(0.6, 0.05, 90, 1).alarms}
    assert kinds == {HIGH}


def test_judged__another_model_speaks__tests_begin_anew() -> None:
    rows = [row(START_S + day * DAY_S, (0.05,) * 4, liquidated=500) for day in range(5)]
    before = judged(Calibration(), rows).calibration
    assert shares(before)[HORIZONS_S[0], LOW] > 0.0
    said = {**row(START_S, (0.9,) * 4).facts, "model": "other"}
    fresh = replace(row(START_S + 5 * DAY_S), facts=said)
    after = judged(before, [fresh]).calibration
    assert set(shares(after).values()) == {0.0}
    assert {step.count for step in after.steps.values()} == {1}
    kept = calibration_from(json.loads(json.dumps(state_of(after))))
    assert judged(kept, [replace(fresh, watched_as="b")]).calibration.steps[900].count == 2


def test_state__written_and_read__goes_on_as_if_never_stopped() -> None:
    rows = [
        row(START_S + 700 * place, liquidated=300 if place % 3 else None) for place in range(50)
    ]
    whole = judged(Calibration(), rows).calibration
    part = judged(Calibration(), rows[:23]).calibration
    kept = calibration_from(json.loads(json.dumps(state_of(part))))
    assert state_of(judged(kept, rows[23:]).calibration) == state_of(whole)
    assert shares(calibration_from({}))[HORIZONS_S[0], LOW] == 0.0


def test_telemetry__an_alarm__is_counted_and_labels_stand_at_zero_before() -> None:
    registry = CollectorRegistry()
    telemetry = ChanceTelemetry(ChanceMetrics(registry))
    value = registry.get_sample_value
    assert CHANCE_KINDS == KINDS
    assert value("aml_chance_alarms_total", {"kind": "low"}) == 0.0
    telemetry.judged(walk(0.2, 0.45, 60, 1))
    assert (value("aml_chance_alarms_total", {"kind": "low"}) or 0.0) >= 1.0
    assert value("aml_chance_outcomes_total", {"horizon": "24h"}) == 1_200.0
    assert (value("aml_chance_predicted_total", {"horizon": "24h"}) or 0.0) == pytest.approx(240.0)
    assert (value("aml_chance_liquidated_total", {"horizon": "24h"}) or 0.0) > 300.0
