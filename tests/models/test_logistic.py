"""The bounded logistic regression: it finds what is true, and never turns a sign round."""

from __future__ import annotations

import numpy as np
import pytest

from models.logistic import BoundedLogistic, logit_of, sigmoid


def sample(rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Draw outcomes of a known logistic law: 0.5 + 1.2 x0 - 0.7 x1."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((rows, 2)) * (1.0, 3.0)
    chance = sigmoid(0.5 + 1.2 * features[:, 0] - 0.7 * features[:, 1])
    return features, (rng.random(rows) < chance).astype(np.float64)


def test_fit__known_law__is_found():
    features, outcome = sample()
    model = BoundedLogistic(signs=(0, 0)).fit(features, outcome)
    assert model.intercept_ == pytest.approx(0.5, abs=0.06)
    assert model.coefficients_ == pytest.approx([1.2, -0.7], abs=0.06)


def test_fit__sign_against_the_data__is_zero_and_the_rest_still_calibrated():
    features, outcome = sample()
    model = BoundedLogistic(signs=(1, 1)).fit(features, outcome)
    assert model.coefficients_[1] == 0.0
    assert model.coefficients_[0] > 0.0
    assert model.predict(features).mean() == pytest.approx(outcome.mean(), abs=1e-6)


def test_fit__weights__count_as_repeated_rows():
    features, outcome = sample(400)
    weight = np.where(np.arange(400) % 2 == 0, 2.0, 1.0)
    order = np.concatenate([np.arange(400), np.arange(0, 400, 2)])
    weighted = BoundedLogistic(signs=(0, 0), penalty=1e-9).fit(features, outcome, weight)
    repeated = BoundedLogistic(signs=(0, 0), penalty=1e-9).fit(features[order], outcome[order])
    assert weighted.coefficients_ == pytest.approx(repeated.coefficients_, rel=1e-6)


def test_fit__constant_column__is_left_alone():
    features, outcome = sample(500)
    model = BoundedLogistic(signs=(0, 0, 0)).fit(
        np.concatenate([features, np.ones((500, 1))], axis=1), outcome
    )
    assert model.coefficients_[2] == 0.0


def test_fit__only_one_outcome__is_finite():
    features, _ = sample(100)
    chance = BoundedLogistic(signs=(0, 0)).fit(features, np.zeros(100)).predict(features)
    assert np.isfinite(chance).all()
    assert chance.max() < 0.01


def test_logit__a_row_alone__has_the_bits_that_it_has_in_a_batch():
    features, _ = sample(257)
    coefficients = np.array([1.1, -0.3])
    together = logit_of(0.2, coefficients, features)
    for row in (0, 100, 256):
        assert logit_of(0.2, coefficients, features[row : row + 1])[0] == together[row]


def test_sigmoid__absurd_logits__stay_inside():
    assert 0.0 < sigmoid(np.array([-1e9]))[0] < 1e-12
    assert 1.0 - 1e-12 < sigmoid(np.array([1e9]))[0] < 1.0
