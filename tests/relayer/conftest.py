"""Fixtures around real servers: a node a module, a PostgreSQL a process, each test on its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from relayer.chain.deploy import ClassPlan, Deployer, DeploymentPlan, MarketPlan
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.values import Deployment
from relayer.delivery.fees import FeeRules
from relayer.storage import Database
from tests.relayer import builders as b
from tests.relayer import postgres
from tests.relayer.anvil import Anvil, rich_key, running

MARKETS = 5


def plan(markets: int = MARKETS) -> DeploymentPlan:
    """Five markets of one class, quorums of 2 of 3, the deployer as owner."""
    return DeploymentPlan(
        owner=rich_key().address,
        guardian=b.key(31).address,
        timelock_s=3_600,
        price_signers=tuple(key.address for key in b.PRICE_KEYS),
        price_threshold=2,
        risk_signers=tuple(key.address for key in b.RISK_KEYS),
        risk_threshold=2,
        policy_hash=b"\x0a" * 32,
        classes=(ClassPlan(class_id=1, rules=b.RULES, bounds=b.BOUNDS),),
        markets=tuple(
            MarketPlan(symbol=f"M{m}", class_id=1, parameters=b.parameters(m))
            for m in range(markets)
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A node with both contracts on it."""

    node: Anvil
    deployment: Deployment


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Postgres]:
    """A PostgreSQL cluster, once a test process and only where a test asks for it."""
    with postgres.running() as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind that the daemon may keep its memory in."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/aml.sqlite"
    cluster: postgres.Postgres = request.getfixturevalue("postgresql")
    return cluster.fresh()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database of each kind."""
    async with b.database(database_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    """Start a node and deploy to it, once a module."""

    async def deploy(node: Anvil) -> Deployment:
        endpoint = await ChainEndpoint.open(node.url, chain_id=b.CHAIN_ID)
        try:
            return await Deployer(endpoint, rich_key(), FeeRules()).deploy(plan())
        finally:
            await endpoint.close()

    with running(chain_id=b.CHAIN_ID, timestamp_s=b.NOW_S) as node:
        yield Stand(node=node, deployment=asyncio.run(deploy(node)))


@pytest.fixture
def fresh(stand: Stand) -> Iterator[Stand]:
    """The deployed state, whatever an earlier test did to it."""
    snapshot = stand.node.call("evm_snapshot")
    yield stand
    stand.node.call("evm_setAutomine", True)
    assert stand.node.call("evm_revert", snapshot)


@pytest.fixture
async def endpoint(fresh: Stand) -> AsyncIterator[ChainEndpoint]:
    """An endpoint of the node."""
    opened = await ChainEndpoint.open(fresh.node.url, chain_id=b.CHAIN_ID)
    yield opened
    await opened.close()
