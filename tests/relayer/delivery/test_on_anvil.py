"""Facts about delivery on a real node, to the real contracts: what they say is what counts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from contracts.messages import Domain, PriceRound, RiskUpdate, calldata
from contracts.packing import pack_price_words, pack_risk_word
from contracts.price_feed import apply_round
from contracts.refusals import Refusal
from contracts.risk_oracle import apply_update
from contracts.units import MarketId, UnixMs, UnixS, WholeUsdc
from relayer.chain import events
from relayer.chain.endpoints import ChainEndpoint, SendCapability, hexed
from relayer.chain.reads import read_chain
from relayer.chain.rpc import Receipt
from relayer.chain.values import Deployment
from relayer.chain.views import view
from relayer.delivery.confirm import ContractReadBack
from relayer.delivery.fees import FeeRules, Fees
from relayer.delivery.outbox import Delivery, Outbox
from relayer.delivery.ports import DeliveryRules, LoopTimer, Ports
from relayer.delivery.states import (
    Effective,
    Expired,
    Failed,
    FailureReason,
    Superseded,
)
from relayer.delivery.transactions import Transaction, sign
from relayer.delivery.transactor import Transactor
from relayer.errors import ChainRefused, Unreachable
from relayer.signing.keys import Key
from relayer.signing.values import Proposal, SignedMessage
from relayer.storage import Database
from tests.relayer import builders as b
from tests.relayer.anvil import ROOT, Anvil, rich_key
from tests.relayer.conftest import MARKETS, Stand

pytestmark = pytest.mark.anvil

QUICK = DeliveryRules(
    fees=FeeRules(), poll_s=0.01, resend_after_s=0.1, replace_after_s=0.3, give_up_after_s=8
)


@dataclass
class ChainClock:
    """The node's own time: what its next block will be stamped with, or more."""

    node: Anvil
    ahead_ms: int = 0

    async def now_ms(self) -> int:
        stamp = int(self.node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        return stamp * 1_000 + self.ahead_ms


@dataclass
class Line:
    """Everything from a signed message to the contract."""

    stand: Stand
    endpoint: ChainEndpoint
    database: Database
    clock: ChainClock

    @property
    def node(self) -> Anvil:
        return self.stand.node

    @property
    def deployment(self) -> Deployment:
        return self.stand.deployment

    def transactor(self, **rules: object) -> Transactor:
        ports = Ports(
            chain=self.endpoint,
            read_back=ContractReadBack(self.endpoint),
            outbox=Outbox(self.database),
            clock=self.clock,
            timer=LoopTimer(),
            metrics=b.metrics(),
        )
        return Transactor(rich_key(), ports, replace(QUICK, **rules))  # type: ignore[arg-type]

    async def now_ms(self) -> UnixMs:
        return UnixMs(await self.clock.now_ms())

    async def prices(
        self, round_: int, price_e18: int = b.PRICE, markets: Sequence[int] = range(MARKETS)
    ) -> SignedMessage:
        now = await self.now_ms()
        quotes = [replace(b.quote(m, price_e18), observed_at_ms=now) for m in markets]
        message = replace(
            b.price_round(1, round_),
            observed_at_ms=now,
            valid_until_ms=UnixMs(now + 30_000),
            words=pack_price_words(quotes, now),
        )
        return await self.signed(message, b.PRICE_KEYS[:2])

    async def risk(self, round_: int, cap_e2: int = 990, markets: int = MARKETS) -> SignedMessage:
        now = await self.now_ms()
        message = replace(
            b.risk_update(markets, round_, cap_e2),
            observed_at_ms=now,
            valid_until_ms=UnixMs(now + 600_000),
        )
        return await self.signed(message, b.RISK_KEYS[:2])

    async def signed(
        self, message: PriceRound | RiskUpdate, keys: tuple[Key, ...]
    ) -> SignedMessage:
        state = await read_chain(self.endpoint, self.deployment)
        price = isinstance(message, PriceRound)
        contract = self.deployment.price_feed if price else self.deployment.risk_oracle
        config = state.feed.config if price else state.oracle.config
        domain = Domain(chain_id=b.CHAIN_ID, contract=contract, config_digest=config.config_digest)
        return b.sign_with(Proposal(message=message, domain=domain), keys)


@pytest.fixture
async def line(fresh: Stand, endpoint: ChainEndpoint, tmp_path: Path) -> AsyncIterator[Line]:
    async with b.database(tmp_path) as database:
        yield Line(fresh, endpoint, database, ChainClock(fresh.node))


async def test_deliver__price_round__contract_is_what_the_mirror_predicts(line: Line) -> None:
    signed = await line.prices(1)
    before = await read_chain(line.endpoint, line.deployment)
    outcome = await line.transactor().deliver(signed)
    assert isinstance(outcome, Effective), outcome
    assert outcome.skipped == ()
    after = await read_chain(line.endpoint, line.deployment, outcome.block_number)
    assert isinstance(signed.message, PriceRound)
    predicted = apply_round(before.feed, signed.message, UnixS(after.timestamp_s))
    assert not isinstance(predicted, Refusal)
    assert predicted.state == after.feed


async def test_deliver__risk_update__contract_is_what_the_mirror_predicts(line: Line) -> None:
    signed = await line.risk(1)
    before = await read_chain(line.endpoint, line.deployment)
    outcome = await line.transactor().deliver(signed)
    assert isinstance(outcome, Effective), outcome
    after = await read_chain(line.endpoint, line.deployment, outcome.block_number)
    assert isinstance(signed.message, RiskUpdate)
    predicted = apply_update(before.oracle, signed.message, UnixS(after.timestamp_s))
    assert not isinstance(predicted, Refusal)
    assert predicted.state == after.oracle


async def test_deliver__endpoint_that_waits__is_found_and_used(line: Line) -> None:
    assert line.endpoint.sends_by is SendCapability.SYNC
    line.endpoint.sends_by = SendCapability.POLL
    assert isinstance(await line.transactor().deliver(await line.prices(1)), Effective)


async def test_deliver__one_item_out_of_bounds__it_is_named_and_the_rest_lands(line: Line) -> None:
    now = await line.now_ms()
    words = [pack_risk_word(b.parameters(m, 990)) for m in range(MARKETS)]
    words[2] = pack_risk_word(b.parameters(2, 1_500))
    message = replace(
        b.risk_update(round_=1),
        observed_at_ms=now,
        valid_until_ms=UnixMs(now + 600_000),
        words=tuple(words),
    )
    outcome = await line.transactor().deliver(await line.signed(message, b.RISK_KEYS[:2]))
    assert isinstance(outcome, Effective)
    assert [(s.market, s.reason) for s in outcome.skipped] == [(2, "CAP_STEP_TOO_LARGE")]


async def test_deliver__every_item_skipped__is_no_success(line: Line) -> None:
    outcome = await line.transactor().deliver(await line.risk(1, cap_e2=1_500))
    assert isinstance(outcome, Failed)
    assert outcome.reason is FailureReason.ALL_SKIPPED
    assert "market 0 CAP_STEP_TOO_LARGE" in outcome.detail


async def test_deliver__jump_out_of_the_band__market_is_reported_and_unconfirmed(
    line: Line,
) -> None:
    transactor = line.transactor()
    await transactor.deliver(await line.prices(1))
    line.node.call("evm_increaseTime", "0x2")
    line.node.call("anvil_mine", "0x1")
    now = await line.now_ms()
    quotes = [replace(b.quote(m), observed_at_ms=now) for m in range(3)]
    quotes.append(replace(b.quote(3, b.PRICE * 2), observed_at_ms=now))
    message = replace(
        b.price_round(1, 2),
        observed_at_ms=now,
        valid_until_ms=UnixMs(now + 30_000),
        words=pack_price_words(quotes, now),
    )
    outcome = await transactor.deliver(await line.signed(message, b.PRICE_KEYS[:2]))
    assert isinstance(outcome, Effective)
    assert [(s.market, s.reason) for s in outcome.skipped] == [(3, "OUT_OF_BAND")]
    state = await read_chain(line.endpoint, line.deployment)
    assert [market.unconfirmed for market in state.feed.markets] == [False] * 3 + [True, False]


async def test_deliver__wrong_signer__is_refused_by_name_and_costs_nothing(line: Line) -> None:
    good = await line.prices(1)
    proposal = Proposal(message=good.message, domain=good.domain)
    forged = b.sign_with(proposal, (b.key(98), b.key(99)))
    before = line.node.call("eth_getTransactionCount", rich_key().address, "latest")
    outcome = await line.transactor().deliver(forged)
    assert isinstance(outcome, Failed)
    assert "UNKNOWN_SIGNER" in outcome.detail
    assert line.node.call("eth_getTransactionCount", rich_key().address, "latest") == before


async def test_deliver__round_already_there__is_superseded(line: Line) -> None:
    transactor = line.transactor()
    old = await line.prices(3)
    await transactor.deliver(await line.prices(5))
    outcome = await transactor.deliver(old)
    assert isinstance(outcome, Superseded)
    assert outcome.latest_round == 5


async def test_deliver__reverted_in_its_block__reason_is_read_back(line: Line) -> None:
    """Two rounds in one block, the newer one first: the older one's transaction reverts."""
    transactor = line.transactor()
    await transactor.deliver(await line.prices(1))
    line.node.call("evm_increaseTime", "0x1")
    line.node.call("anvil_mine", "0x1")
    old, new = await line.prices(2), await line.prices(3)
    line.node.call("evm_setAutomine", False)
    line.endpoint.sends_by = SendCapability.POLL
    newer = asyncio.create_task(transactor.deliver(new))
    await pooled(line.node, 1)
    older = asyncio.create_task(transactor.deliver(old))
    await pooled(line.node, 2)
    line.node.call("anvil_mine", "0x1")
    assert isinstance(await newer, Effective)
    outcome = await older
    assert isinstance(outcome, Superseded)
    assert outcome.latest_round == 3
    assert outcome.tx_hash is not None


async def pooled(node: Anvil, count: int) -> None:
    """Wait until that many transactions are in the pool."""
    for _ in range(1_000):
        if int(node.call("txpool_status")["pending"], 16) >= count:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"{count} transactions did not arrive")


async def test_deliver__stuck__is_replaced_and_the_node_takes_it(line: Line) -> None:
    line.node.call("evm_setAutomine", False)
    line.endpoint.sends_by = SendCapability.POLL
    delivering = asyncio.create_task(line.transactor().deliver(await line.prices(1)))
    await pooled(line.node, 1)
    first = offers(line.node)
    for _ in range(400):
        if offers(line.node) != first:
            break
        await asyncio.sleep(0.01)
    (before,), (after,) = first, offers(line.node)
    assert after[0] > before[0]
    assert after[1] > before[1]
    line.node.call("anvil_mine", "0x1")
    assert isinstance(await delivering, Effective)


def offers(node: Anvil) -> list[tuple[int, int]]:
    """Both fees of each pending transaction."""
    pending = node.call("txpool_content")["pending"].values()
    return [
        (int(tx["maxFeePerGas"], 16), int(tx["maxPriorityFeePerGas"], 16))
        for by_nonce in pending
        for tx in by_nonce.values()
    ]


async def test_deliver__expired_in_the_pool__nonce_is_freed_by_a_no_op(line: Line) -> None:
    line.node.call("evm_setAutomine", False)
    line.endpoint.sends_by = SendCapability.POLL
    transactor = line.transactor()
    delivering = asyncio.create_task(transactor.deliver(await line.prices(1)))
    await pooled(line.node, 1)
    line.clock.ahead_ms = 40_000
    for _ in range(400):
        pending = line.node.call("txpool_content")["pending"].values()
        if any(tx["input"] == "0x" for by_nonce in pending for tx in by_nonce.values()):
            break
        await asyncio.sleep(0.01)
    line.node.call("evm_setAutomine", True)
    line.node.call("anvil_mine", "0x1")
    assert isinstance(await delivering, Expired)
    line.clock.ahead_ms = 0
    assert isinstance(await transactor.deliver(await line.prices(2)), Effective)


async def test_deliver__node_forgets_the_transaction__the_same_bytes_go_again(line: Line) -> None:
    line.node.call("evm_setAutomine", False)
    line.endpoint.sends_by = SendCapability.POLL
    delivering = asyncio.create_task(
        line.transactor(replace_after_s=60).deliver(await line.prices(1))
    )
    await pooled(line.node, 1)
    sent = line.node.call("txpool_content")["pending"]
    line.node.call("anvil_dropAllTransactions")
    await pooled(line.node, 1)
    assert line.node.call("txpool_content")["pending"] == sent
    line.node.call("anvil_mine", "0x1")
    assert isinstance(await delivering, Effective)


async def test_deliver__another_process_used_the_nonce__goes_on_with_the_next(line: Line) -> None:
    transactor = line.transactor()
    await transactor.deliver(await line.prices(1))
    standing = await line.endpoint.account(rich_key().address)
    stranger = Transaction(
        chain_id=b.CHAIN_ID,
        nonce=standing.pending_nonce,
        fees=Fees(max_fee_wei=10**10, priority_fee_wei=0),
        gas_limit=21_000,
        recipient=b.key(50).address,
        payload=b"",
    )
    line.node.call("eth_sendRawTransactionSync", hexed(sign(stranger, rich_key()).raw))
    line.node.call("evm_increaseTime", "0x2")
    line.node.call("anvil_mine", "0x1")
    assert isinstance(await transactor.deliver(await line.prices(2)), Effective)


async def test_deliver__block_is_rolled_back__is_mined_again_and_never_twice(line: Line) -> None:
    line.node.call("evm_setAutomine", False)
    line.endpoint.sends_by = SendCapability.POLL
    snapshot = line.node.call("evm_snapshot")
    transactor = line.transactor(give_up_after_s=0.5)
    with pytest.raises(Unreachable):
        await transactor.deliver(await line.prices(1))
    line.node.call("anvil_mine", "0x1")
    line.node.call("evm_revert", snapshot)
    line.node.call("evm_setAutomine", True)
    (outcome,) = await line.transactor().resume()
    assert isinstance(outcome, Effective)
    state = await read_chain(line.endpoint, line.deployment)
    assert state.feed.latest_round == 1


async def mined_without_us(line: Line) -> tuple[Delivery, Receipt]:
    """A delivery whose transaction is mined, and whose end nobody has written yet."""
    outbox = Outbox(line.database)
    signed = await line.prices(1)
    delivery = await outbox.plan(signed, rich_key().address, 0)
    standing = await line.endpoint.account(rich_key().address)
    post = Transaction(
        chain_id=b.CHAIN_ID,
        nonce=standing.pending_nonce,
        fees=Fees(max_fee_wei=10**10, priority_fee_wei=0),
        gas_limit=1_000_000,
        recipient=delivery.contract,
        payload=delivery.payload,
    )
    line.node.call("eth_sendRawTransactionSync", hexed(sign(post, rich_key()).raw))
    receipt = await line.endpoint.receipt(sign(post, rich_key()).tx_hash)
    assert receipt is not None
    return delivery, receipt


async def test_confirm__block_was_replaced__is_no_answer_yet(line: Line) -> None:
    snapshot = line.node.call("evm_snapshot")
    delivery, receipt = await mined_without_us(line)
    read_back = ContractReadBack(line.endpoint)
    assert isinstance(await read_back.confirm(delivery, receipt), Effective)
    line.node.call("evm_revert", snapshot)
    assert await read_back.confirm(delivery, receipt) is None
    line.node.call("anvil_mine", "0x1")
    assert await read_back.confirm(delivery, receipt) is None


async def test_confirm__mini_block_without_a_hash__reads_the_newest_state(line: Line) -> None:
    delivery, receipt = await mined_without_us(line)
    unsealed = replace(receipt, block_hash=None)
    outcome = await ContractReadBack(line.endpoint).confirm(delivery, unsealed)
    assert isinstance(outcome, Effective)


async def test_confirm__event_of_another_message__is_no_success(line: Line) -> None:
    delivery, receipt = await mined_without_us(line)
    other = replace(delivery, message_hash=b"\x01" * 32)
    outcome = await ContractReadBack(line.endpoint).confirm(other, receipt)
    assert isinstance(outcome, Failed)
    assert "another message hash" in outcome.detail


async def test_confirm__slot_is_not_as_posted__names_the_field(line: Line) -> None:
    delivery, receipt = await mined_without_us(line)
    other = await line.prices(1, b.PRICE + 10**18)
    believed = replace(delivery, payload=calldata(other.message, other.signatures))
    outcome = await ContractReadBack(line.endpoint).confirm(believed, receipt)
    assert isinstance(outcome, Failed)
    assert outcome.reason is FailureReason.NOT_IN_CONTRACT
    assert outcome.detail.startswith("market 0 price_e18: posted ")


async def test_resume__killed_between_disk_and_wire__lands_once(line: Line) -> None:
    signed = await line.prices(1)

    class Gone(BaseException):
        pass

    class DyingEndpoint:
        def __getattr__(self, name: str) -> object:
            return getattr(line.endpoint, name)

        async def send(self, raw: bytes) -> object:
            raise Gone

    dying = Line(line.stand, DyingEndpoint(), line.database, line.clock)  # type: ignore[arg-type]
    with pytest.raises(Gone):
        await dying.transactor().deliver(signed)
    (outcome,) = await line.transactor().resume()
    assert isinstance(outcome, Effective)
    assert await line.transactor().deliver(signed) == outcome
    assert await line.transactor().resume() == ()


async def test_resume__real_process_killed_with_its_transaction_out__lands_once(
    line: Line, tmp_path: Path
) -> None:
    outbox = Outbox(line.database)
    await outbox.plan(await line.prices(1), rich_key().address, b.NOW_MS)
    line.node.call("evm_setAutomine", False)
    url = f"sqlite:///{tmp_path}/aml.sqlite"
    command = (sys.executable, "-m", "tests.relayer.delivery.victim", url, line.node.url)
    victim = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    await pooled(line.node, 1)
    victim.kill()
    await victim.wait()
    sent = line.node.call("txpool_content")["pending"]
    line.node.call("anvil_dropAllTransactions")
    resuming = asyncio.create_task(line.transactor(replace_after_s=60).resume())
    await pooled(line.node, 1)
    assert line.node.call("txpool_content")["pending"] == sent
    line.node.call("anvil_mine", "0x1")
    (outcome,) = await resuming
    assert isinstance(outcome, Effective), outcome


async def test_posted__by_round_and_by_transaction__is_the_signed_message(line: Line) -> None:
    transactor = line.transactor()
    price, risk = await line.prices(7), await line.risk(4)
    delivered = await transactor.deliver(price)
    await transactor.deliver(risk)
    assert isinstance(delivered, Effective)
    by_round = await events.posted_round(line.endpoint, line.deployment, "price", 7)
    by_tx = await events.posted_in(line.endpoint, line.deployment, delivered.tx_hash)
    assert by_round == by_tx
    assert by_round is not None
    assert (by_round.message, by_round.signatures) == (price.message, price.signatures)
    assert by_round.event.message_hash == price.message_hash
    assert by_round.sender == rich_key().address
    found = await events.posted_round(line.endpoint, line.deployment, "risk", 4)
    assert found is not None
    assert found.message == risk.message
    assert found.event.model_hash == b"\xab" * 32
    assert found.event.evidence_hash == b"\xee" * 32


async def test_posted__never_posted__is_none(line: Line) -> None:
    assert await events.posted_round(line.endpoint, line.deployment, "risk", 99) is None
    assert await events.posted_in(line.endpoint, line.deployment, b"\x01" * 32) is None


async def test_posted__transaction_of_something_else__is_refused(line: Line) -> None:
    freeze = view("freeze_market(uint256)").payload(0)
    standing = await line.endpoint.account(rich_key().address)
    call = Transaction(
        chain_id=b.CHAIN_ID,
        nonce=standing.pending_nonce,
        fees=Fees(max_fee_wei=10**10, priority_fee_wei=0),
        gas_limit=200_000,
        recipient=line.deployment.risk_oracle,
        payload=freeze,
    )
    signed = sign(call, rich_key())
    line.node.call("eth_sendRawTransactionSync", hexed(signed.raw))
    with pytest.raises(ChainRefused, match="posted nothing"):
        await events.posted_in(line.endpoint, line.deployment, signed.tx_hash)


async def test_deliver__round_trips__two_once_the_shape_is_known(line: Line) -> None:
    transactor = line.transactor()
    await transactor.deliver(await line.prices(1))
    line.node.call("evm_increaseTime", "0x1")
    line.node.call("anvil_mine", "0x1")
    signed = await line.prices(2)
    calls: list[str] = []
    call, batch = line.endpoint.call, line.endpoint.batch

    async def counted_call(method: str, *params: object) -> object:
        calls.append(method)
        return await call(method, *params)

    async def counted_batch(asked: Sequence[tuple[str, Sequence[object]]]) -> tuple[object, ...]:
        calls.append("batch")
        return await batch(asked)

    line.endpoint.call = counted_call  # type: ignore[method-assign]
    line.endpoint.batch = counted_batch  # type: ignore[method-assign]
    assert isinstance(await transactor.deliver(signed), Effective)
    assert calls == ["eth_sendRawTransactionSync", "batch"]


def test_amounts__of_the_builders__are_canonical() -> None:
    assert b.market_values().open_interest_cap_usdc == WholeUsdc(1_000_448)
    assert b.parameters(0).market == MarketId(0)
