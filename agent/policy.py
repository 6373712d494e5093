"""From scores to a decision: the margin that covers the tail, the way out, and the way back.

maintenance = adverse excursion over the close-out period, leaned on a stressed one, × (1 + buffer)
+ slippage of the reference size + fee, at least the floor; cap = 1 ÷ (2 × maintenance). Float ends
in this module, each crossing with its rounding named, and every rounding is toward less risk.

Against procyclicality all three tools of EMIR RTS 153/2013 article 28(1) are used: a buffer that is
drawn down as the tail rises (a), weight on stressed observations (b), a floor (c). Weight and
buffer lift calm markets, end where the tail is the stressed one, and never take anything away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from agent.decisions import Decision, Hold, HoldReason
from agent.settings import Section
from contracts.units import (
    LeverageE2,
    MarketId,
    Ppm,
    UnixMs,
    WholeUsdc,
    cap_from_maintenance,
    maintenance_from_cap,
)
from models.scorer import REFERENCE_NOTIONALS_USDC, RiskScores

PPM = 1_000_000
STRESSED_TAIL_RATIO = 0.075
"""99 % quantile of the tail of 15 minutes over 7,277 days of 11 coins before 2020, by the model of
its time. Today's head gives 0.067 (0.057 to 0.086 by coin); the larger stands (docs/models.md)."""


class ClassPolicy(Section):
    """What the policy asks of every market of one class."""

    # The tail of stressed days in the long past of the class; what new listings are leaned on too.
    stressed_tail_ratio: float = Field(default=STRESSED_TAIL_RATIO, ge=0.001, le=0.5)
    maintenance_floor_ratio: float = Field(ge=0.001, le=0.5)
    max_leverage: float = Field(ge=1, le=200)
    liquidation_notional_usdc: float = Field(gt=0)


class PolicySettings(Section):
    """How scores become parameters; part of the policy hash and of every evidence bundle."""

    fee_ratio: float = Field(default=0.0005, ge=0, le=0.05)
    # EMIR RTS 153/2013 article 28(1)(a): a buffer of at least 25 %, drawn down when margins rise.
    buffer_ratio: float = Field(default=0.25, ge=0, le=1)
    # Article 28(1)(b): at least 25 % weight on stressed observations.
    stressed_weight: float = Field(default=0.25, ge=0, le=1)
    # Share of the stressed depth (within 50 bps) that open interest and one size may be of it.
    open_interest_depths: float = Field(default=20.0, gt=0)
    size_scale_depths: float = Field(default=2.0, gt=0)
    spread_floor_ratio: float = Field(default=0.0001, ge=0, le=0.02)
    spread_per_volatility: float = Field(default=0.05, ge=0, le=1)
    max_spread_ratio: float = Field(default=0.02, gt=0, le=0.02)
    classes: dict[str, ClassPolicy]

    @model_validator(mode="after")
    def _rises_with_the_tail(self) -> Self:
        """Refuse a buffer that would be drawn down faster than the tail rises."""
        if self.buffer_ratio + self.stressed_weight > 1.0:
            raise ValueError("buffer_ratio and stressed_weight together must be at most 1")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """The parts of a maintenance ratio, so that it can be explained.

    `tail` is what the model forecasts, `through_cycle` that leaned on the stressed tail.
    """

    tail: float
    through_cycle: float
    slippage: float
    fee: float
    buffer: float
    floor: float

    @property
    def ratio(self) -> float:
        """Return the maintenance ratio."""
        tail = self.through_cycle * (1.0 + self.buffer)
        return max(tail + self.slippage + self.fee, self.floor)


def decide(scores: RiskScores, class_id: int, policy: PolicySettings) -> Decision | Hold:
    """Turn one market's scores into the parameters that the policy wants for it."""
    market = MarketId(scores.market)
    rules = policy.classes.get(str(class_id))
    if rules is None:
        detail = f"no policy for class {class_id}; add [policy.classes.{class_id}]"
        return Hold(market=market, reason=HoldReason.UNKNOWN_MARKET, detail=detail)
    if scores.out_of_domain:
        detail = "; ".join(scores.out_of_domain)
        return Hold(market=market, reason=HoldReason.OUT_OF_DOMAIN, detail=detail)
    margin = margin_of(scores, rules, policy)
    if not margin.ratio <= 0.5:
        detail = f"a maintenance of {margin.ratio:.3f} leaves no leverage of 1x"
        return Hold(market=market, reason=HoldReason.NO_FEASIBLE_CAP, detail=detail)
    cap = round_cap_down(margin.ratio, rules.max_leverage)
    depth = scores.liquidity.stressed_depth_usdc
    return Decision(
        market=market,
        as_of_ms=UnixMs(scores.as_of_ms),
        cap_e2=cap,
        maintenance_ppm=maintenance_from_cap(cap),
        open_interest_cap_usdc=round_usdc_down(depth * policy.open_interest_depths),
        size_scale_usdc=round_usdc_down(depth * policy.size_scale_depths),
        spread_ppm=round_spread_up(scores.volatility[0], policy),
        reasons=explain(margin, cap, rules),
    )


def margin_of(scores: RiskScores, rules: ClassPolicy, policy: PolicySettings) -> Margin:
    """Add up what a liquidation may cost before it is done, as ratios of the notional."""
    tail = max(scores.tail_long, scores.tail_short)
    stressed = rules.stressed_tail_ratio
    return Margin(
        tail=tail,
        through_cycle=tail + policy.stressed_weight * max(stressed - tail, 0.0),
        slippage=slippage_at(scores, rules.liquidation_notional_usdc),
        fee=policy.fee_ratio,
        buffer=policy.buffer_ratio * (1.0 - stress(tail, stressed)),
        floor=rules.maintenance_floor_ratio,
    )


def slippage_at(scores: RiskScores, notional_usdc: float) -> float:
    """Cost to unwind a notional: that of the next larger reference size, so never too little."""
    for reference, ratio in zip(
        REFERENCE_NOTIONALS_USDC, scores.liquidity.slippage_ratio, strict=True
    ):
        if notional_usdc <= reference:
            return ratio
    return 1.0


def stress(tail: float, stressed_tail: float) -> float:
    """How far the buffer is drawn down, 0 to 1: all of it where the tail is the stressed one.

    So in a crash the margin rises by less than the tail does (procyclicality), and what the tail
    itself asks for is always there.
    """
    return min(max(tail / stressed_tail, 0.0), 1.0)


def round_cap_down(maintenance_ratio: float, max_leverage: float) -> LeverageE2:
    """Round the ratio up to a ppm, then its cap down to a hundredth, at most the maximum."""
    ratio_ppm = Ppm(min(math.ceil(maintenance_ratio * PPM), PPM // 2))
    return LeverageE2(min(cap_from_maintenance(ratio_ppm), math.floor(max_leverage * 100)))


def round_usdc_down(amount: float) -> WholeUsdc:
    """Drop the part below one USDC: an amount that permits risk is rounded down."""
    return WholeUsdc(math.floor(amount))


def round_spread_up(volatility_close_out: float, policy: PolicySettings) -> Ppm:
    """Half-spread in ppm, rounded up: what a trade pays is never too little."""
    ratio = policy.spread_floor_ratio + policy.spread_per_volatility * volatility_close_out
    return Ppm(math.ceil(min(ratio, policy.max_spread_ratio) * PPM))


def explain(margin: Margin, cap: LeverageE2, rules: ClassPolicy) -> tuple[str, ...]:
    """Say in words what the cap is made of, the binding part first."""
    binding = "the tail of the next 15 minutes, the way out and the buffer"
    if margin.ratio <= margin.floor:
        binding = "the floor of its class"
    if cap == math.floor(rules.max_leverage * 100):
        binding = "the largest cap of its class"
    return (
        f"cap {cap / 100:.2f}x is set by {binding}",
        f"tail {margin.tail:.4%}, slippage {margin.slippage:.4%}, fee {margin.fee:.4%}",
        f"through the cycle {margin.through_cycle:.4%}, buffer {margin.buffer:.1%}",
        f"floor {margin.floor:.4%}",
    )
