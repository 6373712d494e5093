"""The last judgement as terms read it: each market's scores, the reasons, and what blocks it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from agent.decisions import Hold, HoldReason
from agent.judge import Judged, Judgement
from contracts.margin_pace import NEVER_MS
from contracts.units import MarketId, UnixMs
from models.heads import HORIZONS_S
from models.scorer import HorizonTail, LiquidityScore, RiskScores

HARMLESS = frozenset(
    {
        HoldReason.NO_FEASIBLE_STEP,
        HoldReason.NOTHING_TO_DO,
        HoldReason.NO_QUORUM,
        HoldReason.DRY_RUN,
        HoldReason.NOT_DELIVERED,
        HoldReason.STORAGE_FAILED,
        HoldReason.CHAIN_UNREACHABLE,
    }
)
"""Holds that say nothing against a market: what it was judged by is sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """Why the agent gives no terms in a market."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketAssessment:
    """One market as it was judged."""

    market: MarketId
    scores: RiskScores | None
    reasons: tuple[str, ...] = ()
    blocks: Blocked | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What one cycle concluded; before the first there is none, and nothing is judged."""

    as_of_ms: UnixMs = NEVER_MS
    markets: Mapping[MarketId, MarketAssessment] = field(
        default_factory=lambda: MappingProxyType({})
    )


NOT_JUDGED = Assessment()


def assessment_of(judgement: Judgement, as_of_ms: UnixMs) -> Assessment:
    """Read a cycle of this process."""
    markets = {each.market: _judged(each) for each in judgement.judged}
    return Assessment(as_of_ms=as_of_ms, markets=markets)


def _judged(judged: Judged) -> MarketAssessment:
    outcome = judged.outcome
    return MarketAssessment(
        market=judged.market,
        scores=judged.scores,
        reasons=judged.decision.reasons if judged.decision else (),
        blocks=blocked(outcome.reason, outcome.detail) if isinstance(outcome, Hold) else None,
    )


def blocked(reason: HoldReason, detail: str) -> Blocked | None:
    """Tell whether a hold keeps terms back."""
    return None if reason in HARMLESS else Blocked(reason=reason.value, detail=detail)


def assessment_from(fields: Mapping[str, Any]) -> Assessment:
    """Read a cycle of another process from its evidence."""
    ids = (MarketId(int(name.split("/")[1])) for name in fields if name.startswith("outcome/"))
    as_of_ms = UnixMs(fields["as_of_ms"])
    markets = {market: _recorded(market, as_of_ms, fields) for market in ids}
    return Assessment(as_of_ms=as_of_ms, markets=markets)


def _recorded(market: MarketId, as_of_ms: UnixMs, fields: Mapping[str, Any]) -> MarketAssessment:
    outcome, scores = fields[f"outcome/{market}"], fields.get(f"scores/{market}")
    decision = fields.get(f"decision/{market}")
    return MarketAssessment(
        market=market,
        scores=scores_from(market, as_of_ms, scores) if scores else None,
        reasons=tuple(decision["reasons"]) if decision else (),
        blocks=blocked(HoldReason(outcome["hold"]), outcome["detail"])
        if "hold" in outcome
        else None,
    )


def scores_from(market: MarketId, as_of_ms: UnixMs, value: Mapping[str, Any]) -> RiskScores:
    """Read what `agent.proof.record.encode_scores` wrote."""
    return RiskScores(
        market=market,
        as_of_ms=as_of_ms,
        volatility=tuple(value["volatility"]),
        tail_long=value["tail_long"],
        tail_short=value["tail_short"],
        tails=tuple(_tails(value["tails"])),
        liquidity=LiquidityScore(
            slippage_ratio=tuple(value["slippage_ratio"]),
            stressed_depth_usdc=value["stressed_depth_usdc"],
        ),
        out_of_domain=tuple(value["out_of_domain"]),
    )


def _tails(value: Mapping[str, list[float]]) -> Iterable[HorizonTail]:
    for horizon_s in HORIZONS_S:
        long_990, long_995, short_990, short_995 = value[str(horizon_s)]
        yield HorizonTail(
            horizon_s=horizon_s,
            long_990=long_990,
            long_995=long_995,
            short_990=short_990,
            short_995=short_995,
        )
