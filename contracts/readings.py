"""What the engine reads of a market, bit for bit: PriceFeed.mark and RiskOracle.margin.

Pure and integer: made from the mirrors' states, and read back to values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contracts.envelope import join_bits, split_bits
from contracts.halts import Controls, MarketGuard, Permissions
from contracts.price_feed import ClassRules, MarketPrice, is_fresh, may_carry_new_risk
from contracts.risk_bounds import ClassBounds
from contracts.risk_oracle import (
    MarketState,
    effective_maintenance_ppm,
    permissions,
    values_for_new_risk,
)
from contracts.units import LeverageE2, Ppm, UnixMs, UnixS, WholeUsdc

_MARK_BITS: Final = (20, 48, 1, 1, 1)
_MARGIN_BITS: Final = (8, 1, 7, 20, 16, 20, 20, 20, 48, 48)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkStatus:
    """What may be done at a market's price now: the word of `PriceFeed.mark`.

    `observed_at_ms` is 0 before the first price. `fresh`: young enough for new risk; `new_risk`: as
    `may_carry_new_risk`.
    """

    confidence_ppm: Ppm
    observed_at_ms: UnixMs
    unconfirmed: bool
    fresh: bool
    new_risk: bool


def decode_mark(word: int) -> MarkStatus:
    """Read the word that `PriceFeed.mark` gives beside price and average."""
    confidence, observed, unconfirmed, fresh, new_risk = split_bits(word, _MARK_BITS)
    return MarkStatus(
        confidence_ppm=Ppm(confidence),
        observed_at_ms=UnixMs(observed),
        unconfirmed=bool(unconfirmed),
        fresh=bool(fresh),
        new_risk=bool(new_risk),
    )


def mark_word(market: MarketPrice, rules: ClassRules, now_s: UnixS) -> int:
    """Give the word of `PriceFeed.mark` in a block of `now_s`."""
    if not market.has_price:
        return 0
    fields = (
        market.confidence_ppm,
        market.observed_at_ms,
        int(market.unconfirmed),
        int(is_fresh(market, rules, now_s)),
        int(may_carry_new_risk(market, rules, now_s)),
    )
    return join_bits(fields, _MARK_BITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketMargin:
    """What the engine asks of a market: the word of `RiskOracle.margin`.

    `halted`: frozen, or the market itself is paused. Cap, open-interest cap, scale and spread are
    those for new risk; the effective ratio is that of managed open positions.
    """

    permissions: Permissions
    halted: bool
    effective_maintenance_ppm: Ppm
    cap_e2: LeverageE2
    floor_maintenance_ppm: Ppm
    profit_share_ppm: Ppm
    spread_ppm: Ppm
    open_interest_cap_usdc: WholeUsdc
    size_scale_usdc: WholeUsdc


def decode_margin(word: int) -> MarketMargin:
    """Read the word that `RiskOracle.margin` gives."""
    granted, halted, _, effective, cap, floor, share, spread, *amounts = split_bits(
        word, _MARGIN_BITS
    )
    open_interest, scale = amounts
    return MarketMargin(
        permissions=Permissions(granted),
        halted=bool(halted),
        effective_maintenance_ppm=Ppm(effective),
        cap_e2=LeverageE2(cap),
        floor_maintenance_ppm=Ppm(floor),
        profit_share_ppm=Ppm(share),
        spread_ppm=Ppm(spread),
        open_interest_cap_usdc=WholeUsdc(open_interest),
        size_scale_usdc=WholeUsdc(scale),
    )


def margin_word(
    state: MarketState, guard: MarketGuard, controls: Controls, bounds: ClassBounds, now_s: UnixS
) -> int:
    """Give the word of `RiskOracle.margin` in a block of `now_s`."""
    values = values_for_new_risk(state, guard, now_s)
    fields = (
        int(permissions(state, guard, controls, now_s)),
        int(state.frozen or guard.pause_until_s > now_s),
        0,
        effective_maintenance_ppm(state, now_s, controls),
        values.cap_e2,
        bounds.floor_maintenance_ppm,
        bounds.profit_share_ppm,
        values.spread_ppm,
        values.open_interest_cap_usdc,
        values.size_scale_usdc,
    )
    return join_bits(fields, _MARGIN_BITS)
