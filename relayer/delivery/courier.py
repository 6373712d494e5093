"""Brings one delivery to its end: send, wait, repeat, outbid, give up, and always read back."""

from __future__ import annotations

import math

from relayer.chain.endpoints import NotTaken, Taken
from relayer.chain.rpc import Receipt, SendRefusal
from relayer.delivery.outbox import Attempt, Delivery, Purpose
from relayer.delivery.ports import DeliveryRules, Ports
from relayer.delivery.sender import Sender, Sent, Unsent
from relayer.delivery.states import (
    DeliveryState,
    Effective,
    Expired,
    Outcome,
    Superseded,
    outcome_of_refusal,
)
from relayer.errors import RateLimited, Retry, Reverted, Unreachable, fault_reason


class Courier:
    """One delivery under way; `delivery` is what the outbox has of it."""

    def __init__(
        self, delivery: Delivery, sender: Sender, ports: Ports, rules: DeliveryRules
    ) -> None:
        self.delivery = delivery
        self._sender = sender
        self._ports = ports
        self._rules = rules
        self._started_s = ports.timer.monotonic_s()
        self._sent_s = -math.inf  # what an earlier process left is to be sent again at once
        self._signed_s = self._started_s
        self._polls_since_used = 0
        self._polls_overtaken = 0
        self._receipt: Receipt | None = None
        self._end: Outcome | None = None

    async def run(self) -> Outcome:
        """Go on until the delivery has ended.

        Raises
        ------
        Unreachable
            Not mined within `give_up_after_s`; the delivery stays open in the outbox, and
            `Transactor.resume` goes on with it.
        """
        while self.delivery.outcome is None:
            pause_s = self._rules.poll_s
            try:
                await self._step()
            except Retry as fault:
                self._ports.metrics.endpoint_faults[fault_reason(fault)].inc()
                self._give_up_waiting(fault)
                pause_s = max(pause_s, _asked_to_wait_s(fault))
            if self.delivery.outcome is None and self._receipt is None:
                await self._ports.timer.sleep(pause_s)
                self._give_up_waiting(None)
        return self.delivery.outcome

    async def _step(self) -> None:
        receipt = self._receipt or await self._find_receipt()
        if receipt is not None:
            self._receipt = None
            await self._settle(receipt)
        elif (end := await self._hopeless()) is not None:
            await self._abandon(end)
        elif self._polls_overtaken:
            return  # nothing is sent that could only revert
        elif not self.delivery.attempts or self._nonce_is_lost():
            await self._post()
        elif self._is_left_over():
            await self._note(await self._sender.resend(self.delivery))
        elif self._waited(self._signed_s, self._rules.replace_after_s):
            await self._note_new(await self._sender.replace(self.delivery))
        elif self._waited(self._sent_s, self._rules.resend_after_s):
            await self._note(await self._sender.resend(self.delivery))

    async def _find_receipt(self) -> Receipt | None:
        hashes = [attempt.tx_hash for attempt in reversed(self.delivery.attempts)]
        if len(hashes) == 1:
            return await self._ports.chain.receipt(hashes[0])
        found = await self._ports.chain.receipts_of(hashes) if hashes else ()
        return next((receipt for receipt in found if receipt is not None), None)

    async def _settle(self, receipt: Receipt) -> None:
        """Judge what was mined: only what the contract says counts."""
        attempt = self._attempt(receipt.tx_hash)
        if attempt.purpose is Purpose.CANCEL:
            self._sender.nonces.settle(attempt.nonce)
            await self._close(await self._hopeless() or Expired(detail="given up before"))
            return
        if self.delivery.state is not DeliveryState.MINED:
            await self._mark(DeliveryState.MINED)
        outcome = await self._ports.read_back.confirm(self.delivery, receipt)
        if outcome is None:
            await self._mark(DeliveryState.SENT)  # rolled back: out again, to be mined again
            return
        self._sender.nonces.settle(attempt.nonce)
        self._sender.nonces.note_price(receipt.gas_price_wei)
        if not receipt.succeeded:
            self._sender.forget_gas(self.delivery)
        await self._close(outcome)

    async def _hopeless(self) -> Outcome | None:
        """Say why the message can no longer take effect; once said, it stays so."""
        if self._end is None:
            self._end = await self._look_for_end()
        return self._end

    async def _look_for_end(self) -> Outcome | None:
        grace_ms = self._rules.expiry_grace_ms
        if await self._ports.clock.now_ms() > self.delivery.valid_until_ms + grace_ms:
            return Expired(detail="not mined before valid_until")
        if not self.delivery.attempts:
            return None
        # One more call, so only where something looks wrong: stuck, or left by an earlier process.
        looks_wrong = self._is_left_over() or self._waited(
            self._signed_s, self._rules.replace_after_s
        )
        if looks_wrong and not self.delivery.is_call:
            latest = await self._ports.read_back.latest_round(self.delivery.contract)
            if latest >= self.delivery.round:
                return self._superseded(latest)
            self._polls_overtaken = 0
        cancelled = self.delivery.attempts[-1].purpose is Purpose.CANCEL
        return Expired(detail="given up before") if cancelled else None

    def _superseded(self, latest: int) -> Superseded | None:
        """Say so once no receipt of ours has shown for a while: it may be among those rounds."""
        self._polls_overtaken += 1
        lagging = self._polls_overtaken <= self._rules.receipt_may_lag_polls
        return None if lagging else Superseded(latest_round=latest)

    def _is_left_over(self) -> bool:
        return bool(self.delivery.attempts) and self._sent_s == -math.inf

    async def _abandon(self, end: Outcome) -> None:
        """End a hopeless delivery; a nonce that others wait behind is used up for nothing."""
        nonce = self.delivery.nonce
        if nonce is None:
            await self._close(end)
        elif self._nonce_is_lost():
            self._sender.nonces.settle(nonce)
            await self._close(end)
        elif self._sender.nonces.is_newest(nonce) and not await _is_pending(
            self._ports, self.delivery
        ):
            self._sender.nonces.give_back(nonce)
            await self._close(end)
        elif self.delivery.attempts[-1].purpose is not Purpose.CANCEL or self._waited(
            self._signed_s, self._rules.replace_after_s
        ):
            await self._note_new(await self._sender.cancel(self.delivery))
        elif self._waited(self._sent_s, self._rules.resend_after_s):
            await self._note(await self._sender.resend(self.delivery))

    async def _post(self) -> None:
        if self.delivery.nonce is not None:
            self._sender.nonces.settle(self.delivery.nonce)
        self._polls_since_used = 0  # of the nonce before: what outbids it does not begin anew
        try:
            sent = await self._sender.post(self.delivery)
        except Reverted as refused:
            latest = await _latest_round(self._ports, self.delivery)
            await self._close(outcome_of_refusal(refused.code, str(refused), latest))
            return
        if isinstance(sent, Unsent):
            self.delivery = sent.delivery
            await self._close(sent.failure)
            return
        await self._note_new(sent)

    async def _note_new(self, sent: Sent | None) -> None:
        """Take note of new bytes; None: the cap is reached, what is out stays out."""
        self._signed_s = self._ports.timer.monotonic_s()
        if sent is not None:
            await self._note(sent)

    async def _note(self, sent: Sent) -> None:
        self.delivery = sent.delivery
        self._sent_s = self._ports.timer.monotonic_s()
        if self.delivery.state is DeliveryState.SIGNED:
            await self._mark(DeliveryState.SENT)
        answer = sent.answer
        if isinstance(answer, Taken):
            self._receipt = answer.receipt
        elif isinstance(answer, NotTaken) and answer.refusal is SendRefusal.NONCE_TOO_LOW:
            self._polls_since_used += 1

    def _nonce_is_lost(self) -> bool:
        """Tell whether somebody else used our nonce: it is used up, and no receipt is ours."""
        if not self._polls_since_used:
            return False
        self._polls_since_used += 1
        return self._polls_since_used > self._rules.receipt_may_lag_polls

    def _attempt(self, tx_hash: bytes) -> Attempt:
        return next(a for a in self.delivery.attempts if a.tx_hash == tx_hash)

    async def _mark(self, state: DeliveryState) -> None:
        now_ms = await self._ports.clock.now_ms()
        self.delivery = await self._ports.outbox.mark(self.delivery, state, now_ms)

    async def _close(self, outcome: Outcome) -> None:
        now_ms = await self._ports.clock.now_ms()
        self.delivery = await self._ports.outbox.close(self.delivery, outcome, now_ms)
        kind, metrics = self.delivery.kind, self._ports.metrics
        metrics.deliveries[kind, self.delivery.state.value].inc()
        if isinstance(outcome, Effective):
            metrics.skipped_items[kind].inc(len(outcome.skipped))

    def _waited(self, since_s: float, least_s: float) -> bool:
        return self._ports.timer.monotonic_s() - since_s >= least_s

    def _give_up_waiting(self, fault: Retry | None) -> None:
        if self._waited(self._started_s, self._rules.give_up_after_s):
            waited = f"round {self.delivery.round} not mined in {self._rules.give_up_after_s:.0f} s"
            raise Unreachable(f"{waited}; it stays in the outbox") from fault


def _asked_to_wait_s(fault: Retry) -> float:
    return (fault.retry_after_s or 0.0) if isinstance(fault, RateLimited) else 0.0


async def _latest_round(ports: Ports, delivery: Delivery) -> int:
    """Give the contract's round; 0 for a call, which has none."""
    return 0 if delivery.is_call else await ports.read_back.latest_round(delivery.contract)


async def _is_pending(ports: Ports, delivery: Delivery) -> bool:
    for attempt in delivery.attempts:
        if await ports.chain.knows(attempt.tx_hash):
            return True
    return False
