"""The supervisor of one venue's streams: why they end, and how soon they are started again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayer.errors import BadAnswer, RateLimited, Unreachable, VenueRefused
from relayer.market.asking import FIRST_PAUSE_S, LONGEST_PAUSE_S, Cooldown, retry_after
from relayer.market.events import StreamEvent
from relayer.market.streams import Channel, StreamPorts, StreamRules, StreamState, StreamSupervisor

RULES = StreamRules(silent_after_s=0.05, starts_per_minute=1_000)


@dataclass
class Bench:
    """Time that passes only in sleeps, and everything that was counted."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)
    counted: list[StreamEvent] = field(default_factory=list)
    resets: int = 0
    enough: int = 3

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, wait_s: float) -> None:
        self.slept.append(wait_s)
        self.now += wait_s
        if len(self.slept) >= self.enough:
            raise _EnoughError
        await asyncio.sleep(0)

    async def reset(self) -> None:
        self.resets += 1

    def ports(self) -> StreamPorts:
        return StreamPorts(
            reset=self.reset,
            count=self.counted.append,
            sleep=self.sleep,
            monotonic=self.monotonic,
            jitter=random.Random(7),
        )


class _EnoughError(Exception):
    """Ends a supervisor that would go on for ever."""


def _channel(watch: Callable[[], Awaitable[object]], *, may_be_quiet: bool = False) -> Channel:
    return Channel(name="c", watch=watch, take=lambda _: None, may_be_quiet=may_be_quiet)


async def _fail(error: Exception) -> object:
    raise error


async def _run(bench: Bench, *channels: Channel, rules: StreamRules = RULES) -> StreamSupervisor:
    supervisor = StreamSupervisor(channels, rules, bench.ports())
    with pytest.raises(_EnoughError):
        await supervisor.run()
    return supervisor


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (Unreachable("reset"), StreamEvent.CLOSED),
        (ConnectionResetError("reset"), StreamEvent.CLOSED),
        (BadAnswer("no price"), StreamEvent.BAD_MESSAGE),
        (KeyError("bids"), StreamEvent.BAD_MESSAGE),
        (RateLimited("429"), StreamEvent.RATE_LIMITED),
        (VenueRefused("no such channel"), StreamEvent.REFUSED),
    ],
)
async def test_run__stream_ends__counted_by_its_reason(
    error: Exception, event: StreamEvent
) -> None:
    bench = Bench()
    await _run(bench, _channel(lambda: _fail(error)))
    assert bench.counted == [event] * 3
    assert bench.resets == 3


async def test_run__failures__waits_double_and_are_partly_chance() -> None:
    bench = Bench(enough=6)
    await _run(bench, _channel(lambda: _fail(Unreachable("reset"))))
    for number, slept in enumerate(bench.slept):
        whole = RULES.first_wait_s * 2**number
        assert whole / 2 <= slept <= whole
    assert len({slept / 2**n for n, slept in enumerate(bench.slept)}) == 6


async def test_run__many_failures__never_waits_longer_than_the_longest() -> None:
    bench = Bench(enough=80)
    await _run(bench, _channel(lambda: _fail(Unreachable("reset"))))
    assert max(bench.slept) <= RULES.longest_wait_s


async def test_run__venue_says_when__not_before() -> None:
    bench = Bench(enough=1)
    await _run(bench, _channel(lambda: _fail(RateLimited("banned", retry_after_s=900.0))))
    assert bench.slept == [900.0]


async def test_run__limited_without_a_time__the_longest_wait() -> None:
    bench = Bench(enough=1)
    await _run(bench, _channel(lambda: _fail(RateLimited("429"))))
    assert bench.slept == [RULES.longest_wait_s]


async def test_run__more_starts_than_allowed__held_back_and_counted() -> None:
    rules = StreamRules(starts_per_minute=3, first_wait_s=0.001, longest_wait_s=0.001)
    bench = Bench(enough=4)
    await _run(bench, _channel(lambda: _fail(Unreachable("reset"))), rules=rules)
    assert bench.counted.count(StreamEvent.STORM) == 1
    assert bench.slept[3] == pytest.approx(60.0, abs=0.01)


async def test_run__silent_while_open__ended() -> None:
    bench = Bench(enough=1)
    supervisor = StreamSupervisor(
        [_channel(asyncio.Event().wait)],
        RULES,
        StreamPorts(reset=bench.reset, count=bench.counted.append, sleep=bench.sleep),
    )
    with pytest.raises(_EnoughError):
        await supervisor.run()
    assert bench.counted == [StreamEvent.SILENT]


async def test_run__only_streams_that_may_be_quiet__not_ended() -> None:
    bench = Bench()
    supervisor = StreamSupervisor(
        [_channel(asyncio.Event().wait, may_be_quiet=True)], RULES, bench.ports()
    )
    task = asyncio.create_task(supervisor.run())
    await asyncio.sleep(2 * RULES.silent_after_s)
    task.cancel()
    await asyncio.wait([task])
    assert bench.counted == []


async def test_run__ccxt_cancels_who_waits__an_end_and_not_ours() -> None:
    """Closing a connection, ccxt cancels the futures that its callers wait for."""

    async def cancelled() -> object:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        return await future

    bench = Bench()
    await _run(bench, _channel(cancelled))
    assert bench.counted == [StreamEvent.CLOSED] * 3


async def test_run__cancelled__every_channel_ends_with_it() -> None:
    ended = []

    async def watch() -> object:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        return None

    supervisor = StreamSupervisor([_channel(watch), _channel(watch)], RULES, Bench().ports())
    task = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert len(ended) == 2


async def test_run__first_message__live_once() -> None:
    messages = asyncio.Queue[int]()
    for number in range(3):
        messages.put_nowait(number)
    taken: list[object] = []
    bench = Bench()
    channel = Channel(name="c", watch=messages.get, take=taken.append)
    supervisor = StreamSupervisor([channel], RULES, bench.ports())
    task = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0.01)
    assert supervisor.state is StreamState.LIVE
    task.cancel()
    await asyncio.wait([task])
    assert taken == [0, 1, 2]
    assert bench.counted == [StreamEvent.LIVE]


async def test_restart__from_outside__ends_with_that_reason() -> None:
    bench = Bench(enough=1)
    supervisor = StreamSupervisor([_channel(asyncio.Event().wait)], RULES, bench.ports())
    task = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0.01)
    supervisor.restart(StreamEvent.GAP, "crossed")
    with pytest.raises(_EnoughError):
        await task
    assert bench.counted == [StreamEvent.GAP]
    assert supervisor.last is not None
    assert supervisor.last.detail == "crossed"


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_cooldown__as_long_as_the_venue_says__then_asked_again() -> None:
    clock = _Clock()
    cooldown = Cooldown(clock)
    cooldown.limited(30.0)
    clock.now = 29.0
    with pytest.raises(RateLimited):
        cooldown.require("v")
    clock.now = 30.0
    cooldown.require("v")


def test_cooldown__limited_again_and_again__doubles_to_the_longest() -> None:
    clock = _Clock()
    cooldown = Cooldown(clock)
    pauses = []
    for _ in range(8):
        cooldown.limited(None)
        pauses.append(cooldown.left_s)
        clock.now += cooldown.left_s
    assert pauses == [min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S) for n in range(8)]
    cooldown.answered()
    cooldown.limited(None)
    assert cooldown.left_s == FIRST_PAUSE_S


def test_cooldown__three_calls_of_one_tick__one_doubling() -> None:
    cooldown = Cooldown(_Clock())
    for _ in range(3):
        cooldown.limited(None)
    assert cooldown.left_s == FIRST_PAUSE_S


@pytest.mark.parametrize(
    ("headers", "asked_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"Retry-After": "999999"}, 3_600.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"Retry-After": "-1"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_retry_after__header__seconds_or_none(
    headers: dict[str, str] | None, asked_s: float | None
) -> None:
    assert retry_after(headers) == asked_s


@given(st.text(max_size=20))
def test_retry_after__any_text__bounded_or_none(text: str) -> None:
    asked_s = retry_after({"Retry-After": text})
    assert asked_s is None or 0 <= asked_s <= 3_600
