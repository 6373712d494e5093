"""From features to scores: the only thing of the models that a decision reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.conformal import RULES
from models.features import BOOK_NAMES, FeatureVector
from models.grid import depth_down, risk_up
from models.heads import HORIZONS_S, LONG_SCORE, SHORT_SCORE, Domain, FittedModel, Head
from models.liquidity import (
    REFERENCE_NOTIONALS_USDC,
    book_slippage,
    candle_slippage,
    stressed_book,
    stressed_depth,
)
from models.tails import LEVELS, ExcursionTail

FloatArray = NDArray[np.float64]
Columns = Mapping[str, FloatArray]

LEAST_HISTORY = math.log(0.1)
"""Logarithm of the shortest history that is scored, 3 of 30 days: there the prior rules alone."""
LOG_VARIANCE_BOUNDS = (-40.0, 20.0)
"""Far outside any market: garbage must give a finite score, which `out_of_domain` then refuses."""
LOG_MONEY_BOUNDS = (-60.0, 60.0)
MOST_LOG_RISE = 10.0
"""A rise beyond e^10 is no risk score any more; the bound keeps it finite."""

__all__ = [
    "HORIZONS_S",
    "REFERENCE_NOTIONALS_USDC",
    "HorizonTail",
    "LiquidityScore",
    "MarketFactors",
    "RiskScores",
    "Scorer",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonTail:
    """Quantiles of the adverse excursion over one horizon, as ratios of today's price.

    A long loses ``1 - lowest low / close``, a short ``highest high / close - 1``. Within a
    side they never fall as the level or the horizon grows.
    """

    horizon_s: int
    long_990: float
    long_995: float
    short_990: float
    short_995: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidityScore:
    """What it costs to leave, for `REFERENCE_NOTIONALS_USDC`, and the depth to count on in stress.

    Attributes
    ----------
    slippage_ratio : tuple of float
        Loss as a ratio of the notional, one a reference notional; at most 1.
    stressed_depth_usdc : float
        Money within 50 basis points of the mid that a stressed market still offers.
    """

    slippage_ratio: tuple[float, ...]
    stressed_depth_usdc: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskScores:
    """One market's scores, on a grid of 1e-6 relative: risk rounded up, depth rounded down.

    Attributes
    ----------
    volatility : tuple of float
        Standard deviation of the log return over each of `HORIZONS_S`.
    tail_long, tail_short : float
        99.5 % quantile of the adverse excursion over the close-out period (15 min).
    tails : tuple of HorizonTail
        The same at 99 % and 99.5 % for each of `HORIZONS_S`.
    liquidity : LiquidityScore
        Cost to unwind and stressed depth.
    out_of_domain : tuple of str
        Reasons why these scores must not be used; empty when the market is inside the domain.
    """

    market: int
    as_of_ms: int
    volatility: tuple[float, ...]
    tail_long: float
    tail_short: float
    tails: tuple[HorizonTail, ...]
    liquidity: LiquidityScore
    out_of_domain: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketFactors:
    """One market's online factors (`models.conformal`), for each of `HORIZONS_S` and both levels.

    Attributes
    ----------
    long, short : tuple of (float, float)
        What the 99 % and 99.5 % quantiles of a horizon are multiplied by, one pair a horizon.
    """

    long: tuple[tuple[float, float], ...]
    short: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        """Refuse factors that no rules could have produced."""
        for side in (self.long, self.short):
            if len(side) != len(HORIZONS_S) or any(len(pair) != len(LEVELS) for pair in side):
                raise ValueError(f"factors need {len(LEVELS)} levels for each of {HORIZONS_S}")
            if not all(RULES.low <= factor <= RULES.high for pair in side for factor in pair):
                raise ValueError(f"factors must lie within [{RULES.low}, {RULES.high}]")


NO_FACTORS = MarketFactors(
    long=((1.0, 1.0),) * len(HORIZONS_S), short=((1.0, 1.0),) * len(HORIZONS_S)
)
"""What a market without recorded outcomes is scored with."""


class Scorer:
    """A trained model, ready to score; it has no state that a score could change."""

    def __init__(self, model: FittedModel) -> None:
        self._model = model

    def score(
        self,
        vectors: Sequence[FeatureVector],
        factors: Mapping[int, MarketFactors] | None = None,
    ) -> tuple[RiskScores, ...]:
        """Score each vector; a market's scores do not depend on the others in the batch.

        Online factors, by market id, are part of what a score follows from: whoever passes them
        records them with the decision. A market without them is scored as the model left it.
        """
        groups: dict[tuple[str, ...], list[int]] = {}
        for place, vector in enumerate(vectors):
            groups.setdefault(vector.names, []).append(place)
        scores: dict[int, RiskScores] = {}
        for names, places in groups.items():
            chosen = [vectors[place] for place in places]
            own = [(factors or {}).get(vector.market, NO_FACTORS) for vector in chosen]
            scores |= zip(places, self._score_alike(names, chosen, own), strict=True)
        return tuple(scores[place] for place in range(len(vectors)))

    def _score_alike(
        self,
        names: tuple[str, ...],
        vectors: Sequence[FeatureVector],
        factors: Sequence[MarketFactors],
    ) -> tuple[RiskScores, ...]:
        """Score vectors that know the same columns, as one matrix with rows side by side."""
        table = np.array([vector.values for vector in vectors], dtype=np.float64)
        columns = {name: table[:, place] for place, name in enumerate(names)}
        heads = [self._head(horizon_s, columns) for horizon_s in HORIZONS_S]
        deviations = [_deviation(head, columns) for head in heads]
        tails = _tail_tables(heads, deviations, columns, factors)
        liquidity = _liquidity(columns, deviations[-1])
        faults = _faults(self._model.domain, columns, len(vectors))
        return tuple(
            RiskScores(
                market=vector.market,
                as_of_ms=vector.as_of_ms,
                volatility=tuple(risk_up(float(deviation[row])) for deviation in deviations),
                tail_long=tails[row][0].long_995,
                tail_short=tails[row][0].short_995,
                tails=tails[row],
                liquidity=liquidity[row],
                out_of_domain=faults[row],
            )
            for row, vector in enumerate(vectors)
        )

    def _head(self, horizon_s: int, columns: Columns) -> Head:
        """Return the richest head of a horizon whose columns are all known."""
        for head in self._model.heads:
            if head.horizon_s == horizon_s and all(name in columns for name in head.names):
                return head
        raise ValueError(f"features lack columns of every head of {horizon_s} s")


def _deviation(head: Head, columns: Columns) -> FloatArray:
    """Forecast standard deviation of the log return over the head's horizon, shape (rows,)."""
    matrix = np.stack([columns[name] for name in head.names], axis=1)
    log_variance = np.clip(head.forecast.predict(matrix), *LOG_VARIANCE_BOUNDS)
    return np.asarray(np.exp(0.5 * log_variance), dtype=np.float64)


def _tail_tables(
    heads: Sequence[Head],
    deviations: Sequence[FloatArray],
    columns: Columns,
    factors: Sequence[MarketFactors],
) -> list[tuple[HorizonTail, ...]]:
    """Adverse excursions by horizon, side and level, for each row."""
    history = columns["hours_history"]
    longs = _side(heads, deviations, [head.long for head in heads], columns[LONG_SCORE], history)
    shorts = _side(heads, deviations, [head.short for head in heads], columns[SHORT_SCORE], history)
    longs = _rising(longs * np.array([own.long for own in factors]))
    shorts = _rising(shorts * np.array([own.short for own in factors]))
    # a long's loss ends at the whole price, a short's has no end
    losses, gains = -np.expm1(-longs), np.expm1(np.minimum(shorts, MOST_LOG_RISE))
    return [
        tuple(
            HorizonTail(
                horizon_s=horizon_s,
                long_990=risk_up(float(losses[row, place, 0])),
                long_995=risk_up(float(losses[row, place, 1])),
                short_990=risk_up(float(gains[row, place, 0])),
                short_995=risk_up(float(gains[row, place, 1])),
            )
            for place, horizon_s in enumerate(HORIZONS_S)
        )
        for row in range(len(history))
    ]


def _side(
    heads: Sequence[Head],
    deviations: Sequence[FloatArray],
    tails: Sequence[ExcursionTail],
    score: FloatArray,
    history: FloatArray,
) -> FloatArray:
    """Log excursions of one side, shape (rows, horizons, levels)."""
    weight = np.clip(1.0 - history / LEAST_HISTORY, 0.0, 1.0)
    tables = [
        tail.predict(deviation, score, weight)
        * (1.0 + (head.widening - 1.0) * (1.0 - weight))[:, None]
        for head, tail, deviation in zip(heads, tails, deviations, strict=True)
    ]
    return np.stack(tables, axis=1)


def _rising(table: FloatArray) -> FloatArray:
    """Let quantiles rise in horizon and level, shape (rows, horizons, levels)."""
    over_horizons = np.maximum.accumulate(table, axis=1)
    return np.asarray(np.maximum.accumulate(over_horizons, axis=2), dtype=np.float64)


def _liquidity(columns: Columns, deviation_day: FloatArray) -> list[LiquidityScore]:
    bounds = LOG_MONEY_BOUNDS
    thin_day = np.exp(np.clip(columns["hours_thin_day_usdc"], *bounds))
    amihud = np.exp(np.clip(columns["hours_amihud"], *bounds))
    depth = stressed_depth(deviation_day, thin_day, amihud)
    costs = [candle_slippage(n, deviation_day, thin_day) for n in REFERENCE_NOTIONALS_USDC]
    with_book = BOOK_NAMES[0] in columns
    scores = []
    for row in range(len(thin_day)):
        slippage, money = [float(cost[row]) for cost in costs], float(depth[row])
        if with_book:
            book = [float(columns[name][row]) for name in BOOK_NAMES]
            money = min(money, stressed_book(book))
            walked = [book_slippage(notional, book) for notional in REFERENCE_NOTIONALS_USDC]
            slippage = [max(pair) for pair in zip(slippage, walked, strict=True)]
        scores.append(
            LiquidityScore(
                slippage_ratio=tuple(risk_up(cost) for cost in slippage),
                stressed_depth_usdc=depth_down(money),
            )
        )
    return scores


def _faults(domain: Domain, columns: Columns, rows: int) -> list[tuple[str, ...]]:
    """Say of each row which columns lie outside the range that the model may be asked about."""
    reasons: list[list[str]] = [[] for _ in range(rows)]
    for name, low, high in zip(domain.names, domain.low, domain.high, strict=True):
        if name not in columns:
            continue
        for row in np.flatnonzero((columns[name] < low) | (columns[name] > high)):
            value = float(columns[name][row])
            side = f"below {low:.2f}" if value < low else f"above {high:.2f}"
            reasons[row].append(f"{name} is {value:.2f}, {side}")
    return [tuple(found) for found in reasons]
