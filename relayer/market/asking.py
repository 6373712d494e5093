"""Awaiting ccxt in our own exceptions and within a time; what it raises is named here alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import ccxt.async_support as ccxt

from relayer.errors import RateLimited, RelayerError, Unreachable, translate_ccxt

# What ccxt and its transport raise; everything else is a mistake of ours and ends the task.
FOREIGN: Final = (
    ccxt.BaseError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ArithmeticError,
)
LIMITING_STATUSES: Final = (418, 429)  # asked too often; 418 is Binance's for a ban
FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 60.0  # of our own choice; what a venue asks for may be longer
_LONGEST_BAN_S: Final = 3_600.0  # asked again once an hour, however long a venue says

Answer = TypeVar("Answer")


async def translated(call: Awaitable[Answer]) -> Answer:
    """Await ccxt in our own exceptions."""
    try:
        return await call
    except RelayerError:
        raise
    except FOREIGN as foreign:
        raise _refused_handshake(foreign) or translate_ccxt(foreign) from foreign


def _refused_handshake(foreign: Exception) -> RateLimited | None:
    """Find the 429 or ban inside what ccxt says of a websocket that was not let in."""
    inner = foreign.args[0] if foreign.args else None
    if getattr(inner, "status", None) not in LIMITING_STATUSES:
        return None
    asked_s = retry_after(getattr(inner, "headers", None))
    return RateLimited(str(foreign), retry_after_s=asked_s)


async def within(call: Awaitable[Answer], timeout_s: float, venue: str) -> Answer:
    """Await ccxt within a time, in our own exceptions."""
    try:
        async with asyncio.timeout(timeout_s):
            return await translated(call)
    except TimeoutError:
        raise Unreachable(f"{venue}: no answer within {timeout_s:g} s") from None


def retry_after(headers: Mapping[str, Any] | None) -> float | None:
    """Read how long a venue wants to be left alone, from an answer's headers."""
    lowered = {str(name).lower(): value for name, value in (headers or {}).items()}
    try:
        asked_s = float(lowered["retry-after"])
    except (KeyError, TypeError, ValueError):  # absent, or a date, which no known venue sends
        return None
    return min(asked_s, _LONGEST_BAN_S) if asked_s >= 0 else None


class Cooldown:
    """When a venue that said 429 or banned us may be asked again: as it said, else doubling."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until = 0.0
        self._next_pause_s = FIRST_PAUSE_S

    @property
    def left_s(self) -> float:
        """How long the venue is still left alone."""
        return max(0.0, self._until - self._monotonic())

    def require(self, venue: str) -> None:
        """Raise RateLimited, without asking the venue, while it is to be left alone."""
        if self.left_s > 0:
            message = f"{venue}: not asked for another {self.left_s:.0f} s, as it limits us"
            raise RateLimited(message, retry_after_s=self.left_s)

    def limited(self, asked_s: float | None) -> None:
        """Note that the venue said that it was asked too often; said of several calls, once."""
        if self.left_s > 0:
            self._until = max(self._until, self._monotonic() + (asked_s or 0.0))
            return
        self._until = self._monotonic() + (self._next_pause_s if asked_s is None else asked_s)
        self._next_pause_s = min(2 * self._next_pause_s, LONGEST_PAUSE_S)

    def answered(self) -> None:
        """Note that the venue answers again."""
        self._next_pause_s = FIRST_PAUSE_S
