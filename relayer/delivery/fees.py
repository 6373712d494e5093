"""What a transaction may cost: first offer, replacement, and where bidding ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contracts.units import Ppm, ppm_ceil

# Nodes want 10 % more on both fees before they replace a transaction; some round it down first.
LEAST_RAISE_PPM: Final = Ppm(100_000)
DOUBLE_PPM: Final = Ppm(2_000_000)  # twice the base fee outlives six full blocks
RAISE_PPM: Final = Ppm(125_000)
GAS_MARGIN_PPM: Final = Ppm(1_300_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeRules:
    """How to bid. The defaults suit MegaETH, whose base fee stands at 10^6 wei and asks no tip."""

    max_fee_cap_wei: int = 10_000_000_000
    priority_fee_wei: int = 0
    headroom_ppm: Ppm = DOUBLE_PPM
    raise_ppm: Ppm = RAISE_PPM
    max_replacements: int = 5
    gas_margin_ppm: Ppm = GAS_MARGIN_PPM

    def __post_init__(self) -> None:
        """Refuse rules under which a replacement could never be accepted, or a first offer made."""
        if self.raise_ppm < LEAST_RAISE_PPM:
            raise ValueError(f"raise_ppm {self.raise_ppm}: nodes refuse less than 100,000")
        if self.headroom_ppm < 1_000_000 or self.gas_margin_ppm < 1_000_000:
            raise ValueError("headroom_ppm and gas_margin_ppm: at least 1,000,000 (nothing added)")
        if not 0 <= self.priority_fee_wei < self.max_fee_cap_wei or self.max_replacements < 0:
            raise ValueError("priority_fee_wei must lie below max_fee_cap_wei, none negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """The two fees of a type-2 transaction, in wei for a unit of gas."""

    max_fee_wei: int
    priority_fee_wei: int


def first_offer(base_fee_wei: int, rules: FeeRules) -> Fees | None:
    """Offer the base fee with headroom and the tip; None when the cap does not reach."""
    wanted = ppm_ceil(base_fee_wei, rules.headroom_ppm) + rules.priority_fee_wei
    if base_fee_wei + rules.priority_fee_wei > rules.max_fee_cap_wei:
        return None
    # Some nodes take a fee of 0 for an unset one.
    capped = max(1, min(wanted, rules.max_fee_cap_wei))
    return Fees(max_fee_wei=capped, priority_fee_wei=min(rules.priority_fee_wei, capped))


def replacement(previous: Fees, base_fee_wei: int, rules: FeeRules) -> Fees | None:
    """Raise both fees, to at least what a first offer would be now; None at the cap.

    Nodes compare each fee with its predecessor, so a tip of 0 has to rise as well.
    """
    fresh = first_offer(base_fee_wei, rules)
    if fresh is None:
        return None
    tip = max(_raised(previous.priority_fee_wei, rules), fresh.priority_fee_wei)
    fee = max(_raised(previous.max_fee_wei, rules), fresh.max_fee_wei, tip)
    if fee > rules.max_fee_cap_wei:
        return None
    return Fees(max_fee_wei=fee, priority_fee_wei=tip)


def _raised(fee_wei: int, rules: FeeRules) -> int:
    return max(fee_wei + ppm_ceil(fee_wei, rules.raise_ppm), fee_wei + 1)


def gas_limit(estimate: int, rules: FeeRules) -> int:
    """Add the margin to an endpoint's estimate."""
    return ppm_ceil(estimate, rules.gas_margin_ppm)
