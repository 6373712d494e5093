"""Who signs for a daemon: three signers in its own process, or processes of their own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import structlog

from agent.config import SignerPeerSettings, SignersSettings
from agent.errors import ConfigError
from agent.eyes import SignerEyes
from agent.ground import Ground, open_endpoint, open_venues
from agent.network import LOCAL, Network, local_role
from agent.own_impact import BudgetRules, OwnBudget
from agent.own_index import own_books
from agent.rederive import Model, Outlook
from agent.signers import EmbeddedViews, Quorums, ViewSources
from agent.world import limits_of
from contracts.fields import checksummed
from relayer.chain.configuration import read_configuration
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.reads import read_chain
from relayer.held import HeldDecisions
from relayer.market.history import HistoryStore
from relayer.market.venues import VenuePool
from relayer.signing.keys import Key
from relayer.signing.keys_source import open_key
from relayer.signing.memory import SignedRounds
from relayer.signing.peers import connected
from relayer.signing.quorum import Quorum
from relayer.signing.remote import Peer
from relayer.signing.signer import Signer, SignerPorts
from relayer.signing.values import SignerPort, SignerRules

KINDS = ("price", "risk")
EMBEDDED_TIMEOUT_S = 10.0


def signer_names(network: Network, settings: SignersSettings | None) -> tuple[str, ...]:
    """Name the signers, as metrics and refusals do."""
    if settings is not None:
        numbers = range(1, len(settings.peers) + 1)
        return tuple(f"{kind}-{n}" for kind in KINDS for n in numbers)
    sets = {"price": network.keys.price_signers, "risk": network.keys.risk_signers}
    return tuple(f"{kind}-{n}" for kind, keys in sets.items() for n in range(1, len(keys) + 1))


def require_signers(kind: str, keys: tuple[Key, ...], registered: tuple[str, ...]) -> None:
    """Refuse a key that the contract would not know."""
    strangers = [key.address for key in keys if key.address not in registered]
    if strangers:
        raise ConfigError(
            f"keys.{kind}_signers: {strangers[0]} is no {kind} signer of the contract"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMind:
    """What signers decide with: a model, and bars; `fills` where the store is theirs alone."""

    model: Model
    history: HistoryStore
    fills: bool


async def quorums(ground: Ground, stack: AsyncExitStack, mind: OwnMind | None = None) -> Quorums:
    """Build both signer sets; how many must agree is what the contracts ask for.

    `mind`: what the signers of this process decide with, where they do.
    """
    urls, deployment = ground.network.rpc_urls, ground.deployment
    endpoint = await open_endpoint(urls, deployment, stack)
    settings = ground.settings.signers
    if settings is None:
        sets, timeout_s = await _embedded(ground, stack, mind), EMBEDDED_TIMEOUT_S
    else:
        sets, timeout_s = await _remote(ground.network, settings, stack), settings.timeout_s
    state = await read_chain(endpoint, deployment)
    price = Quorum(sets["price"], state.feed.config.threshold, timeout_s, ground.metrics, "price")
    risk = Quorum(sets["risk"], state.oracle.config.threshold, timeout_s, ground.metrics, "risk")
    built = Quorums(price, risk, partial(read_configuration, endpoint))
    stack.push_async_callback(built.close)
    return built


async def _embedded(
    ground: Ground, stack: AsyncExitStack, mind: OwnMind | None
) -> dict[str, list[SignerPort]]:
    """Build the signers of this process.

    They look through connections of their own, to the chain and to the venues.
    """
    keys = ground.network.keys
    ports = await signer_ports(ground, stack, mind)
    config = {c: await read_configuration(ground.endpoint, c) for c in _contracts(ground)}
    feed, oracle = _contracts(ground)
    require_signers("price", keys.price_signers, config[feed].signers)
    require_signers("risk", keys.risk_signers, config[oracle].signers)
    sets = {"price": keys.price_signers, "risk": keys.risk_signers}
    rules = signer_rules(ground)
    return {
        kind: [Signer(f"{kind}-{n}", key, ports, rules) for n, key in enumerate(each, 1)]
        for kind, each in sets.items()
    }


def _contracts(ground: Ground) -> tuple[str, str]:
    return ground.deployment.price_feed, ground.deployment.risk_oracle


async def signer_ports(
    ground: Ground, stack: AsyncExitStack, mind: OwnMind | None = None, *, counts: bool = False
) -> SignerPorts:
    """Give signers what they look at, and what they remember in.

    `counts`: with an index of positions of their own. Signers in the daemon's process would count
    in the daemon's books once more.
    """
    settings = ground.settings
    endpoint = await open_endpoint(ground.network.rpc_urls, ground.deployment, stack)
    network = ground.network.for_signers
    pool = await open_venues(network, ground.metrics, stack, ground.progress)
    sources = ViewSources(
        endpoint=endpoint,
        deployment=ground.deployment,
        pool=pool,
        clock=ground.network.clock,
        rules=settings.marks,
        feeds=settings.feeds,
        outlook=_outlook(ground, pool, mind, stack),
        budget=await _budget(ground, endpoint, stack) if counts else None,
    )
    if sources.outlook is not None and mind is not None and mind.fills:
        # Bars are fetched before anybody asks; prices need not wait for them.
        sources.outlook.begin(
            limits_of(ground.deployment, await read_chain(endpoint, ground.deployment))
        )
    return SignerPorts(views=EmbeddedViews(sources), memory=SignedRounds(ground.database))


def _outlook(
    ground: Ground, pool: VenuePool, mind: OwnMind | None, stack: AsyncExitStack
) -> Outlook | None:
    """Let signers decide for themselves, where they are told to and have what it takes."""
    settings = ground.settings
    if mind is None or settings.derive.mode == "off":
        return None
    rules = (settings.marks, settings.feeds)
    eyes = SignerEyes(pool, mind.history, ground.network.clock, rules, fills=mind.fills)
    outlook = Outlook(eyes, mind.model, settings.rules, settings.derive)
    stack.push_async_callback(outlook.close)
    return outlook


async def _budget(
    ground: Ground, endpoint: ChainEndpoint, stack: AsyncExitStack
) -> OwnBudget | None:
    """Let a signer count what updates ask of open positions, unless it is told not to."""
    settings, deployment = ground.settings, ground.deployment
    if not settings.derive.positions:
        structlog.get_logger("aml").warning(
            "impact_not_counted",
            detail="derive.positions is off: this signer signs whatever the impact on open "
            "positions is, and leaves that to the daemon alone",
        )
        return None
    rules = BudgetRules(
        settings=settings.impact,
        tolerance_ppm=settings.derive.tolerances.impact_ppm,
        together_s=settings.derive.together_s,
        symbols={market.market: market.symbol for market in ground.network.markets},
    )
    books = await own_books(ground, endpoint, stack)
    if books is None:
        return None
    held = HeldDecisions(ground.database, deployment.chain_id, deployment.risk_oracle)
    return OwnBudget(books, held, rules)


def signer_rules(ground: Ground) -> SignerRules:
    """Give the limits that signers keep, for this deployment."""
    feed, oracle = _contracts(ground)
    derive = ground.settings.derive
    return SignerRules(
        price_feed=feed,
        risk_oracle=oracle,
        tolerances=derive.tolerances,
        needs_own_decision=derive.mode == "required",
    )


async def _remote(
    network: Network, settings: SignersSettings, stack: AsyncExitStack
) -> dict[str, list[SignerPort]]:
    """Build the connections to signers in processes of their own."""
    peers = {kind: peers_of(network, settings, kind) for kind in KINDS}
    found = await stack.enter_async_context(
        connected(
            [peer for each in peers.values() for peer in each],
            await asyncio.to_thread(relay_key, network, settings),
            hedge_after_s=settings.hedge_after_s,
            timeout_s=settings.timeout_s,
        )
    )
    return {kind: [found[peer.name] for peer in each] for kind, each in peers.items()}


def relay_key(network: Network, settings: SignersSettings) -> Key:
    """Open the key that proposals are sealed with."""
    if settings.relay_key is not None:
        return open_key(settings.relay_key, settings.password_file)
    return _local_only(network, "signers.relay_key", "relay-transport")


def peers_of(network: Network, settings: SignersSettings, kind: str) -> tuple[Peer, ...]:
    """Say where each signer of a contract is asked, and as whom it answers."""
    return tuple(
        Peer(
            name=f"{kind}-{n}",
            url=each.url,
            transport=each.transport
            or _local_only(network, "transport", transport_role(n)).address,
            address=_signs_as(network, each, kind, n),
        )
        for n, each in enumerate(settings.peers, 1)
    )


def _signs_as(network: Network, peer: SignerPeerSettings, kind: str, number: int) -> str:
    named = peer.price if kind == "price" else peer.risk
    local = f"{kind}-signer-{number}"
    return checksummed(named or _local_only(network, f"signers.peers: {kind}", local).address)


def transport_role(number: int) -> str:
    """Name the local role whose key seals a signer's answers."""
    return f"signer-transport-{number}"


def _local_only(network: Network, field: str, role: str) -> Key:
    """Give a worthless key on the local network, and nothing anywhere else."""
    if network.name != LOCAL:
        raise ConfigError(f"{field}: is required, except on the local network")
    return local_role(role)


def own_key(network: Network, source: str | None, password: str | None, role: str) -> Key:
    """Open a signer process's own key."""
    if source is not None:
        return open_key(source, password)
    return _local_only(network, "signers.own: its three keys", role)
