"""How a local exchange misbehaves on command: what it was told to do, for how long, to whom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FOREVER_MS: Final = 1 << 60


class VenueMode(StrEnum):
    """How a venue, or one market of it, behaves; docs/local-world.md says what each looks like."""

    OK = "ok"
    DOWN = "down"  # drops every connection; for one market: does not list its ticker
    SLOW = "slow"  # answers, and streams, after `delay_s` of the wall
    STALE = "stale"  # answers what it saw when it was told to, with the stamps of then
    FROZEN = "frozen"  # the same, with fresh stamps
    OFF = "off"  # multiplies every price by `factor`
    CROSSED = "crossed"  # its best bid stands above its best ask
    SKEW = "skew"  # its clock is off by `skew_ms`
    LIMITED = "limited"  # more than `rate` calls a second answer 429; so do new streams
    BANNED = "banned"  # answers 403 to everything
    BROKEN = "broken"  # answers 502; its streams end with an error
    GARBAGE = "garbage"  # answers and streams what is no JSON
    SILENT = "silent"  # streams stay open and answer pings, and say nothing more
    CLOSES = "closes"  # a stream is closed `delay_s` after it was opened
    SKIPS = "skips"  # every third update of a streamed book is lost
    REPEATS = "repeats"  # streamed trades come twice
    GAPS = "gaps"  # bars that open while this lasts are missing from its candles, also later
    DELISTED = "delisted"  # a market that it does not know any more
    RENAMED = "renamed"  # a market that it lists under another name, `name`


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One instruction to misbehave, from one time of the clock to another."""

    mode: VenueMode
    since_ms: int
    until_ms: int = FOREVER_MS
    symbol: str | None = None  # ccxt's unified name; None: the whole venue
    factor: float = 1.0
    delay_s: float = 0.0
    skew_ms: int = 0
    rate: float = 0.0
    name: str = ""

    def concerns(self, symbol: str | None, now_ms: int) -> bool:
        """Tell whether it is in force for a market; None asks of the venue as a whole."""
        return self.symbol in {None, symbol} and self.since_ms <= now_ms < self.until_ms


class FaultBoard:
    """All that one venue was told: one instruction a market by hand, and a scenario's list."""

    def __init__(self) -> None:
        self._by_hand: dict[str | None, Fault] = {}
        self._script: tuple[Fault, ...] = ()
        self.version = 0  # rises with every instruction, so that streams show it at once

    def set_fault(self, symbol: str | None, fault: Fault) -> None:
        """Make the venue, or one market of it, misbehave; OK for the venue ends everything."""
        self.version += 1
        if fault.mode is not VenueMode.OK:
            self._by_hand[symbol] = fault
        elif symbol is None:
            self._by_hand.clear()
            self._script = ()
        else:
            self._by_hand.pop(symbol, None)

    def play(self, faults: Iterable[Fault]) -> None:
        """Replace the scenario."""
        self.version += 1
        self._script = tuple(faults)

    def active(self, mode: VenueMode, symbol: str | None, now_ms: int) -> Fault | None:
        """Find the instruction of a kind that is in force; a market's own before the venue's."""
        found = [each for each in self.of(mode) if each.concerns(symbol, now_ms)]
        return max(found, key=lambda each: (each.symbol is not None, each.since_ms), default=None)

    def of(self, mode: VenueMode) -> list[Fault]:
        """List the instructions of a kind, past and coming ones too."""
        return [each for each in (*self._by_hand.values(), *self._script) if each.mode is mode]

    def now(self, now_ms: int) -> list[Fault]:
        """List what is in force."""
        every = (*self._by_hand.values(), *self._script)
        return [each for each in every if each.since_ms <= now_ms < each.until_ms]
