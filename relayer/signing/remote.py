"""A signer in another process: asked over HTTP, believed only when its answer is sealed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from relayer.errors import BadAnswer, RelayerError, Unreachable
from relayer.signing import wire
from relayer.signing.keys import Key
from relayer.signing.server import PATH
from relayer.signing.transport import ANSWER_HEADER, is_answer, seal_request
from relayer.signing.values import Proposal, Refusal, SignerAnswer

_FAULTS: Final = (aiohttp.ClientError, OSError, TimeoutError)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A signer process: where it is, who answers there, and whose signature counts."""

    name: str
    url: str
    transport: str
    address: str


class RemoteSigner:
    """One of a process's signers, asked over HTTP; a slow answer is asked for once more.

    A signer gives the same message the same answer, so asking twice does no harm.
    """

    def __init__(
        self,
        peer: Peer,
        key: Key,
        session: aiohttp.ClientSession,
        *,
        hedge_after_s: float = 1.0,
        now_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        self._peer = peer
        self._key = key
        self._session = session
        self._hedge_after_s = hedge_after_s
        self._now_ms = now_ms

    @property
    def name(self) -> str:
        """A short name for metrics and logs."""
        return self._peer.name

    @property
    def address(self) -> str:
        """The address whose signature it gives."""
        return self._peer.address

    async def sign(self, proposal: Proposal) -> SignerAnswer | Refusal:
        """Ask for a signature.

        Raises
        ------
        Unreachable
            Nobody answered, twice.
        BadAnswer
            What came is not that signer's answer to this request.
        """
        body = wire.encode_proposal(proposal)
        first = asyncio.create_task(self._ask(body))
        try:
            done, _ = await asyncio.wait({first}, timeout=self._hedge_after_s)
            if done and first.exception() is None:
                return first.result()
            return await self._hedged(first, body)
        finally:
            first.cancel()

    async def _hedged(
        self, first: asyncio.Task[SignerAnswer | Refusal], body: bytes
    ) -> SignerAnswer | Refusal:
        """Ask once more, and take whichever answer comes first."""
        second = asyncio.create_task(self._ask(body))
        waiting = [second] if first.done() else [first, second]
        fault: BaseException | None = first.exception() if first.done() else None
        try:
            for finished in asyncio.as_completed(waiting):
                try:
                    return await finished
                except RelayerError as exc:
                    fault = exc
        finally:
            second.cancel()
        raise fault if isinstance(fault, RelayerError) else Unreachable(str(fault))

    async def _ask(self, body: bytes) -> SignerAnswer | Refusal:
        peer = self._peer
        seal = seal_request(self._key, peer.transport, PATH, body, self._now_ms())
        try:
            async with self._session.post(
                peer.url.rstrip("/") + PATH,
                data=body,
                headers=seal.headers(),
                allow_redirects=False,
            ) as response:
                answer = await _bounded(response)
                status, given = response.status, response.headers.get(ANSWER_HEADER, "")
        except _FAULTS as exc:
            raise Unreachable(f"{peer.name}: {type(exc).__name__}") from exc
        if not is_answer(given, peer.transport, seal, status, answer):
            raise BadAnswer(f"{peer.name}: status {status}, and not sealed by {peer.transport}")
        return wire.decode_answer(answer)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """Read an answer, and no more of it than an answer can have."""
    parts: list[bytes] = []
    length = 0
    async for part in response.content.iter_chunked(4_096):
        parts.append(part)
        length += len(part)
        if length > wire.MAX_BYTES:
            raise BadAnswer(f"an answer above {wire.MAX_BYTES} bytes")
    return b"".join(parts)
