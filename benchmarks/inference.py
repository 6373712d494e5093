"""Is one model's loss smaller than another's, or was it luck: tests on the mean loss of an instant.

Coins move together, so each instant's mean over coins is one observation, not eleven.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.baselines import MissingExtra

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CONFIDENCE_SIZE = 0.10
BLOCK_DAYS = 10
REPEATS = 1_000
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with the bounds of its 95 % interval."""

    mean: float
    low: float
    high: float


def per_instant(as_of_ms: IntArray, loss: FloatArray) -> FloatArray:
    """Mean loss of each instant over its coins, in the order of time."""
    means = pd.Series(loss).groupby(as_of_ms).mean()
    return np.asarray(means.to_numpy(), dtype=np.float64)


def diebold_mariano(ours: FloatArray, theirs: FloatArray) -> float:
    """Test the mean difference of two losses by its t, Newey-West; negative when ours is smaller.

    Raises
    ------
    MissingExtra
        When statsmodels is not installed.
    """
    try:
        from statsmodels.tsa.stattools import diebold_mariano_test  # noqa: PLC0415 - an extra
    except ImportError as fault:
        raise MissingExtra("statsmodels is not installed: install the extra `research`") from fault
    result = diebold_mariano_test(
        np.zeros_like(ours), ours, theirs, criterion=lambda _, loss: loss, harvey_adj=True
    )
    return float(result.statistic)


def confidence_set(losses: Mapping[str, FloatArray], block: int) -> dict[str, float]:
    """Model confidence set (Hansen, Lunde and Nason 2011): p-value by model; in it from 10 %.

    Raises
    ------
    MissingExtra
        When arch is not installed.
    """
    try:
        from arch.bootstrap import MCS  # noqa: PLC0415 - an extra
    except ImportError as fault:
        raise MissingExtra("arch is not installed: install the extra `research`") from fault
    table = pd.DataFrame(dict(losses))
    found = MCS(table, size=CONFIDENCE_SIZE, reps=REPEATS, block_size=block, seed=0)
    found.compute()
    return {str(name): float(value) for name, value in found.pvalues["Pvalue"].items()}


def interval(series: FloatArray, block: int) -> Interval:
    """Mean of a series of instants with its stationary-bootstrap interval (Politis and Romano)."""
    rng = np.random.default_rng(0)
    length = len(series)
    doubled = np.concatenate([series, series])
    means = np.empty(REPEATS)
    for repeat in range(REPEATS):
        fresh = rng.random(length) < 1.0 / block
        fresh[0] = True
        run = np.arange(length) - np.maximum.accumulate(np.where(fresh, np.arange(length), 0))
        starts = rng.integers(0, length, int(fresh.sum()))[np.cumsum(fresh) - 1]
        means[repeat] = doubled[(starts + run) % length].mean()
    low, high = (float(value) for value in np.quantile(means, (0.025, 0.975)))
    return Interval(mean=float(series.mean()), low=low, high=high)
