"""Books and readings as evidence: the contracts' own words in hexadecimal, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.book import Book, MarketBook, SideBook
from contracts.book_readings import (
    Reading,
    Readings,
    decode_margin,
    decode_mark,
    encode_margin,
    encode_mark,
)
from contracts.book_words import (
    Account,
    PositionId,
    decode_account,
    decode_flow,
    decode_pace,
    decode_position,
    decode_rules,
    decode_sizes,
    encode_account,
    encode_flow,
    encode_pace,
    encode_position,
    encode_rules,
    encode_sizes,
)
from contracts.margin import SizeE18
from contracts.margin_sides import Cut
from contracts.pool import PoolState
from contracts.units import MarketId, PriceE18, UnixS, UsdcE6

Fields = dict[str, Any]


def encode_book(book: Book) -> Fields:
    """Write a book; requests stay out, for no action on a position reads them."""
    accounts = book.accounts.items()
    return {
        "positions": {
            hex(identity): [hex(word) for word in encode_position(position)]
            for identity, position in book.positions.items()
        },
        "accounts": {
            hex(k): [hex(encode_account(each)), str(each.balance)] for k, each in accounts
        },
        "markets": {str(market): _market(each) for market, each in book.markets.items()},
        "paces": {str(market): hex(encode_pace(each)) for market, each in book.paces.items()},
        "graces": {hex(account): each for account, each in book.graces.items()},
        "pool": {name: str(getattr(book.pool, name)) for name in PoolState.__slots__},
        "credited": str(book.credited),
        "escrow": str(book.escrow),
        "debts": str(book.debts),
    }


def decode_book(value: Mapping[str, Any]) -> Book:
    """Read a book back."""
    words = {key: [int(word, 16) for word in row] for key, row in value["positions"].items()}
    return Book(
        positions={PositionId(int(key, 16)): decode_position(row) for key, row in words.items()},
        accounts={
            Account(int(key, 16)): decode_account(int(word, 16), int(balance))
            for key, (word, balance) in value["accounts"].items()
        },
        markets={MarketId(int(key)): _market_of(row) for key, row in value["markets"].items()},
        paces={MarketId(int(k)): decode_pace(int(word, 16)) for k, word in value["paces"].items()},
        graces={Account(int(key, 16)): UnixS(at) for key, at in value["graces"].items()},
        pool=_pool(value["pool"]),
        credited=int(value["credited"]),
        escrow=UsdcE6(int(value["escrow"])),
        debts=UsdcE6(int(value["debts"])),
    )


def encode_readings(readings: Readings) -> Fields:
    """Write what feed and oracle said of each market."""
    return {
        "now_s": readings.now_s,
        "withdrawals_open": readings.withdrawals_open,
        "ai_epoch": readings.ai_epoch,
        "epoch_ended_s": {str(epoch): at for epoch, at in readings.epoch_ended_s.items()},
        "markets": {str(market): _reading(each) for market, each in readings.markets.items()},
    }


def decode_readings(value: Mapping[str, Any]) -> Readings:
    """Read readings back."""
    return Readings(
        now_s=UnixS(value["now_s"]),
        markets={MarketId(int(key)): _reading_of(row) for key, row in value["markets"].items()},
        withdrawals_open=value["withdrawals_open"],
        ai_epoch=value["ai_epoch"],
        epoch_ended_s={int(epoch): UnixS(at) for epoch, at in value["epoch_ended_s"].items()},
    )


def _pool(value: Mapping[str, str]) -> PoolState:
    return PoolState(
        assets=UsdcE6(int(value["assets"])),
        insurance=UsdcE6(int(value["insurance"])),
        pending=UsdcE6(int(value["pending"])),
        shares=int(value["shares"]),
        insurance_shares=int(value["insurance_shares"]),
    )


def _market(book: MarketBook) -> Fields:
    rules = encode_rules(book.rules)
    numbers = (book.long.basis_sum, book.short.basis_sum, book.settlement_price, book.pot)
    return {
        "sizes": hex(encode_sizes(book.long.size, book.short.size)),
        "flow": hex(encode_flow(book.flow)),
        "rules": hex(rules),
        "numbers": [str(number) for number in numbers],
        "cuts": [
            [[str(cut.keep_e27), str(cut.cash)] for cut in side.cuts]
            for side in (book.long, book.short)
        ],
    }


def _market_of(value: Mapping[str, Any]) -> MarketBook:
    rules, flow = decode_rules(int(value["rules"], 16)), decode_flow(int(value["flow"], 16))
    if rules is None:
        raise ValueError("a market without rules holds nothing")
    sizes = decode_sizes(int(value["sizes"], 16))
    long_sum, short_sum, settlement, pot = (int(number) for number in value["numbers"])
    long, short = (
        _side(size, basis, cuts)
        for size, basis, cuts in zip(sizes, (long_sum, short_sum), value["cuts"], strict=True)
    )
    return MarketBook(
        rules=rules,
        long=long,
        short=short,
        index=flow.index,
        rate=flow.rate,
        at_s=flow.at_s,
        settled=flow.settled,
        settlement_price=PriceE18(settlement),
        pot=pot,
    )


def _side(size: SizeE18, basis_sum: int, cuts: list[list[str]]) -> SideBook:
    after = tuple(Cut(keep_e27=int(keep), cash=int(cash)) for keep, cash in cuts)
    return SideBook(size=size, basis_sum=basis_sum, cuts=after)


def _reading(reading: Reading) -> Fields:
    mark = reading.mark
    return {
        "prices": [str(mark.price), str(mark.average)],
        "mark": hex(encode_mark(mark)),
        "margin": hex(encode_margin(reading.limits)),
        "waits": [reading.price_resumed_at_s, reading.liquidation_resumes_at_s, reading.notice_s],
    }


def _reading_of(value: Mapping[str, Any]) -> Reading:
    price, average = (int(each) for each in value["prices"])
    resumed, resumes, notice_s = value["waits"]
    return Reading(
        mark=decode_mark(price, average, int(value["mark"], 16)),
        limits=decode_margin(int(value["margin"], 16)),
        price_resumed_at_s=UnixS(resumed),
        liquidation_resumes_at_s=UnixS(resumes),
        notice_s=notice_s,
    )
