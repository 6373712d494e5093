"""Baselines that walk forward inside one candle file, for `aml models evaluate`.

Each forecasts an instant from what had ended before it: EWMA are computed at the instant, HAR and
log-HAR are refitted each month, GJR-GARCH-t and the boosted quantile each quarter (GARCH costs a
likelihood a market; it is fitted to days only), the static quantile each month. Forecasts of
variance become quantiles by filtered historical simulation on their own earlier months.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.baselines import (
    DECAYS,
    FilteredHistory,
    HourReturns,
    MissingExtra,
    boosted_tables,
    ewma_forecast,
    garch_forecast,
    static_tables,
)
from models.combination import PooledHar
from models.dataset import Rows
from models.evaluate import Forecast, Judged, Walk
from models.heads import forecast_columns
from models.samples import columns_of
from models.tails import LEVELS
from models.volatility import PooledLogHar

FloatArray = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
Periods = Sequence[tuple[int, int]]
Forecasts = tuple[FloatArray | None, list[FloatArray]]
"""Log variance, where there is one, and quantiles of both sides."""

DAY_S = 86_400
LEAST_ROWS = 100
"""Fewer earlier rows of the file fit nothing."""
QUARTER = 3
HOUR_HAR = ("hours_squared_24", "hours_squared_168", "hours_squared_720")
MINUTE_HAR = ("minutes_squared_60m", "minutes_squared_1440m", "hours_squared_168")
STATIC, BOOSTED, GARCH = "static two years", "raw boosted quantile", "GJR-GARCH-t"
MOST_LOG_QUANTILE = 3.0
"""A quantile beyond a rise to twenty times counts as that: a coin that changed its unit is in no
model's reach, and one such row would be the average of the whole file."""
LEAST_LOG_QUANTILE = 1e-4
"""A quantile below a basis point counts as one: boosted quantiles go below zero, those of a market
that stood still are zero, and neither has a loss or a cycle."""
TIER_NOTIONALS = (10_000.0, 1_000_000.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """What baselines read: rows with their outcomes in column 0, and returns of each market."""

    rows: Rows
    returns: tuple[HourReturns, ...]
    horizon_s: int
    level: float


def rivals(field: Field, tell: Progress) -> dict[str, Forecasts]:
    """Walk every baseline: forecast log variance (or None) and the quantiles of both sides.

    Quantiles have the shape (rows, levels); what a baseline cannot forecast yet is NaN. The extra
    `research` brings GARCH; without it that line is left out.
    """
    months = months_of(field.rows)
    found: dict[str, Forecasts] = {
        name: (forecast, _filtered(field, forecast, months))
        for name, forecast in _variances(field, months, tell).items()
    }
    walk = _walk(field)
    tell("static quantiles", 0, 1)
    tables = {STATIC: static_tables(field.rows, walk, months)}
    tell("boosting quantiles", 0, 1)
    periods = [each for each in _quarters(months) if _past(field, each[0]).sum() >= LEAST_ROWS]
    names = forecast_columns(field.rows.names, minutes=True)
    tables[BOOSTED] = boosted_tables(field.rows, walk, names, periods, field.level)
    quantiles: dict[str, Forecasts] = {name: (None, table) for name, table in tables.items()}
    return quantiles | found


def tier_tables(
    as_of_ms: NDArray[np.int64], symbols: NDArray[np.str_], tiers: pd.DataFrame
) -> dict[str, list[FloatArray]]:
    """Maintenance rates of an exchange in force at each row, as quantiles of both sides."""
    tables = {}
    for notional in TIER_NOTIONALS:
        bands = (tiers["min_notional"] <= notional) & (notional < tiers["max_notional"])
        held = tiers[bands].sort_values("snapshot")
        rates = np.full(len(as_of_ms), np.nan)
        for symbol in np.unique(symbols):
            own, chosen = held[held["symbol"] == str(symbol)], symbols == symbol
            if not len(own):
                continue
            stamps = pd.DatetimeIndex(own["snapshot"]).as_unit("ms").astype(np.int64).to_numpy()
            place = np.searchsorted(stamps, as_of_ms[chosen], side="right") - 1
            rates[chosen] = np.where(place >= 0, own["mmr"].to_numpy()[place], np.nan)
        both = [-np.log1p(-rates), np.log1p(rates)]
        name = f"exchange tiers, {notional:,.0f}"
        tables[name] = [np.repeat(side[:, None], len(LEVELS), axis=1) for side in both]
    return tables


def judged_rival(rows: Rows, forecast: FloatArray, sides: Sequence[FloatArray]) -> Judged:
    """Set a baseline's quantiles beside the outcomes, all rows; what is unknown stays NaN."""
    long, short = (np.maximum(side, LEAST_LOG_QUANTILE) for side in sides)
    return Judged(
        as_of_ms=rows.as_of_ms,
        symbols=rows.symbols,
        variance=rows.variance[:, 0],
        forecast=forecast,
        falls=rows.falls[:, 0],
        rises=rows.rises[:, 0],
        long=long,
        short=short,
    )


def months_of(rows: Rows) -> Periods:
    """Return the calendar months that the rows lie in, as [first, last) milliseconds."""
    first, last = (
        datetime.fromtimestamp(int(stamp) / 1_000, tz=UTC)
        for stamp in (rows.as_of_ms.min(), rows.as_of_ms.max())
    )
    start, end = first.year * 12 + first.month - 1, last.year * 12 + last.month
    borders = [datetime(i // 12, i % 12 + 1, 1, tzinfo=UTC) for i in range(start, end + 1)]
    return list(itertools.pairwise(int(border.timestamp() * 1_000) for border in borders))


def _variances(field: Field, months: Periods, tell: Progress) -> Mapping[str, FloatArray]:
    """Forecast log variance by every baseline that has one."""
    made = {
        f"EWMA({decay})": ewma_forecast(field.rows, field.returns, decay, field.horizon_s)
        for decay in DECAYS
    }
    names = MINUTE_HAR if MINUTE_HAR[0] in field.rows.names else HOUR_HAR
    for place, (name, model) in enumerate((("HAR", PooledHar), ("log-HAR", PooledLogHar))):
        tell("fitting HAR", place, 2)
        made[name] = _monthly(field, months, names, model)
    if field.horizon_s == DAY_S:
        try:
            made[GARCH] = garch_forecast(field.rows, field.returns, _quarters(months), tell)
        except MissingExtra:
            tell("GJR-GARCH left out: install the extra `research`", 0, 0)
    return made


def _monthly(
    field: Field, months: Periods, names: tuple[str, ...], model: Callable[[], Forecast]
) -> FloatArray:
    features, variance = columns_of(field.rows, names), field.rows.variance[:, 0]
    result = np.full(len(variance), np.nan)
    for first, last in months:
        past, month = _past(field, first), _within(field.rows, first, last)
        if past.sum() >= LEAST_ROWS and month.any():
            fitted = model().fit(features[past], variance[past])
            result[month] = fitted.predict(features[month])
    return result


def _filtered(field: Field, forecast: FloatArray, months: Periods) -> list[FloatArray]:
    """Quantiles by filtered historical simulation on the walk's own earlier forecasts."""
    deviation, rows = np.exp(0.5 * forecast), field.rows
    tables = [np.full((len(forecast), len(LEVELS)), np.nan) for _ in range(2)]
    for first, last in months:
        past = _past(field, first) & np.isfinite(forecast)
        month = _within(rows, first, last) & np.isfinite(forecast)
        if past.sum() < LEAST_ROWS or not month.any():
            continue
        for table, outcome in zip(tables, (rows.falls, rows.rises), strict=True):
            ones = np.ones(int(past.sum()))
            tail = FilteredHistory().fit(outcome[past, 0], deviation[past], ones)
            quantiles = tail.predict(deviation[month], ones, ones)
            table[month] = np.minimum(quantiles, MOST_LOG_QUANTILE)
    return tables


def _past(field: Field, first: int) -> NDArray[np.bool_]:
    """Mark the rows whose outcome had ended before an instant."""
    return np.asarray(field.rows.as_of_ms < first - field.horizon_s * 1_000)


def _within(rows: Rows, first: int, last: int) -> NDArray[np.bool_]:
    return np.asarray((rows.as_of_ms >= first) & (rows.as_of_ms < last))


def _quarters(months: Periods) -> list[tuple[int, int]]:
    """Join months by three, from the first."""
    return [
        (months[place][0], months[min(place + QUARTER, len(months)) - 1][1])
        for place in range(0, len(months), QUARTER)
    ]


def _walk(field: Field) -> Walk:
    """What the tables of the other baselines ask for; its period is not read."""
    return Walk(
        column=0,
        horizon_s=field.horizon_s,
        names=(),
        model=PooledHar,
        start=datetime(1970, 1, 1, tzinfo=UTC),
        end=datetime(1970, 1, 1, tzinfo=UTC),
    )
