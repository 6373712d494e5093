"""Decisions that wait for a person: released once, by name, in time; on both databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from relayer import migrations
from relayer.held import Ended, HeldDecision, HeldDecisions
from relayer.storage import Database

ORACLE = "0x" + "11" * 20
STEP = HeldDecision(
    market=1,
    symbol="ETH",
    word=2**110 + 5,
    live=2**59 + 7,
    impact={"accounts": 12, "notional": 5 * 10**11},
    detail="cap to 5.00x",
    held_at_ms=1_000,
    expires_at_ms=61_000,
)


async def opened(url: str) -> tuple[Database, HeldDecisions]:
    migrations.upgrade(url)
    database = Database.open(url)
    return database, HeldDecisions(database, 1, ORACLE)


def test_held__written__comes_back_with_a_number(database_url: str) -> None:
    async def story() -> None:
        database, held = await opened(database_url)
        await held.settle([STEP, replace(STEP, market=2)], [], 1_000)
        first, second = await held.waiting()
        assert first == replace(STEP, number=first.number)
        assert second.market == 2
        assert await HeldDecisions(database, 1, "0x" + "22" * 20).waiting() == ()
        await database.close()

    asyncio.run(story())


def test_held__approved__says_who_when_and_why(database_url: str) -> None:
    async def story() -> None:
        database, held = await opened(database_url)
        await held.settle([STEP], [], 1_000)
        (row,) = await held.waiting()
        done = await held.approve(row.number, "operator", "looked at it", 5_000)
        assert isinstance(done, HeldDecision)
        assert (done.state, done.decided_by, done.decided_at_ms) == ("approved", "operator", 5_000)
        assert done.why == "looked at it"
        assert await held.waiting() == (done,)
        await database.close()

    asyncio.run(story())


def test_held__approved_twice_late_or_unknown__is_refused_in_a_sentence(database_url: str) -> None:
    async def story() -> None:
        database, held = await opened(database_url)
        await held.settle([STEP, STEP], [], 1_000)
        first, second = await held.waiting()
        await held.approve(first.number, "operator", "", 5_000)
        again = await held.approve(first.number, "other", "", 6_000)
        assert str(again).endswith("cannot be approved: operator has approved it already")
        late = await held.approve(second.number, "operator", "", 62_000)
        assert late == f"number {second.number} cannot be approved: it expired 1 s ago"
        assert "no decision number 99" in str(await held.approve(99, "operator", "", 1))
        await database.close()

    asyncio.run(story())


def test_held__ended__waits_no_more_and_is_kept(database_url: str) -> None:
    async def story() -> None:
        database, held = await opened(database_url)
        await held.settle([STEP], [], 1_000)
        (row,) = await held.waiting()
        void = Ended(number=row.number, state="void", reason="the live values have changed")
        await held.settle([], [void, replace(void, state="used")], 9_000)
        assert await held.waiting() == ()
        (kept,) = await held.recent(10)
        assert (kept.state, kept.reason, kept.ended_at_ms) == ("void", void.reason, 9_000)
        refused = await held.approve(row.number, "operator", "", 9_500)
        assert refused == f"number {row.number} cannot be approved: it is void: {void.reason}"
        await database.close()

    asyncio.run(story())
