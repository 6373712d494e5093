"""What was typed, as values; each fault is one sentence that says what to give instead."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from agent.errors import ConfigError
from agent.quoting.passing import nearest
from contracts.book_words import MAX_COLLATERAL, MAX_SIZE
from contracts.fields import checksummed
from contracts.margin import SizeE18
from contracts.units import MAX_CAP_E2, ONE_X, LeverageE2, MarketId, UsdcE6

Choice = TypeVar("Choice")
HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


def address(text: str) -> str:
    """Read an account; mixed case must be its checksum.

    Raises
    ------
    ConfigError
        It is no address, or a digit was mistyped.
    """
    digits = text[2:]
    if not (text.startswith("0x") and len(digits) == 40 and set(digits) <= HEX_DIGITS):
        raise ConfigError(f"account {text!r}: is no address; give 0x and 40 hexadecimal digits")
    expected = checksummed(text.lower())
    if digits not in (digits.lower(), digits.upper()) and text != expected:
        raise ConfigError(
            f"account {text}: its checksum is wrong, so a digit was mistyped; "
            f"these digits would be {expected}"
        )
    return expected


def market(text: str, symbols: Mapping[MarketId, str]) -> MarketId:
    """Find a market by its symbol."""
    ids = {symbol.upper(): each for each, symbol in symbols.items()}
    if text.upper() not in ids:
        raise ConfigError(f"market {text!r}: is unknown; {nearest(text, tuple(symbols.values()))}")
    return ids[text.upper()]


def choice(field: str, text: str, choices: Mapping[str, Choice]) -> Choice:
    """Read one of a few words."""
    if text.lower() not in choices:
        raise ConfigError(f"{field} {text!r}: give one of {', '.join(choices)}")
    return choices[text.lower()]


def size(text: str) -> SizeE18:
    """Read a size in whole units of the asset."""
    found = scaled("size", text, 18)
    if not 0 < found <= MAX_SIZE:
        raise ConfigError(f"size {text}: must be above 0 and at most {MAX_SIZE // 10**18:,}")
    return SizeE18(found)


def leverage(text: str) -> LeverageE2:
    """Read a leverage such as 5, 12.5 or 12.5x."""
    found = scaled("leverage", text.lower().removesuffix("x"), 2)
    if not ONE_X <= found <= MAX_CAP_E2:
        raise ConfigError(f"leverage {text}: must be between 1 and {MAX_CAP_E2 / 100:g}")
    return LeverageE2(found)


def margin(text: str | None) -> UsdcE6 | None:
    """Read an amount of USDC."""
    if text is None:
        return None
    found = scaled("margin", text, 6)
    if not 0 <= found <= MAX_COLLATERAL:
        raise ConfigError(f"margin {text}: must be an amount of USDC, not below 0")
    return UsdcE6(found)


def scaled(field: str, text: str, digits: int) -> int:
    """Read a decimal number into whole units of 10^-digits, exactly."""
    try:
        number = Decimal(text.replace("_", "").replace(",", ""))
    except InvalidOperation:
        raise ConfigError(f"{field} {text!r}: is no number; write it like 0.25") from None
    if not number.is_finite() or abs(number.adjusted()) > 60:
        raise ConfigError(f"{field} {text}: is no number that anything could be")
    units = number.scaleb(digits)
    if units != units.to_integral_value():
        raise ConfigError(f"{field} {text}: has more than {digits} digits after the point")
    return int(units)
