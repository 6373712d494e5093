"""`aml local`: the embedded chain, the exchanges and their one clock."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(help="The embedded chain, exchanges and clock.", no_args_is_help=True)

DEFAULT_STATE = Path(".aml/local")
StateOption = Annotated[
    Path, typer.Option("--state", help="Folder of the local world.", envvar="AML_STATE")
]
ReplayOption = Annotated[
    Path | None,
    typer.Option("--replay", help="Candle file to play (parquet: symbol, ts, open ... volume)."),
]
FromOption = Annotated[
    str | None, typer.Option("--from", help="Where play starts, e.g. 2025-05-20T00:00:00.")
]
SpeedOption = Annotated[
    float | None,
    typer.Option("--speed", min=0.0, help="Clock seconds a wall second, at most; 1 if not given."),
]
ScenarioOption = Annotated[
    Path | None,
    typer.Option("--scenario", help="File of what the exchanges do wrong (config/scenarios)."),
]

NowOption = Annotated[
    bool,
    typer.Option("--now", help="Made-up candles at the wall's time, for a chain of your own."),
]


@app.command("up", epilog="Example: aml local up --replay candles.parquet --speed 60")
def up(
    state: StateOption = DEFAULT_STATE,
    replay: ReplayOption = None,
    start_at: FromOption = None,
    speed: SpeedOption = None,
    scenario: ScenarioOption = None,
    now: NowOption = False,
) -> None:
    """Start the local world; it outlives this command."""
    from relayer.local import client

    if now and (replay or start_at or speed or scenario):
        raise typer.BadParameter("--now plays candles of our own at the wall's time, and no others")
    start: datetime | Literal["now"] | None = "now" if now else moment(start_at)
    world = client.start(
        state, replay=replay, start_at=start, speed=speed or 1.0, scenario=scenario
    )
    typer.echo(f"chain      {world.rpc_url} (chain id {world.chain_id})")
    for venue in world.venues:
        typer.echo(f"venue      {venue.id} speaks {venue.ccxt_class} at {venue.url}")
    source = f"{world.source}{', synthetic' if world.synthetic else ''}"
    typer.echo(f"plays      {source}: {len(world.markets)} markets from {stamp(world.origin_ms)}")
    if scenario is not None:
        typer.echo(f"scenario   {scenario}")
    typer.echo(f"process    {world.pid}; stop it with: aml local down --state {state}")


@app.command("down", epilog="Example: aml local down")
def down(state: StateOption = DEFAULT_STATE) -> None:
    """Stop the local world."""
    from relayer.local import client

    stopped = client.stop(state)
    typer.echo("stopped" if stopped else f"no local world runs in {state}; nothing to stop")


@app.command("status", epilog="Example: aml local status")
def status(state: StateOption = DEFAULT_STATE) -> None:
    """Say where the local world is and what its clock shows."""
    from relayer.local import client

    found = client.status(state)
    standing = ", standing still" if found.held else ""
    typer.echo(f"clock      {stamp(found.now_ms)} at {found.state.speed:g}x{standing}")
    typer.echo(f"chain      {found.state.rpc_url} (chain id {found.state.chain_id})")
    typer.echo(f"markets    {', '.join(market.symbol for market in found.state.markets)}")
    for fault in client.faults(found.state):
        market = fault["symbol"] or "all markets"
        typer.echo(f"misbehaves venue {fault['venue']}: {fault['mode']}, {market}")
    typer.echo(f"process    {found.state.pid}")


@app.command("exchanges", epilog="Example: aml local exchanges > exchanges-here.toml")
def exchanges(
    state: StateOption = DEFAULT_STATE,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="A market to leave out; repeatable.")
    ] = None,
) -> None:
    """Write the running exchanges as [[venues]] and [[markets]] tables, for a file of your own."""
    from agent.local_tables import tables_of
    from relayer.local import client

    typer.echo(tables_of(client.status(state).state, without or ()), nl=False)


@app.command("scenario", epilog="Example: aml local scenario config/scenarios/outage.toml")
def scenario(
    file: Annotated[Path, typer.Argument(help="What the exchanges do wrong from now on.")],
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Let the exchanges of the running world misbehave."""
    from relayer.local import client

    found = client.status(state)
    steps = client.play_scenario(found.state, file)
    typer.echo(f"{steps} steps from {stamp(found.now_ms)}")


def moment(text: str | None) -> datetime | None:
    """Read a time as typed; without a zone it is UTC."""
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; write 2025-05-20T00:00:00") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def stamp(at_ms: int) -> str:
    """Write a time of the clock."""
    return datetime.fromtimestamp(at_ms / 1_000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
