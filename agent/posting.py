"""The last stretch that prices and parameters share: attest, journal, deliver, confirm."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from agent.decisions import Hold, HoldReason
from agent.ports import Hands
from contracts.messages import PriceRound, RiskUpdate
from contracts.units import UnixMs
from relayer.delivery.settlement import settled
from relayer.delivery.states import Effective, Outcome, detail_of
from relayer.journal import CycleEntry, DecisionEntry, HoldEntry
from relayer.signing.values import NoQuorum, Proposal, SignedMessage

Kind: TypeAlias = Literal["price", "risk"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One message and what became of it."""

    message: PriceRound | RiskUpdate
    outcome: Outcome | NoQuorum

    @property
    def holds(self) -> tuple[Hold, ...]:
        """Say why the message did not take effect, if it did not."""
        if isinstance(self.outcome, Effective):
            return ()
        if isinstance(self.outcome, NoQuorum) and self.outcome.needed == 0:
            detail = "no key: decided and kept as evidence, neither signed nor posted"
            return (Hold(market=None, reason=HoldReason.DRY_RUN, detail=detail),)
        if isinstance(self.outcome, NoQuorum):
            said = "; ".join(
                f"{name}: {r.reason} ({r.field}) {r.detail}"
                for name, r in sorted(self.outcome.refusals.items())
            )
            detail = f"{self.outcome.given} of {self.outcome.needed} signatures; {said}"
            return (Hold(market=None, reason=HoldReason.NO_QUORUM, detail=detail),)
        return (Hold(market=None, reason=HoldReason.NOT_DELIVERED, detail=detail_of(self.outcome)),)


async def post_all(
    proposals: Sequence[Proposal],
    hands: Hands,
    decided_at_ms: UnixMs,
    kept: Coroutine[Any, Any, None],
) -> tuple[Posting, ...]:
    """Have messages signed while their evidence is written, and delivered once both are done."""
    keeping = asyncio.create_task(kept)
    try:
        signed = [await hands.quorum.collect(proposal) for proposal in proposals]
    finally:
        await keeping
    return tuple(
        [
            await _deliver(proposal, answer, hands, decided_at_ms)
            for proposal, answer in zip(proposals, signed, strict=True)
        ]
    )


async def _deliver(
    proposal: Proposal, signed: SignedMessage | NoQuorum, hands: Hands, decided_at_ms: UnixMs
) -> Posting:
    """Deliver a signed message; the journal knows of it before the chain does."""
    entry = decision_entry(proposal, decided_at_ms)
    if isinstance(signed, NoQuorum):
        posting = Posting(message=proposal.posted, outcome=signed)
        # A number that somebody signed is used up for ever, and a restart must know.
        state = "failed" if signed.given else "unsigned"
        await hands.journal.record_decision(
            replace(entry, state=state, reason=posting.holds[0].detail)
        )
        return posting
    await hands.journal.record_decision(entry)
    outcome = await hands.delivery.deliver(signed)
    await hands.journal.settle_decision(settled(entry, outcome))
    return Posting(message=proposal.posted, outcome=outcome)


def decision_entry(proposal: Proposal, decided_at_ms: UnixMs) -> DecisionEntry:
    """Write a message as the journal's row."""
    message = proposal.posted
    return DecisionEntry(
        kind="price" if isinstance(message, PriceRound) else "risk",
        chain_id=proposal.domain.chain_id,
        contract=proposal.domain.contract,
        round=message.round,
        decided_at_ms=decided_at_ms,
        message_hash=proposal.digest,
        evidence_hash=message.evidence_hash,
        model_hash=message.model_hash if isinstance(message, RiskUpdate) else None,
    )


def cycle_entry(
    kind: Kind, times_ms: tuple[int, int], postings: tuple[Posting, ...], holds: tuple[Hold, ...]
) -> CycleEntry:
    """Write one turn of a loop as the journal's row; its result is its worst posting's."""
    holds = (*holds, *(hold for posting in postings for hold in posting.holds))
    landed = [p for p in postings if isinstance(p.outcome, Effective)]
    result = "effective" if landed and len(landed) == len(postings) else "held"
    if any(not isinstance(p.outcome, Effective | NoQuorum) for p in postings):
        result = "failed"
    last = landed[-1] if landed else None
    return CycleEntry(
        kind=kind,
        started_at_ms=times_ms[0],
        finished_at_ms=times_ms[1],
        result=result if postings or holds else "idle",
        round=last.message.round if last else None,
        block_number=last.outcome.block_number
        if last and isinstance(last.outcome, Effective)
        else None,
        holds=tuple(
            HoldEntry(market=h.market, reason=h.reason.value, detail=h.detail) for h in holds
        ),
    )
