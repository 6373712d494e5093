"""A position's terms from what the market holds now and what its account is known for; pure."""

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
NO_MODEL_MULTIPLIER_PPM = Ppm(750_000)  # the middle of [0.5, 1], for the same reason
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a market allows a new position: its cap, and the floor that a fixed one keeps."""

    cap_e2: LeverageE2
    floor_ppm: Ppm


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratios:
    """The tuple that terms give: the most leverage, the ratio that goes with it, its ceiling."""

    max_leverage_e2: LeverageE2
    maintenance_ppm: Ppm
    ceiling_ppm: Ppm


def ratios_for(wish: Wish, allowance: Allowance, multiplier_ppm: Ppm) -> Ratios:
    """Give the tuple of a wish: cap and ratio move as one, also by what the account is known for.

    The ratio is at least the market's, for a fixed position at least its floor, and the leverage is
    what that ratio carries. The ceiling of a managed one is what it accepts to rise to, never more
    than its leverage bears.
    """
    cap_e2 = LeverageE2(max(ONE_X, allowance.cap_e2 * multiplier_ppm // PPM))
    ratio_ppm = maintenance_from_cap(cap_e2)
    if wish.adjustment is Adjustment.FIXED:
        ratio_ppm = max(ratio_ppm, allowance.floor_ppm)
    carried_e2 = ONE_X * PPM // (2 * ratio_ppm)
    bearable_ppm = ONE_X * PPM // wish.leverage_e2
    ceiling_ppm = max(ratio_ppm, min(bearable_ppm, ratio_ppm * CEILING_FACTOR_PPM // PPM))
    return Ratios(
        max_leverage_e2=LeverageE2(min(cap_e2, carried_e2)),
        maintenance_ppm=Ppm(ratio_ppm),
        ceiling_ppm=Ppm(ceiling_ppm),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What an account is known for: its share of caps, and the score that its terms carry."""

    multiplier_ppm: Ppm = NO_MODEL_MULTIPLIER_PPM
    score_ppm: Ppm = NO_HISTORY_SCORE_PPM


UNKNOWN = Known()


def terms_for(
    wish: Wish,
    oracle: OracleState,
    now_ms: int,
    hashes: tuple[bytes, bytes],
    known: Known = UNKNOWN,
) -> PositionTerms:
    """Give the terms that the market allows an account now; who is unknown is never the best."""
    market, guard = oracle.markets[wish.market], oracle.guards[wish.market]
    cap_e2 = values_for_new_risk(market, guard, seconds_floor(UnixMs(now_ms))).cap_e2
    floor_ppm = oracle.bounds[market.class_id].floor_maintenance_ppm
    allowance = Allowance(cap_e2=cap_e2, floor_ppm=floor_ppm)
    ratios = ratios_for(wish, allowance, known.multiplier_ppm)
    return written(wish, ratios, now_ms, hashes, known.score_ppm)


def written(
    wish: Wish,
    ratios: Ratios,
    now_ms: int,
    hashes: tuple[bytes, bytes],
    score_ppm: Ppm = NO_HISTORY_SCORE_PPM,
) -> PositionTerms:
    """Write a wish and its tuple as terms.

    `hashes` are the model's and the evidence's. The nonce is the time, so later terms void earlier
    ones.
    """
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
        max_leverage_e2=ratios.max_leverage_e2,
        maintenance_ppm=ratios.maintenance_ppm,
        maintenance_ceiling_ppm=ratios.ceiling_ppm,
        risk_score_ppm=score_ppm,
        nonce=now_ms,
        model_hash=model_hash,
        evidence_hash=evidence_hash,
    )
