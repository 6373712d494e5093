"""What one cycle sees: every market at one instant, the chain at one block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from agent.decisions import Hold, HoldReason
from agent.triggers import Posted
from contracts.halts import Controls
from contracts.messages import Domain
from contracts.risk_bounds import ClassBounds
from contracts.risk_oracle import MarketState
from contracts.units import MarketId, UnixMs, UnixS
from models.features import BookDepth, Candles, MarketWindow
from relayer.market.aggregate import AggregationRules, Mark, NoMark, NoMarkReason, aggregate_round
from relayer.market.book_measures import BookMeasures
from relayer.market.jumps import JumpWatch, unconfirmed
from relayer.market.values import CandleSeries, QuoteRound

Marks: TypeAlias = Mapping[MarketId, Mark | NoMark]

HOLD_OF_NO_MARK: Mapping[NoMarkReason, HoldReason] = {
    NoMarkReason.TOO_FEW_VENUES: HoldReason.TOO_FEW_VENUES,
    NoMarkReason.STALE: HoldReason.VENUES_STALE,
    NoMarkReason.FROM_THE_FUTURE: HoldReason.CLOCK_SKEW,
    NoMarkReason.NOT_SIMULTANEOUS: HoldReason.VENUES_STALE,
    NoMarkReason.DISAGREE: HoldReason.VENUES_DISAGREE,
    NoMarkReason.JUMP_UNCONFIRMED: HoldReason.JUMP_UNCONFIRMED,
    NoMarkReason.STABLECOIN_UNKNOWN: HoldReason.STABLECOIN_UNKNOWN,
    NoMarkReason.STABLECOIN_OFF_PEG: HoldReason.STABLECOIN_OFF_PEG,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What the price feed holds at one block; `posted` is in the order of the market ids.

    `waiting`: the instant from which each market's price serves its waiting requests.
    """

    domain: Domain
    round: int
    posted: tuple[Posted | None, ...]
    waiting: Mapping[MarketId, UnixMs] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What both contracts hold at one block: the live values that a plan starts from.

    `states` are in the order of the market ids.
    """

    domain: Domain
    block_number: int
    timestamp_s: UnixS
    round: int
    controls: Controls
    bounds: Mapping[int, ClassBounds]
    states: tuple[MarketState, ...]
    feed: Feed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarketHistory:
    """One market's closed bars and the depth of its books."""

    market: MarketId
    symbol: str
    hours: CandleSeries
    minutes: CandleSeries
    depth: BookDepth | None
    book: BookMeasures | None = None  # kept as evidence; no model reads it yet


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observation:
    """What came in from outside, before anything is made of it; the root of the evidence."""

    as_of_ms: UnixMs
    limits: Limits
    quotes: QuoteRound
    rules: AggregationRules
    histories: tuple[MarketHistory, ...]
    unconfirmed: tuple[MarketId, ...] = ()  # markets whose jump waits for a second look
    notices: tuple[str, ...] = ()  # what was missing, for the log; decides nothing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarketSnapshot:
    """One market that can be decided on: its mark, its past, and what the chain has of it."""

    history: MarketHistory
    mark: Mark
    state: MarketState
    posted: Posted | None

    @property
    def market(self) -> MarketId:
        """Return the market's id."""
        return self.history.market

    @property
    def last_closed_ms(self) -> int | None:
        """Return when the latest closed bar closed, or None where there is no bar."""
        both = (self.history.hours, self.history.minutes)
        ends = [int(series.open_ms[-1]) + series.bar_ms for series in both if len(series)]
        return max(ends) if ends else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """All markets at one instant; those that could not be observed are holds."""

    as_of_ms: UnixMs
    limits: Limits
    markets: tuple[MarketSnapshot, ...]
    holds: tuple[Hold, ...]


def snapshot_of(observation: Observation, made: Marks | None = None) -> Snapshot:
    """Set each market's mark beside what the chain has of it, in market-id order.

    `made`: what `made_of` gave of these quotes, where that is known already.
    """
    limits, markets, holds = observation.limits, [], []
    marks = marks_of(observation, made)
    for history in sorted(observation.histories, key=lambda each: each.market):
        mark = marks[history.market]
        if isinstance(mark, NoMark):
            holds.append(hold_of(mark))
        elif history.market >= len(limits.states):
            detail = f"{history.symbol} is not on the oracle; add it there or take it out here"
            holds.append(
                Hold(market=history.market, reason=HoldReason.UNKNOWN_MARKET, detail=detail)
            )
        else:
            markets.append(_market(history, mark, limits))
    return Snapshot(
        as_of_ms=observation.as_of_ms, limits=limits, markets=tuple(markets), holds=tuple(holds)
    )


def made_of(observation: Observation) -> Marks:
    """Make the marks of the quotes alone."""
    ids = [history.market for history in observation.histories]
    return aggregate_round(observation.quotes, ids, observation.as_of_ms, observation.rules)


def marks_of(observation: Observation, made: Marks | None = None) -> Marks:
    """Make the marks; a jump that waits for a second look is none yet."""
    waits = {
        market: NoMark(market=market, reason=NoMarkReason.JUMP_UNCONFIRMED, detail="a jump waits")
        for market in observation.unconfirmed
    }
    return {**(made_of(observation) if made is None else made), **waits}


def with_jumps(observation: Observation, made: Marks, seen: JumpWatch) -> Observation:
    """Note which markets' marks jumped from what was accepted last."""
    shown, _ = seen.confirmed(marks_of(observation, made))
    return replace(observation, unconfirmed=tuple(unconfirmed(shown)))


def hold_of(mark: NoMark) -> Hold:
    """Say in the agent's words why there is no mark."""
    return Hold(market=mark.market, reason=HOLD_OF_NO_MARK[mark.reason], detail=mark.detail)


def _market(history: MarketHistory, mark: Mark, limits: Limits) -> MarketSnapshot:
    """Set one market beside what the chain has of it."""
    posted = limits.feed.posted
    known = posted[history.market] if history.market < len(posted) else None
    return MarketSnapshot(
        history=history, mark=mark, state=limits.states[history.market], posted=known
    )


def window_of(market: MarketSnapshot, as_of_ms: UnixMs) -> MarketWindow:
    """Turn a market's past into the columns that the models read."""
    return MarketWindow(
        market=market.market,
        as_of_ms=as_of_ms,
        hours=candles_of(market.history.hours),
        minutes=candles_of(market.history.minutes),
        book=market.history.depth,
    )


def candles_of(series: CandleSeries) -> Candles:
    """Hand the columns over as they are: the models read, they never write."""
    return Candles(
        bar_ms=series.bar_ms,
        open_ms=series.open_ms,
        open=series.open,
        high=series.high,
        low=series.low,
        close=series.close,
        volume=series.volume,
    )
