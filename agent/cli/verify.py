"""`aml verify`: whether a decision on chain reproduces from its evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import POSTED, Posted, grouped

if TYPE_CHECKING:
    from agent.proof.acting import ActionReport
    from agent.proof.terms import TermsReport
    from agent.proof.verifying import Report

EXIT_DIFFERS = 1


@grouped
def verify(
    what: Annotated[str, typer.Argument(metavar="ROUND|TX|HASH", help="A round, a transaction.")],
    terms: Annotated[
        bool, typer.Option("--terms", help="A position's terms, by the hash of their evidence.")
    ] = False,
    posted: Posted = POSTED,
) -> None:
    """Fetch a decision from the chain, recompute it from its evidence, compare field by field.

    Exit code 0: it reproduces; 1: it does not, and each field that differs is named.

    Example: aml verify 12
    """
    import asyncio

    from agent.cli.setup import require_world
    from agent.proof.acting import ActionReport, verify_acted
    from agent.proof.terms import TermsReport, verify_kept
    from agent.proof.verifying import verify_posted

    prepared = require_world(posted.network, posted.state, keys=False)
    network, settings = prepared.network, prepared.settings
    folder = posted.evidence or network.evidence
    report: Report | ActionReport | TermsReport | None
    if terms:
        report = verify_kept(settings, evidence_hash(what), folder)
    else:
        report = asyncio.run(verify_acted(network, settings, what, folder))
    if report is None:
        asked = verify_posted(network, settings, what, price=posted.price, evidence=folder)
        report = asyncio.run(asked)
    if posted.as_json:
        _json(report)
    elif isinstance(report, TermsReport):
        show_terms(report)
    elif isinstance(report, ActionReport):
        show_action(report)
    else:
        show(report)
    if not report.reproduces:
        raise typer.Exit(EXIT_DIFFERS)


def _json(report: Report | ActionReport | TermsReport) -> None:
    import json

    body = {
        "reproduces": report.reproduces,
        "broken": report.broken,
        "differences": [
            {
                "field": each.field,
                "recorded": str(each.recorded),
                "recomputed": str(each.recomputed),
            }
            for each in report.differences
        ],
    }
    typer.echo(json.dumps(body, indent=1))


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
