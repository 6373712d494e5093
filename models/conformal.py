"""The online conformal factor: each market's tail corrected by how its promises were kept.

After Gibbs and Candes 2021 (arXiv 2106.00170), in logarithms: a breach raises a market's factor
by `step`, an outcome without one lowers it by the share of breaches that was promised, so that
over time the two balance at the promise whatever the model got wrong. Every change is bounded,
all factors are drawn back to their pooled mean (exponential forgetting), and a market that is
new begins there (pooled prior).

The state is a function of recorded forecasts and outcomes alone, taken in the order of time:
whoever has them computes the same factors. A decision that used factors records them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorRules:
    """How factors move.

    Attributes
    ----------
    step : float
        Rise in logarithms after one breach, were outcomes judged once a horizon.
    half_life_days : float
        After so long half of a market's distance from the pooled mean is forgotten.
    low, high : float
        A factor never leaves these bounds.
    """

    step: float = 0.1
    half_life_days: float = 365.0
    low: float = 0.75
    high: float = 1.5


RULES = FactorRules()
"""Chosen on forecasts of 2018 and 2019 (docs/evaluation.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one promise ended: which market's, and whether the quantile was exceeded."""

    market: str
    breached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """Logarithms of the factors of one horizon, side and level, by market."""

    logs: Mapping[str, float]

    @property
    def prior(self) -> float:
        """Return the pooled mean, 0 where no market is known; markets are added in order."""
        ordered = [self.logs[market] for market in sorted(self.logs)]
        return sum(ordered) / len(ordered) if ordered else 0.0

    def factor(self, market: str) -> float:
        """Return what the market's quantile is multiplied by."""
        log = self.logs.get(market)
        return float(np.exp(self.prior if log is None else log))


def learned(
    factors: Factors,
    outcomes: Sequence[Outcome],
    *,
    level: float,
    elapsed_ms: int,
    weight: float,
    rules: FactorRules,
) -> Factors:
    """Return the factors after promises at `level` have ended.

    `elapsed_ms` is what passed since the last were judged. Outcomes judged more often than once
    a horizon overlap: `weight` is the share of a horizon between them, so that together they count
    as one.
    """
    prior = factors.prior
    kept = 0.5 ** (elapsed_ms / DAY_MS / rules.half_life_days)
    logs = {market: prior + kept * (log - prior) for market, log in factors.logs.items()}
    step = rules.step * weight
    low, high = float(np.log(rules.low)), float(np.log(rules.high))
    for outcome in outcomes:
        surprise = float(outcome.breached) - (1.0 - level)
        moved = logs.get(outcome.market, prior) + step * surprise
        logs[outcome.market] = min(max(moved, low), high)
    return Factors(logs=logs)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Promises:
    """Quantiles before the factor beside what followed; arrays of shape (rows,), any order."""

    as_of_ms: IntArray
    markets: NDArray[np.str_]
    quantile: FloatArray
    outcome: FloatArray


def replayed(
    promises: Promises, *, level: float, horizon_ms: int, rules: FactorRules
) -> FloatArray:
    """Return the factor each row would have had at its instant, from outcomes known by then.

    A row's outcome is known `horizon_ms` after it; shape (rows,).
    """
    order = np.argsort(promises.as_of_ms, kind="stable")
    stamps, starts = np.unique(promises.as_of_ms[order], return_index=True)
    groups = np.split(order, starts[1:])
    factors, known = Factors(logs={}), 0
    result = np.ones(len(order))
    for stamp, places in zip(stamps, groups, strict=True):
        while known < len(stamps) and stamps[known] + horizon_ms <= stamp:
            ended = groups[known]
            outcomes = _outcomes(promises, ended, result)
            spacing = int(stamps[known] - stamps[known - 1]) if known else horizon_ms
            factors = learned(
                factors,
                outcomes,
                level=level,
                elapsed_ms=spacing,
                weight=min(spacing / horizon_ms, 1.0),
                rules=rules,
            )
            known += 1
        result[places] = [factors.factor(str(market)) for market in promises.markets[places]]
    return result


def _outcomes(promises: Promises, places: IntArray, factor: FloatArray) -> list[Outcome]:
    breached = promises.outcome[places] > promises.quantile[places] * factor[places]
    return [
        Outcome(market=str(market), breached=bool(breach))
        for market, breach in zip(promises.markets[places], breached, strict=True)
    ]
