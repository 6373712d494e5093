"""Outcomes as rows to train on: the heads' own columns, and nothing that is not known."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.proof.outcomes import account_rows, fault_of, passage_rows, recorded_risks
from contracts.book_words import Flow, encode_flow
from contracts.units import UnixS
from models.accounts import NAMES
from models.dataset import DatasetError
from models.liquidation import SIGNS, FirstPassage
from models.logistic import BoundedLogistic
from models.recorded_risks import LEAST_EVENTS, RecordedRisks
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
LATE_MS = 4_000_000_000_000


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


def test_passages__looks_within_a_horizon_of_one_before__are_left_out() -> None:
    looks = [replace(watched(1), at_ms=(AT_S + 600 * place) * 1_000) for place in range(13)]
    found = passage_rows(reversed(looks))
    counts = {horizon: len(found[horizon, 1].hit) for horizon in (900, 3_600, 14_400)}
    assert counts == {900: 7, 3_600: 3, 14_400: 1}


def test_lines__few_or_many__say_whether_they_are_learned_from() -> None:
    many = [watched(n, AT_S + 600 if n % 2 else None) for n in range(2 * LEAST_EVENTS)]
    accounts, _ = account_rows(Index())
    lines = RecordedRisks(passages=passage_rows(many), accounts=accounts).lines()
    assert "15 min long: 100 positions, 50 liquidated: learned from" in lines
    assert "15 min short: 0 positions, 0 liquidated: too few, left out" in lines
    assert lines[-1] == "accounts: 0 accounts, 0 liquidated: too few, left out"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"side": 0}, "side is 0"),
        ({"distance": float("nan")}, "the distance is not a number"),
        ({"distance": None}, "the distance is not a number"),
        ({"deviations": [0.1, 0.2]}, "not one deviation for each of 4 horizons"),
        ({"deviations": [0.1, 0.2, float("nan"), 0.3]}, "a deviation is not a number above 0"),
        ({"deviations": [0.1, 0.2, 0.0, 0.3]}, "a deviation is not a number above 0"),
    ],
)
def test_fault__what_cannot_be_true__is_named_with_its_row(
    wrong: dict[str, Any], says: str
) -> None:
    row = watched(7)
    fault = fault_of(replace(row, facts={**row.facts, **wrong}))
    assert fault == f"position_watches 7 at {AT_S * 1_000}: {says}" + (
        ", neither 1 nor -1" if "side" in wrong else ""
    )


def test_fault__a_row_that_can_be_true__is_none() -> None:
    assert fault_of(watched(1, AT_S + 5)) is None
    assert fault_of(watched(1, AT_S - 5)) == (
        f"position_watches 1 at {AT_S * 1_000}: it ended before it was looked at"
    )
    assert "not there" in str(fault_of(Watched(watched_as="x", at_ms=1, facts={})))


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
    found, bad = account_rows(index)
    assert bad == ()
    assert found.liquidated.tolist() == [1.0, 0.0]
    assert found.table.trades.tolist() == [1.0, 1.0]
    assert found.table.values[:, NAMES.index("liquidated_share")].tolist() == [0.0, 1.0]
    assert found.as_of_ms.tolist() == [30 * DAY_S * 1_000] * 2


def test_accounts__up_to_an_instant__are_labelled_by_what_came_before_it() -> None:
    index = traded((7, 1, 2, CLOSED), (7, 49, 50, LIQUIDATED), (8, 5, 40, LIQUIDATED))
    found, _ = account_rows(index, before_ms=45 * DAY_S * 1_000)
    assert found.liquidated.tolist() == [0.0, 1.0]
    assert found.as_of_ms.tolist() == [15 * DAY_S * 1_000] * 2


def test_accounts__a_trade_that_ends_before_it_begins__is_refused_by_name() -> None:
    found, bad = account_rows(traded((7, 5, 2, CLOSED), (8, 1, 2, CLOSED)))
    assert len(found) == 1
    assert len(bad) == 1
    assert bad[0].startswith(f"account 0x{7:040x}: ")


def kept(tmp_path: Path, rows: Sequence[Watched]) -> str:
    """Write a journal with an engine's index and these rows; its URL."""
    history = History(3)
    history.step(60)
    url = f"sqlite:///{tmp_path}/aml.sqlite"

    async def fill() -> None:
        async with b.database(url) as database:
            reader = await reader_of(history, database)
            await reader.advance(Replay(history, head=len(history.evm.blocks)))  # type: ignore[arg-type]
            outcomes = outcomes_of(history, database)
            await outcomes.watched(rows)
            await outcomes.settle(rows, 1)

    asyncio.run(fill())
    return url


def plain(row: Watched) -> Watched:
    return Watched(watched_as=row.watched_as, at_ms=row.at_ms, facts=row.facts)


@pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")
def test_read__a_database_named_twice__gives_each_row_of_its_engine_once(tmp_path: Path) -> None:
    url = kept(tmp_path, [plain(watched(1)), plain(watched(2))])
    found = recorded_risks([url, url], LATE_MS).risks
    assert found is not None
    assert found.passages[900, 1].hit.tolist() == [0.0, 0.0]
    assert found.accounts.table.values.shape[1] == len(NAMES)
    early = recorded_risks([url], AT_S * 1_000).risks
    assert early is not None
    assert len(early.passages[900, 1].hit) == 0


@pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")
def test_read__a_bad_row__is_refused_and_stays_in_the_journal(tmp_path: Path) -> None:
    bad = Watched(watched_as="bad", at_ms=5_000, facts={**watched(1).facts, "side": 3})
    url = kept(tmp_path, [plain(watched(1)), bad])
    before = read_rows(url)
    with pytest.raises(DatasetError, match=r"1 of 2 rows .* position_watches bad at 5000: side"):
        recorded_risks([url], LATE_MS)
    assert read_rows(url) == before
    assert len(before) == 2


def read_rows(url: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        found = connection.execute("select watched_as, at_ms, facts from position_watches")
        return found.fetchall()
