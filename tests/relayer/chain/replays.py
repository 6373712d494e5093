"""A recorded history of the real contracts, served block by block as an endpoint would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from contracts.fields import checksummed
from relayer.chain.index import Index
from relayer.chain.index_reader import IndexReader
from relayer.chain.index_store import IndexStore
from relayer.chain.rpc import BlockStamp
from relayer.chain.values import Deployment, MarginContracts
from relayer.errors import ChainRefused
from relayer.outcomes import Outcomes
from relayer.storage import Database
from tests.relayer.chain.index_walks import History, contracts_of, hash_of

CHAIN_ID = 6343
ORACLE = "0x" + "0a" * 20


@dataclass
class Replay:
    """The first `head` blocks of a history; another `fork` from a block on has other hashes."""

    history: History
    head: int
    forked_from: int = 10**9

    def hash_of(self, number: int) -> bytes:
        return hash_of(number, fork=int(number >= self.forked_from))

    async def block(self, block: int | str) -> BlockStamp:
        number = self.head if block == "latest" else int(block)
        if number > self.head:
            raise ChainRefused("no such block")
        return BlockStamp(
            number=number, block_hash=self.hash_of(number), timestamp_s=1, base_fee_wei=0
        )

    async def batch(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        return [self._answer(method, params) for method, params in calls]

    def _answer(self, method: str, params: tuple[Any, ...]) -> Any:
        if method == "eth_getBlockByNumber":
            number = int(params[0], 16)
            own = "0x" + self.hash_of(number).hex()
            return {"number": hex(number), "hash": own, "timestamp": "0x1"}
        wanted = params[0]
        first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
        return [log for number in range(first, last + 1) for log in self._logs(number)]

    def _logs(self, number: int) -> list[dict[str, Any]]:
        if not 1 <= number <= len(self.history.evm.blocks) or number >= self.forked_from:
            return []  # the fork has empty blocks
        return [
            {
                "blockNumber": hex(number),
                "blockHash": "0x" + self.hash_of(number).hex(),
                "logIndex": hex(place),
                "address": log.address,
                "topics": ["0x" + topic.hex() for topic in log.topics],
                "data": "0x" + log.data.hex(),
            }
            for place, log in enumerate(self.history.evm.blocks[number - 1])
        ]


def deployment_of(history: History) -> Deployment:
    """Name a history's contracts as the daemon does."""
    margin = contracts_of(history.walk.world)
    names = {each.name: checksummed(getattr(margin, each.name)) for each in fields(margin)}
    return Deployment(
        chain_id=CHAIN_ID,
        price_feed="0x" + "0b" * 20,
        risk_oracle=ORACLE,
        block_number=1,
        markets=(),
        margin=MarginContracts(**names),
    )


async def reader_of(history: History, database: Database) -> IndexReader:
    """Take the index up where the database has it."""
    deployment = deployment_of(history)
    assert deployment.margin is not None
    store = IndexStore(database, CHAIN_ID, deployment.margin.engine)
    return IndexReader(deployment, store, Index(await store.load()))


def outcomes_of(history: History, database: Database) -> Outcomes:
    """Give what the database has of a history's outcomes."""
    margin = deployment_of(history).margin
    assert margin is not None
    return Outcomes(database, CHAIN_ID, margin.engine, ORACLE)
