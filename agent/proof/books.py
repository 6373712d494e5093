"""A part of the margin contracts' books as evidence, and back: words as the contracts return them.

Words are in hexadecimal, so that an explorer shows the same; amounts are decimal text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.errors import EvidenceError
from contracts.book import Book, MarketBook, SideBook
from contracts.book_readings import (
    Reading,
    Readings,
    decode_margin,
    decode_mark,
    encode_margin,
    encode_mark,
)
from contracts.book_views import market_words
from contracts.book_words import (
    Account,
    PositionId,
    decode_account,
    decode_flow,
    decode_position,
    decode_rules,
    decode_sizes,
    encode_account,
    encode_position,
)
from contracts.margin_sides import NO_CUT, Cut
from contracts.pool import PoolState
from contracts.units import MarketId, PriceE18, UnixS, UsdcE6

Fields = dict[str, Any]


def encode_book(book: Book) -> Fields:
    """Write positions, accounts, markets and the pool; requests and paces are not in it."""
    return {
        "positions": {
            hex(name): [hex(word) for word in encode_position(held)]
            for name, held in book.positions.items()
        },
        "accounts": {
            f"0x{name:040x}": [hex(encode_account(held)), str(held.balance)]
            for name, held in book.accounts.items()
        },
        "markets": {str(market): _encode_market(book, market) for market in book.markets},
        "pool": [str(getattr(book.pool, name)) for name in book.pool.__dataclass_fields__],
        "sums": [str(each) for each in (book.credited, book.escrow, book.debts)],
    }


def decode_book(content: Mapping[str, Any]) -> Book:
    """Read books back.

    Raises
    ------
    EvidenceError
        They are not what `encode_book` writes.
    """
    try:
        credited, escrow, debts = (int(each) for each in content["sums"])
        names = PoolState.__dataclass_fields__
        amounts = [int(each) for each in content["pool"]]
        return Book(
            positions={
                PositionId(int(name, 16)): decode_position([int(word, 16) for word in words])
                for name, words in content["positions"].items()
            },
            accounts={
                Account(int(name, 16)): decode_account(int(word, 16), int(balance))
                for name, (word, balance) in content["accounts"].items()
            },
            markets={
                MarketId(int(name)): _decode_market(each)
                for name, each in content["markets"].items()
            },
            pool=PoolState(**dict(zip(names, amounts, strict=True))),  # type: ignore[arg-type]
            credited=credited,
            escrow=UsdcE6(escrow),
            debts=UsdcE6(debts),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise EvidenceError(f"the bundle holds no readable books: {fault!r}") from fault


def encode_readings(readings: Readings) -> Fields:
    """Write what feed and oracle showed: price, average and the words of `mark` and `margin`."""
    return {
        "now_s": readings.now_s,
        "withdrawals_open": readings.withdrawals_open,
        "ai_epoch": readings.ai_epoch,
        "epoch_ended_s": {str(key): at for key, at in readings.epoch_ended_s.items()},
        "markets": {
            str(market): _encode_reading(each) for market, each in readings.markets.items()
        },
    }


def decode_readings(content: Mapping[str, Any]) -> Readings:
    """Read them back.

    Raises
    ------
    EvidenceError
        They are not what `encode_readings` writes.
    """
    try:
        return Readings(
            now_s=UnixS(content["now_s"]),
            withdrawals_open=content["withdrawals_open"],
            ai_epoch=content["ai_epoch"],
            epoch_ended_s={int(key): UnixS(at) for key, at in content["epoch_ended_s"].items()},
            markets={
                MarketId(int(name)): _decode_reading(each)
                for name, each in content["markets"].items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise EvidenceError(f"the bundle holds no readable readings: {fault!r}") from fault


def _encode_market(book: Book, market: MarketId) -> list[Any]:
    """Write the seven words of `MarginEngine.market`, then each side's cuts after the first."""
    found = book.markets[market]
    words = [hex(word) for word in market_words(book, market)]
    sides = (found.long, found.short)
    cuts = [[[str(c.keep_e27), str(c.cash)] for c in side.cuts[1:]] for side in sides]
    return [*words, *cuts]


def _decode_market(row: list[Any]) -> MarketBook:
    *words, long_cuts, short_cuts = row
    sizes, long_sum, short_sum, flow_word, rules_word, settlement, pot = (
        int(word, 16) for word in words
    )
    rules, flow, (long, short) = (
        decode_rules(rules_word),
        decode_flow(flow_word),
        decode_sizes(sizes),
    )
    if rules is None:
        raise ValueError("a market without rules")
    return MarketBook(
        rules=rules,
        long=SideBook(size=long, basis_sum=long_sum, cuts=_decode_cuts(long_cuts)),
        short=SideBook(size=short, basis_sum=short_sum, cuts=_decode_cuts(short_cuts)),
        index=flow.index,
        rate=flow.rate,
        at_s=flow.at_s,
        settled=flow.settled,
        settlement_price=PriceE18(settlement),
        pot=pot,
    )


def _decode_cuts(rows: list[list[str]]) -> tuple[Cut, ...]:
    return (NO_CUT, *(Cut(keep_e27=int(keep), cash=int(cash)) for keep, cash in rows))


def _encode_reading(reading: Reading) -> list[Any]:
    mark = reading.mark
    prices = (str(mark.price), str(mark.average))
    stamps = (reading.price_resumed_at_s, reading.liquidation_resumes_at_s, reading.notice_s)
    return [*prices, hex(encode_mark(mark)), hex(encode_margin(reading.limits)), *stamps]


def _decode_reading(row: list[Any]) -> Reading:
    price, average, mark, margin, resumed_s, resumes_s, notice_s = row
    return Reading(
        mark=decode_mark(int(price), int(average), int(mark, 16)),
        limits=decode_margin(int(margin, 16)),
        price_resumed_at_s=UnixS(resumed_s),
        liquidation_resumes_at_s=UnixS(resumes_s),
        notice_s=notice_s,
    )
