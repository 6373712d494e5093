"""The world's clock: runs at its speed, stands still while held, never goes back."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from relayer.local.clock import WorldClock

ORIGIN_MS = 1_747_073_880_000


class Wall:
    """A wall clock that tests move."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def _clock(wall: Wall, speed: float = 60.0) -> WorldClock:
    return WorldClock(origin_ms=ORIGIN_MS, ends_ms=ORIGIN_MS + 1, speed=speed, wall=wall)


def test_clock__runs__at_its_speed() -> None:
    wall = Wall()
    clock = _clock(wall)
    wall.now += 2.0
    assert clock.now_ms() == ORIGIN_MS + 120_000


def test_clock__held__stands_still() -> None:
    wall = Wall()
    clock = _clock(wall)
    clock.hold(30.0)
    wall.now += 20.0
    assert clock.now_ms() == ORIGIN_MS
    assert clock.read().held


def test_clock__two_holds__stands_until_both_are_released() -> None:
    wall = Wall()
    clock = _clock(wall)
    first, second = clock.hold(30.0), clock.hold(30.0)
    clock.release(first)
    wall.now += 1.0
    assert clock.now_ms() == ORIGIN_MS
    clock.release(second)
    wall.now += 1.0
    assert clock.now_ms() == ORIGIN_MS + 60_000


def test_clock__holder_dies__goes_on_from_the_lease_s_end() -> None:
    wall = Wall()
    clock = _clock(wall)
    lease = clock.hold(30.0)
    wall.now += 31.0
    assert clock.now_ms() == ORIGIN_MS + 60_000
    assert not clock.renew(lease, 30.0)
    assert not clock.release(lease)


def test_clock__renewed__stays_held() -> None:
    wall = Wall()
    clock = _clock(wall)
    lease = clock.hold(30.0)
    for _ in range(5):
        wall.now += 20.0
        assert clock.renew(lease, 30.0)
    assert clock.now_ms() == ORIGIN_MS


def test_clock__endless_lease__bounded() -> None:
    wall = Wall()
    clock = _clock(wall)
    clock.hold(float("inf"))
    wall.now += 601.0
    assert clock.now_ms() > ORIGIN_MS


def test_clock__advanced_while_held__moves_and_stays_held() -> None:
    clock = _clock(Wall())
    clock.hold(30.0)
    clock.advance_to(ORIGIN_MS + 5_000)
    assert clock.now_ms() == ORIGIN_MS + 5_000
    assert clock.read().held


def test_clock__advanced_to_the_past__does_not_move() -> None:
    clock = _clock(Wall())
    clock.advance_to(ORIGIN_MS - 5_000)
    assert clock.now_ms() == ORIGIN_MS


def test_clock__manual__moved_only_by_hand() -> None:
    wall = Wall()
    clock = _clock(wall, speed=0.0)
    wall.now += 1_000.0
    assert clock.now_ms() == ORIGIN_MS


async def test_wait__clock_is_moved_past__returns_at_once() -> None:
    clock = WorldClock(origin_ms=ORIGIN_MS, ends_ms=ORIGIN_MS + 1, speed=0.0)
    waiting = asyncio.create_task(clock.wait_until(ORIGIN_MS + 1_000, 10.0))
    await asyncio.sleep(0)
    clock.advance_to(ORIGIN_MS + 2_000)
    assert await asyncio.wait_for(waiting, 1.0) == ORIGIN_MS + 2_000


async def test_wait__time_does_not_come__gives_up_at_its_limit() -> None:
    clock = WorldClock(origin_ms=ORIGIN_MS, ends_ms=ORIGIN_MS + 1, speed=0.0)
    assert await clock.wait_until(ORIGIN_MS + 1_000, 0.01) == ORIGIN_MS


STEPS = st.lists(
    st.tuples(st.sampled_from(["pass", "hold", "release", "renew", "advance"]), st.floats(0, 100)),
    max_size=40,
)


@given(STEPS)
def test_clock__any_history__never_goes_back(steps: list[tuple[str, float]]) -> None:
    wall = Wall()
    clock = _clock(wall)
    leases, last = [""], clock.now_ms()
    for what, amount in steps:
        if what == "pass":
            wall.now += amount
        elif what == "hold":
            leases.append(clock.hold(amount))
        elif what == "release":
            clock.release(leases[-1])
        elif what == "renew":
            clock.renew(leases[-1], amount)
        else:
            clock.advance_to(last + int(amount * 1_000) - 50_000)
        now = clock.now_ms()
        assert now >= last
        last = now
