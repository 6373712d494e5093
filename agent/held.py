"""The held decisions of a network, opened for one command."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from sqlalchemy.engine import URL

from agent.config import Settings
from agent.errors import ConfigError
from agent.ground import open_database
from agent.network import Network
from agent.storing import database_url
from relayer.chain import deployments
from relayer.held import HeldDecisions


async def open_held(
    network: Network, settings: Settings, stack: AsyncExitStack, signer: int | None = None
) -> HeldDecisions:
    """Open what waits for approval, at the daemon or at a signer of this host.

    The database is closed with the stack.
    """
    deployment = deployments.read(network.deployment_file)
    stack.push_async_callback(network.clock.close)
    url = database_url(settings.storage, network.state) if signer is None else _of(network, signer)
    database = await open_database(url, stack)
    return HeldDecisions(database, deployment.chain_id, deployment.risk_oracle)


def _of(network: Network, signer: int) -> URL:
    """Name a signer's memory, which only its own process makes."""
    file = memory_file(network, signer)
    if not file.exists():
        raise ConfigError(f"--signer {signer}: it has not run on this host; {file} is not there")
    return URL.create("sqlite", database=str(file))


def memory_file(network: Network, signer: int) -> Path:
    """Say where a signer process keeps what it remembers."""
    return network.state / f"signer-{signer}" / "memory.db"
