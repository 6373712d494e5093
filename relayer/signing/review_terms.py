"""What a signer checks of a position's terms: never looser than what the oracle holds now."""

from __future__ import annotations

from collections.abc import Iterator

from contracts.halts import Permissions
from contracts.margin_terms import is_ceiling_bearable, is_opening_ratio, is_within_terms
from contracts.messages import Adjustment, PositionTerms
from contracts.risk_oracle import OracleState, permissions, values_for_new_risk
from contracts.units import ONE_X, LeverageE2, Ppm, UnixS, maintenance_from_cap, seconds_floor
from relayer.signing.values import Refusal, RefusalReason, SignerView


def wrong_terms(terms: PositionTerms, oracle: OracleState, view: SignerView) -> Iterator[Refusal]:
    """Object to terms that the engine would refuse now, or that are looser than its market.

    Nobody checks here whether the account deserves them: that is the model's, and a signer that
    can derive its own terms compares them as well.
    """
    if terms.market >= len(oracle.markets):
        yield _refuse(RefusalReason.UNKNOWN_MARKET, "market", f"{terms.market} was never added")
        return
    now_s = seconds_floor(view.now_ms)
    yield from _closed(terms, oracle, now_s)
    yield from _incoherent(terms)
    yield from _looser(terms, oracle, now_s)


def _refuse(reason: RefusalReason, field: str, detail: str) -> Refusal:
    return Refusal(reason=reason, field=field, detail=detail)


def _closed(terms: PositionTerms, oracle: OracleState, now_s: UnixS) -> Iterator[Refusal]:
    state, guard = oracle.markets[terms.market], oracle.guards[terms.market]
    allowed = permissions(state, guard, oracle.controls, now_s)
    needed = Permissions.OPEN | Permissions.DECIDE
    if needed not in allowed:
        detail = "the market takes no new positions now"
        yield _refuse(RefusalReason.CONTRACT_WOULD_REFUSE, "market", detail)


def _incoherent(terms: PositionTerms) -> Iterator[Refusal]:
    """Object to terms that no leverage fits; a managed position must bear its ceiling at 1x."""
    if not is_within_terms(terms.maintenance_ppm, terms.max_leverage_e2, LeverageE2(ONE_X)):
        detail = f"2 x {terms.maintenance_ppm} ppm x {terms.max_leverage_e2 / ONE_X:g} is above 1"
        yield _refuse(RefusalReason.CONTRACT_WOULD_REFUSE, "max_leverage_e2", detail)
    if terms.adjustment is Adjustment.MANAGED:
        bears = is_ceiling_bearable(terms.maintenance_ceiling_ppm, LeverageE2(ONE_X))
        if not bears or terms.maintenance_ceiling_ppm < terms.maintenance_ppm:
            detail = f"{terms.maintenance_ceiling_ppm} is below the ratio, or above 1"
            yield _refuse(RefusalReason.CONTRACT_WOULD_REFUSE, "maintenance_ceiling_ppm", detail)


def _looser(terms: PositionTerms, oracle: OracleState, now_s: UnixS) -> Iterator[Refusal]:
    state, guard = oracle.markets[terms.market], oracle.guards[terms.market]
    cap_e2 = values_for_new_risk(state, guard, now_s).cap_e2
    if terms.max_leverage_e2 > cap_e2:
        detail = f"proposed {terms.max_leverage_e2}, the market has {cap_e2}"
        yield _refuse(RefusalReason.LOOSER_THAN_OWN, "max_leverage_e2", detail)
    floor_ppm = Ppm(oracle.bounds[state.class_id].floor_maintenance_ppm)
    target_ppm = maintenance_from_cap(cap_e2)
    if not is_opening_ratio(terms.adjustment, terms.maintenance_ppm, target_ppm, floor_ppm):
        detail = f"proposed {terms.maintenance_ppm}, target {target_ppm}, floor {floor_ppm}"
        yield _refuse(RefusalReason.LOOSER_THAN_OWN, "maintenance_ppm", detail)
