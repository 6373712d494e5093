"""The world's one clock: runs at a speed, stands still while held, and is moved on by blocks."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from contracts.units import UnixMs

MAX_LEASE_S: Final = 600.0
_MONOTONIC: Final = time.monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReading:
    """What the clock shows, and whether and how it runs."""

    now_ms: UnixMs
    speed: (
        float  # clock seconds in one second of the wall; 0 when only blocks and `advance` move it
    )
    held: bool
    leases: int
    origin_ms: UnixMs
    ends_ms: UnixMs  # the last recorded bar closes here


class WorldClock:
    """A clock at `speed` × wall time, which holds of clients stop for as long as they renew them.

    Not thread-safe: one event loop owns it. Time never goes back.
    """

    def __init__(
        self,
        *,
        origin_ms: int,
        ends_ms: int,
        speed: float,
        wall: Callable[[], float] = _MONOTONIC,
    ) -> None:
        self._origin_ms = origin_ms
        self._ends_ms = ends_ms
        self._speed = speed
        self._wall = wall
        self._base_ms = float(origin_ms)  # the clock at `_base_wall`
        self._base_wall = wall()
        self._leases: dict[str, float] = {}  # lease → the wall time at which it ends by itself
        self._changed = asyncio.Event()

    def now_ms(self) -> UnixMs:
        """Give the time, first letting expired holds go at the moment they expired."""
        self._settle()
        return UnixMs(int(self._base_ms))

    def read(self) -> ClockReading:
        """Give the time and how the clock runs."""
        now = self.now_ms()
        return ClockReading(
            now_ms=now,
            speed=self._speed,
            held=bool(self._leases),
            leases=len(self._leases),
            origin_ms=UnixMs(self._origin_ms),
            ends_ms=UnixMs(self._ends_ms),
        )

    def hold(self, lease_s: float) -> str:
        """Stop the clock until the lease is released or expires; give the lease's id."""
        self._settle()
        lease = secrets.token_hex(8)
        self._leases[lease] = self._wall() + _lease_length(lease_s)
        self.wake()  # streams show the instant at which time stands still
        return lease

    def renew(self, lease: str, lease_s: float) -> bool:
        """Prolong a lease; False when it has expired, and time has gone on since."""
        self._settle()
        if lease not in self._leases:
            return False
        self._leases[lease] = self._wall() + _lease_length(lease_s)
        return True

    def release(self, lease: str) -> bool:
        """End a lease; False when it had expired before."""
        self._settle()
        held = self._leases.pop(lease, None) is not None
        self.wake()
        return held

    def advance_to(self, at_ms: int) -> None:
        """Move the clock on to a time, held or not; never back."""
        self._settle()
        if at_ms > self._base_ms:
            self._base_ms = float(at_ms)
            self.wake()

    async def wait_until(self, at_ms: int, timeout_s: float) -> UnixMs:
        """Return when the clock shows `at_ms`, or after `timeout_s` of the wall; give the time."""
        deadline = self._wall() + timeout_s
        while (now := self.now_ms()) < at_ms and (left_s := deadline - self._wall()) > 0:
            changed = self._changed
            nap_s = min(left_s, self._wall_seconds(at_ms - now))
            try:
                await asyncio.wait_for(changed.wait(), timeout=nap_s)
            except TimeoutError:
                continue
        return self.now_ms()

    def _wall_seconds(self, clock_ms: float) -> float:
        """Say how long the wall takes for so much clock time; while held, until a lease ends."""
        if self._leases:
            return max(0.001, min(self._leases.values()) - self._wall())
        if self._speed == 0:
            return MAX_LEASE_S
        return max(0.001, clock_ms / 1_000 / self._speed)

    def _settle(self) -> None:
        """Bring the base up to now: time ran whenever no lease was alive."""
        wall = self._wall()
        running_since = self._base_wall
        if self._leases:
            running_since = max(self._leases.values())  # all leases have ended from here on
            self._leases = {lease: end for lease, end in self._leases.items() if end > wall}
        if not self._leases and wall > running_since:
            self._base_ms += (wall - running_since) * 1_000 * self._speed
        self._base_wall = wall

    async def moved(self, timeout_s: float) -> None:
        """Return when the clock was held, moved or told of something, or after a time."""
        changed = self._changed
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), timeout_s)

    def wake(self) -> None:
        """Let those who wait look at the clock, and at what it counts for, again."""
        self._changed.set()
        self._changed = asyncio.Event()


def _lease_length(lease_s: float) -> float:
    """Bound a lease, so that no client can stop time for ever."""
    return min(max(lease_s, 0.0), MAX_LEASE_S)
