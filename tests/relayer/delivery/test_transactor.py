"""Facts about delivery: once, or not at all and said so, whatever breaks on the way."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field, replace

import pytest
import sqlalchemy as sa

from contracts.refusals import Refusal
from contracts.units import MarketId
from relayer.chain.endpoints import SendAnswer, Taken
from relayer.chain.rpc import Receipt, SendRefusal
from relayer.chain.values import SkippedItem
from relayer.delivery.fees import FeeRules
from relayer.delivery.outbox import Outbox
from relayer.delivery.ports import DeliveryRules, Ports
from relayer.delivery.states import (
    Effective,
    Expired,
    Failed,
    FailureReason,
    Superseded,
)
from relayer.delivery.transactor import Transactor
from relayer.errors import (
    BadAnswer,
    HoldCycle,
    Misconfigured,
    RateLimited,
    Reverted,
    StorageFailed,
    Unreachable,
)
from relayer.metrics import Metrics
from relayer.signing.values import SignedMessage
from relayer.storage import Database, attempts, deliveries
from tests.relayer import builders as b
from tests.relayer.delivery.fakes import (
    FakeChain,
    FakeReadBack,
    FakeTime,
    Pooled,
    decoded,
    lost_on_the_way_there,
    refused,
)

SENDER = b.key(77)
RULES = DeliveryRules(fees=FeeRules(), poll_s=0.2, resend_after_s=2, replace_after_s=10)


@dataclass
class World:
    """Everything around a transactor; `transactor()` is a new process on the same disk."""

    database: Database
    chain: FakeChain = field(default_factory=FakeChain)
    read_back: FakeReadBack = field(default_factory=FakeReadBack)
    time: FakeTime = field(default_factory=lambda: FakeTime(b.NOW_MS))
    metrics: Metrics = field(default_factory=b.metrics)

    def transactor(self, **rules: object) -> Transactor:
        ports = Ports(
            chain=self.chain,
            read_back=self.read_back,
            outbox=Outbox(self.database),
            clock=self.time,
            timer=self.time,
            metrics=self.metrics,
        )
        return Transactor(SENDER, ports, replace(RULES, **rules))  # type: ignore[arg-type]

    async def states(self) -> list[str]:
        query = sa.select(deliveries.c.state).order_by(deliveries.c.id)
        return list(await self.database.read(lambda c: c.scalars(query).all()))

    async def kept(self) -> list[bytes]:
        query = sa.select(attempts.c.raw).order_by(attempts.c.id)
        return list(await self.database.read(lambda c: c.scalars(query).all()))


class NeverAnswers(FakeChain):
    """Takes each transaction, and answers none."""

    async def send(self, raw: bytes) -> SendAnswer:
        await super().send(raw)
        return await asyncio.Future[SendAnswer]()


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def signed(round_: int = 10) -> SignedMessage:
    return b.sign_with(b.price_proposal(b.price_round(round_=round_)), b.PRICE_KEYS[:2])


async def test_deliver__mined__is_effective_only_after_the_read_back(world: World) -> None:
    outcome = await world.transactor().deliver(signed())
    assert isinstance(outcome, Effective)
    assert world.read_back.asked == 1
    assert await world.states() == ["effective"]
    assert world.metrics.deliveries["price", "effective"]._value.get() == 1


async def test_deliver__receipt_with_the_answer__needs_no_poll(world: World) -> None:
    world.chain.answers_with_receipt = True
    assert isinstance(await world.transactor().deliver(signed()), Effective)
    assert world.time.elapsed_s == 0


async def test_deliver__bytes_are_on_disk_before_they_leave(world: World) -> None:
    kept_before: list[bytes] = []

    def look(transaction: Pooled) -> SendAnswer | None:
        with world.database.engine.connect() as connection:
            kept_before.extend(connection.scalars(sa.select(attempts.c.raw)))
        return None

    world.chain.script = [look]
    await world.transactor().deliver(signed())
    assert kept_before == world.chain.seen


async def test_deliver__disk_does_not_take_the_bytes__nothing_leaves(world: World) -> None:
    with world.database.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE delivery_attempts"))
    with pytest.raises(StorageFailed):
        await world.transactor().deliver(signed())
    assert world.chain.seen == []


async def test_deliver__same_message_again__returns_its_outcome_and_sends_nothing(
    world: World,
) -> None:
    first = await world.transactor().deliver(signed())
    assert await world.transactor().deliver(signed()) == first
    assert len(world.chain.seen) == 1


async def test_deliver__same_message_twice_at_once__is_sent_once(world: World) -> None:
    transactor = world.transactor()
    both = await asyncio.gather(
        transactor.deliver(signed()), transactor.deliver(signed()), return_exceptions=True
    )
    assert sum(isinstance(one, Effective) for one in both) == 1
    assert sum(isinstance(one, HoldCycle) for one in both) == 1
    assert len(world.chain.seen) == 1


async def test_deliver__many_at_once__each_nonce_once_and_in_order(world: World) -> None:
    transactor = world.transactor()
    outcomes = await asyncio.gather(*(transactor.deliver(signed(n)) for n in range(10, 20)))
    assert all(isinstance(outcome, Effective) for outcome in outcomes)
    assert [decoded(raw).nonce for raw in world.chain.seen] == list(range(10))


async def test_deliver__one_answer_never_comes__later_ones_go_out_behind_it(world: World) -> None:
    world.chain = chain = NeverAnswers()
    transactor = world.transactor(answer_within_s=0.01)
    outcomes = await asyncio.gather(*(transactor.deliver(signed(n)) for n in (10, 11, 12)))
    assert all(isinstance(outcome, Effective) for outcome in outcomes)
    assert [decoded(raw).nonce for raw in chain.seen] == [0, 1, 2]


async def test_deliver__shape_seen_before__is_not_estimated_again(world: World) -> None:
    transactor = world.transactor()
    await transactor.deliver(signed(10))
    await transactor.deliver(signed(11))
    assert world.chain.estimates == 1


async def test_deliver__other_chain__is_refused_before_anything_is_kept(world: World) -> None:
    world.chain.chain_id = 4326
    with pytest.raises(Misconfigured, match="chain 6343"):
        await world.transactor().deliver(signed())
    assert await world.states() == []


async def test_deliver__contract_would_refuse__costs_no_nonce(world: World) -> None:
    world.chain.refusal = Reverted("UNKNOWN_SIGNER", code=Refusal.UNKNOWN_SIGNER)
    outcome = await world.transactor().deliver(signed())
    assert isinstance(outcome, Failed)
    assert outcome.reason is FailureReason.REVERTED
    assert "UNKNOWN_SIGNER" in outcome.detail
    assert world.chain.seen == []


async def test_deliver__contract_has_a_newer_round__is_superseded(world: World) -> None:
    world.chain.refusal = Reverted("STALE_ROUND", code=Refusal.STALE_ROUND)
    world.read_back.latest = 15
    assert await world.transactor().deliver(signed()) == Superseded(latest_round=15)


async def test_deliver__answer_lost_after_the_node_took_it__is_found_not_doubled(
    world: World,
) -> None:
    def taken_then_lost(transaction: Pooled) -> SendAnswer | None:
        world.chain.admit(transaction)
        raise BadAnswer("half an answer")

    world.chain.script = [taken_then_lost]
    assert isinstance(await world.transactor().deliver(signed()), Effective)
    assert len(await world.kept()) == 1


async def test_deliver__lost_before_the_node__the_same_bytes_go_again(world: World) -> None:
    world.chain.script = [lost_on_the_way_there, lost_on_the_way_there]
    assert isinstance(await world.transactor().deliver(signed()), Effective)
    assert len(world.chain.seen) == 3
    assert set(world.chain.seen) == set(await world.kept())
    assert len(await world.kept()) == 1


async def test_deliver__nonce_used_by_another_process__takes_the_next(world: World) -> None:
    transactor = world.transactor()
    await transactor.deliver(signed(10))
    world.chain.mined_nonce = 5
    assert isinstance(await transactor.deliver(signed(11)), Effective)
    assert decoded(world.chain.seen[-1]).nonce == 5


async def test_deliver__node_is_behind_our_count__counts_again(world: World) -> None:
    transactor = world.transactor()
    await transactor.deliver(signed(10))
    world.chain.script = [refused(SendRefusal.NONCE_TOO_HIGH)]
    world.chain.mined_nonce = 0  # rolled back: the chain has forgotten our first transaction
    assert isinstance(await transactor.deliver(signed(11)), Effective)
    assert decoded(world.chain.seen[-1]).nonce == 0


async def test_deliver__fee_too_low_at_once__is_raised_and_taken(world: World) -> None:
    world.chain.script = [refused(SendRefusal.UNDERPRICED)]
    assert isinstance(await world.transactor().deliver(signed()), Effective)
    first, second = (decoded(raw) for raw in world.chain.seen)
    assert first.nonce == second.nonce
    assert second.fee > first.fee
    assert second.tip > first.tip


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (SendRefusal.NO_FUNDS, FailureReason.NO_FUNDS),
        (SendRefusal.OTHER, FailureReason.REFUSED_BY_CHAIN),
    ],
)
async def test_deliver__node_refuses__fails_and_leaves_the_nonce_free(
    world: World, refusal: SendRefusal, reason: FailureReason
) -> None:
    transactor = world.transactor()
    world.chain.script = [refused(refusal, "says the node")]
    outcome = await transactor.deliver(signed(10))
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.detail) == (reason, "says the node")
    assert isinstance(await transactor.deliver(signed(11)), Effective)
    assert [decoded(raw).nonce for raw in world.chain.seen] == [0, 0]


async def test_deliver__base_fee_above_the_cap__fails_and_says_so(world: World) -> None:
    world.chain.base_fee_wei = 10**12
    outcome = await world.transactor().deliver(signed())
    assert isinstance(outcome, Failed)
    assert outcome.reason is FailureReason.FEE_CAP


async def test_deliver__base_fee_calm_again_after_a_spike__posts_again(world: World) -> None:
    transactor = world.transactor()
    await transactor.deliver(signed(10))
    world.chain.script = [refused(SendRefusal.NONCE_TOO_LOW)]  # makes it look at the chain
    calm, world.chain.base_fee_wei = world.chain.base_fee_wei, 10**12
    spiked = await transactor.deliver(signed(11))
    assert isinstance(spiked, Failed)
    assert spiked.reason is FailureReason.FEE_CAP
    world.chain.base_fee_wei = calm
    assert isinstance(await transactor.deliver(signed(12)), Effective)
    assert decoded(world.chain.seen[-1]).nonce == 1


async def test_deliver__paid_above_the_cap_last_time__asks_the_chain_first(world: World) -> None:
    transactor = world.transactor()

    def mined_in_a_spike(transaction: Pooled) -> SendAnswer | None:
        world.chain.base_fee_wei = 10**12
        answer = world.chain.admit(transaction)
        world.chain.base_fee_wei = 10**6
        return answer

    world.chain.script = [mined_in_a_spike]
    await transactor.deliver(signed(10))
    assert isinstance(await transactor.deliver(signed(11)), Effective)


async def test_deliver__stuck__both_fees_are_raised_for_the_same_nonce(world: World) -> None:
    world.chain.mines_at_once = False
    world.time.events = [(25.0, world.chain.mine)]
    assert isinstance(await world.transactor().deliver(signed()), Effective)
    offers = [decoded(raw) for raw in await world.kept()]
    assert len(offers) == 3
    assert {offer.nonce for offer in offers} == {0}
    for earlier, later in itertools.pairwise(offers):
        assert later.fee * 10 >= earlier.fee * 11
        assert later.tip > earlier.tip
    assert world.metrics.replacements["price"]._value.get() == 2


async def test_deliver__older_offer_is_mined_after_all__it_counts(world: World) -> None:
    world.chain.mines_at_once = False

    def mine_the_first() -> None:
        world.chain.pool[0] = decoded(world.chain.seen[0])
        world.chain.mine()

    world.time.events = [(12.0, mine_the_first)]
    outcome = await world.transactor().deliver(signed())
    assert isinstance(outcome, Effective)
    assert outcome.tx_hash == decoded(world.chain.seen[0]).tx_hash


async def test_deliver__expired_while_stuck__its_nonce_is_used_up_for_nothing(
    world: World,
) -> None:
    world.chain.mines_at_once = False

    def mine_only_a_no_op() -> None:
        if not world.chain.pool[0].payload:
            world.chain.mine()

    world.time.events = [(float(second), mine_only_a_no_op) for second in range(34, 60)]
    outcome = await world.transactor().deliver(signed())
    assert isinstance(outcome, Expired)
    assert world.chain.mined_nonce == 1
    assert decoded((await world.kept())[-1]).payload == b""
    assert await world.states() == ["expired"]


async def test_deliver__expired_and_no_node_has_it__no_transaction_is_wasted(
    world: World,
) -> None:
    world.chain.script = [lost_on_the_way_there] * 100
    transactor = world.transactor()
    assert isinstance(await transactor.deliver(signed(10)), Expired)
    assert len(await world.kept()) < 6
    assert all(decoded(raw).payload for raw in await world.kept())
    world.chain.script = []
    world.time.now = b.NOW_MS
    assert isinstance(await transactor.deliver(signed(11)), Effective)
    assert decoded(world.chain.seen[-1]).nonce == 0


async def test_deliver__superseded_while_stuck__gives_up_and_frees_the_nonce(
    world: World,
) -> None:
    world.chain.mines_at_once = False

    def newer_round() -> None:
        world.read_back.latest = 11

    def mine_only_a_no_op() -> None:
        if 0 in world.chain.pool and not world.chain.pool[0].payload:
            world.chain.mine()

    world.time.events = [(5.0, newer_round)]
    world.time.events += [(float(second), mine_only_a_no_op) for second in range(11, 20)]
    assert await world.transactor().deliver(signed()) == Superseded(latest_round=11)
    assert world.chain.mined_nonce == 1


async def test_deliver__block_is_rolled_back__is_confirmed_when_mined_again(world: World) -> None:
    world.read_back.answers = [None]
    assert isinstance(await world.transactor().deliver(signed()), Effective)
    assert world.read_back.asked == 2


async def test_deliver__contract_does_not_have_it__is_a_failure_not_a_success(
    world: World,
) -> None:
    failure = Failed(
        reason=FailureReason.NOT_IN_CONTRACT, detail="market 0 price_e18", tx_hash=b"\x01" * 32
    )
    world.read_back.answers = [failure]
    assert await world.transactor().deliver(signed()) == failure
    assert world.metrics.deliveries["price", "effective"]._value.get() == 0


async def test_deliver__endpoint_stays_down__raises_and_stays_in_the_outbox(world: World) -> None:
    transactor = world.transactor(give_up_after_s=5)

    def go_down(transaction: Pooled) -> SendAnswer | None:
        world.chain.admit(transaction)
        world.chain.down = Unreachable("refused")
        raise world.chain.down

    world.chain.script = [go_down]
    with pytest.raises(Unreachable, match="stays in the outbox"):
        await transactor.deliver(signed())
    assert await world.states() == ["sent"]
    world.chain.down = None
    (outcome,) = await transactor.resume()
    assert isinstance(outcome, Effective)
    assert len(await world.kept()) == 1


async def test_deliver__asked_to_wait__waits_that_long_before_asking_again(world: World) -> None:
    world.chain.mines_at_once = False
    asked: list[float] = []

    class Limited(FakeChain):
        async def receipt(self, tx_hash: bytes) -> Receipt | None:
            asked.append(world.time.elapsed_s)
            if len(asked) == 1:
                raise RateLimited("retry in 4 seconds", retry_after_s=4.0)
            self.mine()
            return await super().receipt(tx_hash)

    world.chain = Limited(mines_at_once=False)
    assert isinstance(await world.transactor().deliver(signed()), Effective)
    assert asked[1] - asked[0] == pytest.approx(4.0)


async def test_deliver__clock_is_held__waiting_still_ends(world: World) -> None:
    world.time.clock_runs = False
    world.chain.mines_at_once = False
    with pytest.raises(Unreachable, match="not mined in 30 s"):
        await world.transactor(give_up_after_s=30).deliver(signed())
    assert world.time.now == b.NOW_MS


async def test_deliver__stranger_used_the_nonce_and_the_node_is_slow__outbidding_does_not_hide_it(
    world: World,
) -> None:
    """Each poll takes 4 s, and every 10 s the same nonce is bid for again."""
    world.chain.mines_at_once = False

    def stranger() -> None:
        world.chain.pool.clear()
        world.chain.mined_nonce = 1
        world.chain.mines_at_once = True

    world.time.events = [(1.0, stranger)]
    world.time.clock_runs = False
    transactor = world.transactor(poll_s=4.0, give_up_after_s=300.0)
    assert isinstance(await transactor.deliver(signed()), Effective)
    assert decoded((await world.kept())[-1]).nonce == 1


async def test_deliver__stranger_used_the_nonce__goes_out_again_with_another(
    world: World,
) -> None:
    world.chain.mines_at_once = False

    def stranger() -> None:
        world.chain.pool.clear()
        world.chain.mined_nonce = 1
        world.chain.mines_at_once = True

    world.time.events = [(1.0, stranger)]
    assert isinstance(await world.transactor().deliver(signed()), Effective)
    assert [decoded(raw).nonce for raw in await world.kept()] == [0, 1]


class Killed(BaseException):
    """The process is gone."""


def kill(_: Pooled) -> SendAnswer | None:
    raise Killed


def take_and_kill(world: World) -> None:
    def act(transaction: Pooled) -> SendAnswer | None:
        world.chain.admit(transaction)
        raise Killed

    world.chain.script = [act]


async def test_resume__killed_between_disk_and_wire__the_same_bytes_go_out(world: World) -> None:
    world.chain.script = [kill]
    with pytest.raises(Killed):
        await world.transactor().deliver(signed())
    assert await world.states() == ["signed"]
    (outcome,) = await world.transactor().resume()
    assert isinstance(outcome, Effective)
    assert set(world.chain.seen) == set(await world.kept())
    assert len(await world.kept()) == 1


async def test_resume__killed_after_the_node_took_it__is_read_back_not_sent(world: World) -> None:
    take_and_kill(world)
    with pytest.raises(Killed):
        await world.transactor().deliver(signed())
    (outcome,) = await world.transactor().resume()
    assert isinstance(outcome, Effective)
    assert len(world.chain.seen) == 1


async def test_resume__killed_before_anything_was_signed__is_signed_now(world: World) -> None:
    await Outbox(world.database).plan(signed(), SENDER.address, b.NOW_MS)
    (outcome,) = await world.transactor().resume()
    assert isinstance(outcome, Effective)


async def test_resume__expired_meanwhile_and_unsent__is_expired_and_costs_nothing(
    world: World,
) -> None:
    world.chain.script = [kill]
    with pytest.raises(Killed):
        await world.transactor().deliver(signed())
    world.time.now += 60_000
    (outcome,) = await world.transactor().resume()
    assert isinstance(outcome, Expired)
    assert len(world.chain.seen) == 1
    assert world.chain.mined_nonce == 0


async def test_resume__expired_meanwhile_but_pending__its_nonce_is_freed(world: World) -> None:
    world.chain.mines_at_once = False
    take_and_kill(world)
    with pytest.raises(Killed):
        await world.transactor().deliver(signed())
    world.time.now += 60_000
    world.chain.mines_at_once = True
    (outcome,) = await world.transactor().resume()
    assert isinstance(outcome, Expired)
    assert world.chain.mined_nonce == 1
    assert decoded(world.chain.seen[-1]).payload == b""


async def test_resume__newer_round_meanwhile__is_superseded(world: World) -> None:
    world.chain.script = [kill]
    with pytest.raises(Killed):
        await world.transactor().deliver(signed())
    world.read_back.latest = 30
    (outcome,) = await world.transactor().resume()
    assert outcome == Superseded(latest_round=30)


async def test_resume__several_open__all_end_and_new_ones_go_on_behind_them(world: World) -> None:
    world.chain.mines_at_once = False
    first = world.transactor(give_up_after_s=1)
    for number in (10, 11, 12):
        with pytest.raises(Unreachable):
            await first.deliver(signed(number))
    world.chain.pool.clear()  # the node has forgotten everything
    world.chain.mines_at_once = True
    second = world.transactor()
    outcomes = await second.resume()
    assert [type(outcome) for outcome in outcomes] == [Effective] * 3
    assert isinstance(await second.deliver(signed(13)), Effective)
    assert decoded(world.chain.seen[-1]).nonce == 3


async def test_deliver__while_left_over_ones_are_resumed__takes_none_of_their_nonces(
    world: World,
) -> None:
    world.chain.mines_at_once = False
    first = world.transactor(give_up_after_s=1)
    for number in (10, 11):
        with pytest.raises(Unreachable):
            await first.deliver(signed(number))
    world.chain.pool.clear()
    world.chain.mines_at_once = world.chain.refuses_gaps = True
    second = world.transactor()
    resumed, new = await asyncio.gather(second.resume(), second.deliver(signed(12)))
    assert [type(outcome) for outcome in (*resumed, new)] == [Effective] * 3
    assert sorted(decoded(raw).nonce for raw in await world.kept()) == [0, 1, 2]


async def test_resume__nothing_open__does_nothing(world: World) -> None:
    await world.transactor().deliver(signed())
    assert await world.transactor().resume() == ()


async def test_deliver__earlier_one_forgotten_by_the_node__its_nonce_is_not_taken(
    world: World,
) -> None:
    out = asyncio.Event()

    def taken_and_forgotten(_: Pooled) -> SendAnswer | None:
        out.set()
        return Taken(receipt=None)

    world.chain.script = [taken_and_forgotten]
    transactor = world.transactor()
    first = asyncio.create_task(transactor.deliver(signed(10)))
    await out.wait()
    world.chain.refuses_gaps = True
    second = await transactor.deliver(signed(11))
    assert isinstance(second, Effective)
    assert isinstance(await first, Effective)
    assert [decoded(raw).nonce for raw in await world.kept()] == [0, 1]


async def test_deliver__taken_without_receipt__is_polled(world: World) -> None:
    world.chain.mines_at_once = False
    world.time.events = [(1.0, world.chain.mine)]
    assert isinstance(await world.transactor().deliver(signed()), Effective)
    assert world.time.elapsed_s == pytest.approx(1.0, abs=0.21)


async def test_metrics__items_left_out__are_counted_by_kind(world: World) -> None:
    left_out = tuple(SkippedItem(market=MarketId(n), code=31, reason="TooSoon") for n in (0, 1))
    world.read_back.answers = [
        Effective(tx_hash=b"\x01" * 32, block_number=7, gas_used=1, skipped=left_out)
    ]
    await world.transactor().deliver(signed())
    assert world.metrics.skipped_items["price"]._value.get() == 2
    assert world.metrics.skipped_items["risk"]._value.get() == 0


async def test_metrics__account_read__shows_what_pays_gas_in_ether(world: World) -> None:
    world.chain.balance_wei = 25 * 10**16
    await world.transactor().deliver(signed(10))
    assert world.metrics.sender_balance_ether._value.get() == 0.25


async def test_metrics__outbid__shows_what_is_left_by_then(world: World) -> None:
    def spend() -> None:
        world.chain.balance_wei = 10**17

    world.chain.mines_at_once = False
    world.time.events = [(5.0, spend), (12.0, world.chain.mine)]
    await world.transactor().deliver(signed())
    assert world.metrics.sender_balance_ether._value.get() == 0.1
