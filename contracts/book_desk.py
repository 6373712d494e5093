"""Requests that wait for a price observed after them: made, executed by anyone, cancelled later.

Signatures apart: who calls `request_open` or `change_terms` has verified the terms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from contracts.book import Book, Order, Refused, Request, Terms
from contracts.book_margin import standing
from contracts.book_money import Holding, hold, unhold
from contracts.book_readings import Readings
from contracts.book_trades import Fill, execute, retune
from contracts.book_words import (
    CROSS,
    ISOLATED,
    MAX_COLLATERAL,
    MAX_SIZE,
    Account,
    PositionId,
    account_number,
    position_id,
    split_position_id,
)
from contracts.fields import keccak256
from contracts.margin import NO_RATIO, NOTHING, SizeE18, notional_up
from contracts.margin_terms import is_ceiling_bearable
from contracts.messages import Adjustment, PositionTerms, Side
from contracts.refusals import Refusal
from contracts.units import (
    ONE_X,
    PPM,
    LeverageE2,
    MarketId,
    PriceE18,
    UnixMs,
    UsdcE6,
    milliseconds,
)

FROM_MS: Final = 2_001  # a price known when the request was made is stamped at most 2 s later
WINDOW_MS: Final = 17_000

NO_TERMS: Final = Terms(
    leverage_e2=LeverageE2(0), managed=False, maintenance_ppm=NO_RATIO, ceiling_ppm=NO_RATIO
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a trader asks for within terms; `margin` for isolated ones only."""

    size: SizeE18
    leverage_e2: LeverageE2
    acceptable_price: PriceE18
    margin: UsdcE6 = NOTHING


def request_open(
    book: Book, readings: Readings, caller: Account, terms: PositionTerms, wish: Wish
) -> tuple[Book, Request]:
    """Ask to buy into one side under terms: to open, increase, or reduce and flip."""
    held = _taken(terms, caller, wish.leverage_e2)
    mode = int(terms.margin_mode)
    if mode == CROSS and wish.margin:
        raise Refused(Refusal.MARGIN_NEEDS_ISOLATED)
    if not 0 < wish.size <= MAX_SIZE or wish.margin > MAX_COLLATERAL:
        raise Refused(Refusal.AMOUNT_OUT_OF_RANGE)
    market = MarketId(terms.market)
    request = Request(
        account=caller,
        market=market,
        mode=mode,
        long=terms.side is Side.LONG,
        reduce_only=False,
        size=wish.size,
        margin=wish.margin,
        terms=held,
        max_notional=UsdcE6(terms.max_notional_e6),
        fee=book.market(market).rules.execution_fee,
        acceptable_price=wish.acceptable_price,
        requested_at_ms=milliseconds(readings.now_s),
    )
    return _wait(book, readings, request, terms.nonce)


def request_close(
    book: Book,
    readings: Readings,
    identity: PositionId,
    size: SizeE18,
    acceptable_price: PriceE18,
) -> tuple[Book, Request]:
    """Ask to reduce or close a position; needs no terms."""
    account, market, mode = split_position_id(identity)
    if mode not in {ISOLATED, CROSS}:
        raise Refused(Refusal.UNKNOWN_CHOICE)
    fee = book.market(market).rules.execution_fee
    if size == 0:
        raise Refused(Refusal.AMOUNT_OUT_OF_RANGE)
    position = book.position(identity)
    if position.size == 0:
        raise Refused(Refusal.NOTHING_TO_REDUCE)
    request = Request(
        account=account,
        market=market,
        mode=mode,
        long=not position.long,
        reduce_only=True,
        size=SizeE18(min(size, MAX_SIZE)),
        margin=NOTHING,
        terms=NO_TERMS,
        max_notional=NOTHING,
        fee=fee,
        acceptable_price=acceptable_price,
        requested_at_ms=milliseconds(readings.now_s),
    )
    return _wait(book, readings, request, 0)


def execute_request(
    book: Book, readings: Readings, request: Request, executor: Account
) -> tuple[Book, Fill]:
    """Execute a waiting request at the price that the feed has now; the fee is the caller's."""
    ended = _ended(book, request)
    latest_ms = request.requested_at_ms + WINDOW_MS
    if milliseconds(readings.now_s) > latest_ms:
        raise Refused(Refusal.OUTSIDE_WINDOW)
    order = Order(
        account=request.account,
        market=request.market,
        mode=request.mode,
        long=request.long,
        reduce_only=request.reduce_only,
        size=request.size,
        margin=request.margin,
        terms=request.terms,
        max_notional=request.max_notional,
        fee=request.fee,
        acceptable_price=request.acceptable_price,
        not_before_ms=UnixMs(request.requested_at_ms + FROM_MS),
        not_after_ms=UnixMs(latest_ms),
        executor=executor,
    )
    return execute(ended, readings, order)


def cancel(book: Book, readings: Readings, request: Request) -> Book:
    """End a request whose window has passed: margin back, fee to insurance."""
    ended = _ended(book, request)
    if milliseconds(readings.now_s) <= request.requested_at_ms + WINDOW_MS:
        raise Refused(Refusal.OUTSIDE_WINDOW)
    holding = Holding(
        account=request.account,
        market=request.market,
        mode=request.mode,
        fee=request.fee,
        margin=request.margin,
    )
    return unhold(ended, readings, holding)


def change_terms(
    book: Book,
    readings: Readings,
    caller: Account,
    terms: PositionTerms,
    leverage_e2: LeverageE2,
) -> Book:
    """Put an open position under new terms, at once."""
    held = _taken(terms, caller, leverage_e2)
    identity = position_id(caller, MarketId(terms.market), int(terms.margin_mode))
    own = standing(book, readings, identity)
    if own.position.size == 0:
        raise Refused(Refusal.NO_POSITION)
    if own.position.long != (terms.side is Side.LONG):
        raise Refused(Refusal.TERMS_OF_ANOTHER)
    if notional_up(own.position.size, own.now.price) > terms.max_notional_e6:
        raise Refused(Refusal.NOTIONAL_ABOVE_TERMS)
    return retune(book, readings, identity, terms.nonce, held)


def request_id(request: Request) -> bytes:
    """Give the hash by which the desk knows a request."""
    words = (
        request.account,
        request.market,
        request.mode,
        request.long,
        request.reduce_only,
        request.terms.managed,
        request.size,
        request.margin,
        request.terms.leverage_e2,
        request.terms.maintenance_ppm,
        request.terms.ceiling_ppm,
        request.max_notional,
        request.fee,
        request.acceptable_price,
        request.requested_at_ms,
    )
    return keccak256(b"".join(int(word).to_bytes(32, "big") for word in words))


def _taken(terms: PositionTerms, caller: Account, leverage_e2: LeverageE2) -> Terms:
    """Refuse terms that are not the caller's, or say what no position can be."""
    if account_number(terms.account) != caller:
        raise Refused(Refusal.TERMS_OF_ANOTHER)
    if terms.nonce == 0:
        raise Refused(Refusal.TERMS_USED)
    if not ONE_X <= leverage_e2 <= terms.max_leverage_e2:
        raise Refused(Refusal.LEVERAGE_OUTSIDE_TERMS)
    maintenance, ceiling = terms.maintenance_ppm, terms.maintenance_ceiling_ppm
    managed = terms.adjustment is Adjustment.MANAGED
    fits = 0 < 2 * maintenance * terms.max_leverage_e2 <= ONE_X * PPM and ceiling <= PPM
    if not fits or (managed and ceiling < maintenance):
        raise Refused(Refusal.TERMS_INCOHERENT)
    if managed and not is_ceiling_bearable(ceiling, leverage_e2):
        raise Refused(Refusal.CEILING_UNBEARABLE)
    return Terms(
        leverage_e2=leverage_e2,
        managed=managed,
        maintenance_ppm=maintenance,
        ceiling_ppm=ceiling,
    )


def _wait(book: Book, readings: Readings, request: Request, nonce: int) -> tuple[Book, Request]:
    if request in book.requests:
        raise Refused(Refusal.ALREADY_REQUESTED)
    waiting = replace(book, requests=book.requests | {request})
    holding = Holding(
        account=request.account,
        market=request.market,
        mode=request.mode,
        fee=request.fee,
        margin=request.margin,
        nonce=nonce,
    )
    return hold(waiting, readings, holding), request


def _ended(book: Book, request: Request) -> Book:
    if request not in book.requests:
        raise Refused(Refusal.NOT_REQUESTED)
    return replace(book, requests=book.requests - {request})
