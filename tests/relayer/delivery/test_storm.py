"""Facts about many deliveries in bad weather: none lost, none twice, no nonce stranded."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
import sqlalchemy as sa

from contracts.messages import parse_calldata
from contracts.refusals import Refusal
from contracts.units import UnixMs
from relayer.chain.endpoints import SendAnswer, Taken
from relayer.chain.rpc import Receipt
from relayer.delivery.fees import FeeRules
from relayer.delivery.outbox import Delivery, Outbox
from relayer.delivery.ports import DeliveryRules, Ports
from relayer.delivery.states import Effective, Outcome, outcome_of_refusal
from relayer.delivery.transactor import Transactor
from relayer.errors import RelayerError, Unreachable
from relayer.storage import Database, deliveries
from tests.relayer import builders as b
from tests.relayer.delivery.fakes import FakeChain, FakeTime, Pooled, decoded

DECISIONS = 60
RULES = DeliveryRules(
    fees=FeeRules(), poll_s=0.5, resend_after_s=2, replace_after_s=6, give_up_after_s=20
)


class Killed(BaseException):
    """The process is gone."""


@dataclass
class StormyChain(FakeChain):
    """Loses, delays, forgets, rolls the sender's process over, and obeys the contract's law."""

    dice: random.Random = field(default_factory=lambda: random.Random(0))
    time: FakeTime = field(default_factory=lambda: FakeTime(b.NOW_MS))
    latest: int = 0
    effective: Counter[int] = field(default_factory=Counter)
    calm: bool = False

    async def send(self, raw: bytes) -> SendAnswer:
        self.seen.append(raw)
        transaction = decoded(raw)
        weather = 1.0 if self.calm else self.dice.random()
        if weather < 0.06:
            raise Killed  # before the wire
        if weather < 0.16:
            raise Unreachable("lost on the way there")
        answer = self.admit(transaction)
        if weather < 0.22:
            raise Killed  # after the node took it
        if weather < 0.32:
            raise Unreachable("the answer was lost")
        if weather < 0.40 and isinstance(answer, Taken):
            self.pool.pop(transaction.nonce, None)  # taken, and forgotten
        return answer

    async def receipt(self, tx_hash: bytes) -> Receipt | None:
        if not self.calm and self.dice.random() < 0.05:
            raise Unreachable("reset")
        self.tick()
        return await super().receipt(tx_hash)

    def tick(self) -> None:
        """Mine now and then, as the contract's law has it."""
        if self.dice.random() > 0.3 and not self.calm:
            return
        while transaction := self.pool.pop(self.mined_nonce, None):
            self.include(transaction, succeeded=self.execute(transaction))

    def execute(self, transaction: Pooled) -> bool:
        """Do what the contract would: newer rounds only, and in time."""
        if not transaction.payload:
            return True
        message, _ = parse_calldata(transaction.payload)
        if message.round <= self.latest or message.valid_until_ms < self.time.now:
            return False
        self.latest = message.round
        self.effective[message.round] += 1
        return True

    async def confirm(self, delivery: Delivery, receipt: Receipt) -> Outcome | None:
        if receipt.succeeded:
            return Effective(
                tx_hash=receipt.tx_hash,
                block_number=receipt.block_number,
                gas_used=receipt.gas_used,
                skipped=(),
            )
        stale = delivery.round <= self.latest
        code = Refusal.STALE_ROUND if stale else Refusal.EXPIRED
        return outcome_of_refusal(code, code.name, self.latest, receipt.tx_hash)

    async def latest_round(self, contract: str) -> int:
        return self.latest


@pytest.mark.parametrize("resumes", [True, False])
@pytest.mark.parametrize("seed", range(3))
async def test_storm__sixty_decisions__each_ends_once_and_the_chain_agrees(
    database: Database, seed: int, resumes: bool
) -> None:
    time = FakeTime(b.NOW_MS)
    chain = StormyChain(mines_at_once=False, dice=random.Random(seed), time=time)
    ports = Ports(
        chain=chain,
        read_back=chain,
        outbox=Outbox(database),
        clock=time,
        timer=time,
        metrics=b.metrics(),
    )
    transactor = Transactor(b.key(77), ports, RULES)
    for number in range(1, DECISIONS + 1):
        try:
            await deliver(transactor, number, time)
        except (Killed, RelayerError):
            transactor = await restarted(ports, resumes=resumes)
    chain.calm = True
    await Transactor(b.key(77), ports, RULES).resume()

    rows = await database.read(lambda c: c.execute(sa.select(deliveries)).all())
    states = {row.round: row.state for row in rows}
    assert len(states) == DECISIONS
    assert set(states.values()) <= {"effective", "superseded", "expired"}
    assert {round_ for round_, state in states.items() if state == "effective"} == set(
        chain.effective
    )
    assert set(chain.effective.values()) == {1}
    assert len(chain.effective) > DECISIONS // 2
    assert chain.pool == {}
    assert isinstance(await deliver(Transactor(b.key(77), ports, RULES), 900, time), Effective)


async def restarted(ports: Ports, *, resumes: bool) -> Transactor:
    """A new process on the same disk; it may be killed again while it resumes."""
    while True:
        transactor = Transactor(b.key(77), ports, RULES)
        try:
            if resumes:
                await transactor.resume()
        except (Killed, RelayerError):
            continue
        return transactor


async def deliver(transactor: Transactor, round_: int, time: FakeTime) -> Outcome:
    now = UnixMs(time.now)
    message = replace(
        b.price_round(1, round_), observed_at_ms=now, valid_until_ms=UnixMs(now + 15_000)
    )
    return await transactor.deliver(b.sign_with(b.price_proposal(message), b.PRICE_KEYS[:2]))
