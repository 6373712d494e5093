"""`aml explain`: why a decision came out as it did, in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import POSTED, Posted, grouped

if TYPE_CHECKING:
    from agent.proof.explain import Told


@grouped
def explain(
    what: Annotated[str, typer.Argument(metavar="ROUND|TX", help="A round or a transaction.")],
    market: Annotated[
        str | None, typer.Option("--market", help="Only this market, by its symbol.")
    ] = None,
    posted: Posted = POSTED,
) -> None:
    """Say what a decision changed for each market, why, and by which features.

    Reads the evidence as it was signed; whether it reproduces is for `aml verify` to say.

    Example: aml explain 12 --market BTC
    """
    import asyncio

    from agent.cli.setup import require_world
    from agent.proof.acting import explain_acted
    from agent.proof.explain import moment
    from agent.proof.explaining import explain_posted
    from agent.quoting.inputs import market as found

    prepared = require_world(posted.network, posted.state, keys=False)
    symbols = {each.market: each.symbol for each in prepared.network.markets}
    only = None if market is None else symbols[found(market, symbols)]
    folder = posted.evidence or prepared.network.evidence
    acted = asyncio.run(explain_acted(prepared.network, what, folder))
    if acted is not None:
        decided = moment(acted.posted.message.observed_at_ms)
        where = f"decided at {decided}, in block {acted.posted.block_number}"
        _json(where, [acted.told]) if posted.as_json else _tell(acted.told, where)
        return
    asked = explain_posted(prepared.network, what, price=posted.price, evidence=folder)
    explained = asyncio.run(asked)
    there = explained.posted
    where = (
        f"{there.event.kind} round {there.message.round}, decided at "
        f"{moment(there.message.observed_at_ms)}, in block {there.block_number}"
    )
    shown = [told for told in explained.markets if only in (None, told.symbol)]
    if posted.as_json:
        _json(where, shown)
        return
    typer.echo(where)
    for told in shown:
        _tell(told)


def _json(where: str, told: list[Told]) -> None:
    import json
    from dataclasses import asdict

    typer.echo(json.dumps({"what": where, "markets": [asdict(each) for each in told]}, indent=1))


def _tell(told: Told, where: str = "") -> None:
    typer.echo(f"{told.symbol:<8} {told.headline}")
    for sentence in told.because:
        typer.echo(f"         - {sentence}")
    if where:
        typer.echo(f"         - {where}")
