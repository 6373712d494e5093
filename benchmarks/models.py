"""The models side by side with baselines: `python -m benchmarks.models --json OUT`.

Walks forward over 2020-01-01..2023-06-17 (11 coins) as `docs/evaluation.md` lays down; needs the
recorded candles of `../shared/data` and the extra `research`, and ends with code 2 when they are
absent. `--develop` judges 2018-07..2019-12 instead: look at nothing else while changing a recipe.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.close_out import (
    chance_table,
    close_out_table,
    cycle_table,
    exchange_tiers,
    missing_file,
    scored_perpetuals,
)
from benchmarks.models_report import show
from benchmarks.passages import chances
from benchmarks.short_horizon import short_table
from benchmarks.tables import breakdown, common, qlikes, sets, tail_lines, tier_lines
from benchmarks.walks import (
    DATA,
    DAY,
    FILES,
    FOUR_HOURS,
    OURS,
    Cache,
    World,
    read_world,
    walk_all,
)
from models.artifact import default_artifact, load
from models.baselines import MissingExtra, arch_models
from models.dataset import HOUR_MS
from models.features import MINUTE_MS, Candles, FeatureVector, MarketWindow, feature_vectors


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the evaluation, print its tables, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--cache", type=Path, help="keep forecasts in this folder between runs")
    parser.add_argument("--develop", action="store_true", help="judge forecasts before 2020")
    options = parser.parse_args(arguments)
    absent = [DATA / name for name in FILES if not (DATA / name).is_file()] + [missing_file()]
    if any(absent):
        print(f"skipped: {next(filter(None, absent))} is absent", file=sys.stderr)
        return 2
    try:
        arch_models()
    except MissingExtra as fault:
        print(f"skipped: {fault}", file=sys.stderr)
        return 2
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as passing:
        cache = Cache(options.cache or Path(passing))
        report = _judged(read_world(), cache, develop=options.develop)
    report["seconds"] = round(time.perf_counter() - began, 1)
    report["cpu_seconds"] = round(time.process_time())
    report["peak_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _judged(world: World, cache: Cache, *, develop: bool) -> dict[str, Any]:
    """Everything; without a cache of one's own, forecasts are kept from table to table only."""
    report = _walked(world, cache, develop=develop)
    report["short_horizon"] = short_table(cache)
    if develop:
        return report
    markets = scored_perpetuals()
    return report | {
        "chances": chances(world, cache) | {"900 s, 2025": chance_table(markets)},
        "close_out_2025": close_out_table(markets),
        "cycle": cycle_table(world),
        "speed": _speed(),
    }


def _walked(world: World, cache: Cache, *, develop: bool) -> dict[str, Any]:
    """Everything that is walked forward, over both horizons."""
    report: dict[str, Any] = {}
    for name, column in (("24h", DAY), ("4h", FOUR_HOURS)):
        judged = common(walk_all(world, column, cache, develop=develop))
        report[f"tails_{name}"] = tail_lines(judged, column)
        report[f"sets_{name}"] = sets(judged, column)
        report[f"qlike_{name}"] = qlikes(judged, column)
        report[f"tiers_{name}"] = tier_lines(judged[OURS], exchange_tiers(), column)
        report[f"breakdown_{name}"] = breakdown(world, judged[OURS], column)
    return report


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


if __name__ == "__main__":
    sys.exit(main())
