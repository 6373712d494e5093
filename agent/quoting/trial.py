"""A wish carried out in the mirror's book: what it costs, and how much money it needs; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agent.terms import Ratios
from contracts.book import Book, Order, Terms
from contracts.book_legs import size_with_other_mode
from contracts.book_margin import (
    CrossMargin,
    Standing,
    cross_margin,
    standing,
)
from contracts.book_money import Holding, hold
from contracts.book_readings import Readings
from contracts.book_trades import Fill, execute
from contracts.book_views import position_liquidation_price
from contracts.book_words import Account, PositionId, account_number, position_id
from contracts.margin import NOTHING, SizeE18, notional_up
from contracts.margin_account import locked_margin
from contracts.margin_terms import leverage_cap
from contracts.messages import Adjustment, MarginMode, Side
from contracts.units import PPM, LeverageE2, MarketId, Ppm, PriceE18, UnixMs, UsdcE6, ppm_ceil

PLENTY: Final = 2**62  # USDC e6: more than any order needs, less than a collateral holds
NOBODY: Final = Account(0)
ANY_NOTIONAL: Final = UsdcE6(2**128 - 1)
ALWAYS_MS: Final = UnixMs(2**63)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a trader asks terms for; `margin` None: as much as the order needs (isolated only)."""

    account: str
    market: MarketId
    side: Side
    mode: MarginMode
    adjustment: Adjustment
    size: SizeE18
    leverage_e2: LeverageE2
    margin: UsdcE6 | None = None

    @property
    def identity(self) -> PositionId:
        """The position that it is for."""
        return position_id(account_number(self.account), self.market, int(self.mode))

    @property
    def is_cross(self) -> bool:
        """Whether the whole account carries it."""
        return self.mode is MarginMode.CROSS


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An order as the contracts would execute it at the mark of now.

    `margin` goes with the request (isolated), `deposit` is what the balance lacks for it; with both
    the `standing` afterwards is what the trader has. `size_cap_e2`: the cap at that size;
    `markets`: of the account's open cross positions afterwards.
    """

    fill: Fill
    margin: UsdcE6
    deposit: UsdcE6
    standing: Standing
    sums: CrossMargin
    notional: UsdcE6
    size_cap_e2: LeverageE2
    liquidation_price: PriceE18 | None
    markets: tuple[MarketId, ...]
    book: Book

    @property
    def ratio_ppm(self) -> Ppm:
        """The maintenance ratio that the position keeps now."""
        return self.standing.ratio_ppm


def terms_of(ask: Ask, ratios: Ratios) -> Terms:
    """Give the terms as the engine keeps them."""
    return Terms(
        leverage_e2=ask.leverage_e2,
        managed=ask.adjustment is Adjustment.MANAGED,
        maintenance_ppm=ratios.maintenance_ppm,
        ceiling_ppm=ratios.ceiling_ppm,
    )


def attempt(at: tuple[Book, Readings], ask: Ask, terms: Terms, slippage_ppm: Ppm) -> Trial:
    """Carry an order out with the money that it needs.

    First with more money than it can need, to learn how much that is; then with exactly that.
    `slippage_ppm`: what the price may move until then, so that the money still suffices.

    Raises
    ------
    Refused
        By the guard of the contracts that is in its way.
    """
    book, readings = at
    margin = NOTHING if ask.is_cross else (ask.margin if ask.margin is not None else None)
    rich = _with_more(book, ask, PLENTY)
    if margin is None:
        ample, _ = _carried_out(rich, readings, ask, terms, UsdcE6(PLENTY // 2))
        margin = _margin_needed(ample, readings, ask, slippage_ppm)
    after, _ = _carried_out(rich, readings, ask, terms, margin)
    deposit = _deposit_needed((book, after), readings, ask, margin, slippage_ppm)
    funded = _with_more(book, ask, deposit)
    end, fill = _carried_out(funded, readings, ask, terms, margin)
    return _trial(end, readings, ask, fill, (margin, deposit))


def _with_more(book: Book, ask: Ask, amount: int) -> Book:
    """Give the account more money; nothing else of the book knows of it."""
    account = account_number(ask.account)
    held = book.account(account)
    return replace(
        book, accounts={**book.accounts, account: replace(held, balance=held.balance + amount)}
    )


def _carried_out(
    book: Book, readings: Readings, ask: Ask, terms: Terms, margin: UsdcE6
) -> tuple[Book, Fill]:
    """Hold an order's money and execute it at the mark of now, at any price."""
    account = account_number(ask.account)
    fee = book.market(ask.market).rules.execution_fee
    nonce = book.account(account).nonce + 1
    holding = Holding(
        account=account,
        market=ask.market,
        mode=int(ask.mode),
        fee=fee,
        margin=margin,
        nonce=nonce,
    )
    order = Order(
        account=account,
        market=ask.market,
        mode=int(ask.mode),
        long=ask.side is Side.LONG,
        reduce_only=False,
        size=ask.size,
        margin=margin,
        terms=terms,
        max_notional=ANY_NOTIONAL,
        fee=fee,
        acceptable_price=PriceE18(2**255 if ask.side is Side.LONG else 0),
        not_before_ms=UnixMs(0),
        not_after_ms=ALWAYS_MS,
        executor=NOBODY,
    )
    return execute(hold(book, readings, holding), readings, order)


def _margin_needed(after: Book, readings: Readings, ask: Ask, slippage_ppm: Ppm) -> UsdcE6:
    """Give the least margin that opens: what plenty left over was not needed."""
    own = standing(after, readings, ask.identity)
    if own.position.size == 0 or own.position.long != (ask.side is Side.LONG):
        return NOTHING  # the order only reduces
    needed = PLENTY // 2 - (own.equity - own.initial)
    held_before = SizeE18(max(0, own.position.size - ask.size))
    moved = ppm_ceil(notional_up(held_before, own.now.price), slippage_ppm)
    return UsdcE6(max(0, ppm_ceil(needed, Ppm(PPM + slippage_ppm)) + moved))


def _deposit_needed(
    books: tuple[Book, Book],
    readings: Readings,
    ask: Ask,
    margin: UsdcE6,
    slippage_ppm: Ppm,
) -> UsdcE6:
    """Give what the balance lacks, for the request and for what is open afterwards."""
    before, after = books
    account = account_number(ask.account)
    held, fee = before.account(account), before.market(ask.market).rules.execution_fee
    lacks = held.promised + fee + margin - held.balance
    if not ask.is_cross:
        return UsdcE6(max(0, lacks, _locked_short(before, readings, account, fee + margin)))
    sums = cross_margin(after, readings, account)
    own = standing(after, readings, ask.identity)
    grows = own.position.size > 0 and own.position.long == (ask.side is Side.LONG)
    short = sums.initial - (sums.opening_equity - PLENTY)
    if not grows:
        short = sums.maintenance - (sums.equity - PLENTY)
    elif short > 0:
        short += ppm_ceil(sums.initial, slippage_ppm)
    return UsdcE6(max(0, lacks, short))


def _locked_short(book: Book, readings: Readings, account: Account, amount: int) -> int:
    """Give what open cross positions lack for an amount to leave the balance."""
    held = book.account(account)
    if not held.markets:
        return 0
    sums = cross_margin(book, readings, account)
    left = sums.equity - sums.widening - amount - held.promised
    return locked_margin(sums.initial, sums.notional) - left


def _trial(
    book: Book, readings: Readings, ask: Ask, fill: Fill, money: tuple[UsdcE6, UsdcE6]
) -> Trial:
    """Look at what an order left behind."""
    own = standing(book, readings, ask.identity)
    held = own.position
    found, limits = own.now.book, own.now.limits
    heavier = SizeE18(max(found.long.size, found.short.size))
    in_market = size_with_other_mode(book, readings, ask.identity)
    return Trial(
        fill=fill,
        margin=money[0],
        deposit=money[1],
        standing=own,
        sums=cross_margin(book, readings, account_number(ask.account)),
        notional=own.notional,
        size_cap_e2=leverage_cap(
            limits.cap_e2,
            limits.size_scale,
            notional_up(in_market, own.now.price),
            notional_up(heavier, own.now.price),
        ),
        liquidation_price=position_liquidation_price(book, readings, ask.identity)
        if held.size
        else None,
        markets=book.account(account_number(ask.account)).markets,
        book=book,
    )
