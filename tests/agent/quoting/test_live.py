"""Terms from HTTP to a position on a real chain, as an interface and a trader go through it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from agent import app
from agent.config import HttpSettings, load_settings
from agent.demo import margin_story
from agent.demo.margin_stage import Margin
from agent.demo.stage import Stage
from agent.deploying import deploy_network
from agent.impact import Exposure
from agent.network import local_network
from contracts.messages import MarginMode
from relayer.chain import margin_calls as calls
from relayer.local import client
from relayer.market.jumps import JumpWatch

pytestmark = [pytest.mark.loopback, pytest.mark.long]
AML = [sys.executable, "-m", "agent.cli.main"]
HOUR_MS = 3_600_000
USDC = 1_000_000
TERMS_FIELDS = (
    "observed_at_ms", "valid_until_ms", "account", "market", "side", "margin_mode", "adjustment",
    "max_notional_e6", "max_leverage_e2", "maintenance_ppm", "maintenance_ceiling_ppm",
    "risk_score_ppm", "nonce", "model_hash", "evidence_hash",
)  # fmt: skip


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A daemon that serves HTTP, on a world whose pool has money."""
    world = client.start(tmp_path, speed=1.0)
    settings = load_settings("local")
    ports = {
        "metrics": settings.metrics.model_copy(update={"port": 0}),
        "http": HttpSettings(port=0),
    }
    settings = settings.model_copy(update=ports)
    network = local_network(world, tmp_path)
    await deploy_network(network, settings, lambda _: None)
    async with app.daemon(network, settings, app.load_model(settings)) as running:
        seen = [JumpWatch(rules=settings.jumps)]
        stage = Stage(world=world, daemon=running, settings=settings, say=print, seen=seen)
        await stage.tick()
        await stage.keep()
        await stage.cycle()
        await margin_story.pool_requested(stage)
        await stage.pass_to(await stage.now_ms() + HOUR_MS + 10_000)
        await stage.tick()
        await stage.tick()
        await stage.cycle()
        await margin_story.pool_entered(stage)
        yield stage
    client.stop(tmp_path)


async def test_terms__from_http_to_a_position(stage: Stage, tmp_path: Path) -> None:
    margin = Margin(stage=stage)
    trader = margin.wallet("trader-1")
    wish = {
        "account": trader.address,
        "market": "btc",
        "side": "long",
        "mode": "isolated",
        "size_e18": str(10**16),
        "leverage_e2": 300,
    }
    async with httpx.AsyncClient(base_url=stage.daemon.http.url, timeout=30) as web:
        assert (await web.get("/readyz")).json() == {"ok": True, "faults": []}
        answer = await web.post("/quote", json=wish)
        assert answer.status_code == 200, answer.text
        quote = answer.json()
        await opened(margin, quote)
        await stage.keep()  # the index reads what has happened after each tick
        account = (await web.get(f"/accounts/{trader.address}")).json()
        (held,) = account["positions"]
        assert held["size_e18"] == wish["size_e18"]
        promised = int(quote["wanted"]["liquidation_price_e18"])
        assert abs(int(held["liquidation_price_e18"]) / promised - 1) < 0.01
        evidence = await web.get("/evidence/" + quote["terms"]["evidence_hash"])
        assert evidence.json()["fields"]["kind"] == "terms"
        refused = await web.post("/quote", json=wish | {"leverage_e2": 9_000})
        assert refused.status_code == 409
        assert refused.json()["passes"]["leverage_e2"] >= 100
        assert (await web.get("/limits")).json()["decisions"]["position_terms"]
        assert account["profile"]["has_history"]
        assert any("trades in 90 days" in each for each in account["profile"]["reasons"])
        rounds = (await web.get("/decisions")).json()["decisions"]
        assert any(each["kind"] == "risk" and each["state"] == "effective" for each in rounds)
    seen = await stage.daemon.hands.exposures.look([margin.market("BTC")])
    assert isinstance(seen, Exposure), seen
    assert len(seen.book.positions) == 1
    by_command(trader.address, tmp_path)
    verified(quote["terms"]["evidence_hash"], tmp_path)


async def opened(margin: Margin, quote: dict) -> None:
    """Deposit what is needed, take the terms to the desk, execute."""
    wanted, terms = quote["wanted"], quote["terms"]
    trader = await margin.deposit("trader-1", int(wanted["deposit_needed_e6"]))
    values = [terms[name] for name in TERMS_FIELDS]
    values[7] = int(values[7])
    values[13:] = [bytes.fromhex(each[2:]) for each in values[13:]]
    halves = [bytes.fromhex(s[2:][i : i + 64]) for s in quote["signatures"] for i in (0, 64)]
    limit = int(quote["acceptable_price_e18"])
    size, deposit = int(wanted["size_e18"]), int(wanted["margin_e6"])
    inputs = (tuple(values), halves, size, deposit, wanted["leverage_e2"], limit)
    await trader.tell(margin.at.desk, calls.REQUEST_OPEN, *inputs)
    await margin.execute_waiting()
    held = await margin.position("trader-1", "BTC", MarginMode.ISOLATED)
    assert held["size"] == size


def verified(evidence_hash: str, state: Path) -> None:
    """The terms reproduce from what the daemon kept, and nothing waits for approval."""
    for words, said in (
        (("verify", evidence_hash, "--terms"), "reproduces: every field is the same"),
        (("approve", "--list"), "nothing was ever held"),
    ):
        done = subprocess.run(
            [*AML, *words, "--state", str(state)],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert said in done.stdout


def by_command(account: str, state: Path) -> None:
    """The same by `aml quote`, from the evidence that the daemon left."""
    said = subprocess.run(
        [*AML, "quote", account, "BTC", "long", "0.01", "3x", "--json", "--state", str(state)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    answer = json.loads(said.stdout)
    assert len(answer["signatures"]) == 2
    assert answer["wanted"]["position_size_e18"] == str(2 * 10**16)
