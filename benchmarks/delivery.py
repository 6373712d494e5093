"""Delivery beside the library's own path: `python -m benchmarks.delivery [--json OUT]`.

A price round of 50 markets, signed by two, from the call in hand to signed bytes and to a receipt,
on anvil: by the transactor (outbox on disk, hand-built transaction, read-back), and by
`contract.transact()` with web3's signing middleware. Round trips are counted at a proxy between.
Then the same two shapes, one market and 50, on a MegaETH-shaped endpoint (a model), and what they
would cost there by the published schedule: an estimate, no MegaETH was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eth_account import Account
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.middleware import SignAndSendRawMiddlewareBuilder

from benchmarks import megaeth_gas
from benchmarks.megaeth_proxy import MegaEthProxy, serving
from contracts import artifacts
from contracts.messages import Domain, calldata
from contracts.packing import pack_price_words
from contracts.units import UnixMs
from relayer.chain.configuration import read_configuration
from relayer.chain.deploy import Deployer
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.values import Deployment
from relayer.delivery.confirm import ContractReadBack
from relayer.delivery.fees import FeeRules, Fees
from relayer.delivery.outbox import Outbox
from relayer.delivery.ports import DeliveryRules, LoopTimer, Ports
from relayer.delivery.states import Effective
from relayer.delivery.transactions import Transaction, sign
from relayer.delivery.transactor import Transactor
from relayer.signing.values import Proposal, SignedMessage
from tests.relayer import builders as b
from tests.relayer.anvil import RICH, Anvil, rich_key, running
from tests.relayer.conftest import plan

MARKETS, ROUNDS = 50, 40
RULES = DeliveryRules(fees=FeeRules(), poll_s=0.005)
Path_ = Callable[[SignedMessage], Awaitable[None]]


class NodeProxy(MegaEthProxy):
    """Anvil itself, with its round trips counted and nothing changed."""

    async def _result(self, method: str, params: list[Any]) -> Any:  # noqa: ANN401
        return await self.forward(method, *params)


class NodeClock:
    """The node's time, counted on by this machine: a look costs no round trip."""

    def __init__(self, node: Anvil) -> None:
        stamp = int(node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)  # noqa: FBT003
        self._ahead_ms = stamp * 1_000 - time.time_ns() // 1_000_000

    async def now_ms(self) -> int:
        """Milliseconds since 1970, as the chain counts them."""
        return time.time_ns() // 1_000_000 + self._ahead_ms


@dataclass
class Stand:
    """A node with the contracts, and rounds for it that are newer each time."""

    deployment: Deployment
    digest: bytes
    clock: NodeClock
    round: int = 0

    async def message(self, markets: int) -> SignedMessage:
        """Make a round of the first markets, signed by two."""
        self.round += 1
        now = UnixMs(await self.clock.now_ms())
        price = b.PRICE + self.round * 10**15
        quotes = [replace(b.quote(m, price), observed_at_ms=now) for m in range(markets)]
        message = replace(
            b.price_round(1, self.round),
            observed_at_ms=now,
            valid_until_ms=UnixMs(now + 60_000),
            words=pack_price_words(quotes, now),
        )
        contract = self.deployment.price_feed
        domain = Domain(chain_id=b.CHAIN_ID, contract=contract, config_digest=self.digest)
        return b.sign_with(Proposal(message=message, domain=domain), b.PRICE_KEYS[:2])


async def measure(rounds: int) -> dict[str, Any]:
    """Measure both paths, then the model of MegaETH."""
    with running(chain_id=b.CHAIN_ID, timestamp_s=b.NOW_S) as node:
        endpoint = await ChainEndpoint.open(node.url, chain_id=b.CHAIN_ID)
        deployed = await Deployer(endpoint, rich_key(), FeeRules()).deploy(plan(MARKETS))
        config = await read_configuration(endpoint, deployed.price_feed)
        await endpoint.close()
        stand = Stand(deployed, config.config_digest, NodeClock(node))
        rows = [
            await _signing(stand, rounds),
            *await _paths(stand, node, rounds),
            await _on_model(stand, node),
        ]
        return {"unit": "ms", "rows": rows, "megaeth_estimates": await _estimates(stand, node)}


async def _signing(stand: Stand, rounds: int) -> dict[str, Any]:
    """Time the message in hand to raw bytes, with nothing asked of anybody."""
    key, times = rich_key(), []
    for nonce in range(rounds):
        message = await stand.message(MARKETS)
        began = time.perf_counter()
        transaction = Transaction(
            chain_id=b.CHAIN_ID,
            nonce=nonce,
            fees=Fees(max_fee_wei=2_000_000, priority_fee_wei=0),
            gas_limit=1_000_000,
            recipient=stand.deployment.price_feed,
            payload=calldata(message.posted, message.signatures),
        )
        sign(transaction, key)
        times.append((time.perf_counter() - began) * 1_000)
    return {"path": "ours: signed message to raw bytes", **_summary(times), "round_trips": 0}


async def _paths(stand: Stand, node: Anvil, rounds: int) -> list[dict[str, Any]]:
    """Time message in hand to receipt, ours and the library's."""
    rows = []
    proxy = NodeProxy(node=node.url)
    async with serving(proxy) as url:
        endpoint = await ChainEndpoint.open(url, chain_id=b.CHAIN_ID)
        with tempfile.TemporaryDirectory() as folder:
            async with b.database(Path(folder)) as database:
                ours = _ours(_transactor(endpoint, stand, database))
                rows.append(await _timed("ours: effective, read back", ours, stand, proxy, rounds))
        await endpoint.close()
        library = _library(url, stand.deployment.price_feed)
        name = "web3: transact() and its receipt, not read back"
        rows.append(await _timed(name, library, stand, proxy, rounds))
    return rows


def _transactor(endpoint: ChainEndpoint, stand: Stand, database: Any) -> Transactor:  # noqa: ANN401
    ports = Ports(
        chain=endpoint,
        read_back=ContractReadBack(endpoint),
        outbox=Outbox(database),
        clock=stand.clock,
        timer=LoopTimer(),
        metrics=b.metrics(),
    )
    return Transactor(rich_key(), ports, RULES)


def _ours(transactor: Transactor) -> Path_:
    async def deliver(message: SignedMessage) -> None:
        outcome = await transactor.deliver(message)
        if not isinstance(outcome, Effective):
            raise SystemExit(f"not effective: {outcome}")

    return deliver


def _library(url: str, contract: str) -> Path_:
    web3 = AsyncWeb3(AsyncHTTPProvider(url))
    account = Account.from_key(RICH)
    signing = SignAndSendRawMiddlewareBuilder.build(account)
    web3.middleware_onion.inject(signing, layer=0)
    web3.eth.default_account = account.address
    bound = web3.eth.contract(
        address=web3.to_checksum_address(contract), abi=artifacts.load("PriceFeed").abi
    )

    async def transact(message: SignedMessage) -> None:
        call = calldata(message.posted, message.signatures)
        function, arguments = bound.decode_function_input(call)
        posting = bound.functions[function.fn_name](**arguments)
        tx_hash = await posting.transact({"from": account.address})
        receipt = await web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.005)
        if receipt["status"] != 1:
            raise SystemExit("the library's transaction reverted")

    return transact


async def _timed(
    name: str, path: Path_, stand: Stand, proxy: MegaEthProxy, rounds: int
) -> dict[str, Any]:
    times = []
    await path(await stand.message(MARKETS))  # capabilities, chain id and first gas estimate
    proxy.asked = 0
    proxy.called.clear()
    for _ in range(rounds):
        message = await stand.message(MARKETS)
        began = time.perf_counter()
        await path(message)
        times.append((time.perf_counter() - began) * 1_000)
    calls = {method: round(n / rounds, 2) for method, n in sorted(proxy.called.items())}
    return {
        "path": name,
        **_summary(times),
        "round_trips": proxy.asked / rounds,
        "calls": calls,
    }


async def _on_model(stand: Stand, node: Anvil) -> dict[str, Any]:
    """Deliver through the MegaETH-shaped endpoint: by its synchronous send, mini-block receipts."""
    proxy = MegaEthProxy(node=node.url)
    async with serving(proxy) as url:
        endpoint = await ChainEndpoint.open(url, chain_id=b.CHAIN_ID)
        with tempfile.TemporaryDirectory() as folder:
            async with b.database(Path(folder)) as database:
                ours = _ours(_transactor(endpoint, stand, database))
                name = f"ours: {endpoint.sends_by.value}, on the model of MegaETH"
                row = await _timed(name, ours, stand, proxy, 10)
        await endpoint.close()
    return row


async def _estimates(stand: Stand, node: Anvil) -> list[dict[str, Any]]:
    """Land each shape on anvil, and price it by MegaETH's schedule."""
    rows = []
    endpoint = await ChainEndpoint.open(node.url, chain_id=b.CHAIN_ID)
    with tempfile.TemporaryDirectory() as folder:
        async with b.database(Path(folder)) as database:
            transactor = _transactor(endpoint, stand, database)
            for markets in (1, MARKETS):
                message = await stand.message(markets)
                outcome = await transactor.deliver(message)
                assert isinstance(outcome, Effective), outcome
                receipt = await endpoint.receipt(outcome.tx_hash)
                assert receipt is not None
                call = calldata(message.posted, message.signatures)
                logs = [(len(log.topics), len(log.data)) for log in receipt.logs]
                gas = megaeth_gas.gas(receipt.gas_used, call, logs)
                row = {"markets": markets, "signatures": 2, "evm_gas": receipt.gas_used}
                row |= {"storage_gas": megaeth_gas.storage_gas(call, logs), "megaeth_gas": gas}
                row |= {"floor_gas": megaeth_gas.floor_gas(call)}
                rows.append({**row, "ether": gas * megaeth_gas.BASE_FEE_WEI / 1e18})
    await endpoint.close()
    return rows


def _summary(times: Sequence[float]) -> dict[str, Any]:
    ordered = sorted(times)
    return {
        "count": len(ordered),
        "p50_ms": statistics.median(ordered),
        "p99_ms": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
    }


def show(found: dict[str, Any]) -> None:
    """Print both tables."""
    print(f"{'path (50 markets, 2 signatures)':54} {'p50 ms':>8} {'p99 ms':>8} {'round trips':>12}")
    for row in found["rows"]:
        figures = f"{row['p50_ms']:8.2f} {row['p99_ms']:8.2f} {row['round_trips']:12.1f}"
        print(f"{row['path']:54} {figures}")
    print("\nMegaETH, estimated from its published schedule; no MegaETH node was asked")
    head = f"{'markets':>8} {'EVM gas':>10} {'storage gas':>12} {'floor':>10}"
    print(f"{head} {'total':>10} {'ETH':>12}")
    for row in found["megaeth_estimates"]:
        costs = f"{row['evm_gas']:10,} {row['storage_gas']:12,} {row['floor_gas']:10,}"
        print(f"{row['markets']:8} {costs} {row['megaeth_gas']:10,} {row['ether']:12.2e}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    found = asyncio.run(measure(options.rounds))
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
