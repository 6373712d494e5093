"""Accounts' trades from events: as the positions were, forwards, backwards, and bounded."""

from __future__ import annotations

import pytest

from relayer.chain.index import Index
from relayer.chain.index_ledger import Ledger, Table
from relayer.chain.index_lives import (
    CLOSED,
    COUNT_SLOT,
    LIQUIDATED,
    OPEN,
    SLOT_BITS,
    TRADES_KEPT,
    liquidated,
)
from relayer.chain.index_rules import take
from tests.contracts.chain import FAST
from tests.relayer.chain.index_walks import History, hash_of, told

pytestmark = pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")


@pytest.fixture(scope="module", params=(3, 8))
def history(request: pytest.FixtureRequest) -> History:
    found = History(request.param)
    found.step(400)
    return found


def accounts_of(index: Index) -> set[int]:
    return {key >> SLOT_BITS for key in index.ledger.tables[Table.TRADE]}


def test_trades__of_a_walk__every_liquidation_is_one_and_every_open_position_is_open(
    history: History,
) -> None:
    index = Index(told(history.blocks))
    events = [event for block in history.blocks for event in block]
    liquidations = [event for event in events if event.name == "Liquidation"]
    assert liquidations
    newest = liquidations[-1]
    owner = newest.fields[0] >> 24
    kept = [trade for trade in index.trades_of(owner) if trade.end == LIQUIDATED]
    assert kept
    held = {identity >> 24 for identity in index.positions()}
    for account in held:
        found = index.trades_of(account)
        assert sum(t.end == OPEN for t in found) == len(index.positions_of(account))


def test_trades__of_a_walk__times_leverage_and_size_make_sense(history: History) -> None:
    index = Index(told(history.blocks))
    seen = 0
    for account in accounts_of(index):
        for trade in index.trades_of(account):
            seen += 1
            assert trade.leverage_e2 >= 100
            assert trade.notional > 0
            assert 0 < trade.maintenance_ppm < 500_000
            assert trade.opened_s > 1_000_000_000
            assert trade.end in {OPEN, CLOSED, LIQUIDATED}
            assert trade.end == OPEN or trade.closed_s >= trade.opened_s
    assert seen


def test_trades__blocks_dropped__are_as_they_were(history: History) -> None:
    blocks = history.blocks
    middle = len(blocks) - min(200, len(blocks) // 2)
    before, ledger = told(blocks[:middle]), told(blocks[:middle])
    for number, events in enumerate(blocks[middle:], middle + 1):
        for event in events:
            take(ledger, event)
        ledger.end_block(number, hash_of(number))
    while ledger.marks and ledger.marks[-1].number > middle:
        ledger.drop_block()
    for table in (Table.TRADE, Table.LIFE):
        assert ledger.tables[table] == before.tables[table]


def test_trades__more_than_are_kept__the_newest_stay_in_order() -> None:
    ledger, account = Ledger(), 7
    for number in range(TRADES_KEPT + 5):
        slot = account << SLOT_BITS | number % TRADES_KEPT
        ledger.put(Table.TRADE, slot, (0, 1, number, number + 1, 500, 20_000, 10**9, CLOSED))
        ledger.put(Table.TRADE, account << SLOT_BITS | COUNT_SLOT, (number + 1,))
    found = Index(ledger).trades_of(account)
    assert [trade.opened_s for trade in found] == list(range(5, TRADES_KEPT + 5))


@pytest.mark.parametrize(
    ("penalty", "shortfall", "end"), [(0, 0, CLOSED), (1, 0, LIQUIDATED), (0, 1, LIQUIDATED)]
)
def test_trades__a_consented_deleveraging__is_no_liquidation(
    history: History, penalty: int, shortfall: int, end: int
) -> None:
    index = Index(told(history.blocks))
    identity = next(iter(index.positions()))
    before = [trade.end for trade in index.trades_of(identity >> 24)]
    size, price = 10**15, 10**20
    liquidated(index.ledger, identity, 0, size, price, 0, 0, penalty, 0, shortfall)
    after = [trade.end for trade in index.trades_of(identity >> 24)]
    for each in before:
        after.remove(each)
    assert after == [end]
