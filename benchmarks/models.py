"""The models side by side with baselines: `python -m benchmarks.models --json OUT`.

Walks forward over 2020-01-01..2023-06-17 (11 coins) as `docs/evaluation.md` lays down; needs the
recorded candles of `../shared/data`, and ends with code 2 when they are absent.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from models.backtests import qlike
from models.dataset import HOUR_MS, Rows, hour_rows, joined, read_series
from models.evaluate import Coverage, Judged, Walk, coverage, daily, ewma, mean_qlike, walk_forward
from models.heads import forecast_columns
from models.train import EARLIEST_MS, volatility_forecast
from models.volatility import PooledLogHar

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FILES = (
    "binance-spot-1h-2017-2023/ohlcv-1h.parquet",
    "bitfinex-1m-2013-2019/BTCUSD-1m.parquet",
    "bitfinex-1m-2013-2019/ETHUSD-5m.parquet",
    "bitfinex-1m-2013-2019/LTCUSD-5m.parquet",
    "bitfinex-1m-2013-2019/XRPUSD-5m.parquet",
)
COINS = ("BTC", "ETH", "BNB", "XRP", "LTC", "ETC", "EOS", "TRX", "XLM", "XMR", "MATIC")
START, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2023, 6, 17, tzinfo=UTC)
HORIZONS_S = (14_400, 86_400)
FOUR_HOURS, DAY = 0, 1
HAR_NAMES = ("hours_squared_24", "hours_squared_168", "hours_squared_720")
CRISES = {
    "2020-03": ("2020-03-01", "2020-04-01"),
    "2021-05/06": ("2021-05-01", "2021-07-01"),
    "2022-05/06": ("2022-05-01", "2022-07-01"),
    "2022-11": ("2022-11-01", "2022-12-01"),
}
ANCHORS = {"EWMA(0.94) of daily RV": 0.5108, "log-HAR": 0.4115}
"""QLIKE that the reference measured, untuned, on the same coins and days."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the evaluation, print its tables, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    missing = [name for name in FILES if not (DATA / name).is_file()]
    if missing:
        print(f"skipped: {DATA / missing[0]} is absent", file=sys.stderr)
        return 2
    began = time.perf_counter()
    rows = _rows()
    day = _day_table(rows)
    tails = _tail_tables(rows, day["walks"])
    report = {
        "qlike_24h": day["qlike"],
        "crises": day["crises"],
        "coverage": tails,
        "seconds": round(time.perf_counter() - began, 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    _print(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _rows() -> Rows:
    parts: list[Rows] = []
    for name in FILES:
        _tell("reading", len(parts), 0)
        parts.extend(
            hour_rows(series, horizons_s=HORIZONS_S, stride_ms=4 * HOUR_MS)
            for series in read_series(DATA / name)
        )
    rows = joined(parts)
    return rows.select(rows.as_of_ms >= EARLIEST_MS)


def _walk(rows: Rows, column: int, *, baseline: bool) -> Judged:
    """Walk one model forward and keep the judged coins."""
    names = HAR_NAMES if baseline else forecast_columns(rows.names, minutes=False)
    walk = Walk(
        column=column,
        horizon_s=HORIZONS_S[column],
        names=names,
        model=PooledLogHar if baseline else lambda: volatility_forecast(names, 0),
        start=START,
        end=END,
    )
    judged = walk_forward(rows, walk, _tell)
    return judged.select(np.isin(judged.symbols, [f"{coin}/USDT" for coin in COINS]))


def _day_table(rows: Rows) -> dict[str, Any]:
    """QLIKE of 24 h, daily at 00:00 UTC: ours, log-HAR in the same harness, EWMA."""
    walks = {name: _walk(rows, DAY, baseline=name != "ours") for name in ("log-HAR", "ours")}
    days = {name: judged.select(daily(judged.as_of_ms)) for name, judged in walks.items()}
    losses = {
        name: qlike(judged.variance, np.exp(judged.forecast)) for name, judged in days.items()
    }
    ours = days["ours"]
    at_midnight = rows.select(daily(rows.as_of_ms))
    keys = zip(at_midnight.symbols, at_midnight.as_of_ms, strict=True)
    known = dict(zip(keys, ewma(at_midnight, DAY), strict=True))
    smooth = np.array([known[key] for key in zip(ours.symbols, ours.as_of_ms, strict=True)])
    losses = {"EWMA(0.94) of daily RV": qlike(ours.variance, smooth)} | losses
    table = {name: round(float(loss.mean()), 4) for name, loss in losses.items()}
    crises = {
        crisis: {
            name: round(float(loss[_between(ours.as_of_ms, *dates)].mean()), 4)
            for name, loss in losses.items()
        }
        for crisis, dates in CRISES.items()
    }
    bitcoin = ours.symbols == "BTC/USDT"
    crises["BTC alone"] = {n: round(float(loss[bitcoin].mean()), 4) for n, loss in losses.items()}
    return {"qlike": table | {"rows": len(ours.variance)}, "crises": crises, "walks": walks}


def _tail_tables(rows: Rows, walks: dict[str, Judged]) -> list[dict[str, Any]]:
    """Coverage of both sides: 24 h at 99 % daily, 4 h at 99.5 % every four hours."""
    table = []
    for name, judged in walks.items():
        midnight = judged.select(daily(judged.as_of_ms))
        table += [
            _line(name, "24 h", side, coverage(midnight, 0.99, long=side == "long"))
            for side in ("long", "short")
        ]
    for name in walks:
        judged = _walk(rows, FOUR_HOURS, baseline=name != "ours")
        table += [
            _line(name, "4 h", side, coverage(judged, 0.995, long=side == "long"))
            for side in ("long", "short")
        ]
        table[-1]["qlike"] = table[-2]["qlike"] = round(mean_qlike(judged), 4)
    return table


def _line(model: str, horizon: str, side: str, result: Coverage) -> dict[str, Any]:
    return {"model": model, "horizon": horizon, "side": side} | asdict(result)


def _between(as_of_ms: np.ndarray, first: str, last: str) -> np.ndarray:
    stamps = as_of_ms.astype("datetime64[ms]")
    return (stamps >= np.datetime64(first)) & (stamps < np.datetime64(last))


def _tell(stage: str, done: int, total: int) -> None:
    """Report progress on standard error."""
    print(f"\r{stage} {done}/{total or '?'}   ", end="", file=sys.stderr, flush=True)


def _print(report: dict[str, Any]) -> None:
    print(f"\nQLIKE, 24 h, {report['qlike_24h']['rows']} coin-days, 2020-01-01..2023-06-17")
    names = [name for name in report["qlike_24h"] if name != "rows"]
    print(f"{'':28}" + "".join(f"{name:>24}" for name in names))
    print(f"{'here':28}" + "".join(f"{report['qlike_24h'][name]:24.4f}" for name in names))
    anchors = [f"{ANCHORS[name]:24.4f}" if name in ANCHORS else f"{'':24}" for name in names]
    print(f"{'reference':28}" + "".join(anchors))
    for crisis, losses in report["crises"].items():
        print(f"{crisis:28}" + "".join(f"{losses[name]:24.4f}" for name in names))
    print("\ncoverage of the tail quantile (before buffer, floor, slippage and fee)")
    print(
        f"{'model':10}{'horizon':9}{'side':7}{'level':>7}{'breaches %':>12}{'Kupiec':>9}"
        f"{'Christ.':>9}{'average %':>11}{'pinball e-4':>13}{'worst year %':>14}"
    )
    for line in report["coverage"]:
        print(
            f"{line['model']:10}{line['horizon']:9}{line['side']:7}{line['level']:7.3f}"
            f"{100 * line['breach_share']:12.3f}{line['kupiec_passed']:6}/{line['symbols']}"
            f"{line['christoffersen_passed']:6}/{line['symbols']}{100 * line['average']:11.2f}"
            f"{1e4 * line['pinball']:13.2f}{100 * line['worst_year_share']:14.2f}"
        )
    print(f"\n{report['seconds']} s, peak memory {report['peak_memory_mb']} MB")


if __name__ == "__main__":
    sys.exit(main())
