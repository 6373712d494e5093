"""Facts about the keeper: what it would send the real contracts take, and nobody is hammered."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.positions.keeper import (
    FIRST_WAIT_MS,
    LONGEST_WAIT_MS,
    VALID_MS,
    Agenda,
    KeeperSettings,
    Patience,
    TaskKind,
    Work,
    agenda,
    worst_first,
)
from agent.positions.look import entry_of
from agent.positions.watch import Watch, decide, markets_now
from contracts.book import Book
from contracts.book_words import PositionId, account_number
from contracts.margin import LONG
from contracts.refusals import Refusal, decode_refusal
from contracts.units import MarketId
from relayer.chain.index import Index
from relayer.delivery.calls import deleverage_side, execute_request, liquidate
from tests.contracts.chain import FAST
from tests.contracts.lockstep_stage import ALICE, BOB
from tests.contracts.lockstep_stage import Stage as CutStage
from tests.contracts.margin_world import KEEPER
from tests.relayer.chain.index_walks import History, told

pytestmark = pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")
CALLER = account_number(KEEPER)
E18 = 10**18
EVERYTHING = KeeperSettings()
UPKEEP = {TaskKind.CATCH_UP, TaskKind.SETTLE, TaskKind.CANCEL, TaskKind.DELEVERAGE_SIDE}


class Scene:
    """A walk's contracts as the daemon sees them after its last block."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.index = Index(told(history.blocks))
        walk = history.walk
        self.readings = walk.seen
        self.whole: Book = replace(walk.book)
        watch = Watch(self.index)
        screened = watch.candidates(markets_now(self.whole, self.readings))
        self.work = Work(
            weak=decide(self.index.book(), self.readings, screened),
            requests=self.index.requests(),
            behind=self.index.behind(),
        )

    def agenda(self, settings: KeeperSettings = EVERYTHING) -> Agenda:
        owners = {each.request.account for each in self.work.requests}
        owners |= {account_number(hex(i >> 24)) for i in (*self.work.weak, *self.work.behind)}
        part = replace(
            self.index.part(owners | {CALLER}), paces=self.whole.paces, graces=self.whole.graces
        )
        return agenda(part, self.readings, self.work, CALLER, settings)

    def answer(self, contract: str, payload: bytes) -> Refusal | None:
        """Ask the real contract what it says to a call, and take the call back."""
        world, vm = self.history.walk.world, self.history.evm._evm
        checkpoint = vm.snapshot()
        try:
            vm.message_call(KEEPER, getattr(world, contract).address, calldata=payload)
        except RuntimeError as error:
            found = re.search(r"output: 0x([0-9a-f]*)", str(error))
            refusal = decode_refusal(bytes.fromhex(found[1])) if found else None
            if refusal is None:
                raise
            return refusal
        finally:
            vm.revert(checkpoint)
        return None


def scenes(seed: int) -> Iterator[Scene]:
    """Look at a walk again and again."""
    history = History(seed)
    for _ in range(20):
        history.step(25)
        yield Scene(history)


def test_agenda__all_along_walks__the_contracts_take_what_is_sent() -> None:
    sent: Counter[TaskKind] = Counter()
    for seed in (31, 32, 33):
        for scene in scenes(seed):
            first = {each.kind: each for each in reversed(scene.agenda().tasks)}
            for task in first.values():
                assert scene.answer(task.contract, task.payload) is None
                sent[task.kind] += 1
    assert {TaskKind.LIQUIDATE, TaskKind.EXECUTE, TaskKind.CANCEL} <= set(sent), sent


def test_agenda__a_side_was_cut__its_positions_are_caught_up() -> None:
    stage = CutStage()
    identities = [stage.opened(stage.terms(each, 2, LONG), 20_000) for each in (ALICE, BOB)]
    stage.move(2, 130_000 * E18)
    before = agenda(
        stage.book, stage.seen, Work(weak={}, requests=(), behind=()), CALLER, EVERYTHING
    )
    assert [each.kind for each in before.tasks] == [TaskKind.DELEVERAGE_SIDE]
    assert before.tasks[0].payload == deleverage_side(MarketId(2), long=True)
    assert stage.deleverage_side(MarketId(2), LONG) is None
    market = stage.book.market(MarketId(2))
    if not market.long.number:  # a first round: the price is far from its average
        stage.later(4)
        assert stage.deleverage_side(MarketId(2), LONG) is None
    work = Work(weak={}, requests=(), behind=tuple(identities))
    todo = agenda(stage.book, stage.seen, work, CALLER, EVERYTHING)
    assert [each.kind for each in todo.tasks] == [TaskKind.CATCH_UP] * 2
    for task in todo.tasks:
        stage.world.evm.send(KEEPER, stage.world.engine.address, task.payload)


def test_agenda__what_waits__the_contracts_refuse_by_the_same_guard() -> None:
    asked: Counter[Refusal] = Counter()
    for seed in (41, 42):
        for scene in scenes(seed):
            for each in scene.agenda().waiting:
                identity = each.key.split()[1]
                if each.kind is TaskKind.LIQUIDATE:
                    payload = liquidate(PositionId(int(identity, 16)))
                    assert scene.answer("liquidator", payload) is each.refusal
                elif each.kind is TaskKind.EXECUTE:
                    found = [r for r in scene.work.requests if r.request_id.hex() == identity]
                    payload = execute_request(found[0].fields)
                    assert scene.answer("desk", payload) is each.refusal
                asked[each.refusal] += 1
    assert len(asked) > 1, asked


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        (KeeperSettings(orders=False, upkeep=False), {TaskKind.LIQUIDATE}),
        (KeeperSettings(liquidations=False, upkeep=False), {TaskKind.EXECUTE}),
        (KeeperSettings(liquidations=False, orders=False), UPKEEP),
    ],
)
def test_agenda__a_part_turned_off__is_left_out(
    settings: KeeperSettings, kinds: set[TaskKind]
) -> None:
    history = History(35)
    for _ in range(20):
        history.step(10)
        todo = Scene(history).agenda(settings)
        assert {each.kind for each in (*todo.tasks, *todo.waiting)} <= kinds


def test_worst_first__beyond_two_thirds__comes_before_a_smaller_lack() -> None:
    history = History(36)
    for _ in range(40):
        history.step(5)
        order = [each for _, each in worst_first(Scene(history).work.weak)]
        lost = [3 * each.equity < 2 * each.maintenance for each in order]
        assert lost == sorted(lost, reverse=True)


def test_patience__failures__wait_longer_each_time_up_to_a_bound() -> None:
    patience, now_ms, waits = Patience(), 0, []
    for _ in range(10):
        assert patience.allows("a", now_ms)
        patience = patience.after("a", now_ms, succeeded=False)
        assert not patience.allows("a", now_ms)
        assert patience.allows("b", now_ms)
        waits.append(patience.until_ms["a"][0] - now_ms)
        now_ms += waits[-1]
    assert waits[:3] == [FIRST_WAIT_MS, 2 * FIRST_WAIT_MS, 4 * FIRST_WAIT_MS]
    assert waits[-1] == LONGEST_WAIT_MS
    assert patience.after("a", now_ms, succeeded=True).allows("a", now_ms)


def test_patience__long_over__is_forgotten() -> None:
    patience = Patience().after("a", 0, succeeded=False)
    later = patience.after("b", FIRST_WAIT_MS + VALID_MS + 1, succeeded=False)
    assert set(later.until_ms) == {"b"}


def test_entry__nothing_sent__is_none() -> None:
    assert entry_of((), (1, 2)) is None
