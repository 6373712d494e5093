"""What every process of ours stands on: a network, its contracts, connections and memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from sqlalchemy.engine import URL

from agent.config import Settings
from agent.network import LOCAL, Network, local_role
from relayer import migrations
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.pool import open_pool
from relayer.chain.standing import EndpointMetrics
from relayer.chain.values import Deployment
from relayer.lease import Lease
from relayer.market.counting import Counted
from relayer.market.venue_client import VenueClient
from relayer.market.venues import VenuePool
from relayer.metrics import Metrics
from relayer.storage import Database, Waits

Progress = Callable[[str], None]


def silent(_text: str) -> None:
    """Say nothing of how far a start has come."""


class Part(StrEnum):
    """What of a daemon a process is: all of it, or one of its two halves."""

    WHOLE = "daemon"
    AGENT = "agent"
    RELAY = "relay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What everything else of a process stands on."""

    network: Network
    settings: Settings
    deployment: Deployment
    endpoint: ChainEndpoint
    metrics: Metrics
    database: Database
    lease: Lease | None = None  # none: no other process shares the database
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    part: Part = Part.WHOLE
    progress: Progress = silent

    @property
    def payer(self) -> str | None:
        """The account that pays for what is sent; None in a dry run.

        The agent half does not have its key, and must be told: who liquidates gets the reward.
        """
        if self.part is Part.AGENT:
            local = local_role("gas-payer").address if self.network.name == LOCAL else None
            return self.settings.handover.payer or local
        key = self.network.keys.gas_payer
        return None if key is None else key.address


async def open_endpoint(
    urls: Sequence[str],
    deployment: Deployment,
    stack: AsyncExitStack,
    metrics: EndpointMetrics | None = None,
) -> ChainEndpoint:
    """Connect to the endpoints of the deployment's chain, which are used as one."""
    endpoint = await open_pool(urls, chain_id=deployment.chain_id, metrics=metrics)
    stack.push_async_callback(endpoint.close)
    return endpoint


async def open_database(url: URL, stack: AsyncExitStack, lease: Lease | None = None) -> Database:
    """Bring a database up to this version and open it; only a lease's holder writes into it.

    A leader that is stopped inside a transaction holds up its successor for no longer than the
    lease lasts: by then the server has ended the transaction.
    """
    migrations.upgrade(url)
    fence = None if lease is None else lease.fence
    waits = None if lease is None else Waits(statement_s=lease.times.lasts_s)
    database = Database.open(url, waits, fence)
    stack.push_async_callback(database.close)
    return database


async def open_venues(
    network: Network, metrics: Metrics, stack: AsyncExitStack, progress: Progress = silent
) -> VenuePool:
    """Open connections to every venue; one that is down is said, and asked again later."""
    progress(f"connecting to {', '.join(venue.id for venue in network.venues)}")
    connect = partial(VenueClient, events=Counted(metrics))
    pool = VenuePool(network.venues, network.markets, network.clock, connect)
    stack.push_async_callback(pool.close)
    for fault in await pool.open():
        progress(f"{fault.venue} is left out until it answers: {fault.reason}: {fault.detail}")
    return pool
