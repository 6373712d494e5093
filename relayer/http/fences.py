"""What stands before the app: a rate for each client, a limit on bodies, a limit on time."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relayer.http.problems import problem
from relayer.http.settings import HttpRules

MINUTE_S: Final = 60.0
COSTLY: Final = frozenset({"/quote"})
UNLIMITED: Final = frozenset({"/healthz", "/readyz"})
ENDLESS: Final = frozenset({"/warnings/stream"})


class Rates:
    """A token bucket a client; the one that came longest ago is forgotten first."""

    def __init__(
        self, per_minute: int, remembered: int, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_minute = per_minute
        self._remembered = remembered
        self._now_s = now_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # left, at_s

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, client: str) -> float:
        """Count a request; 0 where it may pass, else the seconds until one may."""
        now_s = self._now_s()
        most, rate = float(self._per_minute), self._per_minute / MINUTE_S
        before, at_s = self._buckets.pop(client, (most, now_s))
        left = min(most, before + (now_s - at_s) * rate)
        passes = left >= 1.0
        self._buckets[client] = (left - 1.0 if passes else left, now_s)
        while len(self._buckets) > self._remembered:
            self._buckets.popitem(last=False)
        return 0.0 if passes else (1.0 - left) / rate


class Fences:
    """ASGI middleware: the app sees only whole bodies, of clients within their rate."""

    def __init__(self, app: ASGIApp, rules: HttpRules) -> None:
        self._app = app
        self._rules = rules
        self._all = Rates(rules.requests_per_minute, rules.clients_remembered)
        self._costly = Rates(rules.terms_per_minute, rules.clients_remembered)
        self._together = Rates(rules.terms_per_minute_of_all, 1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wait_s = self._wait_s(scope)
        if wait_s > 0.0:
            headers = {"Retry-After": str(max(1, round(wait_s)))}
            answer = problem(HTTPStatus.TOO_MANY_REQUESTS, "ask less often", headers)
            await answer(scope, receive, send)
            return
        await self._timed(scope, receive, send)

    def _wait_s(self, scope: Scope) -> float:
        if scope["path"] in UNLIMITED:
            return 0.0
        client = scope["client"][0] if scope.get("client") else ""
        wait_s = self._all.wait_s(client)
        if wait_s == 0.0 and scope["path"] in COSTLY:
            wait_s = self._costly.wait_s(client) or self._together.wait_s("")
        return wait_s

    async def _timed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give body and answer so much time together; a stream only its beginning."""
        begun = _Begun(send)
        limit_s = None if scope["path"] in ENDLESS else self._rules.timeout_s
        try:
            async with asyncio.timeout(limit_s):
                body = await self._body(scope, receive)
                if body is None:
                    most = f"a body has at most {self._rules.max_body_bytes} bytes"
                    large = problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, most)
                    await large(scope, receive, begun)
                    return
                await self._app(scope, _Replayed(body, receive), begun)
        except TimeoutError:
            if not begun.has_begun:
                late = problem(HTTPStatus.GATEWAY_TIMEOUT, "not answered in time; ask again")
                await late(scope, receive, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Read the whole body; None where it is too large, as announced or as it comes."""
        if scope["method"] in {"GET", "HEAD"}:
            return b""
        most = self._rules.max_body_bytes
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > most:
            return None
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b""
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                return None
            more = message.get("more_body", False)
        return b"".join(parts)


class _Begun:
    """Sends on, and knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        self.has_begun = True
        await self._send(message)


class _Replayed:
    """Gives a body that was read already, then what else the connection says."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}
