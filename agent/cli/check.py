"""`aml check`: the operator's self-test, each fault with what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.local import DEFAULT_STATE, StateOption
from agent.cli.run import NetworkOption

if TYPE_CHECKING:
    from agent.checks.findings import Finding

EXIT_FAULTS = 1


def check(
    network: NetworkOption = "local",
    state: StateOption = DEFAULT_STATE,
    venues: Annotated[
        bool, typer.Option("--venues", help="Ask each venue for quotes as well.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Look at file, keys, model, disk, database, endpoint, clock, contracts, limits and signers.

    Changes nothing and sends nothing. Exit code 0: all is well, though there may be warnings;
    1: something is wrong or could not be looked at.

    Example: aml check --network mine.toml --venues
    """
    import asyncio
    import json
    from dataclasses import asdict

    from agent.checks.examine import examine
    from agent.checks.findings import is_well

    findings = asyncio.run(examine(network, state, venues=venues))
    if as_json:
        body = {"well": is_well(findings), "findings": [asdict(each) for each in findings]}
        typer.echo(json.dumps(body, indent=1))
    else:
        _show(findings)
    if not is_well(findings):
        raise typer.Exit(EXIT_FAULTS)


def _show(findings: tuple[Finding, ...]) -> None:
    for each in findings:
        typer.echo(f"{each.grade.value:<8} {each.part:<10} {each.says}")
        if each.mend:
            typer.echo(f"{'':<19} mend: {each.mend}")
    counts = {grade: sum(f.grade == grade for f in findings) for grade in ("fault", "warning")}
    typer.echo(f"{counts['fault']} faults, {counts['warning']} warnings")
