"""A position's terms from what the market holds now; pure. The account's own risk comes later."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.messages import Adjustment, MarginMode, PositionTerms, Side
from contracts.risk_oracle import OracleState, values_for_new_risk
from contracts.units import (
    ONE_X,
    PPM,
    LeverageE2,
    MarketId,
    Ppm,
    UnixMs,
    UsdcE6,
    maintenance_from_cap,
    seconds_floor,
)

VALID_MS = 300_000
NO_HISTORY_SCORE_PPM = Ppm(500_000)  # the middle of the scale: who is unknown is never the best
CEILING_FACTOR_PPM = 1_600_000  # how far a managed position's ratio may rise above its first


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a trader asks terms for."""

    account: str
    market: MarketId
    side: Side
    mode: MarginMode
    adjustment: Adjustment
    max_notional: UsdcE6
    leverage_e2: LeverageE2


def terms_for(
    wish: Wish, oracle: OracleState, now_ms: int, hashes: tuple[bytes, bytes]
) -> PositionTerms:
    """Give the terms that the market allows now.

    The ratio is at least the market's, for a fixed position at least its floor, and the leverage is
    what that ratio carries. The ceiling of a managed one is what it accepts to rise to, never more
    than its leverage bears. `hashes` are the model's and the evidence's. The nonce is the time, so
    later terms void earlier ones.
    """
    market, guard = oracle.markets[wish.market], oracle.guards[wish.market]
    cap_e2 = values_for_new_risk(market, guard, seconds_floor(UnixMs(now_ms))).cap_e2
    ratio_ppm = maintenance_from_cap(cap_e2)
    if wish.adjustment is Adjustment.FIXED:
        ratio_ppm = max(ratio_ppm, oracle.bounds[market.class_id].floor_maintenance_ppm)
    carried_e2 = ONE_X * PPM // (2 * ratio_ppm)
    bearable_ppm = ONE_X * PPM // wish.leverage_e2
    ceiling_ppm = max(ratio_ppm, min(bearable_ppm, ratio_ppm * CEILING_FACTOR_PPM // PPM))
    model_hash, evidence_hash = hashes
    return PositionTerms(
        observed_at_ms=UnixMs(now_ms),
        valid_until_ms=UnixMs(now_ms + VALID_MS),
        account=wish.account,
        market=wish.market,
        side=wish.side,
        margin_mode=wish.mode,
        adjustment=wish.adjustment,
        max_notional_e6=wish.max_notional,
        max_leverage_e2=LeverageE2(min(cap_e2, carried_e2)),
        maintenance_ppm=Ppm(ratio_ppm),
        maintenance_ceiling_ppm=Ppm(ceiling_ppm),
        risk_score_ppm=NO_HISTORY_SCORE_PPM,
        nonce=now_ms,
        model_hash=model_hash,
        evidence_hash=evidence_hash,
    )
