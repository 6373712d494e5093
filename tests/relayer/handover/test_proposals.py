"""Rows between the halves: proposed once, taken once, ended once; on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa

from contracts.units import MarketId
from relayer import migrations
from relayer.chain.values import SkippedItem
from relayer.delivery.calls import ContractCall
from relayer.delivery.states import Effective, Expired, Failed, FailureReason, Superseded
from relayer.handover.asks import Answer, Ask, AskKind
from relayer.handover.proposals import NEWER, NOBODY_CAME, TAKEN, Proposals
from relayer.signing.values import NoQuorum, Objection, Refusal, RefusalReason
from relayer.storage import Database, proposals
from tests.relayer import builders as b

TX = b"\x05" * 32
LATER_MS = b.NOW_MS + 3_600_000
CALL = ContractCall(
    kind="keeper",
    chain_id=b.CHAIN_ID,
    contract=b.RISK_ORACLE,
    payload=b"\x01\x02\x03\x04",
    made_at_ms=b.NOW_MS,
    valid_until_ms=LATER_MS,
)
SAID = Refusal(
    reason=RefusalReason.OFF_OWN_MARK,
    field="words[0].price",
    detail="1.2 % off",
    also=(Objection(reason=RefusalReason.EXPIRED, field="valid_until_ms", detail="over"),),
)


def price(round_: int = 10) -> Ask:
    return Ask(what=b.price_proposal(b.price_round(round_=round_)), decided_at_ms=b.NOW_MS)


def risk(round_: int = 10) -> Ask:
    return Ask(what=b.risk_proposal(b.risk_update(round_=round_)), decided_at_ms=b.NOW_MS)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[Database, Proposals]]:
    migrations.upgrade(url)
    database = Database.open(url)
    try:
        yield database, Proposals(database, b.CHAIN_ID)
    finally:
        await database.close()


@pytest.mark.parametrize("ask", [price(), risk(), Ask(what=CALL, decided_at_ms=b.NOW_MS)])
def test_propose__read_by_the_other_half__is_the_same_to_the_byte(
    database_url: str, ask: Ask
) -> None:
    async def story() -> None:
        async with opened(database_url) as (_, rows):
            await rows.propose([ask], b.NOW_MS)
            (found,), gone = await rows.waiting(b.NOW_MS)
            assert found.ask == ask
            assert gone == []

    asyncio.run(story())


def test_propose__newer_of_a_kind__withdraws_what_nobody_took(database_url: str) -> None:
    async def story() -> None:
        async with opened(database_url) as (_, rows):
            first, _ = await rows.propose([price(10), price(11)], b.NOW_MS)
            await rows.propose([risk(10)], b.NOW_MS)
            _, gone = await rows.propose([price(12)], b.NOW_MS)
            assert [(each.kind, each.state) for each in gone] == [(AskKind.PRICE, "superseded")] * 2
            found, _ = await rows.waiting(b.NOW_MS)
            assert [each.ask.round for each in found] == [10, 12]
            assert await rows.answers(first, [price(10), price(11)]) == [NEWER, NEWER]

    asyncio.run(story())


def test_propose__newer_of_a_kind__leaves_what_is_taken(database_url: str) -> None:
    async def story() -> None:
        async with opened(database_url) as (_, rows):
            await rows.propose([price(10)], b.NOW_MS)
            (row,), _ = await rows.waiting(b.NOW_MS)
            assert await rows.take(row)
            await rows.propose([price(11)], b.NOW_MS)
            found, _ = await rows.waiting(b.NOW_MS)
            assert [(each.ask.round, each.state) for each in found] == [
                (10, TAKEN),
                (11, "proposed"),
            ]

    asyncio.run(story())


def test_take__withdrawn_meanwhile__is_refused(database_url: str) -> None:
    async def story() -> None:
        async with opened(database_url) as (_, rows):
            await rows.propose([price(10)], b.NOW_MS)
            (row,), _ = await rows.waiting(b.NOW_MS)
            await rows.propose([price(11)], b.NOW_MS)
            assert not await rows.take(row)

    asyncio.run(story())


def test_waiting__nobody_came_in_time__ends_as_expired_and_says_so(database_url: str) -> None:
    async def story() -> None:
        async with opened(database_url) as (_, rows):
            made, _ = await rows.propose([price()], b.NOW_MS)
            found, gone = await rows.waiting(LATER_MS)
            assert found == ()
            assert [(each.kind, each.state) for each in gone] == [(AskKind.PRICE, "expired")]
            assert await rows.answers(made, [price()]) == [Expired(detail=NOBODY_CAME)]
            assert await rows.expire(LATER_MS) == []  # counted once

    asyncio.run(story())


@pytest.mark.parametrize(
    "answer",
    [
        Effective(
            tx_hash=TX,
            block_number=7,
            gas_used=21_000,
            skipped=(SkippedItem(market=MarketId(1), code=31, reason="TooSoon"),),
        ),
        Superseded(latest_round=12, tx_hash=TX),
        Expired(detail="late"),
        Failed(reason=FailureReason.REVERTED, detail="Refused(31)", tx_hash=TX),
        NoQuorum(needed=2, given=1, refusals={"price-3": SAID}),
        b.sign_with(b.price_proposal(), b.PRICE_KEYS[:2]),
    ],
)
def test_end__each_answer__comes_back_as_it_was(database_url: str, answer: Answer) -> None:
    async def story() -> None:
        async with opened(database_url) as (database, rows):
            made, _ = await rows.propose([price()], b.NOW_MS)
            assert await rows.answers(made, [price()]) == [None]
            (row,), _ = await rows.waiting(b.NOW_MS)
            await rows.take(row)
            await rows.end(row, answer, b.NOW_MS)
            assert await rows.answers(made, [price()]) == [answer]
            await rows.end(row, Expired(detail="never"), b.NOW_MS)  # an end stays
            assert await rows.answers(made, [price()]) == [answer]
            bodies = await database.read(lambda c: c.scalars(sa.select(proposals.c.body)).all())
            assert bodies == [b""]

    asyncio.run(story())


def test_propose__the_same_again__is_the_same_row(database_url: str) -> None:
    async def story() -> None:
        async with opened(database_url) as (_, rows):
            call = Ask(what=CALL, decided_at_ms=b.NOW_MS)
            first, _ = await rows.propose([call], b.NOW_MS)
            again, _ = await rows.propose([call], b.NOW_MS)
            assert first == again

    asyncio.run(story())


def test_record__handed_over_in_one_process__is_never_found_waiting(database_url: str) -> None:
    async def story() -> None:
        async with opened(database_url) as (_, rows):
            done = Effective(tx_hash=TX, block_number=7, gas_used=1, skipped=())
            await rows.record(price(), None, b.NOW_MS)
            await rows.record(price(), done, b.NOW_MS)
            assert (await rows.waiting(b.NOW_MS))[0] == ()
            assert await rows.highest_round(b.PRICE_FEED) == 10

    asyncio.run(story())


def test_waiting__row_of_another_version__ends_and_holds_up_nothing(database_url: str) -> None:
    async def story() -> None:
        async with opened(database_url) as (database, rows):
            made, _ = await rows.propose([price(10), risk(10)], b.NOW_MS)
            broken = sa.update(proposals).where(proposals.c.id == made[0]).values(body=b"{}")
            await database.write(lambda c: c.execute(broken))
            found, _ = await rows.waiting(b.NOW_MS)
            assert [each.ask.kind for each in found] == [AskKind.RISK]
            (answer,) = await rows.answers(made[:1], [price(10)])
            assert isinstance(answer, Failed)
            assert "one version" in answer.detail

    asyncio.run(story())
