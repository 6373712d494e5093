"""The HTTP interface of a daemon: its desk, its port and its server, put together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from agent.config import HttpSettings, Settings
from agent.errors import ConfigError
from agent.ground import Ground
from agent.ports import Attestation
from agent.positions.warn_turn import Warner
from agent.quoting.desk import DeskPorts, Known, LatestJudgement, TermsDesk, known_with
from agent.quoting.history import trades_from
from agent.quoting.interface import Interface, InterfaceRules
from models.artifact import LoadedModel
from relayer.chain.index import Index
from relayer.evidence import QUOTES, EvidenceStore
from relayer.http.app import create_app
from relayer.http.server import Listening, serving
from relayer.journal import Journal

PRUNE_EVERY_S = 3_600.0


def desk_of(
    ground: Ground,
    quorum: Attestation,
    model: LoadedModel,
    judged: LatestJudgement,
    index: Index | None = None,
) -> TermsDesk:
    """Build the desk of a process that stands on `ground`; the index knows what accounts did."""
    ports = DeskPorts(
        endpoint=ground.endpoint,
        deployment=ground.deployment,
        clock=ground.network.clock,
        quorum=quorum,
        evidence=EvidenceStore(ground.network.evidence, QUOTES),
    )
    history = None if index is None else lambda account: trades_from(index.trades_of(account))
    return TermsDesk(ports, known_of(model), judged, ground.settings.quotes, history)


def known_of(model: LoadedModel) -> Known:
    """Give what of the model at the start terms read, until a cycle says who is in charge."""
    return known_with(model.model_hash, model.risks)


@asynccontextmanager
async def interface(
    ground: Ground,
    desk: TermsDesk,
    settings: HttpSettings,
    version: str,
    warner: Warner | None = None,
) -> AsyncIterator[Listening]:
    """Serve interfaces as long as this is entered.

    Raises
    ------
    ConfigError
        The port is taken.
    """
    rules = InterfaceRules(judged_within_s=_patience_s(ground.settings))
    evidence = EvidenceStore(ground.network.evidence)
    port = Interface(desk, (Journal(ground.database), evidence), rules, warner)
    app = create_app(port, settings.limits, version, settings.origins)
    try:
        async with (
            serving(app, settings.host, settings.port) as listening,
            pruning(evidence, ground.settings.quotes.evidence_kept_s),
        ):
            yield listening
    except OSError as fault:
        where = f"http: {settings.host}:{settings.port}"
        raise ConfigError(f"{where}: {fault.strerror}; take another port, or 0") from fault


@asynccontextmanager
async def pruning(evidence: EvidenceStore, kept_s: int) -> AsyncIterator[None]:
    """Delete evidence of terms past its retention, as long as this is entered."""
    task = asyncio.create_task(_prune(evidence, kept_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _prune(evidence: EvidenceStore, kept_s: int) -> None:
    log = structlog.get_logger("aml")
    while True:
        try:
            gone = await asyncio.to_thread(evidence.prune, time.time() - kept_s)
        except OSError as fault:
            log.warning("evidence_not_pruned", detail=str(fault))
        else:
            log.info("evidence_pruned", bundles=gone)
        await asyncio.sleep(PRUNE_EVERY_S)


def _patience_s(settings: Settings) -> int:
    """Five cycles without one that ended is no progress."""
    return 5 * settings.cycle.every_s
