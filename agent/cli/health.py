"""`aml health`: what a container's health check asks."""

from __future__ import annotations

from typing import Annotated

import typer


def health(
    port: Annotated[int, typer.Option("--port", help="Where the process serves metrics.")] = 9108,
    host: Annotated[str, typer.Option("--host", help="On which address.")] = "127.0.0.1",
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = 5.0,
) -> None:
    """Ask a daemon, signer or watcher whether it answers and its loops get anywhere.

    Exit code 0: it does; 1: it does not, with the reason.

    Example: aml health --port 9110
    """
    from relayer.health import ask

    answer = ask(host, port, timeout_s)
    typer.echo(answer.said, err=not answer.well)
    if not answer.well:
        raise typer.Exit(1)
