"""What the book is told from outside in one block: prices, parameters, pauses, and the time.

Pure values, decoded from the words of `PriceFeed.mark` and `RiskOracle.margin`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from contracts.envelope import join_bits, split_bits
from contracts.halts import Permissions
from contracts.margin_pace import NEVER_S
from contracts.units import (
    USDC,
    LeverageE2,
    MarketId,
    Ppm,
    PriceE18,
    UnixMs,
    UnixS,
    UsdcE6,
    WholeUsdc,
    maintenance_from_cap,
)

MAY_OPEN: Final = int(Permissions.OPEN)
MAY_CLOSE: Final = int(Permissions.CLOSE)
MAY_LIQUIDATE: Final = int(Permissions.LIQUIDATE)
MAY_WITHDRAW: Final = int(Permissions.WITHDRAW)
ALL_PERMISSIONS: Final = MAY_OPEN | MAY_CLOSE | MAY_LIQUIDATE | MAY_WITHDRAW | Permissions.DECIDE

_MARK_BITS: Final = (20, 48, 1, 1, 1)
_MARGIN_BITS: Final = (8, 1, 7, 20, 16, 20, 20, 20, 48, 48)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A market's last accepted price; `fresh`: young enough, `new_risk`: may carry new risk."""

    price: PriceE18
    average: PriceE18
    confidence_ppm: Ppm
    observed_at_ms: UnixMs
    unconfirmed: bool
    fresh: bool
    new_risk: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a market allows now; `halted`: frozen, or itself paused."""

    permissions: int
    halted: bool
    effective_maintenance_ppm: Ppm
    cap_e2: LeverageE2
    floor_maintenance_ppm: Ppm
    profit_share_ppm: Ppm
    spread_ppm: Ppm
    open_interest_cap_usdc: WholeUsdc
    size_scale_usdc: WholeUsdc

    @property
    def target_maintenance_ppm(self) -> Ppm:
        """What a new position asks at least."""
        return maintenance_from_cap(self.cap_e2)

    @property
    def size_scale(self) -> UsdcE6:
        """The size that one scale is."""
        return UsdcE6(self.size_scale_usdc * USDC)

    @property
    def open_interest_cap(self) -> UsdcE6:
        """The signed cap of a side's open interest."""
        return UsdcE6(self.open_interest_cap_usdc * USDC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A market as feed and oracle show it in this block."""

    mark: Mark
    limits: Limits
    price_resumed_at_s: UnixS = NEVER_S
    liquidation_resumes_at_s: UnixS = NEVER_S
    notice_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Everything outside the book that an action depends on.

    `epoch_ended_s[e]`: when AI-input epoch e ended; it runs where there is no entry, or 0.
    """

    now_s: UnixS
    markets: Mapping[MarketId, Reading]
    withdrawals_open: bool = True
    ai_epoch: int = 0
    epoch_ended_s: Mapping[int, UnixS] = field(default_factory=lambda: MappingProxyType({}))


def decode_mark(price: int, average: int, word: int) -> Mark:
    """Read what `PriceFeed.mark` gives."""
    confidence, observed, unconfirmed, fresh, new_risk = split_bits(word, _MARK_BITS)
    return Mark(
        price=PriceE18(price),
        average=PriceE18(average),
        confidence_ppm=Ppm(confidence),
        observed_at_ms=UnixMs(observed),
        unconfirmed=bool(unconfirmed),
        fresh=bool(fresh),
        new_risk=bool(new_risk),
    )


def encode_mark(mark: Mark) -> int:
    """Write the word of `PriceFeed.mark`."""
    flags = (int(mark.unconfirmed), int(mark.fresh), int(mark.new_risk))
    return join_bits((mark.confidence_ppm, mark.observed_at_ms, *flags), _MARK_BITS)


def decode_margin(word: int) -> Limits:
    """Read what `RiskOracle.margin` gives."""
    permissions, halted, _, effective, cap, floor, share, spread, interest, scale = split_bits(
        word, _MARGIN_BITS
    )
    return Limits(
        permissions=permissions,
        halted=bool(halted),
        effective_maintenance_ppm=Ppm(effective),
        cap_e2=LeverageE2(cap),
        floor_maintenance_ppm=Ppm(floor),
        profit_share_ppm=Ppm(share),
        spread_ppm=Ppm(spread),
        open_interest_cap_usdc=WholeUsdc(interest),
        size_scale_usdc=WholeUsdc(scale),
    )


def encode_margin(limits: Limits) -> int:
    """Write the word of `RiskOracle.margin`."""
    values = (
        limits.permissions,
        int(limits.halted),
        0,
        limits.effective_maintenance_ppm,
        limits.cap_e2,
        limits.floor_maintenance_ppm,
        limits.profit_share_ppm,
        limits.spread_ppm,
        limits.open_interest_cap_usdc,
        limits.size_scale_usdc,
    )
    return join_bits(values, _MARGIN_BITS)
