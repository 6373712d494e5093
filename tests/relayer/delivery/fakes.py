"""A chain with a memory pool, a contract that reads back, and time that only the test moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import rlp

from contracts.fields import keccak256
from relayer.chain.endpoints import NotTaken, SendAnswer, Taken
from relayer.chain.rpc import AccountStanding, Receipt, SendRefusal
from relayer.delivery.outbox import Delivery
from relayer.delivery.states import Effective, Outcome
from relayer.errors import RelayerError, Reverted, Unreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """A transaction as a node sees it."""

    raw: bytes
    tx_hash: bytes
    nonce: int
    tip: int
    fee: int
    payload: bytes


def decoded(raw: bytes) -> Pooled:
    fields = rlp.decode(raw[1:])
    numbers = [int.from_bytes(item, "big") for item in fields[:5]]
    return Pooled(
        raw=raw,
        tx_hash=keccak256(raw),
        nonce=numbers[1],
        tip=numbers[2],
        fee=numbers[3],
        payload=fields[7],
    )


@dataclass
class FakeChain:
    """Takes, loses, refuses and mines as told; every set of bytes it saw is kept in `seen`."""

    chain_id: int = 6343
    base_fee_wei: int = 1_000_000
    mined_nonce: int = 0
    balance_wei: int = 10**18
    pool: dict[int, Pooled] = field(default_factory=dict)
    receipts: dict[bytes, Receipt] = field(default_factory=dict)
    seen: list[bytes] = field(default_factory=list)
    block: int = 100
    final: int = 100
    mines_at_once: bool = True
    answers_with_receipt: bool = False
    refuses_gaps: bool = False
    script: list[Callable[[Pooled], SendAnswer | None]] = field(default_factory=list)
    estimates: int = 0
    refusal: Reverted | None = None
    down: RelayerError | None = None

    async def account(self, address: str) -> AccountStanding:
        self._reached()
        pending = self.mined_nonce
        while pending in self.pool:
            pending += 1
        return AccountStanding(
            mined_nonce=self.mined_nonce,
            pending_nonce=pending,
            balance_wei=self.balance_wei,
            base_fee_wei=self.base_fee_wei,
        )

    async def estimate_gas(self, sender: str, contract: str, payload: bytes) -> int:
        self._reached()
        self.estimates += 1
        if self.refusal and payload:
            raise self.refusal
        return 100_000

    async def send(self, raw: bytes) -> SendAnswer:
        self.seen.append(raw)
        self._reached()
        transaction = decoded(raw)
        if self.script:
            answer = self.script.pop(0)(transaction)
            if answer is not None:
                return answer
        return self.admit(transaction)

    def admit(self, transaction: Pooled) -> SendAnswer:
        """Do what a node does with a transaction that it was handed."""
        if transaction.tx_hash in self.receipts or transaction.nonce < self.mined_nonce:
            return NotTaken(refusal=SendRefusal.NONCE_TOO_LOW, detail="nonce too low")
        if self.refuses_gaps and transaction.nonce > self.mined_nonce + len(self.pool):
            return NotTaken(refusal=SendRefusal.NONCE_TOO_HIGH, detail="nonce too high")
        before = self.pool.get(transaction.nonce)
        if before and before.raw == transaction.raw:
            return Taken(receipt=None)
        if before and (transaction.fee <= before.fee or transaction.tip <= before.tip):
            return NotTaken(refusal=SendRefusal.UNDERPRICED, detail="replacement underpriced")
        self.pool[transaction.nonce] = transaction
        if self.mines_at_once:
            self.mine()
        found = self.receipts.get(transaction.tx_hash) if self.answers_with_receipt else None
        return Taken(receipt=found)

    def mine(self) -> None:
        """Mine what is next, as far as nonces go without a gap."""
        while transaction := self.pool.pop(self.mined_nonce, None):
            self.include(transaction)

    def include(self, transaction: Pooled, *, succeeded: bool = True) -> None:
        """Put one transaction into a block of its own."""
        self.block += 1
        self.mined_nonce += 1
        self.receipts[transaction.tx_hash] = Receipt(
            tx_hash=transaction.tx_hash,
            block_number=self.block,
            block_hash=keccak256(self.block.to_bytes(8, "big")),
            succeeded=succeeded,
            gas_used=90_000,
            gas_price_wei=self.base_fee_wei,
            l1_fee_wei=0,
            logs=(),
        )

    async def receipt(self, tx_hash: bytes) -> Receipt | None:
        self._reached()
        return self.receipts.get(tx_hash)

    async def receipts_of(self, tx_hashes: Sequence[bytes]) -> tuple[Receipt | None, ...]:
        self._reached()
        return tuple(self.receipts.get(each) for each in tx_hashes)

    async def knows(self, tx_hash: bytes) -> bool:
        self._reached()
        pooled = {transaction.tx_hash for transaction in self.pool.values()}
        return tx_hash in pooled or tx_hash in self.receipts

    async def final_block(self) -> int:
        self._reached()
        return self.final

    def roll_back(self, blocks: int) -> None:
        """Take the newest blocks off; their transactions are forgotten too."""
        kept = self.block - blocks
        gone = [each for each in self.receipts.values() if each.block_number > kept]
        for receipt in gone:
            del self.receipts[receipt.tx_hash]
        self.block = kept
        self.mined_nonce -= len(gone)

    def _reached(self) -> None:
        if self.down:
            raise self.down


@dataclass
class FakeReadBack:
    """The contract's word: effective, unless the test says otherwise."""

    latest: int = 9
    answers: list[Outcome | None] = field(default_factory=list)
    asked: int = 0

    async def confirm(self, delivery: Delivery, receipt: Receipt) -> Outcome | None:
        self.asked += 1
        if self.answers:
            return self.answers.pop(0)
        self.latest = max(self.latest, delivery.round)
        return Effective(
            tx_hash=receipt.tx_hash,
            block_number=receipt.block_number,
            gas_used=receipt.gas_used,
            skipped=(),
        )

    async def latest_round(self, contract: str) -> int:
        return self.latest


@dataclass
class FakeTime:
    """Clock and timer in one: sleeping moves both, and things may happen meanwhile."""

    now: int
    clock_runs: bool = True
    elapsed_s: float = 0.0
    events: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    async def now_ms(self) -> int:
        return self.now

    def monotonic_s(self) -> float:
        return self.elapsed_s

    async def sleep(self, seconds: float) -> None:
        self.elapsed_s += seconds
        if self.clock_runs:
            self.now += int(seconds * 1_000)
        due = [event for event in self.events if event[0] <= self.elapsed_s]
        for event in due:
            self.events.remove(event)
            event[1]()


def lost_on_the_way_there(_: Pooled) -> SendAnswer | None:
    """The node never got it, and the caller cannot know."""
    raise Unreachable("connection reset")


def refused(refusal: SendRefusal, detail: str = "") -> Callable[[Pooled], SendAnswer | None]:
    """The node says no."""
    return lambda _: NotTaken(refusal=refusal, detail=detail or refusal.value)
