"""The half that signs and sends: takes up what was proposed, brings it to its end, says how.

Of messages with a round one a contract is under way at a time, in the order of their proposal;
what has none does not wait for them. Whatever a kill leaves taken up is taken up again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from contracts.fields import checksummed
from relayer.chain import margin_calls
from relayer.chain.action_calls import FUNCTIONS
from relayer.chain.values import Deployment
from relayer.delivery.calls import PAUSE, ContractCall
from relayer.delivery.outbox import Outbox
from relayer.delivery.states import Expired, Failed, FailureReason, Outcome
from relayer.errors import HoldCycle, Retry
from relayer.handover.asking import Clock, HandoverMetrics
from relayer.handover.asks import POSTED, SENT, Answer, AskKind
from relayer.handover.posting import Poster, PostPorts, Records, post_signed
from relayer.handover.proposals import TAKEN, Open, Proposals
from relayer.signing.values import NoQuorum, Proposal, SignedMessage

POLL_S: Final = 0.02  # wall seconds between two looks at what is proposed
PAUSE_S: Final = 1.0  # after a fault, before what it left open is taken up again
LONGEST_PAUSE_S: Final = 3_600  # of new risk, by the guardian's key on another process's word
NEW_RISK: Final = 1  # the contract's scope of that pause
TOO_LATE: Final = "its time ran out before it was signed"


class Signers(Protocol):
    """The quorum."""

    async def collect(self, proposal: Proposal) -> SignedMessage | NoQuorum:
        """Put a whole message before the signers."""
        ...


class Delivery(Poster, Protocol):
    """The only way to the chain."""

    async def call(self, call: ContractCall) -> Outcome:
        """Send a call, and read back whether it took effect."""
        ...

    async def resume(self) -> tuple[Outcome, ...]:
        """Bring to an end what an earlier process or fault left open."""
        ...


class Caller(Protocol):
    """Who can send a call with the guardian's key."""

    async def call(self, call: ContractCall) -> Outcome:
        """Send a call, and read back whether it took effect."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkPorts:
    """What the work is done with; `guardian` None: its key is not here."""

    proposals: Proposals
    signers: Signers
    delivery: Delivery
    journal: Records
    outbox: Outbox
    clock: Clock
    deployment: Deployment
    metrics: HandoverMetrics
    guardian: Caller | None = None


class Working:
    """Looks for proposals until told to stop; what is under way then is finished first."""

    def __init__(self, ports: WorkPorts, looked: Callable[[], None] = lambda: None) -> None:
        self._ports = ports
        self._looked = looked
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._lanes: dict[str, asyncio.Lock] = {}
        self._log = structlog.get_logger("aml")
        self._stopping = asyncio.Event()
        self.ended = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Take up what is proposed; a fault that passes costs a pause, any other ends this."""
        self._stopping = stopping
        while not stopping.is_set():
            try:
                await self.look()
            except (Retry, HoldCycle) as fault:
                self._say(fault)
                await asyncio.sleep(PAUSE_S)
            self._looked()
            await asyncio.sleep(POLL_S)
        await asyncio.gather(*self._under_way.values())

    async def look(self) -> None:
        """Take up what is new; raise what ended an earlier one, if that is no passing fault."""
        for row, task in tuple(self._under_way.items()):
            if task.done():
                del self._under_way[row]
                task.result()
        now_ms = await self._ports.clock.now_ms()
        found, gone = await self._ports.proposals.waiting(now_ms)
        self._ports.metrics.gone(gone)
        self._ports.metrics.waiting.set(len(found))
        for each in found:
            if each.id not in self._under_way:
                self._under_way[each.id] = asyncio.create_task(self._work(each))

    async def _work(self, row: Open) -> None:
        own = asyncio.Lock()
        contract = str(row.ask.place["contract"])
        lane = self._lanes.setdefault(contract, own) if row.ask.kind in POSTED else own
        # Its lane first, then the row: what waits here can still be withdrawn for a newer one.
        async with lane:
            try:
                if not self._stopping.is_set() and await self._ports.proposals.take(row):
                    await self._end(row, await self._answer(row))
            except (Retry, HoldCycle) as fault:
                self._say(fault)
                await self._recover()
                await asyncio.sleep(PAUSE_S)

    async def _answer(self, row: Open) -> Answer:
        """Do what is asked for; what was begun before is gone on with, not begun anew."""
        if row.state == TAKEN and (found := await self._begun(row)) is not None:
            return found
        if row.ask.valid_until_ms < await self._ports.clock.now_ms():
            return Expired(detail=TOO_LATE)
        if isinstance(row.ask.what, ContractCall):
            return await self._call(row.ask.kind, row.ask.what)
        answer = await self._ports.signers.collect(row.ask.what)
        if row.ask.kind not in POSTED:
            return answer
        ports = PostPorts(
            delivery=self._ports.delivery, journal=self._ports.journal, again=row.state == TAKEN
        )
        return await post_signed(row.ask, answer, ports)

    async def _begun(self, row: Open) -> Answer | None:
        """Give how the delivery of an earlier process or turn ended, after bringing it there."""
        if row.ask.kind not in POSTED | SENT:
            return None
        place = row.ask.place
        at = (place["chain_id"], place["contract"], place["message_hash"])
        delivery = await self._ports.outbox.find(*at)
        if delivery is not None and delivery.outcome is None:
            await self._ports.delivery.resume()
            delivery = await self._ports.outbox.find(*at)
        return None if delivery is None else delivery.outcome

    async def _call(self, kind: AskKind, call: ContractCall) -> Outcome:
        if refused := why_not(call, self._ports.deployment):
            self._log.error("call_refused", kind=kind.value, detail=refused)
            return Failed(reason=FailureReason.NOT_SENT_HERE, detail=refused)
        if kind is not AskKind.GUARDIAN:
            return await self._ports.delivery.call(call)
        if self._ports.guardian is None:
            detail = "the relay has no guardian key: pause new risk by hand (aml halt)"
            return Failed(reason=FailureReason.NOT_SENT_HERE, detail=detail)
        return await self._ports.guardian.call(call)

    async def _end(self, row: Open, answer: Answer) -> None:
        await self._ports.proposals.end(row, answer, await self._ports.clock.now_ms())
        self._ports.metrics.answered(row.ask, answer)
        self.ended += 1

    async def _recover(self) -> None:
        try:
            await self._ports.delivery.resume()
        except (Retry, HoldCycle) as fault:
            self._say(fault)

    def _say(self, fault: Exception) -> None:
        self._log.warning("relay_held", detail=f"{type(fault).__name__}: {fault}")


def why_not(call: ContractCall, deployment: Deployment) -> str:
    """Say why a call is not sent on another process's word; empty where it may be.

    Only what the deciding half does by itself: anybody's calls of the margin contracts, signed
    actions, and a pause of new risk. The gas payer's account is for nothing else.
    """
    margin = deployment.margin
    selector, contract = call.payload[:4], checksummed(call.contract)
    if call.chain_id != deployment.chain_id:
        return f"it is for chain {call.chain_id}, not {deployment.chain_id}"
    if call.kind == "guardian":
        words = [int.from_bytes(call.payload[at : at + 32], "big") for at in (4, 36)]
        short = len(call.payload) == 68 and 0 < words[1] <= LONGEST_PAUSE_S
        pauses = selector == PAUSE.selector and words[0] == NEW_RISK and short
        known = pauses and contract == checksummed(deployment.risk_oracle)
        return "" if known else "the guardian's key only pauses new risk here, for an hour at most"
    places = () if margin is None else (margin.desk, margin.engine, margin.liquidator)
    if contract not in {checksummed(each) for each in places}:
        return f"{contract} is no margin contract of the deployment"
    return "" if selector in _ANYBODYS else f"0x{selector.hex()} is no call of the keeper"


_ANYBODYS: Final = frozenset(
    {
        *(each.selector for each in FUNCTIONS.values()),
        *(margin_calls.EXECUTE.selector, margin_calls.CANCEL.selector),
        *(margin_calls.LIQUIDATE.selector, margin_calls.CATCH_UP.selector),
        *(margin_calls.SETTLE.selector, margin_calls.DELEVERAGE_SIDE.selector),
    }
)
