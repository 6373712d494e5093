"""Signs and sends for one account, one transaction at a time: first the disk, then the wire."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from relayer.chain.endpoints import NotTaken, SendAnswer
from relayer.chain.rpc import SendRefusal
from relayer.delivery import fees
from relayer.delivery.fees import Fees
from relayer.delivery.nonces import Nonces
from relayer.delivery.outbox import Attempt, Delivery, Purpose
from relayer.delivery.ports import DeliveryRules, Ports
from relayer.delivery.states import Failed, FailureReason
from relayer.delivery.transactions import Transaction, sign_off_loop
from relayer.errors import Retry
from relayer.signing.keys import Key

_TRIES: Final = 4  # nonce and fee mended, and once more for each
_GAP_GAS_A_WORD: Final = 24_000  # a slot that is cold and new (22,100), and what is around it


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A delivery with its newest bytes out; `answer` None where it was lost or is yet to come."""

    delivery: Delivery
    answer: SendAnswer | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent:
    """A delivery whose message no node has, and why that is final."""

    delivery: Delivery
    failure: Failed


class Sender:
    """The account that pays gas. Its lock keeps nonces in the order in which they go out."""

    def __init__(self, key: Key, ports: Ports, rules: DeliveryRules) -> None:
        self._key = key
        self._ports = ports
        self._rules = rules
        self._turn = asyncio.Lock()
        self._gas: dict[tuple[str, int], int] = {}
        self._answering: set[asyncio.Task[SendAnswer | None]] = set()
        self.nonces = Nonces(ports.chain, key.address, ports.metrics.sender_balance_ether)

    @property
    def address(self) -> str:
        """The account's address."""
        return self._key.address

    async def post(self, delivery: Delivery) -> Sent | Unsent:
        """Sign a message's transaction with the next nonce and send it.

        Raises
        ------
        Reverted
            The contract would refuse the message; nothing was signed.
        """
        async with self._turn:
            gas = await self._gas_limit(delivery)
            return await self._post(delivery, gas, None, _TRIES)

    async def _post(
        self, delivery: Delivery, gas: int, raised: Fees | None, tries: int
    ) -> Sent | Unsent:
        offer = raised or await self._first_offer()
        if offer is None:
            return Unsent(delivery=delivery, failure=_too_dear())
        nonce = await self.nonces.next_nonce()
        kept = await self._keep(delivery, Purpose.POST, nonce, gas, offer)
        answer = await self._hand_over(kept)
        if not isinstance(answer, NotTaken) or self._waits_for_earlier(answer, nonce):
            return Sent(delivery=kept, answer=answer)
        self.nonces.give_back(nonce)
        if answer.refusal not in _MENDABLE or tries == 1:
            return Unsent(delivery=kept, failure=_refused(answer))
        await self.nonces.reconcile()
        return await self._post(kept, gas, self._raise_after(answer, offer), tries - 1)

    async def _first_offer(self) -> Fees | None:
        """Bid by the base fee last heard of; above the cap only the chain's newest one counts."""
        await self.nonces.next_nonce()  # the first of all asks the chain, for its base fee too
        offer = fees.first_offer(self.nonces.base_fee_wei, self._rules.fees)
        if offer is None:
            # Nothing is sent above the cap, so nothing that is mined would ever bring a lower one.
            await self.nonces.reconcile()
            offer = fees.first_offer(self.nonces.base_fee_wei, self._rules.fees)
        return offer

    async def replace(self, delivery: Delivery) -> Sent | None:
        """Send the same message with both fees raised; None when the rules allow no more."""
        async with self._turn:
            posts = [a for a in delivery.attempts if a.nonce == delivery.nonce]
            if len(posts) > self._rules.fees.max_replacements:
                return None
            return await self._outbid(delivery, Purpose.POST, posts[-1].gas_limit)

    async def cancel(self, delivery: Delivery) -> Sent | None:
        """Use up a delivery's nonce with a transfer of nothing; None at the fee cap."""
        async with self._turn:
            gas = await self._ports.chain.estimate_gas(self.address, self.address, b"")
            limit = fees.gas_limit(gas, self._rules.fees)
            return await self._outbid(delivery, Purpose.CANCEL, limit)

    async def fill_gaps(self) -> None:
        """Use up nonces that a rollback gave back and nobody needs: later ones wait behind them.

        What had used them ended otherwise than effective, and is not to be sent again: a message
        that was superseded may count once more on the chain as it is now.
        """
        async with self._turn:
            if not self.nonces.has_open():
                return
            standing = await self.nonces.standing()
            for nonce in self.nonces.gaps_from(standing.pending_nonce):
                await self._send_nothing(nonce, standing.base_fee_wei)

    async def _send_nothing(self, nonce: int, base_fee_wei: int) -> None:
        offer = fees.first_offer(base_fee_wei, self._rules.fees)
        if offer is None:
            return
        gas = await self._ports.chain.estimate_gas(self.address, self.address, b"")
        transaction = Transaction(
            chain_id=self._ports.chain.chain_id,
            nonce=nonce,
            fees=offer,
            gas_limit=fees.gas_limit(gas, self._rules.fees),
            recipient=self.address,
            payload=b"",
        )
        signed = await sign_off_loop(transaction, self._key)
        with suppress(Retry):  # it need not be kept: lost, it is made again
            await self._ports.chain.send(signed.raw)

    async def resend(self, delivery: Delivery) -> Sent:
        """Send the newest bytes again, as they are."""
        return Sent(delivery=delivery, answer=await self._hand_over(delivery))

    def forget_gas(self, delivery: Delivery) -> None:
        """Ask the endpoint again before the next message of this shape."""
        self._gas.pop(_shape(delivery), None)

    async def _gas_limit(self, delivery: Delivery) -> int:
        # The estimate also asks the contract: what it would refuse costs no gas and no nonce. A
        # shape seen before is not worth that round trip; but a call costs what it finds to do.
        shape = _shape(delivery)
        if delivery.is_call:
            self._gas.pop(shape, None)
        if shape not in self._gas:
            estimate = await self._ports.chain.estimate_gas(
                self.address, delivery.contract, delivery.payload
            )
            self._gas[shape] = fees.gas_limit(estimate, self._rules.fees) + _unseen(delivery)
        return self._gas[shape]

    async def _outbid(self, delivery: Delivery, purpose: Purpose, gas: int) -> Sent | None:
        assert delivery.nonce is not None
        standing = await self.nonces.standing()
        last = delivery.attempts[-1].fees
        offer = fees.replacement(last, standing.base_fee_wei, self._rules.fees)
        if offer is None:
            return None
        delivery = await self._keep(delivery, purpose, delivery.nonce, gas, offer)
        self._ports.metrics.replacements[delivery.kind].inc()
        return Sent(delivery=delivery, answer=await self._hand_over(delivery))

    async def _keep(
        self, delivery: Delivery, purpose: Purpose, nonce: int, gas: int, offer: Fees
    ) -> Delivery:
        """Sign, and put the bytes on disk; only then does the nonce count as used."""
        posting = purpose is Purpose.POST
        transaction = Transaction(
            chain_id=self._ports.chain.chain_id,
            nonce=nonce,
            fees=offer,
            gas_limit=gas,
            recipient=delivery.contract if posting else self.address,
            payload=delivery.payload if posting else b"",
        )
        signed = await sign_off_loop(transaction, self._key)
        attempt = Attempt(
            purpose=purpose,
            nonce=nonce,
            gas_limit=gas,
            fees=offer,
            raw=signed.raw,
            tx_hash=signed.tx_hash,
            signed_at_ms=await self._ports.clock.now_ms(),
        )
        kept = await self._ports.outbox.attach(delivery, attempt)
        self.nonces.take(nonce)
        return kept

    async def _hand_over(self, delivery: Delivery) -> SendAnswer | None:
        """Give bytes to the node, and wait for its answer, but not so long that others wait too.

        An answer that comes later is not needed: the receipt is polled for, and what a node did
        not take is handed over again.
        """
        answering = asyncio.create_task(self._answer(delivery.attempts[-1].raw))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)
        await asyncio.wait({answering}, timeout=self._rules.answer_within_s)
        return answering.result() if answering.done() else None

    async def _answer(self, raw: bytes) -> SendAnswer | None:
        try:
            return await self._ports.chain.send(raw)
        except Retry:
            return None

    def _waits_for_earlier(self, answer: NotTaken, nonce: int) -> bool:
        # The node lost an earlier transaction of ours: its own courier sends it again, and ours
        # follows. Taking that one's nonce instead would throw its message away.
        gap = answer.refusal is SendRefusal.NONCE_TOO_HIGH
        return gap and self.nonces.has_open_below(nonce)

    def _raise_after(self, answer: NotTaken, offer: Fees) -> Fees | None:
        if answer.refusal is not SendRefusal.UNDERPRICED:
            return None
        return fees.replacement(offer, self.nonces.base_fee_wei, self._rules.fees)


_MENDABLE: Final = frozenset(
    {SendRefusal.NONCE_TOO_LOW, SendRefusal.NONCE_TOO_HIGH, SendRefusal.UNDERPRICED}
)


def _shape(delivery: Delivery) -> tuple[str, int]:
    return delivery.contract, len(delivery.payload)


def _unseen(delivery: Delivery) -> int:
    """Give room for what an estimate of calmer times did not see: a slot a word ends price gaps."""
    return _GAP_GAS_A_WORD * (len(delivery.payload) // 32) if delivery.kind == "price" else 0


def _too_dear() -> Failed:
    return Failed(reason=FailureReason.FEE_CAP, detail="the base fee is above max_fee_cap_wei")


def _refused(answer: NotTaken) -> Failed:
    poor = answer.refusal is SendRefusal.NO_FUNDS
    reason = FailureReason.NO_FUNDS if poor else FailureReason.REFUSED_BY_CHAIN
    return Failed(reason=reason, detail=answer.detail)
