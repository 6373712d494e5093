"""Facts about settlement: after a kill the journal learns what the outbox knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.units import MarketId
from relayer.chain.values import SkippedItem
from relayer.delivery.outbox import Delivery, Outbox
from relayer.delivery.settlement import NEVER_HANDED_OVER, settle_from_outbox
from relayer.delivery.states import (
    DeliveryState,
    Effective,
    Expired,
    Failed,
    FailureReason,
    Outcome,
    Superseded,
)
from relayer.journal import DecisionEntry, Journal
from relayer.signing.values import SignedMessage
from relayer.storage import Database
from tests.relayer import builders as b

SENDER = "0x" + "ee" * 20
TX = b"\x05" * 32
SKIPPED = (SkippedItem(market=MarketId(1), code=31, reason="TooSoon"),)


def signed(round_: int = 10) -> SignedMessage:
    return b.sign_with(b.price_proposal(b.price_round(round_=round_)), b.PRICE_KEYS[:2])


def decision(message: SignedMessage) -> DecisionEntry:
    return DecisionEntry(
        kind="price",
        chain_id=message.domain.chain_id,
        contract=message.domain.contract,
        round=message.message.round,
        decided_at_ms=b.NOW_MS,
        message_hash=message.message_hash,
        evidence_hash=message.message.evidence_hash,
    )


async def delivered(outbox: Outbox, message: SignedMessage, outcome: Outcome) -> Delivery:
    """Bring a message to its end in the outbox, and only there: the kill came next."""
    delivery = await outbox.plan(message, SENDER, b.NOW_MS)
    if isinstance(outcome, Effective):
        # What signs and sends is the sender's; here only the way through the states counts.
        delivery = replace(delivery, state=DeliveryState.SENT)
        delivery = await outbox.mark(delivery, DeliveryState.MINED, b.NOW_MS)
    return await outbox.close(delivery, outcome, b.NOW_MS)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (
            Effective(tx_hash=TX, block_number=7, gas_used=1, skipped=SKIPPED),
            {"state": "effective", "tx_hash": TX, "block_number": 7, "skipped": SKIPPED},
        ),
        (
            Superseded(latest_round=15, tx_hash=TX),
            {
                "state": "superseded",
                "tx_hash": TX,
                "reason": "superseded: the contract holds round 15",
            },
        ),
        (Expired(detail="too late"), {"state": "expired", "reason": "expired: too late"}),
        (
            Failed(reason=FailureReason.FEE_CAP, detail="too dear"),
            {"state": "failed", "reason": "failed: too dear"},
        ),
    ],
)
async def test_settle__ended_in_the_outbox_only__is_written_once(
    database: Database, outcome: Outcome, expected: dict[str, object]
) -> None:
    journal, outbox, message = Journal(database), Outbox(database), signed()
    entry = decision(message)
    await journal.record_decision(entry)
    await delivered(outbox, message, outcome)
    assert await settle_from_outbox(journal, outbox) == 1
    (found,) = await journal.decisions_of_round(entry.chain_id, entry.contract, entry.round)
    assert found == replace(entry, **expected)  # type: ignore[arg-type]
    assert await settle_from_outbox(journal, outbox) == 0
    assert await journal.unsettled_decisions() == ()


async def test_settle__still_open_or_never_in_the_outbox__stays_unsettled(
    database: Database,
) -> None:
    journal, outbox = Journal(database), Outbox(database)
    under_way, never_there = signed(10), signed(11)
    await journal.record_decision(decision(under_way))
    await journal.record_decision(decision(never_there))
    await outbox.plan(under_way, SENDER, b.NOW_MS)
    assert await settle_from_outbox(journal, outbox) == 0
    assert len(await journal.unsettled_decisions()) == 2


async def test_settle__settled_before__is_left_alone(database: Database) -> None:
    journal, outbox, message = Journal(database), Outbox(database), signed()
    entry = replace(decision(message), state="failed", reason="said by hand")
    await journal.record_decision(entry)
    await delivered(outbox, message, Expired(detail="too late"))
    assert await settle_from_outbox(journal, outbox) == 0
    assert await journal.decisions_of_round(entry.chain_id, entry.contract, 10) == (entry,)


async def test_settle__at_the_start_and_never_in_the_outbox__is_said_to_have_failed(
    database: Database,
) -> None:
    """Killed between journal and outbox: the signatures went with the process."""
    journal, outbox, message = Journal(database), Outbox(database), signed()
    entry = decision(message)
    await journal.record_decision(entry)
    assert await settle_from_outbox(journal, outbox, starting=True) == 1
    (found,) = await journal.decisions_of_round(entry.chain_id, entry.contract, entry.round)
    assert (found.state, found.reason) == ("failed", NEVER_HANDED_OVER)
    assert await journal.highest_round(entry.chain_id, entry.contract) == entry.round
