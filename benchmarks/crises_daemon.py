"""The actual agent in a replay: snapshot, judge, plan and online factors, with a clock of its own.

Nothing is decided here. `agent.judge.judge` decides, `agent.serving.Serving` learns, both as the
daemon calls them; this module shows them the replay's candles, books and chain. Depth follows the
rule of the local exchanges (`relayer.local.synthetic`) and is synthetic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from agent.decisions import Decision, Hold
from agent.guard import guard
from agent.judge import Judgement, Rules, judge, validity_of
from agent.plan import Plan, plan, wanted
from agent.serving import Serving
from agent.snapshot import MarketHistory, MarketSnapshot, Observation, Snapshot
from benchmarks.crises_law import MS, Law
from benchmarks.crises_prices import LEAD_MINUTES, LOOK_BACK_HOURS, MINUTE_MS, Bars, Walk
from contracts.risk_bounds import Values
from contracts.units import MarketId, Ppm, PriceE18, UnixMs
from models.artifact import LoadedModel
from models.features import BookDepth
from models.scorer import RiskScores
from relayer.local.synthetic import CALM_RANGE_BP, DEPTH_MINUTES, DEPTH_WITHIN_BP
from relayer.market.aggregate import AggregationRules, Mark
from relayer.market.values import CandleSeries, QuoteRound

CONFIDENCE_PPM: Final = 200
BOOK_BP: Final = (10.0, 25.0, 50.0, 100.0)
HOUR_MINUTES, SOON_MINUTES = 60, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What one cycle of ours concluded: the base that the other peers start from."""

    minute: int
    scores: Mapping[MarketId, RiskScores]
    decisions: Mapping[MarketId, Decision]


class Memory:
    """A forecast journal that keeps nothing: a replay is one process."""

    async def state(self, model_hash: bytes) -> dict[str, Any] | None:
        """Give nothing."""
        return None

    async def open_rows(self, model_hash: bytes) -> list[Any]:
        """Give nothing."""
        return []

    async def write(self, lesson: object) -> None:
        """Keep nothing."""


class Daemon:
    """The agent over one walk."""

    def __init__(self, model: LoadedModel, rules: Rules, walk: Walk) -> None:
        self._rules, self._walk = rules, walk
        self.model_hash = model.model_hash
        symbols = {MarketId(place): symbol for place, symbol in enumerate(walk.symbols)}
        self._serving = Serving(model, Memory(), symbols)  # type: ignore[arg-type]
        self._loop = asyncio.new_event_loop()

    def cycle(self, law: Law, minute: int) -> tuple[Judgement, Scored]:
        """Judge every market now, and learn from what has ended."""
        service = self._loop.run_until_complete(self._serving.now())
        snapshot = snapshot_of(law, self._walk, minute)
        judgement = judge(snapshot, service.scorer, self._rules, service.factors)
        observation = Observation(
            as_of_ms=snapshot.as_of_ms,
            limits=law.limits,
            quotes=QuoteRound(
                quotes=(), stablecoins=(), refused=(), faults=(), taken_at_ms=snapshot.as_of_ms
            ),
            rules=AggregationRules(),
            histories=tuple(each.history for each in snapshot.markets),
        )
        self._loop.run_until_complete(self._serving.learn(observation, judgement))
        scored = Scored(
            minute=minute,
            scores={j.market: j.scores for j in judgement.judged if j.scores is not None},
            decisions={j.market: j.decision for j in judgement.judged if j.decision is not None},
        )
        return judgement, scored

    def close(self) -> None:
        """End the loop that serving runs in."""
        self._loop.close()


def snapshot_of(law: Law, walk: Walk, minute: int) -> Snapshot:
    """See the chain as it is, and the bars that have closed when `minute` minutes were played."""
    as_of_ms = UnixMs(law.now_s * MS)
    limits = law.limits
    markets = tuple(
        MarketSnapshot(
            history=_history(walk, market, minute),
            mark=Mark(
                market=MarketId(market),
                price_e18=PriceE18(posted.price_e18),
                confidence_ppm=Ppm(CONFIDENCE_PPM),
                observed_at_ms=as_of_ms,
                venues=("replay",),
                excluded=(),
            ),
            state=limits.states[market],
            posted=posted,
        )
        for market, posted in enumerate(limits.feed.posted)
        if posted is not None
    )
    return Snapshot(as_of_ms=as_of_ms, limits=limits, markets=markets, holds=())


def _history(walk: Walk, market: int, minute: int) -> MarketHistory:
    now_ms = walk.start_ms + minute * MINUTE_MS
    closed_hours = (now_ms - walk.hours.start_ms) // walk.hours.bar_ms
    closed = LEAD_MINUTES + minute
    return MarketHistory(
        market=MarketId(market),
        symbol=walk.symbols[market],
        hours=_series(walk.hours, market, closed_hours - LOOK_BACK_HOURS, closed_hours),
        minutes=_series(walk.minutes, market, closed - LEAD_MINUTES, closed),
        depth=_depth(walk.minutes, market, closed),
    )


def _series(bars: Bars, market: int, first: int, last: int) -> CandleSeries:
    rows = slice(max(0, first), last)
    columns = ("open", "high", "low", "close", "volume")
    values = {name: np.ascontiguousarray(getattr(bars, name)[rows, market]) for name in columns}
    return CandleSeries(
        market=MarketId(market), bar_ms=bars.bar_ms, open_ms=bars.open_ms[rows], **values
    )


def _depth(minutes: Bars, market: int, closed: int) -> BookDepth:
    """Give the book that stands now, by the stated rule: a share of a minute's turnover."""
    rows = slice(closed - HOUR_MINUTES, closed)
    high, low = minutes.high[rows, market], minutes.low[rows, market]
    ranges = (high / low - 1.0) * 1e4
    width = float(max(ranges.mean(), ranges[-SOON_MINUTES:].mean()))
    turnover = float((minutes.volume[rows, market] * minutes.close[rows, market]).mean())
    a_bp = DEPTH_MINUTES * turnover / DEPTH_WITHIN_BP / (1.0 + width / CALM_RANGE_BP)
    side = tuple(a_bp * bp for bp in BOOK_BP)
    return BookDepth(bid_usdc=side, ask_usdc=side)  # type: ignore[arg-type]  # four of them


def words_for(
    law: Law, walk: Walk, minute: int, decisions: Mapping[MarketId, Decision], rules: Rules
) -> tuple[tuple[int, ...], int]:
    """Guard and plan another's decisions on this chain: the words to post, and how long they hold.

    The same two functions as behind ours, on the peer's own live values.
    """
    snapshot = snapshot_of(law, walk, minute)
    validity_s = validity_of(snapshot, rules)
    words = []
    for market in snapshot.markets:
        decision = decisions.get(market.market)
        if decision is None:
            continue
        guarded = guard(decision, market, rules.guard)
        if isinstance(guarded, Hold):
            continue
        outcome = plan(guarded, market, snapshot.limits, validity_s, rules.plan)
        if isinstance(outcome, Plan):
            words.append(outcome.word)
    return tuple(words), validity_s


def settled_values(
    law: Law, walk: Walk, decisions: Mapping[MarketId, Decision], rules: Rules
) -> tuple[Values, ...]:
    """Give each market's values as they are where a peer has long been at its decisions."""
    markets: Sequence[MarketSnapshot] = snapshot_of(law, walk, 0).markets
    return tuple(_settled(each, decisions[each.market], law, rules) for each in markets)


def _settled(market: MarketSnapshot, decision: Decision, law: Law, rules: Rules) -> Values:
    guarded = guard(decision, market, rules.guard)
    if isinstance(guarded, Hold):
        raise TypeError(f"a replay begins in calm, not with {guarded}")
    return wanted(guarded, law.oracle.bounds[market.state.class_id])


def known(decisions: Iterable[Decision | Hold]) -> dict[MarketId, Decision]:
    """Keep what is a decision."""
    return {each.market: each for each in decisions if isinstance(each, Decision)}
