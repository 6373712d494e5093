"""What the margin contracts store, kept from their events, with a way back for recent blocks.

Rows of numbers in tables: what a block changed is noted with what stood there before, so that a
block that the chain has dropped is taken back exactly, and one transaction writes what is new.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from contracts.margin_sides import NO_CUT
from relayer.chain.index_rows import Field, PackedRows, Row

Key: TypeAlias = tuple["Table", int]

BLOCKS_KEPT: Final = 256
"""Blocks with a way back; a chain that drops more of them is read anew."""
CUT_BITS: Final = 16  # of a cut's key: its number; above it the side and the market
DEPOSIT, REDEEM = 0, 1
POOL, INSURANCE = 1, 2


class Table(StrEnum):
    """Which contract's storage a row is of; the value is what the database has."""

    ACCOUNT = "account"  # word, balance
    POSITION = "position"  # three words
    MARKET = "market"  # sizes, long sum, short sum, flow, rules, settlement price, pot
    CUT = "cut"  # keep, cash
    REQUEST = "request"  # its 15 fields
    POOL = "pool"  # assets, insurance, pending, shares, insurance shares
    LIQUIDITY = "liquidity"  # kind, owner, tranche, amount, ready at
    LIFE = "life"  # of an open position: opened at, notional, leverage, ratio, side
    TRADE = "trade"  # of an account: the newest that ended (index_lives.py)


SIZES, LONG_SUM, SHORT_SUM, FLOW, RULES, SETTLEMENT, POT = range(7)
ASSETS, INSURED, PENDING, SHARES, INSURANCE_SHARES = range(5)
_EMPTY: Final[Mapping[Table, Row]] = {
    Table.ACCOUNT: (0, 0),
    Table.POSITION: (0, 0, 0),
    Table.MARKET: (0,) * 7,
    Table.CUT: (NO_CUT.keep_e27, NO_CUT.cash),
    Table.POOL: (0,) * 5,
}


_WORD: Final = Field(size=32)
_POSITION: Final = (_WORD, _WORD, Field(size=16))
_ACCOUNT: Final = (_WORD, Field(size=16, signed=True))
_LIFE: Final = (*(Field(size=8), Field(size=16)), *(Field(size=4),) * 2, Field(size=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A block that the ledger has come to, and what it would have to put back."""

    number: int
    block_hash: bytes
    undo: tuple[tuple[Key, Row | None], ...]


class Ledger:
    """The tables and the recent blocks; it never asks the chain.

    What there is one of for each position or account is packed.
    """

    def __init__(self) -> None:
        self.positions, self.accounts = PackedRows(_POSITION), PackedRows(_ACCOUNT)
        self.tables: dict[Table, MutableMapping[int, Row]] = {table: {} for table in Table}
        self.tables[Table.POSITION], self.tables[Table.ACCOUNT] = self.positions, self.accounts
        self.tables[Table.LIFE] = PackedRows(_LIFE)
        self.marks: list[Mark] = []
        self._undo: dict[Key, Row | None] = {}
        self.touched: dict[int, int] = {}  # sizes after cuts, until the position is stored

    def get(self, table: Table, key: int) -> Row:
        """Give a row; the empty one of its table where nothing was ever stored."""
        return self.tables[table].get(key, _EMPTY.get(table, ()))

    def put(self, table: Table, key: int, row: Row | None) -> None:
        """Store a row, or drop it, and note what stood there."""
        rows = self.tables[table]
        self._undo.setdefault((table, key), rows.get(key))
        if row is None or row == _EMPTY.get(table):
            rows.pop(key, None)
        else:
            rows[key] = row

    def end_block(self, number: int, block_hash: bytes) -> Mark:
        """Close a block whose events were all taken in; give what changed."""
        mark = Mark(number=number, block_hash=block_hash, undo=tuple(self._undo.items()))
        self._undo, self.touched = {}, {}
        self.marks.append(mark)
        del self.marks[:-BLOCKS_KEPT]
        return mark

    def drop_block(self) -> tuple[Key, ...]:
        """Take back the newest block; give the rows that changed."""
        mark = self.marks.pop()
        for (table, key), row in mark.undo:
            if row is None:
                self.tables[table].pop(key, None)
            else:
                self.tables[table][key] = row
        return tuple(key for key, _ in mark.undo)


def cut_key(market: int, long: int, number: int) -> int:
    """Name a cut of a market's side."""
    return (market << 1 | long) << CUT_BITS | number
