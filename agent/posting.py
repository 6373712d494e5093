"""The last stretch that prices and parameters share: attest, journal, deliver, confirm."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from agent.decisions import Hold, HoldReason
from agent.ports import Hands, Relay
from contracts.messages import PriceRound, RiskUpdate
from contracts.units import UnixMs
from relayer.delivery.states import Effective, Outcome, detail_of
from relayer.handover.asks import Ask
from relayer.handover.posting import PostPorts, post_signed, why_unsigned
from relayer.journal import CycleEntry, HoldEntry
from relayer.signing.values import NoQuorum, Proposal

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
        if isinstance(self.outcome, NoQuorum):
            reason = HoldReason.NO_QUORUM if self.outcome.needed else HoldReason.DRY_RUN
            return (Hold(market=None, reason=reason, detail=why_unsigned(self.outcome)),)
        return (Hold(market=None, reason=HoldReason.NOT_DELIVERED, detail=detail_of(self.outcome)),)


async def post_all(
    proposals: Sequence[Proposal],
    hands: Hands,
    decided_at_ms: UnixMs,
    kept: Coroutine[Any, Any, None],
) -> tuple[Posting, ...]:
    """Have messages signed while their evidence is written, and delivered once both are done."""
    outcomes = (
        await _posted_here(proposals, hands, decided_at_ms, kept)
        if hands.relay is None
        else await _handed_over(proposals, hands.relay, decided_at_ms, kept)
    )
    return tuple(
        Posting(message=proposal.posted, outcome=outcome)
        for proposal, outcome in zip(proposals, outcomes, strict=True)
    )


async def _posted_here(
    proposals: Sequence[Proposal],
    hands: Hands,
    decided_at_ms: UnixMs,
    kept: Coroutine[Any, Any, None],
) -> list[Outcome | NoQuorum]:
    keeping = asyncio.create_task(kept)
    try:
        signed = [await hands.quorum.collect(proposal) for proposal in proposals]
    finally:
        await keeping
    ports = PostPorts(delivery=hands.delivery, journal=hands.journal, handed=hands.handed)
    return [
        await post_signed(Ask(what=proposal, decided_at_ms=decided_at_ms), answer, ports)
        for proposal, answer in zip(proposals, signed, strict=True)
    ]


async def _handed_over(
    proposals: Sequence[Proposal],
    relay: Relay,
    decided_at_ms: UnixMs,
    kept: Coroutine[Any, Any, None],
) -> tuple[Outcome | NoQuorum, ...]:
    """Let the other half sign and post; it is told when the evidence is there, never before."""
    await kept
    return await relay.post(proposals, decided_at_ms)


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
