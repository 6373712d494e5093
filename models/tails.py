"""Quantiles of the adverse excursion: filtered residuals, leaned on level and own past.

An excursion is the logarithm of how far price ran against a side within the horizon (the lowest
low for longs, the highest high for shorts), which is what liquidates. Divided by the forecast
deviation it is nearly free of scale, so one pooled quantile serves every market
(filtered historical simulation, Barone-Adesi et al. 1999). Nearly: a calm forecast is overrun
further, in its own units, than a stormy one, so the quantile rises with a power of the forecast
below one. The power and the weight of a market's own past are fitted by composite quantile
regression (Zou and Yuan 2008) in bounds that keep the result rising with the forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

FloatArray = NDArray[np.float64]

LEVELS = (0.99, 0.995)
FACTOR_LOW, FACTOR_HIGH = 0.75, 1.5
"""A market's own past corrects the model within these bounds, it does not replace it."""
SLOPES = (-0.6, 0.0)
"""The power of the forecast is 1 + slope, at least 0.4: more volatility is never less tail."""
MEMORIES = (0.0, 1.0)
MOST_LEAN = 0.5
"""Beyond e^±0.5 the quantile follows the forecast in proportion again: nothing was seen there."""
COMPOSITE = (0.95, 0.97, 0.98, 0.99)
"""Levels that share slope and memory: deep enough for a tail, frequent enough to fit."""
FIT_ROWS = 60_000
"""Rows that slope and memory are fitted on, evenly drawn; quantiles always use every row."""
SMOOTHING = 0.05
"""Half-width, in logarithms, of the arc that rounds off the pinball loss for the optimiser."""
PENALTY = 1e-3
SMALLEST_RATIO, SMALLEST_SPREAD = 1e-6, 1e-9


class ExcursionTail(BaseEstimator):  # type: ignore[misc] # untyped library
    """Pooled quantiles of excursion over deviation, leaned on volatility and on the own past.

    quantile = z_level * deviation * exp(lean) * factor
    lean = slope * (log deviation - level_centre), within ±0.5
    factor = exp(memory * weight * (score - centre)), within [0.75, 1.5]

    where score is the logarithm of how far the market's excursions ran in its last 30 days in
    units of its own volatility, and weight falls from 1 to 0 as its history shortens: a new
    listing gets the pooled prior (factor 1).

    Parameters
    ----------
    levels : sequence of float
        Probabilities, ascending.

    Attributes
    ----------
    centre_, level_centre_ : float
        Pooled prior of the score; mean logarithm of the deviation.
    slope_, memory_ : float
        How much calm widens, and how much of a market's deviation from the prior is believed.
    quantiles_ : ndarray of float64, shape (levels,)
        z_level, with the finite-sample correction of split conformal prediction.
    """

    def __init__(self, *, levels: Sequence[float] = LEVELS) -> None:
        self.levels = levels

    def fit(self, excursion: FloatArray, deviation: FloatArray, score: FloatArray) -> Self:
        """Fit to excursions (logarithms) and deviations forecast before them, shape (rows,)."""
        level = np.log(deviation)
        self.centre_, self.level_centre_ = float(np.median(score)), float(level.mean())
        every = slice(None, None, -(-len(level) // FIT_ROWS))
        ratio = np.log(np.maximum(excursion / deviation, SMALLEST_RATIO))[every]
        columns = np.stack([level - self.level_centre_, score - self.centre_], axis=1)[every]
        slope, memory = composite_slopes(ratio, columns, (SLOPES, MEMORIES))
        self.slope_, self.memory_ = slope, memory
        leaned = excursion / self._scaled(deviation, score, np.ones_like(score))
        quantiles = [upper_quantile(leaned, wanted) for wanted in self.levels]
        self.quantiles_ = np.maximum.accumulate(np.array(quantiles))
        return self

    def predict(self, deviation: FloatArray, score: FloatArray, weight: FloatArray) -> FloatArray:
        """Quantiles of the excursion as logarithms, ascending in level, shape (rows, levels)."""
        return self._scaled(deviation, score, weight)[:, None] * self.quantiles_[None, :]

    def factor(self, score: FloatArray, weight: FloatArray) -> FloatArray:
        """Return what a market's own past says; `weight` in [0, 1] is how much past it has."""
        lean = self.memory_ * weight * (score - self.centre_)
        bounded = np.clip(lean, np.log(FACTOR_LOW), np.log(FACTOR_HIGH))
        return np.asarray(np.exp(bounded), dtype=np.float64)

    def _scaled(self, deviation: FloatArray, score: FloatArray, weight: FloatArray) -> FloatArray:
        lean = self.slope_ * (np.log(deviation) - self.level_centre_)
        calm = np.exp(np.clip(lean, -MOST_LEAN, MOST_LEAN))
        return np.asarray(deviation * calm * self.factor(score, weight), dtype=np.float64)


def composite_slopes(
    values: FloatArray, columns: FloatArray, bounds: Sequence[tuple[float, float]]
) -> tuple[float, ...]:
    """Slopes that the quantiles of `values` at all `COMPOSITE` levels share; a convex problem.

    Parameters
    ----------
    values : ndarray of float64, shape (rows,)
    columns : ndarray of float64, shape (rows, slopes)
        Centred; one that does not vary keeps the slope nearest to 0.
    bounds : sequence of (low, high)
        One pair a slope.
    """
    count, deviation = columns.shape[1], columns.std(axis=0)
    # in units of each column's deviation, so that the penalty means the same for all
    scale = np.where(deviation > SMALLEST_SPREAD, deviation, 1.0)
    limits = [(low * size, high * size) for (low, high), size in zip(bounds, scale, strict=True)]
    nearest = [min(max(0.0, low), high) for low, high in limits]
    start = [*nearest, *(upper_quantile(values, level) for level in COMPOSITE)]
    with threadpool_limits(1):
        found = minimize(
            _composite_loss,
            np.array(start),
            args=(values, columns / scale),
            jac=True,
            method="L-BFGS-B",
            bounds=[*limits, *[(None, None)] * len(COMPOSITE)],
        )
    return tuple(float(slope) for slope in found.x[:count] / scale)


def _composite_loss(
    parameters: FloatArray, values: FloatArray, columns: FloatArray
) -> tuple[float, FloatArray]:
    """Mean pinball loss over all levels, each weighed by how rare it is, and its gradient."""
    count = columns.shape[1]
    slopes, intercepts = parameters[:count], parameters[count:]
    rest = values - columns @ slopes
    rarity = np.array([1.0 / (level * (1.0 - level)) for level in COMPOSITE])
    total = PENALTY * float(slopes @ slopes)
    gradient = np.concatenate([2.0 * PENALTY * slopes, np.zeros(len(COMPOSITE))])
    for place, weight in enumerate(rarity / rarity.sum()):
        value, slant = _smooth_pinball(rest - intercepts[place], COMPOSITE[place])
        total += weight * float(value.mean())
        gradient[:count] -= weight * (slant @ columns) / len(values)
        gradient[count + place] = -weight * float(slant.mean())
    return total, gradient


def _smooth_pinball(rest: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Pinball loss with its corner rounded off, and its slant, of each residual."""
    slant = np.clip(rest / (2.0 * SMOOTHING), -0.5, 0.5)
    size = np.abs(rest)
    arc = (np.square(rest) / SMOOTHING + SMOOTHING) / 4.0
    value = np.where(size < SMOOTHING, arc, 0.5 * size) + (level - 0.5) * rest
    return value, slant + (level - 0.5)


def upper_quantile(values: FloatArray, level: float) -> float:
    """Return the ceil((n + 1) level)-th smallest value: covers a new draw with that probability."""
    rank = min(int(np.ceil((len(values) + 1) * level)), len(values))
    return float(np.partition(values, rank - 1)[rank - 1])


def pinball(outcome: FloatArray, quantile: FloatArray, level: float) -> float:
    """Mean pinball loss of a forecast quantile (Koenker and Bassett 1978)."""
    return float(pinball_losses(outcome, quantile, level).mean())


def pinball_losses(outcome: FloatArray, quantile: FloatArray, level: float) -> FloatArray:
    """Pinball loss of each forecast quantile, shape (rows,)."""
    miss = outcome - quantile
    return np.asarray(np.maximum(level * miss, (level - 1.0) * miss), dtype=np.float64)
