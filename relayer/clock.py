"""The wall's clock behind the `Clock` port: for live chains and venues, which nothing can hold."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import AbstractAsyncContextManager
from typing import Final

from contracts.units import UnixMs

_RECHECK_S: Final = 1.0  # a stepped or slewed system clock is noticed within this


class WallClock:
    """Unix time of this machine; holding it is allowed and does nothing."""

    async def now_ms(self) -> UnixMs:
        """Give the time in milliseconds since 1970."""
        return UnixMs(time.time_ns() // 1_000_000)

    async def sleep_until(self, at_ms: int) -> None:
        """Return when the clock shows `at_ms` or later; at once when it already does."""
        while True:
            left_ms = at_ms - await self.now_ms()
            if left_ms <= 0:
                return
            await asyncio.sleep(min(left_ms / 1_000, _RECHECK_S))

    def hold(self) -> AbstractAsyncContextManager[None]:
        """Enter a section in which a local clock would stand still; this one goes on."""
        return contextlib.nullcontext()

    async def close(self) -> None:
        """Nothing to let go of."""
