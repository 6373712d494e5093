"""Chances of liquidation by horizon: `python -m benchmarks.passages --json OUT --cache FOLDER`.

First passage on forecasts that were walked forward, calibrated anew each half year on what had
ended: 4 h and 24 h over 2020-01..2023-06 (11 coins), 15 min and 1 h over 2018-07..2019-12
(Bitfinex BTC and ETH, on whose years the recipe was developed). Cross accounts over 24 h, and
over 4 h by the calibration of 24 h, as it is served. `benchmarks.models` prints these tables too;
`benchmarks.liquidation` has 24 h refitted monthly, and monitors.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import short_horizon
from benchmarks.calibration import line_of
from benchmarks.cross_accounts import Announced, as_served, cross_table
from benchmarks.walks import (
    DATA,
    DAY,
    END,
    FILES,
    FOUR_HOURS,
    HORIZONS_S,
    START,
    Cache,
    World,
    judged_symbols,
    read_world,
    tell,
)
from models.dataset import Rows
from models.evaluate import Walk, forecasts, with_outcome
from models.heads import forecast_columns
from models.liquidation import FirstPassage
from models.train import Recipe, volatility_forecast

FloatArray = NDArray[np.float64]
BARRIERS = {
    900: (0.005, 0.01, 0.02),
    3_600: (0.01, 0.02, 0.05),
    14_400: (0.02, 0.05, 0.10),
    86_400: (0.02, 0.05, 0.10, 0.20),
}
SHORT_START = np.datetime64("2018-07-01", "ms")
LEARN_ROWS = 40_000
"""Rows that a calibration is fitted on, evenly drawn, each at ten distances."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """Forecasts of one horizon beside what followed them."""

    rows: Rows
    column: int
    horizon_s: int
    forecast: FloatArray
    symbols: Sequence[str]
    borders: Sequence[int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Walk, calibrate, judge, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--cache", type=Path, help="keep forecasts in this folder between runs")
    options = parser.parse_args(arguments)
    absent = [DATA / name for name in FILES if not (DATA / name).is_file()]
    if absent:
        print(f"skipped: {absent[0]} is absent", file=sys.stderr)
        return 2
    report = chances(read_world(), Cache(options.cache))
    show_chances(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def chances(world: World, cache: Cache) -> dict[str, dict[str, Any]]:
    """Judge every horizon, and cross accounts."""
    four, day = walked(world, FOUR_HOURS, cache), walked(world, DAY, cache)
    fields = (short(cache, 900), short(cache, short_horizon.HOUR_S), four, day)
    return {f"{field.horizon_s} s": judged(field) for field in fields} | {
        "cross": _cross(four, day)
    }


def show_chances(report: Mapping[str, Mapping[str, Any]]) -> None:
    """Print one line a horizon, barrier and side."""
    print("\nchances of liquidation")
    for horizon, table in report.items():
        for name, line in table.items():
            print(f"  {horizon:8} {name:12}", line)


def walked(world: World, column: int, cache: Cache) -> Field:
    """Forecasts of 4 h or 24 h, as `benchmarks.models` makes and keeps them."""
    rows, horizon_s = with_outcome(world.rows, column), HORIZONS_S[column]
    names = forecast_columns(rows.names, minutes=False)
    walk = Walk(
        column=column,
        horizon_s=horizon_s,
        names=names,
        model=lambda: volatility_forecast(names, Recipe()),
        start=START,
        end=END,
    )
    made = cache.get(f"judge-{horizon_s}-ours", rows, partial(forecasts, rows, walk, tell))
    first = np.datetime64("2020-01-01", "ms")
    return Field(
        rows=rows,
        column=column,
        horizon_s=horizon_s,
        forecast=made,
        symbols=judged_symbols(),
        borders=_half_years(first, np.datetime64("2023-06-17", "ms")),
    )


def short(cache: Cache, horizon_s: int) -> Field:
    """Forecasts of at most 1 h, as `benchmarks.short_horizon` makes and keeps them."""
    rows, made = short_horizon.our_forecasts(cache, horizon_s)
    return Field(
        rows=rows,
        column=0,
        horizon_s=horizon_s,
        forecast=made,
        symbols=short_horizon.JUDGED,
        borders=_half_years(SHORT_START, np.datetime64("2020-01-01", "ms")),
    )


def judged(field: Field) -> dict[str, Any]:
    """Judge each barrier and side."""
    deviation, stamps = np.exp(0.5 * field.forecast), field.rows.as_of_ms
    known = np.isfinite(deviation)
    asked = known & np.isin(field.rows.symbols, field.symbols)
    table = {}
    for name, outcome in (("long", field.rows.falls), ("short", field.rows.rises)):
        excursion = outcome[:, field.column]
        chances = {barrier: np.full(len(stamps), np.nan) for barrier in BARRIERS[field.horizon_s]}
        for first, last in zip(field.borders[:-1], field.borders[1:], strict=True):
            past = np.flatnonzero(known & (stamps < first - 1_000 * field.horizon_s))
            past = past[:: -(-len(past) // LEARN_ROWS)]
            model = FirstPassage().fit(deviation[past], excursion[past], stamps[past])
            now = asked & (stamps >= first) & (stamps < last)
            for barrier, chance in chances.items():
                far = np.full(int(now.sum()), _distance(barrier, name))
                chance[now] = model.predict(far, deviation[now])
        for barrier, chance in chances.items():
            there = np.isfinite(chance)
            hit = (excursion[there] >= _distance(barrier, name)).astype(np.float64)
            table[f"{name} {barrier:.1%}"] = line_of(chance[there], hit)
    return table


def _cross(four: Field, day: Field) -> dict[str, Any]:
    """Judge random cross accounts over both horizons."""
    first, last = day.borders[0], day.borders[-1]
    hours, shorter = _announced(day), _announced(four)
    path, coins = DATA / FILES[0], judged_symbols()
    return {
        "24 h": cross_table(path, coins, hours, first, last),
        "4 h": as_served(path, coins, (hours, shorter), first, last),
    }


def _announced(field: Field) -> Announced:
    return Announced(
        hours=field.horizon_s // 3_600,
        as_of_ms=field.rows.as_of_ms,
        symbols=field.rows.symbols,
        forecast=field.forecast,
    )


def _distance(barrier: float, side: str) -> float:
    return float(-np.log1p(-barrier) if side == "long" else np.log1p(barrier))


def _half_years(first: np.datetime64, last: np.datetime64) -> list[int]:
    months = np.arange(first.astype("datetime64[M]"), last.astype("datetime64[M]") + 1, 6)
    borders = [int(month) for month in months.astype("datetime64[ms]").astype(np.int64)]
    return [*borders, int(last.astype(np.int64))]


if __name__ == "__main__":
    sys.exit(main())
