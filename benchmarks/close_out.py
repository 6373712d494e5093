"""The shipped artifact and the policy beside an exchange's own tiers, and through the crises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agent.policy import ClassPolicy, PolicySettings, margin_of
from benchmarks.calibration import line_of
from benchmarks.walks import DATA, END, START, World, judged_symbols
from models.artifact import default_artifact, load
from models.conformal import RULES, Promises, replayed
from models.dataset import Rows, joined, minute_rows, read_series, with_state
from models.evaluate import daily
from models.features import FeatureVector
from models.scorer import REFERENCE_NOTIONALS_USDC, RiskScores

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PERPETUALS = "binance-usdm-1m-2025/1m.parquet"
TIERS = "binance-leverage-tiers-2022-2026/tiers-panel.parquet"
CLOSE_OUT_S = 900
CLOSE_OUT_BARRIERS = (0.005, 0.01, 0.02)
LEVEL = 0.995
SIDES = ("long", "short")
POLICY = PolicySettings(classes={})
FLOOR = 0.01
"""Smallest maintenance of the local configuration, that of its majors."""
RISE_DAYS = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Perpetual:
    """One market of 2025: its windows of 15 minutes and how they were scored."""

    symbol: str
    rows: Rows
    scores: Sequence[RiskScores]


def scored_perpetuals() -> list[Perpetual]:
    """Score 16 perpetuals of 2025, never trained on, by the shipped artifact."""
    scorer = load(default_artifact()).scorer
    parts = [
        minute_rows(series, horizons_s=(CLOSE_OUT_S,), stride_ms=CLOSE_OUT_S * 1_000)
        for series in read_series(DATA / PERPETUALS)
    ]
    rows = with_state(joined(parts))
    rows = rows.select(np.isfinite(rows.falls[:, 0]))
    known = [(name, rows.select(rows.symbols == name)) for name in dict.fromkeys(rows.symbols)]
    return [
        Perpetual(symbol=str(name), rows=own, scores=scorer.score(_vectors(own)))
        for name, own in known
    ]


def close_out_table(markets: Sequence[Perpetual]) -> list[dict[str, Any]]:
    """Breaches of ours and of the tiers, by market."""
    tiers = exchange_tiers()
    return [
        {"symbol": each.symbol, "rows": len(each.scores)}
        | _market(each.rows, each.scores, tiers[tiers["symbol"] == each.symbol])
        for each in markets
    ]


def chance_table(markets: Sequence[Perpetual]) -> dict[str, dict[str, Any]]:
    """Chances of liquidation within 15 minutes by the artifact's own heads, all markets pooled."""
    risks = load(default_artifact()).risks
    if risks is None:
        return {}
    head = next(each for each in risks.passages if each.horizon_s == CLOSE_OUT_S)
    deviation = np.array([score.volatility[0] for each in markets for score in each.scores])
    table = {}
    for side, name in ((head.long, "falls"), (head.short, "rises")):
        outcome = np.concatenate([getattr(each.rows, name)[:, 0] for each in markets])
        for barrier in CLOSE_OUT_BARRIERS:
            far = float(-np.log1p(-barrier) if name == "falls" else np.log1p(barrier))
            chance = side.predict(np.full(len(deviation), far), deviation)
            line = line_of(chance, (outcome >= far).astype(np.float64))
            table[f"{'long' if name == 'falls' else 'short'} {barrier:.1%}"] = line
    return table


def exchange_tiers() -> pd.DataFrame:
    """Read the recorded tiers."""
    return pd.read_parquet(DATA / TIERS)


def cycle_table(world: World) -> dict[str, dict[str, float]]:
    """Peak to trough, worst five-day rise and average of what is published, 2020 to 2023.

    Daily at 00:00 UTC by the shipped artifact from hourly candles; the mean over the coins of
    the protocol and the worst of them, for the policy, and for the bare tail.
    """
    first, last = (int(border.timestamp() * 1_000) for border in (START, END))
    rows = world.rows
    chosen = np.isin(rows.symbols, judged_symbols()) & daily(rows.as_of_ms)
    rows = rows.select(chosen & (rows.as_of_ms >= first) & (rows.as_of_ms < last))
    scores = load(default_artifact()).scorer.score(_vectors(rows))
    margins = _margins(scores, REFERENCE_NOTIONALS_USDC[1])
    tails = np.array([max(score.tail_long, score.tail_short) for score in scores])
    table = {}
    for name, values in (("policy", margins), ("bare tail", tails)):
        figures = np.array([_cycle(values[rows.symbols == coin]) for coin in judged_symbols()])
        names = ("peak_to_trough", "five_day_rise", "average")
        table[name] = dict(zip(names, figures.mean(axis=0).tolist(), strict=True))
        worst = figures.max(axis=0)
        table[name] |= {"worst_peak_to_trough": float(worst[0]), "worst_rise": float(worst[1])}
    return table


def missing_file() -> Path | None:
    """Return the first recorded file that these tables need and that is absent."""
    paths = (DATA / PERPETUALS, DATA / TIERS)
    return next((path for path in paths if not path.is_file()), None)


def _vectors(rows: Rows) -> list[FeatureVector]:
    return [
        FeatureVector(market=0, as_of_ms=int(stamp), names=rows.names, values=tuple(values))
        for stamp, values in zip(rows.as_of_ms, rows.features.tolist(), strict=True)
    ]


def _market(rows: Rows, scores: Sequence[RiskScores], tiers: pd.DataFrame) -> dict[str, Any]:
    """Breaches by side of the tail, with and without the online factor, and of maintenance."""
    outcomes = {"long": -np.expm1(-rows.falls[:, 0]), "short": np.expm1(rows.rises[:, 0])}
    tails = {
        "long": np.array([score.tail_long for score in scores]),
        "short": np.array([score.tail_short for score in scores]),
    }
    line: dict[str, Any] = {
        "out_of_domain": float(np.mean([bool(s.out_of_domain) for s in scores]))
    }
    for side in SIDES:
        online = tails[side] * _factor(rows.as_of_ms, tails[side], outcomes[side])
        line |= {
            f"{side}_breaches": float((outcomes[side] > tails[side]).mean()),
            f"{side}_average": float(tails[side].mean()),
            f"{side}_breaches_online": float((outcomes[side] > online).mean()),
            f"{side}_average_online": float(online.mean()),
        }
    worse = np.maximum(outcomes["long"], outcomes["short"])
    line["sizes"] = [
        _size(rows.as_of_ms, scores, tiers, size, worse) for size in REFERENCE_NOTIONALS_USDC
    ]
    return line


def _factor(as_of_ms: IntArray, quantile: FloatArray, outcome: FloatArray) -> FloatArray:
    promises = Promises(
        as_of_ms=as_of_ms,
        markets=np.full(len(as_of_ms), "one"),
        quantile=quantile,
        outcome=outcome,
    )
    return replayed(promises, level=LEVEL, horizon_ms=CLOSE_OUT_S * 1_000, rules=RULES)


def _size(
    as_of_ms: IntArray,
    scores: Sequence[RiskScores],
    tiers: pd.DataFrame,
    notional: float,
    excursion: FloatArray,
) -> dict[str, float | None]:
    """One size: maintenance, and how often the worse side ran through it.

    Ours must also pay the way out and the fee; the tiers are asked for the excursion alone.
    """
    place = REFERENCE_NOTIONALS_USDC.index(notional)
    way_out = np.array([score.liquidity.slippage_ratio[place] for score in scores])
    maintenance = _margins(scores, notional)
    rates = _rates(as_of_ms, tiers, notional)
    return {
        "notional": notional,
        "breaches": float((excursion + way_out + POLICY.fee_ratio > maintenance).mean()),
        "maintenance": float(maintenance.mean()),
        "tier_breaches": None if rates is None else float((excursion > rates).mean()),
        "tier_maintenance": None if rates is None else float(rates.mean()),
    }


def _margins(scores: Sequence[RiskScores], notional: float) -> FloatArray:
    rules = ClassPolicy(
        maintenance_floor_ratio=FLOOR, max_leverage=50, liquidation_notional_usdc=notional
    )
    return np.array([margin_of(score, rules, POLICY).ratio for score in scores])


def _rates(as_of_ms: IntArray, tiers: pd.DataFrame, notional: float) -> FloatArray | None:
    """Maintenance rate of the tier then in force for a notional; None where there is none."""
    bands = (tiers["min_notional"] <= notional) & (notional < tiers["max_notional"])
    held = tiers[bands].sort_values("snapshot")
    stamps = pd.DatetimeIndex(held["snapshot"]).as_unit("ms").astype(np.int64).to_numpy()
    place = np.searchsorted(stamps, as_of_ms, side="right") - 1
    if not len(stamps) or place.min() < 0:
        return None
    return np.asarray(held["mmr"].to_numpy()[place], dtype=np.float64)


def _cycle(values: FloatArray) -> tuple[float, float, float]:
    rise = values[RISE_DAYS:] / values[:-RISE_DAYS] - 1.0
    return float(values.max() / values.min()), float(rise.max()), float(values.mean())
