"""`aml venues`: what each exchange can give, how it does now, and how far it is from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.local import DEFAULT_STATE, StateOption
from agent.cli.options import JsonOption
from agent.cli.run import NetworkOption

if TYPE_CHECKING:
    from agent.venue_report import VenueReport

FollowOption = Annotated[
    float, typer.Option("--follow", help="Seconds to follow the streams before looking.", min=0)
]
BooksOption = Annotated[
    bool, typer.Option("--books", help="Ask for a book of each market too, one call a market.")
]


def venues(
    network: NetworkOption = "local",
    state: StateOption = DEFAULT_STATE,
    follow: FollowOption = 0.0,
    books: BooksOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the configured exchanges: capabilities, health, weight and disagreement.

    Exit code 0: every venue answered and every market has a mark; 1: not so.

    Example: aml venues --network local
    """
    import asyncio

    from agent.cli.setup import require_world
    from agent.venue_report import report_venues

    prepared = require_world(network, state)
    report = asyncio.run(
        report_venues(prepared.network, prepared.settings.marks, follow, books=books)
    )
    if as_json:
        _json(report)
    else:
        _show(report)
    if not report.sound:
        raise typer.Exit(1)


def _json(report: VenueReport) -> None:
    """Print each table as rows by its header's names."""
    import json

    tables = {
        name: [dict(zip(["name", *table[0][1:]], row, strict=True)) for row in table[1:]]
        for name in ("capabilities", "health", "disagreement", "books")
        if (table := getattr(report, name))
    }
    body = {"sound": report.sound, "notices": report.notices, **tables}
    typer.echo(json.dumps(body, indent=1))


def _show(report: VenueReport) -> None:
    _print("what each gives, by REST call and by websocket stream", report.capabilities)
    _print("how each does now", report.health)
    _print("distance of each from the mark, in ppm, after conversion to USDC", report.disagreement)
    if report.books:
        _print("one book of each market, in its quote currency", report.books)
    for notice in report.notices:
        typer.echo(notice)


def _print(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print a table, its first column to the left."""
    typer.echo(f"{title}:")
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        typer.echo("  " + "  ".join([first.ljust(widths[0]), *cells]))
    typer.echo("")
