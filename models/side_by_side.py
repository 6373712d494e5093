"""One model's tail beside another's on the same outcomes: breaches, tests, losses, size, cycle."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.backtests import basel_green, fz0, qlike
from models.evaluate import Judged, coverage
from models.tails import LEVELS

FloatArray = NDArray[np.float64]

FIRST_EXCESS, FIRST_WEIGHT = 0.3, 20
"""Shortfall over quantile minus one, and its weight in breaches, before any breach is known."""
RISE_DAYS, DAY_MS = 5, 86_400_000
CYCLE_ROWS = 20
"""Forecasts that a market needs before its cycle says anything."""


def tail_line(judged: Judged, level: float, *, long: bool) -> dict[str, Any]:
    """Everything by which one side's tail is judged, ready for JSON."""
    outcome, quantile = outcome_and_quantile(judged, level, long=long)
    breaches = outcome > quantile
    by_symbol = [breaches[judged.symbols == symbol] for symbol in np.unique(judged.symbols)]
    peak, rise = cycle(judged, level, long=long)
    return asdict(coverage(judged, level, long=long)) | {
        "basel_green": float(np.mean([basel_green(part, level) for part in by_symbol])),
        "fz0": float(joint_losses(judged, level, long=long).mean()),
        "peak_to_trough": peak,
        "five_day_rise": rise,
    }


def writable(value: object) -> object:
    """Return a report as JSON can hold it: what is no finite number becomes None."""
    if isinstance(value, dict):
        return {key: writable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [writable(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_back(value: Any) -> Any:  # noqa: ANN401 - JSON's values
    """Return what `writable` wrote: None is a figure that could not be measured."""
    if isinstance(value, dict):
        return {key: read_back(each) for key, each in value.items()}
    if isinstance(value, list):
        return [read_back(each) for each in value]
    return float("nan") if value is None else value


def mean_loss(judged: Judged) -> float:
    """Mean QLIKE of the forecasts of variance."""
    return float(qlike(judged.variance, np.exp(judged.forecast)).mean())


def cycle(judged: Judged, level: float, *, long: bool) -> tuple[float, float]:
    """Peak to trough and the worst rise over five days of the quantile, means over markets."""
    _, quantile = outcome_and_quantile(judged, level, long=long)
    values = as_ratio(quantile, long=long)
    found = []
    for symbol in np.unique(judged.symbols):
        own = judged.symbols == symbol
        if own.sum() >= CYCLE_ROWS:
            found.append(_own_cycle(judged.as_of_ms[own], values[own]))
    if not found:
        return 1.0, 0.0
    peak, rise = np.array(found).mean(axis=0)
    return float(peak), float(rise)


def joint_losses(judged: Judged, level: float, *, long: bool) -> FloatArray:
    """FZ0, with a shortfall from the breaches of earlier months, one rule for every model."""
    pair = outcome_and_quantile(judged, level, long=long)
    outcome, quantile = (as_ratio(part, long=long) for part in pair)
    months = judged.as_of_ms.astype("datetime64[ms]").astype("datetime64[M]")
    excess = np.where(outcome > quantile, outcome / quantile - 1.0, 0.0)
    factor = np.empty(len(outcome))
    for month in np.unique(months):
        past = months < month
        count = FIRST_WEIGHT + int((excess[past] > 0.0).sum())
        mean = (FIRST_WEIGHT * FIRST_EXCESS + float(excess[past].sum())) / count
        factor[months == month] = 1.0 + mean
    return fz0(outcome, quantile, quantile * factor, level)


def outcome_and_quantile(
    judged: Judged, level: float, *, long: bool
) -> tuple[FloatArray, FloatArray]:
    """Return one side's excursions and quantiles, both logarithms, shape (rows,)."""
    table = judged.long if long else judged.short
    return (judged.falls if long else judged.rises), table[:, LEVELS.index(level)]


def as_ratio(values: FloatArray, *, long: bool) -> FloatArray:
    """Return an excursion as a ratio of price."""
    return np.asarray(-np.expm1(-values) if long else np.expm1(values), dtype=np.float64)


def _own_cycle(as_of_ms: NDArray[np.int64], values: FloatArray) -> tuple[float, float]:
    order = np.argsort(as_of_ms, kind="stable")
    stamps, ordered = as_of_ms[order], values[order]
    before = np.searchsorted(stamps, stamps - RISE_DAYS * DAY_MS)
    rises = ordered / ordered[before] - 1.0
    return float(ordered.max() / ordered.min()), float(rises.max())
