"""`aml watcher`: an independent process that measures how old is what is on chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.local import DEFAULT_STATE, StateOption
from agent.cli.run import NetworkOption

if TYPE_CHECKING:
    from agent.config import Settings
    from agent.network import Network


def watcher(
    network: NetworkOption = "local",
    state: StateOption = DEFAULT_STATE,
    rpc: Annotated[
        str | None, typer.Option("--rpc", help="An endpoint of its own (watcher.rpc_url).")
    ] = None,
) -> None:
    """Read the contracts again and again, and serve their ages as metrics, until SIGTERM.

    It holds no key and sends nothing. Run it on another machine than the daemon's.

    Example: aml watcher --network mine.toml --rpc https://other.example/rpc
    """
    import asyncio

    from agent.cli.setup import require_world

    prepared = require_world(network, state, keys=False)
    settings = prepared.settings
    if rpc is not None:
        told = settings.watcher.model_copy(update={"rpc_url": rpc})
        settings = settings.model_copy(update={"watcher": told})
    asyncio.run(_run(prepared.network, settings))


async def _run(network: Network, settings: Settings) -> None:
    import asyncio
    import signal

    from agent.cli.session import configure_logging
    from agent.watching import watching
    from relayer.service import Service

    configure_logging()
    service, ended = Service.of(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGHUP, service.status, "reload refused: restart it"
    )
    async with watching(network, settings) as running:
        typer.echo(
            f"metrics at http://{settings.metrics.host}:{running.metrics_port}/metrics", err=True
        )
        service.ready("watching")
        looking = asyncio.create_task(running.run(service))
        ending = asyncio.create_task(ended.wait())
        await asyncio.wait({looking, ending}, return_when=asyncio.FIRST_COMPLETED)
        service.stopping()
        for task in (looking, ending):
            task.cancel()
        faults = await asyncio.gather(looking, ending, return_exceptions=True)
        for fault in faults:
            if isinstance(fault, Exception):
                raise fault
