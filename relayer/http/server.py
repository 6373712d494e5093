"""Serves the app on the loop that everything else runs on; it takes no signal away from it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

BACKLOG = 128
DRAIN_S = 3  # what is under way when the daemon stops gets so long


class _Server(uvicorn.Server):
    """A server that leaves signals to the daemon."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where the app is answered."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address to ask."""
        return f"http://{self.host}:{self.port}"


def _bound(host: str, port: int) -> socket.socket:
    """Listen with a socket that names its protocol, or asyncio leaves Nagle's 40 ms on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, host: str, port: int) -> AsyncIterator[Listening]:
    """Listen, and stop gracefully on the way out.

    Raises
    ------
    OSError
        The port is taken.
    """
    listener = _bound(host, port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=DRAIN_S,
        limit_concurrency=1_000,
        h11_max_incomplete_event_size=16_384,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield Listening(host=host, port=listener.getsockname()[1])
    finally:
        server.should_exit = True
        await task
        listener.close()
