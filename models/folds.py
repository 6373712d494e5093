"""Forecasts of the past that training calibrates on: each fold from what came before it."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from models.combination import Combination
from models.dataset import DatasetError
from models.volatility import MEMBERS, VolatilityForecast

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

FOLDS = (0.4, 0.55, 0.7, 0.85, 1.0)
"""Shares of the rows in time: learn up to one, forecast to the next."""


def fold_members(
    forecast: VolatilityForecast,
    features: FloatArray,
    variance: FloatArray,
    as_of_ms: IntArray,
    embargo_ms: int,
) -> FloatArray:
    """Forecast each fold by each member, from what came before it.

    NaN in the part that is only learned from; shape (rows, members).
    """
    result = np.full((len(variance), MEMBERS), np.nan)
    for past, fold in _folds(as_of_ms, embargo_ms):
        fitted = forecast.fit(features[past], variance[past])
        result[fold] = fitted.members(features[fold])
    if not np.isfinite(result).any():
        raise DatasetError("too little history to calibrate tails on forecasts of the past")
    return result


def combined(
    members: FloatArray, variance: FloatArray, as_of_ms: IntArray, embargo_ms: int
) -> FloatArray:
    """Combine each fold's forecasts by weights from the folds before it; the first has none."""
    result = np.full(len(variance), np.nan)
    for past, fold in _folds(as_of_ms, embargo_ms):
        known = past & np.isfinite(members[:, 0])
        weights = Combination().prior(MEMBERS)
        if known.any():
            weights = weights.fit(members[known], variance[known])
        result[fold] = weights.predict(members[fold])
    return result


def _folds(as_of_ms: IntArray, embargo_ms: int) -> list[tuple[BoolArray, BoolArray]]:
    """List what is learned from and what is forecast, fold by fold."""
    borders = [int(np.quantile(as_of_ms, share)) for share in FOLDS]
    pairs = []
    for start, end in itertools.pairwise(borders):
        past = as_of_ms < start - embargo_ms
        fold = (as_of_ms >= start) & ((as_of_ms < end) | (end == borders[-1]))
        if past.any() and fold.any():
            pairs.append((past, fold))
    return pairs
