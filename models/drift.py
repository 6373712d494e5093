"""Drift of features: a week of what serving saw, held against the market-weeks of training.

Features of markets stay where they are for days, so the usual level of a stability index, made for
independent rows, would alarm without end. Here a feature's distance is that of its mean over a
week from training's median, in units of how far training's own market-weeks lie apart, and the
level is what the furthest feature of these weeks exceeded once a year. A mean over several markets
strays less than one market does, so with more markets alarms are rarer, not more frequent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.features import HOUR_MS, FeatureVector

if TYPE_CHECKING:
    from models.dataset import Rows  # pandas, which serving does without

FloatArray = NDArray[np.float64]

WEEK_MS = 604_800_000
FALSE_SHARE = 1.0 / 104.0
"""Share of training's market-weeks whose furthest feature lies beyond the level: one a year for the
families of hours and of minutes together."""
LEAST_ROWS = 10
"""A market-week with fewer rows of training has no mean."""
LEAST_HOURS = 84
"""Half a week of hours; less says nothing about the week."""
SPREAD = (0.05, 0.95)
SMALLEST_SCALE = 1e-6
HOURS, MINUTES = "hours_", "minutes_"
LEFT_OUT = frozenset({"hours_history", "hours_thin_day_usdc", "hours_amihud"})
"""Length of history, and money: it grows with the market, and no forecast of variance reads it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """What training's market-weeks were like; arrays of shape (names,).

    Attributes
    ----------
    names : tuple of str
        Features, hours before minutes.
    centre, scale : ndarray of float64
        Median of the weekly means, and half of what lies between their 5 % and 95 % quantiles.
    level : ndarray of float64
        Distance that the furthest feature of the family exceeded in one market-week of 104.
    """

    names: tuple[str, ...]
    centre: FloatArray
    scale: FloatArray
    level: FloatArray

    def __post_init__(self) -> None:
        """Refuse a reference that no week could be measured by."""
        if not (np.all(self.scale > 0.0) and np.all(self.level > 0.0)):
            raise ValueError("scales and levels of drift must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """What serving saw since a week began: sums by feature over markets and hours.

    Attributes
    ----------
    number : int
        Weeks since the epoch.
    hour : int
        The last hour that was added, in hours since the epoch.
    hours : int
        Hours that were added.
    sums, counts : mapping of str to float and int
        By feature.
    """

    number: int
    hour: int = -1
    hours: int = 0
    sums: Mapping[str, float]
    counts: Mapping[str, int]

    def with_hour(self, vectors: Iterable[FeatureVector], hour: int) -> Week:
        """Add what all markets looked like in one hour; markets in order of their ids."""
        sums, counts = dict(self.sums), dict(self.counts)
        for vector in sorted(vectors, key=lambda each: each.market):
            for name, value in zip(vector.names, vector.values, strict=True):
                sums[name] = sums.get(name, 0.0) + value
                counts[name] = counts.get(name, 0) + 1
        return Week(number=self.number, hour=hour, hours=self.hours + 1, sums=sums, counts=counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifted:
    """A feature that left what training knew, and by how many times the level."""

    name: str
    ratio: float


def week_of(hour: int) -> Week:
    """Return the empty week that an hour lies in."""
    return Week(number=hour * HOUR_MS // WEEK_MS, sums={}, counts={})


def ratios(reference: Reference, week: Week) -> dict[str, float]:
    """Return each feature's distance over its level; empty where the week is too short to say."""
    if week.hours < LEAST_HOURS:
        return {}
    found = {}
    for place, name in enumerate(reference.names):
        if week.counts.get(name, 0) >= LEAST_HOURS:
            mean = week.sums[name] / week.counts[name]
            distance = abs(mean - reference.centre[place]) / reference.scale[place]
            found[name] = float(distance / reference.level[place])
    return found


def drifted(reference: Reference, week: Week) -> tuple[Drifted, ...]:
    """Name the features that left what training knew, the furthest first."""
    over = [
        Drifted(name=name, ratio=ratio)
        for name, ratio in ratios(reference, week).items()
        if ratio > 1.0
    ]
    return tuple(sorted(over, key=lambda each: (-each.ratio, each.name)))


def words_of(found: Sequence[Drifted]) -> str:
    """Name the furthest of some features, and how many more there are."""
    names = ", ".join(f"{each.name} ({each.ratio:.1f} times the level)" for each in found[:5])
    return names + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def reference_of(hours: Rows, minutes: Rows | None = None) -> Reference:
    """Measure the market-weeks of training: the hours family on its rows, the minutes on theirs."""
    parts = [_family(hours, [n for n in hours.names if n.startswith(HOURS) and n not in LEFT_OUT])]
    if minutes is not None:
        parts.append(_family(minutes, [n for n in minutes.names if n.startswith(MINUTES)]))
    return Reference(
        names=tuple(name for part in parts for name in part.names),
        centre=np.concatenate([part.centre for part in parts]),
        scale=np.concatenate([part.scale for part in parts]),
        level=np.concatenate([part.level for part in parts]),
    )


def _family(rows: Rows, names: Sequence[str]) -> Reference:
    means = weekly_means(rows, names)
    low, high = np.quantile(means, SPREAD, axis=0)
    centre, scale = np.median(means, axis=0), np.maximum((high - low) / 2.0, SMALLEST_SCALE)
    furthest = (np.abs(means - centre) / scale).max(axis=1)
    level = float(np.quantile(furthest, 1.0 - FALSE_SHARE, method="higher"))
    return Reference(
        names=tuple(names),
        centre=centre,
        scale=scale,
        level=np.full(len(names), max(level, SMALLEST_SCALE)),
    )


def weekly_means(rows: Rows, names: Sequence[str]) -> FloatArray:
    """Return the mean of each market-week that has rows enough, shape (market-weeks, names)."""
    _, market = np.unique(rows.symbols, return_inverse=True)
    week = rows.as_of_ms // WEEK_MS
    _, group, counts = np.unique(
        market * (int(week.max()) + 1) + week, return_inverse=True, return_counts=True
    )
    kept = counts >= min(LEAST_ROWS, int(counts.max()))
    places = [rows.names.index(name) for name in names]
    sums = np.stack(
        [np.bincount(group, weights=rows.features[:, place]) for place in places], axis=1
    )
    return np.asarray(sums[kept] / counts[kept][:, None], dtype=np.float64)


def state_of_week(week: Week) -> dict[str, Any]:
    """Write a week as JSON values; floats come back to the bit."""
    return {
        "number": week.number,
        "hour": week.hour,
        "hours": week.hours,
        "features": {name: [week.sums[name], week.counts[name]] for name in sorted(week.sums)},
    }


def week_from(content: Mapping[str, Any]) -> Week:
    """Read a week back."""
    features: Mapping[str, Sequence[float]] = content["features"]
    return Week(
        number=int(content["number"]),
        hour=int(content["hour"]),
        hours=int(content["hours"]),
        sums={name: float(pair[0]) for name, pair in features.items()},
        counts={name: int(pair[1]) for name, pair in features.items()},
    )
