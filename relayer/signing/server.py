"""A signer's door: lets in whole proposals of known senders, once each, and signs its answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from contracts.messages import PriceRound
from relayer.errors import Misconfigured
from relayer.metrics import Metrics
from relayer.signing import wire
from relayer.signing.keys import Key
from relayer.signing.pace import Pace
from relayer.signing.transport import (
    ANSWER_HEADER,
    Replays,
    Seal,
    is_sealed,
    read_seal,
    seal_answer,
)
from relayer.signing.values import Proposal, Refusal, RefusalReason, SignerAnswer, SignerPort

PATH: Final = "/v1/sign"
_BODY_TIMEOUT_S: Final = 5.0  # a sender that trickles holds a connection no longer
_STATUS: Final[Mapping[RefusalReason, int]] = {
    RefusalReason.OVERSIZED: 413,
    RefusalReason.UNAUTHENTICATED: 401,
    RefusalReason.REPLAYED: 409,
    RefusalReason.TOO_MANY: 429,
    RefusalReason.MALFORMED: 400,
}


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Who may come in, how often, and the key that answers are sealed with.

    Times here are the machines' own, also where the chain's clock is a local world's.
    """

    name: str
    key: Key
    senders: frozenset[str]
    pace: Pace = field(default_factory=lambda: Pace(per_s=20.0, burst=200))
    now_ms: Callable[[], int] = _wall_ms


class SignerServer:
    """Two signers of one process behind one door: the price signer and the risk signer."""

    def __init__(self, price: SignerPort, risk: SignerPort, door: Door, metrics: Metrics) -> None:
        self._price = price
        self._risk = risk
        self._door = door
        self._metrics = metrics
        self._replays = Replays(door.now_ms())
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one, which `port` then says.

        Raises
        ------
        Misconfigured
            The address cannot be had.
        """
        app = web.Application(client_max_size=wire.MAX_BYTES)
        app.router.add_post(PATH, self._handle)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=60)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=64)
        try:
            await site.start()
        except OSError as fault:
            raise Misconfigured(f"signer at {host}:{port}: {fault.strerror}") from fault
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Let the answers under way end, then stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        seal, body = read_seal(request.headers), await _body(request)
        checked = self._let_in(seal, body)
        if isinstance(checked, Refusal):
            self._count(self._door.name, checked)
            known = checked.reason in {RefusalReason.MALFORMED, RefusalReason.TOO_MANY}
            return self._answer(checked, _STATUS[checked.reason], seal if known else None)
        signer = self._price if isinstance(checked.message, PriceRound) else self._risk
        answer = await signer.sign(checked)
        if isinstance(answer, Refusal):
            self._count(signer.name, answer)
        else:
            self._metrics.signatures[signer.name].inc()
        return self._answer(answer, 200, seal)

    def _let_in(self, seal: Seal | None, body: bytes | None) -> Proposal | Refusal:
        """Go through what is cheap before what is dear; nobody unknown costs more than a hash."""
        now_ms = self._door.now_ms()
        if body is None:
            return _refuse(RefusalReason.OVERSIZED, f"above {wire.MAX_BYTES} bytes, or too slow")
        if seal is None or seal.sender not in self._door.senders:
            return _refuse(RefusalReason.UNAUTHENTICATED, "not from a sender that is known here")
        if not self._replays.is_timely(seal, now_ms):
            detail = f"sent {now_ms - seal.time_ms} ms ago, or before this signer began"
            return _refuse(RefusalReason.UNAUTHENTICATED, detail)
        if not is_sealed(seal, self._door.key.address, PATH, body):
            return _refuse(RefusalReason.UNAUTHENTICATED, "the seal is not its sender's for this")
        if not self._replays.is_first(seal, now_ms):
            return _refuse(RefusalReason.REPLAYED, "this request was here before")
        if not self._door.pace.takes(now_ms / 1_000):
            return _refuse(RefusalReason.TOO_MANY, f"more than {self._door.pace.per_s:g} a second")
        try:
            return wire.decode_proposal(body)
        except wire.Malformed as fault:
            return _refuse(RefusalReason.MALFORMED, str(fault)[:300])

    def _answer(
        self, answer: SignerAnswer | Refusal, status: int, seal: Seal | None
    ) -> web.Response:
        body = wire.encode_answer(answer)
        # To nobody known: what is sealed could be shown to others as an answer to them.
        headers = {ANSWER_HEADER: seal_answer(self._door.key, seal, status, body)} if seal else {}
        return web.Response(
            body=body, status=status, headers=headers, content_type="application/json"
        )

    def _count(self, name: str, refusal: Refusal) -> None:
        self._metrics.signer_refusals[name, refusal.reason.value].inc()


async def _body(request: web.Request) -> bytes | None:
    """Read a body; None where it is longer than any proposal, or does not come."""
    if (request.content_length or 0) > wire.MAX_BYTES:
        return None
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            return await request.read()
    except (web.HTTPRequestEntityTooLarge, TimeoutError):
        return None


def _refuse(reason: RefusalReason, detail: str) -> Refusal:
    return Refusal(reason=reason, field="request", detail=detail)
