"""Facts about the index: events alone give what the contracts store, forwards and backwards."""

from __future__ import annotations

import random

import pytest

from contracts.book import Book
from contracts.book_views import market_words
from contracts.book_words import AccountBook
from relayer.chain.index import GENESIS, Index
from relayer.chain.index_ledger import BLOCKS_KEPT, Ledger
from tests.contracts.chain import FAST
from tests.relayer.chain.index_walks import History, tell, told

pytestmark = pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")
SEEDS = (3, 5, 8)


@pytest.fixture(scope="module", params=SEEDS)
def history(request: pytest.FixtureRequest) -> History:
    found = History(request.param)
    found.step(500)
    return found


def open_of(book: Book) -> dict[int, object]:
    return {identity: held for identity, held in book.positions.items() if held.size}


def used_of(book: Book) -> dict[int, AccountBook]:
    unused = AccountBook()
    return {account: held for account, held in book.accounts.items() if held != unused}


def test_events__of_a_walk__give_the_book_of_the_law(history: History) -> None:
    index, book = Index(told(history.blocks)), history.walk.book
    found = index.book()
    assert dict(found.positions) == open_of(book)
    assert used_of(found) == used_of(book)
    assert found.requests == book.requests
    assert found.pool == book.pool
    assert {m: market_words(found, m) for m in found.markets} == {
        m: market_words(book, m) for m in book.markets
    }
    assert {m: (b.long.cuts, b.short.cuts) for m, b in found.markets.items()} == {
        m: (b.long.cuts, b.short.cuts) for m, b in book.markets.items()
    }
    assert (found.credited, found.escrow, found.debts) == (book.credited, book.escrow, book.debts)


def test_ledger__blocks_dropped_and_told_again__is_as_if_nothing_had_been(history: History) -> None:
    chance, blocks = random.Random(1), history.blocks
    whole, ledger, number = told(blocks).tables, Ledger(), 0
    while number < len(blocks):
        number += 1
        tell(ledger, number, blocks[number - 1])
        if chance.random() < 0.02:
            back = chance.randint(0, min(number, 30))
            for _ in range(back):
                ledger.drop_block()
            number -= back
    assert ledger.tables == whole


def test_ledger__half_way_and_back__stands_where_it_stood(history: History) -> None:
    blocks = history.blocks
    middle = len(blocks) - min(BLOCKS_KEPT, len(blocks) // 2)
    before, ledger = told(blocks[:middle]), told(blocks[:middle])
    for number in range(middle + 1, len(blocks) + 1):
        tell(ledger, number, blocks[number - 1])
    while ledger.marks and ledger.marks[-1].number > middle:
        ledger.drop_block()
    assert ledger.tables == before.tables


def test_index__managed_positions_of_markets__are_those_of_the_law(history: History) -> None:
    index, book = Index(told(history.blocks)), history.walk.book
    held = {key: each for key, each in book.positions.items() if each.size and each.managed}
    for markets in ({0}, {1, 2}, set()):
        found = index.managed_in(markets)
        assert set(found) == {key for key in held if key >> 8 & 0xFFFF in markets}
    assert set(index.managed_in({0, 1, 2})) == set(held)


def test_index__nothing_read__knows_nobody() -> None:
    index = Index()
    assert index.block == GENESIS
    assert index.account("0x" + "11" * 20) == AccountBook()
    assert not index.positions()
    assert not index.requests()
    assert not index.markets()
    with pytest.raises(KeyError):
        index.market(0)  # type: ignore[arg-type]
