"""RiskOracle's pauses and the guardian's limits in Python: what may be done, and until when not.

Pure, integer, and bit for bit what contracts/halts.vy and `RiskOracle.permissions` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag
from typing import Final

from contracts.envelope import join_bits, split_bits
from contracts.packing import expand_amount, pack_amount
from contracts.refusals import Refusal
from contracts.units import LeverageE2, UnixS, WholeUsdc

EPOCHS: Final = 64
MAX_GUARDIAN_PAUSE_S: Final = 86_400
MIN_GUARDIAN_AI_PAUSE_S: Final = 660
MAX_OWNER_PAUSE_S: Final = 2_592_000
LIQUIDATION_BUDGET_S: Final = 3_600

_CONTROL_BITS: Final = (32, 32, 32, 32, 32, 32, 32, 6, 5)
_GUARD_BITS: Final = (32, 32, 32, 16, 16, 1, 32)


class PauseScope(IntEnum):
    """What a pause stops; MARKET has a function of its own."""

    NEW_RISK = 1
    AI_INPUT = 2
    WITHDRAWALS = 3
    LIQUIDATION = 4
    EVERYTHING = 5


class DecisionKind(IntEnum):
    """Kinds of signed decisions that can be switched off; an action's own kind plus 2."""

    RISK_UPDATE = 1
    POSITION_TERMS = 2
    ADJUST = 3
    DELEVERAGE = 4
    LIQUIDATE = 5


class Permissions(IntFlag):
    """What may be done in a market now; adding margin is never paused and has no bit."""

    OPEN = 1
    CLOSE = 2
    LIQUIDATE = 4
    WITHDRAW = 8
    DECIDE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """The pauses of the whole contract, in the order of the packed word; times in Unix seconds.

    A pause lasts while `until > now`. `ai_epoch` counts AI-input pauses, modulo 64;
    `epoch_ended_s[e]` says when the one that ended epoch e began.
    """

    new_risk_until_s: UnixS
    ai_input_until_s: UnixS
    withdrawals_until_s: UnixS
    liquidation_until_s: UnixS
    everything_until_s: UnixS
    everything_liquidation_until_s: UnixS
    guardian_budget_end_s: UnixS
    ai_epoch: int
    disabled_kinds: frozenset[DecisionKind]
    epoch_ended_s: tuple[UnixS, ...]

    def ai_stopped(self, now_s: UnixS) -> bool:
        """Tell whether decisions are refused: AI input or everything is paused."""
        return max(self.ai_input_until_s, self.everything_until_s) > now_s

    def refusal_of(self, kind: DecisionKind, now_s: UnixS) -> Refusal | None:
        """Say why a decision would be refused now, or None."""
        if kind in self.disabled_kinds:
            return Refusal.DECISION_KIND_DISABLED
        if self.ai_input_until_s > now_s:
            return Refusal.AI_INPUT_PAUSED
        return Refusal.EVERYTHING_PAUSED if self.everything_until_s > now_s else None

    def ramp_stopped_at(self, epoch: int) -> UnixS | Refusal:
        """Give when ramps accepted in an AI-input epoch stopped; 0 while it runs."""
        if not 0 <= epoch < EPOCHS:
            return Refusal.UNKNOWN_EPOCH
        return UnixS(0) if epoch == self.ai_epoch else self.epoch_ended_s[epoch]

    def ramp_elapsed_s(self, epoch: int, begun_s: UnixS, now_s: UnixS) -> int | Refusal:
        """Give how long a ramp has run that began in an AI-input epoch; 0 where it came round."""
        if not 0 <= epoch < EPOCHS:
            return Refusal.UNKNOWN_EPOCH
        if self.epoch_ended_s[epoch - 1] > begun_s:
            return 0
        stopped_s = now_s if epoch == self.ai_epoch else self.epoch_ended_s[epoch]
        return max(0, stopped_s - begun_s)


def decode_controls(word: int, epoch_ended_s: Sequence[int]) -> Controls:
    """Read what `RiskOracle.controls` gives."""
    *times, epoch, kinds = split_bits(word, _CONTROL_BITS)
    new_risk, ai_input, withdrawals, liquidation, everything, everything_liquidation, budget = times
    return Controls(
        new_risk_until_s=UnixS(new_risk),
        ai_input_until_s=UnixS(ai_input),
        withdrawals_until_s=UnixS(withdrawals),
        liquidation_until_s=UnixS(liquidation),
        everything_until_s=UnixS(everything),
        everything_liquidation_until_s=UnixS(everything_liquidation),
        guardian_budget_end_s=UnixS(budget),
        ai_epoch=epoch,
        disabled_kinds=frozenset(k for k in DecisionKind if kinds >> (k - 1) & 1),
        epoch_ended_s=tuple(UnixS(ended) for ended in epoch_ended_s),
    )


def encode_controls(controls: Controls) -> int:
    """Write the packed word as the contract stores it."""
    kinds = sum(1 << (kind - 1) for kind in controls.disabled_kinds)
    values = (
        controls.new_risk_until_s,
        controls.ai_input_until_s,
        controls.withdrawals_until_s,
        controls.liquidation_until_s,
        controls.everything_until_s,
        controls.everything_liquidation_until_s,
        controls.guardian_budget_end_s,
        controls.ai_epoch,
        kinds,
    )
    return join_bits(values, _CONTROL_BITS)


NO_CONTROLS: Final = decode_controls(0, (0,) * EPOCHS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketGuard:
    """The guardian's word of one market: its pause, and its limit on new risk.

    `rest_until_s`: the guardian may not pause it again before.
    """

    pause_until_s: UnixS
    liquidation_until_s: UnixS
    limit_until_s: UnixS
    limit_cap_e2: LeverageE2
    limit_open_interest_cap_usdc: WholeUsdc
    limit_reduce_only: bool
    rest_until_s: UnixS

    def limits(self, now_s: UnixS) -> bool:
        """Tell whether the limit on new risk counts now."""
        return self.limit_until_s > now_s


def decode_guard(word: int) -> MarketGuard:
    """Read one word of what `RiskOracle.guards` gives."""
    pause, liquidation, limit, cap, open_interest, reduce_only, rest = split_bits(word, _GUARD_BITS)
    return MarketGuard(
        pause_until_s=UnixS(pause),
        liquidation_until_s=UnixS(liquidation),
        limit_until_s=UnixS(limit),
        limit_cap_e2=LeverageE2(cap),
        limit_open_interest_cap_usdc=WholeUsdc(expand_amount(open_interest)),
        limit_reduce_only=bool(reduce_only),
        rest_until_s=UnixS(rest),
    )


def encode_guard(guard: MarketGuard) -> int:
    """Write the guardian's word as the contract stores it."""
    values = (
        guard.pause_until_s,
        guard.liquidation_until_s,
        guard.limit_until_s,
        guard.limit_cap_e2,
        pack_amount(guard.limit_open_interest_cap_usdc),
        int(guard.limit_reduce_only),
        guard.rest_until_s,
    )
    return join_bits(values, _GUARD_BITS)


NO_GUARD: Final = decode_guard(0)


def liquidation_resumes_at(controls: Controls, guard: MarketGuard) -> UnixS:
    """Give when the latest pause of liquidation in a market ends, or ended; 0 when it never was.

    Liquidation is paused while this is later than now.
    """
    return max(
        controls.liquidation_until_s,
        controls.everything_liquidation_until_s,
        guard.liquidation_until_s,
    )


def resume(controls: Controls, scope: PauseScope, now_s: UnixS) -> Controls:
    """Do what the owner's `resume` does to the packed word; of liquidation the end is kept."""
    never = UnixS(0)
    freed = replace(controls, guardian_budget_end_s=never)
    match scope:
        case PauseScope.NEW_RISK:
            return replace(freed, new_risk_until_s=never)
        case PauseScope.AI_INPUT:
            return replace(freed, ai_input_until_s=never)
        case PauseScope.WITHDRAWALS:
            return replace(freed, withdrawals_until_s=never)
        case PauseScope.LIQUIDATION:
            return replace(freed, liquidation_until_s=min(freed.liquidation_until_s, now_s))
        case PauseScope.EVERYTHING:
            ended_s = min(freed.everything_liquidation_until_s, now_s)
            return replace(freed, everything_until_s=never, everything_liquidation_until_s=ended_s)


def resume_market(guard: MarketGuard, now_s: UnixS) -> MarketGuard:
    """Do what the owner's `resume_market` does to a market's word; of liquidation the end is kept.

    It also sets `guardian_budget_end_s` of the controls to 0.
    """
    return replace(
        guard,
        pause_until_s=UnixS(0),
        liquidation_until_s=min(guard.liquidation_until_s, now_s),
        rest_until_s=UnixS(0),
    )


def permissions(
    controls: Controls, guard: MarketGuard, *, accepts_risk: bool, now_s: UnixS
) -> Permissions:
    """Give what may be done in a market now.

    `accepts_risk`: its parameters are neither expired nor reduce-only.
    """
    stopped = max(controls.everything_until_s, guard.pause_until_s) > now_s
    liquidating = liquidation_resumes_at(controls, guard) <= now_s
    deciding = not controls.ai_stopped(now_s)
    withdrawing = controls.withdrawals_until_s <= now_s and not stopped
    limited = guard.limits(now_s) and guard.limit_reduce_only
    opening = (
        accepts_risk
        and deciding
        and withdrawing
        and liquidating
        and not limited
        and controls.new_risk_until_s <= now_s
    )
    granted = {
        Permissions.OPEN: opening,
        Permissions.CLOSE: not stopped,
        Permissions.LIQUIDATE: liquidating,
        Permissions.WITHDRAW: withdrawing,
        Permissions.DECIDE: deciding,
    }
    return Permissions(sum(permission for permission, holds in granted.items() if holds))
