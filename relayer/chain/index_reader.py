"""Brings the index to the chain's head: by ranges of blocks, back where the chain took blocks back.

A step checks the newest block that the index has come to. Where the chain has another one there,
blocks are dropped down to the last that both have; past what is kept, everything is read anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from relayer.chain import rpc
from relayer.chain.endpoints import ChainEndpoint, block_call, hexed
from relayer.chain.index import Index
from relayer.chain.index_events import EventReader, PlacedLog, placed_log
from relayer.chain.index_ledger import Key, Ledger
from relayer.chain.index_lives import liquidation_of
from relayer.chain.index_rules import take
from relayer.chain.index_store import IndexStore
from relayer.chain.rpc import BlockStamp
from relayer.chain.values import Deployment
from relayer.errors import ChainMoved, ChainRefused, Misconfigured
from relayer.outcomes import Liquidated

PAGE_BLOCKS: Final = 5_000  # public endpoints refuse wide ranges
LEAST_PAGE: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """What one step did: rows that may have changed, blocks taken back, and where it stands."""

    block: tuple[int, bytes]
    changed: frozenset[Key] = frozenset()
    dropped: int = 0
    rebuilt: bool = False


class IndexReader:
    """Keeps one `Index` and its store in step with one deployment's chain."""

    def __init__(self, deployment: Deployment, store: IndexStore, index: Index) -> None:
        if deployment.margin is None:
            raise Misconfigured("there is nothing to index: no margin contracts were deployed")
        self._events = EventReader(deployment.margin)
        self._first = deployment.block_number
        self._store = store
        self._page = PAGE_BLOCKS
        self._liquidated: list[Liquidated] = []  # taken in, and not yet on disk
        self.index = index

    async def advance(self, endpoint: ChainEndpoint) -> Advance:
        """Read on to the endpoint's newest block.

        Raises
        ------
        ChainMoved
            The chain changed while it was read: what came before is kept, ask again.
        """
        head = await endpoint.block("latest")
        before = len(self.index.ledger.marks)
        changed = await self._go_back(endpoint, head)
        dropped = before - len(self.index.ledger.marks)
        rebuilt = dropped > 0 and not self.index.ledger.marks
        if rebuilt:
            await self._start_anew()
        elif dropped:
            await self._save(changed)
        changed |= await self._read_on(endpoint, head)
        return Advance(
            block=self.index.block, changed=frozenset(changed), dropped=dropped, rebuilt=rebuilt
        )

    async def _go_back(self, endpoint: ChainEndpoint, head: BlockStamp) -> set[Key]:
        """Drop blocks that the endpoint does not have."""
        ledger, changed = self.index.ledger, set[Key]()
        while ledger.marks and not await _has(endpoint, head, *self.index.block):
            changed.update(ledger.drop_block())
        newest = self.index.block[0]
        self._liquidated = [each for each in self._liquidated if each.block_number <= newest]
        return changed

    async def _save(self, changed: set[Key]) -> None:
        """Write what changed, with the liquidations that were taken in since the last time."""
        await self._store.save(self.index.ledger, changed, tuple(self._liquidated))
        self._liquidated.clear()

    async def _start_anew(self) -> None:
        """Forget everything: the chain dropped more blocks than there is a way back for."""
        self.index.ledger = Ledger()
        await self._store.clear()

    async def _read_on(self, endpoint: ChainEndpoint, head: BlockStamp) -> set[Key]:
        changed: set[Key] = set()
        first = max(self._first, self.index.block[0] + 1)
        while first <= head.number:
            last = min(head.number, first + self._page - 1)
            try:
                stamp, logs = await self._logs(endpoint, first, last)
            except ChainRefused:
                if self._page <= LEAST_PAGE:
                    raise
                self._page //= 4  # the endpoint serves less at once
                continue
            step = self._take(logs, stamp)
            await self._save(step)
            changed |= step
            first = last + 1
        return changed

    async def _logs(
        self, endpoint: ChainEndpoint, first: int, last: int
    ) -> tuple[BlockStamp, list[PlacedLog]]:
        """Read a range between two looks at its last block, which must be the same one."""
        wanted = {
            "address": self._events.addresses,
            "fromBlock": hexed(first),
            "toBlock": hexed(last),
        }
        number, block_hash = self.index.block
        parent, before, answer, after = await endpoint.batch(
            [
                block_call(number),
                block_call(last),
                ("eth_getLogs", (wanted,)),
                block_call(last),
            ]
        )
        stamp = rpc.block_stamp(before)
        # What is read now would stand on blocks that the chain no longer has.
        if block_hash and rpc.block_stamp(parent).block_hash != block_hash:
            raise ChainMoved(f"block {number} was replaced while those after it were read")
        logs = sorted(
            (placed_log(item) for item in answer), key=lambda p: (p.block_number, p.log_index)
        )
        strange = [p for p in logs if p.block_number == last and p.block_hash != stamp.block_hash]
        if strange or rpc.block_stamp(after).block_hash != stamp.block_hash:
            raise ChainMoved(f"block {last} was replaced while its events were read")
        return stamp, logs

    def _take(self, logs: list[PlacedLog], stamp: BlockStamp) -> set[Key]:
        """Take a range's events in, block by block, and note that its last block was reached."""
        ledger, changed = self.index.ledger, set[Key]()
        for number, group in groupby(logs, key=lambda placed: placed.block_number):
            placed = list(group)
            self._take_events(placed)
            mark = ledger.end_block(number, placed[0].block_hash)
            changed.update(key for key, _ in mark.undo)
        if self.index.block[0] != stamp.number:
            ledger.end_block(stamp.number, stamp.block_hash)
        return changed

    def _take_events(self, placed: Iterable[PlacedLog]) -> None:
        for each in placed:
            event = self._events.read(each.log)
            if event is not None:
                found = liquidation_of(self.index.ledger, each, event)
                self._liquidated += [] if found is None else [found]
                take(self.index.ledger, event)


async def _has(endpoint: ChainEndpoint, head: BlockStamp, number: int, block_hash: bytes) -> bool:
    """Tell whether a block is the endpoint's, too; one above its head is not."""
    if number > head.number:
        return False
    if number == head.number:
        return head.block_hash == block_hash
    try:
        stamp = await endpoint.block(number)
    except ChainRefused:
        return False
    return stamp.block_hash == block_hash
