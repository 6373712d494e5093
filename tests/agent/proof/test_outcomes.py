"""Outcomes as rows to train on: the heads' own columns, and nothing that is not known."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from agent.proof.outcomes import (
    LEAST_LIQUIDATIONS,
    OutcomeRows,
    account_rows,
    passage_rows,
    read_outcome_rows,
)
from contracts.book_words import Flow, encode_flow
from contracts.units import UnixS
from models.accounts import NAMES
from models.liquidation import SIGNS, FirstPassage
from models.logistic import BoundedLogistic
from relayer.chain.index import Index
from relayer.chain.index_ledger import Ledger, Table
from relayer.chain.index_lives import CLOSED, COUNT_SLOT, LIQUIDATED, SLOT_BITS, TRADES_KEPT
from relayer.outcomes import DAY_S, Watched
from tests.contracts.chain import FAST
from tests.relayer import builders as b
from tests.relayer.chain.index_walks import History
from tests.relayer.chain.replays import Replay, outcomes_of, reader_of

CALM = [0.002, 0.004, 0.008, 0.02]
AT_S = 1_000_000


def watched(number: int, end_s: int | None = None, closed_s: int | None = None) -> Watched:
    facts = {"is_cross": False, "side": 1, "distance": 0.01, "deviations": CALM}
    return Watched(
        watched_as=str(number),
        at_ms=AT_S * 1_000,
        facts=facts,
        liquidated_s=end_s,
        closed_s=closed_s,
    )


def test_passages__by_horizon__count_who_ended_within_it_and_who_is_known_to_have_not() -> None:
    rows = [
        watched(1, AT_S + 600),
        watched(2, AT_S + 7_200),
        watched(3),
        watched(4, closed_s=AT_S + 1_000),
        watched(5, AT_S + 50_000, closed_s=AT_S + 1_000),
    ]
    found = passage_rows(rows)
    hits = {horizon: found[horizon, 1].hit.tolist() for horizon in (900, 3_600, 14_400, 86_400)}
    assert hits == {900: [1, 0, 0, 0, 0], 3_600: [1, 0, 0], 14_400: [1, 1, 0], 86_400: [1, 1, 0]}
    assert found[3_600, 1].deviation.tolist() == [0.004] * 3
    assert len(found[900, -1].hit) == 0


def test_passages__cross_or_already_due__are_left_out() -> None:
    cross, due = watched(1), watched(2)
    cross = Watched(watched_as="c", at_ms=1, facts={**cross.facts, "is_cross": True})
    due = Watched(watched_as="d", at_ms=1, facts={**due.facts, "distance": 0.0})
    assert all(len(each.hit) == 0 for each in passage_rows([cross, due]).values())


def test_passages__have_the_columns_that_the_head_is_fitted_on() -> None:
    rng = np.random.default_rng(1)
    rows = [watched(n, AT_S + 600 if rng.random() < 0.3 else None) for n in range(300)]
    found = passage_rows(rows)[900, 1]
    model = BoundedLogistic(signs=SIGNS).fit(found.table, found.hit)
    head = FirstPassage()
    head.intercept_, head.coefficients_ = model.intercept_, model.coefficients_
    chance = head.predict(found.distance, found.deviation)
    assert chance.mean() == pytest.approx(found.hit.mean(), abs=0.05)


def test_lines__few_or_many__say_whether_they_are_enough() -> None:
    many = [watched(n, AT_S + 600 if n % 2 else None) for n in range(2 * LEAST_LIQUIDATIONS)]
    table, labels = account_rows(Index())
    rows = OutcomeRows(passages=passage_rows(many), accounts=table, liquidated=labels)
    lines = rows.lines()
    assert "15 min long: 100 positions, 50 liquidated: enough to learn from" in lines
    assert "15 min short: 0 positions, 0 liquidated: too few to learn from" in lines
    assert lines[-1] == "accounts: 0 accounts, 0 liquidated: too few to learn from"


def traded(*trades: tuple[int, int, int, int]) -> Index:
    """Build an index from account, day opened, day ended and end; the chain is at day 60."""
    ledger = Ledger()
    for account, opened, closed, end in trades:
        count = (ledger.get(Table.TRADE, account << SLOT_BITS | COUNT_SLOT) or (0,))[0]
        row = (0, 1, opened * DAY_S, closed * DAY_S, 500, 20_000, 10**9, end)
        ledger.put(Table.TRADE, account << SLOT_BITS | count % TRADES_KEPT, row)
        ledger.put(Table.TRADE, account << SLOT_BITS | COUNT_SLOT, (count + 1,))
    flow = encode_flow(Flow(at_s=UnixS(60 * DAY_S)))
    ledger.put(Table.MARKET, 0, (0, 0, 0, flow, 0, 0, 0))
    return Index(ledger)


def test_accounts__known_30_days_ago__are_described_then_and_labelled_by_what_came() -> None:
    index = traded(
        (7, 1, 2, CLOSED),
        (7, 49, 50, LIQUIDATED),
        (8, 1, 20, LIQUIDATED),
        (9, 40, 50, LIQUIDATED),  # had not traded yet
        *[(10, day, day, CLOSED) for day in range(TRADES_KEPT + 1)],  # more than is kept
    )
    table, labels = account_rows(index)
    assert labels.tolist() == [1.0, 0.0]
    assert table.trades.tolist() == [1.0, 1.0]
    assert table.values[:, NAMES.index("liquidated_share")].tolist() == [0.0, 1.0]


@pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")
def test_read__a_database__gives_rows_of_its_engine(tmp_path: Path) -> None:
    history = History(3)
    history.step(60)
    url = f"sqlite:///{tmp_path}/aml.sqlite"

    async def fill() -> None:
        async with b.database(url) as database:
            reader = await reader_of(history, database)
            await reader.advance(Replay(history, head=len(history.evm.blocks)))  # type: ignore[arg-type]
            outcomes = outcomes_of(history, database)
            rows = [
                Watched(watched_as=row.watched_as, at_ms=row.at_ms, facts=row.facts)
                for row in (watched(1), watched(2))
            ]
            await outcomes.watched(rows)
            await outcomes.settle(rows, 1)

    asyncio.run(fill())
    (found,) = read_outcome_rows(url)
    assert found.passages[900, 1].hit.tolist() == [0.0, 0.0]
    assert found.accounts.values.shape[1] == len(NAMES)
