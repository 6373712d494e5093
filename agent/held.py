"""The held decisions of a network, opened for one command."""

from __future__ import annotations

from contextlib import AsyncExitStack

from agent.config import Settings
from agent.ground import open_database
from agent.network import Network
from agent.storing import database_url
from relayer.chain import deployments
from relayer.held import HeldDecisions


async def open_held(network: Network, settings: Settings, stack: AsyncExitStack) -> HeldDecisions:
    """Open what waits for approval; the database is closed with the stack."""
    deployment = deployments.read(network.deployment_file)
    stack.push_async_callback(network.clock.close)
    database = await open_database(database_url(settings.storage, network.state), stack)
    return HeldDecisions(database, deployment.chain_id, deployment.risk_oracle)
