"""Facts about a deployment: it is what the plan said, read back from a real node."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.units import MarketId, Ppm
from relayer.chain import deployments
from relayer.chain.deploy import Deployer
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.reads import read_chain, read_feed
from relayer.chain.values import DeployedMarket, Deployment
from relayer.delivery.fees import FeeRules
from relayer.errors import ChainMoved, Misconfigured, Reverted
from tests.relayer import builders as b
from tests.relayer.anvil import rich_key
from tests.relayer.conftest import MARKETS, Stand, plan

DEPLOYMENT = Deployment(
    chain_id=6343,
    price_feed=b.PRICE_FEED,
    risk_oracle=b.RISK_ORACLE,
    block_number=3,
    markets=(DeployedMarket(market=MarketId(0), symbol="BTC", class_id=1),),
)


@pytest.mark.anvil
async def test_deploy__read_back__is_as_planned(fresh: Stand, endpoint: ChainEndpoint) -> None:
    assert await deployments.verify(endpoint, fresh.deployment, plan()) == ()


@pytest.mark.anvil
async def test_verify__another_plan__names_each_difference(
    fresh: Stand, endpoint: ChainEndpoint
) -> None:
    other = replace(
        plan(),
        owner=b.key(90).address,
        guardian=b.key(91).address,
        price_threshold=3,
        risk_signers=(b.key(92).address, *plan().risk_signers[1:]),
        policy_hash=b"\x0b" * 32,
    )
    limits = replace(other.classes[0], rules=replace(b.RULES, rate_ppm_per_s=501))
    other = replace(other, classes=(limits,))
    found = await deployments.verify(endpoint, fresh.deployment, other)
    assert {line.split(":")[0] for line in found} == {
        "PriceFeed owner",
        "RiskOracle owner",
        "PriceFeed guardian",
        "RiskOracle guardian",
        "PriceFeed policy_hash",
        "RiskOracle policy_hash",
        "PriceFeed threshold",
        "RiskOracle signers",
        "class 1 rules",
    }


@pytest.mark.anvil
async def test_verify__contracts_swapped__is_noticed(fresh: Stand, endpoint: ChainEndpoint) -> None:
    deployment = fresh.deployment
    swapped = replace(
        deployment, price_feed=deployment.risk_oracle, risk_oracle=deployment.price_feed
    )
    with pytest.raises(Reverted):
        await deployments.verify(endpoint, swapped, plan())


@pytest.mark.anvil
async def test_deploy__another_owner__is_proposed_and_the_deployer_named(
    fresh: Stand, endpoint: ChainEndpoint
) -> None:
    other = replace(plan(1), owner=b.key(90).address)
    told: list[str] = []
    made = await Deployer(endpoint, rich_key(), FeeRules()).deploy(other, told.append)
    assert await deployments.verify(endpoint, made, other) == ()
    steps = ["price feed", "risk oracle", "class 1", "market M0", "launch"]
    assert told == [f"{number}/5 {step}" for number, step in enumerate(steps, 1)]


@pytest.mark.anvil
async def test_deploy__contract_refuses__says_which_guard(endpoint: ChainEndpoint) -> None:
    with pytest.raises(Reverted, match="TIMELOCK_OUT_OF_RANGE"):
        await Deployer(endpoint, rich_key(), FeeRules()).deploy(replace(plan(1), timelock_s=5))


@pytest.mark.anvil
async def test_read_chain__deployed__holds_every_planned_value(
    fresh: Stand, endpoint: ChainEndpoint
) -> None:
    state = await read_chain(endpoint, fresh.deployment)
    assert state.chain_id == b.CHAIN_ID
    assert state.feed.rules == {1: b.RULES}
    assert state.oracle.bounds == {1: b.BOUNDS}
    assert len(state.feed.markets) == len(state.oracle.markets) == MARKETS
    assert not any(market.has_price for market in state.feed.markets)
    assert not any(market.ever_signed for market in state.oracle.markets)
    assert [market.values for market in state.oracle.markets] == [b.market_values()] * MARKETS
    assert state.feed.config.signers == tuple(key.address for key in b.PRICE_KEYS)
    assert state.oracle.config.threshold == 2


@pytest.mark.anvil
async def test_read_chain__file_knows_fewer_markets__reads_them_all(
    fresh: Stand, endpoint: ChainEndpoint
) -> None:
    old = replace(fresh.deployment, markets=())
    assert await read_chain(endpoint, old) == await read_chain(endpoint, fresh.deployment)
    assert len((await read_feed(endpoint, old)).feed.markets) == MARKETS


@pytest.mark.anvil
async def test_read_chain__no_contract_there__is_an_operators_matter(
    fresh: Stand, endpoint: ChainEndpoint
) -> None:
    nowhere = replace(fresh.deployment, price_feed="0x" + "12" * 20)
    with pytest.raises(Misconfigured, match="no contract of ours"):
        await read_chain(endpoint, nowhere)


@pytest.mark.anvil
async def test_read_chain__earlier_block__is_as_it_was(
    fresh: Stand, endpoint: ChainEndpoint
) -> None:
    before = await read_chain(endpoint, fresh.deployment)
    fresh.node.call("anvil_mine", "0x3")
    assert await read_chain(endpoint, fresh.deployment, before.block_number) == before


class Replacing:
    """An endpoint whose blocks change between two questions."""

    def __init__(self, endpoint: ChainEndpoint, stand: Stand) -> None:
        self._endpoint = endpoint
        self._stand = stand

    def __getattr__(self, name: str) -> Any:
        return getattr(self._endpoint, name)

    async def block(self, tag: str | int = "latest") -> Any:
        snapshot = self._stand.node.call("evm_snapshot")
        self._stand.node.call("anvil_mine", "0x1")
        found = await self._endpoint.block(tag)
        self._stand.node.call("evm_revert", snapshot)
        self._stand.node.call("evm_increaseTime", "0x5")
        self._stand.node.call("anvil_mine", "0x1")
        return found


@pytest.mark.anvil
async def test_read_chain__block_replaced_meanwhile__is_noticed(
    fresh: Stand, endpoint: ChainEndpoint
) -> None:
    moving: Any = Replacing(endpoint, fresh)
    with pytest.raises(ChainMoved):
        await read_chain(moving, fresh.deployment)


@pytest.mark.anvil
async def test_read_chain__a_block_known_by_its_hash__is_read_or_refused(
    fresh: Stand, endpoint: ChainEndpoint
) -> None:
    before = await read_chain(endpoint, fresh.deployment)
    known = (before.block_number, before.block_hash)
    assert await read_chain(endpoint, fresh.deployment, known) == before
    with pytest.raises(ChainMoved):
        await read_chain(endpoint, fresh.deployment, (before.block_number, b"\1" * 32))


def test_deployment_file__written__reads_back(tmp_path: Path) -> None:
    path = tmp_path / "state" / "deployment.json"
    deployments.write(DEPLOYMENT, path)
    assert deployments.read(path) == DEPLOYMENT
    assert [item.name for item in path.parent.iterdir()] == ["deployment.json"]


def test_deployment_file__written_under_a_close_umask__is_for_every_user(tmp_path: Path) -> None:
    path, before = tmp_path / "deployment.json", os.umask(0o077)
    try:
        deployments.write(DEPLOYMENT, path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Expecting value"),
        ("[]", "is not a JSON object"),
        ("{}", "has no 'markets'"),
        ('{"markets": [{"market": 0}]}', "missing"),
        ('{"markets": [], "chain": 1}', "unexpected keyword argument 'chain'"),
        (
            json.dumps(
                {
                    "chain_id": 1,
                    "price_feed": "0x12",
                    "risk_oracle": b.RISK_ORACLE,
                    "block_number": 0,
                    "markets": [],
                }
            ),
            "price_feed is '0x12'",
        ),
    ],
)
def test_deployment_file__not_one__says_what_is_wrong(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "deployment.json"
    path.write_text(content)
    with pytest.raises(Misconfigured, match=message):
        deployments.read(path)


def test_deployment_file__missing__says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="aml deploy"):
        deployments.read(tmp_path / "deployment.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ()}, "class 1 has no limits"),
        ({"markets": plan(2).markets[::-1]}, "its id must be 0"),
    ],
)
def test_plan__that_the_contracts_would_refuse_half_way__is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(Misconfigured, match=message):
        replace(plan(2), **changes)


def test_plan__unsound_limits__are_refused_by_name() -> None:
    limits = replace(plan().classes[0], bounds=replace(b.BOUNDS, tighten_ppm=Ppm(0)))
    with pytest.raises(Misconfigured, match="class 1: tighten_ppm"):
        replace(plan(), classes=(limits,))
