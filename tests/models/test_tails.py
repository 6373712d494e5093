"""Tails: quantiles that cover a known truth, rise with volatility and stay within their bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.tails import (
    FACTOR_HIGH,
    FACTOR_LOW,
    ExcursionTail,
    composite_slopes,
    pinball,
    upper_quantile,
)

POSITIVE = st.floats(1e-6, 10.0)


@pytest.fixture(scope="module")
def tail() -> ExcursionTail:
    rng = np.random.default_rng(2)
    deviation = np.exp(rng.normal(-4.0, 0.5, 20_000))
    excursion = np.abs(rng.standard_t(4, 20_000)) * deviation
    return ExcursionTail().fit(excursion, deviation, rng.normal(0.7, 0.1, 20_000))


def test_predict__new_draws__are_covered_as_promised(tail: ExcursionTail):
    rng = np.random.default_rng(3)
    deviation = np.exp(rng.normal(-3.0, 0.7, 40_000))
    excursion = np.abs(rng.standard_t(4, 40_000)) * deviation
    quantiles = tail.predict(deviation, np.full(40_000, 0.7), np.ones(40_000))
    breaches = (excursion[:, None] > quantiles).mean(axis=0)
    assert breaches == pytest.approx([0.01, 0.005], rel=0.2)


@given(POSITIVE, POSITIVE, st.floats(-5.0, 5.0), st.floats(0.0, 1.0))
def test_predict__more_volatility__never_a_lower_quantile(
    tail: ExcursionTail, one: float, other: float, score: float, weight: float
):
    deviation = np.sort(np.array([one, other]))
    quantiles = tail.predict(deviation, np.full(2, score), np.full(2, weight))
    assert (quantiles[1] >= quantiles[0]).all()
    assert (quantiles[:, 1] >= quantiles[:, 0]).all()


@given(st.floats(-50.0, 50.0), st.floats(0.0, 1.0))
def test_factor__any_past__stays_within_its_bounds(
    tail: ExcursionTail, score: float, weight: float
):
    factor = tail.factor(np.array([score]), np.array([weight]))[0]
    assert FACTOR_LOW * (1 - 1e-12) <= factor <= FACTOR_HIGH * (1 + 1e-12)


def test_factor__new_listing__is_the_pooled_prior(tail: ExcursionTail):
    assert tail.factor(np.array([9.0]), np.zeros(1)).tolist() == [1.0]


def test_factor__market_that_outruns_its_volatility__is_above_one(tail: ExcursionTail):
    assert tail.factor(np.array([tail.centre_ + 1.0]), np.ones(1))[0] > 1.0


def test_fit__market_whose_own_past_tells_its_tail__believes_it():
    rng = np.random.default_rng(4)
    score = rng.normal(0.0, 0.15, 20_000)
    excursion = np.exp(score) * np.abs(rng.standard_normal(20_000)) * 0.01
    fitted = ExcursionTail().fit(excursion, np.full(20_000, 0.01), score)
    assert fitted.memory_ >= 0.8


def test_fit__calm_that_is_overrun_further__rises_with_a_power_below_one():
    rng = np.random.default_rng(5)
    deviation = np.exp(rng.normal(-4.0, 0.5, 30_000))
    excursion = np.abs(rng.standard_normal(30_000)) * deviation**0.7
    fitted = ExcursionTail().fit(excursion, deviation, np.zeros(30_000))
    assert fitted.slope_ == pytest.approx(-0.3, abs=0.05)


def test_fit__storms_overrun_further__is_not_followed_beyond_proportion():
    rng = np.random.default_rng(6)
    deviation = np.exp(rng.normal(-4.0, 0.5, 10_000))
    excursion = np.abs(rng.standard_normal(10_000)) * deviation**1.5
    assert ExcursionTail().fit(excursion, deviation, np.zeros(10_000)).slope_ == 0.0


def test_composite_slopes__column_that_does_not_vary__keeps_the_slope_nearest_to_zero():
    values = np.random.default_rng(7).standard_normal(500)
    assert composite_slopes(values, np.zeros((500, 1)), ((0.2, 1.0),)) == (0.2,)


def test_upper_quantile__few_values__is_the_largest():
    assert upper_quantile(np.array([1.0, 3.0, 2.0]), 0.99) == 3.0


def test_upper_quantile__counts_from_below():
    assert upper_quantile(np.arange(1.0, 1_000.0), 0.99) == 990.0


def test_pinball__hand_computed():
    assert pinball(np.array([1.0, 3.0]), np.array([2.0, 2.0]), 0.9) == pytest.approx(0.5)
