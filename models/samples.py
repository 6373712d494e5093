"""What a training learns from: rows of both families from candle files, and from a journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.bars import clean
from models.cross_training import HourCloses
from models.dataset import (
    FIVE_MINUTES_MS,
    HOUR_MS,
    DatasetError,
    Rows,
    Series,
    coarser,
    hour_rows,
    joined,
    minute_rows,
    read_series,
    with_state,
)
from models.features import HOURS_MINIMUM
from models.recorded_risks import RecordedRisks

FloatArray = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

HOUR_HORIZONS_S, MINUTE_HORIZONS_S = (14_400, 86_400), (900, 3_600)
HOUR_STRIDE_MS = 5 * HOUR_MS
"""Five hours share no factor with a day, so every hour of the day is learned from."""
MINUTE_STRIDE_MS = 11 * FIVE_MINUTES_MS
"""55 minutes likewise visit every place within the hour."""
SHORT_STRIDE = 5
"""A fifth of the rows is enough to measure what a short history costs."""
EARLIEST_MS = 1_388_534_400_000
"""2014-01-01: Bitfinex candles of 2013 hold prints far from any price (data README)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recorded:
    """What a daemon saw: rows of the hours and of the minutes family, positions and accounts.

    `sha256` is of the outcomes, as the manifest names what was learned from.
    """

    name: str
    sha256: str
    hours: tuple[Rows, ...] = ()
    minutes: tuple[Rows, ...] = ()
    risks: RecordedRisks | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Rows to learn from, and the same kind of rows with three days of history."""

    whole: Rows
    short: Rows


def read_samples(
    paths: Sequence[Path], before_ms: int, tell: Progress
) -> tuple[Sample, Sample, list[HourCloses]]:
    """Read every file once and make the rows of both families, whole and short."""
    parts: dict[str, list[Rows]] = {"hours": [], "minutes": [], "hours_short": []}
    parts["minutes_short"] = []
    closes: list[HourCloses] = []
    for step, path in enumerate(paths):
        tell("reading", step, len(paths))
        for series in read_series(path, before_ms=before_ms):
            _add_rows(series, parts)
            closes.append(_closes(series))
    tell("reading", len(paths), len(paths))
    if not parts["minutes"]:
        raise DatasetError(
            "no file has bars of at most five minutes: the heads of 15 min and 1 h need one"
        )
    samples = {name: with_state(_since(joined(rows))) for name, rows in parts.items()}
    return (
        Sample(whole=samples["hours"], short=samples["hours_short"]),
        Sample(whole=samples["minutes"], short=samples["minutes_short"]),
        closes,
    )


def _closes(series: Series) -> HourCloses:
    """Keep a symbol's hours for the simulated accounts."""
    hours = coarser(series, HOUR_MS)
    cleaned = clean(hours.bars)
    values = np.where(cleaned.present[0], cleaned.close[0], np.nan)
    return HourCloses(symbol=series.symbol, start_ms=hours.start_ms, values=values)


def _add_rows(series: Series, parts: dict[str, list[Rows]]) -> None:
    for suffix, known, every in (("", 720, 1), ("_short", HOURS_MINIMUM, SHORT_STRIDE)):
        stride = HOUR_STRIDE_MS * every
        hours = hour_rows(series, horizons_s=HOUR_HORIZONS_S, stride_ms=stride, known_hours=known)
        parts["hours" + suffix].append(hours)
        if series.bar_ms <= FIVE_MINUTES_MS:
            stride = MINUTE_STRIDE_MS * every
            minutes = minute_rows(
                series, horizons_s=MINUTE_HORIZONS_S, stride_ms=stride, known_hours=known
            )
            parts["minutes" + suffix].append(minutes)


def _since(rows: Rows) -> Rows:
    return rows.select(rows.as_of_ms >= EARLIEST_MS)


def joined_with(
    hours: Sample, minutes: Sample, recorded: Sequence[Recorded], before_ms: int
) -> tuple[Sample, Sample]:
    """Put recorded rows under the samples' own, as far as they end before the cutoff."""
    whole = (hours.whole, minutes.whole)
    parts: tuple[list[Rows], list[Rows]] = [whole[0]], [whole[1]]
    for each in recorded:
        for family, rows in [*((0, r) for r in each.hours), *((1, r) for r in each.minutes)]:
            if set(whole[family].names) <= set(rows.names):
                last = 1_000 * max((HOUR_HORIZONS_S, MINUTE_HORIZONS_S)[family])
                early = rows.select(rows.as_of_ms + last <= before_ms)
                parts[family].append(_with_columns(early, whole[family].names))
    return (
        Sample(whole=joined(parts[0]), short=hours.short),
        Sample(whole=joined(parts[1]), short=minutes.short),
    )


def _with_columns(rows: Rows, names: tuple[str, ...]) -> Rows:
    """Keep these columns, in this order."""
    kept = {name: getattr(rows, name) for name in ("as_of_ms", "symbols", "variance")}
    kept |= {"falls": rows.falls, "rises": rows.rises}
    return Rows(names=names, features=columns_of(rows, names), **kept)


def columns_of(rows: Rows, names: Sequence[str]) -> FloatArray:
    """Return the features of these names, shape (rows, names)."""
    places = [rows.names.index(name) for name in names]
    return np.ascontiguousarray(rows.features[:, places])
