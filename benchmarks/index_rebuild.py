"""The index read from nothing and taken up again, over a made-up history of many accounts.

    python -m benchmarks.index_rebuild --json OUT [--accounts N]

Each account deposits, asks for a position and gets it: the ten events that the contracts write for
that, an account a block, read by pages through the daemon's reader into its database (SQLite, in
a temporary folder). What serving the events costs is this file's, and is taken off. Then the same
index is taken up from disk, and followed by one more block.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.positions import MARKETS, RULES, memory_mb
from contracts.book_words import (
    ISOLATED,
    AccountBook,
    Flow,
    Position,
    encode_account,
    encode_flow,
    encode_position,
    encode_rules,
    encode_sizes,
    position_id,
)
from contracts.fields import checksummed, keccak256
from relayer.chain.index import Index
from relayer.chain.index_reader import IndexReader
from relayer.chain.index_store import IndexStore
from relayer.chain.requests import REQUEST_TYPES
from relayer.chain.rpc import BlockStamp
from relayer.chain.values import Deployment, MarginContracts
from relayer.migrations import upgrade
from relayer.storage import Database

PRICE, SIZE, MARGIN = 10**18, 10**21, 10**8
CONTRACTS = ("token", "vault", "pool", "engine", "desk", "liquidator", "views")
ADDRESS = {name: "0x" + f"{number:02x}" * 20 for number, name in enumerate(CONTRACTS, 1)}
SIGNATURES = {
    "BalanceChanged": ("engine", "BalanceChanged(address,int256)"),
    "AccountChanged": ("engine", "AccountChanged(address,uint256)"),
    "PositionChanged": ("engine", "PositionChanged(uint256,uint256,uint256)"),
    "MarketChanged": ("engine", "MarketChanged(uint256,uint256,uint256)"),
    "RulesChanged": ("engine", "RulesChanged(uint256,uint256)"),
    "Filled": (
        "engine",
        "Filled(uint256,address,bool,uint256,uint256,uint256,uint256,int256,uint256,uint256)",
    ),
    "Requested": ("desk", f"Requested(bytes32,address,uint256,bytes32,{REQUEST_TYPES})"),
    "Executed": ("desk", "Executed(bytes32,address,address)"),
    "Settled": ("pool", "Settled(int256,uint256)"),
}
TOPICS = {name: keccak256(text.encode()).hex() for name, (_, text) in SIGNATURES.items()}
Told = tuple[str, tuple[int, ...]]


def opened(number: int, sizes: list[int]) -> Iterator[Told]:
    """Tell one account's deposit, request and position."""
    account, market = (1 << 159) + number, number % MARKETS
    position = Position(
        size=SIZE, basis=PRICE, leverage_e2=500, long=True, collateral=MARGIN,
        maintenance_ppm=10_000, ceiling_ppm=10_000, version=1, stamp_ms=1,
    )  # type: ignore[arg-type]  # fmt: skip
    identity = position_id(account, market, ISOLATED)  # type: ignore[arg-type]
    asked = (account, market, ISOLATED, 1, 0, 0, SIZE, MARGIN, 500, 10_000, 10_000, 10**12, 0, 0, 1)
    sizes[market] += SIZE
    flow = encode_flow(Flow(at_s=number + 2))  # type: ignore[arg-type]
    yield "BalanceChanged", (account, 2 * MARGIN)
    yield "AccountChanged", (account, encode_account(AccountBook(nonce=1)))
    yield "BalanceChanged", (account, MARGIN)
    yield "Requested", (number, account, market, 1, *asked)
    yield "MarketChanged", (market, encode_sizes(sizes[market], 0), flow)  # type: ignore[arg-type]
    yield "PositionChanged", (identity, *encode_position(position)[:2])
    yield "Filled", (identity, account, 1, 0, SIZE, PRICE, 0, 0, 0, 0)
    yield "Settled", (1, 0)
    yield "BalanceChanged", (1, number)
    yield "Executed", (number, account, account)


class MadeUp:
    """An endpoint with that history; `served_s` is what its answers cost to make."""

    def __init__(self, accounts: int) -> None:
        self.head = 1 + accounts
        self.served_s = 0.0
        self.events = 0
        self.name = "made up"
        self._sizes = [0] * MARKETS

    async def block(self, block: int | str) -> BlockStamp:
        """Give a block's header."""
        number = self.head if block == "latest" else int(block)
        return BlockStamp(
            number=number, block_hash=number.to_bytes(32, "big"), timestamp_s=1, base_fee_wei=0
        )

    async def batch(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """Answer what the reader asks."""
        began = time.process_time()
        answers = [self._answer(method, params[0]) for method, params in calls]
        self.served_s += time.process_time() - began
        return answers

    def _answer(self, method: str, asked: Any) -> Any:  # noqa: ANN401 -- JSON
        if method == "eth_getBlockByNumber":
            return {"number": asked, "hash": f"0x{int(asked, 16):064x}", "timestamp": "0x1"}
        first, last = int(asked["fromBlock"], 16), int(asked["toBlock"], 16)
        return [log for number in range(first, last + 1) for log in self._logs(number)]

    def _logs(self, number: int) -> Iterator[dict[str, Any]]:
        for place, (name, fields) in enumerate(self._told(number)):
            self.events += 1
            yield {
                "blockNumber": hex(number),
                "blockHash": f"0x{number:064x}",
                "logIndex": hex(place),
                "address": ADDRESS[SIGNATURES[name][0]],
                "topics": ["0x" + TOPICS[name]],
                "data": "0x" + b"".join(each.to_bytes(32, "big") for each in fields).hex(),
            }

    def _told(self, number: int) -> Iterator[Told]:
        if number == 1:
            for market in range(MARKETS):
                yield "RulesChanged", (market, encode_rules(RULES))
            return
        yield from opened(number - 2, self._sizes)


async def read(url: str, chain: MadeUp) -> dict[str, float]:
    """Take the index up and bring it to the head: how long each took, and how much it is."""
    database = Database.open(url)
    margin = MarginContracts(**{name: checksummed(at) for name, at in ADDRESS.items()})
    deployment = Deployment(
        chain_id=1,
        price_feed="0x" + "0b" * 20,
        risk_oracle="0x" + "0a" * 20,
        block_number=1,
        markets=(),
        margin=margin,
    )
    gc.collect()
    before_mb, events, served_s = memory_mb(), chain.events, chain.served_s
    began, began_cpu = time.perf_counter(), time.process_time()
    store = IndexStore(database, deployment.chain_id, margin.engine)
    reader = IndexReader(deployment, store, Index(await store.load()))
    loaded_cpu = time.process_time() - began_cpu
    await reader.advance(chain)  # type: ignore[arg-type]
    took = {
        "load_processor_s": loaded_cpu,
        "follow_processor_s": time.process_time()
        - began_cpu
        - loaded_cpu
        - (chain.served_s - served_s),
        "wall_s_with_serving": time.perf_counter() - began,
        "events": chain.events - events,
        "memory_mb": memory_mb() - before_mb,
        "positions": len(reader.index.ledger.positions),
    }
    await database.close()
    return took


def run(accounts: int) -> dict[str, Any]:
    """Read from nothing, then take up and follow one more block."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/index.sqlite"
        upgrade(url)
        chain = MadeUp(accounts)
        rebuilt = asyncio.run(read(url, chain))
        chain.head += 1
        resumed = asyncio.run(read(url, chain))
        size_mb = sum(each.stat().st_size for each in Path(folder).iterdir()) / 2**20
    return {
        "accounts": accounts,
        "rebuilt": rebuilt,
        "resumed": resumed,
        "database_mb": size_mb,
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--accounts", type=int, default=100_000)
    given = parser.parse_args()
    text = json.dumps(run(given.accounts), indent=1)
    if given.json is not None:
        given.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
