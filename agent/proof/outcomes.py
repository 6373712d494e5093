"""What became of positions and accounts, as rows that the heads of risk are trained on.

Of isolated positions on the board of warnings: distance, forecast deviation and whether they were
liquidated within each horizon. Of accounts: what was known of them 30 days before the newest event,
in the columns of the simulated population, and whether they were liquidated since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from agent.quoting.history import trades_from
from contracts.book_words import Account, decode_flow
from models.accounts import (
    HORIZON_MS,
    AccountTable,
    account_table,
    liquidated_within,
)
from models.heads import HORIZONS_S
from models.liquidation import PassageRows
from models.population import Trades
from relayer.chain.index import Index
from relayer.chain.index_ledger import FLOW, Table
from relayer.chain.index_lives import COUNT_SLOT, SLOT_BITS, TRADES_KEPT
from relayer.chain.index_store import IndexStore
from relayer.outcomes import MS, Outcomes, Watched
from relayer.storage import Database, index_rows

LONG, SHORT = 1, -1
LEAST_LIQUIDATIONS: Final = 50
"""Of each side and horizon, and as many survivals: with fewer, a fit says more of chance."""
LEAST_ACCOUNTS: Final = 200
"""And 50 of them liquidated, 50 not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRows:
    """A journal's rows for both heads; `passages` by horizon in seconds and side."""

    passages: Mapping[tuple[int, int], PassageRows]
    accounts: AccountTable
    liquidated: NDArray[np.float64]

    def lines(self) -> tuple[str, ...]:
        """Say how many rows there are, and what they are enough for."""
        said = [
            f"{horizon_s // 60} min {'long' if side == LONG else 'short'}: "
            f"{_counted(rows.hit, LEAST_LIQUIDATIONS, 'positions')}"
            for (horizon_s, side), rows in sorted(self.passages.items())
        ]
        return (*said, f"accounts: {_counted(self.liquidated, LEAST_ACCOUNTS, 'accounts')}")


def read_outcome_rows(url: str) -> tuple[OutcomeRows, ...]:
    """Read a journal: the URL of a database, or the path of a SQLite file; one item an engine."""

    async def read() -> tuple[OutcomeRows, ...]:
        database = Database.open(url if "://" in url else f"sqlite:///{url}")
        try:
            columns = (index_rows.c.chain_id, index_rows.c.contract)
            query = sa.select(*columns).distinct().order_by(*columns)
            owners = await database.read(lambda c: c.execute(query).all())
            return tuple([await _of(database, each.chain_id, each.contract) for each in owners])
        finally:
            await database.close()

    return asyncio.run(read())


def passage_rows(settled: Iterable[Watched]) -> dict[tuple[int, int], PassageRows]:
    """Lay isolated positions out by horizon and side.

    One that was closed before a horizon's end, and before it was liquidated, says nothing of it and
    is left out; so is one that was liquidatable already.
    """
    rows = [each for each in settled if not each.facts["is_cross"] and each.facts["distance"] > 0.0]
    found = {}
    for place, horizon_s in enumerate(HORIZONS_S):
        for side in (LONG, SHORT):
            known = [
                each for each in rows if each.facts["side"] == side and _is_known(each, horizon_s)
            ]
            found[horizon_s, side] = _passages(known, place, horizon_s)
    return found


def account_rows(index: Index) -> tuple[AccountTable, NDArray[np.float64]]:
    """Describe every account as it was known 30 days before the newest event, and label it.

    An account that had not traded by then is left out; so is one with more trades than are kept:
    what it had done is not known any more.
    """
    look_ms = newest_s(index) * MS - HORIZON_MS
    whole = (index.trades_of(account) for account in _traders(index) if _is_whole(index, account))
    histories = [trades for trades in whole if any(t.opened_s * MS <= look_ms for t in trades)]
    parts = [
        replace(each, account=np.full(len(each), number, dtype=np.int64))
        for number, each in enumerate(map(trades_from, histories))
    ]
    numbers = np.arange(len(histories), dtype=np.int64)
    together = _joined(parts) if parts else trades_from(())
    table = account_table(together, numbers, look_ms)
    return table, liquidated_within(together, numbers, look_ms)


def newest_s(index: Index) -> int:
    """Give the time of the newest event that the index has of any market."""
    rows = index.ledger.tables[Table.MARKET].values()
    return max((decode_flow(row[FLOW]).at_s for row in rows), default=0)


async def _of(database: Database, chain_id: int, engine: str) -> OutcomeRows:
    settled = await Outcomes(database, chain_id, engine, "").settled()
    index = Index(await IndexStore(database, chain_id, engine).load())
    table, liquidated = account_rows(index)
    return OutcomeRows(passages=passage_rows(settled), accounts=table, liquidated=liquidated)


def _is_known(row: Watched, horizon_s: int) -> bool:
    """Tell whether a row says what followed within a horizon."""
    if row.closed_s is None or row.closed_s > row.at_ms // MS + horizon_s:
        return True
    return row.liquidated_s is not None and row.liquidated_s <= row.closed_s


def _passages(rows: Sequence[Watched], place: int, horizon_s: int) -> PassageRows:
    ends = [each.liquidated_s for each in rows]
    hit = [
        end is not None and end <= each.at_ms // MS + horizon_s
        for end, each in zip(ends, rows, strict=True)
    ]
    return PassageRows(
        distance=_real([each.facts["distance"] for each in rows]),
        deviation=_real([each.facts["deviations"][place] for each in rows]),
        hit=_real(hit),
        as_of_ms=np.array([each.at_ms for each in rows], dtype=np.int64),
    )


def _traders(index: Index) -> list[Account]:
    """Name every account that ever ended a trade or holds a position, in one order."""
    ended = {key >> SLOT_BITS for key in index.ledger.tables[Table.TRADE]}
    held = {identity >> 24 for identity in index.positions()}
    return [Account(each) for each in sorted(ended | held)]


def _is_whole(index: Index, account: Account) -> bool:
    """Tell whether all trades of an account are still known."""
    count = index.ledger.get(Table.TRADE, account << SLOT_BITS | COUNT_SLOT)
    return not count or count[0] <= TRADES_KEPT


def _joined(parts: Sequence[Trades]) -> Trades:
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(each, name) for each in parts])
        for name in Trades.__dataclass_fields__
        if name != "origin"
    }
    return Trades(origin=parts[0].origin, **columns)


def _counted(hit: NDArray[np.float64], least: int, what: str) -> str:
    dead = int(hit.sum())
    enough = len(hit) >= least and min(dead, len(hit) - dead) >= LEAST_LIQUIDATIONS
    verdict = "enough to learn from" if enough else "too few to learn from"
    return f"{len(hit)} {what}, {dead} liquidated: {verdict}"


def _real(values: Sequence[float | bool]) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)
