"""Liquidation probabilities and monitors, walk-forward: `python -m benchmarks.liquidation`.

Forecasts of 24 h are those of the walk in docs/evaluation.md; the calibration is refitted each
month on outcomes known by then. Judged on 11 coins, every four hours, 2020-01-01..2023-06-17.
Needs the recorded candles of `../shared/data`, and ends with code 2 when they are absent.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration import line_of
from benchmarks.cross_accounts import Announced, cross_table, months
from benchmarks.walks import DATA, END, FILES, START, judged_symbols
from models.backtests import kupiec
from models.dataset import HOUR_MS, hour_rows, joined, read_series, with_state
from models.evaluate import Judged, Walk, walk_forward
from models.heads import forecast_columns
from models.liquidation import DAY_MS, FirstPassage, reflection
from models.monitors import (
    alarms,
    breach_detector,
    breach_excess,
    calibration_detectors,
    calibration_excess,
    delays,
)
from models.samples import EARLIEST_MS
from models.train import Recipe, volatility_forecast

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

HOURLY = FILES[0]
WALK_START = datetime(2016, 7, 1, tzinfo=UTC)
DAY_S, DAY_HOURS = 86_400, 24
BARRIERS = (0.02, 0.05, 0.10, 0.20)
LEARN_EACH = 5
"""Every fifth row is learned from: neighbours overlap in 20 of 24 hours."""
ONSETS = (("2021-05", "2021-05-19"), ("2022-05", "2022-05-09"), ("2022-11", "2022-11-08"))
FIELDS = ("as_of_ms", "symbols", "variance", "forecast", "falls", "rises", "long", "short")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the evaluation, print its tables, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--forecasts", type=Path, help="keep the walk's forecasts in this file")
    parser.add_argument(
        "--before-2020", action="store_true", help="judge 2018 and 2019: to develop"
    )
    options = parser.parse_args(arguments)
    missing = [name for name in FILES if not (DATA / name).is_file()]
    if missing:
        print(f"skipped: {DATA / missing[0]} is absent", file=sys.stderr)
        return 2
    judged = _forecasts(options.forecasts)
    first, last = _ms(START), _ms(END)
    if options.before_2020:
        first, last = _ms(datetime(2018, 7, 1, tzinfo=UTC)), _ms(START)
        judged = judged.select(judged.as_of_ms < last)
    chance = _chances(judged, first, last)
    chosen = np.isfinite(chance[0][:, 0]) & np.isin(judged.symbols, judged_symbols())
    announced = Announced(
        hours=DAY_HOURS,
        as_of_ms=judged.as_of_ms,
        symbols=judged.symbols,
        forecast=judged.forecast,
    )
    report = {
        "isolated": _isolated(judged.select(chosen), [table[chosen] for table in chance]),
        "cross": cross_table(DATA / HOURLY, judged_symbols(), announced, first, last),
        "monitors": _monitors(judged.select(chosen), chance[0][chosen]),
    }
    print(json.dumps(report, indent=1))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _forecasts(cache: Path | None) -> Judged:
    """Forecasts of 24 h of every symbol beside what followed, walked forward or read back."""
    if cache is not None and cache.is_file():
        with np.load(cache) as kept:
            return Judged(**{name: kept[name] for name in FIELDS})
    parts = [
        hour_rows(series, horizons_s=(DAY_S,), stride_ms=4 * HOUR_MS)
        for name in FILES
        for series in read_series(DATA / name)
    ]
    rows = with_state(joined(parts))
    rows = rows.select(rows.as_of_ms >= EARLIEST_MS)
    names = forecast_columns(rows.names, minutes=False)
    walk = Walk(
        column=0,
        horizon_s=DAY_S,
        names=names,
        model=lambda: volatility_forecast(names, Recipe()),
        start=WALK_START,
        end=END,
    )
    judged = walk_forward(rows, walk, _tell)
    if cache is not None:
        np.savez(cache, **{name: getattr(judged, name) for name in FIELDS})
    return judged


def _chances(judged: Judged, first: int, last: int) -> list[FloatArray]:
    """Calibrate month by month on what was known; longs and shorts, shape (rows, BARRIERS)."""
    deviation = np.exp(0.5 * judged.forecast)
    tables = [np.full((len(deviation), len(BARRIERS)), np.nan) for _ in range(2)]
    for start, end in months(first, last):
        known = np.flatnonzero(judged.as_of_ms < start - DAY_MS)[::LEARN_EACH]
        month = (judged.as_of_ms >= start) & (judged.as_of_ms < end)
        for side, outcome in enumerate((judged.falls, judged.rises)):
            model = FirstPassage().fit(deviation[known], outcome[known], judged.as_of_ms[known])
            for place, distance in enumerate(_distances(side)):
                far = np.full(int(month.sum()), distance)
                tables[side][month, place] = model.predict(far, deviation[month])
        _tell("calibrating", start, last)
    return tables


def _isolated(judged: Judged, chance: Sequence[FloatArray]) -> dict[str, Any]:
    """Judge each barrier and side, pooled, by year, and beside the textbook's formula."""
    deviation = np.exp(0.5 * judged.forecast)
    table: dict[str, Any] = {"rows": len(deviation)}
    pooled: list[tuple[FloatArray, FloatArray]] = []
    for side, name in enumerate(("long", "short")):
        outcome = (judged.falls, judged.rises)[side]
        for place, barrier in enumerate(BARRIERS):
            distance = _distances(side)[place]
            hit = (outcome >= distance).astype(np.float64)
            ours = chance[side][:, place]
            pooled.append((ours, hit))
            line = line_of(ours, hit)
            plain = reflection(np.full(len(hit), distance), deviation)
            line["textbook"] = line_of(plain, hit)
            line["by_year"] = {
                year: round(float(ours[chosen].mean() / max(hit[chosen].mean(), 1e-9)), 3)
                for year, chosen in _years(judged.as_of_ms)
            }
            table[f"{name} {barrier:.0%}"] = line
    for name, part in (("long", pooled[:4]), ("short", pooled[4:]), ("both", pooled)):
        ours, hit = (np.concatenate([pair[place] for pair in part]) for place in range(2))
        climate = np.concatenate([np.full(len(pair[1]), pair[1].mean()) for pair in part])
        line = line_of(ours, hit)
        line["skill"] = round(1.0 - line["brier"] / float(np.square(climate - hit).mean()), 4)
        table[f"all, {name}"] = line
    return table


def _monitors(judged: Judged, chance: FloatArray) -> dict[str, Any]:
    """Replay the monitors day by day: our tail, a static one, and the probability at 10 %."""
    midnight = judged.as_of_ms % DAY_MS == 0
    days, chance = judged.select(midnight), chance[midnight]
    stamps = [int(stamp) for stamp in np.unique(days.as_of_ms)]
    static = _static_quantile(days)
    hit = (days.falls >= _distances(0)[2]).astype(np.float64)
    low = [calibration_excess(hit[at], chance[at, 2]) for at in _days(days, stamps)]
    low_detector, high_detector = calibration_detectors(DAY_S)
    records = {
        "our tail 99 %": (breach_detector(DAY_S), _breaches(days, stamps, days.long[:, 0])),
        "static 99 %, frozen in 2020": (breach_detector(DAY_S), _breaches(days, stamps, static)),
        "probability at 10 % too low": (low_detector, low),
        "probability at 10 % too high": (high_detector, [-excess for excess in low]),
    }
    onsets = [
        (name, _ms(datetime.fromisoformat(date).replace(tzinfo=UTC))) for name, date in ONSETS
    ]
    table: dict[str, Any] = {}
    for name, (detector, excesses) in records.items():
        found = alarms(detector, stamps, excesses)
        table[name] = {
            "alarms": [str(np.datetime64(alarm.at_ms, "ms"))[:10] for alarm in found],
            "delay_days": {delay.name: delay.days for delay in delays(found, onsets)},
        }
    breaches = days.falls > days.long[:, 0]
    table["our breaches"] = {
        name: round(
            float(breaches[(days.as_of_ms >= at) & (days.as_of_ms < at + 30 * DAY_MS)].mean()), 4
        )
        for name, at in onsets
    }
    table["our breaches"]["all"] = round(float(breaches.mean()), 4)
    table["our breaches"]["kupiec_p"] = round(kupiec(breaches, 0.99).p_value, 4)
    return table


def _static_quantile(days: Judged) -> FloatArray:
    """Each coin's own 99 % quantile of 2020, applied to every later day: what nobody retrained."""
    result = np.full(len(days.falls), np.inf)
    early = days.as_of_ms < _ms(datetime(2021, 1, 1, tzinfo=UTC))
    for symbol in np.unique(days.symbols):
        own = days.symbols == symbol
        if (own & early).any():
            result[own & ~early] = np.quantile(days.falls[own & early], 0.99)
    return result


def _breaches(days: Judged, stamps: Sequence[int], quantile: FloatArray) -> list[float]:
    broken = (days.falls > quantile).astype(np.float64)
    return [breach_excess(broken[at], 0.01) for at in _days(days, stamps)]


def _days(days: Judged, stamps: Sequence[int]) -> list[BoolArray]:
    return [np.asarray(days.as_of_ms == stamp) for stamp in stamps]


def _distances(side: int) -> list[float]:
    """Distances of the barriers as logarithms: a fall for longs, a rise for shorts."""
    return [float(-np.log1p(-b) if side == 0 else np.log1p(b)) for b in BARRIERS]


def _years(as_of_ms: NDArray[np.int64]) -> list[tuple[str, BoolArray]]:
    years = as_of_ms.astype("datetime64[ms]").astype("datetime64[Y]")
    return [(str(year), np.asarray(years == year)) for year in np.unique(years)]


def _ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1_000)


def _tell(stage: str, done: int, total: int) -> None:
    """Say how far the work has come."""
    print(f"\r{stage} {done}/{total}   ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
