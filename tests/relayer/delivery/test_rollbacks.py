"""Facts about blocks that are taken back: what was in them goes out again, once."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from agent.delivering import JournalledDelivery
from relayer.delivery.fees import FeeRules
from relayer.delivery.outbox import Outbox
from relayer.delivery.ports import DeliveryRules, Ports
from relayer.delivery.states import Effective, Superseded
from relayer.delivery.transactor import Transactor
from relayer.journal import DecisionEntry, Journal
from relayer.metrics import Metrics
from relayer.signing.values import SignedMessage
from relayer.storage import Database
from tests.relayer import builders as b
from tests.relayer.delivery.fakes import FakeChain, FakeReadBack, FakeTime, decoded

RULES = DeliveryRules(fees=FeeRules(), poll_s=0.2, resend_after_s=2, replace_after_s=10)


@dataclass
class World:
    """A daemon's delivery; `delivery()` is a new process on the same disk."""

    database: Database
    chain: FakeChain = field(default_factory=FakeChain)
    read_back: FakeReadBack = field(default_factory=FakeReadBack)
    time: FakeTime = field(default_factory=lambda: FakeTime(b.NOW_MS))
    metrics: Metrics = field(default_factory=b.metrics)

    def delivery(self) -> JournalledDelivery:
        outbox = Outbox(self.database)
        ports = Ports(
            chain=self.chain,
            read_back=self.read_back,
            outbox=outbox,
            clock=self.time,
            timer=self.time,
            metrics=self.metrics,
        )
        return JournalledDelivery(Transactor(b.key(77), ports, RULES), self.journal, outbox)

    @property
    def journal(self) -> Journal:
        return Journal(self.database)

    async def decided(self, round_: int) -> SignedMessage:
        message = b.sign_with(b.price_proposal(b.price_round(round_=round_)), b.PRICE_KEYS[:2])
        entry = DecisionEntry(
            kind="price",
            chain_id=b.CHAIN_ID,
            contract=b.PRICE_FEED,
            round=round_,
            decided_at_ms=b.NOW_MS,
            message_hash=message.message_hash,
            evidence_hash=b"\xee" * 32,
        )
        await self.journal.record_decision(entry)
        return message

    async def state(self, round_: int) -> str:
        (entry,) = await self.journal.decisions_of_round(b.CHAIN_ID, b.PRICE_FEED, round_)
        return entry.state


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def landed(world: World, *rounds: int) -> JournalledDelivery:
    delivery = world.delivery()
    for round_ in rounds:
        assert isinstance(await delivery.deliver(await world.decided(round_)), Effective)
    await delivery.resume()
    return delivery


async def test_rollback__of_effective_blocks__the_same_bytes_go_out_again_in_order(
    world: World,
) -> None:
    delivery = await landed(world, 10, 11, 12)
    first = list(world.chain.seen)
    world.chain.roll_back(2)
    world.read_back.latest = 10
    await delivery.resume()
    assert world.chain.seen[3:] == first[1:]
    assert [await world.state(round_) for round_ in (10, 11, 12)] == ["effective"] * 3
    assert world.metrics.rollbacks["price"]._value.get() == 2
    await delivery.resume()
    assert len(world.chain.seen) == 5


async def test_rollback__found_by_the_next_process__is_settled_there(world: World) -> None:
    await landed(world, 10)
    world.chain.roll_back(1)
    world.read_back.latest = 9
    await world.delivery().resume()
    assert await world.state(10) == "effective"
    assert len(world.chain.seen) == 2


async def test_rollback__below_a_block_that_was_final_at_the_last_look__is_not_looked_for(
    world: World,
) -> None:
    delivery = await landed(world, 10)
    world.chain.final = world.chain.block
    await delivery.resume()
    world.chain.roll_back(1)
    await delivery.resume()
    assert len(world.chain.seen) == 1
    assert await world.state(10) == "effective"


async def test_rollback__final_moved_past_it_between_two_looks__is_found(world: World) -> None:
    delivery = await landed(world, 10)
    world.chain.roll_back(1)
    world.read_back.latest = 9
    world.chain.final = world.chain.block + 16
    await delivery.resume()
    assert len(world.chain.seen) == 2
    assert await world.state(10) == "effective"


async def test_rollback__nonce_of_a_message_that_ended_otherwise__is_used_up_for_nothing(
    world: World,
) -> None:
    """A cancelled nonce comes back; a later message would wait behind it for ever."""
    delivery = world.delivery()
    world.chain.mines_at_once = False
    message = await world.decided(10)
    await Outbox(world.database).plan(message, b.key(77).address, b.NOW_MS)
    world.chain.mined_nonce = 0
    transactor = delivery._transactor
    transactor._sender.nonces.take(3)  # a later one that is on its way
    await transactor._sender.fill_gaps()
    assert [(decoded(raw).nonce, decoded(raw).payload) for raw in world.chain.seen] == [
        (0, b""),
        (1, b""),
        (2, b""),
    ]


async def test_superseded__our_receipt_shows_a_moment_later__is_effective(world: World) -> None:
    """Both rounds were mined between the look for our receipt and the look at the contract."""
    delivery = world.delivery()
    world.chain.mines_at_once = False
    message = await world.decided(10)
    outbox = Outbox(world.database)
    planned = await outbox.plan(message, b.key(77).address, b.NOW_MS)
    sent = await delivery._transactor._sender.post(planned)
    world.read_back.latest = 11
    world.time.events.append((0.5, world.chain.mine))
    (outcome,) = await world.delivery().resume()
    assert isinstance(outcome, Effective), sent


async def test_superseded__no_receipt_ever__is_said_after_as_long_as_nodes_may_lag(
    world: World,
) -> None:
    delivery = world.delivery()
    world.chain.mines_at_once = False
    message = await world.decided(10)
    planned = await Outbox(world.database).plan(message, b.key(77).address, b.NOW_MS)
    await delivery._transactor._sender.post(planned)
    world.read_back.latest = 11
    world.time.events.append((4.0, world.chain.mine))
    (outcome,) = await world.delivery().resume()
    assert isinstance(outcome, Superseded)
    assert world.time.elapsed_s >= RULES.receipt_may_lag_polls * RULES.poll_s
