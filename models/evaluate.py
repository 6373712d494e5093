"""Walk-forward evaluation: what each model would have said at the time, judged by what followed.

Expanding window, monthly refit, embargo of one horizon between what is learned from and what is
forecast; tails are calibrated on earlier forecasts of the same walk only, and each market's
online factor knows the outcomes that had ended.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from models.backtests import christoffersen, kupiec, qlike
from models.combination import Combination
from models.conformal import RULES, FactorRules, Promises, replayed
from models.dataset import DatasetError, Rows
from models.heads import LONG_SCORE, SHORT_SCORE
from models.samples import columns_of
from models.tails import LEVELS, ExcursionTail, pinball
from models.volatility import MEMBERS, VolatilityForecast

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Progress = Callable[[str, int, int], None]

DAY_MS = 86_400_000
WARM_UP_MONTHS = 12
"""Months before the judged period whose forecasts calibrate its first tails."""
FACTOR_MONTHS = 6
"""The last of these months have tails too, from which the online factors learn unjudged."""
LEAST_COMBINED = 1_000
"""Forecasts from which weights are fitted."""
EWMA_DECAY = 0.94
"""RiskMetrics 1996, for daily data."""


class Forecast(Protocol):
    """What the walk asks of a model: fit to variance, forecast its logarithm."""

    def fit(self, features: FloatArray, variance: FloatArray) -> Self:
        """Fit to realised variance, shape (rows,)."""

    def predict(self, features: FloatArray) -> FloatArray:
        """Forecast the logarithm of the variance, shape (rows,)."""


class Tail(Protocol):
    """What the walk asks of a tail: fit to excursions and deviations, predict quantiles."""

    def fit(self, excursion: FloatArray, deviation: FloatArray, score: FloatArray) -> Self:
        """Fit to excursions and deviations forecast before them, shape (rows,)."""

    def predict(self, deviation: FloatArray, score: FloatArray, weight: FloatArray) -> FloatArray:
        """Quantiles as logarithms, shape (rows, levels)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What is walked: one horizon's outcomes, from `start` to `end`, with one model.

    Attributes
    ----------
    column, horizon_s : int
        Column of the outcomes and its horizon.
    names : tuple of str
        Columns that the model reads.
    model : callable
        Returns an unfitted model.
    start, end : datetime
        Judged instants lie in [start, end).
    tail : callable
        Returns an unfitted tail.
    rules : FactorRules or None
        How the online factors move; None leaves them out.
    """

    column: int
    horizon_s: int
    names: tuple[str, ...]
    model: Callable[[], Forecast]
    start: datetime
    end: datetime
    tail: Callable[[], Tail] = ExcursionTail
    rules: FactorRules | None = RULES


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Forecasts beside outcomes, one row an instant and symbol.

    ``long`` and ``short`` are the tail quantiles as logarithms, shape (rows, levels).
    """

    as_of_ms: IntArray
    symbols: NDArray[np.str_]
    variance: FloatArray
    forecast: FloatArray
    falls: FloatArray
    rises: FloatArray
    long: FloatArray
    short: FloatArray

    def select(self, chosen: BoolArray) -> Judged:
        """Return the rows where `chosen` is true, in the same order."""
        return Judged(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How a tail kept its promise, pooled and by symbol."""

    level: float
    rows: int
    breach_share: float
    kupiec_passed: int
    christoffersen_passed: int
    symbols: int
    average: float
    pinball: float
    worst_year_share: float


def walk_forward(rows: Rows, walk: Walk, progress: Progress | None = None) -> Judged:
    """Refit each month on what was known and forecast the month; shape of the judged rows.

    Parameters
    ----------
    rows : Rows
        All symbols' rows; all are learned from and all are forecast.
    walk : Walk
        Horizon, model and period.
    progress : callable, optional
        Called with a stage's name, months done and months in all.

    Raises
    ------
    DatasetError
        When there is nothing to learn from before the period.
    """
    rows = with_outcome(rows, walk.column)
    return with_tails(rows, walk, forecasts(rows, walk, progress))


def with_outcome(rows: Rows, column: int) -> Rows:
    """Keep the rows that a whole horizon follows."""
    return rows.select(np.isfinite(rows.variance[:, column]) & np.isfinite(rows.falls[:, column]))


def forecasts(rows: Rows, walk: Walk, progress: Progress | None = None) -> FloatArray:
    """Forecast log variance month by month, warm-up included; NaN before it, shape (rows,).

    A forecast of several members is combined by weights fitted to the walk's own earlier
    months, as far as what they forecast had ended.
    """
    features, variance = columns_of(rows, walk.names), rows.variance[:, walk.column]
    months = walk_months(walk.start, walk.end)
    forecast = np.full(len(variance), np.nan)
    members = np.full((len(variance), MEMBERS), np.nan)
    for step, (first, last) in enumerate(months):
        if progress is not None:
            progress("walking", step, len(months))
        past = rows.as_of_ms < first - walk.horizon_s * 1_000
        month = (rows.as_of_ms >= first) & (rows.as_of_ms < last)
        if not month.any():
            continue
        if not past.any():
            raise DatasetError("nothing to learn from before the first month")
        model = walk.model().fit(features[past], variance[past])
        if not isinstance(model, VolatilityForecast):
            forecast[month] = model.predict(features[month])
            continue
        members[month] = model.members(features[month])
        weights = _weights(members, variance, past)
        forecast[month] = weights.predict(members[month])
    return forecast


def _weights(members: FloatArray, variance: FloatArray, past: BoolArray) -> Combination:
    """Fit weights to the forecasts whose outcomes are known; the prior while they are few."""
    known = past & np.isfinite(members[:, 0])
    weights = Combination().prior(MEMBERS)
    if known.sum() < LEAST_COMBINED:
        return weights
    return weights.fit(members[known], variance[known])


def with_tails(rows: Rows, walk: Walk, forecast: FloatArray) -> Judged:
    """Calibrate tails on the walk's own earlier forecasts; return the rows of the judged period."""
    sides = [_side(rows, walk, forecast, long=long) for long in (True, False)]
    start_ms = int(walk.start.timestamp() * 1_000)
    judged = Judged(
        as_of_ms=rows.as_of_ms,
        symbols=rows.symbols,
        variance=rows.variance[:, walk.column],
        forecast=forecast,
        falls=rows.falls[:, walk.column],
        rises=rows.rises[:, walk.column],
        long=sides[0],
        short=sides[1],
    )
    return judged.select(np.isfinite(sides[0][:, 0]) & (rows.as_of_ms >= start_ms))


def ewma(rows: Rows, column: int) -> FloatArray:
    """Forecast each daily row's variance by an EWMA of the days that ended before it.

    f_t = 0.94 f_{t-1} + 0.06 RV_{t-1}, by symbol; rows must be one a day; NaN on the first.
    """
    result = np.full(len(rows.as_of_ms), np.nan)
    for symbol in np.unique(rows.symbols):
        level = np.nan
        for place in np.flatnonzero(rows.symbols == symbol):
            result[place] = level
            outcome = rows.variance[place, column]
            if np.isfinite(outcome):
                level = outcome if np.isnan(level) else _blend(level, outcome)
    return result


def daily(as_of_ms: IntArray) -> BoolArray:
    """Mark instants at 00:00 UTC."""
    return np.asarray(as_of_ms % DAY_MS == 0, dtype=np.bool_)


def mean_qlike(judged: Judged) -> float:
    """Mean QLIKE of the forecasts."""
    return float(qlike(judged.variance, np.exp(judged.forecast)).mean())


def coverage(judged: Judged, level: float, *, long: bool = True) -> Coverage:
    """Judge one side's tail at one level: breaches, tests by symbol, size and pinball loss."""
    place = LEVELS.index(level)
    outcome = judged.falls if long else judged.rises
    quantile = (judged.long if long else judged.short)[:, place]
    breaches = outcome > quantile
    by_symbol = [breaches[judged.symbols == symbol] for symbol in np.unique(judged.symbols)]
    years = judged.as_of_ms.astype("datetime64[ms]").astype("datetime64[Y]")
    # the loss that liquidates is a ratio of price, not its logarithm
    ratios = [-np.expm1(-values) if long else np.expm1(values) for values in (outcome, quantile)]
    return Coverage(
        level=level,
        rows=len(breaches),
        breach_share=float(breaches.mean()),
        kupiec_passed=sum(kupiec(part, level).passes() for part in by_symbol),
        christoffersen_passed=sum(christoffersen(part, level).passes() for part in by_symbol),
        symbols=len(by_symbol),
        average=float(ratios[1].mean()),
        pinball=pinball(ratios[0], ratios[1], level),
        worst_year_share=max(float(breaches[years == year].mean()) for year in np.unique(years)),
    )


def _blend(level: float, outcome: float) -> float:
    return EWMA_DECAY * level + (1.0 - EWMA_DECAY) * outcome


def _side(rows: Rows, walk: Walk, forecast: FloatArray, *, long: bool) -> FloatArray:
    """One side's quantiles with their online factor; NaN before there are tails."""
    outcome = (rows.falls if long else rows.rises)[:, walk.column]
    score = columns_of(rows, (LONG_SCORE if long else SHORT_SCORE,))[:, 0]
    deviation = np.exp(0.5 * forecast)
    table = np.full((len(outcome), len(LEVELS)), np.nan)
    for first, last in walk_months(walk.start, walk.end)[WARM_UP_MONTHS - FACTOR_MONTHS :]:
        known = (rows.as_of_ms < first - walk.horizon_s * 1_000) & np.isfinite(forecast)
        month = (rows.as_of_ms >= first) & (rows.as_of_ms < last)
        if month.any() and known.any():
            tail = walk.tail().fit(outcome[known], deviation[known], score[known])
            ones = np.ones(int(month.sum()))
            table[month] = tail.predict(deviation[month], score[month], ones)
    if walk.rules is None:
        return table
    return _corrected(rows, walk, walk.rules, table, outcome)


def _corrected(
    rows: Rows, walk: Walk, rules: FactorRules, table: FloatArray, outcome: FloatArray
) -> FloatArray:
    """Multiply by the online factors, each level its own, and sort the levels."""
    there = np.isfinite(table[:, 0])
    result = table.copy()
    for place, level in enumerate(LEVELS):
        promises = Promises(
            as_of_ms=rows.as_of_ms[there],
            markets=rows.symbols[there],
            quantile=table[there, place],
            outcome=outcome[there],
        )
        result[there, place] *= replayed(
            promises, level=level, horizon_ms=walk.horizon_s * 1_000, rules=rules
        )
    return np.maximum.accumulate(result, axis=1)


def walk_months(start: datetime, end: datetime) -> Sequence[tuple[int, int]]:
    """Return calendar months as (first, last) milliseconds, the warm-up before `start` included."""
    index = start.year * 12 + start.month - 1 - WARM_UP_MONTHS
    borders = []
    while (border := datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)) < end:
        borders.append(int(border.timestamp() * 1_000))
        index += 1
    borders[WARM_UP_MONTHS] = int(start.timestamp() * 1_000)
    borders.append(int(end.timestamp() * 1_000))
    return list(itertools.pairwise(borders))
