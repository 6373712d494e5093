"""Drills with open positions: a lost event, a crash, and what should protect who is in it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.config import load_settings
from agent.demo import margin_story as margin
from agent.demo import story
from agent.demo.margin_stage import USDC, Margin
from agent.demo.stage import MINUTE_MS, Stage
from agent.impact import Budget, CycleBudget
from relayer.chain import margin_calls as calls
from relayer.local import client
from relayer.local.candles import CRASH_MS, PLAY_MS
from tests.operations.drills import gate as gates
from tests.operations.drills.gate import Call, Gate
from tests.operations.drills.house import AML
from tests.operations.drills.script import Case, Scene
from tests.operations.drills.server import Prometheus, free_port, until
from tests.operations.drills.stand import Stand, Turn, ended, quiet

FACTOR = 60.0
NOTHING = {"accounts": 0, "liquidatable": 0, "notional_usdc": 0, "open_interest_ppm": 0}


class Channel:
    """Where warnings go: a webhook that takes them or not."""

    def __init__(self) -> None:
        self.status = 200
        channel = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(channel.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.server.server_address[1]}/"


class Money(Stand):
    """A stand with positions; `channel` is where it warns."""

    channel: Channel


async def slowly(stage: Stage) -> None:
    await _turn(stage, 1_000)


async def calmly(stage: Stage) -> None:
    await _turn(stage, 5_000)


def stormily() -> Turn:
    """Let time pass as much faster as the rules' ranges are shorter, however long turns take."""
    last_s = time.monotonic()

    async def turn(stage: Stage) -> None:
        nonlocal last_s
        passed_s, last_s = time.monotonic() - last_s, time.monotonic()
        await _turn(stage, max(MINUTE_MS, round(passed_s * FACTOR * 1_000)))

    return turn


async def _turn(stage: Stage, pace_ms: int) -> None:
    """Let time pass, and do what the loops do."""
    await stage.pass_to(await stage.now_ms() + pace_ms)
    await stage.tick()
    await stage.keep()
    await stage.cycle()


async def ask_again(stage: Stage) -> None:
    """Ask for a third deposit, which is executed in the drill."""
    at = Margin(stage=stage)
    amount = 50_000 * USDC
    provider = await at.mint(margin.PROVIDER, amount, at.at.pool)
    await provider.tell(at.at.pool, calls.REQUEST_DEPOSIT, margin.POOL, amount)


async def execute_third(stage: Stage) -> None:
    at = Margin(stage=stage)
    await at.wallet("keeper").tell(at.at.pool, calls.EXECUTE_DEPOSIT, 3)


@contextlib.contextmanager
def money() -> Iterator[tuple[Money, Prometheus]]:
    """Start a world in which people have positions."""
    with TemporaryDirectory(prefix="aml-drill-") as name:
        folder, channel = Path(name), Channel()
        start = datetime.fromtimestamp(PLAY_MS / 1_000 + 3_600, tz=UTC)
        world = client.start(folder / "state", start_at=start, chain_time=True)
        try:
            file = folder / "channels.txt"
            file.touch(0o600)  # it is a secret, and refused where others may read it
            file.write_text(channel.address + "\n")
            settings = quiet(load_settings("local"), free_port())
            told = settings.warnings.model_copy(update={"channels_file": str(file)})
            budget = {"market": Budget(**NOTHING), "cycle": CycleBudget(**NOTHING)}
            impact = settings.impact.model_copy(update=budget)
            settings = settings.model_copy(update={"warnings": told, "impact": impact})
            prometheus = Prometheus.start(folder / "prometheus", FACTOR)
            made = Money(folder / "state", world, settings, prometheus, Gate(world.rpc_url).start())
            made.channel = channel
            with ended(made):
                made.start()
                made.play(story.first_prices, story.first_parameters, margin.pool_requested)
                made.play(ask_again, story.calm, margin.pool_entered, margin.isolated_long)
                made.play(margin.cross_long, margin.bold_positions)
                made.turn = calmly
                yield made, prometheus
        finally:
            client.stop(folder / "state")


def event_is_lost(s: Money) -> None:
    """The endpoint answers that nothing happened while a deposit enters the pool."""
    s.gate.fault = gates.leaves_out_logs
    s.play(execute_third)
    s.do(s.stage.keep())  # type: ignore[union-attr]
    s.gate.mend()


def index_is_rebuilt(s: Money) -> None:
    """The runbook: stop, remove its rows, start."""
    s.close()
    for path in s.home.glob("chains/*/aml.db"):
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.executescript("DELETE FROM index_rows; DELETE FROM index_blocks;")
    s.open()
    s.turn = calmly


def estimates_too_little_for_keepers(gate: Gate, call: Call) -> Call | None:
    """Says that a liquidation needs a third of its gas."""
    told = gates.estimates_too_little(gate, call)
    if told is None or call["params"][0].get("to", "").lower() not in gate.pinned["keeps"]:
        return None
    return told


async def until_held(stage: Stage) -> None:
    """Let the storm go on until a step is held; then let it stand."""
    held = stage.daemon.metrics.registry.get_sample_value("aml_impact_waiting_number")
    await _turn(stage, 5_000 if held else MINUTE_MS)


def storm_asks_for_more(s: Money) -> None:
    """A storm, which asks positions for more margin than the budget allows."""
    stage = s.stage
    assert stage is not None
    s.pause()
    s.do(stage.pass_to(CRASH_MS - 30 * MINUTE_MS))
    s.do(stage.minutes(30, step=5))
    s.turn = until_held


def approved(s: Money) -> None:
    """`aml approve --list`, and each that waits, until none does; hardly any time passes."""
    s.turn = slowly
    until(lambda: not _approve_each(s), "what waited is approved and posted", 200.0)


def _approve_each(s: Money) -> bool:
    """Approve whatever waits, and say whether something still stands to be approved or posted."""
    rows = json.loads(_approve(s, "--list", "--json"))
    for row in rows:
        if row["state"] == "awaiting":
            _approve(s, str(row["number"]), "--why", "drill")
    return any(row["state"] in {"awaiting", "approved"} for row in rows)


def _approve(s: Money, *arguments: str) -> str:
    command = (*AML, "approve", *arguments, "--state", str(s.home))
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout


def crash_meets_faults(s: Money) -> None:
    """Prices fall for good, while the webhook refuses and gas is misjudged."""
    stage = s.stage
    assert stage is not None
    at = stage.daemon.deployment.margin
    assert at is not None
    s.channel.status = 500
    s.gate.pinned["keeps"] = {at.liquidator.lower(), at.engine.lower()}
    s.gate.fault = estimates_too_little_for_keepers
    for venue in range(len(s.world.venues)):
        client.switch_venue(s.world, venue, "off", factor=0.9)
    s.turn = stormily()


def faults_are_mended(s: Money) -> None:
    """Each by its runbook: the channel, and the endpoint."""
    s.turn = calmly
    s.channel.status = 200
    s.gate.mend()


CASES: tuple[Case[Money], ...] = (
    Case(
        alerts={"AmlTotalsDiffer": {}, "AmlTotalsHarmful": {}},
        fault="the endpoint leaves out the events of a deposit into the pool",
        provoke=event_is_lost,
        mended="the index is built anew",
        mend=index_is_rebuilt,
    ),
    Case(
        alerts={"AmlApprovalWaits": {}},
        fault="a storm, while the impact budget allows nothing",
        provoke=storm_asks_for_more,
        mended="`aml approve`",
        mend=approved,
    ),
    Case(
        alerts={"AmlLiquidationsWait": {}, "AmlKeeperFails": {}, "AmlWarningsStuck": {}},
        fault="prices fall by a tenth, while the node misjudges the gas of liquidations and the "
        "webhook for warnings answers 500",
        provoke=crash_meets_faults,
        mended="the node and the webhook are well again",
        mend=faults_are_mended,
    ),
)
SCENE = Scene(name="money", factor=FACTOR, open=money, cases=CASES)
