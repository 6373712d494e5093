"""From an empty chain to settled positions: the documents on deploying, rotation and upgrading.

docs/deploying.md, docs/key-ceremony.md, docs/integrating.md and docs/upgrading.md are gone through
in this order, with daemon and signers as processes on a real node.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from contracts import artifacts
from relayer.local import client
from tests.agent.test_live import CHAIN_ID, wall_clock_world, write_key
from tests.operations.drills.server import until
from tests.operations.followed.ground import DEADLINE_S, ROOT, Ground, configuration, own
from tests.operations.followed.trader import ISOLATED, POOL, USDC, Contracts, Trader
from tests.relayer.anvil import running

pytestmark = [pytest.mark.anvil, pytest.mark.loopback, pytest.mark.long]
DAY_S, HOUR_S = 86_400, 3_600
BTC, ETH = 0, 1
HEARTBEAT_S = 30


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("followed")
    # Two days ago, so that cooldown and timelock are over before anything runs at the wall's time.
    with running(chain_id=CHAIN_ID, timestamp_s=int(time.time()) - 2 * DAY_S) as node:
        world = wall_clock_world(folder)
        made = Ground(folder=folder, node=node, world=world)
        try:
            made.prepare()
            yield made
        finally:
            made.ended()
            client.stop(folder / "world")


def test_documents__a_deployment_from_its_first_to_its_last_day(ground: Ground) -> None:
    at = deployed(ground)
    provider = Trader(ground=ground, at=at, address="0x" + "b0" * 20)
    trader = Trader(ground=ground, at=at, address="0x" + "a1" * 20)
    liquidity_provided(provider)
    announced = [
        ground.batch("owner", "signers", kind, "--add", ground.address(f"{kind}-4"))
        for kind in ("price", "risk")
    ]
    assert [ground.sign(each[0]) for each in announced] == [True, True]
    ground.pass_s(DAY_S + 60)
    ground.catch_up()
    rotated(ground, at)
    traded(ground, trader)
    moved(ground, at, trader, provider)


def deployed(ground: Ground) -> Contracts:
    """docs/deploying.md, from the configuration to the owner's acceptance."""
    file = ground.folder / "mine.toml"
    file.write_text(configuration(ground, 3, deployer=True))
    for number in (1, 2, 3, 4):
        (ground.folder / f"signer-{number}.toml").write_text(own(ground, number))
    ground.aml("deploy")
    told = ground.folder / "daemon" / "PriceFeed.standard.json"
    compiler = Path(sys.executable).with_name("vyper-json")
    compiled = subprocess.run([compiler, told], capture_output=True, text=True, check=True)
    assert artifacts.load("PriceFeed").bytecode.hex() in compiled.stdout
    (accepting,) = ground.batch("owner", "accept")
    assert ground.sign(accepting)
    file.write_text(configuration(ground, 3))  # the deployer's key is dropped
    ground.key("deployer").unlink()
    return Contracts.of(ground)


def liquidity_provided(provider: Trader) -> None:
    """docs/pool.md: two steps, an hour apart."""
    provider.has(1_000_000, provider.at.pool)
    provider.tell(provider.at.pool, "request_deposit(uint256,uint256)", POOL, 1_000_000 * USDC)
    provider.ground.pass_s(HOUR_S + 1)
    provider.tell(provider.at.pool, "execute_deposit(uint256)", 1)


def rotated(ground: Ground, at: Contracts) -> None:
    """docs/key-ceremony.md, rotating a signer: the fourth comes, the first goes."""
    for number in (1, 2, 3):
        ground.signer(number)
    ground.daemon()
    checked = ground.aml("check")
    assert "0 faults, 0 warnings" in checked, checked
    ground.signer(4)
    (ground.folder / "mine.toml").write_text(configuration(ground, 4))
    ground.processes["daemon"].stop()
    ground.daemon()
    since = ground.call(at.feed, "latest_round()")
    for kind in ("price", "risk"):
        (executed,) = ground.batch("owner", "signers", kind, "--add", ground.address(f"{kind}-4"))
        assert ground.sign(executed)
    ground.wait_for_rounds(at.feed)
    for kind in ("price", "risk"):
        (removed,) = ground.batch("owner", "signers", kind, "--remove", ground.address(f"{kind}-1"))
        assert ground.sign(removed)
    ground.wait_for_rounds(at.feed)
    # Two of three have to sign: with the second away as well, each round has the fourth's name.
    for number in (1, 2):
        ground.processes[f"signer-{number}"].stop()
    ground.wait_for_rounds(at.feed, 3)
    signers = ground.call(at.feed, "signers()", gives="address[]")
    assert {each.lower() for each in signers} == {
        ground.address(f"price-{n}").lower() for n in (2, 3, 4)
    }
    gap = largest_gap_s(ground, at, since)
    assert gap <= 4 * HEARTBEAT_S  # contracts take new risk for two
    ground.signer(2)


def largest_gap_s(ground: Ground, at: Contracts, since: int) -> int:
    """Read when each round from this one on took effect, from the chain's own log."""
    events = [each for each in artifacts.load("PriceFeed").abi if each["type"] == "event"]
    (posted,) = (each for each in events if each["name"] == "PriceRoundPosted")
    kinds = ",".join(each["type"] for each in posted["inputs"])
    topic = "0x" + keccak(f"PriceRoundPosted({kinds})".encode()).hex()
    asked = {"address": at.feed, "fromBlock": "0x0", "topics": [topic]}
    logs: list[dict[str, Any]] = ground.node.call("eth_getLogs", asked)
    times = [
        int(ground.node.call("eth_getBlockByNumber", each["blockNumber"], False)["timestamp"], 16)
        for each in logs
        if int(each["topics"][1], 16) >= since
    ]
    return max(later - earlier for earlier, later in pairwise(times))


def traded(ground: Ground, trader: Trader) -> None:
    """docs/integrating.md: the example contract reads, an interface's trader opens and closes."""
    text = (ROOT / "docs" / "integrating.md").read_text()
    (source,) = re.findall(r"^```vyper\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    example = ground.put(source, ("address", trader.at.feed))
    worth = ground.call(example, "worth(uint256,uint256)", BTC, 10**18)
    _, told = trader.asks("/markets")
    price = int(told["markets"][BTC]["price_e18"]) // 10**12
    assert abs(worth - price) < price // 100, (worth, price)
    status, wrong = trader.asks("/quote", {"account": trader.address, "market": "BTC"})
    assert (status, wrong["title"]) == (422, "Unprocessable Entity")
    assert "size_e18" in wrong["detail"]
    trader.has(10_000, trader.at.vault)
    trader.tell(trader.at.engine, "deposit(uint256)", 10_000 * USDC)
    until(lambda: open_for(trader, "BTC") and open_for(trader, "ETH"), "markets", DEADLINE_S)
    status, wrong = trader.asks("/quote", {**_wish(trader), "leverage_e2": 5_000})
    assert (status, wrong["field"][:8]) == (409, "leverage"), wrong
    trader.opens("ETH", "long", 10**18)
    trader.closes("ETH", ETH)
    trader.opens("BTC", "long", 5 * 10**16)


def open_for(trader: Trader, symbol: str) -> bool:
    """Ask whether terms for something small are given."""
    status, _ = trader.quote(symbol, "long", 10**16 if symbol == "BTC" else 10**18)
    return status == 200


def _wish(trader: Trader) -> dict[str, Any]:
    wish = {"account": trader.address, "market": "BTC", "side": "long", "size_e18": str(10**16)}
    return wish | {"mode": "isolated"}


def moved(ground: Ground, at: Contracts, trader: Trader, provider: Trader) -> None:
    """docs/upgrading.md, moving to new contracts: until everybody has his money."""
    (ground.folder / "new.toml").write_text(
        configuration(ground, 4).replace("[keys]", f'[keys]\ndeployer = "{new_deployer(ground)}"')
    )
    ground.aml("deploy", network="new", state="new")
    assert Contracts.of(ground, "new").engine != at.engine
    for symbol in ("BTC", "ETH"):
        (only,) = ground.batch("market", "reduce-only", symbol)
        assert ground.sign(only)
    status, refused = trader.quote("ETH", "long", 10**18)
    assert status == 409, refused
    ground.ended()
    for symbol in ("BTC", "ETH"):
        announcing, executing = ground.batch("market", "settle", symbol)
        assert ground.sign(announcing)
        assert not ground.sign(executing)
    ground.pass_s(DAY_S + 120)
    for symbol in ("BTC", "ETH"):
        (executing,) = ground.batch("market", "settle", symbol)
        assert ground.sign(executing)
    provider.tell(at.engine, "settle(address,uint256,uint256)", trader.address, BTC, ISOLATED)
    assert 9_000 * USDC < trader.leaves() < 11_000 * USDC
    shares = ground.call(at.pool, "balanceOf(address)", provider.address)
    provider.tell(at.pool, "request_redeem(uint256,uint256)", POOL, shares)
    ground.pass_s(HOUR_S + 1)
    provider.tell(at.pool, "execute_redeem(uint256)", 2)
    left = sum(ground.call(at.token, "balanceOf(address)", each) for each in (at.vault, at.pool))
    assert left < USDC, left
    assert provider.wallet > 990_000 * USDC


def new_deployer(ground: Ground) -> Path:
    """Make the key that deploys the new set, with ether."""
    path = write_key(ground.folder, "deployer")
    ground.node.call("anvil_setBalance", ground.address("deployer"), hex(10**20))
    return path
