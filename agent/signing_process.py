"""A signer as a process of its own: its keys, its endpoint, its view of the market, its memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, ProcessCollector
from sqlalchemy.engine import URL

from agent.app import load_model, registry_of
from agent.config import Settings, SignersSettings
from agent.errors import ConfigError
from agent.ground import Ground, Progress, open_database, open_endpoint, silent
from agent.held import memory_file
from agent.leading import exclusive
from agent.network import LOCAL, Network, local_role
from agent.serving import Serving
from agent.signing import (
    KINDS,
    OwnMind,
    own_key,
    peers_of,
    signer_ports,
    signer_rules,
    transport_role,
)
from contracts.fields import checksummed
from relayer.chain import deployments
from relayer.forecasts import Forecasts
from relayer.market.history import HistoryStore
from relayer.metrics import Metrics, Vocabulary, only, serve_registry
from relayer.signing.keys import Key
from relayer.signing.server import Door, SignerServer
from relayer.signing.signer import Signer, SignerPorts
from relayer.signing.values import RefusalReason, SignerRules
from relayer.storage import Database

# What a signer does. The rest of the house's metrics would say of it that it decides nothing.
SHOWN: Final = (
    "aml_signatures",
    "aml_signer_refusals",
    "aml_venue_faults",
    "aml_venue_quote_refusals",
    "aml_venue_stream_events",
    "aml_market_data_repairs",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerProcess:
    """A signer that listens."""

    name: str
    price: str
    risk: str
    transport: str
    host: str
    port: int
    metrics_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which of the signers a process is, and where it listens; port 0 takes a free one."""

    number: int
    host: str
    port: int
    metrics_port: int


def place_of(settings: Settings, number: int, listen: str | None, metrics_port: int) -> Place:
    """Find a signer in the configuration; without an address of its own it listens at its URL's."""
    peers = signers_of(settings).peers
    if not 1 <= number <= len(peers):
        raise ConfigError(f"--index {number}: the configuration has signers 1 to {len(peers)}")
    parts = urlsplit(f"//{listen}" if listen else peers[number - 1].url)
    if parts.hostname is None or parts.port is None:
        raise ConfigError(f"{listen or peers[number - 1].url}: give a host and a port to listen at")
    return Place(number=number, host=parts.hostname, port=parts.port, metrics_port=metrics_port)


def signers_of(settings: Settings) -> SignersSettings:
    """Give the table of signers, without which there are no signer processes."""
    if settings.signers is None:
        raise ConfigError(
            "signers: the configuration has no [signers] table, so the daemon signs in its own "
            "process; docs/signers.md shows one"
        )
    return settings.signers


@asynccontextmanager
async def signer_process(
    network: Network, settings: Settings, place: Place, progress: Progress = silent
) -> AsyncIterator[SignerProcess]:
    """Build a signer, listen, and close it again."""
    progress(f"contracts of {network.deployment_file}")
    deployment, signers = deployments.read(network.deployment_file), signers_of(settings)
    network = _as_seen_by_it(network, signers)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(network.clock.close)
        ground = Ground(
            network=network,
            settings=settings,
            deployment=deployment,
            endpoint=await open_endpoint(network.rpc_urls, deployment, stack),
            metrics=_metrics(network, place.number),
            database=await _memory(network, place.number, stack),
            progress=progress,
        )
        exposed = serve_registry(_shown(ground.metrics), place.metrics_port, settings.metrics.host)
        stack.callback(exposed.close)
        progress("opening its three keys")
        keys = await asyncio.to_thread(_keys, network, signers, place.number)
        mind = _mind(ground, place.number)
        ports = await signer_ports(ground, stack, mind, counts=True)
        price, risk = _both(keys, place.number, ports, signer_rules(ground))
        senders = _senders(network, signers)
        door = Door(name=f"signer-{place.number}", key=keys["transport"], senders=senders)
        server = SignerServer(price, risk, door, ground.metrics)
        await server.start(place.host, place.port)
        stack.push_async_callback(server.close)
        yield SignerProcess(
            name=door.name,
            price=price.address,
            risk=risk.address,
            transport=door.key.address,
            host=place.host,
            port=server.port,
            metrics_port=exposed.port,
        )


def _as_seen_by_it(network: Network, signers: SignersSettings) -> Network:
    """Give the network by the signer's own endpoint, where it has one."""
    if signers.own is None or signers.own.rpc_url is None:
        return network
    return replace(network, rpc_url=signers.own.rpc_url, spare_rpc_urls=())


async def _memory(network: Network, number: int, stack: AsyncExitStack) -> Database:
    """Open what a signer remembers, for one process alone: two memories could contradict."""
    file = memory_file(network, number)
    stack.enter_context(exclusive(file.parent, "signer"))
    return await open_database(URL.create("sqlite", database=str(file)), stack)


def _keys(network: Network, settings: SignersSettings, number: int) -> dict[str, Key]:
    """Open the process's three keys, and refuse those that are not its own in the configuration."""
    own, password = settings.own, settings.password_file
    files = {
        "price": (own.price_key if own else None, f"price-signer-{number}"),
        "risk": (own.risk_key if own else None, f"risk-signer-{number}"),
        "transport": (own.transport_key if own else None, transport_role(number)),
    }
    keys = {name: own_key(network, path, password, role) for name, (path, role) in files.items()}
    for kind in KINDS:
        peer = peers_of(network, settings, kind)[number - 1]
        for name, wanted in ((kind, peer.address), ("transport", peer.transport)):
            if keys[name].address != wanted:
                raise ConfigError(
                    f"signers.own.{name}_key: is the key of {keys[name].address}, and signer "
                    f"{number} of the configuration has {wanted}"
                )
    return keys


def _both(
    keys: Mapping[str, Key], number: int, ports: SignerPorts, rules: SignerRules
) -> tuple[Signer, ...]:
    """Give the price signer and the risk signer of one process."""
    return tuple(Signer(f"{kind}-{number}", keys[kind], ports, rules) for kind in KINDS)


def _mind(ground: Ground, number: int) -> OwnMind | None:
    """Give the process its own model, bars, and memory of what outcomes have taught."""
    network, settings = ground.network, ground.settings
    if settings.derive.mode == "off":
        return None
    history = HistoryStore(network.state / f"signer-{number}" / "history", network.markets)
    history.open()
    symbols = {market.market: market.symbol for market in network.markets}
    model, registry = load_model(settings), registry_of(settings)
    serving = Serving(model, Forecasts(ground.database), symbols, registry)
    return OwnMind(model=serving, history=history, fills=True)


def _senders(network: Network, settings: SignersSettings) -> frozenset[str]:
    if not settings.relays and network.name != LOCAL:
        raise ConfigError("signers.relays: name the address of each daemon's signers.relay_key")
    named = frozenset(checksummed(address) for address in settings.relays)
    return named or frozenset({local_role("relay-transport").address})


def _shown(metrics: Metrics) -> CollectorRegistry:
    """Show what a signer does, and what its process takes; a daemon is told by the rest."""
    shown = only(metrics.registry, SHOWN)
    ProcessCollector(registry=shown)
    return shown


def _metrics(network: Network, number: int) -> Metrics:
    return Metrics(
        CollectorRegistry(),
        Vocabulary(
            hold_reasons=(),
            refusal_reasons=tuple(reason.value for reason in RefusalReason),
            signers=(f"signer-{number}", *(f"{kind}-{number}" for kind in KINDS)),
            venues=tuple(venue.id for venue in network.venues),
            markets=tuple(market.symbol for market in network.markets),
        ),
    )
