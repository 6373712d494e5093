"""What one book says of liquidity besides its depth, as a value that evidence holds. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.units import UnixMs
from relayer.market.books import Resiliency, Slippage, imbalance_ppm, slippage_ladder
from relayer.market.values import Book


@dataclass(frozen=True, slots=True, kw_only=True)
class BookMeasures:
    """One venue's book at one moment, in its quote currency."""

    venue: str
    observed_at_ms: UnixMs
    slippage: tuple[Slippage, ...]
    imbalance_ppm: int  # of what stands within 10 bp: −10^6 only asks, 10^6 only bids
    half_life_ms: int | None  # of shocks to its depth; None: not followed, or none has passed
    shocks: int  # that the half-life is the median of


def measure(book: Book, resiliency: Resiliency | None) -> BookMeasures:
    """Read everything off a book."""
    return BookMeasures(
        venue=book.venue,
        observed_at_ms=book.observed_at_ms,
        slippage=slippage_ladder(book),
        imbalance_ppm=imbalance_ppm(book),
        half_life_ms=None if resiliency is None else resiliency.half_life_ms,
        shocks=0 if resiliency is None else resiliency.shocks,
    )
