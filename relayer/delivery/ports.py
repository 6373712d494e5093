"""What delivery asks of the world, and by which rules it waits, repeats and pays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from relayer.chain.endpoints import SendAnswer
from relayer.chain.rpc import Receipt
from relayer.delivery.fees import FeeRules
from relayer.delivery.nonces import AccountReader
from relayer.delivery.outbox import Delivery, Outbox
from relayer.delivery.states import Outcome
from relayer.metrics import Metrics


class Chain(AccountReader, Protocol):
    """The endpoint that takes transactions (`relayer.chain.endpoints.ChainEndpoint`)."""

    @property
    def chain_id(self) -> int:
        """The chain that it serves."""
        ...

    async def estimate_gas(self, sender: str, contract: str, payload: bytes) -> int:
        """Ask what a call would cost; `Reverted` when the contract would refuse it."""
        ...

    async def send(self, raw: bytes) -> SendAnswer:
        """Hand over signed bytes; `Retry` when the answer was lost."""
        ...

    async def receipt(self, tx_hash: bytes) -> Receipt | None:
        """Return a receipt, or None while there is none."""
        ...

    async def receipts_of(self, tx_hashes: Sequence[bytes]) -> tuple[Receipt | None, ...]:
        """Return several receipts in one round trip."""
        ...

    async def knows(self, tx_hash: bytes) -> bool:
        """Tell whether the node has a transaction, pending or mined."""
        ...

    async def final_block(self) -> int:
        """Return the number of the last block that no rollback takes back."""
        ...


class ReadBack(Protocol):
    """Success is what the contract says (`relayer.delivery.confirm.ContractReadBack`)."""

    async def confirm(self, delivery: Delivery, receipt: Receipt) -> Outcome | None:
        """Compare the contract with the message; None when the receipt's block is gone."""
        ...

    async def latest_round(self, contract: str) -> int:
        """Return the last round that a contract accepted."""
        ...


class Clock(Protocol):
    """The one clock in which messages expire."""

    async def now_ms(self) -> int:
        """Milliseconds since 1970."""
        ...


class Timer(Protocol):
    """Time between polls: the machine's own, since the clock may be held during a delivery."""

    def monotonic_s(self) -> float:
        """Seconds since some moment."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class LoopTimer:
    """The timer of the event loop."""

    def monotonic_s(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside that a delivery touches."""

    chain: Chain
    read_back: ReadBack
    outbox: Outbox
    clock: Clock
    timer: Timer
    metrics: Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRules:
    """How a delivery waits. The defaults suit blocks of 10 ms to 2 s."""

    fees: FeeRules
    poll_s: float = 0.2
    # A node that waits for its block may take as long as that; what is sent next need not.
    answer_within_s: float = 0.25
    resend_after_s: float = 2.0
    replace_after_s: float = 10.0
    give_up_after_s: float = 60.0
    # A contract of another clock may still accept what has just expired here.
    expiry_grace_ms: int = 3_000
    # Nodes behind one address are not in step: a nonce may be used up before its receipt shows.
    receipt_may_lag_polls: int = 10
