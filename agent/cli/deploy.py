"""`aml deploy`: the contracts, from the configuration, read back."""

from __future__ import annotations

import typer

from agent.cli.local import DEFAULT_STATE, StateOption
from agent.cli.run import NetworkOption


def deploy(
    network: NetworkOption = "local",
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Deploy all contracts, add the markets, launch, offer ownership, read everything back.

    Also writes the compiler's standard JSON of each, for verification by an explorer.

    Example: aml deploy --network local
    """
    import asyncio

    from agent.cli.progress import report
    from agent.cli.setup import prepare
    from agent.deploying import deploy_network

    prepared = prepare(network, state)
    deployed = asyncio.run(deploy_network(prepared.network, prepared.settings, report))
    typer.echo(f"chain id     {deployed.chain_id}")
    typer.echo(f"PriceFeed    {deployed.price_feed}")
    typer.echo(f"RiskOracle   {deployed.risk_oracle}")
    typer.echo(f"markets      {len(deployed.markets)}")
    typer.echo(f"written to   {prepared.network.deployment_file}")
