"""The relay half: alone with gas payer and signers, it brings to an end what an agent proposed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from sqlalchemy.engine import URL

from agent.app import ground_of, load_model, registry_of, signing_hands
from agent.config import Settings
from agent.dry import DryRun
from agent.ground import Ground, Part, Progress, open_database
from agent.itself import serve_metrics
from agent.leading import LedQuorum, hold_lease
from agent.network import Network
from agent.payer import watch_payer
from agent.positions.build import guardian_of
from agent.retuning import Tunable
from agent.serving import Serving
from agent.signing import OwnMind
from relayer.delivery.outbox import Outbox
from relayer.forecasts import Forecasts
from relayer.handover.asking import HandoverMetrics
from relayer.handover.proposals import Proposals
from relayer.handover.working import Working, WorkPorts
from relayer.journal import Journal
from relayer.lease import Lease
from relayer.market.history import HistoryStore

DRY_RUN = "DRY RUN: no keys; what is proposed is answered unsigned, nothing is posted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """A relay that leads: what it does, and what it stands on."""

    ground: Ground
    working: Working
    tunable: Tunable
    metrics_port: int


@asynccontextmanager
async def relay(
    network: Network,
    settings: Settings,
    told: tuple[Progress, Callable[[], None]],
    lease: Lease | None = None,
) -> AsyncIterator[Relay]:
    """Build a relay, wait until it leads, end what was left open, and close it again.

    `told`: who hears how far the start has come, and who hears of each look.
    """
    progress, looked = told
    async with AsyncExitStack() as stack:
        ground = await ground_of((network, Part.RELAY), settings, None, lease, stack)
        port = serve_metrics(ground.metrics, settings.metrics, stack, progress)
        payer = watch_payer(ground, stack)
        held = await hold_lease(ground, None, stack, progress)
        mind = await _mind(ground, stack)
        signers, delivery = await signing_hands(ground, stack, mind)
        if isinstance(signers, DryRun):
            progress(DRY_RUN)
            structlog.get_logger("aml").warning("relay_dry_run", detail=DRY_RUN)
        await delivery.resume()
        ports = WorkPorts(
            proposals=Proposals(ground.database, ground.deployment.chain_id),
            signers=signers if held is None else LedQuorum(signers, held),
            delivery=delivery,
            journal=Journal(ground.database),
            outbox=Outbox(ground.database),
            clock=network.clock,
            deployment=ground.deployment,
            metrics=HandoverMetrics(ground.metrics.registry),
            guardian=await guardian_of(ground),
        )
        yield Relay(
            ground=ground,
            working=Working(ports, looked),
            tunable=Tunable(payer=payer),
            metrics_port=port,
        )


async def _mind(ground: Ground, stack: AsyncExitStack) -> OwnMind | None:
    """Give signers of this process a model, bars and lessons of their own, where they decide.

    None where they are processes of their own, and bring theirs.
    """
    network, settings = ground.network, ground.settings
    if settings.signers is not None or settings.derive.mode == "off":
        return None
    if network.keys.gas_payer is None:
        return None
    folder = network.state / "relay"
    lessons = await open_database(URL.create("sqlite", database=str(folder / "own.db")), stack)
    history = HistoryStore(folder / "history", network.markets)
    history.open()
    symbols = {market.market: market.symbol for market in network.markets}
    serving = Serving(load_model(settings), Forecasts(lessons), symbols, registry_of(settings))
    return OwnMind(model=serving, history=history, fills=True)


def of_relay(settings: Settings, metrics_port: int) -> Settings:
    """Let the relay's metrics have a port of their own: both halves may be on one machine."""
    metrics = settings.metrics.model_copy(update={"port": metrics_port})
    return settings.model_copy(update={"metrics": metrics})
