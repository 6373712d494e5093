"""Liquidations of the real contracts, joined to what went before; late by what the law says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from sqlalchemy.engine import Connection

from relayer.journal import DecisionEntry, Journal
from relayer.notices import NoticeStore
from relayer.outcomes import DAY_S, DELEVERAGE, LIQUIDATION, Outcome, Outcomes, Watched
from relayer.storage import Database, liquidation_outcomes
from tests.contracts.chain import FAST
from tests.relayer.chain.index_walks import History
from tests.relayer.chain.replays import (
    CHAIN_ID,
    ORACLE,
    Replay,
    deployment_of,
    outcomes_of,
    reader_of,
)

pytestmark = pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")
WARNED = "notice position a: long in market 0 at 100, liquidation at 90"
WATCH = {"account": "0x1", "market": 0, "side": 1, "is_cross": False, "distance": 0.02}


@dataclass
class Told:
    """A walk, and after each of its steps: the block, the time, and whom the law would end."""

    history: History = field(default_factory=lambda: History(3))
    looks: list[tuple[int, int, tuple[str, ...]]] = field(default_factory=list)

    def walk(self, steps: int) -> None:
        for _ in range(steps):
            self.history.step(1)
            walk = self.history.walk
            weak = tuple(f"{each:046x}" for each in sorted(walk.all_liquidatable()))
            self.looks.append((len(self.history.evm.blocks), walk.now_s, weak))

    def due_before(self, position: str, block: int) -> tuple[int, int] | None:
        """Say since which look before a block a position was due without a break."""
        found = None
        for number, at_s, weak in self.looks:
            if number >= block:
                break
            found = (found or (number, at_s)) if position in weak else None
        return found


@pytest.fixture(scope="module")
def told() -> Told:
    found = Told()
    found.walk(400)
    return found


async def followed(told: Told, database: Database, until: int | None = None) -> Replay:
    """Follow the history as the daemon does: the index first, then the look of each step."""
    replay = Replay(told.history, head=0)
    reader, outcomes = await reader_of(told.history, database), outcomes_of(told.history, database)
    for number, at_s, weak in told.looks:
        if until is not None and number > until:
            break
        if number == replay.head:
            continue
        replay.head = number
        await reader.advance(replay)  # type: ignore[arg-type]
        await outcomes.due(weak, number, at_s)
    return replay


async def joined(outcomes: Outcomes) -> Sequence[Outcome]:
    await outcomes.join(1, 10_000)
    return await outcomes.liquidations()


async def test_outcomes__of_a_walk__are_its_liquidations_and_late_as_the_law_says(
    told: Told, database: Database
) -> None:
    await followed(told, database)
    found = await joined(outcomes_of(told.history, database))
    events = [
        (number, event.fields[0])
        for number, block in enumerate(told.history.blocks, 1)
        for event in block
        if event.name == "Liquidation"
    ]
    own = [(each.liquidated.block_number, int(each.liquidated.position, 16)) for each in found]
    assert own == events
    late = set()
    for each in found:
        fact = each.liquidated
        due = told.due_before(fact.position, fact.block_number)
        if due is None or due[0] == 0:
            continue
        assert (each.due_block, each.due_s) == due
        assert each.late_s == fact.at_s - due[1] >= 0
        assert each.late_blocks == fact.block_number - due[0] > 0
        late.add(each.late_s)
    assert max(late) > 0
    facts = [each.liquidated.facts for each in found]
    assert {each["kind"] for each in facts} <= {LIQUIDATION, DELEVERAGE}
    assert LIQUIDATION in {each["kind"] for each in facts}
    assert {each["mode"] for each in facts} == {1, 2} or len(facts) < 5
    assert all(int(each["leverage_e2"]) >= 100 and int(each["notional"]) >= 0 for each in facts)


async def test_outcomes__another_process__writes_nothing_twice(
    told: Told, database: Database
) -> None:
    replay, outcomes = await followed(told, database), outcomes_of(told.history, database)
    before = await joined(outcomes)
    again = await reader_of(told.history, database)
    await again.advance(replay)  # type: ignore[arg-type]
    assert await outcomes.join(2, 10_000) == 0
    assert await outcomes.liquidations() == before


async def test_outcomes__the_block_is_taken_back__so_is_the_liquidation(
    told: Told, database: Database
) -> None:
    blocks = enumerate(told.history.blocks, 1)
    dropped = max(number for number, block in blocks if any(e.name == "Liquidation" for e in block))
    replay = await followed(told, database, until=dropped + 50)
    outcomes = outcomes_of(told.history, database)
    before = await joined(outcomes)
    assert before[-1].liquidated.block_number == dropped
    replay.forked_from = dropped
    reader = await reader_of(told.history, database)
    step = await reader.advance(replay)  # type: ignore[arg-type]
    assert step.dropped > 0
    after = await outcomes.liquidations()
    assert after == tuple(e for e in before if e.liquidated.block_number < dropped)
    replay.forked_from = 10**9  # the chain comes back to what it had
    await reader.advance(replay)  # type: ignore[arg-type]
    places = [e.liquidated for e in await joined(outcomes)]
    assert places == [e.liquidated for e in before]


async def test_join__warned_and_unwarned__say_level_lead_and_decision(
    told: Told, database: Database
) -> None:
    await followed(told, database)
    outcomes, journal = outcomes_of(told.history, database), Journal(database)
    margin = deployment_of(told.history).margin
    assert margin is not None
    notices = NoticeStore(database, CHAIN_ID, margin.engine)
    await decided(journal, round_=4, block=1)
    await decided(journal, round_=5, block=10**6)  # after all of it
    probe = await first_of(outcomes, database)
    at_s = probe.liquidated.at_s
    key = probe.liquidated.watched_as
    await notices.note([(key, 4, WARNED)], (at_s - 2 * DAY_S) * 1_000)  # of another day
    await notices.note([(key, 1, WARNED)], (at_s - 1_800) * 1_000)
    await notices.note([(key, 3, WARNED)], (at_s - 600) * 1_000)
    await notices.note([(key, 4, "deleverage would help: position")], (at_s - 60) * 1_000)
    await notices.note([(key, 4, WARNED)], (at_s + 60) * 1_000)  # too late to count
    await outcomes.watched([Watched(watched_as=key, at_ms=(at_s - 900) * 1_000, facts=WATCH)])
    found = await joined(outcomes)
    own = found[0]
    assert (own.warned_level, own.lead_s, own.risk_round) == (3, 1_800, 4)
    assert own.watch == WATCH | {"at_ms": (at_s - 900) * 1_000}
    others = [each for each in found if each.liquidated.watched_as != key]
    assert others
    assert all((e.warned_level, e.lead_s, e.watch) == (None, None, None) for e in others)
    assert {each.risk_round for each in found} == {4}


async def test_settle__watched__was_liquidated_within_a_day_or_was_not(
    told: Told, database: Database
) -> None:
    await followed(told, database)
    outcomes = outcomes_of(told.history, database)
    ended = await joined(outcomes)
    probe = next(each for each in ended if each.liquidated.facts["kind"] == LIQUIDATION)
    key, at_ms = probe.liquidated.watched_as, (probe.liquidated.at_s - 1) * 1_000
    rows = [
        Watched(watched_as=key, at_ms=at_ms, facts=WATCH),
        Watched(watched_as=key, at_ms=at_ms - 2 * DAY_S * 1_000, facts=WATCH),
        Watched(watched_as="ff", at_ms=at_ms, facts=WATCH),
    ]
    await outcomes.watched(rows)
    assert [each.at_ms for each in await outcomes.settling(at_ms - 1, 9)] == [rows[1].at_ms]
    await outcomes.settle(await outcomes.settling(at_ms, 9), 1)
    found = {(each.watched_as, each.at_ms): each.liquidated_s for each in await outcomes.settled()}
    assert found == {
        (key, at_ms): probe.liquidated.at_s,
        (key, rows[1].at_ms): None,
        ("ff", at_ms): None,
    }
    assert await outcomes.settling(at_ms, 9) == ()


async def first_of(outcomes: Outcomes, database: Database) -> Outcome:
    """Give the first liquidation, and leave all as if nothing had been joined."""
    found = (await joined(outcomes))[0]

    def undo(connection: Connection) -> None:
        connection.execute(liquidation_outcomes.update().values(joined_at_ms=None))

    await database.write(undo)
    return found


async def decided(journal: Journal, round_: int, block: int) -> None:
    """Journal a risk decision that took effect at a block."""
    await journal.record_decision(
        DecisionEntry(
            kind="risk",
            chain_id=CHAIN_ID,
            contract=ORACLE,
            round=round_,
            decided_at_ms=1,
            message_hash=bytes([round_]) * 32,
            evidence_hash=bytes(32),
            state="effective",
            block_number=block,
        )
    )
