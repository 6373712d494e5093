"""The synthetic order book on a fixed grid of prices, so that moments differ in few levels.

The first level of each side is the ticker's best price; beyond it every multiple of the grid holds
an order whose size is a function of seed, price and moment. Depth follows the rule of
`synthetic.depth_per_bp`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from relayer.local.instruments import Instrument
from relayer.local.seeds import unit
from relayer.local.synthetic import BASIS_POINT, LEVEL_BP, MAX_LEVELS, depth_per_bp
from relayer.local.venue import View

RENEWED_MS: Final = 5_000  # each order is replaced so often, each at its own moment
CHECKED_LEVELS: Final = 25  # that OKX's checksum covers
_NOISE: Final = 0.3  # of a level's size
_LOTS: Final = 100  # lots in a contract

Side = dict[int, int]  # price in ticks → size in lots, best first


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """A book's levels as integers."""

    bids: Side
    asks: Side


def levels(view: View, seed: int, venue: int, count: int = MAX_LEVELS) -> Levels:
    """Give the best `count` levels of both sides."""
    listed = view.instrument
    bid, ask = best_ticks(view)
    step = _grid(listed, view.top.mid)
    width_bp = step * float(listed.tick) / view.top.mid / BASIS_POINT
    base = depth_per_bp(listed.tape, view.spot, view.top) * width_bp
    lots = base / float(listed.contract_size) * _LOTS
    moment = view.spot.observed_ms
    sides = []
    for best, sign in ((bid, -1), (ask, 1)):
        key = int(unit(seed, venue, listed.tape.symbol, sign) * 2**63)
        first = best // step + 1 if sign > 0 else (best - 1) // step
        rows = first + sign * np.arange(count - 1, dtype=np.int64)
        prices = np.concatenate(([best], rows[rows > 0] * step))
        marks = np.concatenate(([np.int64(sign)], rows[rows > 0]))
        sizes = np.maximum(1, np.rint(lots * _shares(marks, key, moment))).astype(np.int64)
        sides.append(dict(zip(prices.tolist(), sizes.tolist(), strict=True)))
    return Levels(bids=sides[0], asks=sides[1])


def best_ticks(view: View) -> tuple[int, int]:
    """Give best bid and ask in ticks: outward on the grid, so crossed only when told so."""
    tick, mid, half = float(view.instrument.tick), view.top.mid, view.top.half_spread
    return max(1, math.floor(mid * (1 - half) / tick)), max(1, math.ceil(mid * (1 + half) / tick))


def changes(old: Side, new: Side) -> Side:
    """List the levels that differ; one that is gone has size 0."""
    changed = {price: size for price, size in new.items() if old.get(price) != size}
    return changed | {price: 0 for price in old if price not in new}


def rows_of(listed: Instrument, side: Mapping[int, int]) -> list[list[str]]:
    """Write levels as OKX does: price, contracts, a zero, the number of orders."""
    return [
        [listed.ticks(price), f"{size // _LOTS}.{size % _LOTS:02d}", "0", "1" if size else "0"]
        for price, size in side.items()
    ]


def checksum(bids: Sequence[Sequence[str]], asks: Sequence[Sequence[str]]) -> int:
    """Give OKX's checksum: CRC-32 over the first 25 levels of both sides in turn, as signed."""
    parts: list[str] = []
    for row in range(CHECKED_LEVELS):
        for side in (bids, asks):
            parts += side[row][:2] if row < len(side) else []
    value = zlib.crc32(":".join(parts).encode())
    return value - 2**32 if value >= 2**31 else value


def _grid(listed: Instrument, mid: float) -> int:
    """Give the ticks between levels: a power of two, 0.5 to 1 bp, so that it hardly changes."""
    wanted = mid * LEVEL_BP * BASIS_POINT / float(listed.tick)
    return 1 << max(0, math.ceil(math.log2(max(wanted, 1.0))))


def _shares(rows: NDArray[np.int64], key: int, moment: int) -> NDArray[np.float64]:
    """Give each level's share of the rule, 0.7 to 1.3: splitmix64 of key, price and moment."""
    with np.errstate(over="ignore"):
        mixed = _mixed(rows.astype(np.uint64) ^ np.uint64(key))
        turn = (np.uint64(moment) + mixed % np.uint64(RENEWED_MS)) // np.uint64(RENEWED_MS)
        mixed = _mixed(mixed + turn)
    shares: NDArray[np.float64] = mixed.astype(np.float64) / 2.0**64
    return 1 - _NOISE + 2 * _NOISE * shares


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix bits as splitmix64 does (Steele, Lea and Flood 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
