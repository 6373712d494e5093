"""Random cross accounts beside what became of them, on forecasts that were walked forward."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration import line_of
from models.cross_training import died, random_account
from models.dataset import HOUR_MS, Series, read_series
from models.liquidation import (
    DAY_MS,
    JointCalibration,
    joint_chance,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LOOK_BACK_HOURS = 720
MAINTENANCE = 0.02
ACCOUNTS_A_DAY = 3
LEARN_DAYS = 365


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Announced:
    """Forecasts of log variance over `hours`, one row an instant and symbol."""

    hours: int
    as_of_ms: IntArray
    symbols: NDArray[np.str_]
    forecast: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fates:
    """Accounts' simulated shares and whether they were liquidated, shape (accounts,)."""

    as_of_ms: IntArray
    share: FloatArray
    died: FloatArray


def cross_table(
    path: Path, coins: Sequence[str], announced: Announced, first: int, last: int
) -> dict[str, Any]:
    """Judge accounts of 2 to 5 coins over [first, last), three a day, calibrated monthly.

    The year before `first` is learned from; maintenance is looked at after each hour.
    """
    fates = _fates(path, coins, announced, (first - LEARN_DAYS * DAY_MS, last))
    chance = calibrated(fates, fates, first, last)
    return {"accounts": int(np.isfinite(chance).sum())} | _lines(fates, chance)


def as_served(
    path: Path, coins: Sequence[str], pair: tuple[Announced, Announced], first: int, last: int
) -> dict[str, Any]:
    """Judge the second, shorter horizon by the calibration of the first, which is what is served.

    Beside it stands what a calibration of its own would do.
    """
    span = (first - LEARN_DAYS * DAY_MS, last)
    learned, asked = (_fates(path, coins, each, span) for each in pair)
    chance = calibrated(learned, asked, first, last)
    own = calibrated(asked, asked, first, last)
    lines = _lines(asked, chance) | {"own_calibration": _lines(asked, own)["calibrated"]}
    return {"accounts": int(np.isfinite(chance).sum())} | lines


def calibrated(learned: Fates, asked: Fates, first: int, last: int) -> FloatArray:
    """Chances of what is asked, calibrated month by month on what had ended a day before."""
    chance = np.full(len(asked.share), np.nan)
    for start, end in months(first, last):
        month = (asked.as_of_ms >= start) & (asked.as_of_ms < end)
        past = learned.as_of_ms < start - DAY_MS
        if month.any():
            fitted = JointCalibration().fit(learned.share[past], learned.died[past])
            chance[month] = fitted.predict(asked.share[month])
    return chance


def months(first: int, last: int) -> list[tuple[int, int]]:
    """Months as (first, last) milliseconds inside [first, last)."""
    month = np.arange(
        np.datetime64(first, "ms").astype("datetime64[M]"),
        np.datetime64(last, "ms").astype("datetime64[M]") + 2,
    )
    borders = np.clip(month.astype("datetime64[ms]").astype(np.int64), first, last).tolist()
    return [(start, end) for start, end in itertools.pairwise(borders) if start < end]


def _lines(fates: Fates, chance: FloatArray) -> dict[str, Any]:
    there = np.isfinite(chance)
    return {
        "calibrated": line_of(chance[there], fates.died[there]),
        "simulated": line_of(fates.share[there], fates.died[there]),
    }


def _fates(path: Path, coins: Sequence[str], announced: Announced, span: tuple[int, int]) -> Fates:
    """Draw accounts each midnight, simulate them, and see what followed."""
    rng, around = np.random.default_rng(0), aligned_hours(path, coins)
    deviations = _by_instant(coins, announced)
    stamps, shares, dead = [], [], []
    for stamp in range(*span, DAY_MS):
        spread = deviations.get(stamp, np.full(len(coins), np.nan))
        known = np.flatnonzero(np.isfinite(spread)).tolist()
        window = around(stamp, LOOK_BACK_HOURS, announced.hours)
        if len(known) < 2 or window is None:
            continue
        for _ in range(ACCOUNTS_A_DAY):
            account = random_account(rng, known, MAINTENANCE)
            shares.append(joint_chance(account, window[0], spread, announced.hours))
            dead.append(died(account, window[1]))
            stamps.append(stamp)
    return Fates(
        as_of_ms=np.array(stamps, dtype=np.int64),
        share=np.array(shares),
        died=np.array(dead, dtype=np.float64),
    )


def _by_instant(coins: Sequence[str], announced: Announced) -> dict[int, FloatArray]:
    """Deviations of all coins at each midnight; NaN where none was forecast."""
    places = {coin: place for place, coin in enumerate(coins)}
    table: dict[int, FloatArray] = {}
    chosen = np.isin(announced.symbols, coins) & (announced.as_of_ms % DAY_MS == 0)
    for row in np.flatnonzero(chosen & np.isfinite(announced.forecast)).tolist():
        own = table.setdefault(int(announced.as_of_ms[row]), np.full(len(coins), np.nan))
        own[places[str(announced.symbols[row])]] = np.exp(0.5 * announced.forecast[row])
    return table


def aligned_hours(
    path: Path, coins: Sequence[str]
) -> Callable[[int, int, int], tuple[FloatArray, FloatArray] | None]:
    """Hourly log returns of the coins on one grid: what was before an instant, and after it."""
    found: dict[str, Series] = {each.symbol: each for each in read_series(path)}
    chosen = [found[coin] for coin in coins]
    start = min(each.start_ms for each in chosen)
    end = max(each.start_ms + each.length * HOUR_MS for each in chosen)
    close = np.full(((end - start) // HOUR_MS, len(coins)), np.nan)
    for column, each in enumerate(chosen):
        place = (each.start_ms - start) // HOUR_MS
        close[place : place + each.length, column] = np.log(each.bars.close[0])
    for hour in range(1, len(close)):
        close[hour] = np.where(np.isnan(close[hour]), close[hour - 1], close[hour])
    moves = np.nan_to_num(np.diff(close, axis=0, prepend=np.nan))

    def around(stamp: int, before: int, after: int) -> tuple[FloatArray, FloatArray] | None:
        place = (stamp - start) // HOUR_MS
        if place < before or place + after > len(moves):
            return None
        return moves[place - before : place], moves[place : place + after]

    return around
