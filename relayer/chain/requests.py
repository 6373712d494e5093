"""The order desk's waiting requests, from its events: each needs a price observed after it.

The price loop looks for itself. The index knows the same requests, but as of the turn after the
tick before: a request would get its price a tick later, of the 17 s that it has, or prices would
wait for a turn over positions to end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from contracts.fields import keccak256
from contracts.units import MarketId, UnixMs
from relayer.chain import rpc
from relayer.chain.endpoints import ChainEndpoint, hexed
from relayer.chain.rpc import Log

WINDOW_MS: Final = 17_000  # OrderDesk.WINDOW_MS: afterwards a request can only be cancelled
OBSERVED_AFTER_MS: Final = 2_001  # OrderDesk.FROM_MS: the first instant whose price serves one
REQUEST_TYPES: Final = (
    "(address,uint256,uint256,bool,bool,bool,uint256,uint256,uint256,uint256,uint256,"
    "uint256,uint256,uint256,uint256)"
)
"""OrderDesk.Request, as the ABI names it."""
_REQUESTED: Final = keccak256(
    f"Requested(bytes32,address,uint256,bytes32,{REQUEST_TYPES})".encode()
)
_ENDED: Final = frozenset(
    {
        keccak256(b"Executed(bytes32,address,address)"),
        keccak256(b"Cancelled(bytes32,address)"),
    }
)
_WORDS: Final = 15
_FIRST_LOOK_BLOCKS: Final = 500  # what waited before is over; later looks go on where one ended


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRequest:
    """One request; `body` is its struct as `execute` and `cancel` take it back."""

    request_id: bytes
    account: str
    market: MarketId
    requested_at_ms: UnixMs
    body: bytes


class RequestWatch:
    """Follows one desk's events, from look to look."""

    def __init__(self, endpoint: ChainEndpoint, desk: str) -> None:
        self._endpoint = endpoint
        self._desk = desk
        self._next_block: int | None = None
        self._waiting: dict[bytes, WaitingRequest] = {}

    async def waiting(self, now_ms: int) -> tuple[WaitingRequest, ...]:
        """Give the requests whose window is open, the oldest first."""
        head = (await self._endpoint.block("latest")).number
        first = max(0, head - _FIRST_LOOK_BLOCKS) if self._next_block is None else self._next_block
        if first <= head:
            for log in await self._logs(first, head):
                self._take(log)
            self._next_block = head + 1
        self._waiting = {
            key: one
            for key, one in self._waiting.items()
            if now_ms <= one.requested_at_ms + WINDOW_MS
        }
        return tuple(sorted(self._waiting.values(), key=lambda one: one.requested_at_ms))

    async def _logs(self, first: int, last: int) -> tuple[Log, ...]:
        wanted: dict[str, Any] = {
            "address": self._desk,
            "fromBlock": hexed(first),
            "toBlock": hexed(last),
        }
        answer: Sequence[object] = await self._endpoint.call("eth_getLogs", wanted)
        return tuple(rpc.read_log(item) for item in answer)

    def _take(self, log: Log) -> None:
        if not log.topics:
            return
        if log.topics[0] in _ENDED:
            self._waiting.pop(log.topics[1], None)
        elif log.topics[0] == _REQUESTED and len(log.data) == 32 * (1 + _WORDS):
            body = log.data[32:]
            self._waiting[log.topics[1]] = WaitingRequest(
                request_id=log.topics[1],
                account="0x" + log.topics[2][12:].hex(),
                market=MarketId(int.from_bytes(log.topics[3], "big")),
                requested_at_ms=UnixMs(int.from_bytes(body[-32:], "big")),
                body=body,
            )
