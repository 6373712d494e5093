"""RiskOracle in Python, bit for bit: what a market's slot holds, and what an update makes of it.

Pure and integer. The planner plans with it, the signers judge with it, the read-back compares with
it. A hypothesis test holds it and contracts/RiskOracle.vy together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from contracts.envelope import (
    EPOCH_MS,
    EPOCH_S,
    Configuration,
    Freshness,
    join_bits,
    judge_batch,
    split_bits,
)
from contracts.halts import (
    Controls,
    DecisionKind,
    MarketGuard,
    Permissions,
)
from contracts.halts import permissions as halt_permissions
from contracts.messages import RiskUpdate
from contracts.packing import split_risk_word
from contracts.refusals import Refusal, Skip
from contracts.risk_bounds import (
    VALIDITY_UNIT_S,
    ClassBounds,
    Values,
    decode_values,
    encode_values,
    judge_change,
    misfit,
    tighter,
    values_of,
)
from contracts.units import (
    MS_PER_S,
    MarketId,
    Ppm,
    UnixMs,
    UnixS,
    maintenance_from_cap,
)

FRESHNESS: Final = Freshness(
    max_age_ms=600_000, max_validity_ms=40_950_000, validity_unit_ms=VALIDITY_UNIT_S * MS_PER_S
)
DECISION_FRESHNESS: Final = Freshness(max_age_ms=600_000, max_validity_ms=600_000)
REVERT_WINDOW_S: Final = 86_400

_SLOT_BITS: Final = (59, 59, 1, 1, 1, 3, 6, 9, 12, 40, 19, 30, 16)
_MARKET_BITS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketState:
    """One market's slot.

    `values` are the last accepted ones, `previous` those before the last accepted change;
    `drift_used` counts in 0.1 %; `held`: reverted, the ramp is cancelled. `observed_at_ms` is
    EPOCH_MS before the first update. `changed_at_s` is where the ramp begins: the last accepted
    change, moved on by what the ramp stood still.
    """

    values: Values
    previous: Values
    frozen: bool
    revertible: bool
    held: bool
    class_id: int
    ai_epoch: int
    drift_used: int
    validity_s: int
    observed_at_ms: UnixMs
    ramp_from_ppm: Ppm
    changed_at_s: UnixS
    ramp_s: int

    @property
    def target_maintenance_ppm(self) -> Ppm:
        """What new positions need at least, and where the ramp leads."""
        return maintenance_from_cap(self.values.cap_e2)

    @property
    def valid_until_ms(self) -> UnixMs:
        """When the parameters expire."""
        return UnixMs(self.observed_at_ms + self.validity_s * MS_PER_S)

    @property
    def ever_signed(self) -> bool:
        """Tell whether an update was ever accepted; before it, values are the owner's first."""
        return self.observed_at_ms > EPOCH_MS

    def expired(self, now_s: UnixS) -> bool:
        """Tell whether the parameters were not renewed in time: no new risk."""
        return self.valid_until_ms < now_s * MS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleState:
    """What an update depends on and changes."""

    config: Configuration
    latest_round: int
    bounds: Mapping[int, ClassBounds]
    markets: tuple[MarketState, ...]
    guards: tuple[MarketGuard, ...]
    controls: Controls


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResult:
    """The oracle after an update, and the items that were left aside."""

    state: OracleState
    skipped: tuple[Skip, ...]


class Stamp(NamedTuple):
    """The times of an update that lands: of its observation, how long it holds, of its block."""

    observed_at_ms: UnixMs
    validity_s: int
    now_s: UnixS


def decode_slot(word: int) -> MarketState | None:
    """Read a market's slot; None for one that was never added."""
    values, previous, frozen, revertible, held, class_id, epoch, drift, validity, *times = (
        split_bits(word, _SLOT_BITS)
    )
    observed, ramp_from, changed, ramp_s = times
    if class_id == 0:
        return None
    return MarketState(
        values=decode_values(values),
        previous=decode_values(previous),
        frozen=bool(frozen),
        revertible=bool(revertible),
        held=bool(held),
        class_id=class_id,
        ai_epoch=epoch,
        drift_used=drift,
        validity_s=validity * VALIDITY_UNIT_S,
        observed_at_ms=UnixMs(observed + EPOCH_MS),
        ramp_from_ppm=Ppm(ramp_from),
        changed_at_s=UnixS(changed + EPOCH_S),
        ramp_s=ramp_s,
    )


def encode_slot(state: MarketState) -> int:
    """Write a market's slot as the contract stores it."""
    fields = (
        encode_values(state.values),
        encode_values(state.previous),
        int(state.frozen),
        int(state.revertible),
        int(state.held),
        state.class_id,
        state.ai_epoch,
        state.drift_used,
        state.validity_s // VALIDITY_UNIT_S,
        state.observed_at_ms - EPOCH_MS,
        state.ramp_from_ppm,
        state.changed_at_s - EPOCH_S,
        state.ramp_s,
    )
    return join_bits(fields, _SLOT_BITS)


def ramp_elapsed_s(state: MarketState, now_s: UnixS, controls: Controls) -> int:
    """Give the seconds of its ramp that a market has run.

    Until now, its expiry, or the first AI-input pause since it was last accepted, whichever came
    first.
    """
    stop_s = min(now_s, UnixS(state.valid_until_ms // MS_PER_S))
    if state.ai_epoch != controls.ai_epoch:
        stop_s = min(stop_s, controls.epoch_ended_s[state.ai_epoch])
    return max(0, stop_s - state.changed_at_s)


def _maintenance_after(state: MarketState, elapsed_s: int) -> Ppm:
    start, target = state.ramp_from_ppm, state.target_maintenance_ppm
    if state.held:
        return start
    if elapsed_s >= state.ramp_s:
        return target
    done = abs(target - start) * elapsed_s // state.ramp_s
    return Ppm(start + done if target >= start else start - done)


def effective_maintenance_ppm(state: MarketState, now_s: UnixS, controls: Controls) -> Ppm:
    """Give the maintenance ratio of managed open positions now, rounded toward the ramp's start."""
    return _maintenance_after(state, ramp_elapsed_s(state, now_s, controls))


def stamp_of(update: RiskUpdate, now_s: UnixS) -> Stamp:
    """Give the times of an update in a block of `now_s`; the validity is rounded down to 10 s."""
    units = (update.valid_until_ms - update.observed_at_ms) // (VALIDITY_UNIT_S * MS_PER_S)
    return Stamp(update.observed_at_ms, units * VALIDITY_UNIT_S, now_s)


def apply_item(
    state: MarketState, word: int, bounds: ClassBounds, stamp: Stamp, controls: Controls
) -> MarketState | Refusal:
    """Judge one market's item: its state after it, or why it is skipped."""
    if stamp.observed_at_ms <= state.observed_at_ms:
        return Refusal.OLDER_OBSERVATION
    if stamp.validity_s > bounds.max_validity_s:
        return Refusal.CLASS_VALIDITY_TOO_LONG
    refusal = misfit(word, bounds)
    if refusal:
        return refusal
    now_s = stamp.now_s
    elapsed_s = ramp_elapsed_s(state, now_s, controls)
    fields = split_risk_word(word)
    moved: MarketState | Refusal = _renewed(state, elapsed_s, now_s)
    if values_of(fields) != state.values or (state.held and fields.ramp_s):
        moved = _changed(state, word, bounds, elapsed_s, now_s)
    if isinstance(moved, Refusal):
        return moved
    return replace(
        moved,
        observed_at_ms=stamp.observed_at_ms,
        validity_s=stamp.validity_s,
        ai_epoch=controls.ai_epoch,
    )


def _renewed(state: MarketState, elapsed_s: int, now_s: UnixS) -> MarketState:
    """Let a ramp that stood still go on from where it stopped: its start moves, not its value."""
    if elapsed_s >= state.ramp_s:
        return state
    return replace(state, changed_at_s=UnixS(max(state.changed_at_s, now_s - elapsed_s)))


def _changed(
    state: MarketState, word: int, bounds: ClassBounds, elapsed_s: int, now_s: UnixS
) -> MarketState | Refusal:
    """Take new values; the ramp begins at the live maintenance, so nobody's health changes now."""
    if state.frozen:
        return Refusal.MARKET_FROZEN
    fields = split_risk_word(word)
    values = values_of(fields)
    since_s = max(0, now_s - state.changed_at_s)
    drift = judge_change(state.values, values, bounds, state.drift_used, since_s)
    if isinstance(drift, Refusal):
        return drift
    anew = values.cap_e2 != state.values.cap_e2 or (state.held and fields.ramp_s != 0)
    rest_s = max(0, state.ramp_s - elapsed_s)
    return replace(
        state,
        values=values,
        previous=state.values,
        revertible=True,
        held=state.held and not anew,
        drift_used=drift,
        ramp_from_ppm=_maintenance_after(state, elapsed_s),
        changed_at_s=UnixS(max(now_s, state.changed_at_s)),
        ramp_s=(fields.ramp_s or bounds.notice_s) if anew else rest_s,
    )


def revert(state: MarketState, now_s: UnixS, controls: Controls) -> MarketState | Refusal:
    """Do what the guardian's `revert_market` does."""
    if not state.revertible:
        return Refusal.NOT_REVERTIBLE
    if now_s > state.changed_at_s + REVERT_WINDOW_S:
        return Refusal.REVERT_WINDOW_CLOSED
    values = tighter(state.values, state.previous)
    live = effective_maintenance_ppm(state, now_s, controls)
    earlier = maintenance_from_cap(state.previous.cap_e2)
    return replace(
        state,
        values=values,
        previous=values,
        revertible=False,
        held=True,
        ramp_from_ppm=min(live, earlier, state.ramp_from_ppm),
        changed_at_s=max(now_s, state.changed_at_s),
        ramp_s=0,
    )


def stand_still(
    state: MarketState, until_s: UnixS, now_s: UnixS, controls: Controls
) -> MarketState:
    """Do what a market's pause does to its ramp: it goes on, from here, when the pause ends.

    Where none runs, the next one begins no earlier than that.
    """
    elapsed_s = ramp_elapsed_s(state, now_s, controls)
    start_s = max(until_s, state.changed_at_s)
    if elapsed_s >= state.ramp_s:
        return replace(state, changed_at_s=start_s, ramp_s=0)
    return replace(
        state,
        ramp_from_ppm=_maintenance_after(state, elapsed_s),
        changed_at_s=start_s,
        ramp_s=state.ramp_s - elapsed_s,
    )


def values_for_new_risk(state: MarketState, guard: MarketGuard, now_s: UnixS) -> Values:
    """Give the tighter of what is signed and what the guardian limits."""
    if not guard.limits(now_s):
        return state.values
    limit = replace(
        state.values,
        cap_e2=guard.limit_cap_e2,
        open_interest_cap_usdc=guard.limit_open_interest_cap_usdc,
        reduce_only=guard.limit_reduce_only,
    )
    return tighter(state.values, limit)


def permissions(
    state: MarketState, guard: MarketGuard, controls: Controls, now_s: UnixS
) -> Permissions:
    """Give what may be done in a market now, its price apart."""
    accepts_risk = not state.values.reduce_only and not state.expired(now_s)
    return halt_permissions(controls, guard, accepts_risk=accepts_risk, now_s=now_s)


def apply_update(state: OracleState, message: RiskUpdate, now_s: UnixS) -> UpdateResult | Refusal:
    """Do what `post_update` does with a properly signed update in a block of `now_s`."""
    refusal = judge_batch(message, state.latest_round, now_s, FRESHNESS)
    refusal = refusal or state.controls.refusal_of(DecisionKind.RISK_UPDATE, now_s)
    if refusal:
        return refusal
    stamp = stamp_of(message, now_s)
    markets = list(state.markets)
    skipped: list[Skip] = []
    for word in message.words:
        market = MarketId(split_bits(word, (_MARKET_BITS,))[0])
        after: MarketState | Refusal = Refusal.UNKNOWN_MARKET
        if market < len(markets):
            before = markets[market]
            bounds = state.bounds[before.class_id]
            after = apply_item(before, word, bounds, stamp, state.controls)
        if isinstance(after, Refusal):
            skipped.append(Skip(market=market, refusal=after))
        else:
            markets[market] = after
    result = replace(state, latest_round=message.round, markets=tuple(markets))
    return UpdateResult(state=result, skipped=tuple(skipped))
