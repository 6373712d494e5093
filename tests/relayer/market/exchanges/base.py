"""What the protocol doubles share: one port, sockets with subscriptions, and misbehaviour."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

PUSH_EVERY_S = 0.02

Message = dict[str, Any]


class Exchange:
    """One exchange: REST and websocket on one port; prices are what the test sets."""

    def __init__(self) -> None:
        self.price = {"BTC": 60_000.0, "PEPE": 0.00001, "USDC": 1.0}
        self.silent = False  # sockets stay open and answer pings, and say nothing
        self.limited_s: int | None = None  # what Retry-After says, on REST and at the handshake
        self.removed: set[str] = set()  # markets that are no longer listed
        self.asked: Counter[str] = Counter()  # REST calls by path
        self.handshakes = 0
        self.clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000
        self.sockets: dict[web.WebSocketResponse, set[str]] = {}
        self._runner: web.AppRunner | None = None
        self._pusher: asyncio.Task[None] | None = None
        self.url = ""

    def routes(self) -> list[web.RouteDef]:
        raise NotImplementedError

    def topics(self, message: Message) -> set[str]:
        """What a subscription asks for."""
        raise NotImplementedError

    def confirm(self, message: Message) -> list[Message]:
        """What the exchange answers to it."""
        raise NotImplementedError

    def say(self, topic: str) -> Message | None:
        """What is pushed for a topic now."""
        raise NotImplementedError

    async def start(self) -> None:
        app = web.Application(middlewares=[self._limit])
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        self._pusher = asyncio.create_task(self._push_forever())

    async def stop(self) -> None:
        assert self._runner is not None
        assert self._pusher is not None
        self._pusher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pusher
        await self.hang_up()
        await self._runner.cleanup()

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    async def hang_up(self) -> None:
        for socket in list(self.sockets):
            await socket.close()

    async def send(self, message: Message) -> None:
        for socket in list(self.sockets):
            await socket.send_str(json.dumps(message))

    @web.middleware
    async def _limit(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked[request.path] += 1
        if self.limited_s is not None:
            headers = {"Retry-After": str(self.limited_s)}
            return web.json_response({"error": "too many"}, status=429, headers=headers)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        self.handshakes += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets[socket] = set()
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT and not self.silent:
                    await self._hear(socket, json.loads(frame.data))
        finally:
            self.sockets.pop(socket, None)
        return socket

    async def _hear(self, socket: web.WebSocketResponse, message: Message) -> None:
        for answer in self.confirm(message):
            await socket.send_str(json.dumps(answer))
        self.sockets[socket] |= self.topics(message)

    async def _push_forever(self) -> None:
        while True:
            await asyncio.sleep(PUSH_EVERY_S)
            if self.silent:
                continue
            for socket, topics in list(self.sockets.items()):
                for topic in sorted(topics):
                    said = self.say(topic)
                    if said is not None:
                        with contextlib.suppress(ConnectionError):
                            await socket.send_str(json.dumps(said))
