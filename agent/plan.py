"""From what the policy wants to what the contract will take now: a feasible step, or none.

The plan starts from the live values and is judged by the contract's own mirror. Tightening goes at
once, loosening waits for hysteresis, delay and drift budget. A step is a whole share of the way for
all fields together, and its maintenance follows its cap; no field of a tuple is ever clamped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from pydantic import Field

from agent.decisions import GuardedDecision, Hold, HoldReason
from agent.settings import Section
from agent.snapshot import Limits, MarketSnapshot
from contracts.halts import Controls
from contracts.packing import (
    MAX_AMOUNT_USDC,
    SPREAD_UNIT_PPM,
    MarketParameters,
    pack_risk_word,
    round_down_amount,
)
from contracts.refusals import Refusal
from contracts.risk_bounds import ClassBounds, Values, tighter
from contracts.risk_oracle import MarketState, Stamp, apply_item
from contracts.units import (
    PPM,
    LeverageE2,
    MarketId,
    Ppm,
    UnixMs,
    WholeUsdc,
    ceil_div,
    maintenance_from_cap,
    seconds_floor,
)

SHARES: Final = (1, 2, 3, *(base << power for power in range(1, 16) for base in (2, 3)))
"""In how many equal parts a way may be cut before its first step fits the contract's limits."""


class Move(StrEnum):
    """What a planned item does to its market."""

    RENEW = "renew"
    TIGHTEN = "tighten"
    LOOSEN = "loosen"


class PlanSettings(Section):
    """When a difference from the live values is worth a change."""

    cap_tighten_ppm: int = Field(default=20_000, ge=0, lt=PPM)
    cap_loosen_ppm: int = Field(default=100_000, ge=0, lt=PPM)
    # Depth and spread are noisier than the tail, and each change starts the loosening delay anew.
    other_tighten_ppm: int = Field(default=150_000, ge=0, lt=PPM)
    other_loosen_ppm: int = Field(default=300_000, ge=0, lt=PPM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One item that the contract takes now, and in how many parts the way was cut for it."""

    parameters: MarketParameters
    word: int
    move: Move
    parts: int
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where a plan starts from: one market's live state, its bounds, and the instant."""

    market: MarketId
    state: MarketState
    bounds: ClassBounds
    stamp: Stamp
    controls: Controls


def plan(
    guarded: GuardedDecision,
    market: MarketSnapshot,
    limits: Limits,
    validity_s: int,
    settings: PlanSettings,
) -> Plan | Hold:
    """Find the largest whole step toward the decision that the contract accepts at this instant."""
    state, bounds = market.state, limits.bounds.get(market.state.class_id)
    if bounds is None:
        detail = f"class {state.class_id} has no bounds on the oracle"
        return Hold(market=market.market, reason=HoldReason.UNKNOWN_MARKET, detail=detail)
    ground = Ground(
        market=market.market,
        state=state,
        bounds=bounds,
        stamp=stamp_at(guarded.decision.as_of_ms, min(validity_s, bounds.max_validity_s)),
        controls=limits.controls,
    )
    if state.frozen:
        return renew(ground, "frozen")
    inside = within(state.values, bounds)
    if inside != state.values:
        # The owner has narrowed the class since; nothing else lands before this does.
        return _step_or_renew(ground, inside, Move.TIGHTEN)
    target = wanted(guarded, bounds)
    # A market that has both to do tightens first and loosens another time.
    tight = tighter_than(state.values, target, settings)
    if tight != state.values:
        return _step_or_renew(ground, tight, Move.TIGHTEN)
    loose = looser_than(state.values, target, settings)
    if loose != state.values and market.history.depth is None:
        # Without a book the depth is an estimate from candles, which may be the larger one.
        return renew(ground, "loosen waits: no fresh book")
    if loose != state.values:
        return _step_or_renew(ground, loose, Move.LOOSEN)
    return renew(ground, "near enough")


def _step_or_renew(ground: Ground, goal: Values, move: Move) -> Plan | Hold:
    found = first_step(ground, goal, move)
    return found if isinstance(found, Plan) else renew(ground, f"{move} waits: {found.name}")


def stamp_at(as_of_ms: UnixMs, validity_s: int) -> Stamp:
    """Give the times that the item is judged at: a later block only permits more."""
    return Stamp(as_of_ms, validity_s - validity_s % 10, seconds_floor(as_of_ms))


def wanted(guarded: GuardedDecision, bounds: ClassBounds) -> Values:
    """Give what the policy wants, in the contract's units and inside its absolute bounds.

    Resting at a bound is allowed; where the bound is looser than the policy wants, the market
    takes no new risk at all.
    """
    decision = guarded.decision
    cap = min(decision.cap_e2, bounds.max_cap_e2)
    scale = round_down_amount(WholeUsdc(min(decision.size_scale_usdc, MAX_AMOUNT_USDC)))
    spread = round_spread(min(decision.spread_ppm, bounds.max_spread_ppm))
    open_interest = min(decision.open_interest_cap_usdc, bounds.max_open_interest_cap_usdc)
    return Values(
        cap_e2=LeverageE2(max(cap, bounds.min_cap_e2)),
        open_interest_cap_usdc=round_down_amount(WholeUsdc(open_interest)),
        size_scale_usdc=max(scale, bounds.min_size_scale_usdc),
        spread_ppm=min(spread, bounds.max_spread_ppm),
        reduce_only=cap < bounds.min_cap_e2 or scale < bounds.min_size_scale_usdc,
    )


def within(live: Values, bounds: ClassBounds) -> Values:
    """Give the live values with what stands above a bound brought down to it."""
    return replace(
        live,
        cap_e2=min(live.cap_e2, bounds.max_cap_e2),
        open_interest_cap_usdc=min(live.open_interest_cap_usdc, bounds.max_open_interest_cap_usdc),
    )


def round_spread(spread_ppm: int) -> Ppm:
    """Put a spread on the word's grid, rounded up."""
    return Ppm(ceil_div(spread_ppm, SPREAD_UNIT_PPM) * SPREAD_UNIT_PPM)


def tighter_than(live: Values, target: Values, settings: PlanSettings) -> Values:
    """Give the live values with every field that has to tighten by more than the deadband."""
    return _toward(
        live,
        tighter(live, target),
        settings.cap_tighten_ppm,
        settings.other_tighten_ppm,
    )


def looser_than(live: Values, target: Values, settings: PlanSettings) -> Values:
    """Give the live values with every field that may loosen by more than the deadband."""
    looser = Values(
        cap_e2=max(live.cap_e2, target.cap_e2),
        open_interest_cap_usdc=max(live.open_interest_cap_usdc, target.open_interest_cap_usdc),
        size_scale_usdc=max(live.size_scale_usdc, target.size_scale_usdc),
        spread_ppm=min(live.spread_ppm, target.spread_ppm),
        reduce_only=live.reduce_only and target.reduce_only,
    )
    return _toward(live, looser, settings.cap_loosen_ppm, settings.other_loosen_ppm)


def _toward(live: Values, goal: Values, cap_ppm: int, other_ppm: int) -> Values:
    """Give the goal's fields where they are beyond the deadband, the live ones elsewhere."""

    def far(name: str, deadband_ppm: int) -> bool:
        old, new = getattr(live, name), getattr(goal, name)
        return bool(abs(new - old) * PPM > old * deadband_ppm)

    others = ("open_interest_cap_usdc", "size_scale_usdc", "spread_ppm")
    names = [name for name in others if far(name, other_ppm)]
    names += ["cap_e2"] if far("cap_e2", cap_ppm) else []
    chosen = {name: getattr(goal, name) for name in names}
    return replace(live, reduce_only=goal.reduce_only, **chosen)


def first_step(ground: Ground, goal: Values, move: Move) -> Plan | Refusal:
    """Cut the way into ever more equal parts until the contract takes the first of them."""
    refusal = Refusal.TOO_SOON
    for parts in SHARES:
        values = part_of(ground.state.values, goal, parts)
        if values == ground.state.values:
            break
        note = "" if parts == 1 else f"first of about {parts} steps"
        proposed = propose(ground, values, move, parts, note)
        if isinstance(proposed, Plan):
            return proposed
        refusal = proposed
    return refusal


def part_of(live: Values, goal: Values, parts: int) -> Values:
    """Go one of `parts` equal steps toward the goal; each field rounded to the tighter side."""

    def along(old: int, new: int) -> int:
        return old + (new - old) // parts

    spread = live.spread_ppm + ceil_div(goal.spread_ppm - live.spread_ppm, parts)
    amounts = {
        name: round_down_amount(WholeUsdc(along(getattr(live, name), getattr(goal, name))))
        for name in ("open_interest_cap_usdc", "size_scale_usdc")
    }
    return Values(
        cap_e2=LeverageE2(along(live.cap_e2, goal.cap_e2)),
        spread_ppm=round_spread(spread),
        reduce_only=goal.reduce_only,
        **amounts,
    )


def propose(ground: Ground, values: Values, move: Move, parts: int, note: str) -> Plan | Refusal:
    """Ask the contract's mirror whether it would take these values now."""
    parameters = parameters_of(ground.market, values)
    word = pack_risk_word(parameters)
    after = apply_item(ground.state, word, ground.bounds, ground.stamp, ground.controls)
    if isinstance(after, Refusal):
        return after
    return Plan(parameters=parameters, word=word, move=move, parts=parts, note=note)


def parameters_of(market: MarketId, values: Values) -> MarketParameters:
    """Write values as an item: the maintenance follows from the cap, so the pair is one tuple."""
    return MarketParameters(
        market=market,
        cap_e2=values.cap_e2,
        maintenance_ppm=maintenance_from_cap(values.cap_e2),
        open_interest_cap_usdc=values.open_interest_cap_usdc,
        size_scale_usdc=values.size_scale_usdc,
        spread_ppm=values.spread_ppm,
        reduce_only=values.reduce_only,
        ramp_s=0,
    )


def renew(ground: Ground, note: str) -> Plan | Hold:
    """Repeat the live values, so that they do not expire."""
    proposed = propose(ground, ground.state.values, Move.RENEW, 1, note)
    if isinstance(proposed, Plan):
        return proposed
    detail = f"the contract would not take its own values again: {proposed.name}"
    return Hold(market=ground.market, reason=HoldReason.NO_FEASIBLE_STEP, detail=detail)
