"""Positions, one turn at a time: follow the chain, find who is at risk, do what anybody may do.

A turn comes after each price tick. It reads the chain at the block that the index stands at, so
that the watch, the keeper and the contract speak of one state; what moved since is refused by the
contract when the call is tried, which costs nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agent.ports import Clock, Delivery, Records
from agent.positions.keeper import Agenda, KeeperSettings, Patience, Task, Work, agenda, left_behind
from agent.positions.reconcile import Difference, confirmed, differences, harmful
from agent.positions.warn_turn import Said, Warner
from agent.positions.watch import Watch, decide, markets_now
from contracts.book import Book
from contracts.book_margin import Health, MarketNow
from contracts.book_readings import Readings
from contracts.book_words import Account, PositionId, account_number, split_position_id
from contracts.units import MarketId, UnixS
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.index import Index, IndexedRequest
from relayer.chain.index_paces import read_graces, read_waits, with_waits
from relayer.chain.index_reader import Advance, IndexReader
from relayer.chain.index_totals import read_published
from relayer.chain.margin_book import readings_of
from relayer.chain.reads import read_chain
from relayer.chain.rpc import BlockStamp
from relayer.chain.values import Deployment, MarginContracts
from relayer.delivery.calls import ContractCall
from relayer.delivery.states import Effective, Outcome, detail_of
from relayer.errors import Misconfigured
from relayer.journal import CycleEntry, HoldEntry

MS = 1_000
NOTHING_TO_DO = Agenda(tasks=(), waiting=())
NOTHING_SAID = Said()


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One call of the keeper and how it ended."""

    task: Task
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one turn saw: the law's readings, every market, whom it screened and whom it found."""

    readings: Readings
    markets: Mapping[MarketId, MarketNow]
    screened: tuple[PositionId, ...]
    weak: Mapping[PositionId, Health]
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How far the index came, what was seen (None: nobody holds anything), what was done."""

    advance: Advance
    look: Look | None = None
    agenda: Agenda = NOTHING_TO_DO
    done: tuple[Done, ...] = ()
    entry: CycleEntry | None = None
    said: Said = NOTHING_SAID


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Where positions are read; `witnesses` are further endpoints, asked when sums differ."""

    endpoint: ChainEndpoint
    deployment: Deployment
    witnesses: tuple[ChainEndpoint, ...] = ()

    @property
    def margin(self) -> MarginContracts:
        """The margin contracts, which are there."""
        if self.deployment.margin is None:
            raise Misconfigured("no margin contracts were deployed")
        return self.deployment.margin


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionPorts:
    """What a turn is done with; `payer` None: it looks, and does nothing."""

    clock: Clock
    delivery: Delivery
    journal: Records
    payer: str | None


class Positions:
    """The index of one deployment, the watch over it, and the keeper."""

    def __init__(
        self,
        chain: Chain,
        reader: IndexReader,
        ports: PositionPorts,
        keeper: KeeperSettings,
        warner: Warner | None = None,
    ) -> None:
        self._chain = chain
        self._reader = reader
        self._ports = ports
        self._keeper = keeper
        self._watch = Watch(reader.index)
        self._patience = Patience()
        self.warner = warner

    @property
    def index(self) -> Index:
        """What the chain's events amount to, as of the last turn."""
        return self._reader.index

    async def turn(self) -> Turn:
        """Follow the chain, look, and do what is to be done; the clock stands still meanwhile."""
        async with self._ports.clock.hold():
            advance = await self._follow()
            if not self._has_anything():
                return Turn(advance=advance)
            began_ms = await self._ports.clock.now_ms()
            look, stamp = await self._look(advance)
            todo = await self._agenda(look, stamp)
            done = await self._do(todo, began_ms)
            entry = entry_of(done, (began_ms, await self._ports.clock.now_ms()))
            if entry is not None:
                await self._ports.journal.record_cycle(entry)
            said = await self._warn(look)
            return Turn(advance=advance, look=look, agenda=todo, done=done, entry=entry, said=said)

    async def reconcile(self) -> tuple[tuple[Difference, ...], tuple[Difference, ...]]:
        """Compare the contracts' totals with the index at its block: what differs, what is certain.

        What differs in the harmful direction is asked of every witness; certain is what two
        endpoints of different names show.
        """
        await self._follow()
        book, margin, block = self.index.book(), self._chain.margin, self.index.block
        reads: list[tuple[str, Sequence[Difference]]] = []
        for endpoint in (self._chain.endpoint, *self._chain.witnesses):
            published = await read_published(endpoint, margin, block, book.markets)
            reads.append((endpoint.name, differences(book, published)))
            if not harmful(reads[0][1]):
                break
        return tuple(reads[0][1]), confirmed(reads)

    async def _follow(self) -> Advance:
        """Bring index and watch to the chain's head."""
        advance = await self._reader.advance(self._chain.endpoint)
        if advance.rebuilt:
            self._watch = Watch(self.index)
        else:
            self._watch.take(advance.changed)
        return advance

    async def _warn(self, look: Look) -> Said:
        """Look at who is near, after what had to be done was done."""
        if self.warner is None:
            return Said()
        now_ms = await self._ports.clock.now_ms()
        return await self.warner.turn(self._watch, look.readings, look.markets, now_ms)

    def _has_anything(self) -> bool:
        return bool(self.index.requests()) or self.index.has_positions()

    async def _look(self, advance: Advance) -> tuple[Look, BlockStamp]:
        """Read the chain where the index stands, and find who is at risk."""
        number, _ = advance.block
        state = await read_chain(self._chain.endpoint, self._chain.deployment, number)
        now_s = max(await self._ports.clock.now_ms() // MS, state.timestamp_s)
        readings = readings_of(state, UnixS(now_s))
        began = time.perf_counter()
        markets = markets_now(Book(markets=self.index.markets()), readings)
        screened = self._watch.candidates(markets)
        weak = decide(self.index.holding(screened), readings, screened)
        took_s = time.perf_counter() - began
        self._watch.tidy(markets)
        look = Look(readings=readings, markets=markets, screened=screened, weak=weak, took_s=took_s)
        stamp = BlockStamp(
            number=state.block_number,
            block_hash=state.block_hash,
            timestamp_s=state.timestamp_s,
            base_fee_wei=0,
        )
        return look, stamp

    async def _agenda(self, look: Look, stamp: BlockStamp) -> Agenda:
        """Say what is to be done now, after the law's own book was asked."""
        if self._ports.payer is None or not self._keeper.enabled:
            return NOTHING_TO_DO
        work = Work(weak=look.weak, requests=self.index.requests(), behind=left_behind(self.index))
        keeper = account_number(self._ports.payer)
        book, readings = self.index.part(_concerned(work) | {keeper}), look.readings
        if look.weak:
            markets = {each.standing.now.market for each in look.weak.values()}
            waits = await read_waits(
                self._chain.endpoint, self._chain.deployment, stamp, sorted(markets)
            )
            book, readings = with_waits(book, readings, waits)
        if lacking := {split_position_id(i)[0] for i, each in look.weak.items() if each.absent}:
            graces = await read_graces(
                self._chain.endpoint, self._chain.deployment, stamp, sorted(lacking)
            )
            book = replace(book, graces=graces)
        return agenda(book, readings, work, keeper, self._keeper)

    async def _do(self, todo: Agenda, now_ms: int) -> tuple[Done, ...]:
        """Send what patience allows, at once; a fault of the chain shows after all have ended."""
        allowed = [task for task in todo.tasks if self._patience.allows(task.key, now_ms)]
        chosen = allowed[: self._keeper.calls_a_turn]
        made = await asyncio.gather(
            *(self._ports.delivery.call(self._call(task, now_ms)) for task in chosen),
            return_exceptions=True,
        )
        done = []
        for task, outcome in zip(chosen, made, strict=True):
            well = isinstance(outcome, Effective)
            self._patience = self._patience.after(task.key, now_ms, succeeded=well)
            if not isinstance(outcome, BaseException):
                done.append(Done(task=task, outcome=outcome))
        faults = [outcome for outcome in made if isinstance(outcome, BaseException)]
        if faults:
            raise faults[0]
        return tuple(done)

    def _call(self, task: Task, now_ms: int) -> ContractCall:
        return ContractCall(
            kind="keeper",
            chain_id=self._chain.deployment.chain_id,
            contract=getattr(self._chain.margin, task.contract),
            payload=task.payload,
            made_at_ms=now_ms,
            valid_until_ms=task.valid_until_ms,
        )


def entry_of(done: Sequence[Done], times_ms: tuple[int, int]) -> CycleEntry | None:
    """Write a turn in which something was sent for the journal; None for a quiet one."""
    if not done:
        return None
    well = [each for each in done if isinstance(each.outcome, Effective)]
    return CycleEntry(
        kind="keeper",
        started_at_ms=times_ms[0],
        finished_at_ms=times_ms[1],
        result="effective" if well else "failed",
        holds=tuple(
            HoldEntry(market=None, reason=each.task.kind.value, detail=_said(each))
            for each in done
            if not isinstance(each.outcome, Effective)
        ),
        detail="; ".join(_said(each) for each in well),
    )


def _said(done: Done) -> str:
    return f"{done.task.key}: {detail_of(done.outcome)}"


def _concerned(work: Work) -> set[Account]:
    """Give the accounts that a turn's work is about."""
    named = {split_position_id(identity)[0] for identity in (*work.weak, *work.behind)}
    return named | {_account_of(each) for each in work.requests}


def _account_of(waiting: IndexedRequest) -> Account:
    return waiting.request.account
