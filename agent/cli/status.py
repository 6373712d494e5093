"""`aml status`: one screen that says whether all is well, and since when not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.local import DEFAULT_STATE, StateOption
from agent.cli.run import NetworkOption

if TYPE_CHECKING:
    from agent.cli.setup import Prepared
    from agent.standing import Standing
    from agent.wellbeing import Wellbeing

EXIT_NOT_WELL = 1


def status(
    network: NetworkOption = "local",
    state: StateOption = DEFAULT_STATE,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what the contracts hold, what the daemon did last, and since when something is wrong.

    Exit code 0: all is well, every market may take new risk; 1: something is not.

    Example: aml status --network local
    """
    import asyncio
    import json
    from dataclasses import asdict

    from agent.cli.setup import require_world

    prepared = require_world(network, state, keys=False)
    standing, found = asyncio.run(_look(prepared))
    if as_json:
        body = {"well": found.well, "since_s": found.since_s, **asdict(found), **asdict(standing)}
        typer.echo(json.dumps(body, indent=1))
    else:
        _show(standing, found)
    if not found.well:
        raise typer.Exit(EXIT_NOT_WELL)


async def _look(prepared: Prepared) -> tuple[Standing, Wellbeing]:
    from agent.standing import read_standing
    from agent.storing import database_url
    from agent.wellbeing import recent_turns, wellbeing
    from relayer.errors import RelayerError

    network, settings = prepared.network, prepared.settings
    standing = await read_standing(network)
    try:
        turns = await recent_turns(database_url(settings.storage, network.state))
    except RelayerError as fault:  # the contracts are what counts, and they were read
        return standing, wellbeing(standing, None, settings.cycle.every_s, f"unread: {fault}")
    return standing, wellbeing(standing, turns, settings.cycle.every_s)


def _show(standing: Standing, found: Wellbeing) -> None:
    from agent.wellbeing import moment

    if found.well:
        typer.echo("ALL WELL")
    else:
        since = "" if found.since_s is None else f", since {moment(found.since_s)}"
        typer.echo(f"NOT WELL{since}")
    for trouble in found.troubles:
        since = "" if trouble.since_s is None else f", since {moment(trouble.since_s)}"
        typer.echo(f"  {trouble.what}{since}")
    typer.echo(f"daemon     {found.journal}")
    typer.echo(f"chain {standing.chain_id}, block {standing.block_number}, {standing.at}")
    typer.echo(f"PriceFeed  {standing.price_feed}  round {standing.feed_round}")
    typer.echo(f"RiskOracle {standing.risk_oracle}  round {standing.oracle_round}")
    typer.echo("")
    header = ("market", "price", "age s", "±ppm", "cap", "maint.", "OI cap", "expires s", "state")
    rows = [header, *(market.row() for market in standing.markets)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(header))]
    for row in rows:
        typer.echo("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
