"""`aml signer`: one signer of the quorum, as a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.local import DEFAULT_STATE, StateOption
from agent.cli.run import NetworkOption

if TYPE_CHECKING:
    from agent.cli.setup import Prepared
    from agent.signing_process import Place


def signer(
    index: Annotated[int, typer.Option("--index", help="Which [[signers.peers]] table, from 1.")],
    network: NetworkOption = "local",
    state: StateOption = DEFAULT_STATE,
    listen: Annotated[
        str | None, typer.Option("--listen", help="HOST:PORT, where its URL's will not do.")
    ] = None,
    metrics_port: Annotated[
        int, typer.Option("--metrics-port", help="On 127.0.0.1; 0 takes a free one.")
    ] = 0,
) -> None:
    """Judge and sign what the configured daemons propose, until SIGTERM.

    Example: aml signer --network mine.toml --index 2
    """
    import asyncio

    from agent.cli.progress import report

    report(f"signer-{index} starts on {network}")
    from agent.cli.setup import require_world
    from agent.signing_process import place_of

    # the daemon's keys are not its own: a file that both share may name them
    prepared = require_world(network, state, keys=False)
    place = place_of(prepared.settings, index, listen, metrics_port)
    asyncio.run(_run(prepared, place))


async def _run(prepared: Prepared, place: Place) -> None:
    import asyncio
    import signal

    from agent.cli.progress import report
    from agent.cli.session import configure_logging
    from agent.liveness import Liveness
    from agent.signing_process import signer_process
    from relayer.service import Service
    from relayer.signing.keys_source import forbid_core_dumps

    configure_logging()
    forbid_core_dumps()
    ended, service = asyncio.Event(), Service.of()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    # its bounds are its own: nobody changes them while it signs
    loop.add_signal_handler(signal.SIGHUP, service.status, "reload refused: restart it")

    def progress(text: str) -> None:
        report(text)
        service.status(text)

    network, settings = prepared.network, prepared.settings
    async with signer_process(network, settings, place, progress) as running:
        typer.echo(
            f"{running.name} at {running.host}:{running.port}\n"
            f"  signs prices as {running.price}\n"
            f"  signs risk as   {running.risk}\n"
            f"  answers as      {running.transport}\n"
            f"  metrics at http://127.0.0.1:{running.metrics_port}/metrics",
            err=True,
        )
        service.ready("listening")
        feeding = asyncio.create_task(Liveness(service).feed())
        await ended.wait()
        service.stopping()
        feeding.cancel()
