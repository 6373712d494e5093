"""Hands whose every call is a span: where a turn's time goes, without a word of it in the turn.

The root span is the section in which the clock is held, which is the whole turn; what lies in it
between two calls of ports is judgement. What is logged from its beginning until the next turn of
the same loop carries its trace's id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from importlib.metadata import version

from structlog.contextvars import bind_contextvars

from agent.config import TracingSettings
from agent.ports import Attestation, Clock, Delivery, Evidence, Hands, World
from agent.snapshot import Feed, Observation
from contracts.units import UnixMs
from relayer.delivery.calls import ContractCall
from relayer.delivery.states import Outcome
from relayer.market.values import QuoteRound
from relayer.signing.values import NoQuorum, Proposal, SignedMessage
from relayer.tracing import OtlpTracer, Tracer


def with_spans(hands: Hands, settings: TracingSettings | None, stack: AsyncExitStack) -> Hands:
    """Give the same hands, observed where a collector is named; what is left is sent at the end."""
    if settings is None:
        return hands
    tracer = OtlpTracer(settings.otlp_url, version("autonomous-margin-layer"))
    stack.callback(tracer.close)
    return traced(hands, tracer)


def traced(hands: Hands, tracer: Tracer) -> Hands:
    """Give the same hands, observed."""
    return replace(
        hands,
        clock=TracedClock(hands.clock, tracer),
        world=TracedWorld(hands.world, tracer),
        quorum=TracedQuorum(hands.quorum, tracer),
        delivery=TracedDelivery(hands.delivery, tracer),
        evidence=TracedEvidence(hands.evidence, tracer),
    )


class TracedClock:
    """A clock whose held section is a span of its own: a turn."""

    def __init__(self, clock: Clock, tracer: Tracer) -> None:
        self._clock = clock
        self._tracer = tracer

    async def now_ms(self) -> UnixMs:
        """Give the time."""
        return await self._clock.now_ms()

    async def sleep_until(self, at_ms: int) -> None:
        """Sleep."""
        await self._clock.sleep_until(at_ms)

    def hold(self) -> AbstractAsyncContextManager[None]:
        """Hold the clock, in a span."""
        return self._held()

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[None]:
        with self._tracer.span("turn"):
            bind_contextvars(trace_id=self._tracer.trace_id())
            async with self._clock.hold():
                yield

    async def close(self) -> None:
        """Let go."""
        await self._clock.close()


class TracedWorld:
    """What is read, each reading a span."""

    def __init__(self, world: World, tracer: Tracer) -> None:
        self._world = world
        self._tracer = tracer

    async def feed(self) -> Feed:
        """Read the price feed."""
        with self._tracer.span("read_feed"):
            return await self._world.feed()

    async def quotes(self) -> QuoteRound:
        """Ask the venues."""
        with self._tracer.span("ask_venues"):
            return await self._world.quotes()

    async def observe(self) -> Observation:
        """Read everything."""
        with self._tracer.span("observe"):
            return await self._world.observe()


class TracedQuorum:
    """Signatures, each collection a span."""

    def __init__(self, quorum: Attestation, tracer: Tracer) -> None:
        self._quorum = quorum
        self._tracer = tracer

    async def collect(self, proposal: Proposal) -> SignedMessage | NoQuorum:
        """Collect signatures."""
        with self._tracer.span("collect_signatures"):
            return await self._quorum.collect(proposal)


class TracedDelivery:
    """Deliveries, each a span until it is read back."""

    def __init__(self, delivery: Delivery, tracer: Tracer) -> None:
        self._delivery = delivery
        self._tracer = tracer

    async def deliver(self, signed: SignedMessage) -> Outcome:
        """Deliver and read back."""
        with self._tracer.span("deliver"):
            return await self._delivery.deliver(signed)

    async def call(self, call: ContractCall) -> Outcome:
        """Send a call."""
        with self._tracer.span("call"):
            return await self._delivery.call(call)

    async def resume(self) -> tuple[Outcome, ...]:
        """Bring to an end what is open."""
        with self._tracer.span("resume"):
            return await self._delivery.resume()


class TracedEvidence:
    """Evidence, each bundle a span."""

    def __init__(self, evidence: Evidence, tracer: Tracer) -> None:
        self._evidence = evidence
        self._tracer = tracer

    async def keep(
        self, digest: bytes, bundle: bytes, blobs: Mapping[bytes, bytes | memoryview]
    ) -> None:
        """Store a bundle."""
        with self._tracer.span("keep_evidence"):
            await self._evidence.keep(digest, bundle, blobs)
