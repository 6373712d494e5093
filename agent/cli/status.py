"""`aml status`: one screen of what is on chain."""

from __future__ import annotations

import typer

from agent.cli.local import DEFAULT_STATE, StateOption
from agent.cli.run import NetworkOption


def status(network: NetworkOption = "local", state: StateOption = DEFAULT_STATE) -> None:
    """Show what the contracts hold: rounds, prices, caps, and how old they are.

    Exit code 0: every market may take new risk; 1: some may not.

    Example: aml status --network local
    """
    import asyncio

    from agent.cli.setup import require_world
    from agent.standing import read_standing

    prepared = require_world(network, state)
    standing = asyncio.run(read_standing(prepared.network))
    typer.echo(f"chain {standing.chain_id}, block {standing.block_number}, {standing.at}")
    typer.echo(f"PriceFeed  {standing.price_feed}  round {standing.feed_round}")
    typer.echo(f"RiskOracle {standing.risk_oracle}  round {standing.oracle_round}")
    typer.echo("")
    header = ("market", "price", "age s", "±ppm", "cap", "maint.", "OI cap", "expires s", "state")
    rows = [header, *(market.row() for market in standing.markets)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(header))]
    for row in rows:
        typer.echo("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    if not all(market.opens for market in standing.markets):
        raise typer.Exit(1)
