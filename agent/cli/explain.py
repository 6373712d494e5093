"""`aml explain`: why a decision came out as it did, in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.local import DEFAULT_STATE, StateOption
from agent.cli.run import NetworkOption

if TYPE_CHECKING:
    from agent.proof.explain import Told


def explain(
    what: Annotated[str, typer.Argument(metavar="ROUND|TX", help="A round or a transaction.")],
    network: NetworkOption = "local",
    state: StateOption = DEFAULT_STATE,
    price: Annotated[
        bool, typer.Option("--price", help="The round is one of the price feed.")
    ] = False,
    evidence: Annotated[
        Path | None, typer.Option("--evidence", help="Folder of the evidence, if elsewhere.")
    ] = None,
    market: Annotated[
        str | None, typer.Option("--market", help="Only this market, by its symbol.")
    ] = None,
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

    prepared = require_world(network, state)
    symbols = {each.market: each.symbol for each in prepared.network.markets}
    only = None if market is None else symbols[found(market, symbols)]
    folder = evidence or prepared.network.evidence
    acted = asyncio.run(explain_acted(prepared.network, what, folder))
    if acted is not None:
        decided = moment(acted.posted.message.observed_at_ms)
        _tell(acted.told, f"decided at {decided}, in block {acted.posted.block_number}")
        return
    explained = asyncio.run(explain_posted(prepared.network, what, price=price, evidence=folder))
    posted = explained.posted
    typer.echo(
        f"{posted.event.kind} round {posted.message.round}, decided at "
        f"{moment(posted.message.observed_at_ms)}, in block {posted.block_number}"
    )
    for told in explained.markets:
        if only in (None, told.symbol):
            _tell(told)


def _tell(told: Told, where: str = "") -> None:
    typer.echo(f"{told.symbol:<8} {told.headline}")
    for sentence in told.because:
        typer.echo(f"         - {sentence}")
    if where:
        typer.echo(f"         - {where}")
