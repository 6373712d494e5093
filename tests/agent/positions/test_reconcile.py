"""Facts about the comparison of the contracts' totals with the index, on the real contracts."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from agent.positions.reconcile import Sum, confirmed, differences, harmful
from agent.positions.sums import Sums, sums_of
from contracts.book_action import after_cuts
from contracts.units import MarketId
from relayer.chain.index import Index
from relayer.chain.index_ledger import Table
from relayer.chain.index_totals import Published
from relayer.chain.margin_calls import TOTALS_FIELDS
from relayer.chain.rpc import BlockStamp
from tests.contracts.chain import FAST
from tests.relayer.chain.index_walks import History, told

pytestmark = pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")
BLOCK = BlockStamp(number=1, block_hash=b"\1" * 32, timestamp_s=1, base_fee_wei=1)


def published_by(history: History) -> Published:
    """What the real contracts say."""
    world = history.walk.world
    markets = history.walk.book.markets
    return Published(
        endpoint="one",
        block=BLOCK,
        totals=dict(zip(TOTALS_FIELDS, world.views.read("totals"), strict=True)),
        markets={MarketId(m): world.engine.read("market", m) for m in markets},
        market_count=world.engine.read("market_count"),
    )


def added_up(index: Index) -> Sums:
    return asyncio.run(sums_of(index))


@pytest.fixture(scope="module")
def history() -> History:
    found = History(4)
    found.step(400)
    return found


@pytest.fixture(scope="module")
def seen(history: History) -> tuple[Sums, Published]:
    return added_up(Index(told(history.blocks))), published_by(history)


@pytest.mark.parametrize("seed", [6, 7])
def test_differences__all_along_a_walk__are_none(seed: int) -> None:
    history = History(seed)
    for _ in range(8):
        history.step(40)
        assert differences(added_up(Index(told(history.blocks))), published_by(history)) == ()


@pytest.mark.parametrize(
    ("name", "change", "bad"),
    [
        ("credited", -1, True),
        ("credited", 1, False),
        ("pool", 1, True),
        ("pool", -1, False),
        ("debts", 1, True),
        ("pending", -1, True),
        ("vault_tokens", -(10**15), True),
        ("pool_tokens", -(10**15), True),
    ],
)
def test_differences__a_total_moved__is_named_with_its_direction(
    seen: tuple[Sums, Published], name: str, change: int, bad: bool
) -> None:
    sums, published = seen
    totals = {**published.totals, name: published.totals[name] + change}
    if name == "credited":  # tokens follow, so that only one thing is wrong
        totals["vault_tokens"] += max(0, change)
    if name == "pool":
        totals["pool_tokens"] += max(0, change)
    found = differences(sums, replace(published, totals=totals))
    assert [(each.what, each.harmful) for each in found] == [(Sum(name), bad)]


def test_differences__tokens_given_to_the_vault__are_none(seen: tuple[Sums, Published]) -> None:
    sums, published = seen
    totals = {**published.totals, "vault_tokens": published.totals["vault_tokens"] + 5}
    assert differences(sums, replace(published, totals=totals)) == ()


def test_differences__a_position_forgotten_by_the_index__is_open_interest_without_harm(
    history: History, seen: tuple[Sums, Published]
) -> None:
    index = Index(told(history.blocks))
    whole = [
        i
        for i, p in index.positions().items()
        if not index.market(MarketId(i >> 8 & 0xFFFF)).side(p.side).number
    ]
    if not whole:
        pytest.skip("this walk has cut every side that has positions")
    index.ledger.put(Table.POSITION, whole[0], None)
    found = differences(added_up(index), seen[1])
    assert Sum.OPEN_INTEREST in {each.what for each in found}


def test_sums__all_along_a_walk__are_those_of_the_whole_book(history: History) -> None:
    blocks = history.blocks
    for end in range(40, len(blocks), 60):
        index = Index(told(blocks[:end]))
        book, sums = index.book(), added_up(index)
        assert (sums.credited, sums.debts, sums.pool) == (book.credited, book.debts, book.pool)
        held: Counter[tuple[MarketId, int]] = Counter()
        for identity, position in book.positions.items():
            market = MarketId(identity >> 8 & 0xFFFF)
            after, _ = after_cuts(position, book.market(market).side(position.side))
            held[market, position.side] += after.size
        assert held == sums.held


def test_confirmed__only_what_two_endpoints_both_show(seen: tuple[Sums, Published]) -> None:
    sums, published = seen
    short = {**published.totals, "credited": published.totals["credited"] - 1}
    bad = differences(sums, replace(published, totals=short))
    assert harmful(bad)
    assert confirmed([("one", bad)]) == ()
    assert confirmed([("one", bad), ("one", bad)]) == ()
    assert confirmed([("one", bad), ("two", ())]) == ()
    assert confirmed([("one", bad), ("two", bad)]) == harmful(bad)
