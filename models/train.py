"""Training: candle files in, a fitted model with its manifest out; same inputs, same model.

Everything is learned from bars that open before a cutoff. Tails and their factors are
calibrated on forecasts that were made without the rows they are calibrated on (expanding folds
with an embargo of one horizon), as split conformal prediction asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from numpy.typing import NDArray

from models.accounts import WORLD_ACCOUNTS, WORLD_LOOKS
from models.backtests import qlike
from models.cross_training import Announced, joint_calibration
from models.dataset import (
    DatasetError,
    Rows,
    file_sha256,
)
from models.drift import reference_of
from models.folds import combined, fold_members
from models.heads import (
    LONG_SCORE,
    SHORT_SCORE,
    Domain,
    FittedModel,
    Head,
    forecast_columns,
    har_places,
    is_variance,
)
from models.liquidation import LONG, SHORT, PassageHead
from models.manifest import Manifest, TrainedModel, library_versions
from models.recorded_risks import RecordedRisks, together
from models.risk_heads import RiskHeads, in_order
from models.risk_training import Watched, account_risk, passage_head
from models.samples import (
    HOUR_HORIZONS_S,
    MINUTE_HORIZONS_S,
    Progress,
    Recorded,
    Sample,
    columns_of,
    joined_with,
    read_samples,
)
from models.tails import ExcursionTail, upper_quantile
from models.volatility import VolatilityForecast

FloatArray = NDArray[np.float64]

DEFAULT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
"""The shipped recipe is developed on what came before (reference, test protocol)."""
DOMAIN_TAIL = 0.001
DOMAIN_MARGIN = 0.5
"""A column may leave the trained range by half its width: a storm is not a wrong unit."""
DOMAIN_SPANS = ("_24", "_168", "_720", "_60m", "_240m", "_1440m")
MOST_WIDENING = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a training may choose: the seed, the trees of each boosting, the size of simulations."""

    seed: int = 0
    trees: int = 150
    accounts: int = 1_500
    worlds: int = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedHead:
    """One head, its QLIKE on forecasts of later folds, and what these forecasts lead to."""

    head: Head
    error: float
    passage: PassageHead
    announced: Announced


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Task:
    """One head to fit."""

    sample: Sample
    horizon_s: int
    column: int
    with_minutes: bool
    watched: Watched

    @property
    def measure(self) -> str:
        """Name of the head's error in the manifest."""
        return f"fold_qlike_{self.horizon_s}_{'minutes' if self.with_minutes else 'hours'}"


def train(
    paths: Sequence[Path],
    *,
    before: datetime = DEFAULT_BEFORE,
    recipe: Recipe | None = None,
    recorded: Sequence[Recorded] = (),
    jobs: int = 1,
    progress: Progress | None = None,
) -> TrainedModel:
    """Train all heads on the bars of `paths` that open before `before`.

    Parameters
    ----------
    paths : sequence of Path
        Parquet candle files (`models.dataset.read_series`); at least one with bars of at most
        five minutes, for the 15 min and 1 h heads. Files are read one after the other.
    before : datetime
        Cutoff, with a time zone.
    recipe : Recipe, optional
        Seed and size of the boosting; fewer trees train faster and forecast a little worse.
    recorded : sequence of Recorded
        Outcomes of forecasts in service, which join the rows of their family, and what became of
        positions and accounts, which join the heads of risk (`models.recorded_risks`).
    jobs : int
        Fits at a time, in processes of their own, through joblib: inside its `parallel_config` they
        go to whatever backend that names, a Dask cluster for one. The model is the same for any.
    progress : callable, optional
        Called with a stage's name, steps done and steps in all.

    Raises
    ------
    DatasetError
        When a file is of no use or no row can be learned from.
    """
    tell, recipe = progress or _silent, recipe or Recipe()
    before_ms = int(before.timestamp() * 1_000)
    hours, minutes, closes = read_samples(paths, before_ms, tell)
    own = {"hours": len(hours.whole.as_of_ms), "minutes": len(minutes.whole.as_of_ms)}
    hours, minutes = joined_with(hours, minutes, recorded, before_ms)
    seen = together([each.risks for each in recorded if each.risks is not None]).before(before_ms)
    tasks = _tasks(hours, minutes, seen)
    found = _fit_all(tasks, recipe, jobs, tell)
    tell("simulating accounts", 0, 1)
    metrics = {task.measure: each.error for task, each in zip(tasks, found, strict=True)}
    fitted = FittedModel(
        heads=tuple(each.head for each in found),
        domain=_domain([minutes.whole, hours.whole]),
        risks=RiskHeads(
            passages=_passages(tasks, found),
            joint=joint_calibration(
                closes, found[-1].announced, accounts=recipe.accounts, seed=recipe.seed
            ),
            accounts=account_risk(seen, seed=recipe.seed, worlds=recipe.worlds),
        ),
        reference=reference_of(hours.whole, minutes.whole),
    )
    tell("simulating accounts", 1, 1)
    data = {file_sha256(path): path.name for path in paths}
    learned = [each for each in recorded if each.risks is None or seen.learns]
    data |= {each.sha256: each.name for each in learned}
    if recorded:
        metrics |= seen.figures() | _added(own, hours, minutes)
        metrics["simulated_accounts"] = float(recipe.worlds * WORLD_ACCOUNTS * len(WORLD_LOOKS))
    manifest = _manifest(data, [hours.whole, minutes.whole], before, recipe.seed, metrics)
    return TrainedModel(fitted=fitted, manifest=manifest)


def _added(own: Mapping[str, int], hours: Sample, minutes: Sample) -> dict[str, float]:
    """Count the rows of forecasts that a journal added to the candles' own."""
    return {
        f"recorded_{name}": float(len(sample.whole.as_of_ms) - own[name])
        for name, sample in (("hours", hours), ("minutes", minutes))
    }


def _tasks(hours: Sample, minutes: Sample, seen: RecordedRisks) -> list[_Task]:
    """List the heads to fit, in the order that the model has them in."""
    plan = [(minutes, column, True) for column in range(len(MINUTE_HORIZONS_S))]
    plan += [(minutes, column, False) for column in range(len(MINUTE_HORIZONS_S))]
    plan += [(hours, column, False) for column in range(len(HOUR_HORIZONS_S))]
    tasks = []
    for sample, column, with_minutes in plan:
        horizon_s = (MINUTE_HORIZONS_S if sample is minutes else HOUR_HORIZONS_S)[column]
        tasks.append(
            _Task(
                sample=sample,
                horizon_s=horizon_s,
                column=column,
                with_minutes=with_minutes,
                watched=(seen.passage(horizon_s, LONG), seen.passage(horizon_s, SHORT)),
            )
        )
    return tasks


def _fit_all(tasks: Sequence[_Task], recipe: Recipe, jobs: int, tell: Progress) -> list[FittedHead]:
    """Fit every head, `jobs` at a time; they come in the order of the tasks, whoever is first."""
    found: list[FittedHead] = []
    for each in Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_fitted)(task, recipe) for task in tasks
    ):
        tell("fitting", len(found), len(tasks))
        found.append(each)
    tell("fitting", len(tasks), len(tasks))
    return found


def _fitted(task: _Task, recipe: Recipe) -> FittedHead:
    """Fit one head; a process of its own may do so."""
    names = forecast_columns(task.sample.whole.names, minutes=task.with_minutes)
    whole = task.sample.whole
    fitted = fit_head(whole, task.horizon_s, task.column, names, recipe, task.watched)
    return replace(fitted, head=_widened(fitted.head, task.sample, task.column))


def _passages(tasks: Sequence[_Task], found: Sequence[FittedHead]) -> tuple[PassageHead, ...]:
    """Choose each horizon's first passage: that of its richest head."""
    passages: dict[int, PassageHead] = {}
    for task, each in zip(tasks, found, strict=True):
        passages.setdefault(task.horizon_s, each.passage)
    return in_order(tuple(passages.values()))


def fit_head(
    rows: Rows,
    horizon_s: int,
    column: int,
    names: Sequence[str],
    recipe: Recipe,
    watched: Watched = (None, None),
) -> FittedHead:
    """Fit one head to the outcomes in `column`, and what its forecasts of later folds lead to.

    `watched` positions, long and short, join the calibration of first passage.
    """
    rows = rows.select(np.isfinite(rows.variance[:, column]) & np.isfinite(rows.falls[:, column]))
    if not len(rows.as_of_ms):
        raise DatasetError(f"too little history: nothing that {horizon_s} s follow")
    features = columns_of(rows, names)
    variance = rows.variance[:, column]
    forecast = volatility_forecast(names, recipe)
    members = fold_members(forecast, features, variance, rows.as_of_ms, horizon_s * 1_000)
    folded = combined(members, variance, rows.as_of_ms, horizon_s * 1_000)
    judged = np.isfinite(folded)
    forecast = volatility_forecast(names, recipe).fit(features, variance)
    forecast.combination_.fit(members[judged], variance[judged])
    deviation = np.exp(0.5 * folded[judged])
    long_score = columns_of(rows, (LONG_SCORE,))[judged, 0]
    short_score = columns_of(rows, (SHORT_SCORE,))[judged, 0]
    head = Head(
        horizon_s=horizon_s,
        names=tuple(names),
        forecast=forecast,
        long=ExcursionTail().fit(rows.falls[judged, column], deviation, long_score),
        short=ExcursionTail().fit(rows.rises[judged, column], deviation, short_score),
        widening=1.0,
    )
    stamps = rows.as_of_ms[judged]
    outcomes = (rows.falls[judged, column], rows.rises[judged, column])
    return FittedHead(
        head=head,
        error=float(qlike(variance[judged], np.exp(folded[judged])).mean()),
        passage=passage_head(horizon_s, (stamps, deviation), outcomes, watched),
        announced=Announced(as_of_ms=stamps, symbols=rows.symbols[judged], deviation=deviation),
    )


def volatility_forecast(names: Sequence[str], recipe: Recipe) -> VolatilityForecast:
    """Return the unfitted forecast of a recipe for these columns."""
    return VolatilityForecast(
        variances=tuple(is_variance(name) for name in names),
        har=har_places(names),
        trees=recipe.trees,
        random_state=recipe.seed,
    )


def _widened(head: Head, sample: Sample, column: int) -> Head:
    """Measure how much wider tails must be where only three days are known."""
    ratios = []
    for rows in (sample.whole, sample.short):
        judged = rows.select(np.isfinite(rows.variance[:, column]))
        deviation = np.exp(0.5 * head.forecast.predict(columns_of(judged, head.names)))
        outcomes = (judged.falls[:, column], judged.rises[:, column])
        ratios.append([upper_quantile(outcome / deviation, 0.995) for outcome in outcomes])
    measured = max(short / whole for whole, short in zip(*ratios, strict=True))
    return Head(
        horizon_s=head.horizon_s,
        names=head.names,
        forecast=head.forecast,
        long=head.long,
        short=head.short,
        widening=float(np.clip(measured, 1.0, MOST_WIDENING)),
    )


def _domain(samples: Sequence[Rows]) -> Domain:
    """Robust range of each column of variance over a long span, with a wide margin."""
    ranges: dict[str, tuple[float, float]] = {}
    for rows in samples:
        for name in rows.names:
            if is_variance(name) and name.endswith(DOMAIN_SPANS):
                values = columns_of(rows, (name,))[:, 0]
                low, high = np.quantile(values, (DOMAIN_TAIL, 1.0 - DOMAIN_TAIL))
                known = ranges.get(name, (float(low), float(high)))
                ranges[name] = (min(known[0], float(low)), max(known[1], float(high)))
    names = tuple(sorted(ranges))
    low, high = np.array([ranges[name] for name in names]).T
    margin = DOMAIN_MARGIN * (high - low)
    return Domain(names=names, low=low - margin, high=high + margin)


def _manifest(
    data_files: dict[str, str],
    samples: Sequence[Rows],
    before: datetime,
    seed: int,
    metrics: dict[str, float],
) -> Manifest:
    first_ms = min(int(rows.as_of_ms.min()) for rows in samples)
    counts = {
        f"rows_{name}": float(len(rows.as_of_ms))
        for name, rows in zip(("hours", "minutes"), samples, strict=True)
    }
    return Manifest(
        library_versions=library_versions(),
        trained_from=datetime.fromtimestamp(first_ms / 1_000, tz=UTC).isoformat(),
        trained_before=before.astimezone(UTC).isoformat(),
        seed=seed,
        data_files=data_files,
        symbols=tuple(sorted({str(name) for rows in samples for name in np.unique(rows.symbols)})),
        metrics=metrics | counts,
    )


def _silent(stage: str, done: int, total: int) -> None:
    """Say nothing."""
