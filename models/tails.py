"""Quantiles of the adverse excursion: filtered residuals times an online factor per market.

An excursion is the logarithm of how far price ran against a side within the horizon (the lowest
low for longs, the highest high for shorts), which is what liquidates. Divided by the forecast
deviation it is nearly free of scale, so one pooled quantile serves every market
(filtered historical simulation, Barone-Adesi et al. 1999), and the result rises with the
forecast by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

FloatArray = NDArray[np.float64]

LEVELS = (0.99, 0.995)
MEMORIES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""A fifth is always believed, so that a market unlike all others can correct the pool."""
FACTOR_LOW, FACTOR_HIGH = 0.75, 1.5
"""The online factor never leaves these bounds: it corrects the model, it does not replace it."""


class ExcursionTail(BaseEstimator):  # type: ignore[misc] # untyped library
    """Pooled quantiles of excursion over deviation, times a factor from the market's own past.

    quantile = z_level * deviation * factor, factor = clip(exp(memory * weight * (score - centre)))
    where score is the logarithm of how far the market's excursions ran in its last 30 days in
    units of its own volatility, and weight falls from 1 to 0 as its history shortens: a new
    listing gets the pooled prior (factor 1).

    Parameters
    ----------
    levels : sequence of float
        Probabilities, ascending.

    Attributes
    ----------
    centre_ : float
        Pooled prior of the score.
    memory_ : float
        How much of a market's deviation from the prior is believed, chosen by pinball loss.
    quantiles_ : ndarray of float64, shape (levels,)
        z_level, with the finite-sample correction of split conformal prediction.
    """

    def __init__(self, *, levels: Sequence[float] = LEVELS) -> None:
        self.levels = levels

    def fit(self, excursion: FloatArray, deviation: FloatArray, score: FloatArray) -> Self:
        """Fit to excursions (logarithms) and deviations forecast before them, shape (rows,)."""
        self.centre_ = float(np.median(score))
        losses = []
        for memory in MEMORIES:
            self.memory_ = memory
            self.quantiles_ = self._quantiles(excursion, deviation, score)
            predicted = self.predict(deviation, score, np.ones_like(score))
            losses.append(
                sum(
                    pinball(excursion, predicted[:, place], level)
                    for place, level in enumerate(self.levels)
                )
            )
        self.memory_ = MEMORIES[int(np.argmin(losses))]
        self.quantiles_ = self._quantiles(excursion, deviation, score)
        return self

    def predict(self, deviation: FloatArray, score: FloatArray, weight: FloatArray) -> FloatArray:
        """Quantiles of the excursion as logarithms, ascending in level, shape (rows, levels)."""
        scaled = deviation * self.factor(score, weight)
        return scaled[:, None] * self.quantiles_[None, :]

    def factor(self, score: FloatArray, weight: FloatArray) -> FloatArray:
        """Return the online factor of each row; `weight` in [0, 1] is how much past it has."""
        lean = self.memory_ * weight * (score - self.centre_)
        bounded = np.clip(lean, np.log(FACTOR_LOW), np.log(FACTOR_HIGH))
        return np.asarray(np.exp(bounded), dtype=np.float64)

    def _quantiles(
        self, excursion: FloatArray, deviation: FloatArray, score: FloatArray
    ) -> FloatArray:
        ratio = excursion / (deviation * self.factor(score, np.ones_like(score)))
        quantiles = [upper_quantile(ratio, level) for level in self.levels]
        return np.maximum.accumulate(np.array(quantiles))


def upper_quantile(values: FloatArray, level: float) -> float:
    """Return the ceil((n + 1) level)-th smallest value: covers a new draw with that probability."""
    rank = min(int(np.ceil((len(values) + 1) * level)), len(values))
    return float(np.partition(values, rank - 1)[rank - 1])


def pinball(outcome: FloatArray, quantile: FloatArray, level: float) -> float:
    """Mean pinball loss of a forecast quantile (Koenker and Bassett 1978)."""
    miss = outcome - quantile
    return float(np.maximum(level * miss, (level - 1.0) * miss).mean())
