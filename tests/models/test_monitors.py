"""Monitors: quiet as long as the promise holds, at the stated rate, and quick when it breaks."""

from __future__ import annotations

import numpy as np
import pytest

from models.monitors import (
    Alarm,
    Detector,
    alarms,
    breach_detector,
    breach_excess,
    calibration_detectors,
    calibration_excess,
    delays,
)

DAY_S = 86_400


def record(rate: float, days: int, *, seed: int, markets: int = 20) -> list[float]:
    """Excess of breaches that come together: half of them strike all markets of a day at once."""
    rng = np.random.default_rng(seed)
    together = rng.random(days) < rate / 2.0
    alone = rng.random((days, markets)) < rate / 2.0
    breaches = (alone | together[:, None]).astype(np.float64)
    return [breach_excess(day, 0.01) for day in breaches]


def test_breaches__promise_kept__false_alarms_are_rarer_than_stated():
    years, runs, found = 4, 40, 0
    for seed in range(runs):
        days = record(0.012, 365 * years, seed=seed)
        found += len(alarms(breach_detector(DAY_S), range(len(days)), days))
    assert found / (runs * years) <= 1.0


@pytest.mark.parametrize(("rate", "median_days"), [(0.5, 7), (0.1, 40), (0.05, 90)])
def test_breaches__promise_broken__is_found(rate: float, median_days: int):
    steps = []
    for seed in range(20):
        days = record(rate, 400, seed=100 + seed)
        steps.append(alarms(breach_detector(DAY_S), range(400), days)[0].steps)
    assert np.median(steps) <= median_days


def test_detector__a_year_of_good_days__does_not_delay_the_alarm():
    quiet = record(0.004, 365, seed=1)
    bad = [0.3] * 30
    late = alarms(breach_detector(DAY_S), range(395), quiet + bad)[0].at_ms - 365
    assert late <= alarms(breach_detector(DAY_S), range(30), bad)[0].at_ms + 1


def test_detector__resumed_from_its_value__goes_on_alike():
    days = record(0.02, 60, seed=2)
    whole = Detector(threshold=1e9)
    for excess in days:
        whole = whole.after(excess)
    half = Detector(threshold=1e9)
    for excess in days[:30]:
        half = half.after(excess)
    resumed = Detector(threshold=1e9, levels=half.levels, steps=half.steps)
    for excess in days[30:]:
        resumed = resumed.after(excess)
    assert resumed == whole


def test_detector__endless_breaches__stay_finite():
    detector = Detector(threshold=10.0)
    for _ in range(1_000):
        detector = detector.after(1.0)
    assert np.isfinite(detector.evidence)


def test_detector__impossible_input__is_refused():
    with pytest.raises(ValueError, match="outside"):
        Detector(threshold=10.0).after(-0.5)
    with pytest.raises(ValueError, match="at once"):
        Detector(threshold=1.0)
    with pytest.raises(ValueError, match="one level a bet"):
        Detector(threshold=10.0, levels=(1.0,))


def test_calibration__right_probabilities__are_quiet_and_wrong_ones_found():
    rng = np.random.default_rng(3)
    chance = rng.uniform(0.02, 0.3, (365, 10))
    happened = (rng.random((365, 10)) < chance).astype(np.float64)
    low, high = calibration_detectors(DAY_S)
    honest = [calibration_excess(*pair) for pair in zip(happened, chance, strict=True)]
    halved = [calibration_excess(*pair) for pair in zip(happened, chance / 2.0, strict=True)]
    doubled = [-calibration_excess(*pair) for pair in zip(happened, chance * 2.0, strict=True)]
    assert not alarms(low, range(365), honest)
    assert not alarms(high, range(365), [-excess for excess in honest])
    assert alarms(low, range(365), halved)
    assert alarms(high, range(365), doubled)


def test_delays__first_alarm_in_the_window__counts():
    day = 86_400_000
    found = [Alarm(at_ms=5 * day, steps=5), Alarm(at_ms=12 * day, steps=7)]
    met, missed = delays(found, [("a", 10 * day), ("b", 20 * day)])
    assert (met.alarm_ms, met.days) == (12 * day, 2.0)
    assert (missed.alarm_ms, missed.days) == (None, None)
