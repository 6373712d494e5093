"""A metric's children by closed label values; what is not known yet is NaN and never a number."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from prometheus_client import Counter, Gauge

Metric = TypeVar("Metric", Counter, Gauge)


class Labelled(Generic[Metric]):
    """A metric's children by label values, all of them made at the start."""

    def __init__(self, metric: Metric, *values: Iterable[str]) -> None:
        self._children: dict[tuple[str, ...], Metric] = {
            key: metric.labels(*key) for key in _product(values)
        }

    def __getitem__(self, key: str | tuple[str, ...]) -> Metric:
        return self._children[(key,) if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return iter(self._children)

    def items(self) -> Iterator[tuple[str, Metric]]:
        """Yield each first label value with its child."""
        return ((key[0], child) for key, child in self._children.items())


def unknown(gauges: Labelled[Gauge]) -> Labelled[Gauge]:
    """Let every child say NaN until somebody has looked: a zero would be taken for a value."""
    for key in gauges:
        gauges[key].set(math.nan)
    return gauges


def unknown_gauge(gauge: Gauge) -> Gauge:
    """Do the same for a gauge without labels."""
    gauge.set(math.nan)
    return gauge


def aging(gauge: Gauge, age_s: float) -> None:
    """Show an age that goes on growing by this machine's clock until it is said anew.

    Who can look no more would else show for ever how young everything was at the last look.
    """
    since_s = time.monotonic() - age_s
    gauge.set_function(lambda: time.monotonic() - since_s)


def _product(values: tuple[Iterable[str], ...]) -> list[tuple[str, ...]]:
    keys: list[tuple[str, ...]] = [()]
    for column in values:
        names = tuple(column)
        keys = [(*key, name) for key in keys for name in names]
    return keys
