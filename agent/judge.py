"""One snapshot to one judgement: score, decide, guard, plan, market by market, without a clock.

The same snapshot, model and rules give the same words in any process (`agent.proof.verify`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import Field

from agent.decisions import Decision, GuardedDecision, Hold, HoldReason
from agent.guard import GuardSettings, guard
from agent.plan import Plan, PlanSettings, plan
from agent.policy import PolicySettings, decide
from agent.settings import Section
from agent.snapshot import Limits, MarketSnapshot, Snapshot, window_of
from contracts.halts import DecisionKind
from contracts.units import MarketId
from models.features import FeatureVector, WarmingUp, feature_vectors
from models.scorer import MarketFactors, RiskScores


class Rules(Section):
    """Everything that turns scores into words; every evidence bundle holds it."""

    valid_for_s: int = Field(default=900, ge=60, le=40_000)
    policy: PolicySettings
    guard: GuardSettings = GuardSettings()
    plan: PlanSettings = PlanSettings()


class Scorer(Protocol):
    """A trained model in service."""

    def score(
        self,
        vectors: Sequence[FeatureVector],
        factors: Mapping[int, MarketFactors] | None = None,
    ) -> tuple[RiskScores, ...]:
        """Score each vector; factors are what its market's outcomes have taught."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InService:
    """The model that decides now, and the online factors that it decides with."""

    model_hash: bytes
    scorer: Scorer
    factors: Mapping[int, MarketFactors] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One market's way from features to an item, as far as it came."""

    market: MarketId
    features: FeatureVector | None
    scores: RiskScores | None
    decision: Decision | None
    outcome: Plan | Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a cycle concludes: an item or a hold for every market, and how long it may be used."""

    judged: tuple[Judged, ...]
    validity_s: int

    @property
    def words(self) -> tuple[int, ...]:
        """Return the items to post, in market-id order."""
        return tuple(plan.word for plan in self.plans)

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Return the planned items."""
        return tuple(each.outcome for each in self.judged if isinstance(each.outcome, Plan))

    @property
    def holds(self) -> tuple[Hold, ...]:
        """Return the markets for which nothing is done, and why."""
        return tuple(each.outcome for each in self.judged if isinstance(each.outcome, Hold))


def judge(
    snapshot: Snapshot,
    scorer: Scorer,
    rules: Rules,
    factors: Mapping[int, MarketFactors] | None = None,
) -> Judgement:
    """Judge every market of a snapshot; the factors are part of what it follows from."""
    paused = snapshot.limits.controls.refusal_of(
        DecisionKind.RISK_UPDATE, snapshot.limits.timestamp_s
    )
    if paused is not None:
        return _all_hold(snapshot, HoldReason.PAUSED, f"the oracle refuses updates: {paused.name}")
    windows = [window_of(market, snapshot.as_of_ms) for market in snapshot.markets]
    features = feature_vectors(windows)
    known = [vector for vector in features if isinstance(vector, FeatureVector)]
    scores = {each.market: each for each in scorer.score(known, factors)} if known else {}
    ground = (snapshot.limits, rules, validity_of(snapshot, rules))
    judged = [
        _judge_one(market, vector, scores.get(market.market), ground)
        for market, vector in zip(snapshot.markets, features, strict=True)
    ]
    judged += [_held(hold) for hold in snapshot.holds]
    return Judgement(judged=_in_order(judged), validity_s=ground[-1])


def validity_of(snapshot: Snapshot, rules: Rules) -> int:
    """Give the seconds for which all markets' classes let one update be used."""
    return min([rules.valid_for_s, *(b.max_validity_s for b in snapshot.limits.bounds.values())])


def _judge_one(
    market: MarketSnapshot,
    features: FeatureVector | WarmingUp,
    scores: RiskScores | None,
    ground: tuple[Limits, Rules, int],
) -> Judged:
    """Follow one market from its scores to an item or a hold."""
    if isinstance(features, WarmingUp) or scores is None:
        reason = features.reason if isinstance(features, WarmingUp) else "no scores"
        hold = Hold(market=market.market, reason=HoldReason.WARMING_UP, detail=reason)
        return _held(hold)
    limits, rules, validity_s = ground
    decision = decide(scores, market.state.class_id, rules.policy)
    outcome: GuardedDecision | Plan | Hold = (
        decision if isinstance(decision, Hold) else guard(decision, market, rules.guard)
    )
    if isinstance(outcome, GuardedDecision):
        outcome = plan(outcome, market, limits, validity_s, rules.plan)
    return Judged(
        market=market.market,
        features=features,
        scores=scores,
        decision=decision if isinstance(decision, Decision) else None,
        outcome=outcome,
    )


def _held(hold: Hold) -> Judged:
    """A market that came no further than its hold."""
    market = MarketId(-1) if hold.market is None else hold.market
    return Judged(market=market, features=None, scores=None, decision=None, outcome=hold)


def _all_hold(snapshot: Snapshot, reason: HoldReason, detail: str) -> Judgement:
    """Hold every market for one reason."""
    markets = [each.market for each in snapshot.markets]
    held = [_held(Hold(market=market, reason=reason, detail=detail)) for market in markets]
    held += [_held(hold) for hold in snapshot.holds]
    return Judgement(judged=_in_order(held), validity_s=0)


def _in_order(judged: list[Judged]) -> tuple[Judged, ...]:
    return tuple(sorted(judged, key=lambda each: each.market))
