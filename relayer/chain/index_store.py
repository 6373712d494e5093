"""The index on disk: each step writes what it changed, in one transaction, or did not happen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from relayer.chain.index_ledger import Key, Ledger, Mark, Table
from relayer.chain.index_rows import Row
from relayer.outcomes import Liquidated, forget_liquidations, keep_liquidations
from relayer.storage import Database, index_blocks, index_rows

_ROWS_AT_ONCE: Final = 500


class IndexStore:
    """One chain's and one engine's index in the daemon's database."""

    def __init__(self, database: Database, chain_id: int, engine: str) -> None:
        self._database = database
        self._owner = {"chain_id": chain_id, "contract": engine}

    async def load(self) -> Ledger:
        """Give the index where it was left; an empty one on a new database."""

        def work(connection: Connection) -> tuple[Sequence[Any], Sequence[Any]]:
            rows = sa.select(index_rows).where(*self._mine(index_rows))
            blocks = sa.select(index_blocks).where(*self._mine(index_blocks))
            found = connection.execute(rows).all()
            return found, connection.execute(blocks.order_by(index_blocks.c.number)).all()

        rows, blocks = await self._database.read(work)
        ledger = Ledger()
        for row in rows:
            ledger.tables[Table(row.kind)][int(row.key, 16)] = _read_row(row.row)
        ledger.marks.extend(_read_mark(block) for block in blocks)
        return ledger

    async def save(
        self, ledger: Ledger, changed: Iterable[Key], liquidated: Sequence[Liquidated] = ()
    ) -> None:
        """Write the rows that changed as they stand now, and the blocks with a way back.

        Liquidations are kept with them, and those of blocks that are no more go.
        """
        keys = list(dict.fromkeys(changed))
        after = [(key, ledger.tables[key[0]].get(key[1])) for key in keys]
        marks = tuple(ledger.marks)

        def work(connection: Connection) -> None:
            for table, key in keys:
                mine = (index_rows.c.kind == table.value, index_rows.c.key == f"{key:x}")
                connection.execute(sa.delete(index_rows).where(*self._mine(index_rows), *mine))
            rows = (self._row(key, row) for key, row in after if row is not None)
            for page in _pages(rows):
                connection.execute(sa.insert(index_rows), page)
            self._write_marks(connection, marks)
            if marks:
                keep_liquidations(connection, self._owner, liquidated, marks[-1].number)

        await self._database.write(work)

    async def clear(self) -> None:
        """Forget everything: it is read anew."""

        def work(connection: Connection) -> None:
            connection.execute(sa.delete(index_rows).where(*self._mine(index_rows)))
            connection.execute(sa.delete(index_blocks).where(*self._mine(index_blocks)))
            forget_liquidations(connection, self._owner)

        await self._database.write(work)

    def _write_marks(self, connection: Connection, marks: tuple[Mark, ...]) -> None:
        """Bring the stored blocks to these; what is there with the same hash stays as it is."""
        columns = (index_blocks.c.number, index_blocks.c.block_hash)
        stored = connection.execute(sa.select(*columns).where(*self._mine(index_blocks))).all()
        wanted = {(mark.number, mark.block_hash): mark for mark in marks}
        there = {(row.number, bytes(row.block_hash)) for row in stored}
        gone = [number for number, block_hash in there if (number, block_hash) not in wanted]
        for number in gone:
            old = index_blocks.c.number == number
            connection.execute(sa.delete(index_blocks).where(*self._mine(index_blocks), old))
        fresh = (self._mark(mark) for place, mark in wanted.items() if place not in there)
        for page in _pages(fresh):
            connection.execute(sa.insert(index_blocks), page)

    def _mine(self, table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
        return tuple(table.c[name] == value for name, value in self._owner.items())

    def _row(self, key: Key, row: Row) -> dict[str, Any]:
        table, number = key
        return {**self._owner, "kind": table.value, "key": f"{number:x}", "row": _write_row(row)}

    def _mark(self, mark: Mark) -> dict[str, Any]:
        undo = [
            [table.value, f"{key:x}", None if row is None else _write_row(row)]
            for (table, key), row in mark.undo
        ]
        return {
            **self._owner,
            "number": mark.number,
            "block_hash": mark.block_hash,
            "undo": undo,
        }


def _write_row(row: Row) -> str:
    return " ".join(f"{number:x}" for number in row)


def _read_row(text: str) -> Row:
    return tuple(int(number, 16) for number in text.split())


def _read_mark(block: Any) -> Mark:  # noqa: ANN401 -- a row
    return Mark(
        number=block.number,
        block_hash=bytes(block.block_hash),
        undo=tuple(
            ((Table(table), int(key, 16)), None if row is None else _read_row(row))
            for table, key, row in block.undo
        ),
    )


def _pages(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(rows)
    while page := list(islice(remaining, _ROWS_AT_ONCE)):
        yield page
