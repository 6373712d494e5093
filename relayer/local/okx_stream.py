"""OKX v5's public websocket over one local exchange, as unmodified ccxt.pro speaks it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from relayer.local.channels import Channel, Message, open_channel
from relayer.local.faults import VenueMode
from relayer.local.gate import GARBAGE, Gate
from relayer.local.venue import Venue

PATH: Final = "/ws/v5"
PUSH_S: Final = 0.1  # of the wall, at least, between two looks at the market
IDLE_S: Final = 30.0  # a connection that neither side uses for so long is closed, as OKX does
BUSINESS: Final = ("candle",)  # channels that OKX serves at /business, and not at /public

Moved = Callable[[float], Awaitable[None]]  # returns when the clock was moved, or after a time


class OkxStream:
    """The websocket endpoints of one venue."""

    def __init__(self, venue: Venue, gate: Gate, moved: Moved) -> None:
        self._venue = venue
        self._gate = gate
        self._moved = moved

    def add_to(self, application: web.Application) -> None:
        """Serve it beside the REST endpoints."""
        application.router.add_get(PATH + "/{access:public|business}", self._serve)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        """Hold one connection until either side ends it."""
        refusal = await self._gate.refusal(request)
        if refusal is not None and not self._venue.is_(VenueMode.GARBAGE):
            return refusal
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        connection = _Connection(self._venue, socket, request.match_info["access"])
        sender = asyncio.create_task(self._push(connection))
        try:
            await self._read(connection)
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sender
        return socket

    async def _read(self, connection: _Connection) -> None:
        """Answer what the client says."""
        async for message in connection.socket:
            if message.type is WSMsgType.TEXT:
                await connection.answer(message.data)

    async def _push(self, connection: _Connection) -> None:
        """Send what is due, until the venue is told to end it."""
        loop = asyncio.get_running_loop()
        opened = loop.time()
        while not connection.socket.closed:
            if self._venue.is_(VenueMode.DOWN):
                connection.abort()
                return
            code = self._ending(loop.time() - opened, loop.time() - connection.used_at)
            if code is not None:
                await connection.socket.close(code=code)
                return
            with contextlib.suppress(ConnectionError):
                await connection.push()
            await asyncio.sleep(PUSH_S / 10)
            await self._moved(PUSH_S)

    def _ending(self, age_s: float, idle_s: float) -> int | None:
        """Give the code that a connection of this age is closed with now, or None."""
        venue = self._venue
        if venue.is_(VenueMode.BROKEN):
            return WSCloseCode.INTERNAL_ERROR
        if venue.is_(VenueMode.BANNED):
            return WSCloseCode.POLICY_VIOLATION
        closes = venue.faults.active(VenueMode.CLOSES, None, venue.clock_ms())
        if closes is not None and age_s >= closes.delay_s:
            return WSCloseCode.GOING_AWAY
        return 4004 if idle_s > IDLE_S else None


class _Connection:
    """One client's connection and its subscriptions."""

    def __init__(self, venue: Venue, socket: web.WebSocketResponse, access: str) -> None:
        self.socket = socket
        self.used_at = asyncio.get_running_loop().time()
        self._venue = venue
        self._access = access
        self._channels: dict[str, Channel] = {}

    def abort(self) -> None:
        """Drop the connection without a word."""
        writer = self.socket._writer  # noqa: SLF001 — a dead host says no goodbye; aiohttp offers none
        if writer is not None and writer.transport is not None:
            writer.transport.abort()

    async def answer(self, text: str) -> None:
        """Answer one message of the client's."""
        self.used_at = asyncio.get_running_loop().time()
        if text == "ping":
            await self.socket.send_str("pong")
            return
        try:
            asked = json.loads(text)
            arguments, wish = asked["args"], asked["op"]
            for argument in arguments:
                await self._subscribe(wish, dict(argument))
        except (ValueError, KeyError, TypeError):
            await self._send({"event": "error", "code": "60012", "msg": f"Illegal request: {text}"})

    async def push(self) -> None:
        """Send what every channel has to say."""
        for argument, channel in tuple(self._channels.items()):
            messages = channel.step()
            if not messages or self._venue.is_(VenueMode.SILENT):
                continue
            slow = self._venue.faults.active(VenueMode.SLOW, None, self._venue.clock_ms())
            if slow is not None:
                await asyncio.sleep(slow.delay_s)
            if self._venue.is_(VenueMode.GARBAGE):
                await self.socket.send_str(GARBAGE + argument)
                continue
            for message in messages:
                await self._send(message)

    async def _subscribe(self, wish: str, argument: dict[str, Any]) -> None:
        """Open or close a channel."""
        key = json.dumps(argument, sort_keys=True)
        name = str(argument.get("channel", ""))
        if wish == "unsubscribe":
            self._channels.pop(key, None)
            await self._send({"event": "unsubscribe", "arg": argument})
            return
        if wish != "subscribe":
            raise ValueError(wish)
        here = name.startswith(BUSINESS) == (self._access == "business")
        channel = open_channel(self._venue, argument) if here else None
        if channel is None:
            words = ",".join(f"{field}:{value}" for field, value in argument.items())
            fault = f"Wrong URL or {words} doesn't exist. Please use the correct URL, channel and "
            fault += "parameters referring to API document."
            await self._send({"event": "error", "code": "60018", "msg": fault})
            return
        await self._send({"event": "subscribe", "arg": argument})
        self._channels[key] = channel
        for message in channel.step():
            await self._send(message)

    async def _send(self, message: Message) -> None:
        """Send one message."""
        self.used_at = asyncio.get_running_loop().time()
        await self.socket.send_str(json.dumps(message, separators=(",", ":")))
