"""The margin contracts' events as the index takes them: their names and their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from contracts.fields import keccak256
from relayer.chain import rpc
from relayer.chain.requests import REQUEST_TYPES
from relayer.chain.rpc import Log
from relayer.chain.values import MarginContracts
from relayer.errors import BadAnswer

WORD: Final = 32
_ENGINE: Final = (
    "BalanceChanged(address,int256)",
    "AccountChanged(address,uint256)",
    "PositionChanged(uint256,uint256,uint256)",
    "PositionRamped(uint256,uint256)",
    "MarketChanged(uint256,uint256,uint256)",
    "CutsApplied(uint256,uint256,int256)",
    "SideCut(uint256,bool,uint256,uint256,int256,uint256)",
    "RulesChanged(uint256,uint256)",
    "SettlementBegun(uint256,uint256)",
    "Filled(uint256,address,bool,uint256,uint256,uint256,uint256,int256,uint256,uint256)",
    "Liquidation(uint256,address,uint256,uint256,int256,uint256,uint256,uint256,uint256)",
    "PositionSettled(uint256,uint256,int256)",
)
_DESK: Final = (
    f"Requested(bytes32,address,uint256,bytes32,{REQUEST_TYPES})",
    "Executed(bytes32,address,address)",
    "Cancelled(bytes32,address)",
)
_POOL: Final = (
    "Settled(int256,uint256)",
    "LossShared(uint256,uint256,uint256)",
    "Insured(address,uint256)",
    "DepositRequested(uint256,address,uint256,uint256,uint256)",
    "DepositExecuted(uint256,address,uint256,uint256,uint256)",
    "DepositCancelled(uint256,address,uint256,uint256)",
    "RedeemRequested(uint256,address,uint256,uint256,uint256)",
    "RedeemExecuted(uint256,address,uint256,uint256,uint256)",
    "RedeemCancelled(uint256,address,uint256,uint256)",
)
Topics: TypeAlias = Mapping[bytes, tuple[str, frozenset[int]]]


def _topics(signatures: tuple[str, ...]) -> dict[bytes, tuple[str, frozenset[int]]]:
    """Name each event by its topic, with the places of its signed numbers."""
    found = {}
    for signature in signatures:
        name, _, types = signature[:-1].partition("(")
        signed = {place for place, kind in enumerate(types.split(",")) if kind == "int256"}
        found[keccak256(signature.encode())] = (name, frozenset(signed))
    return found


_TOPICS: Final[Mapping[str, Topics]] = {
    "engine": _topics(_ENGINE),
    "desk": _topics(_DESK),
    "pool": _topics(_POOL),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedLog:
    """An event and where the chain has it."""

    block_number: int
    block_hash: bytes
    log_index: int
    log: Log


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEvent:
    """One event: its name, and all its fields as numbers, the indexed ones first."""

    name: str
    fields: tuple[int, ...]


class EventReader:
    """Knows the events of one deployment's margin contracts."""

    def __init__(self, margin: MarginContracts) -> None:
        self._topics: dict[str, Topics] = {
            margin.engine: _TOPICS["engine"],
            margin.desk: _TOPICS["desk"],
            margin.pool: _TOPICS["pool"],
        }

    @property
    def addresses(self) -> list[str]:
        """Whose events are needed."""
        return list(self._topics)

    def read(self, log: Log) -> IndexEvent | None:
        """Read an event; None for one that changes nothing here."""
        known = self._topics.get(log.address, {}).get(log.topics[0]) if log.topics else None
        if known is None:
            return None
        name, signed = known
        if len(log.data) % WORD:
            raise BadAnswer(f"the event {name} has {len(log.data)} bytes of data")
        words = [
            *log.topics[1:],
            *(log.data[at : at + WORD] for at in range(0, len(log.data), WORD)),
        ]
        return IndexEvent(
            name=name,
            fields=tuple(
                int.from_bytes(word, "big", signed=place in signed)
                for place, word in enumerate(words)
            ),
        )


def placed_log(answer: Any) -> PlacedLog:  # noqa: ANN401 -- JSON
    """Read a log with its place."""
    return PlacedLog(
        block_number=rpc.quantity(rpc.member(answer, "blockNumber")),
        block_hash=rpc.data(rpc.member(answer, "blockHash"), WORD),
        log_index=rpc.quantity(rpc.member(answer, "logIndex")),
        log=rpc.read_log(answer),
    )
