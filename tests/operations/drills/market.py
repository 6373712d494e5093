"""Drills on the models: a market that grows wilder by the day, and then is calm again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agent.config import load_settings
from agent.demo.stage import Stage
from relayer.local import client
from tests.operations.drills.gate import Gate
from tests.operations.drills.script import Case, Scene
from tests.operations.drills.server import Prometheus, free_port
from tests.operations.drills.stand import Stand, ended, quiet

FACTOR = 60.0
HOUR_MS = 3_600_000
THURSDAY = datetime(2026, 1, 8, tzinfo=UTC)  # weeks of the monitors begin on Thursdays
DAYS = 10
MINUTES = 1_440


class Wild(Stand):
    """A stand over the wild market."""


def write_candles(path: Path) -> None:
    """Make two markets up: calm until Thursday, then jumps each hour that double each half day."""
    random = np.random.default_rng(11)
    first = THURSDAY - timedelta(days=4)
    count = (DAYS + 4) * MINUTES
    times = int(first.timestamp()) * 1_000 + 60_000 * np.arange(count, dtype=np.int64)
    tables = []
    for symbol, price in (("BTC/USDC:USDC", 90_000.0), ("ETH/USDC:USDC", 3_000.0)):
        steps = random.normal(0.0, 0.0004, count)
        for hour in range(5 * 24):
            size = min(0.08, 0.01 * 2.0 ** (hour // 12))
            place = 4 * MINUTES + hour * 60 + 30
            steps[place : place + 5] += random.choice((-1.0, 1.0)) * size / 5
        close = price * np.exp(np.cumsum(steps))
        opened = np.concatenate([[price], close[:-1]])
        columns = {
            "symbol": [symbol] * count,
            "ts": pa.array(times, pa.timestamp("ms", tz="UTC")),
            "open": opened,
            "high": np.maximum(opened, close) * 1.0002,
            "low": np.minimum(opened, close) * 0.9998,
            "close": close,
            "volume": random.uniform(1.0, 50.0, count),
        }
        tables.append(pa.table(columns))
    pq.write_table(pa.concat_tables(tables), path)


async def an_hour(stage: Stage) -> None:
    """Let a quarter of an hour pass four times: a cycle sees what has ended."""
    for _ in range(4):
        await stage.pass_to(await stage.now_ms() + HOUR_MS // 4)
        await stage.cycle()


@contextlib.contextmanager
def market() -> Iterator[tuple[Wild, Prometheus]]:
    with TemporaryDirectory(prefix="aml-drill-") as name:
        folder = Path(name)
        write_candles(folder / "wild.parquet")
        world = client.start(
            folder / "state",
            replay=folder / "wild.parquet",
            start_at=THURSDAY,
            chain_time=True,
        )
        try:
            settings = quiet(load_settings("local"), free_port())
            prometheus = Prometheus.start(folder / "prometheus", FACTOR)
            gate = Gate(world.rpc_url).start()
            made = Wild(folder / "state", world, settings, prometheus, gate)
            with ended(made):
                made.start()
                made.do(made.stage.cycle())  # type: ignore[union-attr]
                yield made, prometheus
        finally:
            client.stop(folder / "state")


def days_go_wild(s: Wild) -> None:
    """Four days pass, and time stands still at their end, as wild as they have become."""

    async def until_saturday(stage: Stage) -> None:
        if await stage.now_ms() < int(THURSDAY.timestamp()) * 1_000 + 4 * 24 * HOUR_MS:
            await an_hour(stage)
        else:
            await stage.cycle()

    s.turn = until_saturday


def next_week(s: Wild) -> None:
    """Calm days follow; the next week begins."""

    async def on(stage: Stage) -> None:
        if await stage.now_ms() < int(THURSDAY.timestamp()) * 1_000 + 8 * 24 * HOUR_MS:
            await an_hour(stage)
        else:
            await stage.cycle()

    s.turn = on


CASES: tuple[Case[Wild], ...] = (
    Case(
        alerts={"AmlModelAlarm": {}, "AmlFeatureDrift": {}},
        fault="jumps each hour, twice as large each half day, that no forecast has foreseen",
        provoke=days_go_wild,
        mended="the market is calm again, and the next week begins",
        mend=next_week,
        patience_s=900.0,
    ),
)
SCENE = Scene(name="market", factor=FACTOR, open=market, cases=CASES)
