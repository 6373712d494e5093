"""How much a book holds near its mid: what liquidity is scored from. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from relayer.market.values import E18, Book, BookLevel

BANDS_BP: Final = (10, 25, 50, 100)


def depth_within(
    book: Book, bands_bp: Sequence[int] = BANDS_BP
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give the value that stands within each distance of the mid: bids, asks, in quote units.

    A book that does not reach as far as a band gives what it has, which is less: the safe side.
    """
    mid = (book.bids[0].price_e18 + book.asks[0].price_e18) // 2
    limits = [mid * band // 10_000 for band in bands_bp]
    bids = tuple(_value([x for x in book.bids if mid - x.price_e18 <= limit]) for limit in limits)
    asks = tuple(_value([x for x in book.asks if x.price_e18 - mid <= limit]) for limit in limits)
    return bids, asks


def _value(levels: Sequence[BookLevel]) -> float:
    """Add up price × size."""
    return sum(level.price_e18 * level.size_e18 for level in levels) / E18 / E18
