"""What every owner's command does at its end: write the Safe's files, and say what applies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from agent.cli.options import Written
    from agent.cli.setup import Prepared
    from agent.owner.acts import Calls
    from agent.owner.authority import Office
    from agent.owner.batches import Ready
    from contracts.units import MarketId


def batches(
    name: str,
    written: Written,
    build: Callable[[Office, Prepared], Awaitable[Calls]],
    owner: Callable[[Office], str] | None = None,
) -> None:
    """Work out the calls of an act and write them as files; none of ours signs them."""
    import asyncio

    from agent.cli.setup import require_world
    from agent.owner.authority import open_office
    from agent.owner.batches import prepare, save

    prepared = require_world(written.network, written.state, keys=False)

    async def ready() -> tuple[Ready, ...]:
        async with open_office(prepared.network) as office:
            calls = await build(office, prepared)
            by = None if owner is None else owner(office)
            return await prepare(office, name, calls, by) if calls else ()

    found = asyncio.run(ready())
    if not found:
        typer.echo("{}" if written.as_json else "nothing to do: the contracts have it so already")
        return
    files = save(name, found, written.out or prepared.network.state / "safe")
    if written.as_json:
        _json(found, files)
    else:
        _show(found, files)


def _show(found: tuple[Ready, ...], files: tuple[Path, ...]) -> None:
    typer.echo(f"owner       {found[0].owner}")
    for ready, file in zip(found, files, strict=True):
        typer.echo(f"{ready.step.name:<11} {file}")
        typer.echo(f"            {ready.when}")
        for call in ready.step.calls:
            typer.echo(f"            - {call}")
        for said, reason in ready.refused.items():
            typer.echo(f"            WOULD BE REFUSED NOW: {said}: {reason}")
    typer.echo("Import each in the Safe's Transaction Builder; compare with: aml owner show FILE")


def _json(found: tuple[Ready, ...], files: tuple[Path, ...]) -> None:
    import json

    from agent.owner.safe import tables

    body: Mapping[str, Any] = {
        "owner": found[0].owner,
        "batches": [
            {
                "name": ready.step.name,
                "file": str(file),
                "when": ready.when,
                "not_before_s": ready.step.not_before_s,
                "after_s": ready.step.after_s,
                "until_s": ready.step.until_s,
                "calls": tables(ready.step.calls),
                "refused": ready.refused,
            }
            for ready, file in zip(found, files, strict=True)
        ],
    }
    typer.echo(json.dumps(body, indent=1))


def symbols_of(office: Office) -> dict[MarketId, str]:
    """Name the deployment's markets."""
    return {each.market: each.symbol for each in office.deployment.markets}
