"""Writes into the journal how deliveries ended, also those that ended while nobody was looking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from relayer.delivery.outbox import Outbox
from relayer.delivery.states import Effective, Outcome, detail_of, state_of
from relayer.journal import DecisionEntry, DecisionKind, Journal

NEVER_HANDED_OVER: Final = "the process ended before the outbox had it"


def settled(entry: DecisionEntry, outcome: Outcome) -> DecisionEntry:
    """Add to a decision's row how far it came."""
    state = state_of(outcome).value
    if isinstance(outcome, Effective):
        return replace(
            entry,
            state=state,
            tx_hash=outcome.tx_hash,
            block_number=outcome.block_number,
            skipped=outcome.skipped,
            reason="",
        )
    return replace(entry, state=state, tx_hash=outcome.tx_hash, reason=detail_of(outcome))


async def settle_from_outbox(
    journal: Journal,
    outbox: Outbox,
    *,
    starting: bool = False,
    left: Sequence[DecisionKind] | None = None,
) -> int:
    """Settle the decisions whose delivery has ended, and return how many; again does nothing.

    For the start after a kill and after a recovery, behind `Transactor.resume`: a delivery that is
    brought to its end there, or ended just before the kill, has nobody left who would write it.
    When `starting`, a decision that never reached the outbox is said to have failed: its signatures
    went with the process. Later, it may be on its way from the journal to the outbox. `left`: only
    those kinds; of the rest another process keeps the signatures.
    """
    count = 0
    for entry in await journal.unsettled_decisions():
        delivery = await outbox.find(entry.chain_id, entry.contract, entry.message_hash)
        if delivery is not None and delivery.outcome is not None:
            await journal.settle_decision(settled(entry, delivery.outcome))
        elif delivery is None and starting and (left is None or entry.kind in left):
            await journal.settle_decision(replace(entry, state="failed", reason=NEVER_HANDED_OVER))
        else:
            continue
        count += 1
    return count
