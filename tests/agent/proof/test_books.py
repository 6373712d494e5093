"""Books and readings as evidence come back as they were, through JSON and at any moment."""

from __future__ import annotations

import json

import pytest

from agent.errors import EvidenceError
from agent.proof.books import (
    decode_book,
    decode_readings,
    encode_book,
    encode_readings,
)
from contracts.book import Book
from contracts.book_margin import health
from contracts.impact import readings_in
from tests.contracts.books import Walk, opened_book, readings


@pytest.mark.parametrize("seed", range(3))
def test_books__random_history__come_back_through_json(seed: int) -> None:
    walk = Walk(seed=seed)
    for _ in range(400):
        walk.step()
    book = Book(
        positions={key: held for key, held in walk.book.positions.items() if held.size},
        accounts=walk.book.accounts,
        markets=walk.book.markets,
        pool=walk.book.pool,
        credited=walk.book.credited,
        escrow=walk.book.escrow,
        debts=walk.book.debts,
    )
    again = decode_book(json.loads(json.dumps(encode_book(book))))
    seen = decode_readings(json.loads(json.dumps(encode_readings(walk.seen))))
    assert again == book
    assert seen == walk.seen
    for identity in book.positions:
        assert health(again, seen, identity) == health(walk.book, walk.seen, identity)


def test_books__not_what_was_written__is_refused_in_a_sentence() -> None:
    written = encode_book(opened_book())
    with pytest.raises(EvidenceError, match="no readable books"):
        decode_book({**written, "sums": ["1"]})
    with pytest.raises(EvidenceError, match="no readable readings"):
        decode_readings({"now_s": 1})


def test_readings__of_fewer_markets__are_cut_down_to_them() -> None:
    book = opened_book()
    part = Book(markets={1: book.markets[1]})
    assert list(readings_in(readings(), part).markets) == [1]
