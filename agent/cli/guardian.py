"""`aml halt`, `freeze`, `revert`: the guardian's, signed and sent at once, and read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import SENT, ForOption, Sent, grouped

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.owner.authority import Office
    from agent.owner.guarding import Act, Done

EXIT_REFUSED = 1


@grouped
def halt(
    what: Annotated[str, typer.Argument(metavar="SCOPE|MARKET", help="What to stop.")],
    duration: ForOption = "1h",
    reduce_only: Annotated[
        bool, typer.Option("--reduce-only", help="Of a market only new positions.")
    ] = False,
    sent: Sent = SENT,
) -> None:
    """Stop something at once, for at most a day: it ends by itself, or by the owner's resume.

    Scopes: new-risk, ai-input, withdrawals, liquidation, everything; or a market by its symbol,
    where closing stops as well. The guardian must then leave it alone for as long as it lasted.
    Exit code 0: it holds, read back; 1: refused or not there.

    Example: aml halt new-risk --for 2h
    """
    from agent.cli.batches import symbols_of
    from agent.errors import ConfigError
    from agent.owner import acts, guarding, words
    from contracts.halts import DecisionKind, PauseScope

    def act(office: Office) -> Act:
        symbols, seconds = symbols_of(office), words.seconds(duration)
        meant = words.what(what, symbols, {**acts.SCOPES})
        assert not isinstance(meant, DecisionKind)
        if isinstance(meant, PauseScope):
            if reduce_only:
                raise ConfigError("--reduce-only: is of a market; for all of them: new-risk")
            return guarding.halt_scope(office.owned, meant, seconds)
        if reduce_only:
            oracle = office.state.oracle
            return guarding.limit_market(office.owned, oracle, meant, symbols[meant], seconds)
        return guarding.halt_market(office.owned, meant, symbols[meant], seconds)

    _act(act, sent)


@grouped
def freeze(
    what: Annotated[str, typer.Argument(metavar="MARKET|KIND", help="What to freeze.")],
    sent: Sent = SENT,
) -> None:
    """Let a market's values stand, or refuse one kind of signed decision, until the owner ends it.

    Kinds: risk-update, position-terms, adjust, deleverage, liquidate. Beware: profit in a frozen
    market carries nothing, and after 300 s cross accounts that live on it can be liquidated.

    Example: aml freeze adjust
    """
    from agent.cli.batches import symbols_of
    from agent.owner import acts, guarding, words
    from contracts.halts import DecisionKind, PauseScope

    def act(office: Office) -> Act:
        symbols = symbols_of(office)
        meant = words.what(what, symbols, {**acts.KINDS})
        assert not isinstance(meant, PauseScope)
        if isinstance(meant, DecisionKind):
            return guarding.freeze_kind(office.owned, meant)
        return guarding.freeze_market(office.owned, meant, symbols[meant])

    _act(act, sent)


@grouped
def revert(
    market: Annotated[str, typer.Argument(help="A market's symbol.")],
    sent: Sent = SENT,
) -> None:
    """Undo a market's last accepted change of parameters, toward safety only, within a day of it.

    Example: aml revert BTC
    """
    from agent.cli.batches import symbols_of
    from agent.owner import guarding
    from agent.quoting.inputs import market as found

    def act(office: Office) -> Act:
        symbols = symbols_of(office)
        number = found(market, symbols)
        return guarding.revert_market(office.owned, number, symbols[number])

    _act(act, sent)


def _act(
    act: Callable[[Office], Act],
    sent: Sent,
) -> None:
    """Try or carry out one act, and say what the contract has now."""
    import asyncio

    from agent.cli.setup import require_world
    from agent.owner.authority import open_office
    from agent.owner.guarding import carry_out, guardian_key, try_act

    prepared = require_world(sent.network, sent.state, keys=False)
    network = prepared.network
    key = None if sent.dry_run else guardian_key(network, prepared.settings, sent.key)

    async def done() -> Done:
        async with open_office(network) as office:
            wanted = act(office)
            if key is None:
                return await try_act(office, wanted, None)
            return await carry_out(office, wanted, key)

    _show(asyncio.run(done()), sent.as_json)


def _show(done: Done, as_json: bool) -> None:
    import json

    call = done.act.call
    if as_json:
        body = {
            "call": str(call),
            "to": call.address,
            "data": "0x" + call.payload.hex(),
            "by": done.by,
            "does": done.act.does,
            "refused": done.refused,
            "transaction": done.transaction,
            "block": done.block_number,
            "lasts": done.lasts,
            "holds": done.holds,
        }
        typer.echo(json.dumps(body, indent=1))
    else:
        typer.echo(f"{call}, by {done.by}")
        typer.echo(f"  {done.act.does}")
        typer.echo(f"  {_outcome(done)}")
    if not done.holds:
        raise typer.Exit(EXIT_REFUSED)


def _outcome(done: Done) -> str:
    if done.refused is not None:
        return f"REFUSED, nothing sent: {done.refused}"
    if done.transaction is None:
        return "dry run: the contract would take it; nothing sent"
    if done.lasts is None:
        return f"MINED in {done.transaction}, BUT THE CONTRACT DOES NOT SHOW IT: call it again"
    return f"in force, read back at block {done.block_number}: {done.lasts}"
