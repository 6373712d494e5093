"""The half that decides, asking the half that signs and sends: the ports without any key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from relayer.delivery.calls import ContractCall
from relayer.delivery.states import Effective, Expired, Failed, Outcome, Superseded
from relayer.errors import Misconfigured, NoRelay
from relayer.handover.asks import ENDS, Answer, Ask, AskKind, end_of
from relayer.handover.proposals import Gone, Proposals
from relayer.signing.values import NoQuorum, Proposal, SignedMessage

# What is taken up may be under way as long as a delivery waits for its endpoint, and then some.
TAKEN_UP_S: Final = 90.0


class Clock(Protocol):
    """The one clock in which messages expire."""

    async def now_ms(self) -> int:
        """Milliseconds since 1970."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AskRules:
    """How often an answer is looked for, and how long until nobody seems to be there."""

    poll_s: float = 0.02
    unheard_s: float = 15.0


class HandoverMetrics:
    """What Prometheus hears of what is handed over."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ended = Counter(
            "aml_proposals",
            "Messages and calls handed from the deciding half to the sending one, by their end",
            ("kind", "state"),
            registry=registry,
        )
        self.ended = {(k.value, s): ended.labels(k.value, s) for k in AskKind for s in ENDS}
        self.waiting = Gauge(
            "aml_proposals_waiting_number",
            "Messages and calls handed over that have not ended",
            registry=registry,
        )

    def gone(self, gone: Iterable[Gone]) -> None:
        """Count what ended without having been taken up."""
        for each in gone:
            self.ended[each.kind.value, each.state].inc()

    def answered(self, ask: Ask, answer: Answer) -> None:
        """Count how an ask ended."""
        self.ended[ask.kind.value, end_of(answer)].inc()


class Asking:
    """Signers and delivery, as the deciding half knows them: a row each, and its answer."""

    def __init__(
        self, proposals: Proposals, clock: Clock, metrics: HandoverMetrics, rules: AskRules
    ) -> None:
        self._proposals = proposals
        self._clock = clock
        self._metrics = metrics
        self._rules = rules

    async def post(
        self, wanted: Sequence[Proposal], decided_at_ms: int
    ) -> tuple[Outcome | NoQuorum, ...]:
        """Have messages signed, posted and read back.

        Raises
        ------
        NoRelay
            Nobody has taken them up, or not ended them, in time. What was not taken up is void
            with the next that is proposed; what was is ended without us.
        """
        found = await self._asked([Ask(what=each, decided_at_ms=decided_at_ms) for each in wanted])
        return tuple(each for each in found if not isinstance(each, SignedMessage))

    async def collect(self, proposal: Proposal) -> SignedMessage | NoQuorum:
        """Have a message signed that somebody else takes to the chain."""
        (found,) = await self._asked([await self._now(proposal)])
        if isinstance(found, Effective | Superseded | Expired | Failed):
            raise NoRelay(f"nothing was signed: {found}")
        return found

    async def call(self, call: ContractCall) -> Outcome:
        """Have a call sent and read back."""
        (found,) = await self._asked([await self._now(call)])
        assert not isinstance(found, SignedMessage | NoQuorum), "a call is sent, not signed"
        return found

    async def deliver(self, signed: SignedMessage) -> Outcome:
        """Refuse: what has a round is signed and posted in one go, by the other half."""
        raise Misconfigured(f"round {signed.posted.round} is not posted by this process")

    async def resume(self) -> tuple[Outcome, ...]:
        """End what nobody took up in time; what was taken up, the other half brings to its end."""
        self._metrics.gone(await self._proposals.expire(await self._clock.now_ms()))
        return ()

    async def _now(self, what: Proposal | ContractCall) -> Ask:
        return Ask(what=what, decided_at_ms=await self._clock.now_ms())

    async def _asked(self, asks: Sequence[Ask]) -> list[Answer]:
        rows, gone = await self._proposals.propose(asks, await self._clock.now_ms())
        self._metrics.gone(gone)
        self._metrics.waiting.inc(len(rows))
        try:
            return await self._answers(rows, asks)
        finally:
            self._metrics.waiting.dec(len(rows))

    async def _answers(self, rows: Sequence[int], asks: Sequence[Ask]) -> list[Answer]:
        """Look until every row has ended; the machine's time counts, the clock may stand still."""
        began_s = time.monotonic()
        while True:
            found = await self._proposals.answers(rows, asks)
            ended = [each for each in found if each is not None]
            if len(ended) == len(rows):
                return ended
            waited_s = time.monotonic() - began_s
            if waited_s > self._rules.unheard_s:
                await self._give_up(rows, waited_s)
            await asyncio.sleep(self._rules.poll_s)

    async def _give_up(self, rows: Sequence[int], waited_s: float) -> None:
        if not await self._proposals.any_taken(rows):
            raise NoRelay(f"nobody took up what was proposed {waited_s:.0f} s ago: aml relay")
        if waited_s > TAKEN_UP_S:
            raise NoRelay(f"what was taken up has not ended in {waited_s:.0f} s")
