"""The isolated positions of a market, in the order in which price reaches them.

Positions are named by their places in the index, four bytes each. What changed lies apart until it
is worth sorting anew: few rows are looked at each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from agent.positions.screen import Columns, Floats, Ladder
from contracts.book_action import after_cuts
from contracts.book_margin import MarketNow
from contracts.book_words import Position, PositionId
from contracts.units import PPM, MarketId, UsdcE6
from relayer.chain.index import Index
from relayer.chain.index_columns import Numbers, PositionColumns, cuts_by_side
from relayer.chain.index_rows import Places

Cells = tuple[float, ...]
NO_PLACES: Places = np.empty(0, dtype=np.int32)


class MarketTable:
    """One market's isolated positions by side: the sorted ones, and those that changed since."""

    def __init__(self, places: Places = NO_PLACES) -> None:
        self._places = places
        self._ladders: dict[bool, Ladder] = {}
        self._late: dict[bool, Ladder] = {}
        self._fresh: dict[int, tuple[bool, Cells] | None] = {}
        self._unread: set[int] = set()

    def __len__(self) -> int:
        """How many lie apart."""
        return len(self._fresh) + len(self._unread)

    def take(self, place: int) -> None:
        """Note that a position is another one now."""
        self._unread.add(place)

    def reached(self, price: float, index: float) -> list[int]:
        """Give the places of the positions that a price may have reached."""
        found = [
            place
            for ladder in self._ladders.values()
            for place in ladder.reached(price, index)
            if place not in self._fresh
        ]
        for ladder in self._late.values():
            found += ladder.reached(price, index)
        return found

    def read(self, index: Index, now: MarketNow, bound: float) -> None:
        """Look at what changed, so that `reached` knows it."""
        if not self._unread:
            return
        again = set[bool]()
        for place in self._unread:
            held = _isolated_after_cuts(_stored(index, place), now)
            before = self._fresh.get(place)
            self._fresh[place] = (held.long, cells_of(held)) if held.size else None
            again |= {held.long} if held.size else set()
            again |= {before[0]} if before is not None else set()
        self._unread = set()
        self._sort_late((bound, float(now.index)), again)

    def sort(self, index: Index, now: MarketNow, bound: float) -> None:
        """Put all into the order in which price reaches them, at a ratio and a funding index."""
        changed = np.array(sorted(self._unread | set(self._fresh)), dtype=np.int32)
        places = np.union1d(self._places, changed)
        columns = PositionColumns(index.ledger.positions.gather(places))
        mine = columns.open & ~columns.cross
        cells = _table_of(columns)
        for row in np.flatnonzero(mine & (columns.cuts != cuts_of(columns, {now.market: now}))):
            cells[row] = cells_of(_isolated_after_cuts(_stored(index, int(places[row])), now))
        mine &= cells[:, 0] > 0.0
        at = (bound, float(now.index))
        for long in (True, False):
            chosen = mine & (columns.long == long)
            held = Columns.of(cells[chosen])
            self._ladders[long] = Ladder(places[chosen], held, at, long=long)
        self._places = places[mine]
        self._fresh, self._unread, self._late = {}, set(), {}

    def _sort_late(self, at: tuple[float, float], sides: Iterable[bool]) -> None:
        for long in sides:
            rows = {key: row[1] for key, row in self._fresh.items() if row and row[0] == long}
            cells = np.array(list(rows.values()), dtype=np.float64).reshape(len(rows), 5)
            places = np.array(list(rows), dtype=np.int32)
            self._late[long] = Ladder(places, Columns.of(cells), at, long=long)


def isolated_places(index: Index) -> dict[MarketId, Places]:
    """Find the open isolated positions of each market."""
    found: dict[MarketId, list[Places]] = {}
    for begun, rows in index.ledger.positions.blocks():
        columns = PositionColumns(rows)
        mine = np.flatnonzero(columns.open & ~columns.cross)
        order = mine[np.argsort(columns.market[mine], kind="stable")]
        markets, begins = np.unique(columns.market[order], return_index=True)
        parts = np.split((begun + order).astype(np.int32), begins[1:])
        for market, part in zip(markets, parts, strict=False):
            found.setdefault(MarketId(int(market)), []).append(part)
    return {market: np.concatenate(parts) for market, parts in found.items()}


def cells_of(position: Position) -> Cells:
    """Write an isolated position as a row of `Columns`."""
    numbers = (float(position.size), float(position.basis), float(position.collateral))
    return (*numbers, *ratios_of(position))


def ratios_of(position: Position) -> tuple[float, float]:
    """Give the ratio that a position is asked for at least, and the one it is never above."""
    least = position.maintenance_ppm
    if not position.managed:
        return least / PPM, least / PPM
    ramp = position.ramp
    adjusted = max(ramp.from_ppm, ramp.target_ppm) if ramp is not None else 0
    return max(least, adjusted) / PPM, position.ceiling_ppm / PPM


def _table_of(columns: PositionColumns) -> Floats:
    collateral = columns.collateral.astype(np.float64)
    cells = (columns.size, columns.basis, collateral, columns.least, columns.most)
    return np.stack(cells, axis=1)


def cuts_of(columns: PositionColumns, now: Mapping[MarketId, MarketNow]) -> Numbers:
    """Give, for each position, how often its side was cut; of a market that is not there, 0."""
    return cuts_by_side(columns, {market: each.book for market, each in now.items()})


def _stored(index: Index, place: int) -> Position:
    return index.position(PositionId(index.ledger.positions.key(place)))


def _isolated_after_cuts(stored: Position, now: MarketNow) -> Position:
    """Give what cuts have left of an isolated position, what they paid or took as collateral."""
    held, cash = after_cuts(stored, now.book.side(stored.side))
    return replace(held, collateral=UsdcE6(max(0, held.collateral + cash))) if cash else held
