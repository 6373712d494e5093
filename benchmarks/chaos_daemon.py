"""The daemon's way from a decision to the chain, in a process that kills itself at its steps."""
# ruff: noqa: ANN401 -- JSON, and what the node's calls take

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from agent.delivering import JournalledDelivery
from contracts.messages import Domain, PriceRound, RiskUpdate
from contracts.packing import pack_price_words
from contracts.units import UnixMs
from relayer.chain.endpoints import ChainEndpoint, SendCapability
from relayer.chain.values import Deployment
from relayer.delivery.confirm import ContractReadBack
from relayer.delivery.fees import FeeRules
from relayer.delivery.outbox import Outbox
from relayer.delivery.ports import DeliveryRules, LoopTimer, Ports
from relayer.delivery.settlement import settled
from relayer.delivery.transactor import Transactor
from relayer.errors import RelayerError
from relayer.journal import DecisionEntry, Journal
from relayer.signing.values import Proposal
from relayer.storage import Database, decisions
from tests.relayer import builders as b
from tests.relayer.anvil import rich_key

RULES = DeliveryRules(
    fees=FeeRules(),
    poll_s=0.02,
    resend_after_s=0.15,
    replace_after_s=0.5,
    give_up_after_s=5.0,
    receipt_may_lag_polls=25,
)
MARKETS = 5
SAY_AFTER_S = 10.0
STEPS = (
    "plan",
    "attach",
    "mark",
    "close",
    "send",
    "record_decision",
    "settle_decision",
    "reopen",
    "unsettle_decision",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one life of the daemon works on."""

    database_url: str
    rpc_url: str
    clock_ahead_ms: int
    deployment: Deployment
    digests: tuple[bytes, bytes]  # the configurations of feed and oracle
    seed: int
    decisions: int  # in the journal, over all lives, after which it ends
    death: float  # how likely each step kills the process, before and after


class Mortal:
    """An object whose chosen methods may end the process, before they begin or after they ended."""

    def __init__(self, wrapped: Any, dice: random.Random, death: float) -> None:
        self._wrapped, self._dice, self._death = wrapped, dice, death

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        return self._deadly(found) if name in STEPS else found

    def _deadly(self, step: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def run(*arguments: Any) -> Any:
            self._perhaps_die()
            result = await step(*arguments)
            self._perhaps_die()
            return result

        return run

    def _perhaps_die(self) -> None:
        if self._dice.random() < self._death:
            os.kill(os.getpid(), signal.SIGKILL)


class NodeClock:
    """The chain's time: the machine's, moved to where the chain began."""

    def __init__(self, ahead_ms: int) -> None:
        self._ahead_ms = ahead_ms

    async def now_ms(self) -> int:
        """Milliseconds since 1970, as the chain counts them."""
        return time.time_ns() // 1_000_000 + self._ahead_ms


@dataclass
class Life:
    """One process."""

    job: Job
    journal: Any
    delivery: JournalledDelivery
    clock: NodeClock
    dice: random.Random
    database: Database

    async def run(self) -> None:
        """Recover, then decide until there are enough decisions."""
        await self.recover()
        while await self.made() < self.job.decisions:
            results = await asyncio.gather(
                self.decide("price"), self.decide("risk"), return_exceptions=True
            )
            for fault in (each for each in results if isinstance(each, BaseException)):
                if not isinstance(fault, RelayerError):
                    raise fault
                await self.recover()
        await self.recover()

    async def recover(self) -> None:
        """Resume until nothing is open, as the loops do after each fault."""
        said_s = time.monotonic()
        while True:
            try:
                await self.delivery.resume()
            except RelayerError as fault:
                if time.monotonic() - said_s > SAY_AFTER_S:
                    said_s = time.monotonic()
                    print(
                        f"recovering: {type(fault).__name__} {fault}", file=sys.stderr, flush=True
                    )
            else:
                return
            await asyncio.sleep(0.05)

    async def made(self) -> int:
        """Count the decisions of all lives."""
        while True:
            with suppress(RelayerError):
                count: int = await self.journal.count()
                return count
            await asyncio.sleep(0.05)

    async def decide(self, kind: str) -> None:
        """Make one decision and deliver it, as `agent.posting` does."""
        if kind == "risk" and self.dice.random() < 0.7:
            return
        price = kind == "price"
        contract = self.job.deployment.price_feed if price else self.job.deployment.risk_oracle
        round_ = await self.journal.highest_round(b.CHAIN_ID, contract) + 1
        now = UnixMs(await self.clock.now_ms())
        digest = self.job.digests[0 if price else 1]
        message = prices(round_, now, self.dice) if price else risk(round_, now)
        domain = Domain(chain_id=b.CHAIN_ID, contract=contract, config_digest=digest)
        keys = b.PRICE_KEYS if price else b.RISK_KEYS
        proposal = Proposal(message=message, domain=domain)
        signed = b.sign_with(proposal, keys[:2])
        entry = DecisionEntry(
            kind="price" if price else "risk",
            chain_id=b.CHAIN_ID,
            contract=contract,
            round=round_,
            decided_at_ms=now,
            message_hash=proposal.digest,
            evidence_hash=message.evidence_hash,
        )
        await self.journal.record_decision(entry)
        outcome = await self.delivery.deliver(signed)
        await self.journal.settle_decision(settled(entry, outcome))


class Decisions(Journal):
    """The journal, which also says how many decisions there are."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._all = database

    async def count(self) -> int:
        """Count the decisions that were ever made."""
        query = sa.select(sa.func.count()).select_from(decisions)
        return int(await self._all.read(lambda c: c.scalar(query)) or 0)


def prices(round_: int, now: UnixMs, dice: random.Random) -> PriceRound:
    """A round of all markets; some are valid for so short a time that they may not make it."""
    quotes = [replace(b.quote(m), observed_at_ms=now) for m in range(MARKETS)]
    valid_ms = 2_000 if dice.random() < 0.05 else 60_000
    return replace(
        b.price_round(1, round_),
        observed_at_ms=now,
        valid_until_ms=UnixMs(now + valid_ms),
        words=pack_price_words(quotes, now),
    )


def risk(round_: int, now: UnixMs) -> RiskUpdate:
    """An update that renews all markets."""
    return replace(
        b.risk_update(MARKETS, round_),
        observed_at_ms=now,
        valid_until_ms=UnixMs(now + 600_000),
    )


def live(job: Job) -> None:
    """Run one life to its end, which may be sudden."""
    asyncio.run(_live(job))


async def _live(job: Job) -> None:
    dice = random.Random(job.seed)
    database = Database.open(job.database_url)
    endpoint = await _open(job)
    endpoint.sends_by = dice.choice((SendCapability.POLL, SendCapability.SYNC))
    clock = NodeClock(job.clock_ahead_ms)
    outbox = Mortal(Outbox(database), dice, job.death)
    ports = Ports(
        chain=Mortal(endpoint, dice, job.death),
        read_back=ContractReadBack(endpoint),
        outbox=outbox,
        clock=clock,
        timer=LoopTimer(),
        metrics=b.metrics(),
    )
    journal = Mortal(Decisions(database), dice, job.death)
    delivery = JournalledDelivery(Transactor(rich_key(), ports, RULES), journal, outbox)
    life = Life(job, journal, delivery, clock, dice, database)
    await life.run()
    await endpoint.close()
    await database.close()


async def _open(job: Job) -> ChainEndpoint:
    while True:
        with suppress(RelayerError):
            return await ChainEndpoint.open(job.rpc_url, chain_id=b.CHAIN_ID, timeout_s=3.0)
        await asyncio.sleep(0.05)
