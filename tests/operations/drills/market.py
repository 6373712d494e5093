"""Drills on the models: a market that grows wilder by the day, is calm, and jumps once more."""

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
CALM_BEFORE, DAYS = 4, 12
MINUTES = 1_440
DAY_MS = 24 * HOUR_MS
WILD_UNTIL, CALM_UNTIL, JUMPS_UNTIL = 5, 8, 9  # days


class Wild(Stand):
    """A stand over the wild market."""


def write_candles(path: Path) -> None:
    """Make two markets up: calm until Thursday, then wild, calm and wild days."""
    first = THURSDAY - timedelta(days=CALM_BEFORE)
    times = 60_000 * np.arange((CALM_BEFORE + DAYS) * MINUTES, dtype=np.int64)
    write_walks(path, int(first.timestamp()) * 1_000 + times, 11, wild, TWO)


def wild(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Give steps that jump up or down over five minutes of each hour."""
    steps = random.normal(0.0, 0.0004, count)
    for hour in range(DAYS * 24):
        place = CALM_BEFORE * MINUTES + hour * 60 + 30
        steps[place : place + 5] += random.choice((-1.0, 1.0)) * jump_at(hour) / 5
    return steps


def jump_at(hour: int) -> float:
    """Size the jump of an hour: first it doubles each half day, later it is there at once."""
    if hour < WILD_UNTIL * 24:
        return min(0.1, 0.02 * 2.0 ** (hour // 12))
    return 0.06 if CALM_UNTIL * 24 <= hour < JUMPS_UNTIL * 24 else 0.0


async def an_hour(stage: Stage) -> None:
    """Decide a minute after the next hour: a cycle sees what has ended then."""
    await stage.pass_to((await stage.now_ms() // HOUR_MS + 1) * HOUR_MS + 60_000)
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


def until_day(day: int) -> Turn:
    """Let hours pass until a day has begun; there time stands still."""

    async def turn(stage: Stage) -> None:
        if await stage.now_ms() < int(THURSDAY.timestamp()) * 1_000 + day * DAY_MS:
            await an_hour(stage)
        else:
            await stage.cycle()

    return turn


def days_go_wild(s: Wild) -> None:
    s.turn = until_day(WILD_UNTIL)


def next_week(s: Wild) -> None:
    """Calm days follow; the next week begins."""
    s.turn = until_day(CALM_UNTIL)


def market_jumps(s: Wild) -> None:
    s.turn = until_day(JUMPS_UNTIL)


def market_calms(s: Wild) -> None:
    s.turn = until_day(DAYS - 1)


CASES: tuple[Case[Wild], ...] = (
    Case(
        alerts={"AmlFeatureDrift": {}},
        fault="five days of jumps each hour, twice as large each half day, up to 10 %",
        provoke=days_go_wild,
        mended="the market is calm again, and the next week begins",
        mend=next_week,
        patience_s=1_200.0,
    ),
    Case(
        alerts={"AmlModelAlarm": {}},
        fault="out of calm days the market jumps by 6 % each hour, which no forecast has foreseen",
        provoke=market_jumps,
        mended="nothing: the forecasts widen by themselves, and the market calms",
        mend=market_calms,
        patience_s=600.0,
    ),
)
SCENE = Scene(name="market", factor=FACTOR, open=market, cases=CASES)
