"""More than one daemon: which of them leads, what the others do meanwhile, and one a folder."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from agent.config import LeaseSettings, Settings
from agent.errors import ConfigError
from agent.ground import Ground
from agent.network import Network
from agent.ports import Attestation, Hands, World
from agent.rounds import RoundNumbers
from agent.storing import database_url
from relayer import migrations
from relayer.chain.values import Deployment
from relayer.delivery.led import LedChain
from relayer.delivery.ports import Chain
from relayer.errors import HoldCycle, Retry, StorageFailed
from relayer.journal import Journal
from relayer.lease import Lease, LeaseMetrics, LeaseTimes, open_lease
from relayer.signing.values import NoQuorum, Proposal, SignedMessage

STANDING_BY = "standing by"
# What the one before may have had signed without writing it down: signers would refuse another.
ROUNDS_LEFT_OUT = 8


class LedQuorum:
    """The signers, for as long as this process leads."""

    def __init__(self, quorum: Attestation, lease: Lease) -> None:
        self._quorum = quorum
        self._lease = lease

    async def collect(self, proposal: Proposal) -> SignedMessage | NoQuorum:
        """Put a message before the signers, if this process holds the lease at this moment."""
        self._lease.require()
        return await self._quorum.collect(proposal)


def led(chain: Chain, lease: Lease | None) -> Chain:
    """Put the lease before an endpoint; without one this process alone sends."""
    return chain if lease is None else LedChain(chain, lease)


def own_files(network: Network, settings: Settings) -> Network:
    """Give an instance beside another on this machine a history and a state of its own."""
    name = settings.lease.instance if settings.lease else None
    return network if name is None else network.instance(name)


@asynccontextmanager
async def lease_of(
    network: Network, settings: Settings, deployment: Deployment
) -> AsyncIterator[Lease | None]:
    """Open the deployment's lease where the database is PostgreSQL; SQLite is one process's own."""
    if settings.storage.url is None:
        if settings.lease is not None:
            raise ConfigError("lease: needs PostgreSQL, which several daemons share: storage.url")
        yield None
        return
    url = database_url(settings.storage, network.state)
    await asyncio.to_thread(migrations.upgrade, url)
    name = f"sender:{deployment.chain_id}:{deployment.price_feed}"
    async with open_lease(url, name, times_of(settings.lease or LeaseSettings())) as lease:
        yield lease


def times_of(settings: LeaseSettings) -> LeaseTimes:
    """Read the table's times."""
    try:
        return LeaseTimes(heartbeat_s=settings.heartbeat_s, lasts_s=settings.lasts_s)
    except ValueError as fault:
        raise ConfigError(str(fault)) from fault


async def lead(
    ground: Ground, hands: Hands, stack: AsyncExitStack, progress: Callable[[str], None]
) -> Hands:
    """Wait for the lease, keeping warm, and give the hands of this term.

    `Ground.lost` is set when the lease goes to another process; leaving the stack hands it over.
    """
    shown = LeaseMetrics(ground.metrics.registry)
    lease = ground.lease
    if lease is None:
        shown.alone()
        return hands
    lease.show(shown)
    await _wait_for(lease, hands.world, ground.settings.cycle.every_s, progress)
    keeping = asyncio.create_task(lease.keep())
    keeping.add_done_callback(lambda _: ground.lost.set())
    stack.push_async_callback(_hand_over, lease, keeping)
    structlog.get_logger("aml").info("leading", lease=lease.name, term=lease.term)
    journal, deployment = Journal(ground.database), ground.deployment
    contracts = (deployment.price_feed, deployment.risk_oracle)
    highest = {c: await journal.highest_round(deployment.chain_id, c) for c in contracts}
    taken_over = 0 if lease.term == 1 else ROUNDS_LEFT_OUT
    rounds = RoundNumbers({c: n + taken_over for c, n in highest.items()})
    return replace(hands, quorum=LedQuorum(hands.quorum, lease), rounds=rounds)


async def _wait_for(
    lease: Lease, world: World, every_s: float, progress: Callable[[str], None]
) -> None:
    warming: asyncio.Task[None] | None = None
    try:
        while not await _taken(lease):
            if warming is None:
                progress(f"{STANDING_BY}: another instance leads")
                warming = asyncio.create_task(_keep_warm(world, every_s))
            await asyncio.sleep(lease.times.heartbeat_s)
    finally:
        if warming is not None:
            warming.cancel()
            with suppress(asyncio.CancelledError):
                await warming


async def _taken(lease: Lease) -> bool:
    """Ask for the lease; a database that is away makes nobody a leader."""
    try:
        return await lease.take()
    except StorageFailed as fault:
        structlog.get_logger("aml").warning("lease_not_asked", detail=str(fault))
        return False


async def _keep_warm(world: World, every_s: float) -> None:
    """Look as the leader looks, so that history, books and streams are there when it is our turn.

    The first look comes after a period: the start has just brought everything up to now.
    """
    while True:
        await asyncio.sleep(every_s)
        try:
            await world.observe()
        except (Retry, HoldCycle) as fault:
            detail = f"{type(fault).__name__}: {fault}"
            structlog.get_logger("aml").info("standby_not_warm", detail=detail)


async def _hand_over(lease: Lease, keeping: asyncio.Task[None]) -> None:
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await lease.release()


@contextmanager
def exclusive(folder: Path, what: str) -> Iterator[Path]:
    """Keep a folder to this process; the kernel lets go of it however the process ends.

    Raises
    ------
    ConfigError
        Another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file: Any
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ConfigError(
                f"{folder} is in use by another {what} (process {file.read().strip() or '?'}): "
                "stop it, or give this one a --state of its own"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield folder
