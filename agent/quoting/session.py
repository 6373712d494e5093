"""A desk for one command: the chain as it is, and the judgement that a daemon left as evidence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from prometheus_client import CollectorRegistry

from agent.config import Settings
from agent.decisions import HoldReason
from agent.dry import DryRun
from agent.ground import Ground, open_database, open_endpoint
from agent.network import Network
from agent.ports import Attestation
from agent.quoting.assessment import (
    NOT_JUDGED,
    Assessment,
    MarketAssessment,
    assessment_from,
    blocked,
)
from agent.quoting.desk import LatestJudgement, TermsDesk
from agent.quoting.service import desk_of
from agent.signing import quorums, signer_names
from agent.storing import database_url
from contracts.units import MarketId, UnixMs
from models.artifact import LoadedModel
from relayer.chain import deployments
from relayer.chain.index import Index
from relayer.chain.index_store import IndexStore
from relayer.errors import EvidenceMissing
from relayer.evidence import EvidenceStore
from relayer.journal import CycleEntry, Journal
from relayer.metrics import Metrics, Vocabulary
from relayer.signing.values import RefusalReason

LOOK_BACK = 50  # turns of both loops among which the last risk cycle is looked for


@asynccontextmanager
async def open_desk(
    network: Network, settings: Settings, model: LoadedModel, *, sign: bool
) -> AsyncIterator[TermsDesk]:
    """Open a desk; it signs with the signers that the configuration names."""
    deployment = deployments.read(network.deployment_file)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(network.clock.close)
        ground = Ground(
            network=network,
            settings=settings,
            deployment=deployment,
            endpoint=await open_endpoint(network.rpc_urls, deployment, stack),
            metrics=_metrics(network, settings),
            database=await open_database(database_url(settings.storage, network.state), stack),
        )
        signs = sign and (settings.signers is not None or network.keys.risk_signers)
        quorum: Attestation = await quorums(ground, stack) if signs else DryRun()
        judged = LatestJudgement(await last_assessment(ground))
        yield desk_of(ground, quorum, model, judged, await index_of(ground))


async def index_of(ground: Ground) -> Index | None:
    """Give the accounts' past as the daemon has read it, without reading on."""
    margin = ground.deployment.margin
    if margin is None:
        return None
    store = IndexStore(ground.database, ground.deployment.chain_id, margin.engine)
    return Index(await store.load())


async def last_assessment(ground: Ground) -> Assessment:
    """Read what the last risk cycle concluded, from the journal and its evidence."""
    journal = Journal(ground.database)
    store = EvidenceStore(ground.network.evidence)
    found = NOT_JUDGED
    for decision in await journal.recent_decisions(1, "risk"):
        try:
            fields = await asyncio.to_thread(store.get, decision.evidence_hash)
        except EvidenceMissing:
            break
        found = assessment_from(fields)
    for cycle in await journal.recent_cycles(LOOK_BACK):
        if cycle.kind == "risk":
            return _held(found, cycle)
    return found


def _held(found: Assessment, cycle: CycleEntry) -> Assessment:
    """Add the holds of a cycle that left no evidence, because it decided nothing."""
    if cycle.started_at_ms <= found.as_of_ms:
        return found
    held = {
        MarketId(each.market): blocked(HoldReason(each.reason), each.detail)
        for each in cycle.holds
        if each.market is not None
    }
    markets = {
        market: replace(
            found.markets.get(market, MarketAssessment(market=market, scores=None)), blocks=blocks
        )
        for market, blocks in held.items()
    }
    return Assessment(as_of_ms=UnixMs(cycle.started_at_ms), markets={**found.markets, **markets})


def _metrics(network: Network, settings: Settings) -> Metrics:
    """Declare what a quorum counts, for nobody to scrape."""
    return Metrics(
        CollectorRegistry(),
        Vocabulary(
            hold_reasons=tuple(reason.value for reason in HoldReason),
            refusal_reasons=tuple(reason.value for reason in RefusalReason),
            signers=signer_names(network, settings.signers),
            venues=tuple(venue.id for venue in network.venues),
            markets=tuple(market.symbol for market in network.markets),
        ),
    )
