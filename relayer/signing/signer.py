"""A signer: its own view, the rules, its memory, and only then its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from contracts.messages import PositionAction, PositionTerms
from relayer.errors import RelayerError, StorageFailed
from relayer.signing.keys import Key, signed_by
from relayer.signing.memory import SignedRounds
from relayer.signing.review import review
from relayer.signing.values import (
    Proposal,
    Refusal,
    RefusalReason,
    SignerAnswer,
    SignerRules,
    SignerView,
)


class SignerViews(Protocol):
    """Where a signer gets its own view from."""

    async def view(self, proposal: Proposal) -> SignerView:
        """Look at clock, chain and market for a proposal; nothing in it is taken from there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerPorts:
    """What a signer looks at and what it remembers in."""

    views: SignerViews
    memory: SignedRounds


class Signer:
    """Signs whole messages that it has judged; the same round again gets the same answer.

    Terms and actions have no round: the contract takes each account's nonce, and each version of a
    position, once, so two of one harm nobody, and nothing needs remembering.
    """

    def __init__(self, name: str, key: Key, ports: SignerPorts, rules: SignerRules) -> None:
        self.name = name
        self._key = key
        self._ports = ports
        self._rules = rules

    @property
    def address(self) -> str:
        """The address whose signature it gives."""
        return self._key.address

    async def sign(self, proposal: Proposal) -> SignerAnswer | Refusal:
        """Sign, or say why not."""
        try:
            view = await self._ports.views.view(proposal)
            verdict = review(proposal, view, self._rules, self.address)
            if isinstance(verdict, Refusal):
                return verdict
            standing = await self._standing(proposal, view.now_ms)
        except StorageFailed as exc:
            return Refusal(reason=RefusalReason.NO_MEMORY, field="memory", detail=str(exc))
        except RelayerError as exc:
            return Refusal(reason=RefusalReason.NO_VIEW, field="view", detail=str(exc))
        if standing != verdict.digest:
            detail = f"0x{standing.hex()} was signed for this round"
            return Refusal(reason=RefusalReason.SIGNED_ANOTHER, field="round", detail=detail)
        try:
            signature = await signed_by(self._key, verdict.digest)
        except RelayerError as exc:
            return Refusal(reason=RefusalReason.NO_KEY, field="key", detail=str(exc))
        return SignerAnswer(address=self.address, signature=signature)

    async def _standing(self, proposal: Proposal, now_ms: int) -> bytes:
        """Give the digest that stands for the proposal's round, on disk before it is signed."""
        if isinstance(proposal.message, PositionTerms | PositionAction):
            return proposal.digest
        return await self._ports.memory.remember(
            self.address, proposal.message.round, proposal, now_ms
        )
