"""One artifact, as it is, judged on one candle file: what promotion asks for and the card shows.

Nothing is refitted. Every market of the file is scored at each horizon's end from its own past;
baselines walk forward inside the file: an EWMA of realised variance and a static quantile of each
market's own earlier outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifact import LoadedModel
from models.backtests import qlike
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
)
from models.evaluate import EWMA_DECAY, Judged, coverage
from models.features import FeatureVector
from models.heads import HORIZONS_S
from models.scorer import Scorer
from models.tails import upper_quantile

FloatArray = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
Report = Mapping[str, Any]

LEVELS_BY_HORIZON = {900: 0.995, 3_600: 0.995, 14_400: 0.995, 86_400: 0.99}
SCORED_AT_ONCE = 2_000
STATIC_ROWS = 60
"""Earlier outcomes that a market's own static quantile needs."""
BUCKETS = 10


def judge(
    model: LoadedModel, path: Path, horizon_s: int, progress: Progress | None = None
) -> dict[str, Any]:
    """Judge a model on a candle file; returns the report, ready for JSON.

    Raises
    ------
    DatasetError
        When the file is of no use for the horizon.
    """
    tell = progress or _silent
    if horizon_s not in HORIZONS_S:
        raise DatasetError(f"no head of {horizon_s} s; there are {HORIZONS_S}")
    rows, faults = _scored(model.scorer, path, horizon_s, tell)
    judged, smooth, static = rows
    level = LEVELS_BY_HORIZON[horizon_s]
    known = np.isfinite(smooth)
    losses = {"ours": judged.forecast, "ewma": smooth}
    sides: dict[str, Any] = {}
    for long, side in ((True, "long"), (False, "short")):
        sides[side] = asdict(coverage(judged, level, long=long))
        sides[side]["static"] = _static_line(judged, static[side], level, long=long)
    return {
        "modelHash": model.model_hash.hex(),
        "candles": {"name": path.name, "sha256": file_sha256(path)},
        "horizon_s": horizon_s,
        "level": level,
        "rows": len(judged.as_of_ms),
        "markets": len(np.unique(judged.symbols)),
        "refused_share": faults,
        "qlike": {
            name: float(qlike(judged.variance[known], np.exp(forecast[known])).mean())
            for name, forecast in losses.items()
        },
        "sides": sides,
        "months": _months(judged, level),
        "buckets": _buckets(judged, level),
        "assets": _assets(judged, level),
    }


def _scored(
    scorer: Scorer, path: Path, horizon_s: int, tell: Progress
) -> tuple[tuple[Judged, FloatArray, dict[str, FloatArray]], float]:
    """Score every market; return what is judged, the baselines, and the share refused."""
    parts, smooth, refused, total = [], [], 0, 0
    for done, series in enumerate(read_series(path)):
        tell("scoring", done, 0)
        rows = _rows(series, horizon_s)
        rows = rows.select(np.isfinite(rows.variance[:, 0]) & np.isfinite(rows.falls[:, 0]))
        if not len(rows.as_of_ms):
            continue
        judged, kept = _judged(scorer, rows, horizon_s)
        total, refused = total + len(kept), refused + int((~kept).sum())
        parts.append(judged)
        smooth.append(_smoothed(rows.variance[:, 0])[kept])
    if not parts or not sum(len(part.as_of_ms) for part in parts):
        raise DatasetError(f"{path}: no market has the history that scoring needs")
    names = ("as_of_ms", "symbols", "variance", "forecast", "falls", "rises", "long", "short")
    whole = Judged(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )
    level = LEVELS_BY_HORIZON[horizon_s]
    static = {
        "long": np.concatenate([_static(part.falls, level) for part in parts]),
        "short": np.concatenate([_static(part.rises, level) for part in parts]),
    }
    return (whole, np.concatenate(smooth), static), refused / max(total, 1)


def _rows(series: Series, horizon_s: int) -> Rows:
    stride = horizon_s * 1_000
    if series.bar_ms <= FIVE_MINUTES_MS:
        return joined([minute_rows(series, horizons_s=(horizon_s,), stride_ms=stride)])
    if series.bar_ms > HOUR_MS or stride < series.bar_ms:
        raise DatasetError(f"bars of {series.bar_ms} ms are too long for {horizon_s} s")
    return joined([hour_rows(series, horizons_s=(horizon_s,), stride_ms=max(stride, HOUR_MS))])


def _judged(scorer: Scorer, rows: Rows, horizon_s: int) -> tuple[Judged, NDArray[np.bool_]]:
    """Score one market's rows; those out of domain are left out and marked."""
    place = HORIZONS_S.index(horizon_s)
    table, kept = [], np.zeros(len(rows.as_of_ms), dtype=np.bool_)
    for start in range(0, len(kept), SCORED_AT_ONCE):
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


def _smoothed(variance: FloatArray) -> FloatArray:
    """Logarithm of the EWMA of the outcomes before each row; NaN on the first."""
    result, level = np.full(len(variance), np.nan), np.nan
    for row, outcome in enumerate(variance.tolist()):
        result[row] = np.log(max(level, 1e-14)) if np.isfinite(level) else np.nan
        level = outcome if np.isnan(level) else EWMA_DECAY * level + (1 - EWMA_DECAY) * outcome
    return result


def _static(outcome: FloatArray, level: float) -> FloatArray:
    """Quantile of a market's own earlier outcomes; NaN while there are too few."""
    result = np.full(len(outcome), np.nan)
    for row in range(STATIC_ROWS, len(outcome)):
        result[row] = upper_quantile(outcome[:row], level)
    return result


def _static_line(
    judged: Judged, quantile: FloatArray, level: float, *, long: bool
) -> dict[str, float]:
    outcome = judged.falls if long else judged.rises
    known = np.isfinite(quantile)
    if not known.any():
        return {}
    ratio = -np.expm1(-quantile[known]) if long else np.expm1(quantile[known])
    return {
        "breach_share": float((outcome[known] > quantile[known]).mean()),
        "average": float(ratio.mean()),
        "level": level,
    }


def _silent(stage: str, done: int, total: int) -> None:
    """Say nothing."""


def _broken(judged: Judged, level: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    place = (0.99, 0.995).index(level)
    return judged.falls > judged.long[:, place], judged.rises > judged.short[:, place]


def _months(judged: Judged, level: float) -> list[dict[str, Any]]:
    """Share of breaches month by month."""
    long, short = _broken(judged, level)
    months = judged.as_of_ms.astype("datetime64[ms]").astype("datetime64[M]")
    return [
        {
            "month": str(month),
            "rows": int((months == month).sum()),
            "long": float(long[months == month].mean()),
            "short": float(short[months == month].mean()),
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
