"""Positions, one turn at a time: follow the chain, find who is at risk, do what anybody may do.

A turn comes after each price tick. It reads the chain at the block that the index stands at, so
that the watch, the keeper and the contract speak of one state; what moved since is refused by the
contract when the call is tried, which costs nothing. Signed actions go first: they wait for a
price, and cost a trader less than what the formula would do in their place.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agent.positions.action_choice import Scene
from agent.positions.action_turn import Acted, Actor, Decided
from agent.positions.cascade import Foreseen
from agent.positions.keeper import KeeperSettings
from agent.positions.keeper_turn import Keeper, with_liquidators
from agent.positions.look import (
    NOTHING_DECIDED,
    Chain,
    Look,
    PositionPorts,
    Turn,
    entry_of,
)
from agent.positions.reconcile import Difference, confirmed, differences, harmful
from agent.positions.saying import Said
from agent.positions.sums import sums_of
from agent.positions.warn_turn import Warner
from agent.positions.watch import Watch, decide, markets_now
from agent.world import domain_of
from contracts.book import Book
from contracts.book_words import Account, account_number, split_position_id
from contracts.units import UnixS
from relayer.chain.index import Index
from relayer.chain.index_reader import Advance, IndexReader
from relayer.chain.index_totals import read_published
from relayer.chain.margin_book import readings_of
from relayer.chain.reads import read_chain
from relayer.chain.rpc import BlockStamp

MS = 1_000


class Positions:
    """The index of one deployment, the watch over it, and the keeper."""

    def __init__(
        self,
        chain: Chain,
        reader: IndexReader,
        ports: PositionPorts,
        keeper: KeeperSettings,
        warner: Warner | None = None,
        actor: Actor | None = None,
    ) -> None:
        self._chain = chain
        self._reader = reader
        self._ports = ports
        self._watch = Watch(reader.index)
        self._keeper = Keeper(chain, ports, keeper)
        self.warner = warner
        self.actor = actor
        self.looked: Look | None = None  # what the last turn saw, also where it failed later

    @property
    def index(self) -> Index:
        """What the chain's events amount to, as of the last turn."""
        return self._reader.index

    def retune(self, keeper: KeeperSettings) -> None:
        """Let the keeper go by other settings from the next turn on."""
        self._keeper.retune(keeper)

    async def turn(self) -> Turn:
        """Follow the chain, look, and do what is to be done; the clock stands still meanwhile."""
        async with self._ports.clock.hold():
            self.looked = None
            advance = await self._follow()
            if not self._has_anything():
                return Turn(advance=advance)
            began_ms = await self._ports.clock.now_ms()
            look = self.looked = await self._look(advance)
            sent = await self._send(look, began_ms)
            foreseen = await self._keeper.foresee(look, self.index, self._watch, self.actor)
            chosen = self.actor.keeps_from_formula if self.actor is not None else frozenset()
            todo = await self._keeper.agenda(look, self.index, foreseen.cascade, chosen)
            done = await self._keeper.do(todo, began_ms)
            entry = entry_of(done, (began_ms, await self._ports.clock.now_ms()), foreseen.said)
            if entry is not None:
                await self._ports.journal.record_cycle(entry)
            decided = await self._decide(look, foreseen)
            said = await self._warn(look)
            return Turn(
                advance=advance,
                look=look,
                agenda=todo,
                done=done,
                entry=entry,
                said=said,
                sent=sent,
                decided=decided,
                cascade=foreseen.cascade,
            )

    async def reconcile(self) -> tuple[tuple[Difference, ...], tuple[Difference, ...]]:
        """Compare the contracts' totals with the index at its block: what differs, what is certain.

        What differs in the harmful direction is asked of every witness; certain is what two
        endpoints of different names show.
        """
        await self._follow()
        sums, margin, block = await sums_of(self.index), self._chain.margin, self.index.block
        reads: list[tuple[str, Sequence[Difference]]] = []
        for endpoint in (self._chain.endpoint, *self._chain.witnesses):
            published = await read_published(endpoint, margin, block, sums.markets)
            reads.append((endpoint.name, differences(sums, published)))
            if not harmful(reads[0][1]):
                break
        return tuple(reads[0][1]), confirmed(reads)

    async def follow(self) -> Index:
        """Bring the index to the chain's head between turns, for whoever asks."""
        await self._follow()
        return self.index

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

    async def _send(self, look: Look, now_ms: int) -> tuple[Acted, ...]:
        """Send what was signed before, as the law takes it at this price."""
        if self.actor is None or not self.actor.pending:
            return ()
        return await self.actor.send(await self._scene(look, self.actor.waiting_for, now_ms))

    async def _decide(self, look: Look, foreseen: Foreseen) -> Decided:
        """Decide on those that stand on the board of warnings, the most urgent first."""
        if self.actor is None or self.warner is None or not self.actor.looks_at:
            return NOTHING_DECIDED
        urgent = self.warner.urgent(self.actor.looks_at)
        if not urgent:
            return NOTHING_DECIDED
        owners = {split_position_id(identity)[0] for identity in urgent}
        now_ms = await self._ports.clock.now_ms()
        scene = replace(await self._scene(look, owners, now_ms), foreseen=foreseen)
        decided = await self.actor.decide(scene, urgent)
        await self.warner.suggest([(each.key, each.text) for each in decided.said], now_ms)
        return decided

    async def _scene(self, look: Look, accounts: Iterable[Account], now_ms: int) -> Scene:
        """Put some accounts' book together, with what the liquidator waits for."""
        payer = self._ports.payer
        chosen = set(accounts) | ({account_number(payer)} if payer else set())
        book = self.index.part(chosen)
        markets = {split_position_id(identity)[1] for identity in book.positions}
        book, readings = await with_liquidators(book, look, self._chain, markets)
        return Scene(
            book=book,
            readings=readings,
            block=(look.stamp.number, look.stamp.block_hash),
            domain=look.domain,
            now_ms=now_ms,
        )

    def _has_anything(self) -> bool:
        return bool(self.index.requests()) or self.index.has_positions()

    async def _look(self, advance: Advance) -> Look:
        """Read the chain where the index stands, and find who is at risk."""
        state = await read_chain(self._chain.endpoint, self._chain.deployment, advance.block)
        now_s = max(await self._ports.clock.now_ms() // MS, state.timestamp_s)
        readings = readings_of(state, UnixS(now_s))
        began = time.perf_counter()
        markets = markets_now(Book(markets=self.index.markets()), readings)
        screened = self._watch.candidates(markets)
        weak = decide(self.index.holding(screened), readings, screened)
        took_s = time.perf_counter() - began
        self._watch.tidy(markets)
        stamp = BlockStamp(
            number=state.block_number,
            block_hash=state.block_hash,
            timestamp_s=state.timestamp_s,
            base_fee_wei=0,
        )
        oracle = self._chain.deployment.risk_oracle
        return Look(
            stamp=stamp,
            domain=domain_of(state.chain_id, oracle, state.oracle.config),
            readings=readings,
            markets=markets,
            screened=screened,
            weak=weak,
            took_s=took_s,
        )
