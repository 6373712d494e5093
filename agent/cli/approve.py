"""`aml approve`: what the impact budget holds back, and releasing one of it."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import PLACE, JsonOption, Place, grouped

if TYPE_CHECKING:
    from agent.cli.setup import Prepared
    from relayer.held import HeldDecision

EXIT_WAITING = 1
SHOWN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Who releases, and why."""

    why: Annotated[str, typer.Option("--why", help="The reason, for the journal.")] = ""
    by: Annotated[
        str | None, typer.Option("--by", help="Who approves; the user's name if not given.")
    ] = None


NOBODY = Release()


@grouped
def approve(
    number: Annotated[
        int | None, typer.Argument(metavar="[ID]", help="The number of a held decision.")
    ] = None,
    release: Release = NOBODY,
    listed: Annotated[
        bool, typer.Option("--list", help="Show what waits, and the newest of what is over.")
    ] = False,
    as_json: JsonOption = False,
    signer: Annotated[
        int | None, typer.Option("--signer", help="At this signer of this host, not the daemon.")
    ] = None,
    place: Place = PLACE,
) -> None:
    """Release a decision that the impact budget holds; the daemon posts it in its next cycle.

    It is released as it was held: this market, these values, until it expires. It is void when the
    live values have changed, when its impact has grown, or when less is wanted by then. A signer
    process counts for itself: what it refused is approved at it as well, with --signer.

    Exit code 0: approved, or with --list nothing waits; 1: refused, or something waits.

    Example: aml approve 12 --why "traders were warned yesterday"
    """
    import asyncio

    from agent.cli.setup import require_world
    from agent.errors import ConfigError

    prepared = require_world(place.network, place.state, keys=False)
    if listed or number is None:
        rows, now_ms = asyncio.run(_rows(prepared, signer))
        _show(rows, now_ms, as_json=as_json)
        if any(row.state == "awaiting" for row in rows):
            raise typer.Exit(EXIT_WAITING)
        return
    who = (release.by or getpass.getuser(), release.why)
    done = asyncio.run(_approved(prepared, signer, number, who))
    if isinstance(done, str):
        raise ConfigError(done)
    if as_json:
        typer.echo(_json([done]))
        return
    typer.echo(f"approved number {done.number} for {done.symbol}: {done.detail}")
    then = "the daemon posts it in its next cycle" if signer is None else "the signer signs it"
    typer.echo(f"{then}, if the world is still the same")


async def _rows(prepared: Prepared, signer: int | None) -> tuple[tuple[HeldDecision, ...], int]:
    """Read what was held, newest first, and the clock."""
    from contextlib import AsyncExitStack

    from agent.held import open_held

    async with AsyncExitStack() as stack:
        held = await open_held(prepared.network, prepared.settings, stack, signer)
        return await held.recent(SHOWN), await prepared.network.clock.now_ms()


async def _approved(
    prepared: Prepared, signer: int | None, number: int, who: tuple[str, str]
) -> HeldDecision | str:
    from contextlib import AsyncExitStack

    from agent.held import open_held

    async with AsyncExitStack() as stack:
        held = await open_held(prepared.network, prepared.settings, stack, signer)
        return await held.approve(number, *who, await prepared.network.clock.now_ms())


def _show(rows: tuple[HeldDecision, ...], now_ms: int, *, as_json: bool) -> None:
    """Print held decisions as a person reads them."""
    if as_json:
        typer.echo(_json(rows))
        return
    if not rows:
        typer.echo("nothing was ever held")
    for row in rows:
        left_s = (row.expires_at_ms - now_ms) // 1_000
        said = f"expires in {left_s} s" if row.state in {"awaiting", "approved"} else row.reason
        who = f" by {row.decided_by}" if row.decided_by else ""
        typer.echo(f"{row.number:>5}  {row.symbol:<8} {row.state}{who}; {said}")
        typer.echo(f"       {row.detail}")
        if row.why:
            typer.echo(f"       why: {row.why}")


def _json(rows: tuple[HeldDecision, ...] | list[HeldDecision]) -> str:
    """Write rows as JSON; words in hexadecimal."""
    import json
    from dataclasses import asdict

    bodies = [
        {**asdict(row), "word": hex(row.word), "live": hex(row.live), "impact": dict(row.impact)}
        for row in rows
    ]
    return json.dumps(bodies, indent=1)
