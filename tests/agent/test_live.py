"""The daemon as on a live chain: a real node, key files, the wall's clock, an own configuration.

The venues are the local exchanges, whose clock is set to the wall's and runs at its speed.
"""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from agent.config import FOLDER
from relayer.local import client
from relayer.local.state import WorldState
from relayer.signing.keys import address
from tests.relayer.anvil import Anvil, running
from tests.relayer.local.walks import TWO, quiet, write_walks

pytestmark = [pytest.mark.anvil, pytest.mark.loopback]
AML = [sys.executable, "-m", "agent.cli.main"]
ROLES = ("gas", "price-1", "price-2", "price-3", "risk-1", "risk-2", "risk-3", "deployer")
MINUTE_S = 60
CHAIN_ID = 6343  # MegaETH's test network


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A configuration and the folder of the daemon that it is for."""

    config: Path
    state: Path

    def aml(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        where = ["--network", str(self.config), "--state", str(self.state)]
        return subprocess.run(
            [*AML, *arguments, *where], capture_output=True, text=True, timeout=120, check=False
        )


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    with running(chain_id=CHAIN_ID, timestamp_s=int(time.time())) as node:
        world = wall_clock_world(folder)
        node.call("evm_setTime", int(time.time()))  # a busy machine starts it late, its clock too
        try:
            keys = {role: write_key(folder, role) for role in ROLES}
            for path in keys.values():
                node.call("anvil_setBalance", address(path), hex(10**20))
            config = folder / "mine.toml"
            config.write_text(configuration(node, world, keys))
            yield Live(config=config, state=folder / "daemon")
        finally:
            client.stop(folder / "world")


def wall_clock_world(folder: Path) -> WorldState:
    """Start the exchanges on made-up candles around this minute, at the wall's time and speed."""
    now_s = int(time.time()) // MINUTE_S * MINUTE_S
    times = np.arange(now_s - 4 * 86_400, now_s + 3_600, MINUTE_S, dtype=np.int64) * 1_000
    path = folder / "now.parquet"
    write_walks(path, times, 3, quiet(0.0005), TWO)
    start = datetime.fromtimestamp(time.time() + 1.0, tz=UTC)
    world = client.start(folder / "world", replay=path, start_at=start, speed=1.0)
    client.advance(world, int(time.time() * 1_000))  # a busy machine takes its time to start it
    return world


def write_key(folder: Path, role: str) -> Path:
    path = folder / f"{role}.key"
    path.write_text(secrets.token_hex(32) + "\n")
    path.chmod(0o600)
    return path


def configuration(node: Anvil, world: WorldState, keys: dict[str, Path]) -> str:
    """Write a configuration of one's own from the local one's rules and limits."""
    local = (FOLDER / "local.toml").read_text()
    rest = local[local.index("[prices]") :].replace(
        "timelock_s = 86_400", OWNERS + "timelock_s = 86_400"
    )
    rest = rest.replace("tick_s = 5.0", "tick_s = 1.0")
    # the feed and the oracle alone: there is no USDC on this node
    rest = re.sub(r"\[deployment\.classes\.\d\.margin\][^\[]*", "", rest)
    venues = "".join(
        f'[[venues]]\nid = "{v.id}"\nccxt_class = "okx"\nquote_currency = "USDC"\n'
        f'rate_limit_ms = 1\nurls = {{ rest = "{v.url}" }}\n'
        for v in world.venues
    )
    markets = "".join(
        f'[[markets]]\nsymbol = "{m.base}"\nclass_id = 1\n'
        + "".join(
            f'[markets.listings.{v.id}]\nsymbol = "{m.symbol}"\nquote_currency = "USDC"\n'
            for v in world.venues
        )
        for m in world.markets
    )
    signers = {
        kind: ", ".join(f'"{keys[f"{kind}-{n}"]}"' for n in (1, 2, 3)) for kind in ("price", "risk")
    }
    return f"""
[network]
name = "mine"
rpc_url = "{node.url}"
chain_id = {CHAIN_ID}
[metrics]
port = 0
[cycle]
every_s = 2
[keys]
gas_payer = "{keys["gas"]}"
deployer = "{keys["deployer"]}"
price_signers = [{signers["price"]}]
risk_signers = [{signers["risk"]}]
{rest}
{venues}
{markets}
"""


OWNERS = f"""owner = "0x{"0a" * 20}"
guardian = "0x{"0b" * 20}"
"""


def test_live__deploy_run_verify__on_a_real_node_with_key_files(live: Live) -> None:
    deployed = live.aml("deploy")
    assert deployed.returncode == 0, deployed.stderr
    ran = live.aml("run", "--cycles", "2")
    assert ran.returncode == 0, ran.stderr
    assert len(re.findall(r"kind='risk' result='effective'", ran.stderr)) == 2, ran.stderr
    assert "kind='price' result='effective'" in ran.stderr
    verified = live.aml("verify", "1")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_live__without_keys__runs_dry_and_says_so(live: Live) -> None:
    text = live.config.read_text()
    keys = text[text.index("[keys]") : text.index("[prices]")]
    dry = Live(config=live.config.with_name("dry.toml"), state=live.state)
    dry.config.write_text(text.replace(keys, ""))
    ran = dry.aml("run", "--cycles", "1")
    assert ran.returncode == 0, ran.stderr
    assert "DRY RUN" in ran.stderr
    assert "reason='dry_run'" in ran.stderr
    assert "result='effective'" not in ran.stderr


def test_live__another_chain_id__is_refused_before_anything_is_sent(live: Live) -> None:
    wrong = Live(config=live.config.with_name("wrong.toml"), state=live.state / "other")
    wrong.config.write_text(live.config.read_text().replace("chain_id = ", "chain_id = 9"))
    refused = wrong.aml("deploy")
    assert refused.returncode == 1
    assert "answers chain id" in refused.stderr


def test_live__key_file_that_others_may_read__is_refused(live: Live) -> None:
    text = live.config.read_text()
    (path,) = re.findall(r'gas_payer = "(.*)"', text)
    Path(path).chmod(0o644)
    refused = live.aml("run", "--cycles", "1")
    Path(path).chmod(0o600)
    assert refused.returncode == 1
    assert path in refused.stderr
    assert "Traceback" not in refused.stderr
