"""What the models are compared with: forecasts of variance and quantiles that others would use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from models.bars import clean
from models.dataset import HOUR_MS, Rows, Series, coarser
from models.evaluate import Walk
from models.samples import columns_of
from models.tails import LEVELS, upper_quantile

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DAY_MS = 86_400_000
DECAYS = (0.94, 0.97, 0.994)
"""RiskMetrics 1996 for days and for months, and the slow one of RiskMetrics 2006."""
STATIC_DAYS, STATIC_LEAST = 730, 90
TELL_EVERY = 20
GARCH_LEAST_DAYS = 250
BOOSTED_ROWS = 60_000
"""Rows a boosted quantile is fitted on, evenly drawn: its cost grows with them, not its merit."""


class MissingExtra(Exception):  # noqa: N818 - it is what the reader must act on
    """A library of the `research` extra is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HourReturns:
    """One symbol's log returns over bars of `bar_ms`; each is known at its `end_ms`."""

    symbol: str
    end_ms: IntArray
    values: FloatArray
    bar_ms: int = HOUR_MS


class FilteredHistory:
    """Filtered historical simulation and nothing else: pooled quantiles of the ratios."""

    def fit(self, excursion: FloatArray, deviation: FloatArray, score: FloatArray) -> Self:
        """Fit to excursions and deviations; the score is not read."""
        del score
        ratio = excursion / deviation
        self._quantiles = np.array([upper_quantile(ratio, level) for level in LEVELS])
        return self

    def predict(self, deviation: FloatArray, score: FloatArray, weight: FloatArray) -> FloatArray:
        """Quantiles as logarithms, shape (rows, levels)."""
        del score, weight
        return np.asarray(deviation[:, None] * self._quantiles[None, :], dtype=np.float64)


def hour_returns(series: Series, bar_ms: int = HOUR_MS) -> HourReturns:
    """Return the cleaned returns of a series over hours, or over other bars."""
    bars = coarser(series, bar_ms)
    end_ms = bars.start_ms + bar_ms * np.arange(1, bars.length + 1, dtype=np.int64)
    values = clean(bars.bars).returns[0]
    return HourReturns(symbol=series.symbol, end_ms=end_ms, values=values, bar_ms=bar_ms)


def ewma_forecast(
    rows: Rows, returns: Sequence[HourReturns], decay: float, horizon_s: int
) -> FloatArray:
    """Log variance over the horizon by an EWMA of squared returns a bar, at each row."""
    result = np.full(len(rows.as_of_ms), np.nan)
    for each in returns:
        squares = pd.Series(np.square(each.values))
        level = squares.ewm(alpha=1.0 - decay, adjust=False).mean().to_numpy()
        chosen = rows.symbols == each.symbol
        place = np.searchsorted(each.end_ms, rows.as_of_ms[chosen], side="right") - 1
        least = 1e-10 * each.bar_ms / HOUR_MS
        each_bar = np.maximum(level[np.maximum(place, 0)], least)
        result[chosen] = np.log(each_bar * (horizon_s * 1_000 / each.bar_ms))
    return result


def garch_forecast(
    rows: Rows,
    returns: Sequence[HourReturns],
    months: Sequence[tuple[int, int]],
    tell: Callable[[str, int, int], None] | None = None,
) -> FloatArray:
    """Log variance of the next day by GJR-GARCH(1,1)-t, at 00:00 UTC; one fit a period and coin.

    Raises
    ------
    MissingExtra
        When arch is not installed.
    """
    arch_model = arch_models()
    result = np.full(len(rows.as_of_ms), np.nan)
    for done, each in enumerate(returns):
        if tell is not None and done % TELL_EVERY == 0:
            tell("fitting GJR-GARCH", done, len(returns))
        days = _daily_returns(each)
        for first, last in months:
            forecast = _garch_month(arch_model, days, first, last)
            if forecast.empty:
                continue
            chosen = (rows.symbols == each.symbol) & np.isin(rows.as_of_ms, forecast.index)
            result[chosen] = np.log(forecast.loc[rows.as_of_ms[chosen]].to_numpy())
    return result


def arch_models() -> Callable[..., Any]:
    """Return arch's model factory, or say which extra brings it."""
    try:
        from arch import arch_model  # noqa: PLC0415 - an extra
    except ImportError as fault:
        raise MissingExtra("arch is not installed: install the extra `research`") from fault
    return arch_model


def static_tables(rows: Rows, walk: Walk, months: Sequence[tuple[int, int]]) -> list[FloatArray]:
    """Each coin's own quantile of its last two years, long and short; shape (rows, levels) each."""
    tables = [np.full((len(rows.as_of_ms), len(LEVELS)), np.nan) for _ in range(2)]
    by_symbol = {symbol: rows.symbols == symbol for symbol in np.unique(rows.symbols)}
    for first, last in months:
        ended = rows.as_of_ms < first - walk.horizon_s * 1_000
        recent = ended & (rows.as_of_ms >= first - STATIC_DAYS * DAY_MS)
        month = (rows.as_of_ms >= first) & (rows.as_of_ms < last)
        for own in by_symbol.values():
            past, now = recent & own, month & own
            if past.sum() < STATIC_LEAST or not now.any():
                continue
            for table, outcome in zip(tables, (rows.falls, rows.rises), strict=True):
                known = outcome[past, walk.column]
                table[now] = [upper_quantile(known, level) for level in LEVELS]
    return tables


def boosted_tables(
    rows: Rows, walk: Walk, names: Sequence[str], periods: Sequence[tuple[int, int]], level: float
) -> list[FloatArray]:
    """Quantiles straight from scikit-learn's boosted pinball loss, uncalibrated; only `level`."""
    tables = [np.full((len(rows.as_of_ms), len(LEVELS)), np.nan) for _ in range(2)]
    features = columns_of(rows, names)
    for first, last in periods:
        past = np.flatnonzero(rows.as_of_ms < first - walk.horizon_s * 1_000)
        past = past[:: -(-len(past) // BOOSTED_ROWS)]
        month = (rows.as_of_ms >= first) & (rows.as_of_ms < last)
        for table, outcome in zip(tables, (rows.falls, rows.rises), strict=True):
            if month.any():
                known = features[past], outcome[past, walk.column]
                table[month, LEVELS.index(level)] = _boosted(*known, features[month], level)
    return tables


def _boosted(
    features: FloatArray, outcome: FloatArray, asked: FloatArray, level: float
) -> FloatArray:
    """Fit a boosted quantile and ask it."""
    boosting = HistGradientBoostingRegressor(
        loss="quantile", quantile=level, max_iter=100, max_leaf_nodes=15, random_state=0
    )
    with threadpool_limits(1):
        return np.asarray(boosting.fit(features, outcome).predict(asked), dtype=np.float64)


def _daily_returns(each: HourReturns) -> pd.Series:
    """Returns in per cent from midnight to midnight, by the midnight at which they are known."""
    days = -(-each.end_ms // DAY_MS) * DAY_MS
    summed = pd.Series(each.values * 100.0).groupby(days).sum()
    # the last day may still be under way
    return pd.Series(summed[summed.index <= each.end_ms[-1]])


def _garch_month(
    arch_model: Callable[..., Any], days: pd.Series, first: int, last: int
) -> pd.Series:
    """Variance of the day after each midnight of [first, last), fitted on what ended before."""
    until = days[days.index < last]
    if (until.index < first).sum() < GARCH_LEAST_DAYS or (until.index >= first).sum() == 0:
        return pd.Series(dtype=np.float64)
    model = arch_model(until.to_numpy(), mean="Zero", vol="GARCH", p=1, o=1, q=1, dist="t")
    start = int((until.index < first).sum())
    fitted = model.fit(last_obs=start, disp="off", show_warning=False)
    ahead = fitted.forecast(horizon=1, start=start).variance.to_numpy()[:, 0]
    return pd.Series(ahead / 10_000.0, index=until.index[start:])
