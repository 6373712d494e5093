"""`aml limits`: what may be decided now, how far, when next, as planned or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.local import DEFAULT_STATE, StateOption
from agent.cli.run import NetworkOption

if TYPE_CHECKING:
    from agent.proof.limits import MarketLimits
    from agent.proof.limits_reading import LimitsReport

EXIT_DIFFERS = 1


def limits(
    network: NetworkOption = "local",
    state: StateOption = DEFAULT_STATE,
    as_json: Annotated[bool, typer.Option("--json", help="As the HTTP interface answers.")] = False,
) -> None:
    """Show the kinds of decision that are live, each market's bounds and head-room, and pauses.

    Exit code 0: the contracts are configured as the file says; 1: they are not, and each
    difference is named.

    Example: aml limits --network local
    """
    import asyncio

    from agent.cli.setup import require_world
    from agent.proof.limits_reading import read_limits

    prepared = require_world(network, state)
    report = asyncio.run(read_limits(prepared.network, prepared.settings))
    if as_json:
        typer.echo(report.answer.model_dump_json(indent=1))
    else:
        _show(report)
    for difference in report.differences:
        typer.echo(f"DIFFERS from the file: {difference}", err=as_json)
    if report.differences:
        raise typer.Exit(EXIT_DIFFERS)


def _show(report: LimitsReport) -> None:
    """Print the report as a person reads it."""
    now_s = report.limits.now_s
    typer.echo(f"block {report.answer.block_number}, {report.at}")
    for kind, refusal in report.limits.decisions.items():
        said = "live" if refusal is None else f"refused: {refusal.name}"
        typer.echo(f"decision  {kind.replace('_', ' '):<16} {said}")
    for scope, until_s in report.limits.paused_until_s.items():
        typer.echo(f"paused    {scope.replace('_', ' '):<16} for {until_s - now_s} s more")
    header = ("market", "cap", "bounds", "tighter to", "looser to", "in s", "drift left",
              "maint.", "expires s", "state")  # fmt: skip
    rows = [header, *(_row(report.symbols[each.market], each, now_s) for each in
                      report.limits.markets)]  # fmt: skip
    widths = [max(len(row[index]) for row in rows) for index in range(len(header))]
    typer.echo("")
    for row in rows:
        typer.echo("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    if not report.differences:
        typer.echo("\nthe contracts are configured as the file says")


def _row(symbol: str, market: MarketLimits, now_s: int) -> tuple[str, ...]:
    from agent.standing import left

    bounds = market.bounds
    ramp = "" if market.ramp_ends_s is None else f" ramping, {market.ramp_ends_s - now_s} s"
    return (
        symbol,
        f"{market.cap_e2 / 100:.2f}x",
        f"{bounds.min_cap_e2 / 100:g}-{bounds.max_cap_e2 / 100:g}x",
        f"{market.tighter_to_e2 / 100:.2f}x",
        f"{market.looser_to_e2 / 100:.2f}x",
        str(market.looser_at_s - now_s),
        f"{market.drift_left_ppm / 10_000:.1f}%",
        f"{market.maintenance_ppm / 10_000:.3f}%",
        left(None if market.expires_at_s is None else market.expires_at_s - now_s),
        (market.why_not or "live") + ramp,
    )
