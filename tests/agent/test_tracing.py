"""Traced hands give what the hands give, each call in a span inside its turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from agent.ports import Hands
from agent.rounds import RoundNumbers
from agent.tracing import traced


class Recorder:
    """A tracer that writes which span stands in which."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.seen: list[tuple[str, ...]] = []

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        self.open.append(name)
        self.seen.append(tuple(self.open))
        try:
            yield
        finally:
            self.open.pop()

    def close(self) -> None:
        pass


class Port:
    """Answers every call with its name."""

    def __getattr__(self, name: str) -> Any:
        async def call(*_: Any) -> str:
            return name

        return call

    @asynccontextmanager
    async def _hold(self) -> AsyncIterator[None]:
        yield

    def hold(self) -> Any:
        return self._hold()


async def test_traced__each_port__answers_as_before_inside_a_span() -> None:
    port, recorder = Port(), Recorder()
    hands = Hands(
        clock=port,
        world=port,
        quorum=port,
        delivery=port,
        evidence=port,
        journal=port,
        rounds=RoundNumbers({}),
    )
    seen = traced(hands, recorder)
    async with seen.clock.hold():
        assert await seen.world.observe() == "observe"
        assert await seen.world.feed() == "feed"
        assert await seen.world.quotes() == "quotes"
        assert await seen.quorum.collect(None) == "collect"
        assert await seen.delivery.deliver(None) == "deliver"
        assert await seen.delivery.call(None) == "call"
        await seen.evidence.keep(b"", b"", {})
    assert await seen.delivery.resume() == "resume"
    assert await seen.clock.now_ms() == "now_ms"
    names = ("observe", "read_feed", "ask_venues", "collect_signatures", "deliver", "call")
    inside = [("turn", name) for name in (*names, "keep_evidence")]
    assert recorder.seen == [("turn",), *inside, ("resume",)]
    assert (seen.journal, seen.rounds) == (hands.journal, hands.rounds)
