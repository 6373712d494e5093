"""Drills on the models: a market that hardly moves for days, and one that jumps each hour."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from agent.config import load_settings
from agent.demo.stage import Stage
from relayer.local import client
from tests.operations.drills.gate import Gate
from tests.operations.drills.script import Case, Scene
from tests.operations.drills.server import Prometheus, free_port
from tests.operations.drills.stand import Stand, Turn, ended, quiet
from tests.relayer.local.walks import TWO, write_walks

FACTOR = 60.0
HOUR_MS = 3_600_000
THURSDAY = datetime(2026, 1, 8, tzinfo=UTC)  # weeks of the monitors begin on Thursdays
BEFORE, DAYS = 4, 12
MINUTES = 1_440
DAY_MS = 24 * HOUR_MS
DULL_UNTIL, USUAL_UNTIL, JUMPS_UNTIL = 5, 8, 9  # days
USUAL, DULL, JUMP = 0.0004, 0.000027, 0.06  # a minute, and an hour


class Odd(Stand):
    """A stand over the odd market."""


def write_candles(path: Path) -> None:
    """Make two markets up: usual days until Thursday, dull days, usual ones, and one of jumps."""
    first = THURSDAY - timedelta(days=BEFORE)
    times = 60_000 * np.arange((BEFORE + DAYS) * MINUTES, dtype=np.int64)
    write_walks(path, int(first.timestamp()) * 1_000 + times, 11, odd, TWO)


def odd(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Give steps of which those of some days are far too small, and those of one jump each hour."""
    steps = random.normal(0.0, USUAL, count)
    dull = slice(BEFORE * MINUTES, (BEFORE + DULL_UNTIL) * MINUTES)
    steps[dull] *= DULL / USUAL
    for hour in range(USUAL_UNTIL * 24, JUMPS_UNTIL * 24):
        place = BEFORE * MINUTES + hour * 60 + 30
        steps[place : place + 5] += random.choice((-1.0, 1.0)) * JUMP / 5
    return steps


async def an_hour(stage: Stage) -> None:
    """Decide a minute after the next hour: a cycle sees what has ended then."""
    await stage.pass_to((await stage.now_ms() // HOUR_MS + 1) * HOUR_MS + 60_000)
    await stage.cycle()


@contextlib.contextmanager
def market() -> Iterator[tuple[Odd, Prometheus]]:
    with TemporaryDirectory(prefix="aml-drill-") as name:
        folder = Path(name)
        write_candles(folder / "odd.parquet")
        world = client.start(
            folder / "state",
            replay=folder / "odd.parquet",
            start_at=THURSDAY,
            chain_time=True,
        )
        try:
            settings = quiet(load_settings("local"), free_port())
            prometheus = Prometheus.start(folder / "prometheus", FACTOR)
            gate = Gate(world.rpc_url).start()
            made = Odd(folder / "state", world, settings, prometheus, gate)
            with ended(made):
                made.start()
                made.do(made.stage.cycle())  # type: ignore[union-attr]
                yield made, prometheus
        finally:
            client.stop(folder / "state")


def until_day(day: int) -> Turn:
    """Let hours pass until a day has begun; there time stands still."""

    async def turn(stage: Stage) -> None:
        if await stage.now_ms() < int(THURSDAY.timestamp()) * 1_000 + day * DAY_MS:
            await an_hour(stage)
        else:
            await stage.cycle()

    return turn


def days_are_dull(s: Odd) -> None:
    s.turn = until_day(DULL_UNTIL)


def next_week(s: Odd) -> None:
    """Usual days follow; the next week begins."""
    s.turn = until_day(USUAL_UNTIL)


def market_jumps(s: Odd) -> None:
    s.turn = until_day(JUMPS_UNTIL)


def market_calms(s: Odd) -> None:
    s.turn = until_day(DAYS - 1)


CASES: tuple[Case[Odd], ...] = (
    Case(
        alerts={"AmlFeatureDrift": {}},
        fault="five days in which the markets move by a fifteenth of what is usual",
        provoke=days_are_dull,
        mended="they move as usual again, and the next week begins",
        mend=next_week,
        patience_s=1_200.0,
    ),
    Case(
        alerts={"AmlModelAlarm": {}},
        fault="out of usual days the markets jump by 6 % each hour, which no forecast has foreseen",
        provoke=market_jumps,
        mended="nothing: the forecasts widen by themselves, and the markets calm",
        mend=market_calms,
        patience_s=600.0,
    ),
)
SCENE = Scene(name="market", factor=FACTOR, open=market, cases=CASES)
