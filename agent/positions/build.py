"""Builds what follows positions, where margin contracts are deployed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack

from agent.ground import Ground, Part, open_endpoint
from agent.leading import led
from agent.ports import Hands
from agent.positions.action_turn import RESULTS, ActionPorts, Actor
from agent.positions.actions import Withheld
from agent.positions.chance_telemetry import ChanceTelemetry
from agent.positions.feedback import Feedback
from agent.positions.keeper import TaskKind
from agent.positions.levels import LEVELS
from agent.positions.look import Chain, PositionPorts
from agent.positions.loop import Guardian, PositionLoop
from agent.positions.reconcile import Sum
from agent.positions.telemetry import PositionTelemetry
from agent.positions.turn import Positions
from agent.positions.warn_turn import Warner
from contracts.messages import ActionKind
from relayer.chain.index import Index
from relayer.chain.index_reader import IndexReader
from relayer.chain.index_store import IndexStore
from relayer.chance_metrics import ChanceMetrics
from relayer.delivery.confirm import ContractReadBack
from relayer.delivery.outbox import Outbox
from relayer.delivery.ports import DeliveryRules, LoopTimer, Ports
from relayer.delivery.transactor import Transactor
from relayer.notices import Channels, NoticeStore
from relayer.outcomes import Outcomes
from relayer.position_metrics import PositionMetrics, PositionVocabulary


async def open_positions(
    ground: Ground, hands: Hands, stack: AsyncExitStack, code: Mapping[str, str]
) -> PositionLoop | None:
    """Take the index up where it was left; None where no margin contracts are deployed."""
    deployment, settings = ground.deployment, ground.settings
    if deployment.margin is None:
        return None
    store = IndexStore(ground.database, deployment.chain_id, deployment.margin.engine)
    reader = IndexReader(deployment, store, Index(await store.load()))
    endpoint = await open_endpoint(ground.network.rpc_urls, deployment, stack)
    witnesses = [
        await open_endpoint((url,), deployment, stack) for url in settings.network.witness_rpc_urls
    ]
    ports = PositionPorts(
        clock=hands.clock,
        delivery=hands.delivery,
        journal=hands.journal,
        payer=ground.payer,
        evidence=hands.evidence,
    )
    chain = Chain(endpoint=endpoint, deployment=deployment, witnesses=tuple(witnesses))
    telemetry = PositionTelemetry(PositionMetrics(ground.metrics.registry, vocabulary()))
    warner = _warner(ground, reader.index)
    actor = _actor(ground, hands, code)
    positions = Positions(chain, reader, ports, settings.keeper, warner, actor)
    caller = hands.delivery if ground.part is Part.AGENT else await guardian_of(ground)
    guardian = Guardian(caller, deployment.chain_id, deployment.risk_oracle)
    engine, oracle = deployment.margin.engine, deployment.risk_oracle
    outcomes = Outcomes(ground.database, deployment.chain_id, engine, oracle)
    feedback = Feedback(outcomes, ChanceTelemetry(ChanceMetrics(ground.metrics.registry)))
    return PositionLoop(positions, telemetry, guardian, hands.delivery, feedback)


def vocabulary() -> PositionVocabulary:
    """Give every label value that metrics of positions can have."""
    return PositionVocabulary(
        tasks=tuple(kind.value for kind in TaskKind),
        sums=tuple(each.value for each in Sum),
        levels=tuple(level.label for level in LEVELS),
        notices=("taken", "refused"),
        actions=tuple(kind.name.lower() for kind in ActionKind),
        action_results=RESULTS,
        withheld=tuple(each.value for each in Withheld),
    )


async def guardian_of(ground: Ground) -> Transactor | None:
    """Give the guardian's account its own way to the chain, where its key is here."""
    key = ground.network.keys.guardian
    if key is None:
        return None
    ports = Ports(
        chain=led(ground.endpoint, ground.lease),
        read_back=ContractReadBack(ground.endpoint),
        outbox=Outbox(ground.database),
        clock=ground.network.clock,
        timer=LoopTimer(),
        metrics=ground.metrics,
    )
    transactor = Transactor(key, ports, DeliveryRules(fees=ground.settings.fees))
    await transactor.resume()
    return transactor


def _actor(ground: Ground, hands: Hands, code: Mapping[str, str]) -> Actor:
    """Build what decides on managed positions; without keys it only suggests."""
    margin = ground.deployment.margin
    assert margin is not None, "positions are followed where margin is deployed"
    ports = ActionPorts(
        quorum=hands.quorum,
        evidence=hands.evidence,
        delivery=hands.delivery,
        journal=hands.journal,
        payer=ground.payer,
    )
    return Actor(ground.settings.actions, ports, margin.liquidator, code)


def _warner(ground: Ground, index: Index) -> Warner | None:
    """Build the board of warnings; without channels it is only there to be read."""
    settings, margin = ground.settings.warnings, ground.deployment.margin
    if not settings.enabled or margin is None:
        return None
    file = settings.channels_file
    channels = Channels([]) if file is None else Channels.read(file)
    store = NoticeStore(ground.database, ground.deployment.chain_id, margin.engine)
    return Warner(index, settings, channels, store)
