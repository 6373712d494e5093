"""The half that signs and sends: each proposal once, only what it may, whatever interrupted it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from relayer import migrations
from relayer.chain import margin_calls
from relayer.chain.values import Deployment, MarginContracts
from relayer.delivery.calls import ContractCall, pause
from relayer.delivery.outbox import Outbox
from relayer.delivery.states import Effective, Expired, Failed, FailureReason, Outcome
from relayer.errors import NoRelay, Unreachable
from relayer.handover.asking import Asking, AskRules, HandoverMetrics
from relayer.handover.asks import Ask
from relayer.handover.posting import decision_entry
from relayer.handover.proposals import Proposals
from relayer.handover.working import Working, WorkPorts, why_not
from relayer.journal import Journal
from relayer.signing.values import NoQuorum, Proposal, SignedMessage
from relayer.storage import Database
from tests.relayer import builders as b

SENDER = "0x" + "ee" * 20
PLACES = {
    name: f"0x{number:040x}"
    for number, name in enumerate(
        ("token", "vault", "pool", "engine", "desk", "liquidator", "views"), 0xA0
    )
}
DEPLOYMENT = Deployment(
    chain_id=b.CHAIN_ID,
    price_feed=b.PRICE_FEED,
    risk_oracle=b.RISK_ORACLE,
    block_number=1,
    markets=(),
    margin=MarginContracts(**PLACES),
)


@dataclass
class Times:
    """A clock that stands where it is put."""

    at_ms: int = b.NOW_MS

    async def now_ms(self) -> int:
        return self.at_ms


@dataclass
class Signers:
    """Two signers that sign everything, or nobody."""

    asked: list[bytes] = field(default_factory=list)
    sign: bool = True

    async def collect(self, proposal: Proposal) -> SignedMessage | NoQuorum:
        self.asked.append(proposal.digest)
        if not self.sign:
            return NoQuorum(needed=2, given=0, refusals={})
        return b.sign_with(proposal, b.PRICE_KEYS[:2])


@dataclass
class Chain:
    """A delivery that lands through the real outbox, or is cut off before or after it has."""

    outbox: Outbox
    landed: list[bytes] = field(default_factory=list)
    calls: list[ContractCall] = field(default_factory=list)
    cut_off: bool = False
    tried: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, signed: SignedMessage) -> Outcome:
        self.tried.set()
        if self.cut_off:
            raise Unreachable("nobody answers")
        delivery = await self.outbox.plan(signed, SENDER, b.NOW_MS)
        if delivery.outcome is not None:
            return delivery.outcome
        self.landed.append(signed.message_hash)
        failed = Failed(reason=FailureReason.ALL_SKIPPED, detail="for the outbox's states")
        await self.outbox.close(delivery, failed, b.NOW_MS)
        return failed

    async def call(self, call: ContractCall) -> Outcome:
        self.calls.append(call)
        return Effective(tx_hash=b"\x05" * 32, block_number=7, gas_used=1, skipped=())

    async def resume(self) -> tuple[Outcome, ...]:
        return ()


@dataclass
class House:
    """Both halves over one database."""

    rows: Proposals
    asking: Asking
    working: Working
    chain: Chain
    signers: Signers
    clock: Times
    journal: Journal
    registry: CollectorRegistry
    anew: Callable[[], Working]

    async def ended(self, row: int, ask: Ask) -> None:
        """Let the relay work until a row has ended."""
        async with asyncio.timeout(30):
            while (await self.rows.answers([row], [ask]))[0] is None:
                await self.working.look()
                await asyncio.sleep(0.01)


@asynccontextmanager
async def house(
    folder: Path, guardian: Chain | None = None, unheard_s: float = 30.0
) -> AsyncIterator[House]:
    url = f"sqlite:///{folder}/aml.db"
    migrations.upgrade(url)
    database = Database.open(url)
    registry, clock, rows = CollectorRegistry(), Times(), Proposals(database, b.CHAIN_ID)
    chain, signers, journal = Chain(Outbox(database)), Signers(), Journal(database)
    metrics = HandoverMetrics(registry)
    ports = WorkPorts(
        proposals=rows,
        signers=signers,
        delivery=chain,
        journal=journal,
        outbox=chain.outbox,
        clock=clock,
        deployment=DEPLOYMENT,
        metrics=metrics,
        guardian=guardian,
    )
    rules = AskRules(poll_s=0.005, unheard_s=unheard_s)
    asking = Asking(rows, clock, metrics, rules)
    made = Working(ports)
    try:
        yield House(
            rows, asking, made, chain, signers, clock, journal, registry, lambda: Working(ports)
        )
    finally:
        await database.close()


def price(round_: int = 10) -> Ask:
    return Ask(what=b.price_proposal(b.price_round(round_=round_)), decided_at_ms=b.NOW_MS)


def keeper_call(contract: str = PLACES["liquidator"], selector: bytes = b"") -> ContractCall:
    return ContractCall(
        kind="keeper",
        chain_id=b.CHAIN_ID,
        contract=contract,
        payload=(selector or margin_calls.LIQUIDATE.selector) + bytes(96),
        made_at_ms=b.NOW_MS,
        valid_until_ms=b.NOW_MS + 60_000,
    )


def test_work__proposed_message__is_signed_posted_journalled_and_answered(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path) as made:
            (row,), _ = await made.rows.propose([price()], b.NOW_MS)
            await made.ended(row, price())
            assert len(made.chain.landed) == 1
            (entry,) = await made.journal.decisions_of_round(b.CHAIN_ID, b.PRICE_FEED, 10)
            assert (entry.state, entry.decided_at_ms) == ("failed", b.NOW_MS)
            labels = {"kind": "price", "state": "failed"}
            assert made.registry.get_sample_value("aml_proposals_total", labels) == 1.0

    asyncio.run(story())


@pytest.mark.parametrize("died", ["before the signatures", "before the outbox", "after the end"])
def test_work__killed_and_started_again__posts_exactly_once(tmp_path: Path, died: str) -> None:
    async def story() -> None:
        async with house(tmp_path) as made:
            (row,), _ = await made.rows.propose([price()], b.NOW_MS)
            (found,), _ = await made.rows.waiting(b.NOW_MS)
            assert await made.rows.take(found)
            signed = b.sign_with(price().what, b.PRICE_KEYS[:2])  # type: ignore[arg-type]
            if died != "before the signatures":
                await made.journal.record_decision(
                    decision_entry(price().what, b.NOW_MS)  # type: ignore[arg-type]
                )
            if died == "after the end":
                await made.chain.deliver(signed)
            await made.ended(row, price())
            assert made.chain.landed == [signed.message_hash]

    asyncio.run(story())


def test_work__cut_off_while_posting__goes_on_with_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path) as made:
            made.chain.cut_off = True
            (row,), _ = await made.rows.propose([price()], b.NOW_MS)
            await made.working.look()
            await asyncio.wait_for(made.chain.tried.wait(), 30)
            made.chain.cut_off = False
            await made.ended(row, price())
            assert len(made.chain.landed) == 1

    asyncio.run(story())


def test_work__taken_up_too_late__is_not_signed(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path) as made:
            (row,), _ = await made.rows.propose([price()], b.NOW_MS)
            (found,), _ = await made.rows.waiting(b.NOW_MS)
            await made.rows.take(found)
            made.clock.at_ms += 3_600_000
            await made.ended(row, price())
            (answer,) = await made.rows.answers([row], [price()])
            assert isinstance(answer, Expired)
            assert made.signers.asked == []

    asyncio.run(story())


def test_ask__nobody_there__holds_and_expires_with_a_count(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path) as made:
            with pytest.raises(NoRelay, match="aml relay"):
                await made.asking.post([b.price_proposal()], b.NOW_MS)
            made.clock.at_ms += 3_600_000
            assert await made.asking.resume() == ()
            labels = {"kind": "price", "state": "expired"}
            assert made.registry.get_sample_value("aml_proposals_total", labels) == 1.0
            await made.working.look()
            assert made.signers.asked == []

    asyncio.run(story())


def test_ask__relay_there__is_answered_as_if_it_were_here(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path) as made:
            stopping = asyncio.Event()
            relaying = asyncio.create_task(made.working.run(stopping))
            posted = await made.asking.post([b.price_proposal()], b.NOW_MS)
            assert [type(each) for each in posted] == [Failed]
            done = await made.asking.call(keeper_call())
            assert isinstance(done, Effective)
            made.signers.sign = False
            unsigned = await made.asking.post(
                [b.price_proposal(b.price_round(round_=11))], b.NOW_MS
            )
            assert unsigned == (NoQuorum(needed=2, given=0, refusals={}),)
            stopping.set()
            await relaying

    asyncio.run(story())


def test_stop__after_the_first__takes_up_nothing_more(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path) as made:
            await made.rows.propose([price()], b.NOW_MS)
            stopping = asyncio.Event()
            stopping.set()
            await made.working.run(stopping)
            assert made.signers.asked == []

    asyncio.run(story())


GUARDIANS = replace(keeper_call(b.RISK_ORACLE), kind="guardian", payload=pause(1, 3_600))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (keeper_call(PLACES["token"]), "no margin contract"),
        (keeper_call(PLACES["vault"]), "no margin contract"),
        (keeper_call(selector=bytes.fromhex("a9059cbb")), "no call of the keeper"),
        (replace(keeper_call(), chain_id=1), "for chain 1"),
        (replace(GUARDIANS, payload=pause(2, 3_600)), "only pauses new risk"),
        (replace(GUARDIANS, payload=pause(1, 3_601)), "only pauses new risk"),
        (replace(GUARDIANS, contract=b.PRICE_FEED), "only pauses new risk"),
        (replace(GUARDIANS, payload=bytes.fromhex("a9059cbb") + bytes(64)), "only pauses"),
    ],
)
def test_why_not__call_that_no_agent_makes__is_refused(call: ContractCall, word: str) -> None:
    assert word in why_not(call, DEPLOYMENT)


@pytest.mark.parametrize("call", [keeper_call(), GUARDIANS, keeper_call(PLACES["desk"])])
def test_why_not__call_that_an_agent_makes__is_sent(call: ContractCall) -> None:
    assert why_not(call, DEPLOYMENT) == ""


def test_work__refused_call__is_answered_and_never_sent(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path) as made:
            stopping = asyncio.Event()
            relaying = asyncio.create_task(made.working.run(stopping))
            refused = await made.asking.call(keeper_call(PLACES["token"]))
            assert isinstance(refused, Failed)
            no_key = await made.asking.call(GUARDIANS)
            assert isinstance(no_key, Failed)
            assert "no guardian key" in no_key.detail
            assert made.chain.calls == []
            stopping.set()
            await relaying

    asyncio.run(story())
