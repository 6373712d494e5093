"""Tests of losses: they tell a better model from luck, and count an instant once."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.inference import confidence_set, diebold_mariano, interval, per_instant


def test_per_instant__coins_of_one_instant__are_one_mean():
    stamps = np.array([2, 1, 2, 1], dtype=np.int64)
    assert per_instant(stamps, np.array([1.0, 2.0, 3.0, 6.0])).tolist() == [4.0, 2.0]


def test_interval__independent_draws__is_that_of_the_textbook():
    series = np.random.default_rng(0).standard_normal(2_500)
    found = interval(series, 1)
    assert found.high - found.low == pytest.approx(2 * 1.96 / 50, rel=0.1)
    assert found.low < found.mean < found.high


def test_interval__clustered_draws__is_wider_in_blocks():
    series = np.repeat(np.random.default_rng(0).standard_normal(250), 10)
    alone, blocks = interval(series, 1), interval(series, 20)
    assert blocks.high - blocks.low > 2 * (alone.high - alone.low)


def test_diebold_mariano__smaller_losses__are_negative():
    pytest.importorskip("statsmodels", reason="statsmodels is in the extra `research`")
    rng = np.random.default_rng(1)
    theirs = rng.random(500)
    assert diebold_mariano(theirs - 0.1 + 0.1 * rng.random(500), theirs) < -5
    assert abs(diebold_mariano(rng.random(500), theirs)) < 3


def test_confidence_set__clearly_worse_model__is_left_out():
    pytest.importorskip("arch", reason="arch is in the extra `research`")
    rng = np.random.default_rng(2)
    common = rng.random(400)
    losses = {name: common + 0.1 * rng.random(400) for name in ("a", "b")}
    found = confidence_set(losses | {"worse": common + 1.0}, 5)
    assert found["worse"] < 0.1 <= min(found["a"], found["b"])
