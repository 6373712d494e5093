"""A daemon's session in a terminal or under systemd: deploy when absent, run, drain, report."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import replace

import structlog
import typer

from agent import app
from agent.cli.setup import Prepared
from agent.deploying import deploy_network
from agent.leading import lease_of, own_files
from agent.loops import Loops
from agent.network import LOCAL
from models.artifact import LoadedModel
from relayer.chain import deployments
from relayer.errors import NotLeading
from relayer.lease import Lease


async def run_daemon(prepared: Prepared, cycles: int | None) -> None:
    """Run until stopped; SIGTERM and Ctrl-C finish the turn that is under way.

    Where the lease goes to another instance, everything that was built on it is thrown away, and
    this process stands by until it leads again.
    """
    configure_logging()
    network = own_files(prepared.network, prepared.settings)
    model = app.load_model(prepared.settings)  # refused before anything is put on a chain
    if network.name == LOCAL and not network.deployment_file.exists():
        await deploy_network(network, prepared.settings, report)
    stopper = Stopper()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopper.ask)
    deployment = deployments.read(network.deployment_file)
    try:
        async with lease_of(network, prepared.settings, deployment) as lease:
            mine = replace(prepared, network=network)
            while not await _lead_once(mine, model, stopper, (lease, cycles)):
                report("another instance has the lease; nothing more is signed or sent here")
    except asyncio.CancelledError:
        if not stopper.asked:
            raise
        report("stopped")


async def _lead_once(
    prepared: Prepared,
    model: LoadedModel,
    stopper: Stopper,
    work: tuple[Lease | None, int | None],
) -> bool:
    """Lead from when the lease is taken until it is lost (False) or the loops were told to end."""
    lease, cycles = work
    network, settings = prepared.network, prepared.settings
    try:
        async with app.daemon(network, settings, model, report, lease) as running:
            await _run_loops(running, app.loops(running, settings, cycles), stopper)
            return stopper.asked or not running.lost.is_set()
    except NotLeading:
        return stopper.asked
    finally:
        stopper.lets(None)


async def _run_loops(running: app.Daemon, loops: Loops, stopper: Stopper) -> None:
    """Run until stopped or no longer leading; then hand the lease over."""
    losing = asyncio.create_task(_stop_when(running.lost, loops.stop))
    stopper.lets(loops.stop)
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


async def _stop_when(lost: asyncio.Event, stop: Callable[[], None]) -> None:
    await lost.wait()
    stop()


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


def report(text: str) -> None:
    """Say how far a slow start has come: one changing line on a terminal, else one a line."""
    if sys.stderr.isatty() and text.startswith("history "):
        sys.stderr.write(f"\r\x1b[K{text}")
        return
    if not text.startswith("history "):
        typer.echo(text, err=True)


def configure_logging(level: int = logging.INFO) -> None:
    """Write events as key=value lines that journalctl shows well; no locals in tracebacks."""
    logging.basicConfig(level=max(level, logging.WARNING), stream=sys.stderr)
    # Its overlaps and misses are counted by our own listener; a line each would drown the rest.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    # That a lost connection cannot be closed is no news; `StorageFailed` has said that it is lost.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
