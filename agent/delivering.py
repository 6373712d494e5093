"""Delivery as the loops know it: what is left open is brought to its end, and journalled so."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.messages import RiskUpdate
from relayer.delivery.calls import ContractCall
from relayer.delivery.outbox import Outbox
from relayer.delivery.settlement import settle_from_outbox
from relayer.delivery.states import Outcome
from relayer.delivery.transactor import Transactor
from relayer.journal import DecisionKind, Journal
from relayer.signing.values import SignedMessage


class JournalledDelivery:
    """The `Delivery` port over the transactor; the journal learns what a fault kept from it."""

    def __init__(
        self,
        transactor: Transactor,
        journal: Journal,
        outbox: Outbox,
        left: Sequence[DecisionKind] | None = None,
    ) -> None:
        """Keep the parts; `left`: the kinds of decisions whose signatures end with this process."""
        self._transactor = transactor
        self._journal = journal
        self._outbox = outbox
        self._left = left
        self._starting = True

    async def deliver(self, signed: SignedMessage) -> Outcome:
        """Post a message and read back whether it took effect.

        Parameters are not as pressing as prices: behind them, what a rollback took is found.
        """
        outcome = await self._transactor.deliver(signed)
        if isinstance(signed.message, RiskUpdate) and await self._reopen_rolled_back():
            await self._transactor.resume()
            await settle_from_outbox(self._journal, self._outbox)
        return outcome

    async def call(self, call: ContractCall) -> Outcome:
        """Send a call that carries no message, and read back whether it took effect."""
        return await self._transactor.call(call)

    async def resume(self) -> tuple[Outcome, ...]:
        """Bring to an end what was left open, then settle the decisions that it belonged to."""
        await self._reopen_rolled_back()  # first: later nonces wait behind theirs
        outcomes = await self._transactor.resume()
        starting = self._starting
        await settle_from_outbox(self._journal, self._outbox, starting=starting, left=self._left)
        self._starting = False
        return outcomes

    async def _reopen_rolled_back(self) -> bool:
        """Take back what was effective in blocks that are gone; tell whether there was any.

        The journal first: a kill between the two leaves a decision open that the outbox settles.
        """
        gone = await self._transactor.rolled_back()
        for delivery in gone:
            await self._journal.unsettle_decision(
                delivery.chain_id, delivery.contract, delivery.message_hash
            )
        await self._transactor.reopen(gone)
        return bool(gone)
