"""The watcher as a process: its endpoint, its metrics, and what it says to the service manager."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, ProcessCollector

from agent.config import Settings
from agent.errors import ConfigError
from agent.network import Network
from agent.ports import Clock
from relayer.chain import deployments
from relayer.chain.endpoints import ChainEndpoint
from relayer.metrics import serve_registry
from relayer.service import Service
from relayer.watcher import Watcher, WatcherMetrics

MS = 1_000


class Dial:
    """A network's clock as it was last read, moved on by this machine's own."""

    def __init__(self) -> None:
        self._ahead_s = time.time() - time.monotonic()

    def now_s(self) -> float:
        """Give the time in Unix seconds, at once."""
        return time.monotonic() + self._ahead_s

    async def set_by(self, clock: Clock) -> None:
        """Read the network's clock."""
        self._ahead_s = await clock.now_ms() / MS - time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """A watcher that answers Prometheus."""

    watcher: Watcher
    dial: Dial
    clock: Clock
    every_s: float
    metrics_port: int

    async def run(self, service: Service) -> None:
        """Look until cancelled; each look is a sign of life, what it found is in the metrics."""
        while True:
            await self.dial.set_by(self.clock)
            seen = await self.watcher.look()
            service.status("sees the contracts" if seen else "cannot read the contracts")
            service.alive()
            await asyncio.sleep(self.every_s)


@asynccontextmanager
async def watching(network: Network, settings: Settings) -> AsyncIterator[Watching]:
    """Build a watcher and serve its metrics; an endpoint that is down is asked again later."""
    deployment, rules, dial = deployments.read(network.deployment_file), settings.watcher, Dial()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)  # memory, files and starts of this process
    symbols = tuple(market.symbol for market in deployment.markets)
    metrics = WatcherMetrics(registry, symbols, dial.now_s)
    url = rules.rpc_url or network.rpc_url
    connect = partial(ChainEndpoint.open, url, chain_id=deployment.chain_id)
    try:
        server = serve_registry(registry, rules.port, settings.metrics.host)
    except OSError as fault:
        raise ConfigError(f"watcher.port {rules.port}: {fault.strerror}; take another") from fault
    watcher = Watcher(connect, deployment, metrics)
    try:
        yield Watching(
            watcher=watcher,
            dial=dial,
            clock=network.clock,
            every_s=rules.every_s,
            metrics_port=server.port,
        )
    finally:
        server.close()
        await watcher.close()
        await network.clock.close()
