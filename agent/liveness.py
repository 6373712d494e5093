"""Whether the loops get anywhere: it feeds the watchdog, which restarts a daemon that hangs.

A turn that was held counts: a restart mends neither venues nor chain. A turn that does not end does
not, and neither does an event loop that no longer runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from relayer.service import Service

REST_S = 5.0  # between two looks, where no watchdog asks for more


class Liveness:
    """Remembers when each loop last ended a turn, against how long it may take."""

    def __init__(
        self,
        service: Service,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self._now_s = now_s
        self._within_s: dict[str, float] = {}
        self._beat_s: dict[str, float] = {}

    @contextmanager
    def expecting(self, within_s: dict[str, float]) -> Iterator[None]:
        """Expect each loop to end a turn within its time, inside; outside nothing is expected."""
        self._within_s = dict(within_s)
        self._beat_s = dict.fromkeys(within_s, self._now_s())
        try:
            yield
        finally:
            self._within_s = {}

    def beat(self, loop: str) -> None:
        """A loop has ended a turn."""
        self._beat_s[loop] = self._now_s()

    def stuck(self) -> tuple[str, ...]:
        """Name the loops that have not ended a turn in their time."""
        now_s = self._now_s()
        return tuple(
            loop
            for loop, within_s in self._within_s.items()
            if now_s - self._beat_s[loop] > within_s
        )

    def is_stuck(self, loop: str) -> float:
        """Give 1 for a loop that is stuck, for its metric."""
        return float(loop in self.stuck())

    async def feed(self) -> None:
        """Feed the watchdog as long as nothing is stuck; run it beside the loops."""
        period_s = self.service.period_s or REST_S
        said: tuple[str, ...] = ()
        while True:
            stuck = self.stuck()
            if not stuck:
                self.service.alive()
            elif stuck != said:
                self.service.status(f"stuck: {', '.join(stuck)}")
            said = stuck
            await asyncio.sleep(period_s)
