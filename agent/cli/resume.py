"""`aml resume`: end what was stopped; the owner's, so it is a file for its Safe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import WRITTEN, Written, grouped

if TYPE_CHECKING:
    from agent.cli.setup import Prepared
    from agent.owner.acts import Calls
    from agent.owner.authority import Office


@grouped
def resume(
    what: Annotated[
        str | None,
        typer.Argument(metavar="[SCOPE|KIND|MARKET]", help="All that is stopped, if not given."),
    ] = None,
    written: Written = WRITTEN,
) -> None:
    """Write the Safe batch that ends a pause, a freeze, a limit or a disabled kind, at once.

    Scopes: new-risk, ai-input, withdrawals, liquidation, everything. Kinds: risk-update,
    position-terms, adjust, deleverage, liquidate. A market: all that stops it.

    Example: aml resume new-risk --network mine.toml
    """
    from agent.cli.batches import batches, symbols_of
    from agent.owner import acts, words
    from contracts.halts import DecisionKind, PauseScope

    async def build(office: Office, _: Prepared) -> Calls:
        oracle = office.state.oracle
        if what is None:
            return acts.resume_everything(office.owned, oracle, office.now_s)
        meant = words.what(what, symbols_of(office), words.scope_or_kind())
        if isinstance(meant, PauseScope):
            return acts.resume_scope(office.owned, meant)
        if isinstance(meant, DecisionKind):
            return acts.enable_kind(office.owned, meant)
        return acts.resume_market(office.owned, oracle, meant, office.now_s)

    batches(f"resume-{what or 'all'}".lower(), written, build)
