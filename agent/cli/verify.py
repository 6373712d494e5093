"""`aml verify`: whether a decision on chain reproduces from its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.local import DEFAULT_STATE, StateOption
from agent.cli.run import NetworkOption

if TYPE_CHECKING:
    from agent.proof.acting import ActionReport
    from agent.proof.terms import TermsReport
    from agent.proof.verifying import Report

EXIT_DIFFERS = 1


def verify(
    what: Annotated[str, typer.Argument(metavar="ROUND|TX|HASH", help="A round, a transaction.")],
    network: NetworkOption = "local",
    state: StateOption = DEFAULT_STATE,
    price: Annotated[
        bool, typer.Option("--price", help="The round is one of the price feed.")
    ] = False,
    terms: Annotated[
        bool, typer.Option("--terms", help="A position's terms, by the hash of their evidence.")
    ] = False,
    evidence: Annotated[
        Path | None, typer.Option("--evidence", help="Folder of the evidence, if elsewhere.")
    ] = None,
) -> None:
    """Fetch a decision from the chain, recompute it from its evidence, compare field by field.

    Exit code 0: it reproduces; 1: it does not, and each field that differs is named.

    Example: aml verify 12
    """
    import asyncio

    from agent.cli.setup import require_world
    from agent.proof.acting import verify_acted
    from agent.proof.terms import verify_kept
    from agent.proof.verifying import verify_posted

    prepared = require_world(network, state)
    folder = evidence or prepared.network.evidence
    if terms:
        kept = verify_kept(prepared.settings, evidence_hash(what), folder)
        show_terms(kept)
        raise typer.Exit(0 if kept.reproduces else EXIT_DIFFERS)
    acted = asyncio.run(verify_acted(prepared.network, prepared.settings, what, folder))
    if acted is not None:
        show_action(acted)
        raise typer.Exit(0 if acted.reproduces else EXIT_DIFFERS)
    report = asyncio.run(
        verify_posted(prepared.network, prepared.settings, what, price=price, evidence=folder)
    )
    show(report)
    if not report.reproduces:
        raise typer.Exit(EXIT_DIFFERS)


def evidence_hash(what: str) -> bytes:
    """Read the hash of terms' evidence."""
    import re

    from agent.errors import ConfigError

    if not re.fullmatch(r"(0x)?[0-9a-fA-F]{64}", what):
        raise ConfigError(f"{what!r} is no hash of evidence: 64 hexadecimal digits")
    return bytes.fromhex(what.removeprefix("0x"))


def show_terms(report: TermsReport) -> None:
    """Print the terms and what differs."""
    from agent.proof.terms import lines_of

    for line in lines_of(report):
        typer.echo(line)
    _verdict(report)


def show(report: Report) -> None:
    """Print what was looked at and what differs."""
    posted = report.posted
    typer.echo(f"{posted.event.kind} round {posted.message.round} in block {posted.block_number}")
    typer.echo(f"transaction   0x{posted.tx_hash.hex()}")
    typer.echo(f"message hash  0x{posted.event.message_hash.hex()}")
    typer.echo(f"evidence      {posted.message.evidence_hash.hex()}")
    typer.echo(
        f"items         {len(posted.message.words)} words, {len(posted.event.skipped)} skipped"
    )
    for skipped in posted.event.skipped:
        typer.echo(f"  skipped     market {skipped.market}: {skipped.reason}")
    _verdict(report)


def show_action(report: ActionReport) -> None:
    """Print which action was looked at and what differs."""
    posted = report.posted
    kind = posted.message.kind.name.lower()
    typer.echo(f"{kind} of position 0x{posted.message.position_id:046x}")
    typer.echo(f"transaction   0x{posted.tx_hash.hex()} in block {posted.block_number}")
    if posted.event is not None:
        typer.echo(f"message hash  0x{posted.event.message_hash.hex()}")
    typer.echo(f"evidence      {posted.message.evidence_hash.hex()}")
    _verdict(report)


def _verdict(report: Report | ActionReport | TermsReport) -> None:
    for line in report.broken:
        typer.echo(f"EVIDENCE CHANGED  {line}")
    for difference in report.differences:
        typer.echo(f"DIFFERS  {difference.field}")
        typer.echo(f"         recorded    {difference.recorded}")
        typer.echo(f"         recomputed  {difference.recomputed}")
    verdict = "reproduces: every field is the same" if report.reproduces else "does NOT reproduce"
    typer.echo(verdict)
