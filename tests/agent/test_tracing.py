"""Traced hands give what the hands give, each call in a span inside its turn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from structlog.contextvars import get_contextvars

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

    def trace_id(self) -> str:
        return f"trace {self.seen.count(('turn',))}"

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


async def test_traced__turn__what_is_logged_after_it_carries_its_trace() -> None:
    port = Port()
    hands = Hands(
        clock=port,
        world=port,
        quorum=port,
        delivery=port,
        evidence=port,
        journal=port,
        rounds=RoundNumbers({}),
    )
    seen = traced(hands, Recorder())
    for number in (1, 2):
        async with seen.clock.hold():
            assert get_contextvars() == {"trace_id": f"trace {number}"}
        assert get_contextvars() == {"trace_id": f"trace {number}"}


def test_without_the_extra__nothing_of_it_is_imported_and_the_setting_says_what_is_missing() -> (
    None
):
    code = """
import sys
from contextlib import AsyncExitStack
EXTRA = ("opentelemetry.sdk", "opentelemetry.exporter")  # the API comes with the web framework
sys.modules.update(dict.fromkeys(EXTRA))  # as where the extra is not installed
import agent.app
from agent.tracing import with_spans
from relayer.errors import Misconfigured
from relayer.tracing import OtlpTracer
assert with_spans("hands", None, AsyncExitStack()) == "hands"
assert [n for n, there in sys.modules.items() if n.startswith(EXTRA) and there] == []
try:
    OtlpTracer("http://127.0.0.1:4318/v1/traces", "0")
except Misconfigured as fault:
    assert "autonomous-margin-layer[tracing]" in str(fault)
else:
    raise AssertionError("a tracer without the library")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
