"""More than one daemon: which of them leads, what the others do meanwhile, and one a folder."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from agent.config import LeaseSettings, Settings
from agent.errors import ConfigError
from agent.ground import Ground, Part
from agent.network import Network
from agent.ports import Attestation, Hands, World
from agent.rounds import RoundNumbers
from agent.storing import database_url
from relayer import migrations
from relayer.chain.values import Deployment
from relayer.delivery.led import LedChain
from relayer.delivery.ports import Chain
from relayer.errors import HoldCycle, Retry, StorageFailed
from relayer.handover.proposals import Proposals
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
    network: Network, settings: Settings, deployment: Deployment, part: Part = Part.WHOLE
) -> AsyncIterator[Lease | None]:
    """Open the deployment's lease where the database is PostgreSQL; SQLite is one machine's own.

    Who sends has one lease, a whole daemon or a relay; an agent half has another, to decide alone.
    """
    if settings.storage.url is None:
        if settings.lease is not None:
            raise ConfigError("lease: needs PostgreSQL, which several daemons share: storage.url")
        yield None
        return
    url = database_url(settings.storage, network.state)
    await asyncio.to_thread(migrations.upgrade, url)
    role = "decider" if part is Part.AGENT else "sender"
    name = f"{role}:{deployment.chain_id}:{deployment.price_feed}"
    times = times_of(settings.lease or LeaseSettings())
    async with open_lease(url, name, times, by=part.value) as lease:
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
    lease = await hold_lease(ground, hands.world, stack, progress)
    if lease is None:
        return hands
    taken_over = 0 if lease.term == 1 else ROUNDS_LEFT_OUT
    rounds = RoundNumbers({c: n + taken_over for c, n in (await highest_rounds(ground)).items()})
    led_hands = replace(hands, rounds=rounds)
    if ground.part is Part.AGENT:  # it asks no signer; what it writes is fenced by its own lease
        return led_hands
    return replace(led_hands, quorum=LedQuorum(hands.quorum, lease))


async def hold_lease(
    ground: Ground, world: World | None, stack: AsyncExitStack, progress: Callable[[str], None]
) -> Lease | None:
    """Wait for this process's lease, and keep it as long as the stack stands; None: there is none.

    `world`: what is kept warm meanwhile.
    """
    shown = LeaseMetrics(ground.metrics.registry)
    lease = ground.lease
    if lease is None:
        shown.alone()
        return None
    lease.show(shown)
    await _wait_for(lease, world, ground.settings.cycle.every_s, progress)
    keeping = asyncio.create_task(lease.keep())
    keeping.add_done_callback(lambda _: ground.lost.set())
    stack.push_async_callback(_hand_over, lease, keeping)
    await require_apart(lease, ground.part)
    structlog.get_logger("aml").info("leading", lease=lease.name, term=lease.term)
    return lease


async def highest_rounds(ground: Ground) -> dict[str, int]:
    """Give the highest round of each contract that was ever decided, posted or only handed over."""
    deployment = ground.deployment
    journal = Journal(ground.database)
    handed = Proposals(ground.database, deployment.chain_id)
    return {
        contract: max(
            await journal.highest_round(deployment.chain_id, contract),
            await handed.highest_round(contract),
        )
        for contract in (deployment.price_feed, deployment.risk_oracle)
    }


async def require_apart(lease: Lease, part: Part) -> None:
    """Refuse a whole daemon beside an agent half, and the other way round: two would decide.

    Each asks after it has taken its own lease, so that of two that start at once one is refused at
    least. What a process that was killed still holds is waited for.

    Raises
    ------
    ConfigError
        The other one is at work.
    """
    _, _, contracts = lease.name.partition(":")
    other = {Part.WHOLE: f"decider:{contracts}", Part.AGENT: f"sender:{contracts}"}.get(part)
    if other is None:
        return
    for _ in range(2 + round(lease.times.lasts_s / lease.times.heartbeat_s)):
        holder = await lease.holder_of(other) or ""
        if not holder or (part is Part.AGENT and not holder.startswith(f"{Part.WHOLE}:")):
            return
        await asyncio.sleep(lease.times.heartbeat_s)
    who = ", process ".join(holder.split(":")[1:3])
    if part is Part.WHOLE:
        said = f"an `aml agent` decides over this database (host {who}): stop it, or start"
        raise ConfigError(f"{said} `aml relay` here, not `aml run` (docs/halves.md)")
    said = f"an `aml run` decides over this database (host {who}): stop it, and start"
    raise ConfigError(f"{said} `aml relay` in its place, or leave this agent off (docs/halves.md)")


async def _wait_for(
    lease: Lease, world: World | None, every_s: float, progress: Callable[[str], None]
) -> None:
    warming: asyncio.Task[None] | None = None
    said = False
    try:
        while not await _taken(lease):
            if not said:
                progress(f"{STANDING_BY}: another instance leads")
                said = True
                warming = None if world is None else asyncio.create_task(_keep_warm(world, every_s))
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
def alone(network: Network, part: Part) -> Iterator[None]:
    """Keep the state folder to this process, or the half of it that its part needs.

    A whole daemon is both halves: it shares the folder with neither.
    """
    folders = {
        Part.WHOLE: (network.state, network.state / "agent", network.state / "relay"),
        Part.AGENT: (network.state / "agent",),
        Part.RELAY: (network.state / "relay",),
    }
    with ExitStack() as stack:
        for folder in folders[part]:
            stack.enter_context(exclusive(folder, "daemon"))
        yield


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
