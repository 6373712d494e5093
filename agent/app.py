"""The one place where objects are built: a network and its settings become a running daemon."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import zip_longest

import structlog

from agent.config import Settings
from agent.cycle import Mind
from agent.delivering import JournalledDelivery
from agent.dry import DryRun
from agent.errors import ConfigError
from agent.ground import Ground, Part, Progress, open_database, open_endpoint, open_venues
from agent.handing import HandingOver
from agent.itself import code_facts, metrics_of, serve_metrics
from agent.leading import alone, highest_rounds, lead, lease_of, led
from agent.liveness import Liveness
from agent.loops import Loops, LoopSettings
from agent.network import Network
from agent.payer import watch_payer
from agent.ports import Hands
from agent.positions.build import open_positions
from agent.positions.exposure import with_budget
from agent.positions.loop import PositionLoop
from agent.quoting.desk import LatestJudgement, TermsDesk
from agent.quoting.service import desk_of, interface
from agent.rederive import Untaught
from agent.retuning import Tunable
from agent.rounds import RoundNumbers
from agent.serving import Serving
from agent.signers import Quorums
from agent.signing import OwnMind, quorums
from agent.storing import database_url
from agent.succession import first_of
from agent.telemetry import Telemetry
from agent.tracing import with_spans
from agent.world import LiveWorld
from models.artifact import LoadedModel, default_artifact, load
from models.registry import Registry
from relayer.chain import deployments
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.standing import EndpointMetrics
from relayer.chain.values import Deployment
from relayer.delivery.confirm import ContractReadBack
from relayer.delivery.outbox import Outbox
from relayer.delivery.ports import DeliveryRules, LoopTimer, Ports
from relayer.delivery.transactor import Transactor
from relayer.evidence import EvidenceStore
from relayer.forecasts import Forecasts
from relayer.handover.proposals import Proposals
from relayer.http.server import Listening
from relayer.journal import DecisionKind, Journal
from relayer.lease import Lease
from relayer.market.history import FillProgress, HistoryStore
from relayer.metrics import Metrics
from relayer.signing.keys import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """Everything that a running daemon consists of."""

    network: Network
    deployment: Deployment
    endpoint: ChainEndpoint
    hands: Hands
    mind: Mind
    metrics: Metrics
    telemetry: Telemetry
    metrics_port: int
    positions: PositionLoop | None
    judged: LatestJudgement
    tunable: Tunable
    http: Listening | None
    lease: Lease | None
    lost: asyncio.Event  # set when another process has the lease


@asynccontextmanager
async def daemon(
    network: Network,
    settings: Settings,
    model: LoadedModel,
    progress: Progress = lambda _: None,
    lease: Lease | None = None,
    part: Part = Part.WHOLE,
) -> AsyncIterator[Daemon]:
    """Build a daemon, bring it up to now, wait until it leads, and close it again.

    `lease` outlives this daemon where the process builds another after it; else one is opened.
    `part`: all of it, or the half that decides and hands over.
    """
    async with AsyncExitStack() as stack:
        ground = await ground_of((network, part), settings, model, lease, stack)
        port = serve_metrics(ground.metrics, settings.metrics, stack, progress)
        payer = watch_payer(ground, stack) if part is Part.WHOLE else None
        serving = _serving(ground, model)
        hands = await lead(ground, await _hands(ground, stack, progress, serving), stack, progress)
        await hands.delivery.resume()
        positions = await open_positions(ground, hands, stack, code_facts())
        judged = LatestJudgement()
        hands = with_budget(hands, ground, positions)
        index = None if positions is None else positions.positions.index
        desk = desk_of(ground, hands.quorum, model, judged, index)
        listening = await _answer(ground, desk, positions, stack)
        hands = with_spans(hands, settings.tracing, stack)
        gc.collect()
        gc.freeze()  # what lives as long as the process need not be looked at again
        yield Daemon(
            network=network,
            deployment=ground.deployment,
            endpoint=ground.endpoint,
            hands=hands,
            mind=mind_of(model, settings, serving),
            metrics=ground.metrics,
            telemetry=Telemetry(ground.metrics, tuple(m.symbol for m in network.markets)),
            metrics_port=port,
            positions=positions,
            judged=judged,
            tunable=Tunable(positions=positions, desk=desk, payer=payer),
            http=listening,
            lease=ground.lease,
            lost=ground.lost,
        )


async def ground_of(
    place: tuple[Network, Part],
    settings: Settings,
    model: LoadedModel | None,
    lease: Lease | None,
    stack: AsyncExitStack,
) -> Ground:
    """Keep the state folder to this process, and open what everything else stands on."""
    network, part = place
    deployment = deployments.read(network.deployment_file)
    require_same_markets(network, deployment)
    stack.push_async_callback(network.clock.close)
    stack.enter_context(alone(network, part))
    if lease is None:
        lease = await stack.enter_async_context(lease_of(network, settings, deployment, part))
    url, metrics = (
        database_url(settings.storage, network.state),
        metrics_of(network, settings, model),
    )
    endpoints = EndpointMetrics(
        metrics.registry, [str(n) for n in range(1, len(network.rpc_urls) + 1)]
    )
    return Ground(
        network=network,
        settings=settings,
        deployment=deployment,
        endpoint=await open_endpoint(network.rpc_urls, deployment, stack, endpoints),
        metrics=metrics,
        database=await open_database(url, stack, lease),
        lease=lease,
        part=part,
    )


async def _hands(
    ground: Ground, stack: AsyncExitStack, progress: Progress, serving: Serving
) -> Hands:
    """Fill the ports of the loops, and bring the history up to now."""
    network, settings, journal = ground.network, ground.settings, Journal(ground.database)
    pool = await open_venues(network, ground.metrics, stack, progress)
    history = HistoryStore(network.history, network.markets)
    history.open()
    progress("history")
    await history.fill(pool, await network.clock.now_ms(), _filling(progress))
    chain = (ground.endpoint, ground.deployment)
    mind = OwnMind(model=Untaught(serving), history=history, fills=False)
    asking = HandingOver(ground) if ground.part is Part.AGENT else None
    quorum, delivery = (asking, asking) if asking else await signing_hands(ground, stack, mind)
    if isinstance(quorum, DryRun):
        progress("DRY RUN: no keys; decisions are recorded, nothing is signed or posted")
    return Hands(
        clock=network.clock,
        world=LiveWorld(chain, pool, history, network.clock, (settings.marks, settings.feeds)),
        quorum=quorum,
        delivery=delivery,
        evidence=EvidenceStore(network.evidence),
        journal=journal,
        rounds=RoundNumbers(await highest_rounds(ground)),
        relay=asking,
        handed=None if asking else Proposals(ground.database, ground.deployment.chain_id),
    )


async def signing_hands(
    ground: Ground, stack: AsyncExitStack, mind: OwnMind | None
) -> tuple[Quorums | DryRun, JournalledDelivery | DryRun]:
    """Build the signers and the only way to the chain; without keys, what stands in for them."""
    payer = ground.network.keys.gas_payer
    if payer is None:
        return DryRun(), DryRun()
    return await quorums(ground, stack, mind), _delivery(ground, payer)


async def _answer(
    ground: Ground, desk: TermsDesk, positions: PositionLoop | None, stack: AsyncExitStack
) -> Listening | None:
    """Answer interfaces over HTTP, where that is configured and margin is deployed."""
    settings = ground.settings.http
    if settings is None or positions is None:
        return None
    version_, warner = version("autonomous-margin-layer"), positions.positions.warner
    return await stack.enter_async_context(interface(ground, desk, settings, version_, warner))


def require_same_markets(network: Network, deployment: Deployment) -> None:
    """Refuse a configuration whose markets are not the contracts', id by id.

    Ids follow the order of the tables: two tables that changed places would put one asset's price
    under the other's id, signed by everyone who shares the file.
    """
    if network.chain_id not in (None, deployment.chain_id):
        raise ConfigError(
            f"network.chain_id is {network.chain_id}, the deployment's {deployment.chain_id}"
        )
    configured = [(market.symbol, market.class_id) for market in network.markets]
    deployed = [(market.symbol, market.class_id) for market in deployment.markets]
    for number, (ours, theirs) in enumerate(zip_longest(configured, deployed)):
        if ours != theirs:
            raise ConfigError(
                f"market {number}: the configuration has {ours or 'none'}, the contracts have "
                f"{theirs or 'none'}; [[markets]] must be in the order of {network.deployment_file}"
            )


def loops(
    running: Daemon, settings: Settings, cycles: int | None, liveness: Liveness | None = None
) -> Loops:
    """Put the two loops around a daemon; `liveness` learns of each turn that ends."""
    made = Loops(
        running.hands,
        running.mind,
        running.telemetry,
        LoopSettings(
            every_s=settings.cycle.every_s,
            prices=settings.prices,
            marks=settings.marks,
            jumps=settings.jumps,
            cycles=cycles,
        ),
        running.judged.take,
    )
    if liveness is not None:
        for loop, stuck in running.metrics.loop_stuck_number.items():
            stuck.set_function(partial(liveness.is_stuck, loop))
        made.tells(liveness.beat)
    return made.follow(running.positions)


def load_model(settings: Settings) -> LoadedModel:
    """Open the model in service: the one that is named, else the registry's champion.

    A named one that is refused keeps the daemon from starting; of the registry's, the last good one
    serves, with a warning.
    """
    registry = registry_of(settings)
    if registry is None:
        named = settings.model.hash
        expected = bytes.fromhex(named.removeprefix("0x")) if named else None
        return load(settings.model.folder or default_artifact(), expected)
    model, refused = first_of(registry)
    for notice in refused:
        structlog.get_logger("aml").warning("model_refused", detail=notice)
    return model


def registry_of(settings: Settings) -> Registry | None:
    """Return the registry that is followed; none where a model is named."""
    named = settings.model.folder is not None or settings.model.hash is not None
    return None if named else Registry(settings.model.registry)


def mind_of(model: LoadedModel, settings: Settings, serving: Serving | None = None) -> Mind:
    """Put model, rules and the code's own fingerprint together."""
    return Mind(
        model_hash=model.model_hash,
        scorer=model.scorer,
        rules=settings.rules,
        code=code_facts(),
        serving=serving,
        impact=settings.impact,
    )


def _serving(ground: Ground, model: LoadedModel) -> Serving:
    """Let the model follow the registry, and learn from outcomes that the journal keeps."""
    symbols = {market.market: market.symbol for market in ground.network.markets}
    journal = Forecasts(ground.database)
    return Serving(model, journal, symbols, registry_of(ground.settings))


def _filling(progress: Progress) -> Callable[[FillProgress], None]:
    def report(filled: FillProgress) -> None:
        progress(f"history {filled.done}/{filled.total} {filled.symbol}")

    return report


def _delivery(ground: Ground, key: Key) -> JournalledDelivery:
    """Build the only way to the chain."""
    outbox = Outbox(ground.database)
    ports = Ports(
        chain=led(ground.endpoint, ground.lease),
        read_back=ContractReadBack(ground.endpoint),
        outbox=outbox,
        clock=ground.network.clock,
        timer=LoopTimer(),
        metrics=ground.metrics,
    )
    transactor = Transactor(key, ports, DeliveryRules(fees=ground.settings.fees))
    # An action waits for its price in the agent half, whatever happens to the relay meanwhile.
    left: tuple[DecisionKind, ...] | None = ("price", "risk") if ground.part is Part.RELAY else None
    return JournalledDelivery(transactor, Journal(ground.database), outbox, left)
