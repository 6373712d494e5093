"""A market that stands on the contracts, written into the deployment file that was before it."""

from __future__ import annotations

from dataclasses import replace

from agent.errors import ConfigError
from relayer.chain.reads import ChainState
from relayer.chain.values import DeployedMarket, Deployment
from relayer.market.values import Market


def with_added(deployment: Deployment, state: ChainState, market: Market) -> Deployment | None:
    """Give the deployment with a market that the contracts have and its file has not yet.

    None where the contracts do not have it, or the file has it already.

    Raises
    ------
    ConfigError
        One before it is missing in the file, or the contracts have another class under its id.
    """
    number, known = int(market.market), len(deployment.markets)
    if number >= len(state.oracle.markets) or number < known:
        return None
    if number > known:
        raise ConfigError(f"market {market.symbol}: add those of the tables before it first")
    class_id = state.oracle.markets[number].class_id
    if class_id != market.class_id:
        raise ConfigError(
            f"market {market.symbol}: is of class {market.class_id} in [[markets]], and the "
            f"contracts have class {class_id} as market {number}"
        )
    added = DeployedMarket(market=market.market, symbol=market.symbol, class_id=class_id)
    return replace(deployment, markets=(*deployment.markets, added))
