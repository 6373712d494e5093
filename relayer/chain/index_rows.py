"""Rows of whole numbers side by side in memory, found by a number: a third of what tuples take.

A million positions as tuples of Python's integers take 300 MB, packed 112. What is asked of all of
them (sums, who is left behind, whose ratio can move) is asked of arrays, block by block.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Row: TypeAlias = tuple[int, ...]
Limbs: TypeAlias = NDArray[np.uint64]
Places: TypeAlias = NDArray[np.int32]
Default = TypeVar("Default")

KEY_BYTES: Final = 23  # a position's name: account, market, mode
HEAD_LIMBS: Final = 3  # whether it is there, and its key
BLOCK: Final = 1 << 16
"""Rows of one block: what grows is never copied, and a pass over one takes a millisecond or two."""
_LEAST_SLOTS: Final = 64
_MIX: Final = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: keys differ in their upper bits
_LIMB: Final = 8
_LIMB_MAX: Final = 2**64 - 1
_NOWHERE: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One number of a row: how many bytes it has, and whether it may be below 0."""

    size: int
    signed: bool = False


class PackedRows(MutableMapping[int, Row]):
    """Rows of the same fields. A key's place never changes, also where its row comes and goes."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._cuts: list[tuple[int, int, bool]] = []
        at = HEAD_LIMBS * _LIMB
        for each in fields:
            self._cuts.append((at, at + each.size, each.signed))
            at += each.size
        self._stride = -(-at // _LIMB) * _LIMB
        self._blocks: list[Limbs] = []
        self._views: list[memoryview] = []
        self._slots = array("i", [_NOWHERE]) * _LEAST_SLOTS
        self._shift = 64 - (_LEAST_SLOTS - 1).bit_length()
        self._placed = 0
        self._there = 0

    def __len__(self) -> int:
        """How many rows there are."""
        return self._there

    def __iter__(self) -> Iterator[int]:
        """Give the keys of what is there, in the order in which they first came."""
        for place in range(self._placed):
            view, at = self._at(place)
            if view[at]:
                yield int.from_bytes(view[at + 1 : at + 1 + KEY_BYTES], "little")

    def __getitem__(self, key: int) -> Row:
        """Give a row; KeyError where there is none."""
        place = self.place(key)
        if place is None or not self._is_there(place):
            raise KeyError(key)
        return self.row(place)

    def __setitem__(self, key: int, row: Row) -> None:
        """Store a row; OverflowError for a number that its field cannot hold."""
        packed = b"".join(
            value.to_bytes(end - begin, "little", signed=signed)
            for value, (begin, end, signed) in zip(row, self._cuts, strict=True)
        )
        slot, place = self._find(key)
        if place == _NOWHERE:
            place = self._add(slot, key)
        view, at = self._at(place)
        first = at + HEAD_LIMBS * _LIMB
        view[first : first + len(packed)] = packed
        self._there += not view[at]
        view[at] = 1

    def __delitem__(self, key: int) -> None:
        """Drop a row; its place is kept for its key."""
        place = self.place(key)
        if place is None or not self._is_there(place):
            raise KeyError(key)
        view, at = self._at(place)
        first = at + HEAD_LIMBS * _LIMB
        view[first : at + self._stride] = bytes(self._stride - HEAD_LIMBS * _LIMB)
        view[at] = 0
        self._there -= 1

    def __contains__(self, key: object) -> bool:
        """Tell whether there is a row."""
        place = self.place(key) if isinstance(key, int) else None
        return place is not None and self._is_there(place)

    def get(self, key: int, default: Default | None = None) -> Row | Default | None:  # type: ignore[override]
        """Give a row, or what stands for none."""
        place = self.place(key)
        return default if place is None or not self._is_there(place) else self.row(place)

    def place(self, key: int) -> int | None:
        """Give the place of a key, also where its row went; None where it never had one."""
        _, place = self._find(key)
        return None if place == _NOWHERE else place

    def key(self, place: int) -> int:
        """Give the key that a place belongs to."""
        view, at = self._at(place)
        return int.from_bytes(view[at + 1 : at + 1 + KEY_BYTES], "little")

    def row(self, place: int) -> Row:
        """Give the row at a place."""
        view, at = self._at(place)
        return tuple(
            int.from_bytes(view[at + begin : at + end], "little", signed=signed)
            for begin, end, signed in self._cuts
        )

    def blocks(self) -> Iterator[tuple[int, Limbs]]:
        """Give all rows as arrays of 64-bit limbs with the place of each one's first.

        Three limbs are whether it is there and its key, the others its fields, 0 where it is not.
        """
        for number, block in enumerate(self._blocks):
            begun = number * BLOCK
            yield begun, block[: min(BLOCK, self._placed - begun)]

    def gather(self, places: Places) -> Limbs:
        """Give the rows at some places, in their order."""
        found = np.empty((len(places), self._stride // _LIMB), dtype=np.uint64)
        which = places // BLOCK
        for number in np.unique(which):
            chosen = which == number
            found[chosen] = self._blocks[number][places[chosen] % BLOCK]
        return found

    def _is_there(self, place: int) -> bool:
        view, at = self._at(place)
        return view[at] != 0

    def _at(self, place: int) -> tuple[memoryview, int]:
        return self._views[place // BLOCK], place % BLOCK * self._stride

    def _find(self, key: int) -> tuple[int, int]:
        """Give the slot of a key, or the free one where it would go, and the place that it names.

        One key after another is looked at until it is found or a slot is free.
        """
        slots, views, stride = self._slots, self._views, self._stride
        slot, mask = (hash(key) * _MIX & _LIMB_MAX) >> self._shift, len(slots) - 1
        while (place := slots[slot]) != _NOWHERE:
            at = place % BLOCK * stride + 1
            if int.from_bytes(views[place // BLOCK][at : at + KEY_BYTES], "little") == key:
                break
            slot = slot + 1 & mask
        return slot, place

    def _add(self, slot: int, key: int) -> int:
        name = key.to_bytes(KEY_BYTES, "little")
        if self._placed == len(self._blocks) * BLOCK:
            block = np.zeros((BLOCK, self._stride // _LIMB), dtype="<u8")
            self._blocks.append(block)
            self._views.append(block.data.cast("B"))
        place = self._placed
        view, at = self._at(place)
        view[at + 1 : at + 1 + KEY_BYTES] = name
        self._slots[slot] = place
        self._placed += 1
        if 3 * self._placed > 2 * len(self._slots):
            self._widen()
        return place

    def _widen(self) -> None:
        """Spread the keys over twice as many slots."""
        self._slots = array("i", [_NOWHERE]) * (2 * len(self._slots))
        self._shift -= 1
        for place in range(self._placed):
            slot, _ = self._find(self.key(place))
            self._slots[slot] = place
