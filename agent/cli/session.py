"""A daemon's session in a terminal or under systemd: deploy when absent, run, drain, report."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable

import structlog
import typer

from agent import app
from agent.cli.setup import Prepared
from agent.deploying import deploy_network
from agent.network import LOCAL


async def run_daemon(prepared: Prepared, cycles: int | None) -> None:
    """Run until stopped; SIGTERM and Ctrl-C finish the turn that is under way."""
    configure_logging()
    network = prepared.network
    model = app.load_model(prepared.settings)  # refused before anything is put on a chain
    if network.name == LOCAL and not network.deployment_file.exists():
        await deploy_network(network, prepared.settings, report)
    async with app.daemon(network, prepared.settings, model, report) as running:
        loops = app.loops(running, prepared.settings, cycles)
        loop, stopper = asyncio.get_running_loop(), Stopper(loops.stop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopper.ask)
        report(f"metrics at http://127.0.0.1:{running.metrics_port}/metrics")
        if running.http is not None:
            report(
                f"interfaces at {running.http.url}, described at {running.http.url}/openapi.json"
            )
        await loops.run()
        report(f"stopped after {loops.cycles_done} risk cycles")


class Stopper:
    """The first signal lets the turn under way end; the second does not wait for it."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._task = asyncio.current_task()
        self._asked = False

    def ask(self) -> None:
        """Stop; what is left open is brought to its end by the next start."""
        if self._asked and self._task is not None:
            self._task.cancel()
        self._asked = True
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
