"""How chances of liquidation are judged: figures of one line, and calibration by months."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.calibration import line_of
from benchmarks.cross_accounts import Fates, calibrated, months

DAY_MS = 86_400_000
JANUARY, MARCH = (
    int(np.datetime64(day, "ms").astype(np.int64)) for day in ("2019-01-01", "2019-03-10")
)


def test_line__chances_that_came_true_as_often_as_said__have_no_error():
    chance = np.repeat([0.125, 0.625], 800)
    hit = np.concatenate([np.arange(800) % 8 == 0, np.arange(800) % 8 < 5]).astype(np.float64)
    line = line_of(chance, hit)
    assert line["ece"] == 0.0
    assert line["ratio"] == 1.0
    assert line["observed"] == 0.375
    assert line["auc"] == pytest.approx(0.7667, abs=1e-4)


def test_line__chances_twice_what_was_seen__say_so():
    hit = (np.arange(1_000) % 10 == 0).astype(np.float64)
    line = line_of(np.full(1_000, 0.2), hit)
    assert (line["ratio"], line["ece"], line["auc"]) == (2.0, 0.1, 0.5)


def test_months__span__is_cut_at_its_ends():
    found = months(JANUARY + 5 * DAY_MS, MARCH)
    assert [(last - first) // DAY_MS for first, last in found] == [26, 28, 9]
    assert (found[0][0], found[-1][1]) == (JANUARY + 5 * DAY_MS, MARCH)


def test_calibrated__accounts_of_a_month__know_what_ended_a_day_before_it_and_nothing_later():
    rng = np.random.default_rng(0)
    stamps = np.repeat(np.arange(JANUARY - 200 * DAY_MS, MARCH, DAY_MS), 5)
    share = rng.uniform(0.01, 0.4, len(stamps))
    died = (rng.random(len(stamps)) < share / 2.0).astype(np.float64)
    fates = Fates(as_of_ms=stamps, share=share, died=died)
    chance = calibrated(fates, fates, JANUARY, MARCH)
    judged = stamps >= JANUARY
    assert np.isnan(chance[~judged]).all()
    assert chance[judged].mean() == pytest.approx(share[judged].mean() / 2.0, rel=0.25)
    later = stamps >= MARCH - 40 * DAY_MS
    other = Fates(as_of_ms=stamps, share=share, died=np.where(later, 1.0 - died, died))
    january = judged & (stamps < JANUARY + 31 * DAY_MS - 10 * DAY_MS)
    assert np.array_equal(calibrated(other, other, JANUARY, MARCH)[january], chance[january])
