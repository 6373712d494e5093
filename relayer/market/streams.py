"""Keeping one venue's websockets alive: what ends, silently too, is started again, not too often.

All streams of a venue share a connection, so they start and end together. A stream that may be
quiet (trades, liquidations) is not waited for; the quotes' stream is, and a connection on which it
says nothing for `silent_after_s` has ended, whatever TCP and pings say.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from relayer.errors import BadAnswer, HoldCycle, RateLimited, RelayerError, Stop
from relayer.market.asking import translated
from relayer.market.events import StreamEvent

MINUTE_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRules:
    """When a stream has ended, and how soon it is started again."""

    silent_after_s: float = 10.0
    first_wait_s: float = 0.5
    longest_wait_s: float = 60.0  # what the venue itself asks for may be longer
    healthy_after_s: float = 30.0  # a connection that lasted this long starts the waits anew
    starts_per_minute: int = 10  # a venue's own limits are far above: OKX allows 3 a second


class StreamState(StrEnum):
    """Where a venue's streams stand."""

    STARTING = "starting"
    LIVE = "live"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One thing that is followed: each call of `watch` returns what is new."""

    name: str
    watch: Callable[[], Awaitable[object]]
    take: Callable[[object], None]  # what to do with it; cheap, never waits
    may_be_quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Why the streams ended."""

    event: StreamEvent
    detail: str
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPorts:
    """What a supervisor needs from outside."""

    reset: Callable[[], Awaitable[None]]  # lets go of the connection, so that the next is new
    count: Callable[[StreamEvent], None]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    monotonic: Callable[[], float] = time.monotonic
    jitter: random.Random = field(default_factory=random.SystemRandom)


class StreamSupervisor:
    """Follows one venue's channels, for as long as it runs."""

    def __init__(self, channels: Sequence[Channel], rules: StreamRules, ports: StreamPorts) -> None:
        self._channels = tuple(channels)
        self._rules = rules
        self._ports = ports
        self._starts: deque[float] = deque()
        self._failures = 0
        self._heard = 0.0
        self._restart: asyncio.Future[Ended] | None = None
        self.state = StreamState.STARTING
        self.last: Ended | None = None

    async def run(self) -> None:
        """Follow the channels until cancelled."""
        while True:
            await self._hold_back_a_storm()
            started = self._ports.monotonic()
            self.state = StreamState.STARTING
            ended = await self._follow_all()
            lived_s = self._ports.monotonic() - started
            self.state, self.last = StreamState.WAITING, ended
            self._ports.count(ended.event)
            await self._ports.reset()
            self._failures = 1 if lived_s >= self._rules.healthy_after_s else self._failures + 1
            await self._ports.sleep(max(self._wait_s(), ended.retry_after_s))

    def restart(self, event: StreamEvent, detail: str) -> None:
        """End the connection from outside: what it brought shows that something is missing."""
        if self._restart is not None and not self._restart.done():
            self._restart.set_result(Ended(event=event, detail=detail))

    def _wait_s(self) -> float:
        """Give the next wait: doubling with each failure, half of it by chance.

        By chance, since otherwise all that a venue cut off come back at the same instant; the
        other half is kept, so that no chance makes it a storm.
        """
        doubled = self._rules.first_wait_s * 2.0 ** min(self._failures - 1, 32)
        wait_s = min(doubled, self._rules.longest_wait_s)
        return wait_s / 2 + self._ports.jitter.uniform(0, wait_s / 2)

    async def _hold_back_a_storm(self) -> None:
        """Start at most so many connections a minute, whatever the reasons."""
        now = self._ports.monotonic()
        while self._starts and self._starts[0] <= now - MINUTE_S:
            self._starts.popleft()
        if len(self._starts) >= self._rules.starts_per_minute:
            self._ports.count(StreamEvent.STORM)
            await self._ports.sleep(self._starts[0] + MINUTE_S - now)
        self._starts.append(self._ports.monotonic())

    async def _follow_all(self) -> Ended:
        """Follow every channel until the first ends."""
        self._restart = asyncio.get_running_loop().create_future()
        self._heard = self._ports.monotonic()
        tasks = [asyncio.create_task(self._follow(channel)) for channel in self._channels]
        if not all(channel.may_be_quiet for channel in self._channels):
            tasks.append(asyncio.create_task(self._listen_for_silence()))
        try:
            done, _ = await asyncio.wait(
                [*tasks, self._restart], return_when=asyncio.FIRST_COMPLETED
            )
            return next(iter(done)).result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen_for_silence(self) -> Ended:
        """Wait until nothing was heard for too long on any channel that is never quiet."""
        patience_s = self._rules.silent_after_s
        while True:
            left_s = self._heard + patience_s - self._ports.monotonic()
            if left_s <= 0:
                return Ended(event=StreamEvent.SILENT, detail=f"nothing for {patience_s:g} s")
            await asyncio.sleep(left_s)

    async def _follow(self, channel: Channel) -> Ended:
        """Follow one channel until it ends."""
        while True:
            try:
                channel.take(await translated(channel.watch()))
            except asyncio.CancelledError:
                if _asked_to_end():
                    raise
                # ccxt cancels who waits on a connection that it closes itself.
                return Ended(event=StreamEvent.CLOSED, detail=f"{channel.name}: closed by ccxt")
            except RelayerError as fault:
                return _ended_by(channel.name, fault, self._rules)
            if not channel.may_be_quiet:
                self._note_heard()

    def _note_heard(self) -> None:
        """Note a message; the first after a start makes the streams live."""
        self._heard = self._ports.monotonic()
        if self.state is StreamState.STARTING:
            self.state = StreamState.LIVE
            self._ports.count(StreamEvent.LIVE)


def _asked_to_end() -> bool:
    """Tell whether it is this task that somebody cancelled, not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _ended_by(name: str, fault: RelayerError, rules: StreamRules) -> Ended:
    """Say what a fault means for the streams."""
    detail = f"{name}: {fault}"
    if isinstance(fault, RateLimited):
        wait_s = rules.longest_wait_s if fault.retry_after_s is None else fault.retry_after_s
        return Ended(event=StreamEvent.RATE_LIMITED, detail=detail, retry_after_s=wait_s)
    if isinstance(fault, BadAnswer):
        return Ended(event=StreamEvent.BAD_MESSAGE, detail=detail)
    if isinstance(fault, Stop | HoldCycle):
        wait_s = rules.longest_wait_s  # asking again at once would be refused again
        return Ended(event=StreamEvent.REFUSED, detail=detail, retry_after_s=wait_s)
    return Ended(event=StreamEvent.CLOSED, detail=detail)
