"""What may be decided now: which kinds, over what, under which bounds, how far, and when next.

Pure: read off the contracts' own mirror, so a limit shown here is where the contract refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from contracts.halts import Controls, DecisionKind, Permissions
from contracts.refusals import Refusal
from contracts.risk_bounds import DRIFT_UNIT_PPM, ClassBounds, drift_capacity, drift_left
from contracts.risk_bounds import judge_change as judged
from contracts.risk_oracle import (
    MarketState,
    OracleState,
    effective_maintenance_ppm,
    permissions,
    values_for_new_risk,
)
from contracts.units import LeverageE2, MarketId, Ppm, UnixS, maintenance_from_cap


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketLimits:
    """One market: its live values, its class's bounds, and what the next decision may do to them.

    `tighter_to_e2`: as far as one update may lower the cap now; `looser_to_e2`: as far as one may
    raise it at `looser_at_s`, which is now or later. `opened_cap_e2`: what the guardian's limit
    leaves. `ramp_ends_s`: when managed positions have reached the market's ratio, if they have not.
    """

    market: MarketId
    live: bool
    why_not: str
    cap_e2: LeverageE2
    opened_cap_e2: LeverageE2
    bounds: ClassBounds
    tighter_to_e2: LeverageE2
    looser_to_e2: LeverageE2
    looser_at_s: UnixS
    drift_left_ppm: Ppm
    maintenance_ppm: Ppm
    target_ppm: Ppm
    ramp_ends_s: UnixS | None
    expires_at_s: UnixS | None  # None: nothing was ever signed


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLimits:
    """Every kind of decision, every pause, every market."""

    now_s: UnixS
    decisions: Mapping[str, Refusal | None]
    paused_until_s: Mapping[str, UnixS]
    markets: tuple[MarketLimits, ...]


def live_limits(oracle: OracleState, now_s: UnixS) -> LiveLimits:
    """Read off what may be decided in a block of `now_s`."""
    controls, ids = oracle.controls, range(len(oracle.markets))
    kinds = {kind.name.lower(): controls.refusal_of(kind, now_s) for kind in DecisionKind}
    return LiveLimits(
        now_s=now_s,
        decisions=kinds,
        paused_until_s={name: until for name, until in _pauses(controls).items() if until > now_s},
        markets=tuple(_market(oracle, MarketId(each), now_s) for each in ids),
    )


def _pauses(controls: Controls) -> dict[str, UnixS]:
    return {
        "new_risk": controls.new_risk_until_s,
        "ai_input": controls.ai_input_until_s,
        "withdrawals": controls.withdrawals_until_s,
        "liquidation": controls.liquidation_until_s,
        "everything": controls.everything_until_s,
    }


def _market(oracle: OracleState, market: MarketId, now_s: UnixS) -> MarketLimits:
    state, guard = oracle.markets[market], oracle.guards[market]
    bounds = oracle.bounds[state.class_id]
    allowed = permissions(state, guard, oracle.controls, now_s)
    looser_at_s = UnixS(max(now_s, state.changed_at_s + bounds.loosen_delay_s))
    effective = effective_maintenance_ppm(state, now_s, oracle.controls)
    target = maintenance_from_cap(state.values.cap_e2)
    left = drift_left(state.drift_used, max(0, now_s - state.changed_at_s), bounds)
    return MarketLimits(
        market=market,
        live=not state.frozen and Permissions.DECIDE in allowed,
        why_not=_why_not(state, allowed, now_s),
        cap_e2=state.values.cap_e2,
        opened_cap_e2=values_for_new_risk(state, guard, now_s).cap_e2,
        bounds=bounds,
        tighter_to_e2=_furthest(state, bounds, bounds.min_cap_e2, now_s),
        looser_to_e2=_furthest(state, bounds, bounds.max_cap_e2, looser_at_s),
        looser_at_s=looser_at_s,
        drift_left_ppm=Ppm(max(0, drift_capacity(bounds) - left) * DRIFT_UNIT_PPM),
        maintenance_ppm=effective,
        target_ppm=target,
        ramp_ends_s=UnixS(state.changed_at_s + state.ramp_s) if effective != target else None,
        expires_at_s=UnixS(state.valid_until_ms // 1_000) if state.ever_signed else None,
    )


def _why_not(state: MarketState, allowed: Permissions, now_s: UnixS) -> str:
    """Say in a word what keeps decisions, or new risk, out of a market."""
    if state.frozen:
        return "frozen"
    if Permissions.DECIDE not in allowed:
        return "decisions are paused"
    if state.expired(now_s):
        return "expired: no new risk until it is renewed"
    return "" if Permissions.OPEN in allowed else "no new risk"


def _furthest(state: MarketState, bounds: ClassBounds, bound_e2: int, now_s: UnixS) -> LeverageE2:
    """Find the furthest cap toward a bound that one update may bring, by asking the mirror."""
    since_s = max(0, now_s - state.changed_at_s)

    def passes(cap_e2: int) -> bool:
        after = replace(state.values, cap_e2=LeverageE2(cap_e2))
        used = judged(state.values, after, bounds, state.drift_used, since_s)
        return not isinstance(used, Refusal)

    near, far = int(state.values.cap_e2), bound_e2
    if passes(far):
        return LeverageE2(far)
    while abs(far - near) > 1:
        middle = (near + far) // 2
        if passes(middle):
            near = middle
        else:
            far = middle
    return LeverageE2(near)
