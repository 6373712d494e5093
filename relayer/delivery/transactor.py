"""Delivers signed messages once, or says why not, whatever breaks on the way."""

from __future__ import annotations

from collections.abc import Sequence

from relayer.delivery.calls import ContractCall
from relayer.delivery.courier import Courier
from relayer.delivery.outbox import Delivery
from relayer.delivery.ports import DeliveryRules, Ports
from relayer.delivery.sender import Sender
from relayer.delivery.states import Effective, Outcome
from relayer.errors import HoldCycle, Misconfigured
from relayer.signing.keys import Key
from relayer.signing.values import SignedMessage


class Transactor:
    """One gas-paying account. Call `resume` once at the start, and after any fault of `deliver`."""

    def __init__(self, key: Key, ports: Ports, rules: DeliveryRules) -> None:
        self._ports = ports
        self._rules = rules
        self._sender = Sender(key, ports, rules)
        self._under_way: set[bytes] = set()
        self._looked_to = 0  # the block that was final at the last look, at which all stood

    @property
    def address(self) -> str:
        """The account that pays gas."""
        return self._sender.address

    async def deliver(self, signed: SignedMessage) -> Outcome:
        """Post a message and return how it ended; a message delivered before returns its outcome.

        Raises
        ------
        Retry
            The endpoint was not to be reached for too long; the message stays in the outbox.
        HoldCycle
            The outbox could not be written; what is in it decides what `resume` does.
        """
        self._require_chain(signed.domain.chain_id)
        now_ms = await self._ports.clock.now_ms()
        delivery = await self._ports.outbox.plan(signed, self.address, now_ms)
        return await self._bring_to_end(delivery)

    async def call(self, call: ContractCall) -> Outcome:
        """Send a call and return how it ended; the same call again returns its outcome."""
        self._require_chain(call.chain_id)
        now_ms = await self._ports.clock.now_ms()
        delivery = await self._ports.outbox.plan_call(call, self.address, now_ms)
        return await self._bring_to_end(delivery)

    async def resume(self) -> tuple[Outcome, ...]:
        """Bring to an end what an earlier process or an earlier fault left open, in its order."""
        found = await self._ports.outbox.open_deliveries(self._ports.chain.chain_id, self.address)
        waiting = [delivery for delivery in found if delivery.message_hash not in self._under_way]
        for delivery in waiting:
            if delivery.nonce is not None:
                self._sender.nonces.take(delivery.nonce)
        await self._sender.fill_gaps()
        return tuple([await self._bring_to_end(delivery) for delivery in waiting])

    async def rolled_back(self) -> tuple[Delivery, ...]:
        """Say which effective deliveries are no longer on the chain, newest first.

        Each is looked at: what landed after a rollback says nothing of what was lost in it. So is
        what has become final since the last look: its block may have been another one's by then.
        """
        chain = self._ports.chain
        final = await chain.final_block()
        above = min(final, self._looked_to)
        unfinal = await self._ports.outbox.effective_above(chain.chain_id, self.address, above)
        hashes = [each.outcome.tx_hash for each in unfinal if isinstance(each.outcome, Effective)]
        # One round trip: asked one by one, a single answer that is lost would lose the whole look.
        found = await chain.receipts_of(hashes)
        gone = tuple(each for each, stands in zip(unfinal, found, strict=True) if stands is None)
        if not gone:
            self._looked_to = final
        return gone

    async def reopen(self, gone: Sequence[Delivery]) -> None:
        """Count what a rollback took as on its way again; `resume` brings it to its end."""
        now_ms = await self._ports.clock.now_ms()
        for delivery in gone:
            await self._ports.outbox.reopen(delivery, now_ms)
            self._ports.metrics.rollbacks[delivery.kind].inc()

    def _require_chain(self, chain_id: int) -> None:
        served = self._ports.chain.chain_id
        if chain_id != served:
            raise Misconfigured(f"message for chain {chain_id}, endpoint of {served}")

    async def _bring_to_end(self, delivery: Delivery) -> Outcome:
        if delivery.outcome is not None:
            return delivery.outcome
        if delivery.message_hash in self._under_way:
            raise HoldCycle(f"round {delivery.round} is being delivered already")
        self._under_way.add(delivery.message_hash)
        try:
            return await Courier(delivery, self._sender, self._ports, self._rules).run()
        finally:
            self._under_way.discard(delivery.message_hash)
