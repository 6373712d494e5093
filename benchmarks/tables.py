"""Figures of the evaluation: losses, coverage, intervals and where it is worst."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.inference import confidence_set, diebold_mariano, interval, per_instant
from benchmarks.walks import BOOSTED, HORIZONS_S, OURS, PROMISES, STATIC, World
from models.backtests import basel_green, qlike
from models.evaluate import Judged, coverage
from models.rivals import tier_tables
from models.samples import columns_of
from models.side_by_side import as_ratio, joint_losses, outcome_and_quantile
from models.tails import pinball_losses, upper_quantile

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

CRISES = {
    "2020-03": ("2020-03-01", "2020-04-01"),
    "2021-05/06": ("2021-05-01", "2021-07-01"),
    "2022-05/06": ("2022-05-01", "2022-07-01"),
    "2022-11": ("2022-11-01", "2022-12-01"),
}
CLASSES = ("thin", "middle", "deep")
BLOCK_DAYS = 10


def common(judged: Mapping[str, Judged]) -> dict[str, Judged]:
    """Keep the instants and symbols that every model forecast, in the same order."""
    keys = [pd.MultiIndex.from_arrays([each.symbols, each.as_of_ms]) for each in judged.values()]
    shared = keys[0]
    for key in keys[1:]:
        shared = shared[shared.isin(key)]
    return {
        name: each.select(np.asarray(key.isin(shared)))
        for (name, each), key in zip(judged.items(), keys, strict=True)
    }


def tail_lines(judged: Mapping[str, Judged], column: int) -> list[dict[str, Any]]:
    """Coverage, size and losses of every model and both sides over one horizon."""
    level = PROMISES[column]
    lines = []
    for long in (True, False):
        ours = judged[OURS]
        base = _instants(ours, _pinball(ours, level, long=long))
        share = coverage(ours, level, long=long).breach_share
        for name, each in judged.items():
            found = coverage(each, level, long=long)
            loss = _instants(each, _pinball(each, level, long=long))
            lines.append(
                {
                    "model": name,
                    "horizon_s": HORIZONS_S[column],
                    "side": "long" if long else "short",
                    "rows": found.rows,
                    "breaches": found.breach_share,
                    "kupiec": found.kupiec_passed,
                    "christoffersen": found.christoffersen_passed,
                    "symbols": found.symbols,
                    "average": found.average,
                    "average_at_our_breaches": average_at(each, level, share, long=long),
                    "pinball": found.pinball,
                    "worst_year": found.worst_year_share,
                    "basel_green": _green(each, level, long=long),
                    "dm_ours_against": None if name == OURS else diebold_mariano(base, loss),
                }
            )
    return lines


def sets(judged: Mapping[str, Judged], column: int) -> dict[str, dict[str, float]]:
    """P-values in the model confidence sets: pinball and FZ0 by side, QLIKE of the variances."""
    level, block = PROMISES[column], BLOCK_DAYS * 86_400 // HORIZONS_S[column]
    table = {}
    for side, long in (("long", True), ("short", False)):
        pinballs = {n: _instants(j, _pinball(j, level, long=long)) for n, j in judged.items()}
        joint = {n: _instants(j, joint_losses(j, level, long=long)) for n, j in judged.items()}
        table[f"pinball {side}"] = confidence_set(pinballs, block)
        table[f"FZ0 {side}"] = confidence_set(joint, block)
        table[f"mean FZ0 {side}"] = {n: float(loss.mean()) for n, loss in joint.items()}
        table[f"DM FZ0 {side}"] = {
            n: diebold_mariano(joint[OURS], loss) for n, loss in joint.items() if n != OURS
        }
    losses = {n: _instants(j, _qlike(j)) for n, j in judged.items() if _has_variance(n)}
    table["QLIKE"] = confidence_set(losses, block)
    return table


def qlikes(judged: Mapping[str, Judged], column: int) -> dict[str, dict[str, Any]]:
    """QLIKE of every forecast of variance: overall with its interval, by crisis, BTC, and DM."""
    block = BLOCK_DAYS * 86_400 // HORIZONS_S[column]
    base = _instants(judged[OURS], _qlike(judged[OURS]))
    table: dict[str, dict[str, Any]] = {}
    for name, each in judged.items():
        if not _has_variance(name):
            continue
        loss = _qlike(each)
        series = _instants(each, loss)
        found = interval(series, block)
        table[name] = {"all": float(loss.mean()), "low": found.low, "high": found.high}
        crises = {crisis: between(each, *dates) for crisis, dates in CRISES.items()}
        table[name] |= {
            c: float(loss[chosen].mean()) for c, chosen in crises.items() if any(chosen)
        }
        table[name]["BTC"] = float(loss[each.symbols == "BTC/USDT"].mean())
        if name != OURS:
            table[name]["dm_ours_against"] = diebold_mariano(base, series)
    return table


def breakdown(world: World, judged: Judged, column: int) -> list[dict[str, Any]]:
    """Breaches of ours by year, crisis and class of liquidity, the whole with its interval."""
    level, block = PROMISES[column], BLOCK_DAYS * 86_400 // HORIZONS_S[column]
    years = pd.to_datetime(judged.as_of_ms, unit="ms").year.to_numpy()
    groups: dict[str, BoolArray] = {str(year): years == year for year in np.unique(years)}
    groups |= {crisis: between(judged, *dates) for crisis, dates in CRISES.items()}
    classes = _classes(world, judged)
    groups |= {f"{name} markets": classes == place for place, name in enumerate(CLASSES)}
    lines = []
    for side, long in (("long", True), ("short", False)):
        breached = _breaches(judged, level, long=long)
        found = interval(_instants(judged, breached.astype(np.float64)), block)
        whole = {"side": side, "group": "all", "breaches": float(breached.mean())}
        lines.append(whole | {"low": found.low, "high": found.high})
        lines += [
            {"side": side, "group": name, "breaches": float(breached[chosen].mean())}
            for name, chosen in groups.items()
            if chosen.any()
        ]
    return lines


def tier_lines(judged: Judged, tiers: pd.DataFrame, column: int) -> list[dict[str, Any]]:
    """Judge an exchange's maintenance as a tail, from its first snapshot; ours on the same rows."""
    level, lines = PROMISES[column], []
    tables = tier_tables(judged.as_of_ms, judged.symbols, tiers)
    for name, (long_table, short_table) in tables.items():
        known = np.isfinite(long_table[:, 0])
        if not known.any():
            continue
        ours = judged.select(known)
        theirs = replace(judged, long=long_table, short=short_table).select(known)
        for side, long in (("long", True), ("short", False)):
            pair = {"tiers": theirs, "ours": ours}
            found = {who: coverage(each, level, long=long) for who, each in pair.items()}
            lines.append(
                {"model": name, "side": side, "rows": int(known.sum())}
                | {f"{who}_breaches": each.breach_share for who, each in found.items()}
                | {f"{who}_average": each.average for who, each in found.items()}
                | {f"{who}_pinball": each.pinball for who, each in found.items()}
            )
    return lines


def average_at(judged: Judged, level: float, share: float, *, long: bool) -> float:
    """Average quantile, scaled by the one constant that gives this share of breaches."""
    outcome, quantile = outcome_and_quantile(judged, level, long=long)
    scale = upper_quantile(outcome / quantile, 1.0 - share)
    return float(as_ratio(quantile * scale, long=long).mean())


def between(judged: Judged, first: str, last: str) -> BoolArray:
    """Mark instants of [first, last)."""
    stamps = judged.as_of_ms.astype("datetime64[ms]")
    return np.asarray((stamps >= np.datetime64(first)) & (stamps < np.datetime64(last)))


def _green(judged: Judged, level: float, *, long: bool) -> float:
    """Share of windows of 250 outcomes in Basel's green zone, mean over the coins."""
    breached = _breaches(judged, level, long=long)
    symbols = np.unique(judged.symbols)
    return float(np.mean([basel_green(breached[judged.symbols == s], level) for s in symbols]))


def _breaches(judged: Judged, level: float, *, long: bool) -> BoolArray:
    outcome, quantile = outcome_and_quantile(judged, level, long=long)
    return np.asarray(outcome > quantile)


def _pinball(judged: Judged, level: float, *, long: bool) -> FloatArray:
    outcome, quantile = (
        as_ratio(part, long=long) for part in outcome_and_quantile(judged, level, long=long)
    )
    return pinball_losses(outcome, quantile, level)


def _qlike(judged: Judged) -> FloatArray:
    return qlike(judged.variance, np.exp(judged.forecast))


def _has_variance(name: str) -> bool:
    """Whether a model forecasts a variance of its own."""
    return name not in {STATIC, BOOSTED} and not name.startswith("ours,")


def _instants(judged: Judged, loss: FloatArray) -> FloatArray:
    return per_instant(judged.as_of_ms, loss)


def _classes(world: World, judged: Judged) -> NDArray[np.int64]:
    """Tercile of the thin day's money among the judged coins of each instant: 0 is the thinnest."""
    money = pd.Series(
        columns_of(world.rows, ("hours_thin_day_usdc",))[:, 0],
        index=pd.MultiIndex.from_arrays([world.rows.symbols, world.rows.as_of_ms]),
    )
    own = money.loc[pd.MultiIndex.from_arrays([judged.symbols, judged.as_of_ms])].to_numpy()
    rank = pd.Series(own).groupby(judged.as_of_ms).rank(pct=True).to_numpy()
    places = np.minimum(np.ceil(rank * len(CLASSES)) - 1, len(CLASSES) - 1)
    return np.asarray(places, dtype=np.int64)
