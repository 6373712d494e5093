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
from threadpoolctl import threadpool_limits

from models.artifact import default_artifact, load
from models.backtests import qlike
from models.dataset import HOUR_MS, Rows, hour_rows, joined, minute_rows, read_series
from models.evaluate import Coverage, Judged, Walk, coverage, daily, ewma, mean_qlike, walk_forward
from models.features import MINUTE_MS, Candles, FeatureVector, MarketWindow, feature_vectors
from models.heads import forecast_columns
from models.train import EARLIEST_MS, Recipe, volatility_forecast
from models.volatility import PooledLogHar

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PERPETUALS = "binance-usdm-1m-2025/1m.parquet"
CLOSE_OUT_MS = 900_000
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
    missing = [name for name in (*FILES, PERPETUALS) if not (DATA / name).is_file()]
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
        "close_out_2025": _close_out_table(),
        "speed": _speed(),
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
        model=PooledLogHar if baseline else lambda: volatility_forecast(names, Recipe()),
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


def _close_out_table() -> list[dict[str, Any]]:
    """The shipped artifact on 16 perpetuals of 2025, never trained on: 15 min, 99.5 %."""
    scorer = load(default_artifact()).scorer
    table = []
    for series in read_series(DATA / PERPETUALS):
        rows = minute_rows(series, horizons_s=(900,), stride_ms=CLOSE_OUT_MS)
        rows = rows.select(np.isfinite(rows.falls[:, 0]))
        vectors = [
            FeatureVector(market=0, as_of_ms=int(stamp), names=rows.names, values=tuple(values))
            for stamp, values in zip(rows.as_of_ms, rows.features.tolist(), strict=True)
        ]
        scores = scorer.score(vectors)
        longs, shorts = np.array([(score.tail_long, score.tail_short) for score in scores]).T
        table.append(
            {
                "symbol": series.symbol,
                "rows": len(scores),
                "long_breaches": float((-np.expm1(-rows.falls[:, 0]) > longs).mean()),
                "short_breaches": float((np.expm1(rows.rises[:, 0]) > shorts).mean()),
                "average_long": float(longs.mean()),
                "average_short": float(shorts.mean()),
                "out_of_domain": float(np.mean([bool(score.out_of_domain) for score in scores])),
            }
        )
    return table


def _speed(markets: int = 200, repeats: int = 100) -> dict[str, float]:
    """Milliseconds from windows in memory to scores, one thread, 720 hours and 1,440 minutes."""
    scorer = load(default_artifact()).scorer
    rng = np.random.default_rng(0)
    windows = [
        MarketWindow(
            market=market,
            as_of_ms=HOUR_MS * 400_000,
            hours=_random_candles(rng, HOUR_MS, 720),
            minutes=_random_candles(rng, MINUTE_MS, 1_440),
        )
        for market in range(markets)
    ]
    taken = []
    with threadpool_limits(1):
        for _ in range(repeats):
            began = time.perf_counter()
            known = feature_vectors(windows)
            scorer.score([vector for vector in known if isinstance(vector, FeatureVector)])
            taken.append(1_000 * (time.perf_counter() - began))
    half, most = (float(value) for value in np.quantile(taken, (0.5, 0.99)))
    return {"markets": markets, "p50_ms": round(half, 1), "p99_ms": round(most, 1)}


def _random_candles(rng: np.random.Generator, bar_ms: int, bars: int) -> Candles:
    path = 100.0 * np.exp(np.cumsum(rng.standard_normal(bars + 1)) * 0.001)
    opens, closes = path[:-1].copy(), path[1:].copy()
    last = HOUR_MS * 400_000 - bar_ms
    return Candles(
        bar_ms=bar_ms,
        open_ms=last - bar_ms * np.arange(bars - 1, -1, -1, dtype=np.int64),
        open=opens,
        high=np.maximum(opens, closes) * 1.0005,
        low=np.minimum(opens, closes) * 0.9995,
        close=closes,
        volume=rng.gamma(2.0, 100.0, bars),
    )


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
    _print_close_out(report["close_out_2025"])
    speed = report["speed"]
    print(
        f"\nfeatures and scores of {speed['markets']} markets, one thread: "
        f"p50 {speed['p50_ms']} ms, p99 {speed['p99_ms']} ms"
    )
    print(f"\n{report['seconds']} s, peak memory {report['peak_memory_mb']} MB")


def _print_close_out(table: list[dict[str, Any]]) -> None:
    print(
        "\nshipped artifact, close-out of 15 min at 99.5 %, perpetuals of 2025 (never trained on)"
    )
    print(f"{'symbol':20}{'rows':>7}{'long %':>9}{'short %':>9}{'average %':>11}{'no score %':>12}")
    names = ("long_breaches", "short_breaches", "average_long", "out_of_domain")
    for line in table:
        figures = [100 * line[name] for name in names]
        print(
            f"{line['symbol']:20}{line['rows']:7}"
            + "{:9.2f}{:9.2f}{:11.2f}{:12.2f}".format(*figures)
        )
    weights = np.array([line["rows"] for line in table], dtype=np.float64)
    pooled = [
        100 * float(np.average([ln[name] for ln in table], weights=weights)) for name in names
    ]
    print(f"{'all':20}{int(weights.sum()):7}" + "{:9.2f}{:9.2f}{:11.2f}{:12.2f}".format(*pooled))


if __name__ == "__main__":
    sys.exit(main())
