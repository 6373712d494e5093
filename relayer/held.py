"""Decisions that wait for a person: what each would do, who released it, and how it ended.

A row is one market's item. It is awaiting until somebody approves it, then approved until a cycle
posts it; whatever it was bound to may make it void before. Nothing is ever deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from relayer.storage import Database, held_decisions

HeldState = Literal["awaiting", "approved", "used", "void", "expired"]
OPEN: Final = ("awaiting", "approved")
WORD: Final = "{:#066x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldDecision:
    """One item that was held back.

    `word` is what would be posted, `live` what the chain held then; `impact` counts what it would
    do, `detail` says it. `number` 0: not written yet.
    """

    market: int
    symbol: str
    word: int
    live: int
    impact: Mapping[str, int]
    detail: str
    held_at_ms: int
    expires_at_ms: int
    number: int = 0
    state: HeldState = "awaiting"
    decided_by: str = ""
    decided_at_ms: int | None = None
    why: str = ""
    ended_at_ms: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a held decision ended: posted, void or too late."""

    number: int
    state: HeldState
    reason: str


class HeldDecisions:
    """The rows of one deployment as values; the table is `relayer.storage`'s."""

    def __init__(self, database: Database, chain_id: int, contract: str) -> None:
        self._database = database
        self._place = {"chain_id": chain_id, "contract": contract}

    async def waiting(self) -> tuple[HeldDecision, ...]:
        """Return what is awaiting approval or approved, oldest first."""
        query = self._mine().where(held_decisions.c.state.in_(OPEN)).order_by(held_decisions.c.id)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return tuple(_held(row) for row in rows)

    async def recent(self, limit: int) -> tuple[HeldDecision, ...]:
        """Return the newest, whatever became of them, newest first."""
        query = self._mine().order_by(held_decisions.c.id.desc()).limit(limit)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return tuple(_held(row) for row in rows)

    async def settle(
        self, held: Sequence[HeldDecision], ended: Sequence[Ended], at_ms: int
    ) -> None:
        """Append what is newly held, and end what is over; together or not at all."""
        values = [self._columns(each) for each in held]

        def work(connection: Connection) -> None:
            for each in ended:
                statement = (
                    sa.update(held_decisions)
                    .where(held_decisions.c.id == each.number, held_decisions.c.state.in_(OPEN))
                    .values(state=each.state, reason=each.reason, ended_at_ms=at_ms)
                )
                connection.execute(statement)
            if values:
                connection.execute(sa.insert(held_decisions), values)

        if values or ended:
            await self._database.write(work)

    async def approve(self, number: int, by: str, why: str, at_ms: int) -> HeldDecision | str:
        """Release one that is awaiting approval, and write down who did, when and why.

        Or say in a sentence why it cannot be approved.
        """
        one = (held_decisions.c.id == number) & self._here()
        timely = held_decisions.c.expires_at_ms >= at_ms
        awaiting = (held_decisions.c.state == "awaiting") & timely
        statement = (
            sa.update(held_decisions)
            .where(one & awaiting)
            .values(state="approved", decided_by=by, decided_at_ms=at_ms, why=why)
        )
        query = sa.select(held_decisions).where(one)

        def work(connection: Connection) -> tuple[int, Row[Any] | None]:
            done = connection.execute(statement).rowcount
            return done, connection.execute(query).first()

        done, row = await self._database.write(work)
        if row is None:
            return f"no decision number {number} was held here; see aml approve --list"
        found = _held(row)
        return found if done else f"number {number} cannot be approved: {_over(found, at_ms)}"

    def _here(self) -> sa.ColumnElement[bool]:
        return sa.and_(
            held_decisions.c.chain_id == self._place["chain_id"],
            held_decisions.c.contract == self._place["contract"],
        )

    def _mine(self) -> sa.Select[Any]:
        return sa.select(held_decisions).where(self._here())

    def _columns(self, held: HeldDecision) -> dict[str, Any]:
        values = {name: getattr(held, name) for name in held.__dataclass_fields__}
        del values["number"]
        words = {"word": WORD.format(held.word), "live": WORD.format(held.live)}
        return {**values, **words, "impact": dict(held.impact), **self._place}


def _over(held: HeldDecision, at_ms: int) -> str:
    """Say why nothing can be approved any more."""
    if held.state == "awaiting":
        return f"it expired {(at_ms - held.expires_at_ms) // 1_000} s ago"
    if held.state == "approved":
        return f"{held.decided_by} has approved it already"
    return f"it is {held.state}: {held.reason}"


def _held(row: Row[Any]) -> HeldDecision:
    fields = row._asdict()
    number = fields.pop("id")
    for name in ("chain_id", "contract"):
        del fields[name]
    words = {name: int(fields[name], 16) for name in ("word", "live")}
    return HeldDecision(**{**fields, **words, "number": number})
