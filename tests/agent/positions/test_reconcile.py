"""Facts about the comparison of the contracts' totals with the index, on the real contracts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.positions.reconcile import Sum, confirmed, differences, harmful
from contracts.book import Book
from contracts.units import MarketId
from relayer.chain.index import Index
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


@pytest.fixture(scope="module")
def seen() -> tuple[Book, Published]:
    history = History(4)
    history.step(400)
    return Index(told(history.blocks)).book(), published_by(history)


@pytest.mark.parametrize("seed", [6, 7])
def test_differences__all_along_a_walk__are_none(seed: int) -> None:
    history = History(seed)
    for _ in range(8):
        history.step(40)
        assert differences(Index(told(history.blocks)).book(), published_by(history)) == ()


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
    seen: tuple[Book, Published], name: str, change: int, bad: bool
) -> None:
    book, published = seen
    totals = {**published.totals, name: published.totals[name] + change}
    if name == "credited":  # tokens follow, so that only one thing is wrong
        totals["vault_tokens"] += max(0, change)
    if name == "pool":
        totals["pool_tokens"] += max(0, change)
    found = differences(book, replace(published, totals=totals))
    assert [(each.what, each.harmful) for each in found] == [(Sum(name), bad)]


def test_differences__tokens_given_to_the_vault__are_none(seen: tuple[Book, Published]) -> None:
    book, published = seen
    totals = {**published.totals, "vault_tokens": published.totals["vault_tokens"] + 5}
    assert differences(book, replace(published, totals=totals)) == ()


def test_differences__a_position_forgotten_by_the_index__is_open_interest_without_harm(
    seen: tuple[Book, Published],
) -> None:
    book, published = seen
    whole = [
        i
        for i, p in book.positions.items()
        if not book.market(MarketId(i >> 8 & 0xFFFF)).side(p.side).number
    ]
    if not whole:
        pytest.skip("this walk has cut every side that has positions")
    rest = {i: p for i, p in book.positions.items() if i != whole[0]}
    found = differences(replace(book, positions=rest), published)
    assert Sum.OPEN_INTEREST in {each.what for each in found}


def test_confirmed__only_what_two_endpoints_both_show(seen: tuple[Book, Published]) -> None:
    book, published = seen
    short = {**published.totals, "credited": published.totals["credited"] - 1}
    bad = differences(book, replace(published, totals=short))
    assert harmful(bad)
    assert confirmed([("one", bad)]) == ()
    assert confirmed([("one", bad), ("one", bad)]) == ()
    assert confirmed([("one", bad), ("two", ())]) == ()
    assert confirmed([("one", bad), ("two", bad)]) == harmful(bad)
