"""One artifact, as it is, judged on one candle file: what promotion asks for and the card shows.

Nothing of it is refitted. Every market of the file is scored at each horizon's end from its own
past; its online factor begins at the pooled prior and moves with what the file's outcomes say by
then. Beside it stand the baselines of `models.rivals`, which walk forward inside the file, each on
the rows that it can forecast, with ours on the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.artifact import LoadedModel
from models.backtests import qlike
from models.baselines import HourReturns, hour_returns
from models.conformal import RULES, Promises, replayed
from models.dataset import (
    FIVE_MINUTES_MS,
    HOUR_MS,
    DatasetError,
    Rows,
    Series,
    file_sha256,
    hour_rows,
    joined,
    minute_rows,
    read_series,
    with_state,
)
from models.evaluate import EWMA_DECAY, Judged, coverage
from models.features import FeatureVector
from models.heads import HORIZONS_S
from models.rivals import Field, judged_rival, rivals, tier_tables
from models.scorer import Scorer
from models.side_by_side import mean_loss, tail_line
from models.tails import LEVELS

FloatArray = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
Report = Mapping[str, Any]
Tiers = pd.DataFrame
"""An exchange's dated tiers, with `TIER_COLUMNS`."""

LEVELS_BY_HORIZON = {900: 0.995, 3_600: 0.995, 14_400: 0.995, 86_400: 0.99}
SCORED_AT_ONCE = 2_000
TELL_EVERY = 10
TIER_COLUMNS = ("snapshot", "symbol", "min_notional", "max_notional", "mmr")
BUCKETS = 10


def judge(
    model: LoadedModel,
    path: Path,
    horizon_s: int,
    progress: Progress | None = None,
    tiers: Path | None = None,
) -> dict[str, Any]:
    """Judge a model on a candle file; returns the report, ready for JSON.

    `tiers` names an exchange's dated leverage tiers (parquet: snapshot, symbol, min_notional,
    max_notional, mmr), which are judged too from the day they begin.

    Raises
    ------
    DatasetError
        When a file is of no use for the horizon.
    """
    tell = progress or _silent
    if horizon_s not in HORIZONS_S:
        raise DatasetError(f"no head of {horizon_s} s; there are {HORIZONS_S}")
    scored = _scored(model.scorer, path, horizon_s, tell)
    plain, smooth = scored.plain, scored.smooth
    level = LEVELS_BY_HORIZON[horizon_s]
    judged = _online(plain, level, horizon_s)
    known = np.isfinite(smooth)
    losses = {"ours": judged.forecast, "ewma": smooth}
    sides: dict[str, Any] = {}
    for long, side in ((True, "long"), (False, "short")):
        sides[side] = tail_line(judged, level, long=long)
        sides[side]["before_factor"] = asdict(coverage(plain, level, long=long))
    field = Field(rows=scored.rows, returns=scored.returns, horizon_s=horizon_s, level=level)
    return {
        "modelHash": model.model_hash.hex(),
        "candles": {"name": path.name, "sha256": file_sha256(path)},
        "horizon_s": horizon_s,
        "level": level,
        "rows": len(judged.as_of_ms),
        "markets": len(np.unique(judged.symbols)),
        "refused_share": scored.refused_share,
        "qlike": {
            name: float(qlike(judged.variance[known], np.exp(forecast[known])).mean())
            for name, forecast in losses.items()
        },
        "sides": sides,
        "baselines": _against(judged, field, read_tiers(tiers), tell),
        "months": _months(judged, level),
        "buckets": _buckets(judged, level),
        "assets": _assets(judged, level),
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scored:
    """A file's rows as the model scored them, and what baselines read."""

    plain: Judged
    rows: Rows
    smooth: FloatArray
    returns: tuple[HourReturns, ...]
    refused_share: float


def _scored(scorer: Scorer, path: Path, horizon_s: int, tell: Progress) -> _Scored:
    """Score every market; rows that the model refuses are left out and counted."""
    parts: list[Rows] = []
    returns: list[HourReturns] = []
    for done, series in enumerate(read_series(path)):
        if done % TELL_EVERY == 0:
            tell("reading markets", done, 0)
        rows = _rows(series, horizon_s)
        if len(rows.as_of_ms):
            parts.append(rows)
            bar_ms = max(series.bar_ms, min(horizon_s * 1_000, HOUR_MS))
            returns.append(hour_returns(series, bar_ms))
    if not parts:
        raise DatasetError(f"{path}: no market has the history that scoring needs")
    rows = with_state(joined(parts))
    rows = rows.select(np.isfinite(rows.variance[:, 0]) & np.isfinite(rows.falls[:, 0]))
    if not len(rows.as_of_ms):
        raise DatasetError(f"{path}: no market has the history that scoring needs")
    judged, kept = _judged(scorer, rows, horizon_s, tell)
    smooth = np.full(len(kept), np.nan)
    for symbol in np.unique(rows.symbols):
        own = rows.symbols == symbol
        smooth[own] = _smoothed(rows.variance[own, 0])
    return _Scored(
        plain=judged,
        rows=rows.select(kept),
        smooth=smooth[kept],
        returns=tuple(returns),
        refused_share=float((~kept).mean()),
    )


def _against(
    judged: Judged, field: Field, tiers: pd.DataFrame | None, tell: Progress
) -> list[dict[str, Any]]:
    """Judge every baseline on the rows that it forecasts, and ours on the same rows."""
    found = rivals(field, tell)
    if tiers is not None:
        tables = tier_tables(field.rows.as_of_ms, field.rows.symbols, tiers)
        found |= {name: (None, table) for name, table in tables.items()}
    place, lines = LEVELS.index(field.level), []
    for name, (forecast, sides) in found.items():
        variance = judged.forecast if forecast is None else forecast
        theirs = judged_rival(field.rows, variance, sides)
        known = np.isfinite(sides[0][:, place]) & np.isfinite(sides[1][:, place])
        known &= np.isfinite(variance)
        line: dict[str, Any] = {"model": name, "rows": int(known.sum())}
        if known.any():
            pair = theirs.select(known), judged.select(known)
            if forecast is not None:
                line |= {"qlike": mean_loss(pair[0]), "qlike_ours": mean_loss(pair[1])}
            for long, side in ((True, "long"), (False, "short")):
                line[side] = tail_line(pair[0], field.level, long=long)
                line[f"{side}_ours"] = tail_line(pair[1], field.level, long=long)
        lines.append(line)
    return lines


def read_tiers(path: Path | None) -> Tiers | None:
    """Read an exchange's dated tiers; None where no file is named."""
    if path is None:
        return None
    try:
        return pd.read_parquet(path, columns=list(TIER_COLUMNS))
    except (OSError, ValueError) as fault:
        raise DatasetError(
            f"{path}: no tiers ({fault}); needed: {', '.join(TIER_COLUMNS)}"
        ) from None


def first_month(tiers: Tiers) -> str:
    """Return the month in which the tiers come into force."""
    return str(tiers["snapshot"].min())[:7]


def _rows(series: Series, horizon_s: int) -> Rows:
    stride = horizon_s * 1_000
    if series.bar_ms <= FIVE_MINUTES_MS:
        return joined([minute_rows(series, horizons_s=(horizon_s,), stride_ms=stride)])
    # outcomes are measured in hours where bars are longer than five minutes
    if series.bar_ms > HOUR_MS or stride < HOUR_MS:
        raise DatasetError(f"bars of {series.bar_ms} ms are too long for {horizon_s} s")
    return joined([hour_rows(series, horizons_s=(horizon_s,), stride_ms=max(stride, HOUR_MS))])


def _judged(
    scorer: Scorer, rows: Rows, horizon_s: int, tell: Progress
) -> tuple[Judged, NDArray[np.bool_]]:
    """Score all rows; those out of domain are left out and marked."""
    place = HORIZONS_S.index(horizon_s)
    table, kept = [], np.zeros(len(rows.as_of_ms), dtype=np.bool_)
    for start in range(0, len(kept), SCORED_AT_ONCE):
        tell("scoring rows", start, len(kept))
        chunk = slice(start, start + SCORED_AT_ONCE)
        vectors = [
            FeatureVector(market=0, as_of_ms=int(stamp), names=rows.names, values=tuple(values))
            for stamp, values in zip(
                rows.as_of_ms[chunk], rows.features[chunk].tolist(), strict=True
            )
        ]
        for row, score in enumerate(scorer.score(vectors)):
            tail = score.tails[place]
            kept[start + row] = not score.out_of_domain
            quantiles = (tail.long_990, tail.long_995, tail.short_990, tail.short_995)
            table.append((score.volatility[place], *quantiles))
    values = np.array(table)[kept]
    outcomes = rows.select(kept)
    judged = Judged(
        as_of_ms=outcomes.as_of_ms,
        symbols=outcomes.symbols,
        variance=outcomes.variance[:, 0],
        forecast=2.0 * np.log(values[:, 0]),
        falls=outcomes.falls[:, 0],
        rises=outcomes.rises[:, 0],
        long=-np.log1p(-values[:, 1:3]),
        short=np.log1p(values[:, 3:5]),
    )
    return judged, kept


def _online(plain: Judged, level: float, horizon_s: int) -> Judged:
    """Multiply each side's quantiles by the online factor that was known at the instant."""
    place = (0.99, 0.995).index(level)
    tables: dict[str, FloatArray] = {}
    for side, outcome in (("long", plain.falls), ("short", plain.rises)):
        table: FloatArray = getattr(plain, side)
        promises = Promises(
            as_of_ms=plain.as_of_ms,
            markets=plain.symbols,
            quantile=table[:, place],
            outcome=outcome,
        )
        factor = replayed(promises, level=level, horizon_ms=horizon_s * 1_000, rules=RULES)
        tables[side] = table * factor[:, None]
    return replace(plain, long=tables["long"], short=tables["short"])


def _smoothed(variance: FloatArray) -> FloatArray:
    """Logarithm of the EWMA of the outcomes before each row; NaN on the first."""
    result, level = np.full(len(variance), np.nan), np.nan
    for row, outcome in enumerate(variance.tolist()):
        result[row] = np.log(max(level, 1e-14)) if np.isfinite(level) else np.nan
        level = outcome if np.isnan(level) else EWMA_DECAY * level + (1 - EWMA_DECAY) * outcome
    return result


def _silent(stage: str, done: int, total: int) -> None:
    """Say nothing."""


def _broken(judged: Judged, level: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    place = (0.99, 0.995).index(level)
    return judged.falls > judged.long[:, place], judged.rises > judged.short[:, place]


def _months(judged: Judged, level: float) -> list[dict[str, Any]]:
    """Share of breaches, and the realised deviation, month by month."""
    long, short = _broken(judged, level)
    months = judged.as_of_ms.astype("datetime64[ms]").astype("datetime64[M]")
    return [
        {
            "month": str(month),
            "rows": int((months == month).sum()),
            "long": float(long[months == month].mean()),
            "short": float(short[months == month].mean()),
            "realised": float(np.sqrt(judged.variance[months == month].mean())),
        }
        for month in np.unique(months)
    ]


def _buckets(judged: Judged, level: float) -> list[dict[str, float]]:
    """Forecast deviation beside the realised one, and breaches, by tenths of the forecast."""
    order = np.argsort(judged.forecast, kind="stable")
    long, short = _broken(judged, level)
    return [
        {
            "forecast": float(np.sqrt(np.exp(judged.forecast[part]).mean())),
            "realised": float(np.sqrt(judged.variance[part].mean())),
            "long": float(long[part].mean()),
            "short": float(short[part].mean()),
        }
        for part in np.array_split(order, BUCKETS)
        if len(part)
    ]


def _assets(judged: Judged, level: float) -> list[dict[str, Any]]:
    """Breaches and average quantile of each market."""
    long, short = _broken(judged, level)
    place = (0.99, 0.995).index(level)
    table = []
    for symbol in np.unique(judged.symbols):
        own = judged.symbols == symbol
        table.append(
            {
                "symbol": str(symbol),
                "rows": int(own.sum()),
                "long": float(long[own].mean()),
                "short": float(short[own].mean()),
                "average": float(-np.expm1(-judged.long[own, place]).mean()),
            }
        )
    return table
