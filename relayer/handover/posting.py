"""The last stretch of a message with a round, in whichever process: journal, deliver, settle."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Protocol

from sqlalchemy.exc import IntegrityError

from contracts.messages import PriceRound, RiskUpdate
from relayer.delivery.settlement import settled
from relayer.delivery.states import Outcome
from relayer.handover.asks import Answer, Ask
from relayer.journal import DecisionEntry
from relayer.signing.values import NoQuorum, Proposal, SignedMessage

DRY_RUN = "no key: decided and kept as evidence, neither signed nor posted"


class Poster(Protocol):
    """The way to the chain (`agent.delivering.JournalledDelivery`)."""

    async def deliver(self, signed: SignedMessage) -> Outcome:
        """Post a message and read back whether it took effect."""
        ...


class Records(Protocol):
    """The journal's decisions."""

    async def record_decision(self, entry: DecisionEntry) -> int:
        """Append a decision before it is delivered."""
        ...

    async def settle_decision(self, entry: DecisionEntry) -> None:
        """Write how far a decision came."""
        ...


class Handed(Protocol):
    """Where it is written down that a message was handed over, and how it ended."""

    async def record(self, ask: Ask, answer: Answer | None, now_ms: int) -> None:
        """Write down what was handed over directly; again: how it ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PostPorts:
    """What a message is posted through; `handed` None: it is written down elsewhere.

    `again`: a process before this one may have begun with the message.
    """

    delivery: Poster
    journal: Records
    handed: Handed | None = None
    again: bool = False


async def post_signed(
    ask: Ask, answer: SignedMessage | NoQuorum, ports: PostPorts
) -> Outcome | NoQuorum:
    """Deliver what was signed; the journal knows of it before the chain does."""
    assert isinstance(ask.what, Proposal), "a call has no decision of its own"
    entry, at_ms = decision_entry(ask.what, ask.decided_at_ms), ask.decided_at_ms
    if isinstance(answer, NoQuorum):
        # A number that somebody signed is used up for ever, and a restart must know.
        state = "failed" if answer.given else "unsigned"
        unsigned = replace(entry, state=state, reason=why_unsigned(answer))
        await asyncio.gather(_recorded(ports, unsigned), _handed(ports, ask, answer, at_ms))
        return answer
    # Both in one transaction: the database takes together what is asked for together.
    await asyncio.gather(_recorded(ports, entry), _handed(ports, ask, None, at_ms))
    outcome = await ports.delivery.deliver(answer)
    await asyncio.gather(
        ports.journal.settle_decision(settled(entry, outcome)), _handed(ports, ask, outcome, at_ms)
    )
    return outcome


async def _recorded(ports: PostPorts, entry: DecisionEntry) -> None:
    """Write a decision down; one that a kill left without its delivery is under way again."""
    try:
        await ports.journal.record_decision(entry)
    except IntegrityError:
        if not ports.again:
            raise
        await ports.journal.settle_decision(entry)


async def _handed(ports: PostPorts, ask: Ask, answer: Answer | None, at_ms: int) -> None:
    if ports.handed is not None:
        await ports.handed.record(ask, answer, at_ms)


def why_unsigned(answer: NoQuorum) -> str:
    """Say why there are too few signatures, signer by signer."""
    if answer.needed == 0:
        return DRY_RUN
    said = "; ".join(
        f"{name}: {each.reason} ({each.field}) {each.detail}"
        for name, each in sorted(answer.refusals.items())
    )
    return f"{answer.given} of {answer.needed} signatures; {said}"


def decision_entry(proposal: Proposal, decided_at_ms: int) -> DecisionEntry:
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
