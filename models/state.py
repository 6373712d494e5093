"""The state of all markets together: what each column's median over the markets is at an instant.

A market's own columns say how it moves; these say whether the others move too. A market that stands
alone is its own median: its state is what it has itself, which is the neutral value.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SURGE = "hours_range_720"
"""The surge of a span is the logarithm of its variance over that of the last 30 days."""
SOURCES: Mapping[str, tuple[str, ...]] = {
    "market_surge_1": ("hours_range_1", SURGE),
    "market_surge_4": ("hours_range_4", SURGE),
    "market_surge_24": ("hours_range_24", SURGE),
    "market_surge_168": ("hours_range_168", SURGE),
    "market_fall_share_24": ("hours_fall_share_24",),
    "market_jump_share_24": ("hours_jump_share_24",),
    "market_drawdown_24": ("hours_drawdown_24",),
    "market_drawdown_168": ("hours_drawdown_168",),
    "market_volume_24": ("hours_volume_24",),
}
"""Columns of state, and the market's own column (less another) that each is the median of."""


def own_state(columns: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return the state of markets that each stand alone: their own columns."""
    return {
        name: columns[sources[0]] - columns[sources[1]] if sources[1:] else columns[sources[0]]
        for name, sources in SOURCES.items()
    }


def in_state(names: tuple[str, ...], values: FloatArray, instants: IntArray) -> FloatArray:
    """Return the table with each row's state taken over all rows of its instant.

    Parameters
    ----------
    names : tuple of str
        Columns of the table; a table without the columns of state comes back as it is.
    values : ndarray of float64, shape (rows, columns)
    instants : ndarray of int64, shape (rows,)
        Medians do not depend on the order of the rows.
    """
    if not set(SOURCES) <= set(names) or not len(values):
        return values
    groups = np.unique(instants, return_inverse=True)[1]
    columns = {name: values[:, place] for place, name in enumerate(names)}
    result = values.copy()
    for name, own in own_state(columns).items():
        result[:, names.index(name)] = medians(own, groups)
    return result


def medians(values: FloatArray, groups: IntArray) -> FloatArray:
    """Return the median of each row's group, shape (rows,); groups are numbered from 0."""
    ordered = values[np.lexsort((values, groups))]
    counts = np.bincount(groups)
    starts = np.cumsum(counts) - counts
    lower, upper = ordered[starts + (counts - 1) // 2], ordered[starts + counts // 2]
    return np.asarray((0.5 * (lower + upper))[groups], dtype=np.float64)
