"""Random histories of the real margin contracts, with every event they wrote, for the index."""

from __future__ import annotations

from contracts.fields import keccak256
from relayer.chain.index_events import EventReader, IndexEvent
from relayer.chain.index_ledger import Ledger
from relayer.chain.index_rules import take
from relayer.chain.rpc import Log
from relayer.chain.values import MarginContracts
from tests.contracts.chain import RawReceipt, RevmEvm
from tests.contracts.fuzz import Walk
from tests.contracts.lockstep import Sides
from tests.contracts.margin_world import MarginWorld


class RecordingEvm(RevmEvm):
    """Keeps the logs of each transaction: one transaction is one block."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[tuple[Log, ...]] = []

    def send(self, sender: str, to: str, data: bytes) -> RawReceipt:
        receipt = super().send(sender, to, data)
        found = zip(self._evm.result.logs, receipt.logs, strict=True)
        logs = (
            Log(address=log.address.lower(), topics=tuple(topics), data=body)
            for log, (topics, body) in found
        )
        self.blocks.append(tuple(logs))
        return receipt


def contracts_of(world: MarginWorld) -> MarginContracts:
    """Name a world's contracts as a deployment does."""
    return MarginContracts(
        token=world.token.address.lower(),
        vault=world.vault.address.lower(),
        pool=world.pool.address.lower(),
        engine=world.engine.address.lower(),
        desk=world.desk.address.lower(),
        liquidator=world.liquidator.address.lower(),
        views=world.views.address.lower(),
    )


class History:
    """A walk over the contracts, and its events block by block."""

    def __init__(self, seed: int) -> None:
        self.evm = RecordingEvm()
        self.walk = Walk(seed, Sides(self.evm))
        self.reader = EventReader(contracts_of(self.walk.world))

    def step(self, times: int) -> None:
        for _ in range(times):
            self.walk.step()

    @property
    def blocks(self) -> list[list[IndexEvent]]:
        """The events of each block."""
        read = self.reader.read
        return [[e for log in logs if (e := read(log)) is not None] for logs in self.evm.blocks]


def hash_of(number: int, fork: int = 0) -> bytes:
    """Make up a block's hash."""
    return keccak256(f"{fork}:{number}".encode())


def told(blocks: list[list[IndexEvent]]) -> Ledger:
    """Tell a new ledger all of it."""
    ledger = Ledger()
    for number, events in enumerate(blocks, 1):
        tell(ledger, number, events)
    return ledger


def tell(ledger: Ledger, number: int, events: list[IndexEvent], fork: int = 0) -> None:
    """Tell a ledger one block."""
    for event in events:
        take(ledger, event)
    ledger.end_block(number, hash_of(number, fork))
