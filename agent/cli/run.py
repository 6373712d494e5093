"""`aml run`: the daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.local import DEFAULT_STATE, FromOption, ReplayOption, SpeedOption, StateOption

NetworkOption = Annotated[
    str,
    typer.Option(
        "--network",
        help="A network of ours (local), or the path of its TOML file.",
        envvar="AML_NETWORK",
    ),
]

CyclesOption = Annotated[
    int | None, typer.Option("--cycles", min=1, help="End after so many risk cycles.")
]


def run(
    network: NetworkOption = "local",
    state: StateOption = DEFAULT_STATE,
    replay: ReplayOption = None,
    start_at: FromOption = None,
    speed: SpeedOption = None,
    cycles: CyclesOption = None,
) -> None:
    """Run the daemon: prices every tick, parameters every cycle, until SIGTERM.

    On the local network the local world and the contracts are started when absent. Of daemons that
    share a PostgreSQL ([storage]) one leads; the others stand by (docs/high-availability.md).

    Example: aml run --network local --replay candles.parquet --speed 600 --cycles 20
    """
    import asyncio

    from agent.cli.session import run_daemon
    from agent.cli.setup import prepare

    prepared = prepare(network, state, replay=replay, start_at=start_at, speed=speed)
    asyncio.run(run_daemon(prepared, cycles))
