"""The connections to signers in other processes, opened and closed together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp

from relayer.signing.keys import Key
from relayer.signing.remote import Peer, RemoteSigner

_CONNECTIONS_A_PEER = 8


@asynccontextmanager
async def connected(
    peers: Sequence[Peer], key: Key, *, hedge_after_s: float, timeout_s: float
) -> AsyncIterator[dict[str, RemoteSigner]]:
    """Give the signers by name; nothing is asked before the first proposal."""
    timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(2.0, timeout_s))
    connector = aiohttp.TCPConnector(limit_per_host=_CONNECTIONS_A_PEER)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield {
            peer.name: RemoteSigner(peer, key, session, hedge_after_s=hedge_after_s)
            for peer in peers
        }
