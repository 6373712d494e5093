"""Delivery as the loops know it: what is left open is brought to its end, and journalled so."""

from __future__ import annotations

from relayer.delivery.calls import ContractCall
from relayer.delivery.outbox import Outbox
from relayer.delivery.settlement import settle_from_outbox
from relayer.delivery.states import Outcome
from relayer.delivery.transactor import Transactor
from relayer.journal import Journal
from relayer.signing.values import SignedMessage


class JournalledDelivery:
    """The `Delivery` port over the transactor; the journal learns what a fault kept from it."""

    def __init__(self, transactor: Transactor, journal: Journal, outbox: Outbox) -> None:
        self._transactor = transactor
        self._journal = journal
        self._outbox = outbox

    async def deliver(self, signed: SignedMessage) -> Outcome:
        """Post a message and read back whether it took effect."""
        return await self._transactor.deliver(signed)

    async def call(self, call: ContractCall) -> Outcome:
        """Send a call that carries no message, and read back whether it took effect."""
        return await self._transactor.call(call)

    async def resume(self) -> tuple[Outcome, ...]:
        """Bring to an end what was left open, then settle the decisions that it belonged to."""
        outcomes = await self._transactor.resume()
        await settle_from_outbox(self._journal, self._outbox)
        return outcomes
