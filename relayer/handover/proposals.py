"""The rows between the halves: proposed, taken, ended; each step one transaction.

    proposed → taken → effective | superseded | expired | failed | signed | unsigned
    proposed → superseded (its proposer came to a newer one) | expired

A row is inserted by the half that decides and ended by the half that signs and sends; only what
nobody has taken may be withdrawn or end by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from relayer.delivery.states import Expired, Failed, FailureReason, Superseded
from relayer.handover.asks import (
    POSTED,
    Answer,
    Ask,
    AskKind,
    decode_ask,
    decode_end,
    encode_ask,
    encode_end,
    end_of,
)
from relayer.storage import Database, proposals

PROPOSED, TAKEN = "proposed", "taken"
_OPEN: Final = (PROPOSED, TAKEN)
NOBODY_CAME: Final = "nobody took it up in time"
NEWER: Final = Superseded(latest_round=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A row that has not ended."""

    id: int
    state: str
    ask: Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """What ended without anybody having taken it up."""

    kind: AskKind
    state: str


class Proposals:
    """The rows as values; one chain's."""

    def __init__(self, database: Database, chain_id: int) -> None:
        self._database = database
        self._chain_id = chain_id

    async def propose(self, asks: Sequence[Ask], now_ms: int) -> tuple[tuple[int, ...], list[Gone]]:
        """Hand asks over, all or none; give their rows, and what ended because of them.

        A newer message with a round takes the place of what its proposer handed over before and
        nobody has taken up: when the other half comes back, it finds the newest only.
        """

        def work(connection: Connection) -> tuple[tuple[int, ...], list[Gone]]:
            gone = _expire(connection, self._chain_id, now_ms)
            for place in {(a.kind, a.place["contract"]) for a in asks if a.kind in POSTED}:
                gone += _withdraw(connection, self._chain_id, place, now_ms)
            return tuple(_row_of(connection, ask, now_ms) for ask in asks), gone

        return await self._database.write(work)

    async def record(self, ask: Ask, answer: Answer | None, now_ms: int) -> None:
        """Write down what was handed over directly, inside one process; again: how it ended."""

        def work(connection: Connection) -> None:
            row = _row_of(connection, ask, now_ms, TAKEN)
            if answer is not None:
                _end(connection, row, answer, now_ms)

        await self._database.write(work)

    async def waiting(self, now_ms: int) -> tuple[tuple[Open, ...], list[Gone]]:
        """Give what is to be done, oldest first, and what came too late; for the other half."""
        rows = await self._database.read(self._found)
        if any(row.state == PROPOSED and row.valid_until_ms < now_ms for row in rows):
            gone = await self.expire(now_ms)
            return (await self.waiting(now_ms))[0], gone
        found = [_open(row) for row in rows]
        foreign = [row.id for row, each in zip(rows, found, strict=True) if each is None]
        if foreign:  # of another version, or no row of ours: nobody here ends it otherwise
            await self._database.write(lambda c: _end_foreign(c, foreign, now_ms))
        return tuple(each for each in found if each is not None), []

    async def take(self, row: Open) -> bool:
        """Take one up; False where it was withdrawn or expired meanwhile."""
        statement = (
            sa.update(proposals)
            .where(proposals.c.id == row.id, proposals.c.state.in_(_OPEN))
            .values(state=TAKEN)
        )
        return await self._database.write(lambda c: c.execute(statement).rowcount == 1)

    async def end(self, row: Open, answer: Answer, now_ms: int) -> None:
        """Write how one ended; whoever waits for it reads it there."""
        await self._database.write(lambda c: _end(c, row.id, answer, now_ms))

    async def answers(self, rows: Sequence[int], asks: Sequence[Ask]) -> list[Answer | None]:
        """Give how rows ended; None for those that have not."""
        query = sa.select(proposals).where(proposals.c.id.in_(rows))
        found = {row.id: row for row in await self._database.read(lambda c: c.execute(query).all())}
        return [
            None
            if found[row].state in _OPEN
            else decode_end(ask, found[row].state, found[row].answer)
            for row, ask in zip(rows, asks, strict=True)
        ]

    async def any_taken(self, rows: Sequence[int]) -> bool:
        """Tell whether somebody is at work on any of these rows."""
        query = sa.select(sa.func.count()).where(
            proposals.c.id.in_(rows), proposals.c.state == TAKEN
        )
        return bool(await self._database.read(lambda c: c.scalar(query)))

    async def expire(self, now_ms: int) -> list[Gone]:
        """End what nobody took up in time."""
        return await self._database.write(lambda c: _expire(c, self._chain_id, now_ms))

    async def highest_round(self, contract: str) -> int:
        """Give the highest round that was ever handed over for a contract; 0 when none."""
        query = sa.select(sa.func.max(proposals.c.round)).where(
            proposals.c.chain_id == self._chain_id, proposals.c.contract == contract
        )
        return await self._database.read(lambda c: c.scalar(query)) or 0

    def _found(self, connection: Connection) -> list[Row[Any]]:
        query = (
            sa.select(proposals)
            .where(proposals.c.state.in_(_OPEN), proposals.c.chain_id == self._chain_id)
            .order_by(proposals.c.id)
        )
        return list(connection.execute(query).all())


def _open(row: Row[Any]) -> Open | None:
    ask = decode_ask(row.body)
    return None if ask is None else Open(id=row.id, state=row.state, ask=ask)


def _row_of(connection: Connection, ask: Ask, now_ms: int, state: str = PROPOSED) -> int:
    """Insert an ask, or find it where it is there already."""
    same = sa.and_(*(proposals.c[name] == value for name, value in ask.place.items()))
    found = connection.execute(sa.select(proposals.c.id).where(same)).scalar()
    if found is not None:
        return int(found)
    values = ask.place | {
        "round": ask.round,
        "valid_until_ms": ask.valid_until_ms,
        "body": encode_ask(ask),
        "state": state,
        "answer": {},
        "proposed_at_ms": now_ms,
    }
    key = connection.execute(sa.insert(proposals).values(values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _end(connection: Connection, row: int, answer: Answer, now_ms: int) -> None:
    connection.execute(
        sa.update(proposals)
        .where(proposals.c.id == row, proposals.c.state.in_(_OPEN))
        .values(state=end_of(answer), answer=encode_end(answer), ended_at_ms=now_ms, body=b"")
    )


def _end_foreign(connection: Connection, rows: Sequence[int], now_ms: int) -> None:
    detail = "this version cannot read it: let both halves be of one version"
    for row in rows:
        failed = Failed(reason=FailureReason.NOT_SENT_HERE, detail=detail)
        _end(connection, row, failed, now_ms)


def _expire(connection: Connection, chain_id: int, now_ms: int) -> list[Gone]:
    overdue = sa.and_(
        proposals.c.chain_id == chain_id,
        proposals.c.state == PROPOSED,
        proposals.c.valid_until_ms < now_ms,
    )
    return _end_all(connection, overdue, Expired(detail=NOBODY_CAME), now_ms)


def _withdraw(
    connection: Connection, chain_id: int, place: tuple[AskKind, str], now_ms: int
) -> list[Gone]:
    older = sa.and_(
        proposals.c.chain_id == chain_id,
        proposals.c.kind == place[0].value,
        proposals.c.contract == place[1],
        proposals.c.state == PROPOSED,
    )
    return _end_all(connection, older, NEWER, now_ms)


def _end_all(
    connection: Connection, which: sa.ColumnElement[bool], answer: Answer, now_ms: int
) -> list[Gone]:
    """End rows that nobody has taken; one that is taken at this moment is left to who took it."""
    ended = (
        sa.update(proposals)
        .where(which)
        .values(state=end_of(answer), answer=encode_end(answer), ended_at_ms=now_ms, body=b"")
        .returning(proposals.c.kind)
    )
    return [
        Gone(kind=AskKind(kind), state=end_of(answer)) for kind in connection.scalars(ended).all()
    ]
