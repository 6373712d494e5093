"""Forecasts and outcomes of the journal: as rows to train on, and models side by side on them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent.proof.journals import open_journal
from models.backtests import qlike
from models.dataset import Rows
from models.features import FeatureVector
from models.samples import HOUR_HORIZONS_S, MINUTE_HORIZONS_S, Recorded
from models.tails import LEVELS, pinball_losses
from relayer.forecasts import ForecastRow, Forecasts


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One model on the outcomes of one horizon that every model forecast."""

    horizon_s: int
    model: str
    outcomes: int
    qlike: float
    long: float
    short: float
    pinball: float


def packed(vector: FeatureVector) -> bytes:
    """Write what a forecast was made from."""
    content = {"names": vector.names, "values": vector.values}
    return zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 1)


def read_outcomes(url: str) -> tuple[ForecastRow, ...]:
    """Read every outcome of a journal: the URL of a database, or the path of a SQLite file."""

    async def read() -> tuple[ForecastRow, ...]:
        database = open_journal(url)
        try:
            return await Forecasts(database).outcomes()
        finally:
            await database.close()

    return asyncio.run(read())


def recorded(url: str) -> Recorded:
    """Read a journal's outcomes as rows to learn from."""
    rows = read_outcomes(url)
    digest = hashlib.sha256()
    for row in rows:
        facts = (row.symbol, row.horizon_s, row.from_ms, row.variance, row.fall, row.rise)
        digest.update(repr(facts).encode() + (row.features or b""))
    return Recorded(
        name="journal",
        sha256=digest.hexdigest(),
        hours=tuple(training_rows(rows, HOUR_HORIZONS_S)),
        minutes=tuple(training_rows(rows, MINUTE_HORIZONS_S)),
    )


def side_by_side(rows: Iterable[ForecastRow]) -> tuple[Compared, ...]:
    """Judge each model on what all models of a horizon forecast, by horizon and hash."""
    by_horizon: dict[int, dict[bytes, dict[tuple[str, int], ForecastRow]]] = {}
    for row in rows:
        models = by_horizon.setdefault(row.horizon_s, {})
        models.setdefault(row.model_hash, {})[(row.symbol, row.from_ms)] = row
    lines = []
    for horizon_s, models in sorted(by_horizon.items()):
        shared = sorted(set.intersection(*(set(own) for own in models.values())))
        if shared:
            lines += [
                _compared(horizon_s, name, [own[key] for key in shared])
                for name, own in sorted(models.items())
            ]
    return tuple(lines)


def training_rows(outcomes: Sequence[ForecastRow], horizons_s: Sequence[int]) -> list[Rows]:
    """Turn outcomes with features into rows to learn from, one part a set of columns.

    A market and instant is one row, whichever models forecast it; horizons that were not recorded
    are NaN.
    """
    found: dict[tuple[str, ...], dict[tuple[str, int], dict[int, ForecastRow]]] = {}
    values: dict[tuple[tuple[str, ...], str, int], tuple[float, ...]] = {}
    for row in outcomes:
        if row.features is None or row.horizon_s not in horizons_s:
            continue
        content = json.loads(zlib.decompress(row.features))
        names = tuple(content["names"])
        key = (row.symbol, row.from_ms)
        found.setdefault(names, {}).setdefault(key, {})[row.horizon_s] = row
        values[(names, *key)] = tuple(content["values"])
    return [
        _rows(names, instants, [values[(names, *key)] for key in sorted(instants)], horizons_s)
        for names, instants in sorted(found.items())
    ]


def _rows(
    names: tuple[str, ...],
    instants: Mapping[tuple[str, int], Mapping[int, ForecastRow]],
    values: Sequence[tuple[float, ...]],
    horizons_s: Sequence[int],
) -> Rows:
    keys = sorted(instants)

    def column(name: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        return np.array(
            [
                [getattr(instants[key].get(each), name, np.nan) for each in horizons_s]
                for key in keys
            ],
            dtype=np.float64,
        )

    return Rows(
        names=names,
        features=np.array(values, dtype=np.float64),
        as_of_ms=np.array([key[1] for key in keys], dtype=np.int64),
        symbols=np.array([key[0] for key in keys]),
        variance=column("variance"),
        falls=column("fall"),
        rises=column("rise"),
    )


def _compared(horizon_s: int, model: bytes, rows: Sequence[ForecastRow]) -> Compared:
    variance = np.array([row.variance for row in rows], dtype=np.float64)
    deviation = np.array([row.deviation for row in rows], dtype=np.float64)
    table = np.array([row.quantiles for row in rows], dtype=np.float64)
    losses = -np.expm1(-np.array([row.fall for row in rows], dtype=np.float64))
    gains = np.expm1(np.array([row.rise for row in rows], dtype=np.float64))
    pinball = [
        pinball_losses(outcome, table[:, place], LEVELS[0]).mean()
        for outcome, place in ((losses, 0), (gains, 2))
    ]
    return Compared(
        horizon_s=horizon_s,
        model=model.hex(),
        outcomes=len(rows),
        qlike=float(qlike(variance, np.square(deviation)).mean()),
        long=float((losses > table[:, 0]).mean()),
        short=float((gains > table[:, 2]).mean()),
        pinball=float(np.mean(pinball)),
    )
