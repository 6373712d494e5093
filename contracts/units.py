"""The units of every number that reaches a contract, and the only roundings between them.

Integers only. A crossing between two units is a function here, and its name says which way it
rounds; the caller picks the way that is safer for the pool.

The exceptions of this package, by what to do::

    LawError(ValueError)         the law does not allow the value: mend the caller, send nothing
    ├── UnitError                units.py: a number that its unit cannot hold
    ├── PackingError             packing.py: a value or a word that has no canonical other form
    └── MessageError             messages.py: see there
"""

from __future__ import annotations

from typing import Final, NewType

MarketId = NewType("MarketId", int)
"""0 … 65,535, sequential from 0, the same in every contract."""
PriceE18 = NewType("PriceE18", int)
"""USDC for one whole unit of the asset, × 10^18."""
Ppm = NewType("Ppm", int)
"""A ratio in parts per million."""
LeverageE2 = NewType("LeverageE2", int)
"""Leverage × 100: 12.5x is 1,250."""
UnixMs = NewType("UnixMs", int)
"""Milliseconds since 1970: observation times."""
UnixS = NewType("UnixS", int)
"""Seconds since 1970: block times."""
UsdcE6 = NewType("UsdcE6", int)
"""USDC × 10^6, as the token counts it."""
WholeUsdc = NewType("WholeUsdc", int)
"""Whole USDC: caps and size scales."""

PPM: Final = 1_000_000
USDC: Final = 1_000_000  # UsdcE6 in one whole USDC
ONE_X: Final = LeverageE2(100)
MS_PER_S: Final = 1_000
MAX_MARKET: Final = MarketId(0xFFFF)
MAX_CAP_E2: Final = LeverageE2(0xFFFF)  # 16 bits in a risk word

_HALF_PPM_E2: Final = (
    50_000_000  # 10^6 ppm × 100 ÷ 2: maintenance is half of initial margin at the cap
)


class LawError(ValueError):
    """The law does not allow this value; nothing may be signed or sent with it."""


class UnitError(LawError):
    """A number that its unit cannot hold."""


def int_fault(value: object, low: int, high: int) -> str | None:
    """Say why `value` is not an exact int in [low, high], or None when it is one.

    Exact: bool, str, float, numpy integers and enums are refused, because libraries further down
    disagree about what they mean.
    """
    if type(value) is not int:
        return f"must be an int, not {type(value).__name__}; convert it where it enters"
    if not low <= value <= high:
        return f"is {value}, outside {low} … {high}"
    return None


def _positive(denominator: int) -> int:
    """Refuse a denominator for which up and down would change places."""
    if denominator <= 0:
        raise UnitError(f"denominator is {denominator}; give one above 0")
    return denominator


def floor_div(numerator: int, denominator: int) -> int:
    """Divide, rounding down, toward minus infinity also below 0 (the EVM's SDIV does not)."""
    return numerator // _positive(denominator)


def ceil_div(numerator: int, denominator: int) -> int:
    """Divide, rounding up, toward plus infinity."""
    return -(-numerator // _positive(denominator))


def trunc_div(numerator: int, denominator: int) -> int:
    """Divide, rounding toward 0, as the EVM's SDIV and Vyper's int256 `//` do."""
    quotient = abs(numerator) // _positive(denominator)
    return quotient if numerator >= 0 else -quotient


def ppm_floor(amount: int, ratio: Ppm) -> int:
    """Take a ratio of an amount, rounded down: what is paid out."""
    return floor_div(amount * ratio, PPM)


def ppm_ceil(amount: int, ratio: Ppm) -> int:
    """Take a ratio of an amount, rounded up: what is asked of a trader."""
    return ceil_div(amount * ratio, PPM)


def seconds_floor(at: UnixMs) -> UnixS:
    """Convert milliseconds to the second that they lie in."""
    return UnixS(floor_div(at, MS_PER_S))


def seconds_ceil(at: UnixMs) -> UnixS:
    """Convert milliseconds to the first whole second that is not earlier."""
    return UnixS(ceil_div(at, MS_PER_S))


def milliseconds(at: UnixS) -> UnixMs:
    """Convert seconds to milliseconds, exactly."""
    return UnixMs(at * MS_PER_S)


def whole_usdc_floor(amount: UsdcE6) -> WholeUsdc:
    """Drop the part below one USDC."""
    return WholeUsdc(floor_div(amount, USDC))


def usdc_e6(amount: WholeUsdc) -> UsdcE6:
    """Convert whole USDC to the token's units, exactly."""
    return UsdcE6(amount * USDC)


def maintenance_from_cap(cap_e2: LeverageE2) -> Ppm:
    """Give the maintenance ratio of a leverage cap: floor(10^6 ÷ (2 × cap)).

    Floored, so that `2 × maintenance × cap ≤ 1` holds exactly.
    """
    fault = int_fault(cap_e2, ONE_X, MAX_CAP_E2)
    if fault:
        raise UnitError(f"cap_e2 {fault}")
    return Ppm(floor_div(_HALF_PPM_E2, cap_e2))


def cap_from_maintenance(maintenance_ppm: Ppm) -> LeverageE2:
    """Give the largest cap that a maintenance ratio allows, rounded down, toward safety.

    The pair need not be coherent yet: publish it with `maintenance_from_cap` of the cap, which is
    never below the ratio that was asked for.
    """
    lowest, highest = maintenance_from_cap(MAX_CAP_E2), maintenance_from_cap(ONE_X)
    fault = int_fault(maintenance_ppm, lowest + 1, highest)
    if fault:
        raise UnitError(f"maintenance_ppm {fault} (a cap from 1x to 655x)")
    return LeverageE2(floor_div(_HALF_PPM_E2, maintenance_ppm))


def is_coherent(cap_e2: int, maintenance_ppm: int) -> bool:
    """Tell whether the pair is one tuple: 5·10^7 − cap < maintenance × cap ≤ 5·10^7.

    For every cap exactly one ratio is coherent with it, floor(5·10^7 ÷ cap). Total over integers,
    because it judges what others propose.
    """
    return _HALF_PPM_E2 - cap_e2 < maintenance_ppm * cap_e2 <= _HALF_PPM_E2
