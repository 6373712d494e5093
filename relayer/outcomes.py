"""What became of positions: liquidations with what went before them, and everybody who was watched.

Facts are written with the index, in its transaction, and are taken back with its blocks. The joins
come later, once each; a row whose block the chain dropped is gone with all that was joined to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from relayer.storage import (
    Database,
    chance_tests,
    decisions,
    liquidation_outcomes,
    liquidations_due,
    notices,
    position_watches,
)

DAY_S: Final = 86_400
MS: Final = 1_000
KEPT_MS: Final = 400 * DAY_S * MS  # of what was watched; liquidations stay
WARNING: Final = "%, liquidation at %"  # suggestions are in the same table, and warn of nothing
LIQUIDATION, DELEVERAGE = "liquidation", "deleverage"
"""Both are the same event; a consented deleverage takes no penalty and leaves no shortfall."""
Owner = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidated:
    """One liquidation as its event and the position's life tell it.

    `facts`: kind, account, market, mode, side, size, price, notional, leverage_e2, maintenance_ppm
    and opened_s; numbers past 64 bits are text.
    """

    block_number: int
    log_index: int
    block_hash: bytes
    position: str
    watched_as: str
    at_s: int
    facts: Mapping[str, int | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A liquidation, since when it was due, and the decision, warning and look before it.

    `due_*` is the first block at which a turn saw it liquidatable by the chain's prices, None where
    none did. `risk_round` is the journal's newest effective decision that did not skip the market.
    """

    liquidated: Liquidated
    due_block: int | None
    due_s: int | None
    risk_round: int | None
    risk_message: bytes | None
    warned_level: int | None
    warned_at_ms: int | None
    watch: Mapping[str, Any] | None

    @property
    def late_s(self) -> int | None:
        """Seconds from when it was due."""
        return None if self.due_s is None else self.liquidated.at_s - self.due_s

    @property
    def late_blocks(self) -> int | None:
        """Blocks from when it was due."""
        return None if self.due_block is None else self.liquidated.block_number - self.due_block

    @property
    def lead_s(self) -> int | None:
        """Seconds from the first warning of the day before it."""
        at_ms = self.warned_at_ms
        return None if at_ms is None else self.liquidated.at_s - at_ms // MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """How a position or cross account stood after a cycle, and what became of it within a day.

    `facts`: model, account, market, is_cross, side, level, distance, deviations and chances.
    """

    watched_as: str
    at_ms: int
    facts: Mapping[str, Any]
    liquidated_s: int | None = None
    closed_s: int | None = None


def keep_liquidations(
    connection: Connection, owner: Owner, facts: Sequence[Liquidated], newest: int
) -> None:
    """Write what is not there yet, and drop what lies above the newest block of the index."""
    for table in (liquidation_outcomes, liquidations_due):
        above = table.c.block_number > newest
        connection.execute(sa.delete(table).where(*_mine(table, owner), above))
    for each in facts:
        table = liquidation_outcomes
        place = (table.c.block_number == each.block_number, table.c.log_index == each.log_index)
        mine = (*_mine(table, owner), *place)
        if connection.scalar(sa.select(table.c.at_s).where(*mine)) is None:
            values = {name: getattr(each, name) for name in each.__dataclass_fields__}
            due = _due(connection, owner, each.position)
            connection.execute(sa.insert(table).values(**owner, **values, **due))


def forget_liquidations(connection: Connection, owner: Owner) -> None:
    """Forget them with the index: they are read anew."""
    for table in (liquidation_outcomes, liquidations_due):
        connection.execute(sa.delete(table).where(*_mine(table, owner)))


class Outcomes:
    """The rows of one chain's engine as values; `oracle` is whose decisions are joined."""

    def __init__(self, database: Database, chain_id: int, engine: str, oracle: str) -> None:
        self._database = database
        self._owner: Owner = {"chain_id": chain_id, "contract": engine}
        self._oracle: Owner = {"chain_id": chain_id, "contract": oracle}

    async def due(self, positions: Sequence[str], block_number: int, at_s: int) -> None:
        """Note who may be liquidated at a block: those before keep theirs, others are over."""

        def work(connection: Connection) -> None:
            table = liquidations_due
            query = sa.select(table.c.position).where(*_mine(table, self._owner))
            before = set(connection.scalars(query).all())
            for over in sorted(before - set(positions)):
                mine = (*_mine(table, self._owner), table.c.position == over)
                connection.execute(sa.delete(table).where(*mine))
            fresh = sorted(set(positions) - before)
            values = {**self._owner, "block_number": block_number, "at_s": at_s}
            if fresh:
                connection.execute(sa.insert(table), [{**values, "position": p} for p in fresh])

        await self._database.write(work)

    async def watched(self, rows: Sequence[Watched]) -> None:
        """Keep how positions stood; what is older than a year and a bit goes."""

        def work(connection: Connection) -> None:
            table = position_watches
            for row in rows:
                key = (table.c.watched_as == row.watched_as, table.c.at_ms == row.at_ms)
                mine = (*_mine(table, self._owner), *key)
                connection.execute(sa.delete(table).where(*mine))
                values = {"watched_as": row.watched_as, "at_ms": row.at_ms}
                facts = dict(row.facts)
                connection.execute(sa.insert(table).values(**self._owner, **values, facts=facts))
            old = table.c.at_ms < max(row.at_ms for row in rows) - KEPT_MS
            connection.execute(sa.delete(table).where(*_mine(table, self._owner), old))

        if rows:
            await self._database.write(work)

    async def join(self, now_ms: int, limit: int) -> int:
        """Join decision, warning and last look to the oldest liquidations that lack them."""

        def work(connection: Connection) -> int:
            table = liquidation_outcomes
            query = sa.select(table).where(
                *_mine(table, self._owner), table.c.joined_at_ms.is_(None)
            )
            ordered = query.order_by(table.c.block_number, table.c.log_index).limit(limit)
            rows = connection.execute(ordered).all()
            for row in rows:
                place = (
                    table.c.block_number == row.block_number,
                    table.c.log_index == row.log_index,
                )
                statement = sa.update(table).where(*_mine(table, self._owner), *place)
                connection.execute(
                    statement.values(joined_at_ms=now_ms, **self._joined(connection, row))
                )
            return len(rows)

        return await self._database.write(work)

    async def settling(self, before_ms: int, limit: int) -> tuple[Watched, ...]:
        """Give the oldest watched before a time of which it is open what followed."""
        table = position_watches
        open_ = (table.c.settled_ms.is_(None), table.c.at_ms <= before_ms)
        query = sa.select(table).where(*_mine(table, self._owner), *open_)
        ordered = query.order_by(table.c.at_ms, table.c.watched_as).limit(limit)
        rows = await self._database.read(lambda c: c.execute(ordered).all())
        return tuple(_watched(row) for row in rows)

    async def settle(self, rows: Sequence[Watched], now_ms: int) -> tuple[Watched, ...]:
        """Write what followed, and give it: closed as told, liquidated by the liquidations."""

        def work(connection: Connection) -> tuple[Watched, ...]:
            table, settled = position_watches, []
            for row in rows:
                key = (table.c.watched_as == row.watched_as, table.c.at_ms == row.at_ms)
                ended, cut = (self._ended_s(connection, row, k) for k in (LIQUIDATION, DELEVERAGE))
                closed = min((at for at in (row.closed_s, cut) if at is not None), default=None)
                values = {"liquidated_s": ended, "closed_s": closed, "settled_ms": now_ms}
                statement = sa.update(table).where(*_mine(table, self._owner), *key)
                connection.execute(statement.values(**values))
                settled.append(replace(row, liquidated_s=ended, closed_s=closed))
            return tuple(settled)

        return await self._database.write(work) if rows else ()

    async def chance_tests(self) -> Mapping[str, Any] | None:
        """Give what the tests of chances have seen; None at the beginning."""
        query = sa.select(chance_tests.c.state).where(*_mine(chance_tests, self._owner))
        return await self._database.read(lambda c: c.scalar(query))

    async def keep_chance_tests(self, state: Mapping[str, Any]) -> None:
        """Keep what the tests of chances have seen."""

        def work(connection: Connection) -> None:
            connection.execute(sa.delete(chance_tests).where(*_mine(chance_tests, self._owner)))
            connection.execute(sa.insert(chance_tests).values(**self._owner, state=dict(state)))

        await self._database.write(work)

    async def liquidations(self) -> tuple[Outcome, ...]:
        """Give every liquidation that is joined, in the order of the chain."""
        table = liquidation_outcomes
        query = sa.select(table).where(
            *_mine(table, self._owner), table.c.joined_at_ms.is_not(None)
        )
        ordered = query.order_by(table.c.block_number, table.c.log_index)
        rows = await self._database.read(lambda c: c.execute(ordered).all())
        return tuple(_outcome(row) for row in rows)

    async def settled(self) -> tuple[Watched, ...]:
        """Give everybody who was watched and of whom it is known what followed."""
        table = position_watches
        query = sa.select(table).where(*_mine(table, self._owner), table.c.settled_ms.is_not(None))
        ordered = query.order_by(table.c.at_ms, table.c.watched_as)
        rows = await self._database.read(lambda c: c.execute(ordered).all())
        return tuple(_watched(row) for row in rows)

    def _joined(self, connection: Connection, row: Row[Any]) -> dict[str, Any]:
        """Find what went before a liquidation."""
        round_, message = self._decision(connection, row.facts["market"], row.block_number)
        level, warned_ms = self._warning(connection, row.watched_as, row.at_s)
        table = position_watches
        before = (table.c.watched_as == row.watched_as, table.c.at_ms <= row.at_s * MS)
        query = sa.select(table.c.at_ms, table.c.facts).where(*_mine(table, self._owner), *before)
        last = connection.execute(query.order_by(table.c.at_ms.desc()).limit(1)).first()
        return {
            "risk_round": round_,
            "risk_message": message,
            "warned_level": level,
            "warned_at_ms": warned_ms,
            "watch": None if last is None else {**last.facts, "at_ms": last.at_ms},
        }

    def _decision(
        self, connection: Connection, market: int, block: int
    ) -> tuple[int | None, bytes | None]:
        """Find the newest decision in force at a block that did not skip a market."""
        query = sa.select(decisions.c.round, decisions.c.message_hash, decisions.c.skipped).where(
            *_mine(decisions, self._oracle),
            decisions.c.kind == "risk",
            decisions.c.block_number <= block,
        )
        newest = query.order_by(decisions.c.block_number.desc(), decisions.c.id.desc())
        for found in connection.execute(newest.limit(100)):
            if all(item["market"] != market for item in found.skipped):
                return found.round, bytes(found.message_hash)
        return None, None

    def _warning(
        self, connection: Connection, key: str, at_s: int
    ) -> tuple[int | None, int | None]:
        """Find the highest level of the day before, and when the first warning was noted."""
        made = notices.c.noted_at_ms
        query = sa.select(sa.func.max(notices.c.level), sa.func.min(made)).where(
            *_mine(notices, self._owner),
            notices.c.key == key,
            notices.c.text.like(WARNING),
            made <= at_s * MS,
            made > (at_s - DAY_S) * MS,
        )
        level, first_ms = connection.execute(query).one()
        return level, first_ms

    def _ended_s(self, connection: Connection, row: Watched, kind: str) -> int | None:
        """Find when the first of a kind came within a day."""
        table, from_s = liquidation_outcomes, row.at_ms // MS
        within = (table.c.at_s > from_s, table.c.at_s <= from_s + DAY_S)
        same = table.c.watched_as == row.watched_as
        query = sa.select(table.c.at_s, table.c.facts).where(*_mine(table, self._owner), same)
        found = connection.execute(query.where(*within).order_by(table.c.at_s))
        return next((each.at_s for each in found if each.facts["kind"] == kind), None)


def _mine(table: sa.Table, owner: Owner) -> tuple[sa.ColumnElement[bool], ...]:
    return tuple(table.c[name] == value for name, value in owner.items())


def _due(connection: Connection, owner: Owner, position: str) -> dict[str, int | None]:
    table = liquidations_due
    query = sa.select(table.c.block_number, table.c.at_s).where(
        *_mine(table, owner), table.c.position == position
    )
    found = connection.execute(query).first()
    if found is None:
        return {"due_block": None, "due_s": None}
    return {"due_block": found.block_number, "due_s": found.at_s}


def _outcome(row: Row[Any]) -> Outcome:
    names = Liquidated.__dataclass_fields__
    fields = row._asdict() | {"block_hash": bytes(row.block_hash)}
    message = row.risk_message
    return Outcome(
        liquidated=Liquidated(**{name: fields[name] for name in names}),
        due_block=row.due_block,
        due_s=row.due_s,
        risk_round=row.risk_round,
        risk_message=None if message is None else bytes(message),
        warned_level=row.warned_level,
        warned_at_ms=row.warned_at_ms,
        watch=row.watch,
    )


def _watched(row: Row[Any]) -> Watched:
    return Watched(
        watched_as=row.watched_as,
        at_ms=row.at_ms,
        facts=row.facts,
        liquidated_s=row.liquidated_s,
        closed_s=row.closed_s,
    )
