"""What the last risk cycle foresaw, as far as positions are judged by it: values, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from agent.cycle import CycleResult
from agent.quoting.joint import cross_markets
from contracts.units import MarketId
from models.risk_heads import CrossMarkets, RiskHeads
from models.scorer import RiskScores


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """One market: deviations, the adverse excursion of 15 minutes, and what leaving costs.

    `slippage` is a ratio for each of `REFERENCE_NOTIONALS_USDC`; `depth_usdc` is what a stressed
    market still offers within 50 basis points.
    """

    deviations: tuple[float, ...]
    tail_long: float
    tail_short: float
    slippage: tuple[float, ...]
    depth_usdc: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """Every market that was scored, when, by which model, and the evidence that says how.

    `heads` are that model's trained ones, where it has any; they change with a promotion.
    """

    as_of_ms: int = 0
    chain_s: int = 0  # the time of the block that it was decided at
    markets: Mapping[MarketId, Foresight] = field(default_factory=lambda: MappingProxyType({}))
    cross: CrossMarkets | None = None
    model_hash: bytes = b""
    evidence_hash: bytes = b""
    heads: RiskHeads | None = None

    @property
    def deviations(self) -> Mapping[MarketId, tuple[float, ...]]:
        """How far each market may move over each horizon."""
        return {market: each.deviations for market, each in self.markets.items()}


NOTHING_AHEAD = Ahead()


def ahead_of(result: CycleResult) -> Ahead:
    """Take from a cycle what it foresaw."""
    seen, judged = result.observation, result.judgement
    scores = [each.scores for each in judged.judged if each.scores is not None]
    posted = [each.message.evidence_hash for each in result.postings]
    return Ahead(
        as_of_ms=seen.as_of_ms,
        chain_s=int(seen.limits.timestamp_s),
        markets={MarketId(each.market): foresight_of(each) for each in scores},
        cross=cross_markets(seen.histories, judged, seen.as_of_ms),
        model_hash=result.model_hash,
        evidence_hash=posted[0] if posted else b"",
        heads=None if result.learned is None else result.learned.risks,
    )


def foresight_of(scores: RiskScores) -> Foresight:
    """Take one market's scores."""
    return Foresight(
        deviations=scores.volatility,
        tail_long=scores.tail_long,
        tail_short=scores.tail_short,
        slippage=scores.liquidity.slippage_ratio,
        depth_usdc=scores.liquidity.stressed_depth_usdc,
    )
