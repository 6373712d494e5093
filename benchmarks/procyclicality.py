"""How far what the policy publishes swings: `python -m benchmarks.procyclicality --json OUT`.

An artifact (`--model FOLDER`, else the shipped one) scores every day at 00:00 UTC from hourly
candles; the policy turns that into a maintenance at a liquidation of 100,000. Shown are peak to
trough, the worst rise over five days and the average, as the mean over coins and for the worst of
them: over the days before 2020, on which weight, buffer and stressed tail were chosen, and
(`--read`) over 2020 to 2023. Each line is one choice an operator has; the average is what it costs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.policy import ClassPolicy, PolicySettings, margin_of
from benchmarks.walks import DATA, END, FILES, START, judged_symbols, tell
from models.artifact import default_artifact, load
from models.dataset import HOUR_MS, Rows, hour_rows, joined, read_series, with_state
from models.features import FeatureVector
from models.scorer import REFERENCE_NOTIONALS_USDC, RiskScores, Scorer

FloatArray = NDArray[np.float64]

DAY_HOURS, RISE_DAYS = 24, 5
LEAST_DAYS = 500
"""A coin with fewer days before 2020 says nothing about a cycle."""
NOTIONAL = REFERENCE_NOTIONALS_USDC[1]
FLOOR = 0.01
"""Smallest maintenance of the local configuration, that of its majors."""
FLOORS = (0.01, 0.03, 0.05, 0.06, 0.07)
WEIGHTS = (0.25, 0.5, 0.75)
STRESSED_SHARE = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Coin:
    """One coin's scores, one a day."""

    symbol: str
    as_of_ms: NDArray[np.int64]
    scores: Sequence[RiskScores]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--read", action="store_true", help="read 2020 to 2023 too")
    parser.add_argument("--model", type=Path, help="an artifact's folder; else the shipped one")
    options = parser.parse_args(arguments)
    path = DATA / FILES[0]
    if not path.is_file():
        print(f"skipped: {path} is absent", file=sys.stderr)
        return 2
    coins = scored(path, options.model or default_artifact())
    start, end = (int(border.timestamp() * 1_000) for border in (START, END))
    early = [between(coin, 0, start) for coin in coins]
    early = [coin for coin in early if len(coin.scores) >= LEAST_DAYS]
    report: dict[str, Any] = {
        "stressed_tail": stressed_tail(early),
        "before 2020": table(early),
    }
    if options.read:
        judged = [coin for coin in coins if coin.symbol in judged_symbols()]
        report["2020 to 2023"] = table([between(coin, start, end) for coin in judged])
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def scored(path: Path, model: Path) -> list[Coin]:
    """Score every coin of a candle file once a day, in the state of all of them."""
    scorer, parts = load(model).scorer, []
    for done, series in enumerate(read_series(path)):
        tell("reading", done, 0)
        rows = hour_rows(series, horizons_s=(86_400,), stride_ms=DAY_HOURS * HOUR_MS)
        if len(rows.as_of_ms):
            parts.append(rows)
    whole = with_state(joined(parts))
    coins = []
    for symbol in dict.fromkeys(whole.symbols.tolist()):
        rows = whole.select(whole.symbols == symbol)
        coins.append(Coin(symbol=symbol, as_of_ms=rows.as_of_ms, scores=_scores(scorer, rows)))
    return coins


def between(coin: Coin, first_ms: int, last_ms: int) -> Coin:
    """Keep the days in [first, last)."""
    chosen = (coin.as_of_ms >= first_ms) & (coin.as_of_ms < last_ms)
    scores = [score for score, keeps in zip(coin.scores, chosen, strict=True) if keeps]
    return Coin(symbol=coin.symbol, as_of_ms=coin.as_of_ms[chosen], scores=scores)


def stressed_tail(coins: Sequence[Coin]) -> dict[str, float]:
    """Return the 99 % quantile over days of the bare tail: of all coins together, and of each."""
    own = {coin.symbol: _tails(coin) for coin in coins}
    values = {name: float(np.quantile(tails, STRESSED_SHARE)) for name, tails in own.items()}
    whole = np.concatenate(list(own.values()))
    return {"days": len(whole), "pooled": float(np.quantile(whole, STRESSED_SHARE))} | values


def table(coins: Sequence[Coin]) -> dict[str, dict[str, float]]:
    """Measure the bare tail, the policy as it is, and what else an operator could choose."""
    lines = {
        "bare tail": [_tails(coin) for coin in coins],
        "tail, way out and fee": _published(coins, _rules(weight=0.0, buffer=0.0)),
        "policy": _published(coins, _rules()),
    }
    for floor in FLOORS[1:]:
        lines[f"floor {floor:.0%}"] = _published(coins, _rules(), floor)
    for weight in WEIGHTS[1:]:
        lines[f"weight {weight:.0%}"] = _published(coins, _rules(weight=weight))
    return {name: _figures(values) for name, values in lines.items()}


def show(report: dict[str, Any]) -> None:
    """Print the tables."""
    print("\nstressed tail, 99 % of days before 2020:", _rounded(report["stressed_tail"]))
    for period in ("before 2020", "2020 to 2023"):
        for name, line in report.get(period, {}).items():
            print(
                f"{period:13} {name:22} peak to trough {line['peak_to_trough']:5.1f} "
                f"(worst {line['worst_peak_to_trough']:5.1f})  five days "
                f"{line['five_day_rise']:+6.0%} (worst {line['worst_rise']:+6.0%})  "
                f"average {line['average']:.2%}"
            )


def cycle(values: FloatArray) -> tuple[float, float, float]:
    """Peak to trough, worst rise over five days, and average of daily values."""
    rise = values[RISE_DAYS:] / values[:-RISE_DAYS] - 1.0
    return float(values.max() / values.min()), float(rise.max()), float(values.mean())


def _scores(scorer: Scorer, rows: Rows) -> Sequence[RiskScores]:
    return scorer.score(
        [
            FeatureVector(market=0, as_of_ms=int(stamp), names=rows.names, values=tuple(values))
            for stamp, values in zip(rows.as_of_ms, rows.features.tolist(), strict=True)
        ]
    )


def _tails(coin: Coin) -> FloatArray:
    return np.array([max(score.tail_long, score.tail_short) for score in coin.scores])


def _rules(*, weight: float = 0.25, buffer: float = 0.25) -> PolicySettings:
    return PolicySettings(classes={}, stressed_weight=weight, buffer_ratio=buffer)


def _published(
    coins: Sequence[Coin], policy: PolicySettings, floor: float = FLOOR
) -> list[FloatArray]:
    rules = ClassPolicy(
        maintenance_floor_ratio=floor, max_leverage=50, liquidation_notional_usdc=NOTIONAL
    )
    return [
        np.array([margin_of(score, rules, policy).ratio for score in coin.scores]) for coin in coins
    ]


def _figures(values: Sequence[FloatArray]) -> dict[str, float]:
    found = np.array([cycle(own) for own in values])
    names = ("peak_to_trough", "five_day_rise", "average")
    means = dict(zip(names, found.mean(axis=0).tolist(), strict=True))
    worst = found.max(axis=0)
    return means | {"worst_peak_to_trough": float(worst[0]), "worst_rise": float(worst[1])}


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


if __name__ == "__main__":
    sys.exit(main())
