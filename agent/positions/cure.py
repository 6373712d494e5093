"""What would cure a position that is warned of: margin to add, size to reduce; exact, and pure.

Cured is what could not be liquidated at a price farther off than the level begins, by the law's own
integers: margin is what is missing there, in closed form; a reduction is tried in the law's book,
with what closing costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contracts.book import Book, Order, Refused, Terms
from contracts.book_margin import health, standing
from contracts.book_readings import Readings
from contracts.book_trades import execute
from contracts.book_words import CROSS, PositionId, split_position_id
from contracts.margin import LONG, NOTHING, SizeE18, maintenance_margin, unrealised_pnl
from contracts.units import LawError, PriceE18, UnixMs, UsdcE6

ANY_PRICE: Final = PriceE18(2**256 - 1)
STEPS: Final = 12
"""Halvings of a reduction: to within a four-thousandth of the position, rounded up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cure:
    """What helps; `size` None where no reduction alone does, or none may be made now."""

    at_price: PriceE18
    margin: UsdcE6
    size: SizeE18 | None


def cure_of(book: Book, readings: Readings, identity: PositionId, at_price: PriceE18) -> Cure:
    """Give what makes a position, or its cross account, outlast a price of its market.

    Other markets of a cross account stand where they are.
    """
    return Cure(
        at_price=at_price,
        margin=margin_missing(book, readings, identity, at_price),
        size=_reduction(book, readings, identity, at_price),
    )


def margin_missing(
    book: Book, readings: Readings, identity: PositionId, at_price: PriceE18
) -> UsdcE6:
    """Give the least that has to be added so that the position is not liquidatable at a price."""
    own, found = standing(book, readings, identity), health(book, readings, identity)
    held = own.position
    if held.size == 0:
        return NOTHING
    profit = unrealised_pnl(held.side, held.size, own.entry_price, at_price)
    asked = maintenance_margin(held.size, at_price, own.ratio_ppm)
    is_cross = split_position_id(identity)[2] == CROSS
    counted = own.counted if is_cross else own.profit
    equity = found.equity - counted + profit
    maintenance = found.maintenance - own.maintenance + asked
    return UsdcE6(max(0, maintenance - equity))


def _reduction(
    book: Book, readings: Readings, identity: PositionId, at_price: PriceE18
) -> SizeE18 | None:
    """Search the smallest part whose close outlasts the price; the whole always does."""
    size = standing(book, readings, identity).position.size
    if not _outlasts(book, readings, identity, (size, at_price)):
        return None
    low, high = 0, 1 << STEPS  # in parts of the position: `high` is enough
    while high - low > 1:
        middle = (low + high) // 2
        part = SizeE18(-(-size * middle >> STEPS))
        if _outlasts(book, readings, identity, (part, at_price)):
            high = middle
        else:
            low = middle
    return SizeE18(min(size, -(-size * high >> STEPS)))


def _outlasts(
    book: Book, readings: Readings, identity: PositionId, what: tuple[SizeE18, PriceE18]
) -> bool:
    """Tell whether a part may be closed now, and the rest then outlasts a price."""
    part, at_price = what
    try:
        after, _ = execute(book, readings, close_of(book, identity, part))
        return margin_missing(after, readings, identity, at_price) == 0
    except (Refused, LawError):
        return False


def close_of(book: Book, identity: PositionId, size: SizeE18) -> Order:
    """Give the order that closes a part of a position, at any price."""
    account, market, mode = split_position_id(identity)
    held = book.position(identity)
    terms = Terms(
        leverage_e2=held.leverage_e2,
        managed=held.managed,
        maintenance_ppm=held.maintenance_ppm,
        ceiling_ppm=held.ceiling_ppm,
    )
    buys = held.side != LONG
    return Order(
        account=account,
        market=market,
        mode=mode,
        long=buys,
        reduce_only=True,
        size=size,
        margin=NOTHING,
        terms=terms,
        max_notional=NOTHING,
        fee=NOTHING,
        acceptable_price=ANY_PRICE if buys else PriceE18(0),
        not_before_ms=UnixMs(0),
        not_after_ms=UnixMs(2**60),
        executor=account,
    )
