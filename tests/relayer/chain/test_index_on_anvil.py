"""Facts about the index on a real node: it follows, goes back, and goes on where it was left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest

from contracts.book_words import encode_account
from relayer.chain import margin_calls as calls
from relayer.chain.deploy import Deployer
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.index import Index
from relayer.chain.index_ledger import BLOCKS_KEPT
from relayer.chain.index_reader import IndexReader
from relayer.chain.index_store import IndexStore
from relayer.chain.margin import MarginPlan
from relayer.chain.values import Deployment, MarginContracts
from relayer.chain.views import view
from relayer.chain.wallet import Wallet
from relayer.delivery.fees import FeeRules
from relayer.signing.keys import Key
from relayer.storage import Database
from tests.contracts.margin_world import MARKET_RULES
from tests.relayer import builders as b
from tests.relayer.anvil import Anvil, rich_key, running
from tests.relayer.conftest import plan

pytestmark = pytest.mark.anvil
USDC = 10**6
ACCOUNT = view("account(address)", "uint256", "int256")
RULES = replace(MARKET_RULES, penalty_max_ppm=4_000)
RICH = "0x3635c9adc5dea00000"
TRADERS = (b.key(71), b.key(72))


@dataclass(frozen=True, slots=True, kw_only=True)
class Traders:
    """A node with margin contracts, and two who deposit there."""

    node: Anvil
    endpoint: ChainEndpoint
    deployment: Deployment

    @property
    def at(self) -> MarginContracts:
        assert self.deployment.margin is not None
        return self.deployment.margin

    def wallet(self, key: Key) -> Wallet:
        return Wallet(self.endpoint, key, FeeRules())

    async def deposit(self, key: Key, amount: int) -> None:
        await self.wallet(key).tell(self.at.engine, calls.DEPOSIT, amount)

    async def ready(self, key: Key) -> None:
        self.node.call("anvil_setBalance", key.address, RICH)
        wallet = self.wallet(key)
        await wallet.tell(self.at.token, calls.MINT, key.address, 10**12)
        await wallet.tell(self.at.token, calls.APPROVE, self.at.vault, 10**12)
        await wallet.tell(self.at.token, calls.APPROVE, self.at.pool, 10**12)

    async def on_chain(self, key: Key) -> tuple[int, int]:
        method, params = ACCOUNT.call(self.at.engine, "latest", key.address)
        word, balance = ACCOUNT.read(await self.endpoint.call(method, *params))
        return word, balance

    def drop(self, depth: int) -> None:
        """Replace so many of the newest blocks with empty ones."""
        self.node.call("anvil_reorg", depth, [])


@pytest.fixture(scope="module")
def margin_node() -> Iterator[tuple[Anvil, Deployment]]:
    async def deploy(node: Anvil) -> Deployment:
        endpoint = await ChainEndpoint.open(node.url, chain_id=b.CHAIN_ID)
        wanted = replace(plan(2), margin=MarginPlan(token=None, rules=(RULES,) * 2))
        try:
            return await Deployer(endpoint, rich_key(), FeeRules()).deploy(wanted)
        finally:
            await endpoint.close()

    with running(chain_id=b.CHAIN_ID, timestamp_s=b.NOW_S) as node:
        yield node, asyncio.run(deploy(node))


@pytest.fixture
async def traders(margin_node: tuple[Anvil, Deployment]) -> AsyncIterator[Traders]:
    node, deployment = margin_node
    snapshot = node.call("evm_snapshot")
    endpoint = await ChainEndpoint.open(node.url, chain_id=b.CHAIN_ID)
    found = Traders(node=node, endpoint=endpoint, deployment=deployment)
    for key in TRADERS:
        await found.ready(key)
    yield found
    await endpoint.close()
    assert node.call("evm_revert", snapshot)


def store_of(traders: Traders, database: Database) -> IndexStore:
    return IndexStore(database, traders.deployment.chain_id, traders.at.engine)


async def reader_of(traders: Traders, database: Database) -> IndexReader:
    store = store_of(traders, database)
    return IndexReader(traders.deployment, store, Index(await store.load()))


async def agrees(traders: Traders, index: Index) -> bool:
    return all(
        [
            (encode_account(index.account(key.address)), index.account(key.address).balance)
            == await traders.on_chain(key)
            for key in TRADERS
        ]
    )


async def test_advance__deposits__are_the_contracts(traders: Traders, database: Database) -> None:
    reader = await reader_of(traders, database)
    await traders.deposit(TRADERS[0], 500 * USDC)
    await traders.wallet(TRADERS[1]).tell(traders.at.pool, calls.REQUEST_DEPOSIT, 1, 9 * USDC)
    await reader.advance(traders.endpoint)
    assert await agrees(traders, reader.index)
    assert reader.index.pool().pending == 9 * USDC
    assert [each.amount for each in reader.index.liquidity_requests()] == [9 * USDC]
    assert set(reader.index.markets()) == {0, 1}


async def test_advance__blocks_replaced__goes_back_to_what_both_have(
    traders: Traders, database: Database
) -> None:
    reader = await reader_of(traders, database)
    await traders.deposit(TRADERS[0], 500 * USDC)
    await reader.advance(traders.endpoint)
    for amount in (1, 2, 3):
        await traders.deposit(TRADERS[1], amount * USDC)
        await reader.advance(traders.endpoint)
    traders.drop(2)
    step = await reader.advance(traders.endpoint)
    assert step.dropped == 2
    assert not step.rebuilt
    assert reader.index.account(TRADERS[1].address).balance == USDC
    assert await agrees(traders, reader.index)
    await traders.deposit(TRADERS[0], 7 * USDC)
    await reader.advance(traders.endpoint)
    assert reader.index.account(TRADERS[0].address).balance == 507 * USDC


async def test_load__after_a_kill_and_a_reorg__is_what_is_read_from_nothing(
    traders: Traders, database: Database
) -> None:
    reader = await reader_of(traders, database)
    for amount in (5, 6, 7, 8):
        await traders.deposit(TRADERS[0], amount * USDC)
        await reader.advance(traders.endpoint)
    traders.drop(3)
    await traders.deposit(TRADERS[1], 4 * USDC)
    resumed = await reader_of(traders, database)  # another process, on the same database
    assert resumed.index.ledger.tables == reader.index.ledger.tables
    step = await resumed.advance(traders.endpoint)
    await store_of(traders, database).clear()
    anew = await reader_of(traders, database)
    await anew.advance(traders.endpoint)
    assert step.dropped == 3
    assert resumed.index.ledger.tables == anew.index.ledger.tables
    assert resumed.index.block == anew.index.block
    assert await agrees(traders, resumed.index)


async def test_advance__more_dropped_than_is_kept__reads_everything_anew(
    traders: Traders, database: Database
) -> None:
    reader = await reader_of(traders, database)
    await traders.deposit(TRADERS[0], 5 * USDC)
    await reader.advance(traders.endpoint)
    ledger = reader.index.ledger
    del ledger.marks[:-1]  # as after many more blocks than BLOCKS_KEPT
    assert BLOCKS_KEPT > 1
    traders.drop(2)
    step = await reader.advance(traders.endpoint)
    assert step.rebuilt
    assert await agrees(traders, reader.index)
    assert (await reader_of(traders, database)).index.block == reader.index.block


async def test_advance__a_node_that_is_behind__is_followed_down_and_up_again(
    traders: Traders, database: Database
) -> None:
    reader = await reader_of(traders, database)
    await reader.advance(traders.endpoint)
    before = traders.node.call("evm_snapshot")
    await traders.deposit(TRADERS[0], 5 * USDC)
    await reader.advance(traders.endpoint)
    assert traders.node.call("evm_revert", before)
    await reader.advance(traders.endpoint)
    assert reader.index.account(TRADERS[0].address).balance == 0
    assert await agrees(traders, reader.index)
