"""The wall's clock behind the `Clock` port."""

from __future__ import annotations

import time

from relayer.clock import WallClock


async def test_now__milliseconds_since_1970() -> None:
    before = time.time_ns() // 1_000_000
    assert before <= await WallClock().now_ms() <= time.time_ns() // 1_000_000


async def test_sleep_until__future__returns_then_and_not_before() -> None:
    clock = WallClock()
    at_ms = await clock.now_ms() + 20
    await clock.sleep_until(at_ms)
    assert await clock.now_ms() >= at_ms


async def test_sleep_until__past__returns_at_once() -> None:
    await WallClock().sleep_until(0)


async def test_hold__nothing_to_hold__goes_on() -> None:
    async with WallClock().hold():
        pass
