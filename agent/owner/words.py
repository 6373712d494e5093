"""What was typed for the commands of owner and guardian, as values; times as words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from agent.errors import ConfigError
from agent.owner.acts import KINDS, SCOPES
from contracts.halts import DecisionKind, PauseScope
from contracts.units import MarketId

What: TypeAlias = PauseScope | DecisionKind | MarketId
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds(text: str) -> int:
    """Read a stretch of time: 90s, 30m, 12h, 7d."""
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None:
        raise ConfigError(f"--for {text!r}: write a number and a unit: 90s, 30m, 12h, 7d")
    return int(found[1]) * _UNITS[found[2]]


def what(text: str, symbols: Mapping[MarketId, str], words: Mapping[str, What]) -> What:
    """Read one of a few words, or else a market's symbol."""
    if text.lower() in words:
        return words[text.lower()]
    ids = {symbol.upper(): market for market, symbol in symbols.items()}
    if text.upper() not in ids:
        known = {each.lower(): each for each in (*words, *symbols.values())}
        near = difflib.get_close_matches(text.lower(), known, n=1, cutoff=0.5)
        hint = f"did you mean {known[near[0]]}?" if near else f"give one of {', '.join(known)}"
        raise ConfigError(f"{text!r}: is none of them; {hint}")
    return ids[text.upper()]


def hash_of(text: str) -> bytes:
    """Read 32 bytes."""
    if not re.fullmatch(r"0x[0-9a-fA-F]{64}", text):
        raise ConfigError(f"{text!r}: give 0x and 64 hexadecimal digits")
    return bytes.fromhex(text[2:])


def scope_or_kind() -> dict[str, What]:
    """Give the words for all that can be stopped beside a market."""
    return {**SCOPES, **KINDS}


def moment(at_s: int) -> str:
    """Write a chain's time."""
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def stretch(duration_s: int) -> str:
    """Write a stretch of time in its largest whole unit."""
    for unit, size in reversed(_UNITS.items()):
        if duration_s % size == 0 and duration_s >= size:
            return f"{duration_s // size} {unit}"
    return f"{duration_s} s"
