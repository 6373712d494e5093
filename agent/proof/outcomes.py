"""What became of positions and accounts, as rows that the heads of risk are trained on.

Of isolated positions on the board of warnings: distance, forecast deviation and whether they were
liquidated within each horizon. Of accounts: what was known of them 30 days before the newest event,
in the columns of the simulated population, and whether they were liquidated since. Rows that cannot
be true are left out and named; a journal is only read.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from agent.proof.journals import open_journal
from agent.quoting.history import trades_from
from contracts.book_words import Account, decode_flow
from models.accounts import (
    HORIZON_MS,
    account_table,
    liquidated_within,
)
from models.heads import HORIZONS_S
from models.liquidation import LONG, SHORT, PassageRows
from models.population import Trades
from models.recorded_risks import (
    NAME,
    RecordedAccounts,
    RecordedRisks,
    checked,
    together,
)
from models.samples import Recorded
from relayer.chain.index import Index
from relayer.chain.index_ledger import FLOW, Table
from relayer.chain.index_lives import COUNT_SLOT, OPEN, SLOT_BITS, TRADES_KEPT, PastTrade
from relayer.chain.index_store import IndexStore
from relayer.outcomes import MS, Outcomes, Watched
from relayer.storage import index_rows

Owner = tuple[int, str]


def recorded_risks(urls: Sequence[str], before_ms: int) -> Recorded:
    """Read journals, each the URL of a database or the path of a SQLite file, up to an instant.

    Journals of one engine are one record: a position that two daemons watched counts once.

    Raises
    ------
    DatasetError
        When too many rows are bad (`models.recorded_risks.checked`).
    """
    settled: dict[Owner, dict[tuple[str, int], Watched]] = {}
    indices: dict[Owner, Index] = {}
    for url in urls:
        for owner, (rows, index) in _read(url).items():
            settled.setdefault(owner, {}).update({(row.watched_as, row.at_ms): row for row in rows})
            if owner not in indices or newest_s(indices[owner]) < newest_s(index):
                indices[owner] = index
    parts = [
        _risks_of(list(settled[owner].values()), indices[owner], before_ms)
        for owner in sorted(settled)
    ]
    count = sum(len(each) for each in settled.values()) + sum(len(p.accounts) for p in parts)
    risks = checked(together(parts).before(before_ms), count)
    return Recorded(name=NAME, sha256=risks.sha256, risks=risks)


def passage_rows(settled: Iterable[Watched]) -> dict[tuple[int, int], PassageRows]:
    """Lay isolated positions out by horizon and side.

    One that was closed before a horizon's end, and before it was liquidated, says nothing of it and
    is left out; so is one that was liquidatable already. Of one position, looks are a horizon
    apart, so that no outcome is counted twice.
    """
    rows = [each for each in settled if not each.facts["is_cross"] and each.facts["distance"] > 0.0]
    rows.sort(key=lambda each: (each.watched_as, each.at_ms))
    found = {}
    for place, horizon_s in enumerate(HORIZONS_S):
        for side in (LONG, SHORT):
            known = [
                each for each in rows if each.facts["side"] == side and _is_known(each, horizon_s)
            ]
            found[horizon_s, side] = _passages(_apart(known, horizon_s), place, horizon_s)
    return found


def fault_of(row: Watched) -> str | None:
    """Say what cannot be true of a row; None where nothing is wrong."""
    facts = row.facts
    where = f"position_watches {row.watched_as} at {row.at_ms}:"
    missing = {"is_cross", "side", "distance", "deviations"} - facts.keys()
    if missing:
        return f"{where} {', '.join(sorted(missing))} not there"
    if facts["side"] not in (LONG, SHORT):
        return f"{where} side is {facts['side']}, neither 1 nor -1"
    spans = facts["deviations"]
    if not isinstance(spans, list) or len(spans) != len(HORIZONS_S):
        return f"{where} not one deviation for each of {len(HORIZONS_S)} horizons"
    if not all(_is_number(each) and each > 0.0 for each in spans):
        return f"{where} a deviation is not a number above 0"
    if not _is_number(facts["distance"]):
        return f"{where} the distance is not a number"
    ends = [each for each in (row.liquidated_s, row.closed_s) if each is not None]
    if any(each < row.at_ms // MS for each in ends):
        return f"{where} it ended before it was looked at"
    return None


def account_rows(
    index: Index, before_ms: int | None = None
) -> tuple[RecordedAccounts, tuple[str, ...]]:
    """Describe every account as it was known 30 days before the newest event, and label it.

    With `before_ms`, nothing later is looked at. An account that had not traded by then is left
    out; so is one with more trades than are kept: what it had done is not known any more. Accounts
    whose trades cannot be true are named.
    """
    newest_ms = newest_s(index) * MS
    look_ms = (newest_ms if before_ms is None else min(newest_ms, before_ms)) - HORIZON_MS
    whole = [
        (account, index.trades_of(account))
        for account in _traders(index)
        if _is_whole(index, account)
    ]
    known = [
        (account, trades)
        for account, trades in whole
        if any(t.opened_s * MS <= look_ms for t in trades)
    ]
    bad = [account for account, trades in known if not _is_sane(trades)]
    histories = [trades for _, trades in known if _is_sane(trades)]
    parts = [
        replace(each, account=np.full(len(each), number, dtype=np.int64))
        for number, each in enumerate(map(trades_from, histories))
    ]
    numbers = np.arange(len(histories), dtype=np.int64)
    trades = _joined(parts) if parts else trades_from(())
    accounts = RecordedAccounts(
        table=account_table(trades, numbers, look_ms),
        liquidated=liquidated_within(trades, numbers, look_ms),
        as_of_ms=np.full(len(numbers), look_ms, dtype=np.int64),
    )
    words = "a trade's leverage or maintenance is 0, or it ends before it begins"
    return accounts, tuple(f"account 0x{each:040x}: {words}" for each in bad)


def newest_s(index: Index) -> int:
    """Give the time of the newest event that the index has of any market."""
    rows = index.ledger.tables[Table.MARKET].values()
    return max((decode_flow(row[FLOW]).at_s for row in rows), default=0)


def _read(url: str) -> dict[Owner, tuple[tuple[Watched, ...], Index]]:
    """Read a journal's watched positions and index, by engine."""

    async def read() -> dict[Owner, tuple[tuple[Watched, ...], Index]]:
        database = open_journal(url)
        try:
            columns = (index_rows.c.chain_id, index_rows.c.contract)
            query = sa.select(*columns).distinct().order_by(*columns)
            owners = await database.read(lambda c: c.execute(query).all())
            found = {}
            for each in owners:
                settled = await Outcomes(database, each.chain_id, each.contract, "").settled()
                index = Index(await IndexStore(database, each.chain_id, each.contract).load())
                found[each.chain_id, each.contract] = (settled, index)
            return found
        finally:
            await database.close()

    return asyncio.run(read())


def _risks_of(settled: Sequence[Watched], index: Index, before_ms: int) -> RecordedRisks:
    """Check one engine's rows, and lay out those that can be true."""
    faults = {id(row): fault_of(row) for row in settled}
    accounts, bad = account_rows(index, before_ms)
    return RecordedRisks(
        passages=passage_rows(row for row in settled if faults[id(row)] is None),
        accounts=accounts,
        refused=(*sorted(each for each in faults.values() if each is not None), *bad),
    )


def _apart(rows: Sequence[Watched], horizon_s: int) -> list[Watched]:
    """Keep looks at one position that are a horizon apart; rows are in the order of time."""
    kept: list[Watched] = []
    for row in rows:
        last = kept[-1] if kept and kept[-1].watched_as == row.watched_as else None
        if last is None or row.at_ms - last.at_ms >= horizon_s * MS:
            kept.append(row)
    return kept


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _is_sane(trades: Sequence[PastTrade]) -> bool:
    """Tell whether an account's trades can be true."""
    return all(
        each.leverage_e2 > 0
        and each.maintenance_ppm > 0
        and (each.end == OPEN or each.closed_s >= each.opened_s)
        for each in trades
    )


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


def _real(values: Sequence[float | bool]) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)
