"""The models in service: the champion that decides, the challenger in its shadow, what both learn.

Between cycles the registry is looked at; a model that is refused there leaves the last good one in
charge, with a notice. After a cycle, forecasts whose horizon has ended are judged and teach the
online factors, and new ones are recorded. The factors a decision used are in its evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agent.judge import InService, Judgement
from agent.learning import Learned, Look, Standing, Track, monitored
from agent.proof.recorded import packed
from agent.snapshot import Observation, candles_of
from agent.succession import chosen
from contracts.units import MarketId
from models.artifact import LoadedModel
from models.features import FeatureVector
from models.heads import HORIZONS_S
from models.live import state_of_watch, terms_of, watch_from
from models.promises import (
    NOTHING_LEARNED,
    Ending,
    FactorState,
    Promise,
    after,
    state_from,
    state_of,
)
from models.registry import Registry
from models.scorer import HorizonTail, MarketFactors, RiskScores
from relayer.errors import StorageFailed
from relayer.forecasts import ForecastRow, Lesson

HOUR_MS = 3_600_000
CHAMPION, CHALLENGER = "champion", "challenger"

__all__ = ["CHALLENGER", "CHAMPION", "ForecastJournal", "Learned", "Serving", "Standing"]


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
            lesson = Look(track, windows, observation.as_of_ms)
            try:
                await self._take(lesson, vectors, scores)
            except StorageFailed as fault:
                notices = (*notices, f"outcomes of the {role} were not recorded: {fault}")
                continue
            endings[role] = tuple(lesson.endings)
            standings[role] = track.standing(lesson.alarms)
            if far := track.strays():
                notices = (*notices, f"this week is unlike training for the {role}: {far}")
        risks = self._tracks[CHAMPION].model.risks
        return Learned(endings=endings, standings=standings, notices=notices, risks=risks)

    async def _take(
        self,
        look: Look,
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
        watch, look.alarms = monitored(look, vectors)
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
