"""Losses and coverage tests by which forecasts are judged; no state, no model.

Formulas: QLIKE after Patton 2011; Kupiec 1995 and Christoffersen 1998 as likelihood ratios.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

BASEL_DAYS, BASEL_GREEN = 250, 0.95
"""Window and limit of the traffic light of the Basel Committee 1996."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageTest:
    """A likelihood-ratio test of breaches: statistic, degrees of freedom, p-value."""

    statistic: float
    freedom: int
    p_value: float

    def passes(self, size: float = 0.05) -> bool:
        """Whether the promise is not rejected at this size."""
        return self.p_value >= size


def qlike(variance: FloatArray, forecast: FloatArray) -> FloatArray:
    """QLIKE of each outcome: ratio - log(ratio) - 1 with ratio = outcome / forecast >= 0."""
    ratio = np.maximum(variance, 1e-14) / forecast
    return np.asarray(ratio - np.log(ratio) - 1.0, dtype=np.float64)


def fz0(loss: FloatArray, quantile: FloatArray, shortfall: FloatArray, level: float) -> FloatArray:
    """FZ0 of each loss under a forecast quantile and expected shortfall, all positive.

    Patton, Ziegel and Chen 2019: the loss of Fissler and Ziegel that is homogeneous of degree 0;
    it is smallest on average for the true pair, and negative where losses are small.
    """
    excess = np.maximum(loss - quantile, 0.0)
    beyond = excess / ((1.0 - level) * shortfall)
    return np.asarray(beyond + quantile / shortfall + np.log(shortfall) - 1.0, dtype=np.float64)


def kupiec(breaches: BoolArray, level: float) -> CoverageTest:
    """Proportion of failures: is the share of breaches 1 - level? LR ~ chi2(1)."""
    total, count = len(breaches), int(breaches.sum())
    expected = 1.0 - level
    null = _log_likelihood(count, total - count, expected)
    best = _log_likelihood(count, total - count, count / total)
    return _test(2.0 * (best - null), 1)


def independence(breaches: BoolArray) -> CoverageTest:
    """Christoffersen's test that a breach does not make the next more likely; LR ~ chi2(1)."""
    before, after = breaches[:-1], breaches[1:]
    quiet_quiet = int((~before & ~after).sum())
    quiet_breach = int((~before & after).sum())
    breach_quiet = int((before & ~after).sum())
    breach_breach = int((before & after).sum())
    share = (quiet_breach + breach_breach) / max(len(after), 1)
    null = _log_likelihood(quiet_breach + breach_breach, quiet_quiet + breach_quiet, share)
    after_quiet = quiet_breach / max(quiet_quiet + quiet_breach, 1)
    after_breach = breach_breach / max(breach_quiet + breach_breach, 1)
    best = _log_likelihood(quiet_breach, quiet_quiet, after_quiet)
    best += _log_likelihood(breach_breach, breach_quiet, after_breach)
    return _test(2.0 * (best - null), 1)


def christoffersen(breaches: BoolArray, level: float) -> CoverageTest:
    """Conditional coverage: the right share and no clusters; LR ~ chi2(2)."""
    statistic = kupiec(breaches, level).statistic + independence(breaches).statistic
    return _test(statistic, 2)


def basel_green(breaches: BoolArray, level: float) -> float:
    """Share of windows of 250 outcomes, each one on from the last, in Basel's green zone.

    Green: so few breaches that as many or fewer have a chance below 95 % under the promise (at
    99 % up to four). Fewer outcomes than a window are one window.
    """
    window = min(BASEL_DAYS, len(breaches))
    counts = np.convolve(breaches.astype(np.float64), np.ones(window), "valid")
    most, chance, total = -1, level**window, 0.0
    while total + chance < BASEL_GREEN and most < window:
        total, most = total + chance, most + 1
        chance *= (window - most) / (most + 1) * (1.0 - level) / level
    return float((counts <= most + 0.5).mean())


def _log_likelihood(successes: int, failures: int, share: float) -> float:
    """Binomial log likelihood, with 0 log 0 = 0."""
    total = 0.0
    if successes:
        total += successes * math.log(share)
    if failures:
        total += failures * math.log(1.0 - share)
    return total


def _test(statistic: float, freedom: int) -> CoverageTest:
    # rounding can leave a perfect fit a hair under zero
    positive = max(statistic, 0.0)
    # upper tail of chi2: with one degree erfc(sqrt(x/2)), with two exp(-x/2)
    tail = math.erfc(math.sqrt(positive / 2.0)) if freedom == 1 else math.exp(-positive / 2.0)
    return CoverageTest(statistic=positive, freedom=freedom, p_value=tail)
