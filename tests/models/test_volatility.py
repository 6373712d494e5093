"""Forecasts of variance: a known truth is found, dead hours and shocks do not break them."""

from __future__ import annotations

import numpy as np
import pytest

from models.backtests import qlike
from models.volatility import (
    MEMBERS,
    PooledBoosting,
    PooledLogHar,
    VolatilityForecast,
    log_bias,
    log_target,
)


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns, realised variance (24 squared normals) and the true log variance."""
    rng = np.random.default_rng(7)
    features = rng.standard_normal((4_000, 4))
    truth = -7.0 + 0.6 * features[:, 0] + 0.3 * features[:, 1]
    noise = (rng.standard_normal((4_000, 24)) ** 2).mean(axis=1)
    return features, np.exp(truth) * noise, truth


def test_pooled_log_har__known_truth__is_found_without_bias(
    world: tuple[np.ndarray, np.ndarray, np.ndarray],
):
    features, variance, truth = world
    forecast = PooledLogHar().fit(features, variance).predict(features)
    assert forecast == pytest.approx(truth, abs=0.06)


def test_volatility_forecast__known_truth__is_nearly_as_good_as_the_truth(
    world: tuple[np.ndarray, np.ndarray, np.ndarray],
):
    features, variance, truth = world
    model = VolatilityForecast(variances=(True, True, False, False), har=(0, 1), trees=60)
    forecast = model.fit(features[:3_000], variance[:3_000]).predict(features[3_000:])
    ours = qlike(variance[3_000:], np.exp(forecast)).mean()
    best = qlike(variance[3_000:], np.exp(truth[3_000:])).mean()
    assert ours < 1.15 * best


def test_volatility_forecast__before_weights_are_known__is_the_mean_of_two_members(
    world: tuple[np.ndarray, np.ndarray, np.ndarray],
):
    features, variance, _ = world
    model = VolatilityForecast(variances=(True,) * 4, har=(0, 1), trees=20).fit(features, variance)
    members = model.members(features[:10])
    assert members.shape == (10, MEMBERS)
    assert model.predict(features[:10]) == pytest.approx(members[:, :2].mean(axis=1))


def test_pooled_boosting__market_moving_k_times_as_much__gets_k_squared_the_variance(
    world: tuple[np.ndarray, np.ndarray, np.ndarray],
):
    features, variance, _ = world
    model = PooledBoosting(variances=(True, True, False, False), trees=60).fit(features, variance)
    # far beyond anything trained on
    shift = 2.0 * np.log(50.0) * np.array([1.0, 1.0, 0.0, 0.0])
    rise = model.predict(features + shift) - model.predict(features)
    assert rise == pytest.approx(np.full(len(features), 2.0 * np.log(50.0)), abs=0.3)
    assert np.median(rise) == pytest.approx(2.0 * np.log(50.0), abs=1e-9)


def test_pooled_boosting__same_seed__gives_the_same_bits(
    world: tuple[np.ndarray, np.ndarray, np.ndarray],
):
    features, variance, _ = world
    models = [
        PooledBoosting(variances=(True,) * 4, trees=20).fit(features, variance) for _ in range(2)
    ]
    assert models[0].trees_.value.tobytes() == models[1].trees_.value.tobytes()


def test_log_target__dead_hour__has_a_floor():
    assert np.isfinite(log_target(np.array([0.0, 1e-4, 2e-4]))).all()


def test_log_bias__one_enormous_shock__is_limited():
    forecast = np.zeros(5_000)
    variance = np.ones(5_000)
    variance[17] = 1e6
    assert log_bias(variance, forecast) == pytest.approx(0.0, abs=0.01)


def test_pooled_log_har__constant_column__is_harmless(
    world: tuple[np.ndarray, np.ndarray, np.ndarray],
):
    features, variance, _ = world
    still = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    assert np.isfinite(PooledLogHar().fit(still, variance).predict(still)).all()
