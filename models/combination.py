"""Several forecasts of variance made one: weights that minimise QLIKE on forecasts of the past.

Forecasts are combined as logarithms, with a constant and weights that add up to one (Granger and
Ramanathan 1984). The weights are fitted to forecasts that were made before what they are
judged by was known; they may be negative: the step from one HAR to another is what the level
of a market adds to both.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_limits

FloatArray = NDArray[np.float64]

PENALTY = 1e-4
"""On the squares of what a coefficient moves from its start; it matters where little is known."""
MOST_ITERATIONS = 300
LOG_RATIO_BOUND = 30.0
LOG_BOUND = 60.0
"""Logarithms beyond this are garbage that must not overflow."""
RELATIVE_FLOOR = 1e-4
"""Outcomes below this share of the median outcome count as that: a dead hour has no logarithm."""


class PooledHar(RegressorMixin, BaseEstimator):  # type: ignore[misc] # untyped library
    """HAR of Corsi 2009 on the variances themselves, pooled, by ordinary least squares.

    Forecasts under the smallest thousandth of the outcomes count as that: the linear model
    alone can go below zero.

    Attributes
    ----------
    intercept_, least_ : float
    coefficients_ : ndarray of float64, shape (columns,)
    """

    def fit(self, features: FloatArray, variance: FloatArray) -> Self:
        """Fit to realised variance; features are logarithms of past variance."""
        with threadpool_limits(1):
            fitted = LinearRegression().fit(np.exp(features), variance)
        self.intercept_ = float(fitted.intercept_)
        self.coefficients_ = np.asarray(fitted.coef_, dtype=np.float64)
        self.least_ = float(np.quantile(variance, 0.001))
        return self

    def predict(self, features: FloatArray) -> FloatArray:
        """Forecast the logarithm of the variance; columns are added in order, shape (rows,)."""
        total = np.full(len(features), self.intercept_)
        for column in range(features.shape[1]):
            past = np.exp(np.clip(features[:, column], -LOG_BOUND, LOG_BOUND))
            total = total + self.coefficients_[column] * past
        return np.asarray(np.log(np.maximum(total, self.least_)), dtype=np.float64)


class Combination(BaseEstimator):  # type: ignore[misc] # untyped library
    """Constant plus weighted sum of logarithms of variance, weights adding up to one.

    Attributes
    ----------
    intercept_ : float
    weights_ : ndarray of float64, shape (members,)
    """

    def prior(self, members: int) -> Self:
        """Weigh the first and the second member alike and the others not at all.

        They are the linear model and the boosting, as they were before there were others.
        """
        self.intercept_ = 0.0
        self.weights_ = np.zeros(members)
        self.weights_[:2] = 0.5
        return self

    def fit(self, members: FloatArray, variance: FloatArray) -> Self:
        """Fit to log forecasts, shape (rows, members), and the outcomes that followed them."""
        self.prior(members.shape[1])
        base = self.predict(members)
        floor = max(float(np.median(variance)) * RELATIVE_FLOOR, 1e-14)
        columns = np.concatenate([np.ones((len(base), 1)), members[:, 1:] - members[:, :1]], axis=1)
        found = qlike_slopes(
            columns, np.log(np.maximum(variance, floor)) - base, np.zeros(columns.shape[1])
        )
        self.intercept_ = float(found[0])
        self.weights_ = self.weights_ + np.concatenate([[-found[1:].sum()], found[1:]])
        return self

    def predict(self, members: FloatArray) -> FloatArray:
        """Combine log forecasts; members are added in order, shape (rows,)."""
        total = np.full(len(members), self.intercept_)
        for place, weight in enumerate(self.weights_):
            total = total + weight * members[:, place]
        return np.asarray(total, dtype=np.float64)


def qlike_slopes(columns: FloatArray, target: FloatArray, start: FloatArray) -> FloatArray:
    """Slopes whose sum over columns forecasts the logarithm `target` with the least QLIKE.

    A convex problem; `start` is also what the penalty draws to.
    """
    with threadpool_limits(1):
        found = minimize(
            _qlike_loss,
            start,
            args=(columns, target, start),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": MOST_ITERATIONS},
        )
    return np.asarray(found.x, dtype=np.float64)


def _qlike_loss(
    slopes: FloatArray, columns: FloatArray, target: FloatArray, start: FloatArray
) -> tuple[float, FloatArray]:
    """Mean QLIKE with the penalty, and its gradient."""
    rest = target - columns @ slopes
    ratio = np.exp(np.clip(rest, -LOG_RATIO_BOUND, LOG_RATIO_BOUND))
    moved = slopes - start
    total = float((ratio - rest - 1.0).mean()) + PENALTY * float(moved @ moved)
    return total, columns.T @ (1.0 - ratio) / len(target) + 2.0 * PENALTY * moved
