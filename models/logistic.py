"""Logistic regression with a sign for each coefficient: calibration that stays monotone.

minimise  sum_i w_i log(1 + exp(-y_i eta_i)) + penalty / 2 |scaled coefficients|^2,
eta = intercept + sum_j b_j x_j,  lower_j <= b_j <= upper_j.

Newton's method; each step solves the quadratic model inside the bounds by coordinate descent
(Friedman, Hastie and Tibshirani 2010), which keeps the bounds coordinate by coordinate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

FloatArray = NDArray[np.float64]

STEPS, SWEEPS, HALVINGS = 30, 200, 20
TOLERANCE = 1e-9
MOST_LOGIT = 30.0
"""Beyond it a probability is 0 or 1 to thirteen digits; the bound keeps exp finite."""


class BoundedLogistic(BaseEstimator):  # type: ignore[misc] # untyped library
    """Probability of an event, with bounds on what each column may do to it.

    Parameters
    ----------
    signs : tuple of int
        One a column: 1 where the logit may only rise with it, -1 only fall, 0 either.
    penalty : float
        Ridge penalty on standardised columns, in rows.

    Attributes
    ----------
    intercept_ : float
    coefficients_ : ndarray of float64, shape (columns,)
    """

    def __init__(self, *, signs: tuple[int, ...], penalty: float = 1.0) -> None:
        self.signs = signs
        self.penalty = penalty

    def fit(
        self, features: FloatArray, outcome: FloatArray, weight: FloatArray | None = None
    ) -> Self:
        """Fit to outcomes 0 and 1 (or shares between), shape (rows,)."""
        rows = np.ones(len(outcome)) if weight is None else weight
        centre, scale = features.mean(axis=0), features.std(axis=0)
        scale = np.where(scale > 0.0, scale, 1.0)
        design = np.concatenate([np.ones((len(features), 1)), (features - centre) / scale], axis=1)
        with threadpool_limits(1):
            solution = self._newton(design, outcome, rows)
        self.coefficients_ = np.asarray(solution[1:] / scale, dtype=np.float64)
        self.intercept_ = float(solution[0] - (self.coefficients_ * centre).sum())
        return self

    def logit(self, features: FloatArray) -> FloatArray:
        """Logit of the probability; columns are added in order, shape (rows,)."""
        return logit_of(self.intercept_, self.coefficients_, features)

    def predict(self, features: FloatArray) -> FloatArray:
        """Probability, shape (rows,)."""
        return sigmoid(self.logit(features))

    def _newton(self, design: FloatArray, outcome: FloatArray, rows: FloatArray) -> FloatArray:
        signs = np.array((0, *self.signs))
        lower = np.where(signs > 0, 0.0, -np.inf)
        upper = np.where(signs < 0, 0.0, np.inf)
        ridge = np.diag([0.0] + [self.penalty] * len(self.signs))
        solution = np.zeros(design.shape[1])
        share = float(np.average(outcome, weights=rows))
        solution[0] = np.log(max(share, 1e-9) / max(1.0 - share, 1e-9))
        for _ in range(STEPS):
            chance = sigmoid(design @ solution)
            slope = design.T @ (rows * (chance - outcome)) + ridge @ solution
            curve = (
                design * (rows * np.maximum(chance * (1.0 - chance), 1e-9))[:, None]
            ).T @ design
            step = _bounded_step(curve + ridge, slope, lower - solution, upper - solution)
            step = _shortened(step, lambda at: _loss(at, design, outcome, rows, ridge), solution)
            solution = solution + step
            if float(np.abs(step).max()) < TOLERANCE:
                break
        return solution


def sigmoid(logit: FloatArray) -> FloatArray:
    """Probability of a logit."""
    bounded = np.clip(logit, -MOST_LOGIT, MOST_LOGIT)
    return np.asarray(1.0 / (1.0 + np.exp(-bounded)), dtype=np.float64)


def logit_of(intercept: float, coefficients: FloatArray, features: FloatArray) -> FloatArray:
    """Sum intercept and columns in order, without BLAS: a row's bits do not depend on its batch."""
    total = np.full(len(features), intercept)
    for column in range(features.shape[1]):
        total = total + coefficients[column] * features[:, column]
    return total


def _shortened(
    step: FloatArray, loss: Callable[[FloatArray], float], solution: FloatArray
) -> FloatArray:
    """Halve a step until it leads down: where events are rare, a whole one may fly off."""
    before = loss(solution)
    for _ in range(HALVINGS):
        if loss(solution + step) <= before:
            return step
        step = step / 2.0
    return np.zeros(len(step))


def _loss(
    solution: FloatArray,
    design: FloatArray,
    outcome: FloatArray,
    rows: FloatArray,
    ridge: FloatArray,
) -> float:
    """Penalised negative log likelihood."""
    eta = design @ solution
    each = np.logaddexp(0.0, eta) - outcome * eta
    return float((rows * each).sum() + 0.5 * solution @ ridge @ solution)


def _bounded_step(
    curve: FloatArray, slope: FloatArray, lower: FloatArray, upper: FloatArray
) -> FloatArray:
    """Minimise slope.s + s.curve.s / 2 inside the bounds."""
    step = np.zeros(len(slope))
    for _ in range(SWEEPS):
        before = step.copy()
        for place in range(len(slope)):
            rest = slope[place] + curve[place] @ step - curve[place, place] * step[place]
            best = -rest / max(float(curve[place, place]), 1e-12)
            step[place] = min(max(best, lower[place]), upper[place])
        if float(np.abs(step - before).max()) < TOLERANCE:
            break
    return step
