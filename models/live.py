"""Live watch over promises: sequential tests on outcomes in service, and drift of features.

Four monitors, each with at most one false alarm a year on average:

- ``breaches``: of all markets together, one test a horizon and side;
- ``market``: of each market alone, one test a horizon and side;
- ``level``: one test a horizon each for forecasts too low, too high, and worse than promised;
- ``drift``: features over a week against training's weeks (`models.drift`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models.artifact import LoadedModel
from models.drift import (
    Reference,
    Week,
    drifted,
    ratios,
    state_of_week,
    week_from,
    week_of,
    words_of,
)
from models.features import HOUR_MS, FeatureVector
from models.heads import HORIZONS_S
from models.monitors import (
    LEVEL_BETS,
    MARKET_BETS,
    Detector,
    breach_detector,
    breach_excess,
    idle_excess,
    level_excess,
    loss_excess,
)
from models.promises import SIDES, Ending, name_of
from models.tails import LEVELS

YEARS = 1.0
"""Mean time between false alarms of one monitor, at least."""
LEVEL = LEVELS[0]
BREACHES, MARKET, LEVEL_MONITOR, DRIFT = "breaches", "market", "level", "drift"
MONITORS = (BREACHES, MARKET, LEVEL_MONITOR, DRIFT)
LOW, HIGH, LOSS = "low", "high", "loss"
WORDS = {
    "long": "long breaches run above 1.2 times their promise",
    "short": "short breaches run above 1.2 times their promise",
    LOW: "realised variance runs above 1.5 times the forecast",
    HIGH: "realised variance runs below 0.4 times the forecast: margins are wider than needed",
    LOSS: "forecasts lose more than 1.5 times what training's later folds promised",
}
WEEK = "week"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a model is held to.

    Attributes
    ----------
    markets : int
        Markets that are watched; the tests of single markets share one false alarm a year.
    losses : mapping of int to float
        QLIKE that training's later folds promise, by horizon.
    reference : Reference or None
        Training's weeks; without them drift is not watched.
    """

    markets: int
    losses: Mapping[int, float] = field(default_factory=dict)
    reference: Reference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Detectors by key (``900/long``, ``900/long/000003``, ``900/low``) and the week so far."""

    detectors: Mapping[str, Detector]
    week: Week | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """One alarm: which monitor, of what, and in words."""

    monitor: str
    key: str
    words: str


def terms_of(model: LoadedModel, markets: int) -> Terms:
    """Return what a model promised when it was trained."""
    losses: dict[int, float] = {}
    for horizon_s in HORIZONS_S:
        found = [
            model.manifest.metrics[name]
            for name in (f"fold_qlike_{horizon_s}_hours", f"fold_qlike_{horizon_s}_minutes")
            if name in model.manifest.metrics
        ]
        if found:
            losses[horizon_s] = max(found)
    return Terms(markets=max(markets, 1), losses=losses, reference=model.reference)


def new_watch(terms: Terms) -> Watch:
    """Return a watch that has seen nothing; tests of single markets begin with their outcomes."""
    keys = [f"{horizon_s}/{side}" for horizon_s in HORIZONS_S for side in SIDES]
    keys += [f"{horizon_s}/{kind}" for horizon_s in HORIZONS_S for kind in (LOW, HIGH)]
    keys += [f"{horizon_s}/{LOSS}" for horizon_s in terms.losses]
    return Watch(detectors={key: _fresh(key, terms) for key in keys})


def watched(
    watch: Watch, endings: Sequence[Ending], terms: Terms
) -> tuple[Watch, tuple[Raised, ...]]:
    """Return the watch after one look, and what it raises an alarm for.

    The endings of a horizon are one step of its tests, whatever their number; a detector that
    alarmed starts again.
    """
    detectors, alarms = dict(watch.detectors), []
    for horizon_s in HORIZONS_S:
        ended = [each for each in endings if each.promise.horizon_s == horizon_s]
        for key, excess in _steps(horizon_s, ended, terms):
            after = detectors.get(key, _fresh(key, terms)).after(excess)
            if after.alarms:
                alarms.append(_raised(key))
                after = after.restarted()
            detectors[key] = after
    return replace(watch, detectors=detectors), tuple(alarms)


def seen(
    watch: Watch, vectors: Iterable[FeatureVector], as_of_ms: int, terms: Terms
) -> tuple[Watch, tuple[Raised, ...]]:
    """Add one hour's features; a week that has ended is held against training's."""
    hour, week = as_of_ms // HOUR_MS, watch.week
    alarms: tuple[Raised, ...] = ()
    if terms.reference is None or (week is not None and hour <= week.hour):
        return watch, ()
    if week is not None and week.number != week_of(hour).number:
        alarms, week = _drift_alarms(terms.reference, week), None
    return replace(watch, week=(week or week_of(hour)).with_hour(vectors, hour)), alarms


def shares(watch: Watch) -> dict[tuple[str, str], float]:
    """Return by (horizon, kind) how near each test is to its alarm, 1 at it; markets: the nearest.

    Kinds are ``long``, ``short``, ``low``, ``high``, ``loss`` and ``market``.
    """
    found: dict[tuple[str, str], float] = {}
    for key, detector in watch.detectors.items():
        horizon, kind, *market = key.split("/")
        place = (horizon, MARKET if market else kind)
        found[place] = max(found.get(place, 0.0), detector.evidence / detector.threshold)
    return found


def drift_ratio(watch: Watch, terms: Terms) -> float:
    """Return how far the week's furthest feature lies, over its level; NaN while it is unknown."""
    if watch.week is None or terms.reference is None:
        return math.nan
    return max(ratios(terms.reference, watch.week).values(), default=math.nan)


def state_of_watch(watch: Watch) -> dict[str, Any]:
    """Write a watch as JSON values."""
    state: dict[str, Any] = {
        key: [each.steps, *each.levels] for key, each in sorted(watch.detectors.items())
    }
    return state if watch.week is None else state | {WEEK: state_of_week(watch.week)}


def watch_from(content: Mapping[str, Any], terms: Terms) -> Watch:
    """Read a watch back; a detector that was not written, or with other bets, begins anew."""
    detectors = dict(new_watch(terms).detectors)
    for key, values in content.items():
        if key == WEEK or (key.endswith(LOSS) and key not in detectors):
            continue
        fresh = _fresh(key, terms)
        levels = tuple(float(level) for level in values[1:])
        if len(levels) == len(fresh.bets):
            detectors[key] = replace(fresh, levels=levels, steps=int(values[0]))
    week = week_from(content[WEEK]) if WEEK in content else None
    return Watch(detectors=detectors, week=week)


def _steps(horizon_s: int, ended: Sequence[Ending], terms: Terms) -> Iterable[tuple[str, float]]:
    """Yield each test that one look at a horizon moves, and by how much."""
    if not ended:
        return
    for side in SIDES:
        broken = np.array([each.breached(side, LEVEL) for each in ended], dtype=np.float64)
        yield f"{horizon_s}/{side}", breach_excess(broken, 1.0 - LEVEL)
        for each, breach in zip(ended, broken, strict=True):
            key = f"{horizon_s}/{side}/{name_of(each.promise.market)}"
            yield key, breach_excess(np.array([breach]), 1.0 - LEVEL)
    over = np.array([each.variance / each.promise.deviation**2 for each in ended])
    yield f"{horizon_s}/{LOW}", level_excess(over)
    yield f"{horizon_s}/{HIGH}", idle_excess(over)
    if horizon_s in terms.losses:
        losses = np.array([each.loss for each in ended])
        yield f"{horizon_s}/{LOSS}", loss_excess(losses, terms.losses[horizon_s])


def _fresh(key: str, terms: Terms) -> Detector:
    """Return a test that has seen nothing, with its part of its monitor's false alarms."""
    horizon_s, kind, *market = key.split("/")
    tests = len(HORIZONS_S) * len(SIDES)
    if market:
        years = YEARS * tests * terms.markets
        return breach_detector(int(horizon_s), years=years, bets=MARKET_BETS)
    if kind in SIDES:
        return breach_detector(int(horizon_s), years=YEARS * tests)
    years = YEARS * len(HORIZONS_S) * len((LOW, HIGH, LOSS))
    return breach_detector(int(horizon_s), years=years, bets=LEVEL_BETS)


def _raised(key: str) -> Raised:
    horizon_s, kind, *market = key.split("/")
    monitor = MARKET if market else BREACHES if kind in SIDES else LEVEL_MONITOR
    where = f" in market {int(market[0])}" if market else ""
    words = f"over {int(horizon_s) // 60} min{where} {WORDS[kind]} (sequential test)"
    return Raised(monitor=monitor, key=key, words=words)


def _drift_alarms(reference: Reference, week: Week) -> tuple[Raised, ...]:
    """Raise one alarm a week, whatever the number of features."""
    found = drifted(reference, week)
    if not found:
        return ()
    words = f"features left what training knew over a week: {words_of(found)}"
    return (Raised(monitor=DRIFT, key=str(week.number), words=words),)
