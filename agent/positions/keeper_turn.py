"""The keeper's part of a turn: foresee what liquidating sets off, say what may be done, send it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from agent.positions.action_turn import Actor
from agent.positions.cascade import (
    MOST_POSITIONS,
    NOTHING_FORESEEN,
    SLOWEST,
    Cascade,
    Foreseen,
    choose,
    encode_cascade,
)
from agent.positions.keeper import (
    DEFAULT_PLAN,
    UPKEEP_A_TURN,
    Agenda,
    KeeperSettings,
    Patience,
    Task,
    Work,
    agenda,
)
from agent.positions.look import NOTHING_TO_DO, Chain, Done, Look, PositionPorts
from agent.positions.watch import Watch
from contracts.book import Book
from contracts.book_readings import Readings
from contracts.book_words import Account, account_number, split_position_id
from contracts.units import MarketId
from relayer.chain.index import Index
from relayer.chain.index_paces import read_graces, read_waits, with_waits
from relayer.delivery.calls import ContractCall
from relayer.delivery.states import Effective
from relayer.evidence import pack

NEAR = 0.03  # log of price: so far a cascade may plausibly reach within minutes


class Keeper:
    """Does what anybody may do, at its pace; what failed it leaves alone for a while."""

    def __init__(self, chain: Chain, ports: PositionPorts, settings: KeeperSettings) -> None:
        self._chain = chain
        self._ports = ports
        self._settings = settings
        self._patience = Patience()

    def retune(self, settings: KeeperSettings) -> None:
        """Go by other settings from the next turn on."""
        self._settings = settings

    async def foresee(
        self, look: Look, index: Index, watch: Watch, actor: Actor | None
    ) -> Foreseen:
        """Simulate what liquidating would set off; keep it as evidence.

        Where several are weak, or where signers may be asked whom to liquidate.
        """
        weak = {split_position_id(identity)[0] for identity in look.weak}
        payer, signs = self._ports.payer, actor is not None and actor.may_liquidate
        simulates = signs or self._settings.enabled
        if len(weak) < (1 if signs else 2) or payer is None:
            return NOTHING_FORESEEN
        if not (simulates and self._settings.simulate):
            return Foreseen(said="cascade not simulated: keeper.simulate is off")
        near = watch.near(look.markets, dict.fromkeys(look.markets, NEAR))
        owners = weak | {split_position_id(identity)[0] for identity in near}
        if len(near) > MOST_POSITIONS or len(owners) > MOST_POSITIONS:
            found = Cascade(plan=SLOWEST, why=f"{len(near)} positions are near: too many")
            return Foreseen(cascade=found, said=f"cascade not simulated: {found.why}")
        depths = {m: each.depth_usdc for m, each in actor.ahead.markets.items()} if actor else {}
        return await self._simulated(look, index.part(owners), depths, account_number(payer))

    async def _simulated(
        self, look: Look, book: Book, depths_usdc: Mapping[MarketId, float], payer: Account
    ) -> Foreseen:
        markets = {split_position_id(identity)[1] for identity in book.positions}
        book, readings = await with_liquidators(book, look, self._chain, markets)
        depths = {market: depths_usdc[market] for market in markets if market in depths_usdc}
        caller = (payer, self._settings.calls_a_turn)
        found = choose(book, readings, depths, *caller)
        if self._ports.evidence is None:
            return Foreseen(cascade=found, said=f"cascade: {found.why}")
        digest, bundle = pack(encode_cascade(found, book, readings, depths, caller))
        await self._ports.evidence.keep(digest, bundle, {})
        said = f"cascade: {found.why}; evidence {digest.hex()}"
        return Foreseen(cascade=found, said=said, evidence_hash=digest)

    async def agenda(
        self, look: Look, index: Index, cascade: Cascade | None, chosen: Collection[Account]
    ) -> Agenda:
        """Say what is to be done now, after the law's own book was asked.

        Not with accounts of which signers have chosen what to liquidate.
        """
        if self._ports.payer is None or not self._settings.enabled:
            return NOTHING_TO_DO
        weak = {i: each for i, each in look.weak.items() if split_position_id(i)[0] not in chosen}
        behind = index.behind()[:UPKEEP_A_TURN]
        work = Work(weak=weak, requests=index.requests(), behind=behind)
        keeper = account_number(self._ports.payer)
        book, readings = index.part(_concerned(work) | {keeper}), look.readings
        if weak:
            markets = {each.standing.now.market for each in weak.values()}
            book, readings = await with_liquidators(book, look, self._chain, markets)
        if lacking := {split_position_id(i)[0] for i, each in weak.items() if each.absent}:
            endpoint, deployment = self._chain.endpoint, self._chain.deployment
            graces = await read_graces(endpoint, deployment, look.stamp, sorted(lacking))
            book = replace(book, graces=graces)
        plan = cascade.plan if cascade is not None else DEFAULT_PLAN
        return agenda(book, readings, work, keeper, self._settings, plan)

    async def do(self, todo: Agenda, now_ms: int) -> tuple[Done, ...]:
        """Send what patience allows, at once; a fault of the chain shows after all have ended."""
        allowed = [task for task in todo.tasks if self._patience.allows(task.key, now_ms)]
        chosen = allowed[: self._settings.calls_a_turn]
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


async def with_liquidators(
    book: Book, look: Look, chain: Chain, markets: Iterable[MarketId]
) -> tuple[Book, Readings]:
    """Put the liquidator's windows, notes and gaps of some markets into a book."""
    waits = await read_waits(chain.endpoint, chain.deployment, look.stamp, sorted(markets))
    return with_waits(book, look.readings, waits)


def _concerned(work: Work) -> set[Account]:
    """Give the accounts that a turn's work is about."""
    named = {split_position_id(identity)[0] for identity in (*work.weak, *work.behind)}
    return named | {each.request.account for each in work.requests}
