"""When a liquidation has to wait: for a second round that agrees, or for the market's window.

Pure and integer; the units of margin.py, times in Unix s and ms. Whoever is below two thirds of
maintenance waits for neither grace nor window; nobody waits for a second round longer than 30 s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from contracts.margin import NOTHING, check
from contracts.units import PPM, Ppm, PriceE18, UnixMs, UnixS, UsdcE6

NEVER_S: Final = UnixS(0)
NEVER_MS: Final = UnixMs(0)
GRACE_S: Final = 300  # after a pause or a gap, traders may add margin first
WINDOW_S: Final = 60
WINDOW_SHARE: Final = 4  # a quarter of the size scale a window: what the pool can hedge meanwhile
NOTE_S: Final = 120  # a note of a far price says nothing about a price of later
AGREES_MS: Final = 3_000  # a second round: other venues' data, not the same one again
LONGEST_WAIT_S: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """A market's slot in the liquidator: its window, and the far price noted last."""

    used: UsdcE6 = NOTHING
    begun_s: UnixS = NEVER_S
    note_observed_ms: UnixMs = NEVER_MS
    note_s: UnixS = NEVER_S
    note_above: bool = False


class Agreement(Enum):
    """Whether a price may close anything now."""

    AGREED = "agreed"
    NOTED = "noted"
    AWAITED = "awaited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A price beside its five-minute average, as the band judges it, and now."""

    price: PriceE18
    average: PriceE18
    observed_at_ms: UnixMs
    now_s: UnixS
    band_ppm: Ppm

    @property
    def is_near(self) -> bool:
        """Whether the price lies within the band around its average, its edge included."""
        return abs(self.price - self.average) * PPM <= self.band_ppm * self.average

    @property
    def is_above(self) -> bool:
        """On which side of the average it lies."""
        return self.price > self.average


def second_round(pace: Pace, look: Look) -> tuple[Agreement, Pace]:
    """Judge a price: near its average, confirmed by a second round, or noted for one to come."""
    if look.is_near:
        return Agreement.AGREED, pace
    if look.now_s < pace.note_s + NOTE_S and look.is_above == pace.note_above:
        newer = look.observed_at_ms >= pace.note_observed_ms + AGREES_MS
        waited = look.now_s >= pace.note_s + LONGEST_WAIT_S
        return (Agreement.AGREED if newer or waited else Agreement.AWAITED), pace
    noted = replace(
        pace,
        note_observed_ms=look.observed_at_ms,
        note_s=look.now_s,
        note_above=look.is_above,
    )
    return Agreement.NOTED, noted


def price_grace(begun_s: UnixS, now_s: UnixS) -> Agreement:
    """Judge the grace of an account that lacks only live prices: over, to begin now, or running.

    It serves as long after its end as a note; what is found later is another want.
    """
    if now_s >= begun_s + GRACE_S + NOTE_S:
        return Agreement.NOTED
    return Agreement.AGREED if now_s >= begun_s + GRACE_S else Agreement.AWAITED


def window_at(pace: Pace, now_s: UnixS) -> Pace:
    """Give the window that runs now: an old one is over."""
    if now_s >= pace.begun_s + WINDOW_S:
        return replace(pace, used=NOTHING, begun_s=now_s)
    return pace


def window_left(pace: Pace, size_scale: UsdcE6, least: UsdcE6) -> UsdcE6:
    """Give what may still be closed in a running window: a quarter of the scale, less what was.

    `least` is the minimum size; a scale so small that its quarter is less would lock everyone out.
    """
    check("size_scale", size_scale, 0)
    capacity = max(size_scale // WINDOW_SHARE, least)
    return UsdcE6(capacity - min(pace.used, capacity))


def grace_until_s(resumes_at_s: UnixS, price_resumed_at_s: UnixS) -> UnixS:
    """Give when partial liquidation may go on after a pause or a gap in prices."""
    return UnixS(max(resumes_at_s, price_resumed_at_s) + GRACE_S)
