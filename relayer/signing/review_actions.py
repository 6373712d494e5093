"""What a signer checks of an action on a position: it must be what the contract would do now."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from contracts.book_words import PositionId, split_position_id
from contracts.halts import DecisionKind
from contracts.messages import ActionKind, PositionAction
from contracts.refusals import Refusal as Guard
from contracts.risk_oracle import OracleState, effective_maintenance_ppm
from contracts.units import Ppm, ceil_div, ppm_ceil, seconds_floor
from relayer.signing.values import OwnPosition, Refusal, RefusalReason, SignerView

_KINDS: Final = MappingProxyType(
    {
        ActionKind.ADJUST: DecisionKind.ADJUST,
        ActionKind.DELEVERAGE: DecisionKind.DELEVERAGE,
        ActionKind.LIQUIDATE: DecisionKind.LIQUIDATE,
    }
)
# A history of losses at most halves an account's cap, so its ratio is at most twice the market's.
LARGEST_FACTOR: Final = 2
_E30: Final = 10**30  # size × price, both in 1e-18, to USDC in 1e-6


def wrong_action(
    action: PositionAction, oracle: OracleState, view: SignerView
) -> Iterator[Refusal]:
    """Object to an action that the liquidator would refuse, or whose trigger this signer misses."""
    now_s = seconds_floor(view.now_ms)
    paused = oracle.controls.refusal_of(_KINDS[action.kind], now_s)
    if paused is not None:
        yield _refuse(RefusalReason.CONTRACT_WOULD_REFUSE, "kind", paused.name)
    held = view.position
    if held is None or held.size_e18 == 0:
        reason = RefusalReason.NO_VIEW if held is None else RefusalReason.NO_POSITION
        yield _refuse(reason, "position_id", "the own endpoint shows no such position")
        return
    if action.position_version != held.version:
        detail = f"proposed {action.position_version}, own {held.version}"
        yield _refuse(RefusalReason.NOT_ITS_VERSION, "position_version", detail)
    if action.max_size_e18 > held.size_e18:
        detail = f"proposed {action.max_size_e18}, own {held.size_e18}"
        yield _refuse(RefusalReason.NOT_CANONICAL, "max_size_e18", detail)
    yield from _beyond_bound(action, held)
    if action.kind is ActionKind.ADJUST:
        yield from _wrong_ratio(action, held, oracle, view)
    else:
        yield from _no_trigger(action, held)


def _refuse(reason: RefusalReason, field: str, detail: str) -> Refusal:
    return Refusal(reason=reason, field=field, detail=detail)


def _beyond_bound(action: PositionAction, held: OwnPosition) -> Iterator[Refusal]:
    bound, price = action.price_bound_e18, held.price_e18
    if bound and (price < bound if held.long else price > bound):
        detail = f"own price {price} is beyond {bound}"
        yield _refuse(RefusalReason.CONTRACT_WOULD_REFUSE, "price_bound_e18", detail)


def _wrong_ratio(
    action: PositionAction, held: OwnPosition, oracle: OracleState, view: SignerView
) -> Iterator[Refusal]:
    """Object to a ratio beyond what the owner accepted, or beyond what any account's risk asks."""
    field = "maintenance_ppm"
    if not held.managed:
        yield _refuse(RefusalReason.CONTRACT_WOULD_REFUSE, "kind", Guard.NOT_MANAGED.name)
    if action.maintenance_ppm > held.ceiling_ppm:
        detail = f"proposed {action.maintenance_ppm}, its owner accepted {held.ceiling_ppm}"
        yield _refuse(RefusalReason.CONTRACT_WOULD_REFUSE, field, detail)
    _, market, _ = split_position_id(PositionId(action.position_id))
    if market >= len(oracle.markets):
        yield _refuse(RefusalReason.UNKNOWN_MARKET, "position_id", f"market {market}")
        return
    state, now_s = oracle.markets[market], seconds_floor(view.now_ms)
    own_ppm = effective_maintenance_ppm(state, now_s, oracle.controls)
    if action.maintenance_ppm > LARGEST_FACTOR * own_ppm:
        detail = f"proposed {action.maintenance_ppm}, the market has {own_ppm}"
        yield _refuse(RefusalReason.LOOSER_THAN_OWN, field, detail)


def _no_trigger(action: PositionAction, held: OwnPosition) -> Iterator[Refusal]:
    """Object to closing a position that bears its margin: by formula, or at its own ceiling."""
    needed = held.maintenance_e6
    if action.kind is ActionKind.DELEVERAGE:
        if not held.managed:
            yield _refuse(RefusalReason.CONTRACT_WOULD_REFUSE, "kind", Guard.NOT_MANAGED.name)
        notional = ceil_div(held.size_e18 * held.price_e18, _E30)
        needed += ppm_ceil(notional, Ppm(held.ceiling_ppm)) - held.own_maintenance_e6
    if held.equity_e6 >= needed:
        detail = f"own equity {held.equity_e6}, needed {needed}"
        yield _refuse(RefusalReason.TRIGGER_GONE, "kind", detail)
