"""Facts about the journal: what went in as a value comes out as the same value."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from contracts.units import MarketId
from relayer.chain.values import SkippedItem
from relayer.journal import UNSIGNED, CycleEntry, DecisionEntry, HoldEntry, Journal
from relayer.storage import Database

CYCLE = CycleEntry(
    kind="risk",
    started_at_ms=1_700_000_000_000,
    finished_at_ms=1_700_000_000_900,
    result="effective",
    round=12,
    block_number=34,
    holds=(HoldEntry(market=3, reason="warming_up", detail="71 h of 72 h"),),
)
DECISION = DecisionEntry(
    kind="risk",
    chain_id=6343,
    contract="0x" + "aa" * 20,
    round=12,
    decided_at_ms=1_700_000_000_000,
    message_hash=b"\x01" * 32,
    evidence_hash=b"\x02" * 32,
    model_hash=b"\x03" * 32,
)


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


async def test_cycle__recorded__comes_back_with_its_holds(journal: Journal) -> None:
    await journal.record_cycle(CYCLE)
    await journal.record_cycle(replace(CYCLE, kind="price", holds=()))
    assert await journal.recent_cycles(5) == (replace(CYCLE, kind="price", holds=()), CYCLE)


async def test_decision__settled__is_found_by_round_and_by_transaction(journal: Journal) -> None:
    await journal.record_decision(DECISION)
    skipped = (SkippedItem(market=MarketId(4), code=31, reason="TooSoon"),)
    settled = replace(
        DECISION, state="effective", tx_hash=b"\x04" * 32, block_number=35, skipped=skipped
    )
    await journal.settle_decision(settled)
    assert await journal.decisions_of_round(6343, DECISION.contract, 12) == (settled,)
    assert await journal.decision_of_transaction(b"\x04" * 32) == settled
    assert await journal.unsettled_decisions() == ()


async def test_decision__reason_with_bytes_that_no_database_takes__is_settled_all_the_same(
    journal: Journal,
) -> None:
    await journal.record_decision(DECISION)
    await journal.settle_decision(replace(DECISION, state="failed", reason="it said \x00\ud800!"))
    assert [
        row.reason for row in await journal.decisions_of_round(6343, DECISION.contract, 12)
    ] == ["it said !"]
    assert await journal.unsettled_decisions() == ()


async def test_decision__never_settled__is_work_for_the_next_start(journal: Journal) -> None:
    await journal.record_decision(DECISION)
    assert await journal.unsettled_decisions() == (DECISION,)


async def test_decision__same_message_twice__is_refused(journal: Journal) -> None:
    await journal.record_decision(DECISION)
    with pytest.raises(IntegrityError):
        await journal.record_decision(DECISION)


async def test_decision_of_transaction__unknown__is_none(journal: Journal) -> None:
    assert await journal.decision_of_transaction(bytes(32)) is None


def decided(round_: int, state: str, contract: str = DECISION.contract) -> DecisionEntry:
    named = f"{round_} {state} {contract}".encode()[:32].ljust(32, b"\x00")
    return replace(DECISION, round=round_, state=state, contract=contract, message_hash=named)


async def test_rounds__nobody_signed_them__are_not_spent(journal: Journal) -> None:
    for entry in (
        decided(9, "effective"),
        decided(12, "failed"),
        decided(11, "planned"),
        decided(13, UNSIGNED),
        decided(14, "failed", "0x" + "bb" * 20),
    ):
        await journal.record_decision(entry)
    assert await journal.spent_rounds(6343, DECISION.contract, 9) == (11, 12)
    assert await journal.highest_round(6343, DECISION.contract) == 12
    assert await journal.spent_rounds(1, DECISION.contract, 0) == ()


async def test_rounds__signed_at_the_second_proposal__are_spent_once(journal: Journal) -> None:
    for state in (UNSIGNED, "failed", "effective"):
        await journal.record_decision(decided(12, state))
    assert await journal.spent_rounds(6343, DECISION.contract, 0) == (12,)


async def test_rounds__all_unsigned__highest_is_none(journal: Journal) -> None:
    await journal.record_decision(decided(5, UNSIGNED))
    assert await journal.highest_round(6343, DECISION.contract) == 0


async def test_decision__unsigned_message_proposed_again__takes_its_row(journal: Journal) -> None:
    await journal.record_decision(replace(DECISION, state=UNSIGNED))
    await journal.record_decision(DECISION)
    assert await journal.decisions_of_round(6343, DECISION.contract, 12) == (DECISION,)
