"""A daemon's session in a terminal or under systemd: deploy when absent, run, drain, report."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import structlog

from agent import app
from agent.cli.progress import PARTS, report
from agent.cli.setup import Prepared
from agent.config import Settings
from agent.deploying import deploy_network
from agent.ground import Part
from agent.leading import STANDING_BY, lease_of, own_files
from agent.liveness import Liveness
from agent.loops import Loops
from agent.network import LOCAL, NO_KEYS
from agent.relaying import Relay, of_relay, relay
from agent.reload import Reloader
from agent.retuning import Threshold, Tunable
from models.artifact import LoadedModel
from relayer.chain import deployments
from relayer.errors import NotLeading
from relayer.lease import Lease
from relayer.service import Service
from relayer.signing.keys_source import forbid_core_dumps

# A loop that ends no turn in this is stuck, and the watchdog is not fed. Delivering may take 60 s a
# message, and signers and venues have limits of their own.
TURNS_WITHIN_S = {"price": 180.0, "risk": 300.0}
RELAY_WITHIN_S = {"relay": 60.0}  # a look at the database; what it finds is done beside it


Turn = Callable[[Prepared, "Signals", Lease | None], Awaitable[bool]]


async def run_daemon(prepared: Prepared, cycles: int | None, part: Part = Part.WHOLE) -> None:
    """Run until stopped; SIGTERM and Ctrl-C finish the turn that is under way."""
    threshold = configure_logging(prepared.settings.log.level)
    network = own_files(prepared.network, prepared.settings)
    model = app.load_model(prepared.settings)  # refused before anything is put on a chain
    if part is Part.AGENT:
        network = replace(network, keys=NO_KEYS)
    elif network.name == LOCAL and not network.deployment_file.exists():
        await deploy_network(network, prepared.settings, report)

    async def turn(mine: Prepared, signals: Signals, lease: Lease | None) -> bool:
        return await _lead_once((mine, part), model, signals, (lease, cycles))

    reloader = Reloader(prepared.source, prepared.settings, part)
    signals = Signals(reloader, threshold)
    await _lead_again((replace(prepared, network=network), part), signals, turn)


async def run_relay(prepared: Prepared, metrics_port: int) -> None:
    """Relay until stopped; SIGTERM and Ctrl-C finish what is under way."""
    threshold = configure_logging(prepared.settings.log.level)
    network = own_files(prepared.network, prepared.settings)
    settings = of_relay(prepared.settings, metrics_port)
    mine = replace(prepared, network=network, settings=settings)
    told = partial(of_relay, metrics_port=metrics_port)
    signals = Signals(Reloader(prepared.source, settings, Part.RELAY, told), threshold)
    await _lead_again((mine, Part.RELAY), signals, _relay_once)


async def _lead_again(place: tuple[Prepared, Part], signals: Signals, turn: Turn) -> None:
    """Lead as often as there is a lease for it.

    Where the lease goes to another instance, everything that was built on it is thrown away, and
    this process stands by until it leads again.
    """
    forbid_core_dumps()
    prepared, part = place
    network = prepared.network
    deployment = deployments.read(network.deployment_file)
    feeding = asyncio.create_task(signals.liveness.feed())
    try:
        async with lease_of(network, prepared.settings, deployment, part) as lease:
            while not await turn(prepared, signals, lease):
                report("another instance has the lease; nothing more is signed or sent here")
    except asyncio.CancelledError:
        if not signals.stopper.asked:
            raise
        report("stopped")
    finally:
        feeding.cancel()


async def _relay_once(prepared: Prepared, signals: Signals, lease: Lease | None) -> bool:
    """Relay from when the lease is taken until it is lost (False) or it was told to end."""
    stopper = signals.stopper
    told = (signals.progress, partial(signals.liveness.beat, "relay"))
    try:
        async with relay(prepared.network, prepared.settings, told, lease) as running:
            await _relay_on(running, signals, lease)
            return stopper.asked or not running.ground.lost.is_set()
    except NotLeading:
        return stopper.asked
    finally:
        stopper.lets(None)


async def _relay_on(running: Relay, signals: Signals, lease: Lease | None) -> None:
    """Relay until stopped or no longer leading; then hand the lease over."""
    stopping = asyncio.Event()
    losing = asyncio.create_task(_stop_when(running.ground.lost, stopping.set))
    signals.stopper.lets(stopping.set)
    signals.liveness.service.ready("relaying")
    report("relaying: what is proposed is signed, posted and read back")
    try:
        with signals.liveness.expecting(RELAY_WITHIN_S), signals.reloads(running.tunable):
            await running.working.run(stopping)
    finally:
        losing.cancel()
        if lease is not None:
            await lease.release()
    report(f"stopped after {running.working.ended} proposals")


async def _lead_once(
    place: tuple[Prepared, Part],
    model: LoadedModel,
    signals: Signals,
    work: tuple[Lease | None, int | None],
) -> bool:
    """Lead from when the lease is taken until it is lost (False) or the loops were told to end."""
    prepared, part = place
    lease, cycles = work
    network, stopper = prepared.network, signals.stopper
    try:
        async with app.daemon(
            network, prepared.settings, model, signals.progress, lease, part
        ) as running:
            loops = app.loops(running, signals.reloader.settings, cycles, signals.liveness)
            with (
                signals.liveness.expecting(TURNS_WITHIN_S),
                signals.reloads(running.tunable, loops),
            ):
                await _run_loops(running, loops, signals)
            return stopper.asked or not running.lost.is_set()
    except NotLeading:
        return stopper.asked
    finally:
        stopper.lets(None)


async def _run_loops(running: app.Daemon, loops: Loops, signals: Signals) -> None:
    """Run until stopped or no longer leading; then hand the lease over."""
    losing = asyncio.create_task(_stop_when(running.lost, loops.stop))
    signals.stopper.lets(loops.stop)
    loops.counts(_counted)
    signals.liveness.service.ready("running")
    if running.http is not None:
        where = running.http.url
        report(f"interfaces at {where}, described at {where}/openapi.json")
    try:
        await loops.run()
    finally:
        losing.cancel()
        if running.lease is not None:
            await running.lease.release()  # before anything is closed: the next one waits for it
    report(f"stopped after {loops.cycles_done} risk cycles")


def _counted(done: int, total: int) -> None:
    """Say how far a run with an end has come: ten times at most, in lines between the log's."""
    if done * PARTS // total != (done - 1) * PARTS // total:
        report(f"{done} of {total} risk cycles")


async def _stop_when(lost: asyncio.Event, stop: Callable[[], None]) -> None:
    await lost.wait()
    stop()


class Signals:
    """What a process does when it is told something: SIGTERM and SIGINT stop, SIGHUP reloads."""

    def __init__(self, reloader: Reloader, threshold: Threshold) -> None:
        self._threshold = threshold
        self.stopper = Stopper()
        self.reloader = reloader
        self.liveness = Liveness(Service.of())
        self._loops: Loops | None = None
        self._tunable = Tunable()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def progress(self, text: str) -> None:
        """Report how far a start has come; standing by is as ready as a standby gets."""
        report(text)
        service = self.liveness.service
        (service.ready if text.startswith(STANDING_BY) else service.status)(text)

    @contextmanager
    def reloads(self, tunable: Tunable, loops: Loops | None = None) -> Iterator[None]:
        """Let a reload change these, inside."""
        self._loops, self._tunable = loops, tunable
        try:
            yield
        finally:
            self._loops, self._tunable = None, Tunable()

    def _stop(self) -> None:
        self.liveness.service.stopping()
        self.stopper.ask()

    def _reload(self) -> None:
        service = self.liveness.service
        service.reloading()
        said = self.reloader.reload(self._retune)
        report(said)
        service.ready(said)

    def _retune(self, settings: Settings) -> None:
        self._tunable.retune(settings)  # first: it refuses what cannot be, and then nothing changes
        self._threshold.level = settings.log.level
        if self._loops is not None:
            self._loops.retune(settings.cycle.every_s, settings.prices, settings.impact)


class Stopper:
    """The first signal lets the turn under way end; the second does not wait for it.

    While nothing is under way (starting, standing by), the first one ends the process.
    """

    def __init__(self) -> None:
        self._stop: Callable[[], None] | None = None
        self._task = asyncio.current_task()
        self.asked = False

    def lets(self, stop: Callable[[], None] | None) -> None:
        """Say how what is under way is told to end; None: nothing is."""
        self._stop = stop

    def ask(self) -> None:
        """Stop; what is left open is brought to its end by the next start."""
        if (self.asked or self._stop is None) and self._task is not None:
            self._task.cancel()
        self.asked = True
        if self._stop is not None:
            self._stop()


def configure_logging(level: str | int = "info") -> Threshold:
    """Write events as key=value lines that journalctl shows well; no locals in tracebacks.

    What is returned says from which level on, and may be changed.
    """
    name = level if isinstance(level, str) else logging.getLevelName(level).lower()
    threshold = Threshold(name)
    number = logging.getLevelNamesMapping()[name.upper()]
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr)
    # Its overlaps and misses are counted by our own listener; a line each would drown the rest.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    # That a lost connection cannot be closed is no news; `StorageFailed` has said that it is lost.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            threshold,
            structlog.contextvars.merge_contextvars,  # the turn's trace, where spans are sent
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    return threshold
