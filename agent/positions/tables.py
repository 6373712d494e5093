"""What the watch has put into columns: isolated positions of a market, and all cross accounts.

What changed lies apart until it is worth merging: few rows are looked at each time, and a merge
moves arrays, not positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agent.positions.screen import Columns, CrossColumns, Floats, Ladder, objects
from contracts.book_action import after_cuts
from contracts.book_margin import MarketNow
from contracts.book_words import Account, Position, PositionId
from contracts.units import PPM, MarketId, UsdcE6
from relayer.chain.index import Index, cross_identities

Ids = NDArray[np.object_]
Cells = tuple[float, ...]


class MarketTable:
    """One market's isolated positions by side: the sorted ones, and those that changed since."""

    def __init__(self) -> None:
        self._rows: dict[bool, tuple[Ids, Floats]] = {
            long: (objects([]), np.empty((0, 5))) for long in (True, False)
        }
        self._ladders: dict[bool, Ladder] = {}
        self._late: dict[bool, Ladder] = {}
        self._fresh: dict[PositionId, tuple[bool, Cells] | None] = {}
        self._unread: set[PositionId] = set()

    def __len__(self) -> int:
        """How many lie apart."""
        return len(self._fresh) + len(self._unread)

    def take(self, identity: PositionId) -> None:
        """Note that a position is another one now."""
        self._unread.add(identity)

    def reached(self, price: float, index: float) -> list[PositionId]:
        """Give the positions that a price may have reached."""
        found = [
            key
            for ladder in self._ladders.values()
            for key in ladder.reached(price, index)
            if key not in self._fresh
        ]
        late = [key for ladder in self._late.values() for key in ladder.reached(price, index)]
        return [PositionId(key) for key in (*found, *late)]

    def read(self, index: Index, now: MarketNow, bound: float) -> None:
        """Look at what changed, so that `reached` knows it."""
        if not self._unread:
            return
        for identity in self._unread:
            held = isolated_after_cuts(index.position(identity), now)
            self._fresh[identity] = (held.long, cells_of(held)) if held.size else None
        self._unread = set()
        self._sort_late((bound, float(now.index)))

    def merge(self) -> None:
        """Put what changed among the rest; `sort` has to follow."""
        for long, (ids, table) in self._rows.items():
            keep = np.array([key not in self._fresh for key in ids], dtype=bool)
            added = [(key, row[1]) for key, row in self._fresh.items() if row and row[0] == long]
            cells = np.array([row for _, row in added], dtype=np.float64).reshape(len(added), 5)
            names = np.concatenate([ids[keep], objects([key for key, _ in added])])
            self._rows[long] = (names, np.concatenate([table[keep], cells]))
        self._fresh, self._late = {}, {}

    def forget(self) -> None:
        """Read every position anew: cuts have changed them all."""
        every = {PositionId(key) for ids, _ in self._rows.values() for key in ids}
        self._unread |= every | set(self._fresh)

    def sort(self, bound: float, index: float) -> None:
        """Put all into the order in which price reaches them, at a ratio and a funding index."""
        for long, (ids, table) in self._rows.items():
            self._ladders[long] = Ladder(ids, Columns.of(table), (bound, index), long=long)
        self._sort_late((bound, index))

    def _sort_late(self, at: tuple[float, float]) -> None:
        for long in (True, False):
            added = [(key, row[1]) for key, row in self._fresh.items() if row and row[0] == long]
            cells = np.array([row for _, row in added], dtype=np.float64).reshape(len(added), 5)
            names = objects([key for key, _ in added])
            self._late[long] = Ladder(names, Columns.of(cells), at, long=long)


class CrossTable:
    """All cross accounts: their positions as rows, and the accounts that changed since."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self.fresh: set[Account] = set(accounts)
        self._names: list[Account] = []
        self._places: dict[Account, int] = {}
        self._balances: list[float] = []
        self._rows: Floats = np.empty((0, 7))

    @property
    def names(self) -> Sequence[Account]:
        """The accounts by their numbers; of one that changed, only the last has rows."""
        return self._names

    @property
    def columns(self) -> CrossColumns:
        """All rows."""
        return CrossColumns.of(self._rows, np.array(self._balances, dtype=np.float64))

    def merge(self, index: Index, now: Mapping[MarketId, MarketNow]) -> None:
        """Put the accounts that changed among the rest."""
        numbers = {market: number for number, market in enumerate(now)}
        gone = [self._places.pop(account) for account in self.fresh if account in self._places]
        rows: list[Cells] = []
        for account in sorted(self.fresh):
            held = cross_identities(account, index.account(account))
            place = len(self._names)
            rows += [
                (place, numbers[market], *_cross_cells(index.position(identity), now[market]))
                for identity in held
                if (market := MarketId(identity >> 8 & 0xFFFF)) in now
            ]
            if held:
                self._names.append(account)
                self._places[account] = place
                self._balances.append(float(index.account(account).balance))
        keep = ~np.isin(self._rows[:, 0], gone)
        added = np.array(rows, dtype=np.float64).reshape(len(rows), 7)
        self._rows, self.fresh = np.concatenate([self._rows[keep], added]), set()


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


def isolated_after_cuts(stored: Position, now: MarketNow) -> Position:
    """Give what cuts have left of an isolated position, what they paid or took as collateral."""
    held, cash = after_cuts(stored, now.book.side(stored.side))
    return replace(held, collateral=UsdcE6(max(0, held.collateral + cash))) if cash else held


def _cross_cells(stored: Position, now: MarketNow) -> Cells:
    held, cash = after_cuts(stored, now.book.side(stored.side))
    return float(held.side * held.size), float(held.basis), *ratios_of(held), float(cash)
