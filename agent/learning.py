"""One model on its way through a cycle: what it promised, what has ended, what its monitors say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from contracts.units import MarketId
from models.artifact import LoadedModel
from models.drift import drifted, words_of
from models.features import Candles, FeatureVector
from models.heads import HORIZONS_S
from models.live import Raised, Terms, Watch, drift_ratio, new_watch, seen, shares, watched
from models.promises import Ending, FactorState, Promise, bar_ms_of, ending_of, is_over, start_of
from models.risk_heads import RiskHeads
from models.scorer import MarketFactors

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the monitors over one model say: alarms of this cycle, and how near each test is.

    `trained_before_ms`: it learned from no bar that reached this instant.
    """

    alarms: tuple[Raised, ...]
    shares: Mapping[tuple[str, str], float]
    drift_ratio: float
    drift_watched: bool
    trained_before_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What one cycle taught: endings and monitors by role, and what an operator must know.

    `risks` are the heads of risk of the model that decided it: what terms and warnings read.
    """

    endings: Mapping[str, tuple[Ending, ...]]
    standings: Mapping[str, Standing] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    risks: RiskHeads | None = None


class Track:
    """One model, its factors, and its promises that have not ended: it changes with each lesson."""

    def __init__(
        self,
        model: LoadedModel,
        state: FactorState,
        open_promises: Iterable[Promise],
        terms: Terms,
    ) -> None:
        self.model = model
        self.state = state
        self.open = {(each.market, each.horizon_s): each for each in open_promises}
        self.factors: dict[int, MarketFactors] = {}
        self.terms = terms
        self.watch = new_watch(terms)
        self._told: frozenset[str] = frozenset()

    def strays(self) -> str | None:
        """Name the features that have left training this week, each time that one has joined."""
        week, reference = self.watch.week, self.terms.reference
        found = () if week is None or reference is None else drifted(reference, week)
        names, told = frozenset(each.name for each in found), self._told
        self._told = names
        return words_of(found) if names - told else None

    def standing(self, alarms: tuple[Raised, ...]) -> Standing:
        """Say what its monitors see."""
        return Standing(
            alarms=alarms,
            shares=shares(self.watch),
            drift_ratio=drift_ratio(self.watch, self.terms),
            drift_watched=self.terms.reference is not None,
            trained_before_ms=round(
                datetime.fromisoformat(self.model.manifest.trained_before).timestamp() * 1_000
            ),
        )


class Look:
    """One model's promises against the bars of one instant."""

    def __init__(
        self, track: Track, windows: Mapping[MarketId, tuple[Candles, Candles]], as_of_ms: int
    ) -> None:
        self.track = track
        self.as_of_ms = as_of_ms
        self._windows = windows
        self.over = [promise for promise in track.open.values() if self._is_over(promise)]
        found = [(each, self._ending(each)) for each in self.over]
        self.endings = [ending for _, ending in found if ending is not None]
        self.alarms: tuple[Raised, ...] = ()
        self.judged = [promise for promise, ending in found if ending is not None]

    def starts(self) -> Iterable[tuple[tuple[int, int], int]]:
        """Yield each (market, horizon) for which a promise begins now, and where it begins."""
        ended = {(promise.market, promise.horizon_s) for promise in self.over}
        for market in self._windows:
            for horizon_s in HORIZONS_S:
                key = (int(market), horizon_s)
                from_ms = start_of(horizon_s, self.as_of_ms, self._candles(*key))
                if from_ms is not None and (key in ended or key not in self.track.open):
                    yield key, from_ms

    def _candles(self, market: int, horizon_s: int) -> Candles:
        hours, minutes = self._windows[MarketId(market)]
        return hours if bar_ms_of(horizon_s) == HOUR_MS else minutes

    def _is_over(self, promise: Promise) -> bool:
        """Whether its bars are there, or can no longer come."""
        if self.as_of_ms < promise.ends_ms or MarketId(promise.market) not in self._windows:
            return self.as_of_ms > promise.ends_ms + 2 * promise.horizon_s * 1_000
        known = is_over(promise, self._candles(promise.market, promise.horizon_s))
        return known or self.as_of_ms > promise.ends_ms + promise.horizon_s * 1_000

    def _ending(self, promise: Promise) -> Ending | None:
        if MarketId(promise.market) not in self._windows:
            return None
        return ending_of(promise, self._candles(promise.market, promise.horizon_s))


def monitored(
    look: Look, vectors: Mapping[MarketId, FeatureVector]
) -> tuple[Watch, tuple[Raised, ...]]:
    """Move every test by what has ended, and the week by what is seen; both are journalled."""
    track = look.track
    watch, alarms = watched(track.watch, look.endings, track.terms)
    if not look.endings:
        return watch, alarms
    watch, drifts = seen(watch, vectors.values(), look.as_of_ms, track.terms)
    return watch, (*alarms, *drifts)
