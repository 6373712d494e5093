"""Facts about delivery on a MegaETH-shaped endpoint: a model of its JSON-RPC, not MegaETH."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks import megaeth_gas
from benchmarks.megaeth_proxy import MegaEthProxy, serving
from contracts.messages import calldata
from relayer.chain.endpoints import ChainEndpoint, NotTaken, SendCapability, Taken
from relayer.chain.rpc import is_method_missing
from relayer.delivery.confirm import ContractReadBack
from relayer.delivery.fees import Fees
from relayer.delivery.outbox import Outbox
from relayer.delivery.ports import LoopTimer, Ports
from relayer.delivery.states import Effective
from relayer.delivery.transactions import Transaction, sign
from relayer.delivery.transactor import Transactor
from relayer.errors import ChainRefused
from tests.relayer import builders as b
from tests.relayer.anvil import rich_key
from tests.relayer.conftest import Stand
from tests.relayer.delivery.test_on_anvil import QUICK, ChainClock, Line

pytestmark = [pytest.mark.anvil, pytest.mark.loopback]


@dataclass
class Shaped:
    """A line to the contracts through the model."""

    proxy: MegaEthProxy
    line: Line

    def transactor(self) -> Transactor:
        ports = Ports(
            chain=self.line.endpoint,
            read_back=ContractReadBack(self.line.endpoint),
            outbox=Outbox(self.line.database),
            clock=self.line.clock,
            timer=LoopTimer(),
            metrics=b.metrics(),
        )
        return Transactor(rich_key(), ports, replace(QUICK, give_up_after_s=60.0))


@pytest.fixture
async def shaped(fresh: Stand, tmp_path: Path) -> AsyncIterator[Shaped]:
    proxy = MegaEthProxy(node=fresh.node.url)
    async with serving(proxy) as url, b.database(tmp_path) as database:
        endpoint = await ChainEndpoint.open(url, chain_id=b.CHAIN_ID)
        yield Shaped(proxy, Line(fresh, endpoint, database, ChainClock(fresh.node)))
        await endpoint.close()


async def test_deliver__realtime_send__is_effective_from_a_mini_block(shaped: Shaped) -> None:
    assert shaped.line.endpoint.sends_by is SendCapability.REALTIME
    outcome = await shaped.transactor().deliver(await shaped.line.prices(1))
    assert isinstance(outcome, Effective), outcome
    assert shaped.proxy.called["realtime_sendRawTransaction"] == 2  # the probe, and the send
    assert shaped.proxy.called["eth_getTransactionReceipt"] == 0
    receipt = await shaped.line.endpoint.receipt(outcome.tx_hash)
    assert receipt is not None
    assert receipt.block_hash is None


async def test_deliver__realtime_send_expires__is_found_and_not_sent_twice(shaped: Shaped) -> None:
    shaped.proxy.expire_sends = 1
    before = await shaped.line.endpoint.account(rich_key().address)
    outcome = await shaped.transactor().deliver(await shaped.line.prices(1))
    assert isinstance(outcome, Effective), outcome
    after = await shaped.line.endpoint.account(rich_key().address)
    assert after.mined_nonce == after.pending_nonce == before.mined_nonce + 1


async def test_deliver__answer_is_held_back__the_next_lands_meanwhile(shaped: Shaped) -> None:
    shaped.proxy.hold_answer = held = asyncio.Event()
    transactor = shaped.transactor()
    first = asyncio.create_task(transactor.deliver(await shaped.line.prices(1)))
    await shaped.proxy.holding.wait()  # the node has the first
    assert isinstance(await transactor.deliver(await shaped.line.risk(1)), Effective)
    assert isinstance(await first, Effective)
    assert not held.is_set()
    held.set()


async def test_deliver__asked_to_come_again__does(shaped: Shaped) -> None:
    signed = await shaped.line.risk(1)
    shaped.proxy.limit_calls = 3
    outcome = await shaped.transactor().deliver(signed)
    assert isinstance(outcome, Effective), outcome


async def test_estimate__is_the_schedules_and_not_the_evms(shaped: Shaped) -> None:
    signed = await shaped.line.prices(1)
    payload = calldata(signed.posted, signed.signatures)
    feed, sender = shaped.line.deployment.price_feed, rich_key().address
    asked = await shaped.line.endpoint.estimate_gas(sender, feed, payload)
    direct = await ChainEndpoint.open(shaped.line.node.url, chain_id=b.CHAIN_ID)
    evm = await direct.estimate_gas(sender, feed, payload)
    await direct.close()
    assert asked >= evm + megaeth_gas.INTRINSIC
    assert asked >= megaeth_gas.floor_gas(payload)


async def test_send__gas_of_a_local_simulation__is_refused(shaped: Shaped) -> None:
    transaction = Transaction(
        chain_id=b.CHAIN_ID,
        nonce=0,
        fees=Fees(max_fee_wei=2_000_000, priority_fee_wei=0),
        gas_limit=21_000,
        recipient=rich_key().address,
        payload=b"",
    )
    low = await shaped.line.endpoint.send(sign(transaction, rich_key()).raw)
    assert isinstance(low, NotTaken)
    assert "intrinsic gas too low" in low.detail
    standing = await shaped.line.endpoint.account(rich_key().address)
    enough = replace(
        transaction, nonce=standing.pending_nonce, gas_limit=megaeth_gas.LEAST_GAS_LIMIT
    )
    assert isinstance(await shaped.line.endpoint.send(sign(enough, rich_key()).raw), Taken)


async def test_call__method_that_it_does_not_have__is_missing(shaped: Shaped) -> None:
    with pytest.raises(ChainRefused) as refused:
        await shaped.line.endpoint.call("txpool_status")
    assert is_method_missing(refused.value)


def test_gas__schedule__is_the_documents() -> None:
    assert megaeth_gas.floor_gas(b"") == 60_000
    assert megaeth_gas.floor_gas(b"\x00" * 1_000) == 21_000 + 110 * 1_000
    assert megaeth_gas.floor_gas(b"\x01" * 1_000) == 21_000 + 440 * 1_000
    assert megaeth_gas.storage_gas(b"\x00\x01", [(2, 32)]) == 39_000 + 200 + 7_500 + 2_560
