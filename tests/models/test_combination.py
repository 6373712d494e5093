"""Combining forecasts: weights that are there are found, and none is trusted before it is known."""

from __future__ import annotations

import numpy as np
import pytest

from models.backtests import qlike
from models.combination import Combination, PooledHar, qlike_slopes


@pytest.fixture(scope="module")
def past() -> tuple[np.ndarray, np.ndarray]:
    """Four log forecasts, and outcomes around a mixture of the second and the fourth."""
    rng = np.random.default_rng(3)
    members = rng.normal(-8.0, 1.0, (6_000, 4))
    truth = 0.2 + 0.7 * members[:, 1] + 0.3 * members[:, 3]
    return members, np.exp(truth) * rng.chisquare(24, 6_000) / 24


def test_combination__known_mixture__is_found(past: tuple[np.ndarray, np.ndarray]):
    found = Combination().fit(*past)
    assert found.weights_ == pytest.approx([0.0, 0.7, 0.0, 0.3], abs=0.02)
    assert found.intercept_ == pytest.approx(0.2, abs=0.02)
    assert found.weights_.sum() == pytest.approx(1.0)


def test_combination__fitted__beats_every_member(past: tuple[np.ndarray, np.ndarray]):
    members, variance = past
    ours = qlike(variance, np.exp(Combination().fit(members, variance).predict(members))).mean()
    each = [qlike(variance, np.exp(member)).mean() for member in members.T]
    assert ours < min(each)


def test_combination__prior__is_the_mean_of_linear_model_and_boosting():
    members = np.arange(8.0).reshape(2, 4)
    forecast = Combination().prior(4).predict(members)
    assert forecast.tolist() == [0.5, 4.5]


def test_combination__dead_hours__stay_finite(past: tuple[np.ndarray, np.ndarray]):
    members, variance = past
    dead = np.where(np.arange(len(variance)) % 10 == 0, 0.0, variance)
    assert np.isfinite(Combination().fit(members, dead).weights_).all()


def test_qlike_slopes__known_truth__is_found_without_bias():
    rng = np.random.default_rng(4)
    columns = np.concatenate([np.ones((5_000, 1)), rng.standard_normal((5_000, 2))], axis=1)
    variance = np.exp(columns @ [-7.0, 0.6, -0.3]) * rng.chisquare(12, 5_000) / 12
    found = qlike_slopes(columns, np.log(variance), np.zeros(3))
    assert found == pytest.approx([-7.0, 0.6, -0.3], abs=0.03)


@pytest.mark.parametrize("size", [-1e3, 1e3])
def test_pooled_har__absurd_features__are_finite(size: float):
    rng = np.random.default_rng(2)
    features = rng.normal(-9.0, 1.0, (500, 3))
    fitted = PooledHar().fit(features, np.exp(features[:, 0]))
    assert np.isfinite(fitted.predict(np.full((1, 3), size))).all()
