"""Forecasts in the journal: opened once, settled once, on both databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from relayer import migrations
from relayer.forecasts import ForecastRow, Forecasts, Lesson
from relayer.storage import Database

MODEL, OTHER = b"\x01" * 32, b"\x02" * 32


def row(model: bytes = MODEL, from_ms: int = 900_000) -> ForecastRow:
    return ForecastRow(
        model_hash=model,
        symbol="BTC",
        horizon_s=900,
        from_ms=from_ms,
        deviation=0.004,
        quantiles=(0.01, 0.012, 0.011, 0.013),
        features=b"\x05",
    )


async def both(url: str) -> tuple[Database, Forecasts]:
    migrations.upgrade(url)
    database = Database.open(url)
    return database, Forecasts(database)


def test_forecasts__opened_then_ended__leave_the_open_and_join_the_outcomes(database_url: str):
    async def story() -> None:
        database, journal = await both(database_url)
        await journal.write(Lesson(model_hash=MODEL, at_ms=1, opened=[row(), row(from_ms=0)]))
        await journal.write(Lesson(model_hash=OTHER, at_ms=1, opened=[row(OTHER)]))
        assert await journal.open_rows(MODEL) == (row(), row(from_ms=0))
        ended = replace(row(), ended_ms=1_800_000, variance=1e-5, fall=0.002, rise=0.0)
        void = replace(row(from_ms=0), ended_ms=1_800_000)
        state = {"factors": [["a", 0.1]]}
        await journal.write(Lesson(model_hash=MODEL, at_ms=2, ended=[ended, void], state=state))
        assert await journal.open_rows(MODEL) == ()
        assert await journal.outcomes() == (ended,)
        assert await journal.outcomes(before_ms=1_000_000) == ()
        assert await journal.state(MODEL) == state
        assert await journal.state(OTHER) is None
        assert await journal.open_rows(OTHER) == (row(OTHER),)
        await database.close()

    asyncio.run(story())


def test_forecasts__same_promise_twice__is_refused_whole(database_url: str):
    async def story() -> None:
        database, journal = await both(database_url)
        await journal.write(Lesson(model_hash=MODEL, at_ms=1, opened=[row()]))
        with pytest.raises(IntegrityError):
            await journal.write(Lesson(model_hash=MODEL, at_ms=2, opened=[row(from_ms=0), row()]))
        assert await journal.open_rows(MODEL) == (row(),)
        await database.close()

    asyncio.run(story())
