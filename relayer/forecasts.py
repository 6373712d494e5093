"""The journal's forecasts: what each model promised, what followed, and the factors learned.

One row a model, market, horizon and start. Rows are numbers only; what they mean is the agent's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from relayer.storage import Database, factor_states, forecasts

KEY = ("model_hash", "symbol", "horizon_s", "from_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRow:
    """One promise and, once its horizon has ended, what followed.

    `quantiles` are the served ones: long 99 %, 99.5 %, then short. `features` is what the forecast
    was made from, packed by whoever recorded it; not every row keeps it. `ended_ms` without figures
    is a promise of which too little was traded to say.
    """

    model_hash: bytes
    symbol: str
    horizon_s: int
    from_ms: int
    deviation: float
    quantiles: tuple[float, float, float, float]
    features: bytes | None = None
    ended_ms: int | None = None
    variance: float | None = None
    fall: float | None = None
    rise: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What one look at the world changed for one model: written together or not at all."""

    model_hash: bytes
    at_ms: int
    opened: Sequence[ForecastRow] = ()
    ended: Sequence[ForecastRow] = ()
    state: Mapping[str, Any] | None = None


class Forecasts:
    """The rows as values; the tables are `relayer.storage`'s."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, lesson: Lesson) -> None:
        """Append what was promised, settle what ended, and replace the factors."""
        await self._database.write(lambda connection: _write(connection, lesson))

    async def open_rows(self, model_hash: bytes) -> tuple[ForecastRow, ...]:
        """Return a model's promises that have not ended, oldest first."""
        query = (
            sa.select(forecasts)
            .where(forecasts.c.model_hash == model_hash, forecasts.c.ended_ms.is_(None))
            .order_by(forecasts.c.id)
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return tuple(_row(row) for row in rows)

    async def outcomes(self, before_ms: int | None = None) -> tuple[ForecastRow, ...]:
        """Return every settled promise with figures, in the order of time."""
        query = sa.select(forecasts).where(forecasts.c.variance.is_not(None))
        if before_ms is not None:
            query = query.where(forecasts.c.ended_ms <= before_ms)
        query = query.order_by(forecasts.c.from_ms, forecasts.c.symbol, forecasts.c.id)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return tuple(_row(row) for row in rows)

    async def state(self, model_hash: bytes) -> Mapping[str, Any] | None:
        """Return the factors as they were last written."""
        query = sa.select(factor_states.c.state).where(factor_states.c.model_hash == model_hash)
        found: Mapping[str, Any] | None = await self._database.read(lambda c: c.scalar(query))
        return found


def _write(connection: Connection, lesson: Lesson) -> None:
    if lesson.opened:
        connection.execute(sa.insert(forecasts), [_columns(row) for row in lesson.opened])
    if lesson.ended:
        names = ("ended_ms", "variance", "fall", "rise")
        statement = sa.update(forecasts).where(
            *(forecasts.c[name] == sa.bindparam(f"key_{name}") for name in KEY)
        )
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names}
        rows = [
            {f"key_{name}": getattr(row, name) for name in KEY}
            | {f"new_{name}": getattr(row, name) for name in names}
            for row in lesson.ended
        ]
        connection.execute(statement.values(values), rows)
    if lesson.state is not None:
        own = factor_states.c.model_hash == lesson.model_hash
        connection.execute(sa.delete(factor_states).where(own))
        written = {"model_hash": lesson.model_hash, "judged_ms": lesson.at_ms}
        connection.execute(sa.insert(factor_states), [written | {"state": dict(lesson.state)}])


def _columns(row: ForecastRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in row.__dataclass_fields__}
    return values | {"quantiles": list(row.quantiles)}


def _row(row: Row[Any]) -> ForecastRow:
    values = row._asdict()
    del values["id"]
    a, b, c, d = values["quantiles"]
    return ForecastRow(**values | {"quantiles": (a, b, c, d)})
