"""In-memory doubles of the ports; each keeps the real one's promise, and can be told to fail."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from agent.snapshot import Feed, Observation
from contracts.units import UnixMs
from models.features import FeatureVector
from models.scorer import MarketFactors, RiskScores
from relayer.delivery.states import Effective, Outcome
from relayer.errors import RelayerError
from relayer.journal import CycleEntry, DecisionEntry
from relayer.market.values import QuoteRound
from relayer.signing.values import NoQuorum, Proposal, Refusal, RefusalReason, SignedMessage
from tests.agent import builders


class FakeClock:
    """A clock that is moved by hand and counts how often it was held."""

    def __init__(self, now_ms: int = builders.NOW_MS) -> None:
        self.now = now_ms
        self.held = 0
        self.closed = False

    async def now_ms(self) -> UnixMs:
        return UnixMs(self.now)

    async def sleep_until(self, at_ms: int) -> None:
        self.now = max(self.now, at_ms)

    def hold(self) -> AbstractAsyncContextManager[None]:
        self.held += 1
        return contextlib.nullcontext()

    async def close(self) -> None:
        self.closed = True


class FakeWorld:
    """One observation, or the fault to raise instead."""

    def __init__(self, observation: Observation) -> None:
        self.observation = observation
        self.fault: RelayerError | None = None

    async def feed(self) -> Feed:
        self._maybe_fail()
        return self.observation.limits.feed

    async def quotes(self) -> QuoteRound:
        self._maybe_fail()
        return self.observation.quotes

    async def observe(self) -> Observation:
        self._maybe_fail()
        return self.observation

    def _maybe_fail(self) -> None:
        if self.fault is not None:
            raise self.fault


class FakeQuorum:
    """Signs everything, or refuses everything for one reason."""

    def __init__(self) -> None:
        self.proposals: list[Proposal] = []
        self.refuse: RefusalReason | None = None

    async def collect(self, proposal: Proposal) -> SignedMessage | NoQuorum:
        self.proposals.append(proposal)
        if self.refuse is not None:
            refusal = Refusal(reason=self.refuse, field="words", detail="told to")
            return NoQuorum(needed=2, given=0, refusals={"risk-1": refusal})
        return SignedMessage(
            message=proposal.message,
            domain=proposal.domain,
            message_hash=proposal.digest,
            signatures=(b"\x01" * 64, b"\x02" * 64),
            signers=("a", "b"),
            refusals={},
        )


class FakeDelivery:
    """Takes everything, with the outcome it was told."""

    def __init__(self) -> None:
        self.delivered: list[SignedMessage] = []
        self.outcome: Outcome | None = None
        self.evidence: FakeEvidence | None = None
        self.fault: RelayerError | None = None

    async def deliver(self, signed: SignedMessage) -> Outcome:
        if self.fault is not None:
            raise self.fault
        if self.evidence is not None:
            assert signed.message.evidence_hash in self.evidence.bundles, "delivered before kept"
        self.delivered.append(signed)
        done = Effective(tx_hash=b"\x09" * 32, block_number=77, gas_used=1, skipped=())
        return self.outcome or done

    async def resume(self) -> tuple[Outcome, ...]:
        return ()


class FakeEvidence:
    """Bundles and blobs in memory."""

    def __init__(self) -> None:
        self.bundles: dict[bytes, bytes] = {}
        self.blobs: dict[bytes, bytes] = {}
        self.fault: RelayerError | None = None

    async def keep(
        self, digest: bytes, bundle: bytes, blobs: Mapping[bytes, bytes | memoryview]
    ) -> None:
        if self.fault is not None:
            raise self.fault
        self.bundles[digest] = bundle
        self.blobs |= {name: bytes(content) for name, content in blobs.items()}


class FakeRecords:
    """The journal in memory."""

    def __init__(self) -> None:
        self.cycles: list[CycleEntry] = []
        self.planned: list[DecisionEntry] = []
        self.settled: list[DecisionEntry] = []

    async def record_cycle(self, entry: CycleEntry) -> int:
        self.cycles.append(entry)
        return len(self.cycles)

    async def record_decision(self, entry: DecisionEntry) -> int:
        self.planned.append(entry)
        return len(self.planned)

    async def settle_decision(self, entry: DecisionEntry) -> None:
        self.settled.append(entry)


class FakeScorer:
    """Gives every market the same scores, with one tail for all."""

    def __init__(self, tail: float = 0.02) -> None:
        self.tail = tail

    def score(
        self,
        vectors: Sequence[FeatureVector],
        factors: Mapping[int, MarketFactors] | None = None,
    ) -> tuple[RiskScores, ...]:
        return tuple(builders.scores(vector.market, tail=self.tail) for vector in vectors)
