"""The server on its loop: it answers, leaves signals alone, and stops when it is left."""

from __future__ import annotations

import asyncio
import signal

import pytest

from relayer.http.app import create_app
from relayer.http.server import serving
from relayer.http.settings import HttpRules
from tests.relayer.http.fakes import FakeAgent

pytestmark = pytest.mark.loopback


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


async def test_serving__answers_and_stops() -> None:
    before = signal.getsignal(signal.SIGTERM)
    app = create_app(FakeAgent(), HttpRules(), "0")
    async with serving(app, "127.0.0.1", 0) as listening:
        assert (await ask(listening.port)).startswith(b"HTTP/1.1 200")
        assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(OSError):  # noqa: PT011 - refused, whatever the system calls it
        await ask(listening.port)


async def test_serving__taken_port__is_said_at_once() -> None:
    app = create_app(FakeAgent(), HttpRules(), "0")
    async with serving(app, "127.0.0.1", 0) as listening:
        with pytest.raises(OSError, match="in use"):
            async with serving(app, "127.0.0.1", listening.port):
                pass
