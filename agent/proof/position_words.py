"""The books of `agent.proof.books`, and what the liquidator waits for: windows, notes, graces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent.errors import EvidenceError
from agent.proof import books
from contracts.book import Book
from contracts.book_words import Account, decode_pace, encode_pace
from contracts.units import MarketId, UnixS

Fields = dict[str, Any]


def encode_book(book: Book) -> Fields:
    """Write a book; requests stay out, for no action on a position reads them."""
    return {
        **books.encode_book(book),
        "paces": {str(market): hex(encode_pace(each)) for market, each in book.paces.items()},
        "graces": {hex(account): each for account, each in book.graces.items()},
    }


def decode_book(content: Mapping[str, Any]) -> Book:
    """Read a book back.

    Raises
    ------
    EvidenceError
        It is not what `encode_book` writes.
    """
    try:
        paces = {MarketId(int(m)): decode_pace(int(w, 16)) for m, w in content["paces"].items()}
        graces = {Account(int(key, 16)): UnixS(at) for key, at in content["graces"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise EvidenceError(f"the bundle holds no readable waits: {fault!r}") from fault
    return replace(books.decode_book(content), paces=paces, graces=graces)
