"""What leaving costs, and the depth that stress leaves: from a book, and always from candles.

From candles: the square-root law, cost = daily deviation x sqrt(notional / volume of a thin day),
the level that Kyle and Obizhaeva 2016 and Amihud 2002 measure best (Brauneis et al. 2021); from
a book: how far the notional walks into what stress leaves of it. The dearer of the two counts,
so more volume or depth never makes a cost rise and less never lets a cap grow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

REFERENCE_NOTIONALS_USDC = (10_000.0, 100_000.0, 1_000_000.0, 10_000_000.0)
"""Notionals whose cost to unwind is scored."""
BOOK_DISTANCES = (0.0010, 0.0025, 0.0050, 0.0100)
"""Distances from the mid at which a book's depth is read."""
STRESS_SHARE = 0.25
"""Share of the seen depth that is counted on; books thin to a few per cent at the worst minutes
of 2025-10-10 (reference, section b), which the square-root law at crisis volatility reflects."""
DEPTH_DISTANCE = 0.0050
"""Stressed depth is the money within 50 basis points."""
MOST = 1.0
"""A position cannot cost more than itself."""
MONEY_FLOOR = 1e-9


def stressed_depth(
    deviation_day: FloatArray, thin_day: FloatArray, amihud: FloatArray
) -> FloatArray:
    """Money that moves price by `DEPTH_DISTANCE`, shape (rows,).

    Parameters
    ----------
    deviation_day : ndarray, shape (rows,)
        Forecast standard deviation of a day's return.
    thin_day : ndarray, shape (rows,)
        Quote volume of a thin day.
    amihud : ndarray, shape (rows,)
        Absolute return a unit of quote volume.
    """
    by_volume = thin_day * np.square(DEPTH_DISTANCE / deviation_day)
    by_impact = DEPTH_DISTANCE / amihud
    return np.asarray(np.minimum(by_volume, by_impact), dtype=np.float64)


def candle_slippage(notional: float, deviation_day: FloatArray, thin_day: FloatArray) -> FloatArray:
    """Cost of unwinding `notional` by the square-root law, a ratio of at most 1, shape (rows,)."""
    share = notional / np.maximum(thin_day, MONEY_FLOOR)
    return np.asarray(np.minimum(deviation_day * np.sqrt(share), MOST), dtype=np.float64)


def stressed_book(depths: Sequence[float]) -> float:
    """Money within `DEPTH_DISTANCE` that stress leaves of the thinner side of a book."""
    return STRESS_SHARE * depths[BOOK_DISTANCES.index(DEPTH_DISTANCE)]


def book_slippage(notional: float, depths: Sequence[float]) -> float:
    """Distance that `notional` walks into the stressed book, a ratio of at most 1.

    `depths` are cumulative and ascending, one a distance of `BOOK_DISTANCES`. Between two of
    them depth grows linearly; beyond the last the book goes on at its mean thickness.
    """
    inner_money, inner = 0.0, 0.0
    for depth, distance in zip(depths, BOOK_DISTANCES, strict=True):
        money = STRESS_SHARE * depth
        if notional <= money:
            part = (notional - inner_money) / max(money - inner_money, MONEY_FLOOR)
            return inner + (distance - inner) * min(part, 1.0)
        inner_money, inner = money, distance
    return min(inner * notional / max(inner_money, MONEY_FLOOR), MOST)
