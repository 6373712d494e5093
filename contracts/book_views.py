"""What a book tells others: exposure for the pool, what a trade costs, liquidation prices, words.

Sums over a side come from its aggregates, in constant work; what positions get is rounded down
each, so that it is never more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contracts.book import Book, Refused
from contracts.book_legs import leg_costs
from contracts.book_margin import MarketNow, cross_margin, market_now, standing
from contracts.book_readings import Readings
from contracts.book_words import (
    CROSS,
    PositionId,
    encode_flow,
    encode_rules,
    encode_sizes,
    split_position_id,
)
from contracts.margin import (
    LONG,
    SHORT,
    SizeE18,
    charge,
    check_side,
    liquidation_price,
)
from contracts.margin_price import price_paid
from contracts.margin_sides import side_profit
from contracts.pool import Exposure
from contracts.refusals import Refusal
from contracts.units import PPM, MarketId, Ppm, PriceE18, UnixMs, UsdcE6, ceil_div, floor_div

RESERVE_PPM: Final = Ppm(10_000)  # 1 % of open interest stays beside what traders have won
DUST: Final = 10**6  # what cuts leave of a side is nobody's: the pool waits for no price of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a trade would pay at the mark of now."""

    price_paid: PriceE18
    spread: UsdcE6
    impact: UsdcE6
    fee: UsdcE6


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """A market's unrealised profit at the ends of its price's confidence, and what to reserve."""

    high: int
    low: int
    reserve: UsdcE6


def exposure(book: Book, readings: Readings, since_ms: UnixMs) -> Exposure:
    """Tell the pool what open positions mean; refuse while a price is not known and newer."""
    high = low = reserve = 0
    for market, held in book.markets.items():
        if max(held.long.size, held.short.size) < DUST:
            continue
        now = market_now(book, readings, market)
        is_known = now.closable and (held.settled or now.observed_at_ms >= since_ms)
        if not is_known:
            raise Refused(Refusal.EXPOSURE_UNKNOWN)
        ends = market_ends(now)
        high, low, reserve = high + ends.high, low + ends.low, reserve + ends.reserve
    return Exposure(debts=book.debts, profit_high=high, profit_low=low, reserve=UsdcE6(reserve))


def market_ends(now: MarketNow) -> Ends:
    """Give a market's profit at both ends of its price's confidence, and its reserve."""
    up = PriceE18(ceil_div(now.price * (PPM + now.confidence_ppm), PPM))
    down = PriceE18(floor_div(now.price * (PPM - now.confidence_ppm), PPM))
    long_up, short_down = profit_at(now, LONG, up), profit_at(now, SHORT, down)
    at_up = long_up + profit_at(now, SHORT, up)
    at_down = profit_at(now, LONG, down) + short_down
    size = SizeE18(now.book.long.size + now.book.short.size)
    beside = charge(size, now.price, RESERVE_PPM)
    return Ends(
        high=max(at_up, at_down),
        low=min(at_up, at_down),
        reserve=UsdcE6(max(long_up, 0) + max(short_down, 0) + beside),
    )


def profit_at(now: MarketNow, side: int, price: PriceE18) -> UsdcE6:
    """Give a side's unrealised profit at a price, funding included, rounded down."""
    held = now.book.side(side)
    return side_profit(side, held.size, held.basis_sum, price - now.index)


def exposure_at_last_prices(book: Book, readings: Readings) -> tuple[UsdcE6, int]:
    """Give debts and profit at the last accepted marks; never refuses."""
    profit = 0
    for market, held in book.markets.items():
        if held.long.size | held.short.size:
            now = market_now(book, readings, market)
            profit += profit_at(now, LONG, now.price) + profit_at(now, SHORT, now.price)
    return book.debts, profit


def quote(now: MarketNow, direction: int, size: SizeE18, *, opens: bool) -> Quote:
    """Give what a trade would pay now; UnitError where its cost leaves a seller nothing."""
    check_side(direction)
    closing_ppm = min(now.confidence_ppm, now.book.rules.penalty_min_ppm)
    widen_ppm = now.confidence_ppm if opens else closing_ppm
    costs = leg_costs(now, now.book.skew, direction, size, widen_ppm)
    paid = price_paid(direction, size, now.price, UsdcE6(costs.spread + costs.impact))
    return Quote(price_paid=paid, spread=costs.spread, impact=costs.impact, fee=costs.fee)


def position_liquidation_price(
    book: Book, readings: Readings, identity: PositionId
) -> PriceE18 | None:
    """Give the first price, in the direction of loss, at which a position is liquidatable.

    Exact, under the contract's roundings, at the funding and ratio of now. Of a cross one: its
    market's price with all others where they are, as if it were live. None where there is none
    above zero.
    """
    account, _, mode = split_position_id(identity)
    own = standing(book, readings, identity)
    if own.position.size == 0:
        raise Refused(Refusal.NO_POSITION)
    cushion, other_equity, other_maintenance = own.position.collateral, 0, 0
    if mode == CROSS:
        sums = cross_margin(book, readings, account)
        cushion = UsdcE6(sums.balance + own.cash)
        other_equity = sums.equity - own.counted - cushion
        other_maintenance = sums.maintenance - own.maintenance
    return liquidation_price(
        own.position.side,
        own.position.size,
        own.entry_price,
        cushion,
        own.ratio_ppm,
        UsdcE6(other_equity),
        UsdcE6(other_maintenance),
    )


def market_words(book: Book, market: MarketId) -> tuple[int, int, int, int, int, int, int]:
    """Give what `MarginEngine.market` gives: sizes, sums, funding, rules, settlement price, pot."""
    held = book.market(market)
    return (
        encode_sizes(held.long.size, held.short.size),
        held.long.basis_sum,
        held.short.basis_sum,
        encode_flow(held.flow),
        encode_rules(held.rules),
        held.settlement_price,
        held.pot,
    )
