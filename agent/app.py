"""The one place where objects are built: a network and its settings become a running daemon."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry

from agent.config import Settings
from agent.cycle import Mind
from agent.decisions import HoldReason
from agent.errors import ConfigError
from agent.loops import Loops, LoopSettings
from agent.network import Network
from agent.ports import Hands
from agent.rounds import RoundNumbers
from agent.signers import EmbeddedViews, Quorums, ViewSources
from agent.telemetry import Telemetry
from agent.world import LiveWorld
from models.artifact import LoadedModel, default_artifact, load
from relayer import migrations
from relayer.chain import deployments
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.reads import read_chain
from relayer.chain.values import Deployment
from relayer.delivery.confirm import ContractReadBack
from relayer.delivery.fees import FeeRules
from relayer.delivery.outbox import Outbox
from relayer.delivery.ports import DeliveryRules, LoopTimer, Ports
from relayer.delivery.transactor import Transactor
from relayer.evidence import EvidenceStore
from relayer.journal import Journal
from relayer.market.history import FillProgress, HistoryStore
from relayer.market.venues import VenuePool
from relayer.metrics import Metrics, Vocabulary
from relayer.signing.keys import Key
from relayer.signing.memory import SignedRounds
from relayer.signing.quorum import Quorum
from relayer.signing.signer import Signer, SignerPorts
from relayer.signing.values import RefusalReason, SignerRules
from relayer.storage import Database

SIGNER_TIMEOUT_S = 10.0
PACKAGES = ("agent", "contracts", "models", "relayer")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """Everything that a running daemon consists of."""

    network: Network
    deployment: Deployment
    endpoint: ChainEndpoint
    hands: Hands
    mind: Mind
    telemetry: Telemetry
    transactor: Transactor
    metrics_port: int


@asynccontextmanager
async def daemon(
    network: Network, settings: Settings, model: LoadedModel, progress: Progress = lambda _: None
) -> AsyncIterator[Daemon]:
    """Build a daemon, bring it up to now, and close it again."""
    deployment = deployments.read(network.deployment_file)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(network.clock.close)
        endpoint = await _open_endpoint(network, deployment, stack)
        metrics = _metrics(network, model)
        database = await _open_database(network, stack)
        pool, history = await _open_market(network, stack)
        signers_pool = VenuePool(network.venues, network.markets, network.clock)
        stack.push_async_callback(signers_pool.close)
        await signers_pool.open()
        views = EmbeddedViews(
            ViewSources(
                endpoint=await _open_endpoint(network, deployment, stack),
                deployment=deployment,
                pool=signers_pool,
                clock=network.clock,
                rules=settings.marks,
            )
        )
        quorum = await _quorums(network, (views, database, metrics), deployment, endpoint)
        stack.push_async_callback(quorum.close)
        transactor = _transactor(network, endpoint, database, metrics)
        progress("history")
        await history.fill(pool, await network.clock.now_ms(), _filling(progress))
        await transactor.resume()
        server = metrics.serve(settings.metrics.port)
        stack.callback(server.close)
        yield Daemon(
            network=network,
            deployment=deployment,
            endpoint=endpoint,
            hands=Hands(
                clock=network.clock,
                world=LiveWorld(
                    (endpoint, deployment), pool, history, network.clock, settings.marks
                ),
                quorum=quorum,
                delivery=transactor,
                evidence=EvidenceStore(network.state / "evidence"),
                journal=Journal(database),
                rounds=await _round_numbers(Journal(database), deployment),
            ),
            mind=mind_of(model, settings),
            telemetry=Telemetry(metrics, tuple(market.symbol for market in network.markets)),
            transactor=transactor,
            metrics_port=server.port,
        )


def loops(running: Daemon, settings: Settings, cycles: int | None) -> Loops:
    """Put the two loops around a daemon."""
    return Loops(
        running.hands,
        running.mind,
        running.telemetry,
        running.transactor,
        LoopSettings(
            every_s=settings.cycle.every_s,
            prices=settings.prices,
            marks=settings.marks,
            cycles=cycles,
        ),
    )


def load_model(settings: Settings) -> LoadedModel:
    """Open the model in service; one that is refused keeps the daemon from starting."""
    named = settings.model.hash
    expected = bytes.fromhex(named.removeprefix("0x")) if named else None
    return load(settings.model.folder or default_artifact(), expected)


def mind_of(model: LoadedModel, settings: Settings) -> Mind:
    """Put model, rules and the code's own fingerprint together."""
    return Mind(
        model_hash=model.model_hash, scorer=model.scorer, rules=settings.rules, code=code_facts()
    )


def code_facts() -> Mapping[str, str]:
    """Say which code decides: version, interpreter, and one hash over all our sources."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(path for name in PACKAGES for path in (root / name).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return {
        "version": version("autonomous-margin-layer"),
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "sources": digest.hexdigest(),
    }


async def _round_numbers(journal: Journal, deployment: Deployment) -> RoundNumbers:
    """Go on above every round that was ever proposed."""
    contracts = (deployment.price_feed, deployment.risk_oracle)
    return RoundNumbers({c: await journal.highest_round(deployment.chain_id, c) for c in contracts})


async def _open_endpoint(
    network: Network, deployment: Deployment, stack: AsyncExitStack
) -> ChainEndpoint:
    endpoint = await ChainEndpoint.open(network.rpc_url, chain_id=deployment.chain_id)
    stack.push_async_callback(endpoint.close)
    return endpoint


async def _open_database(network: Network, stack: AsyncExitStack) -> Database:
    url = f"sqlite:///{network.state / 'aml.db'}"
    migrations.upgrade(url)
    database = Database.open(url)
    stack.push_async_callback(database.close)
    return database


async def _open_market(network: Network, stack: AsyncExitStack) -> tuple[VenuePool, HistoryStore]:
    """Open the agent's own venues and history."""
    pool = VenuePool(network.venues, network.markets, network.clock)
    stack.push_async_callback(pool.close)
    await pool.open()
    history = HistoryStore(network.history, network.markets)
    history.open()
    return pool, history


def _filling(progress: Progress) -> Callable[[FillProgress], None]:
    def report(filled: FillProgress) -> None:
        progress(f"history {filled.done}/{filled.total} {filled.symbol}")

    return report


def _metrics(network: Network, model: LoadedModel) -> Metrics:
    """Declare every metric with its closed labels."""
    metrics = Metrics(
        CollectorRegistry(),
        Vocabulary(
            hold_reasons=tuple(reason.value for reason in HoldReason),
            refusal_reasons=tuple(reason.value for reason in RefusalReason),
            signers=tuple(f"{kind}-{n}" for kind in ("price", "risk") for n in (1, 2, 3)),
            venues=tuple(venue.id for venue in network.venues),
            markets=tuple(market.symbol for market in network.markets),
        ),
    )
    metrics.describe_build(code_facts())
    metrics.describe_model({"hash": "0x" + model.model_hash.hex()})
    return metrics


def _transactor(
    network: Network, endpoint: ChainEndpoint, database: Database, metrics: Metrics
) -> Transactor:
    """Build the only way to the chain."""
    if network.keys.gas_payer is None:
        raise ConfigError("keys.gas_payer: no key, so nothing can be posted")
    ports = Ports(
        chain=endpoint,
        read_back=ContractReadBack(endpoint),
        outbox=Outbox(database),
        clock=network.clock,
        timer=LoopTimer(),
        metrics=metrics,
    )
    return Transactor(network.keys.gas_payer, ports, DeliveryRules(fees=FeeRules()))


async def _quorums(
    network: Network,
    parts: tuple[EmbeddedViews, Database, Metrics],
    deployment: Deployment,
    endpoint: ChainEndpoint,
) -> Quorums:
    """Build both signer sets; how many must agree is what the contracts ask for."""
    views, database, metrics = parts
    state = await read_chain(endpoint, deployment)
    rules = SignerRules(price_feed=deployment.price_feed, risk_oracle=deployment.risk_oracle)
    ports = SignerPorts(views=views, memory=SignedRounds(database))

    def quorum(kind: str, keys: tuple[Key, ...], needed: int) -> Quorum:
        signers = [Signer(f"{kind}-{n}", key, ports, rules) for n, key in enumerate(keys, 1)]
        return Quorum(signers, needed, SIGNER_TIMEOUT_S, metrics)

    return Quorums(
        quorum("price", network.keys.price_signers, state.feed.config.threshold),
        quorum("risk", network.keys.risk_signers, state.oracle.config.threshold),
    )
