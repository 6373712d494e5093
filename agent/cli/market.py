"""`aml market`: add, wind down and end markets; the owner's, so each is a file for its Safe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import WRITTEN, ForOption, Written, grouped

if TYPE_CHECKING:
    from agent.cli.setup import Prepared
    from agent.config import DeploymentSettings
    from agent.owner.acts import Calls
    from agent.owner.authority import Office

app = typer.Typer(
    name="market",
    help="Markets: add, take no new positions, settle. Writes Safe batches; signs nothing.",
    no_args_is_help=True,
)
SymbolArgument = Annotated[str, typer.Argument(help="A market's symbol.")]


@app.command("add")
@grouped
def add(
    symbol: SymbolArgument,
    written: Written,
) -> None:
    """Add the next [[markets]] table to feed, oracle and engine, with its class's first values.

    Timelocked. It starts expired: nothing opens before the first signed update. Once the contracts
    have it, the command writes it into the deployment file, which each process needs a copy of.

    Example: aml market add SOL --network mine.toml
    """
    from agent.cli.batches import batches
    from agent.owner import acts
    from agent.owner.adding import with_added
    from agent.quoting.inputs import market as found
    from relayer.chain import deployments

    async def build(office: Office, prepared: Prepared) -> Calls:
        markets = {each.market: each for each in prepared.network.markets}
        wanted = found(symbol, {number: each.symbol for number, each in markets.items()})
        count = len(office.state.oracle.markets)
        grown = with_added(office.deployment, office.state, markets[wanted])
        if grown is not None:
            deployments.write(grown, prepared.network.deployment_file)
            typer.echo(f"written to {prepared.network.deployment_file}: market {wanted}", err=True)
            return ()
        return acts.add_market(office.owned, markets[wanted], count, planned(prepared))

    batches(f"market-add-{symbol.upper()}", written, build)


@app.command("reduce-only")
@grouped
def reduce_only(
    symbol: SymbolArgument,
    duration: ForOption = "30d",
    written: Written = WRITTEN,
) -> None:
    """Take no new positions in a market, from execution on; closing goes on. At once.

    Example: aml market reduce-only DOGE --for 14d
    """
    from agent.cli.batches import batches, symbols_of
    from agent.owner import acts, words
    from agent.quoting.inputs import market as found

    async def build(office: Office, _: Prepared) -> Calls:
        number, seconds = found(symbol, symbols_of(office)), words.seconds(duration)
        return acts.reduce_only(office.owned, office.state.oracle, number, seconds)

    batches(f"market-reduce-only-{symbol.upper()}", written, build)


@app.command("settle")
@grouped
def settle(
    symbol: SymbolArgument,
    written: Written,
) -> None:
    """End a market for ever at the feed's last good price, a day after that price or later.

    Timelocked, and it cannot be taken back once it is executed. Stop its prices first.

    Example: aml market settle LUNA --network mine.toml
    """
    from agent.cli.batches import batches, symbols_of
    from agent.owner import acts
    from agent.quoting.inputs import market as found

    async def build(office: Office, _: Prepared) -> Calls:
        return acts.settle(office.owned, found(symbol, symbols_of(office)))

    batches(f"market-settle-{symbol.upper()}", written, build)


def planned(prepared: Prepared) -> DeploymentSettings:
    """Give the configuration's [deployment], which new values come from."""
    from agent.errors import ConfigError

    found = prepared.settings.deployment
    if found is None:
        raise ConfigError("[deployment]: is required: the limits of each class stand there")
    return found
