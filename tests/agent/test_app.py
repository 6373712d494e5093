"""The composition root: what it refuses before anything is built."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agent.app import require_same_markets
from agent.errors import ConfigError
from agent.network import Keyring, Network, local_role
from agent.signing import require_signers
from contracts.units import MarketId
from relayer.chain.values import DeployedMarket, Deployment
from relayer.market.values import Market
from tests.fakes import FakeClock

DEPLOYED = Deployment(
    chain_id=6343,
    price_feed="0x" + "11" * 20,
    risk_oracle="0x" + "22" * 20,
    block_number=1,
    markets=tuple(
        DeployedMarket(market=MarketId(n), symbol=symbol, class_id=1)
        for n, symbol in enumerate(("ADA", "BTC"))
    ),
)


def network(*symbols: str, chain_id: int | None = 6343) -> Network:
    markets = tuple(
        Market(market=MarketId(n), symbol=symbol, class_id=1, listings=())
        for n, symbol in enumerate(symbols)
    )
    return Network(
        name="mine",
        rpc_url="http://127.0.0.1:1",
        chain_id=chain_id,
        venues=(),
        markets=markets,
        classes=tuple(1 for _ in markets),
        keys=Keyring(gas_payer=None, price_signers=(), risk_signers=()),
        clock=FakeClock(),
        state=Path("state"),
        history=Path("history"),
    )


def test_app__same_markets_in_the_same_order__passes() -> None:
    require_same_markets(network("ADA", "BTC"), DEPLOYED)
    require_same_markets(network("ADA", "BTC", chain_id=None), DEPLOYED)


@pytest.mark.parametrize("symbols", [("BTC", "ADA"), ("ADA",), ("ADA", "BTC", "ETH"), ()])
def test_app__markets_in_another_order_or_number__are_refused(symbols: tuple[str, ...]) -> None:
    """Two tables that change places would post one asset's price under the other's id."""
    with pytest.raises(ConfigError, match="must be in the order"):
        require_same_markets(network(*symbols), DEPLOYED)


def test_app__market_of_another_class__is_refused() -> None:
    first = dataclasses.replace(DEPLOYED.markets[0], class_id=2)
    other = dataclasses.replace(DEPLOYED, markets=(first, DEPLOYED.markets[1]))
    with pytest.raises(ConfigError, match="market 0"):
        require_same_markets(network("ADA", "BTC"), other)


def test_app__deployment_of_another_chain__is_refused() -> None:
    with pytest.raises(ConfigError, match="chain_id"):
        require_same_markets(network("ADA", "BTC", chain_id=1), DEPLOYED)


def test_app__key_that_the_contract_does_not_know__is_refused() -> None:
    known, stranger = local_role("price-signer-1"), local_role("trader-1")
    require_signers("price", (known,), (known.address,))
    with pytest.raises(ConfigError, match="no price signer"):
        require_signers("price", (known, stranger), (known.address,))
