"""What the loops ask of the world; the relayer's objects fit, and so do the tests' doubles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from agent.impact import Seen
from agent.rounds import RoundNumbers
from agent.snapshot import Feed, Observation
from contracts.units import MarketId, UnixMs
from relayer.delivery.calls import ContractCall
from relayer.delivery.states import Outcome
from relayer.handover.posting import Handed
from relayer.held import Ended, HeldDecision
from relayer.journal import CycleEntry, DecisionEntry
from relayer.market.values import QuoteRound
from relayer.signing.values import NoQuorum, Proposal, SignedMessage


class Clock(Protocol):
    """The one clock that staleness, expiry and delays count in."""

    async def now_ms(self) -> UnixMs:
        """Give the time in milliseconds since 1970."""
        ...

    async def sleep_until(self, at_ms: int) -> None:
        """Return when the clock shows `at_ms` or later."""
        ...

    def hold(self) -> AbstractAsyncContextManager[None]:
        """Enter a section in which a local clock stands still."""
        ...

    async def close(self) -> None:
        """Let go of what the clock is read through."""
        ...


class World(Protocol):
    """The chain and the venues, as one instant."""

    async def feed(self) -> Feed:
        """Read the price feed at one block."""
        ...

    async def quotes(self) -> QuoteRound:
        """Ask every venue for its quotes."""
        ...

    async def observe(self) -> Observation:
        """Read the chain, bring the history up to now, and take quotes and books."""
        ...


class Attestation(Protocol):
    """The quorum of signers."""

    async def collect(self, proposal: Proposal) -> SignedMessage | NoQuorum:
        """Put a whole message, in its contract's domain, before the signers."""
        ...


class Delivery(Protocol):
    """The only way to the chain."""

    async def deliver(self, signed: SignedMessage) -> Outcome:
        """Post a message and read back whether it took effect."""
        ...

    async def call(self, call: ContractCall) -> Outcome:
        """Send a call that carries no message, and read back whether it took effect."""
        ...

    async def resume(self) -> tuple[Outcome, ...]:
        """Bring to an end what an earlier process or fault left open."""
        ...


class Relay(Protocol):
    """The half that signs and sends, where it is another process."""

    async def post(
        self, wanted: Sequence[Proposal], decided_at_ms: int
    ) -> tuple[Outcome | NoQuorum, ...]:
        """Have messages signed, posted and read back."""
        ...


class Evidence(Protocol):
    """Where the inputs of a decision are kept."""

    async def keep(
        self, digest: bytes, bundle: bytes, blobs: Mapping[bytes, bytes | memoryview]
    ) -> None:
        """Store a packed bundle, and the pieces of closed history that it names."""
        ...


class Records(Protocol):
    """The journal."""

    async def record_cycle(self, entry: CycleEntry) -> int:
        """Append a cycle."""
        ...

    async def record_decision(self, entry: DecisionEntry) -> int:
        """Append a decision before it is delivered."""
        ...

    async def settle_decision(self, entry: DecisionEntry) -> None:
        """Write how far a decision came."""
        ...


class Exposures(Protocol):
    """The books of open positions."""

    async def look(self, markets: Sequence[MarketId]) -> Seen:
        """Give everybody whom a change in these markets may touch, or why they are not known."""
        ...


class HeldRecords(Protocol):
    """What waits for a person's approval."""

    async def waiting(self) -> tuple[HeldDecision, ...]:
        """Return what is awaiting approval or approved."""
        ...

    async def settle(
        self, held: Sequence[HeldDecision], ended: Sequence[Ended], at_ms: int
    ) -> None:
        """Append what is newly held, and end what is over."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """All ports of the loops, as the composition root filled them.

    `exposures` None: no margin engine is deployed. `held` None: nothing can be approved.
    `relay`: who signs and posts, where that is another process; else this one, and `handed` keeps
    what it posted.
    """

    clock: Clock
    world: World
    quorum: Attestation
    delivery: Delivery
    evidence: Evidence
    journal: Records
    rounds: RoundNumbers
    exposures: Exposures | None = None
    held: HeldRecords | None = None
    relay: Relay | None = None
    handed: Handed | None = None
