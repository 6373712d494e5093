"""One account's part of the books, read at one block into the contracts' exact mirror."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from contracts.book import Book, MarketBook, SideBook
from contracts.book_readings import Reading, Readings, decode_margin, decode_mark
from contracts.book_words import (
    CROSS,
    ISOLATED,
    Account,
    AccountBook,
    Position,
    PositionId,
    account_number,
    decode_account,
    decode_flow,
    decode_position,
    decode_rules,
    decode_sizes,
    position_id,
    split_position_id,
)
from contracts.margin import LONG, SizeE18
from contracts.margin_sides import NO_CUT, Cut
from contracts.pool import PoolState
from contracts.readings import margin_word, mark_word
from contracts.units import MarketId, PriceE18, UnixS, UsdcE6
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.margin_calls import TOTALS_FIELDS, TOTALS_VIEW
from relayer.chain.reads import Answers, ChainState, Question, ask
from relayer.chain.rpc import BlockStamp
from relayer.chain.values import Deployment, MarginContracts
from relayer.chain.views import view
from relayer.errors import Misconfigured

_ACCOUNT: Final = view("account(address)", "uint256", "int256")
_POSITION: Final = view("position(uint256)", "uint256", "uint256", "uint256")
_MARKET: Final = view(
    "market(uint256)", "uint256", "int256", "int256", "uint256", "uint256", "uint256", "int256"
)
_CUT_AT: Final = view("cut_at(uint256,bool,uint256)", "uint256", "int256")


async def read_margin_book(
    endpoint: ChainEndpoint,
    deployment: Deployment,
    block: BlockStamp,
    account: str,
    markets: Iterable[MarketId],
) -> Book:
    """Read an account, its cross positions, and both modes' positions in `markets`.

    Of the pool and the vault it holds the totals; other accounts, requests and paces stay empty.

    Raises
    ------
    Misconfigured
        The deployment holds no margin.
    """
    at = deployment.margin
    if at is None:
        raise Misconfigured("this deployment has a feed and an oracle, but holds no margin")
    holder, looked_at = account_number(account), tuple(markets)
    first = await ask(
        endpoint,
        block,
        [
            Question("account", _ACCOUNT, at.engine, (account,)),
            Question("totals", TOTALS_VIEW, at.views),
            *_questions(at, holder, looked_at),
        ],
    )
    held = decode_account(*first["account"])
    others = tuple(market for market in held.markets if market not in looked_at)
    answers = first | await ask(endpoint, block, _questions(at, holder, others))
    found = (*looked_at, *others)
    book = _book(holder, held, found, answers)
    cuts = await ask(endpoint, block, _cut_questions(at, book))
    return _with_cuts(book, cuts)


def readings_of(state: ChainState, now_s: UnixS) -> Readings:
    """Give what feed and oracle say of each market in a block of `now_s`."""
    controls = state.oracle.controls
    ended = {epoch: at for epoch, at in enumerate(controls.epoch_ended_s) if at}
    count = min(len(state.feed.markets), len(state.oracle.markets))
    return Readings(
        now_s=now_s,
        markets={MarketId(each): _reading(state, each, now_s) for each in range(count)},
        withdrawals_open=max(controls.withdrawals_until_s, controls.everything_until_s) <= now_s,
        ai_epoch=controls.ai_epoch,
        epoch_ended_s=ended,
    )


def _reading(state: ChainState, market: int, now_s: UnixS) -> Reading:
    price, oracle = state.feed.markets[market], state.oracle
    slot, guard = oracle.markets[market], oracle.guards[market]
    word = mark_word(price, state.feed.rules[price.class_id], now_s)
    bounds = oracle.bounds[slot.class_id]
    return Reading(
        mark=decode_mark(price.price_e18, price.average_e18, word),
        limits=decode_margin(margin_word(slot, guard, oracle.controls, bounds, now_s)),
        notice_s=bounds.notice_s,
    )


def _questions(at: MarginContracts, holder: Account, markets: Sequence[MarketId]) -> list[Question]:
    """Ask for markets and for what an account has there."""
    asked = [Question(f"market.{each}", _MARKET, at.engine, (each,)) for each in markets]
    for market in markets:
        for mode in (ISOLATED, CROSS):
            identity = position_id(holder, market, mode)
            asked.append(Question(f"position.{identity}", _POSITION, at.engine, (identity,)))
    return asked


def _book(
    holder: Account, held: AccountBook, markets: Sequence[MarketId], answers: Answers
) -> Book:
    totals = dict(zip(TOTALS_FIELDS, answers["totals"], strict=True))
    books = {market: _market(answers[f"market.{market}"]) for market in markets}
    places = [position_id(holder, market, mode) for market in markets for mode in (ISOLATED, CROSS)]
    positions = {each: decode_position(answers[f"position.{each}"]) for each in places}
    return Book(
        positions={each: position for each, position in positions.items() if position.version},
        accounts={holder: held},
        markets={market: book for market, book in books.items() if book is not None},
        pool=PoolState(assets=UsdcE6(totals["pool"]), insurance=UsdcE6(totals["insurance"])),
        credited=totals["credited"],
        debts=UsdcE6(totals["debts"]),
    )


def _market(words: tuple[int, ...]) -> MarketBook | None:
    """Read `MarginEngine.market`; None where it has no rules, and so is not open here."""
    sizes, long_sum, short_sum, flow_word, rules_word, settlement, pot = words
    rules = decode_rules(rules_word)
    if rules is None:
        return None
    flow, (long_size, short_size) = decode_flow(flow_word), decode_sizes(sizes)
    return MarketBook(
        rules=rules,
        long=_side(long_size, long_sum, flow.long_cuts),
        short=_side(short_size, short_sum, flow.short_cuts),
        index=flow.index,
        rate=flow.rate,
        at_s=flow.at_s,
        settled=flow.settled,
        settlement_price=PriceE18(settlement),
        pot=pot,
    )


def _side(size: SizeE18, basis_sum: int, number: int) -> SideBook:
    """Give a side; what its cuts did is read only where a position stands before one of them."""
    return SideBook(size=size, basis_sum=basis_sum, cuts=(NO_CUT,) * (number + 1))


def _behind(book: Book) -> Iterable[tuple[PositionId, Position, SideBook]]:
    """Give the positions that were stored before the last cut of their side."""
    for identity, position in book.positions.items():
        _, market, _ = split_position_id(identity)
        if position.size and (found := book.markets.get(market)) is not None:
            side = found.side(position.side)
            if position.cuts != side.number:
                yield identity, position, side


def _cut_questions(at: MarginContracts, book: Book) -> list[Question]:
    asked = {}
    for identity, position, side in _behind(book):
        _, market, _ = split_position_id(identity)
        for number in {position.cuts, side.number} - {0}:
            name = f"{market}.{position.side}.{number}"
            asked[name] = Question(name, _CUT_AT, at.engine, (market, position.long, number))
    return list(asked.values())


def _with_cuts(book: Book, answers: Mapping[str, tuple[int, int]]) -> Book:
    """Put the cuts that were read into their sides."""
    markets = dict(book.markets)
    for name, (keep_e27, cash) in answers.items():
        market, side, number = (int(part) for part in name.split("."))
        found = markets[MarketId(market)]
        held = found.side(side)
        cuts = (*held.cuts[:number], Cut(keep_e27=keep_e27, cash=cash), *held.cuts[number + 1 :])
        after = replace(held, cuts=cuts)
        changed = replace(found, long=after) if side == LONG else replace(found, short=after)
        markets[MarketId(market)] = changed
    return replace(book, markets=markets)
