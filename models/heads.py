"""The fitted parts of a model, as values: one head a horizon and family of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.drift import Reference
from models.risk_heads import RiskHeads
from models.tails import ExcursionTail
from models.volatility import VolatilityForecast

FloatArray = NDArray[np.float64]

HORIZONS_S = (900, 3_600, 14_400, 86_400)
"""Horizons of the forecasts in seconds: 15 min (the close-out period), 1 h, 4 h, 24 h."""
LONG_SCORE, SHORT_SCORE = "hours_long_excursion", "hours_short_excursion"
"""Columns from which the online factor of each side is computed."""
UNUSED = frozenset(
    {"hours_history", "hours_thin_day_usdc", "hours_amihud", LONG_SCORE, SHORT_SCORE}
    | {"minutes_long_excursion", "minutes_short_excursion"}
)
"""Columns that no forecast of variance reads: liquidity, length of history, tail factor."""
VARIANCE_PREFIXES = ("hours_range_", "hours_squared_", "minutes_range_", "minutes_squared_")


HOUR_HAR = ("hours_squared_24", "hours_squared_168", "hours_squared_720")
MINUTE_HAR = ("minutes_squared_60m", "minutes_squared_1440m", "hours_squared_168")
"""What a plain HAR reads, without and with the minutes family (Corsi 2009)."""


def forecast_columns(names: tuple[str, ...], *, minutes: bool) -> tuple[str, ...]:
    """Columns that forecast variance, with or without the minutes family, in table order."""
    return tuple(
        name
        for name in names
        if name not in UNUSED and (minutes or not name.startswith("minutes_"))
    )


def har_places(names: Sequence[str]) -> tuple[int, ...]:
    """Places of the columns that a plain HAR reads: those of minutes where there are any."""
    chosen = MINUTE_HAR if MINUTE_HAR[0] in names else HOUR_HAR
    return tuple(list(names).index(name) for name in chosen)


def is_variance(name: str) -> bool:
    """Whether a column is the logarithm of a variance."""
    return name.startswith(VARIANCE_PREFIXES)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """Forecast and tails of one horizon, from the columns `names`.

    ``widening`` is what the tail of a market with 3 days of history is multiplied by.
    """

    horizon_s: int
    names: tuple[str, ...]
    forecast: VolatilityForecast
    long: ExcursionTail
    short: ExcursionTail
    widening: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Domain:
    """The range of each column that the model may be asked about, shape (names,)."""

    names: tuple[str, ...]
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedModel:
    """All heads, each horizon's richest first, the domain, the heads of risk, and training's weeks.

    A model trained before there were heads of risk, or a reference for drift, has none, and keeps
    its hash.
    """

    heads: tuple[Head, ...]
    domain: Domain
    risks: RiskHeads | None = None
    reference: Reference | None = None
