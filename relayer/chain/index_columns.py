"""Positions and accounts of the index as columns: exact limbs for sums, floats for searches.

The bits are those of `contracts/book_words.py`; tests/relayer/chain/test_index_columns.py compares
both. A float here is at most two roundings away from its integer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.book import MarketBook
from contracts.book_words import CROSS
from contracts.margin import LONG, SHORT
from contracts.units import PPM, MarketId
from relayer.chain.index_rows import Limbs

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]

_TWO64: Final = 2.0**64
_HALF: Final = np.uint64(32)
_LOW32: Final = np.uint64(2**32 - 1)
_SIZE, _TERMS, _RAMP = 3, 7, 11  # the limbs at which a position's words begin
_WORD, _BALANCE = 3, 7  # and an account's
_MANAGED_AT, _ADJUSTED_AT, _LONG_AT, _BASIS_BITS = 249, 250, 248, 112
_CROSS_COUNT_AT: Final = 92


class PositionColumns:
    """Rows of positions, decoded field by field when asked for."""

    def __init__(self, rows: Limbs) -> None:
        self._rows = rows

    def __len__(self) -> int:
        """How many rows."""
        return len(self._rows)

    @cached_property
    def market(self) -> Numbers:
        """Where each is."""
        return _field(self._rows[:, 0:1], 16, 16).astype(np.int64)

    @cached_property
    def cross(self) -> Flags:
        """Whether each is of a cross account."""
        return np.asarray(_field(self._rows[:, 0:1], 8, 8) == CROSS)

    @cached_property
    def size_limbs(self) -> tuple[Limbs, Limbs]:
        """Sizes as they are stored: the lower 64 bits, and those above."""
        return _wide(self._rows[:, _SIZE:], 0, 120)

    @cached_property
    def open(self) -> Flags:
        """Whether it holds anything."""
        low, high = self.size_limbs
        return np.asarray((low | high) != 0)

    def sizes_by_side(self, chosen: Flags) -> dict[tuple[MarketId, int], int]:
        """Add some positions' sizes up by market and side, exactly: in quarters, as floats hold."""
        side = 2 * self.market[chosen] + self.long[chosen]
        sums: dict[int, int] = {}
        for number, limb in enumerate(self.size_limbs):
            for half, part in enumerate((limb[chosen] & _LOW32, limb[chosen] >> _HALF)):
                for key, value in enumerate(np.bincount(side, part.astype(np.float64))):
                    sums[key] = sums.get(key, 0) + (int(value) << 64 * number + 32 * half)
        return {(MarketId(k >> 1), LONG if k & 1 else SHORT): v for k, v in sums.items() if v}

    @cached_property
    def size(self) -> Floats:
        """Sizes."""
        return _float(*self.size_limbs)

    @cached_property
    def basis(self) -> Floats:
        """Entry prices less the funding index at entry."""
        low, high = _wide(self._rows[:, _SIZE:], 120, _BASIS_BITS)
        below = high >> np.uint64(_BASIS_BITS - 65) != 0
        # The magnitude first: near 0 a sum of two limbs of opposite signs would round it away.
        magnitude = np.where(below, ~low + np.uint64(1), low)
        carried = np.where(below & (low == 0), np.uint64(1), np.uint64(0))
        upper = np.where(below, (~high + carried) & np.uint64(2**48 - 1), high)
        return np.asarray(np.where(below, -1.0, 1.0) * _float(magnitude, upper))

    @cached_property
    def long(self) -> Flags:
        """Whether each gains when the price rises."""
        return self._flag(_LONG_AT)

    @cached_property
    def managed(self) -> Flags:
        """Whether each follows its market's ratio."""
        return self._flag(_MANAGED_AT)

    @cached_property
    def collateral(self) -> Limbs:
        """Collateral of isolated ones, in USDC e6."""
        return self._rows[:, _TERMS]

    @property
    def collateral_sum(self) -> int:
        """All collateral together, exactly."""
        return _sum(self.collateral)

    @cached_property
    def cuts(self) -> Numbers:
        """How many cuts of its side each has been through."""
        return _field(self._rows[:, _TERMS:], 180, 15).astype(np.int64)

    @cached_property
    def least(self) -> Floats:
        """The ratio that each is asked for whatever its market says; a ramp's farther end, too."""
        own = _field(self._rows[:, _TERMS:], 64, 20)
        ramped = self.managed & self._flag(_ADJUSTED_AT)
        ends = [_field(self._rows[:, _RAMP:], at, 20) for at in (0, 20)]
        return np.asarray(np.where(ramped, np.maximum.reduce([own, *ends]), own) / PPM)

    @cached_property
    def most(self) -> Floats:
        """The ratio that each is never asked more than."""
        own, ceiling = (_field(self._rows[:, _TERMS:], at, 20) for at in (64, 84))
        return np.asarray(np.where(self.managed, ceiling, own) / PPM)

    def _flag(self, at: int) -> Flags:
        return np.asarray(_field(self._rows[:, _SIZE:], at, 1) != 0)


class AccountColumns:
    """Rows of accounts."""

    def __init__(self, rows: Limbs) -> None:
        self._rows = rows

    @cached_property
    def crossed(self) -> Flags:
        """Whether any cross position is open."""
        return np.asarray(_field(self._rows[:, _WORD:], _CROSS_COUNT_AT, 4) != 0)

    def balances(self) -> tuple[int, int]:
        """Add up the balances above 0, and what those below 0 lack; exactly."""
        low, high = self._rows[:, _BALANCE], self._rows[:, _BALANCE + 1]
        below = high >> np.uint64(63) != 0
        lacking = total((low[below], high[below])) - (int(np.count_nonzero(below)) << 128)
        return total((low[~below], high[~below])), -lacking


def cuts_by_side(columns: PositionColumns, markets: Mapping[MarketId, MarketBook]) -> Numbers:
    """Give, for each position, how often its side was cut; of a market that is not there, 0."""
    count = 1 + max(int(columns.market.max(initial=0)), *markets, 0)
    numbers = np.zeros((2, count), dtype=np.int64)
    for market, found in markets.items():
        numbers[:, market] = found.short.number, found.long.number
    return np.asarray(numbers[columns.long.astype(np.int64), columns.market])


def total(limbs: tuple[Limbs, Limbs]) -> int:
    """Add numbers up exactly; fewer than 2^32 of them."""
    return _sum(limbs[0]) + (_sum(limbs[1]) << 64)


def _sum(limb: Limbs) -> int:
    """Add limbs up in halves, which a limb holds the sum of."""
    return int((limb & _LOW32).sum()) + (int((limb >> _HALF).sum()) << 32)


def _field(words: Limbs, at: int, bits: int) -> Limbs:
    """Cut a field of at most 64 bits out of words, from their lowest bit upward."""
    limb, shift = divmod(at, 64)
    found = words[:, limb] >> np.uint64(shift)
    if shift + bits > 64:
        found = found | words[:, limb + 1] << np.uint64(64 - shift)
    return found & np.uint64((1 << bits) - 1)


def _wide(words: Limbs, at: int, bits: int) -> tuple[Limbs, Limbs]:
    return _field(words, at, 64), _field(words, at + 64, bits - 64)


def _float(low: Limbs, high: Limbs) -> Floats:
    return high.astype(np.float64) * _TWO64 + low.astype(np.float64)
