"""The models in service: the champion that decides, the challenger in its shadow, what both learn.

Between cycles the registry is looked at; a model that is refused there leaves the last good one in
charge, with a notice. After a cycle, forecasts whose horizon has ended are judged and teach the
online factors, and new ones are recorded. The factors a decision used are in its evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.judge import InService, Judgement
from agent.proof.recorded import packed
from agent.snapshot import Observation, candles_of
from agent.succession import chosen
from contracts.units import MarketId
from models.artifact import LoadedModel
from models.features import Candles, FeatureVector
from models.heads import HORIZONS_S
from models.live import (
    Raised,
    Terms,
    Watch,
    drift_ratio,
    new_watch,
    seen,
    shares,
    state_of_watch,
    terms_of,
    watch_from,
    watched,
)
from models.promises import (
    NOTHING_LEARNED,
    Ending,
    FactorState,
    Promise,
    after,
    bar_ms_of,
    ending_of,
    is_over,
    start_of,
    state_from,
    state_of,
)
from models.registry import Registry
from models.risk_heads import RiskHeads
from models.scorer import HorizonTail, MarketFactors, RiskScores
from relayer.errors import StorageFailed
from relayer.forecasts import ForecastRow, Lesson

HOUR_MS = 3_600_000
CHAMPION, CHALLENGER = "champion", "challenger"


class ForecastJournal(Protocol):
    """Where forecasts and their outcomes are kept."""

    async def write(self, lesson: Lesson) -> None:
        """Append, settle and replace, all or nothing."""
        ...

    async def open_rows(self, model_hash: bytes) -> tuple[ForecastRow, ...]:
        """Return a model's promises that have not ended."""
        ...

    async def state(self, model_hash: bytes) -> Mapping[str, Any] | None:
        """Return the factors as they were last written."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the monitors over one model say: alarms of this cycle, and how near each test is."""

    alarms: tuple[Raised, ...]
    shares: Mapping[tuple[str, str], float]
    drift_ratio: float
    drift_watched: bool


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

    def standing(self, alarms: tuple[Raised, ...]) -> Standing:
        """Say what its monitors see."""
        return Standing(
            alarms=alarms,
            shares=shares(self.watch),
            drift_ratio=drift_ratio(self.watch, self.terms),
            drift_watched=self.terms.reference is not None,
        )


class Serving:
    """The champion and its challenger, each with a memory of its own."""

    def __init__(
        self,
        champion: LoadedModel,
        journal: ForecastJournal,
        symbols: Mapping[MarketId, str],
        registry: Registry | None = None,
    ) -> None:
        self._journal = journal
        self._symbols = dict(symbols)
        self._registry = registry
        self._stamp: tuple[int, int] | None = None
        self._first = champion
        self._tracks: dict[str, Track] = {}
        self._notices: tuple[str, ...] = ()

    async def now(self) -> InService:
        """Return what decides now, after a look at the registry."""
        if CHAMPION not in self._tracks:
            await self._seat(CHAMPION, self._first)
        await self._follow()
        track = self._tracks[CHAMPION]
        return InService(
            model_hash=track.model.model_hash, scorer=track.model.scorer, factors=track.factors
        )

    async def learn(self, observation: Observation, judgement: Judgement) -> Learned:
        """Judge what has ended, learn from it, and record what is promised now.

        A journal that cannot be written costs the lesson and never a decision.
        """
        windows = {
            history.market: (candles_of(history.hours), candles_of(history.minutes))
            for history in observation.histories
        }
        vectors = {j.market: j.features for j in judgement.judged if j.features is not None}
        served = {j.market: j.scores for j in judgement.judged if j.scores is not None}
        endings: dict[str, tuple[Ending, ...]] = {}
        standings: dict[str, Standing] = {}
        notices, self._notices = self._notices, ()
        for role, track in self._tracks.items():
            scores = served if role == CHAMPION else None
            lesson = _Look(track, windows, observation.as_of_ms)
            try:
                await self._take(lesson, vectors, scores)
            except StorageFailed as fault:
                notices = (*notices, f"outcomes of the {role} were not recorded: {fault}")
                continue
            endings[role] = tuple(lesson.endings)
            standings[role] = track.standing(lesson.alarms)
        risks = self._tracks[CHAMPION].model.risks
        return Learned(endings=endings, standings=standings, notices=notices, risks=risks)

    async def _take(
        self,
        look: _Look,
        vectors: Mapping[MarketId, FeatureVector],
        scores: Mapping[MarketId, RiskScores] | None,
    ) -> None:
        """Put one look into the journal, then into the track: never the other way round."""
        starts = {key: from_ms for key, from_ms in look.starts() if MarketId(key[0]) in vectors}
        if not starts and not look.over:
            return
        asked = sorted({market for market, _ in starts})
        if scores is None and asked:
            chosen = [vectors[MarketId(market)] for market in asked]
            scores = _by_market(look.track.model.scorer.score(chosen, look.track.factors))
        opened = _promises(starts, scores or {})
        state = after(look.track.state, look.endings, look.as_of_ms)
        watch, look.alarms = _monitored(look, vectors)
        written = state_of(state) | {"watch": state_of_watch(watch)}
        model_hash = look.track.model.model_hash
        void = [promise for promise in look.over if promise not in look.judged]
        await self._journal.write(
            Lesson(
                model_hash=model_hash,
                at_ms=look.as_of_ms,
                opened=[self._row(model_hash, each, vectors) for each in opened],
                ended=[self._ended(model_hash, each, look.as_of_ms) for each in look.endings]
                + [self._void(model_hash, each, look.as_of_ms) for each in void],
                state=written if look.endings else None,
            )
        )
        track = look.track
        for promise in look.over:
            del track.open[(promise.market, promise.horizon_s)]
        track.open |= {(each.market, each.horizon_s): each for each in opened}
        if look.endings:
            track.state, track.watch = state, watch
            track.factors = self._factors(state)

    async def _follow(self) -> None:
        """Follow the registry, when it has changed."""
        if self._registry is None:
            return
        stamp = self._registry.stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        champion = self._tracks[CHAMPION].model
        found = await asyncio.to_thread(chosen, self._registry, champion)
        self._notices = (*self._notices, *found.notices)
        if found.champion.model_hash != champion.model_hash:
            await self._seat(CHAMPION, found.champion)
        if found.challenger is None:
            self._tracks.pop(CHALLENGER, None)
        else:
            await self._seat(CHALLENGER, found.challenger)

    async def _seat(self, role: str, model: LoadedModel) -> None:
        """Give a model a role, with what it has learned in whatever role before."""
        kept = await self._journal.state(model.model_hash)
        state = NOTHING_LEARNED if kept is None else state_from(kept)
        ids = {symbol: market for market, symbol in self._symbols.items()}
        rows = await self._journal.open_rows(model.model_hash)
        promises = [_promise(ids[row.symbol], row) for row in rows if row.symbol in ids]
        track = Track(model, state, promises, terms_of(model, len(self._symbols)))
        track.factors = self._factors(state)
        track.watch = watch_from({} if kept is None else kept.get("watch", {}), track.terms)
        self._tracks[role] = track
        if track.terms.reference is None:
            unwatched = f"drift of features is not watched for the {role}: its artifact is older"
            self._notices = (*self._notices, f"{unwatched} than the reference; train it again")

    def _factors(self, state: FactorState) -> dict[int, MarketFactors]:
        found = {int(market): state.of_market(market) for market in self._symbols}
        return {market: factors for market, factors in found.items() if factors is not None}

    def _row(
        self, model_hash: bytes, promise: Promise, vectors: Mapping[MarketId, FeatureVector]
    ) -> ForecastRow:
        # quarters of an hour would fill the disk with features that hardly differ
        keeps = promise.from_ms % HOUR_MS == 0
        tail = promise.tail
        return ForecastRow(
            model_hash=model_hash,
            symbol=self._symbols[MarketId(promise.market)],
            horizon_s=promise.horizon_s,
            from_ms=promise.from_ms,
            deviation=promise.deviation,
            quantiles=(tail.long_990, tail.long_995, tail.short_990, tail.short_995),
            features=packed(vectors[MarketId(promise.market)]) if keeps else None,
        )

    def _void(self, model_hash: bytes, promise: Promise, at_ms: int) -> ForecastRow:
        tail = promise.tail
        return ForecastRow(
            model_hash=model_hash,
            symbol=self._symbols[MarketId(promise.market)],
            horizon_s=promise.horizon_s,
            from_ms=promise.from_ms,
            deviation=promise.deviation,
            quantiles=(tail.long_990, tail.long_995, tail.short_990, tail.short_995),
            ended_ms=at_ms,
        )

    def _ended(self, model_hash: bytes, ending: Ending, at_ms: int) -> ForecastRow:
        row = self._void(model_hash, ending.promise, at_ms)
        figures = {"variance": ending.variance, "fall": ending.fall, "rise": ending.rise}
        return ForecastRow(
            **{name: getattr(row, name) for name in row.__dataclass_fields__} | figures
        )


class _Look:
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


def _monitored(
    look: _Look, vectors: Mapping[MarketId, FeatureVector]
) -> tuple[Watch, tuple[Raised, ...]]:
    """Move every test by what has ended, and the week by what is seen; both are journalled."""
    track = look.track
    watch, alarms = watched(track.watch, look.endings, track.terms)
    if not look.endings:
        return watch, alarms
    watch, drifts = seen(watch, vectors.values(), look.as_of_ms, track.terms)
    return watch, (*alarms, *drifts)


def _promises(
    starts: Mapping[tuple[int, int], int], scores: Mapping[MarketId, RiskScores]
) -> list[Promise]:
    """Take what was served for each start; what is out of domain promises nothing."""
    found = []
    for (market, horizon_s), from_ms in starts.items():
        score = scores.get(MarketId(market))
        if score is None or score.out_of_domain:
            continue
        place = HORIZONS_S.index(horizon_s)
        if place < len(score.tails):
            deviation, tail = score.volatility[place], score.tails[place]
            found.append(Promise(market=market, from_ms=from_ms, deviation=deviation, tail=tail))
    return found


def _promise(market: MarketId, row: ForecastRow) -> Promise:
    a, b, c, d = row.quantiles
    tail = HorizonTail(horizon_s=row.horizon_s, long_990=a, long_995=b, short_990=c, short_995=d)
    return Promise(market=market, from_ms=row.from_ms, deviation=row.deviation, tail=tail)


def _by_market(scores: Sequence[RiskScores]) -> dict[MarketId, RiskScores]:
    return {MarketId(each.market): each for each in scores}
