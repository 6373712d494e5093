"""What each cycle did and what became of each decision: the record that outlives the logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from relayer.chain.values import SkippedItem
from relayer.storage import Database, cycles, decisions

DecisionKind = Literal["price", "risk", "action"]
TurnKind = Literal["price", "risk", "keeper"]

# A decision that no signer put its name to and that never reached the outbox: its round is free.
UNSIGNED: Final = "unsigned"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldEntry:
    """Why nothing was done for a market, or for the whole cycle when `market` is None."""

    market: int | None
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleEntry:
    """One turn of a loop, with everything it held back."""

    kind: TurnKind
    started_at_ms: int
    finished_at_ms: int
    result: str
    round: int | None = None
    block_number: int | None = None
    holds: tuple[HoldEntry, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionEntry:
    """A decision by its hashes, and how far it came."""

    kind: DecisionKind
    chain_id: int
    contract: str
    round: int
    decided_at_ms: int
    message_hash: bytes
    evidence_hash: bytes
    model_hash: bytes | None = None
    state: str = "planned"
    tx_hash: bytes | None = None
    block_number: int | None = None
    skipped: tuple[SkippedItem, ...] = ()
    reason: str = ""


class Journal:
    """The journal's rows as values; the tables are `relayer.storage`'s."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record_cycle(self, entry: CycleEntry) -> int:
        """Append a cycle and return its number."""
        values = _columns(entry) | {
            "holds": [
                {"market": h.market, "reason": h.reason, "detail": h.detail} for h in entry.holds
            ]
        }
        return await self._database.write(lambda c: _insert(c, cycles, values))

    async def recent_cycles(self, limit: int) -> tuple[CycleEntry, ...]:
        """Return the newest cycles, newest first."""
        query = sa.select(cycles).order_by(cycles.c.id.desc()).limit(limit)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return tuple(_cycle(row) for row in rows)

    async def record_decision(self, entry: DecisionEntry) -> int:
        """Append a decision; the same message cannot be recorded twice (`IntegrityError`).

        Only where nobody had signed it: its round is free, so it may be proposed once more.
        """
        values = _columns(entry) | {"skipped": _skipped_json(entry.skipped)}

        def work(connection: Connection) -> int:
            again = _same_message(entry) & (decisions.c.state == UNSIGNED)
            connection.execute(sa.delete(decisions).where(again))
            return _insert(connection, decisions, values)

        return await self._database.write(work)

    async def settle_decision(self, entry: DecisionEntry) -> None:
        """Write how far a recorded decision came."""
        statement = (
            sa.update(decisions)
            .where(_same_message(entry))
            .values(
                state=entry.state,
                tx_hash=entry.tx_hash,
                block_number=entry.block_number,
                skipped=_skipped_json(entry.skipped),
                reason=entry.reason,
            )
        )
        await self._database.write(lambda c: c.execute(statement))

    async def unsettle_decision(self, chain_id: int, contract: str, message_hash: bytes) -> None:
        """Take back how a decision ended: its block was rolled back, and it is under way again."""
        statement = (
            sa.update(decisions)
            .where(
                decisions.c.chain_id == chain_id,
                decisions.c.contract == contract,
                decisions.c.message_hash == message_hash,
            )
            .values(state="planned", tx_hash=None, block_number=None, reason="rolled back")
        )
        await self._database.write(lambda c: c.execute(statement))

    async def decisions_of_round(
        self, chain_id: int, contract: str, round_: int
    ) -> tuple[DecisionEntry, ...]:
        """Return every decision that was made for a round (more than one after an expiry)."""
        query = (
            sa.select(decisions)
            .where(
                decisions.c.chain_id == chain_id,
                decisions.c.contract == contract,
                decisions.c.round == round_,
            )
            .order_by(decisions.c.id)
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return tuple(_decision(row) for row in rows)

    async def highest_round(self, chain_id: int, contract: str) -> int:
        """Return the highest round that is spent for a contract; 0 when none."""
        query = sa.select(sa.func.max(decisions.c.round)).where(_spent(chain_id, contract))
        highest: int | None = await self._database.read(lambda c: c.scalar(query))
        return highest or 0

    async def spent_rounds(self, chain_id: int, contract: str, above: int) -> tuple[int, ...]:
        """Return the rounds above one that are not to be used again, in order.

        A round is spent once some signer has signed it or it has reached the outbox: what was
        signed and never landed is remembered by its signers.
        """
        query = (
            sa.select(decisions.c.round)
            .where(_spent(chain_id, contract), decisions.c.round > above)
            .distinct()
            .order_by(decisions.c.round)
        )
        return tuple(await self._database.read(lambda c: c.scalars(query).all()))

    async def decision_of_transaction(self, tx_hash: bytes) -> DecisionEntry | None:
        """Return the decision that a transaction carried."""
        query = sa.select(decisions).where(decisions.c.tx_hash == tx_hash)
        row = await self._database.read(lambda c: c.execute(query).first())
        return None if row is None else _decision(row)

    async def recent_decisions(
        self, limit: int, kind: DecisionKind | None = None
    ) -> tuple[DecisionEntry, ...]:
        """Return the newest decisions, newest first, of one kind or of all."""
        query = sa.select(decisions).order_by(decisions.c.id.desc()).limit(limit)
        if kind is not None:
            query = query.where(decisions.c.kind == kind)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return tuple(_decision(row) for row in rows)

    async def unsettled_decisions(self) -> tuple[DecisionEntry, ...]:
        """Return the decisions whose outcome was never written: work for the start after a kill."""
        query = sa.select(decisions).where(decisions.c.state == "planned").order_by(decisions.c.id)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return tuple(_decision(row) for row in rows)


def _columns(entry: CycleEntry | DecisionEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__dataclass_fields__}


def _same_message(entry: DecisionEntry) -> sa.ColumnElement[bool]:
    return sa.and_(
        decisions.c.chain_id == entry.chain_id,
        decisions.c.contract == entry.contract,
        decisions.c.message_hash == entry.message_hash,
    )


def _spent(chain_id: int, contract: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        decisions.c.chain_id == chain_id,
        decisions.c.contract == contract,
        decisions.c.state != UNSIGNED,
    )


def _insert(connection: Connection, table: sa.Table, values: dict[str, Any]) -> int:
    key = connection.execute(sa.insert(table).values(values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _skipped_json(skipped: tuple[SkippedItem, ...]) -> list[dict[str, int | str]]:
    return [{"market": i.market, "code": i.code, "reason": i.reason} for i in skipped]


def _cycle(row: Row[Any]) -> CycleEntry:
    fields = row._asdict()
    del fields["id"]
    return CycleEntry(**fields | {"holds": tuple(HoldEntry(**hold) for hold in fields["holds"])})


def _decision(row: Row[Any]) -> DecisionEntry:
    fields = row._asdict()
    del fields["id"]
    skipped = tuple(SkippedItem(**item) for item in fields["skipped"])
    return DecisionEntry(**fields | {"skipped": skipped})
