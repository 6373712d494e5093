"""Orders executed on a book, and positions put under new terms.

An order against a position closes it first and opens the rest: two legs, each with its own costs,
at one price. The entry is the mark; costs are charged in cash.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from contracts.book import Book, Order, Refused, Terms
from contracts.book_action import Action, begin, listed, reduced, touch
from contracts.book_legs import (
    NO_COSTS,
    Costs,
    leg_costs,
    profit_of,
    reindexed,
    size_with_other_mode,
    stamped,
)
from contracts.book_margin import (
    MarketNow,
    cross_margin,
    is_safe,
    market_now,
    standing,
)
from contracts.book_money import unpromised, use_nonce
from contracts.book_readings import MAY_CLOSE, MAY_OPEN, Readings
from contracts.book_words import (
    CROSS,
    MAX_COLLATERAL,
    MAX_CROSS,
    MAX_SIZE,
    NO_SIZE,
    Position,
    PositionId,
    split_position_id,
)
from contracts.margin import (
    NOTHING,
    SizeE18,
    average_entry_price,
    initial_margin,
    notional_down,
    notional_up,
)
from contracts.margin_price import price_paid
from contracts.margin_terms import is_ceiling_bearable, is_opening_ratio, leverage_cap
from contracts.messages import Adjustment
from contracts.refusals import Refusal
from contracts.units import PriceE18, UnitError, UsdcE6, ppm_floor

INSURANCE_FEE_DIVISOR: Final = 10
"""A tenth of a fee goes to insurance, rounded down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """What an order did: its legs' sizes, profit realised, both costs, the price for one unit."""

    closed: SizeE18
    opened: SizeE18
    profit: UsdcE6
    costs: Costs
    price_paid: PriceE18


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leg:
    """A part of an order: the action before or after it, its size, what it cost and realised."""

    action: Action
    size: SizeE18
    costs: Costs = NO_COSTS
    profit: UsdcE6 = NOTHING


def execute(book: Book, readings: Readings, order: Order) -> tuple[Book, Fill]:
    """Execute an order that the desk has held."""
    now = market_now(book, readings, order.market)
    identity = order.position_id
    if now.book.settled:
        raise Refused(Refusal.MARKET_SETTLED)
    if not order.not_before_ms <= now.observed_at_ms <= order.not_after_ms:
        raise Refused(Refusal.PRICE_OUTSIDE_WINDOW)
    action = touch(begin(book), identity)
    closing = _closing_size(action.book.position(identity), order)
    opening = SizeE18(0 if order.reduce_only else order.size - closing)
    if order.reduce_only and not closing:
        raise Refused(Refusal.NOTHING_TO_REDUCE)
    action = _released(action, order, is_opening=opening > 0)
    close = _close(now, order, _Leg(action=action, size=closing))
    opened = _open(now, readings, order, _Leg(action=close.action, size=opening))
    fill = _fill(now, order, close, opened)
    action = reindexed(listed(opened.action, identity), now)
    action = stamped(action, identity, now.observed_at_ms)
    if action.book.position(identity).collateral > MAX_COLLATERAL:
        raise Refused(Refusal.AMOUNT_OUT_OF_RANGE)
    _check_margin(action.book, readings, identity, has_opened=opening > 0)
    return action.with_balance(order.executor, order.fee).done(), fill


def retune(book: Book, readings: Readings, identity: PositionId, nonce: int, terms: Terms) -> Book:
    """Put an open position under new terms: nothing is traded."""
    account, market, _ = split_position_id(identity)
    action = touch(use_nonce(begin(book), account, nonce), identity)
    position = action.book.position(identity)
    if position.size == 0:
        raise Refused(Refusal.NO_POSITION)
    now = market_now(action.book, readings, market)
    if now.book.settled:
        raise Refused(Refusal.MARKET_SETTLED)
    _check_may_open(now)
    _check_terms(now, terms, size_with_other_mode(action.book, readings, identity))
    after = replace(under_terms(position, terms), version=position.version + 1)
    action = action.with_position(identity, after)
    _check_margin(action.book, readings, identity, has_opened=True)
    return action.done()


def under_terms(position: Position, terms: Terms) -> Position:
    """Put a position under terms; an adjustment ends."""
    return replace(
        position,
        leverage_e2=terms.leverage_e2,
        managed=terms.managed,
        maintenance_ppm=terms.maintenance_ppm,
        ceiling_ppm=terms.ceiling_ppm,
        ramp=None,
    )


def _closing_size(position: Position, order: Order) -> SizeE18:
    """Give what an order takes off the position that is there."""
    if position.size == 0 or position.long == order.long:
        return NO_SIZE
    return SizeE18(min(order.size, position.size))


def _released(action: Action, order: Order, *, is_opening: bool) -> Action:
    """Free what was held: margin that opens nothing goes to the balance, a fee leaves it."""
    if order.is_cross:
        action = unpromised(action, order.account, order.fee)
        return action.with_balance(order.account, -order.fee)
    action = action.with_escrow(-(order.fee + order.margin))
    return action if is_opening else action.with_balance(order.account, order.margin)


def _close(now: MarketNow, order: Order, leg: _Leg) -> _Leg:
    """Close a part of a position, or all of it."""
    size = leg.size
    if not size:
        return leg
    if not now.allows(MAY_CLOSE):
        raise Refused(Refusal.CLOSING_PAUSED)
    if not now.closable:
        raise Refused(Refusal.PRICE_NOT_READY)
    position = leg.action.book.position(order.position_id)
    widen_ppm = min(now.confidence_ppm, now.book.rules.penalty_min_ppm)
    costs = leg_costs(now, now.book.skew, order.direction, size, widen_ppm)
    profit = profit_of(now, position, size)
    paid = UsdcE6(profit - costs.total)
    collateral, payout = NOTHING, paid
    if not order.is_cross:
        collateral, payout = _released_margin(now, position, size, paid)
    action = reduced(leg.action, order.position_id, size, collateral)
    action = action.with_balance(order.account, payout)
    rest = SizeE18(position.size - size)
    if rest and notional_down(rest, now.price) < now.book.rules.min_notional:
        raise Refused(Refusal.BELOW_MINIMUM_SIZE)
    return replace(leg, action=_insured(action, costs), costs=costs, profit=profit)


def _released_margin(
    now: MarketNow, position: Position, size: SizeE18, paid: UsdcE6
) -> tuple[UsdcE6, UsdcE6]:
    """Give the collateral that stays with the rest, and what goes to the balance.

    That is the part's share, as far as it is beyond the initial margin of the rest: who reduces a
    position that has little left makes it safer, never weaker.
    """
    left = position.collateral + paid
    if left < 0:
        raise Refused(Refusal.LOSS_EXCEEDS_MARGIN)
    rest = SizeE18(position.size - size)
    asked = initial_margin(rest, now.price, position.leverage_e2)
    free = left + profit_of(now, position, rest) - asked
    share = position.collateral * size // position.size + paid
    payout = max(0, min(share, free))
    return UsdcE6(left - payout), UsdcE6(payout)


def _insured(action: Action, costs: Costs) -> Action:
    return action.insured(costs.fee // INSURANCE_FEE_DIVISOR)


def _open(now: MarketNow, readings: Readings, order: Order, leg: _Leg) -> _Leg:
    """Open a position, or add to one."""
    size, identity = leg.size, order.position_id
    if not size:
        return leg
    _check_may_open(now)
    skew = leg.action.book.market(now.market).skew
    costs = leg_costs(now, skew, order.direction, size, now.confidence_ppm)
    before = leg.action.book.position(identity)
    grown = _grown(now, order, before, size)
    action = leg.action.with_position(identity, grown)
    basis_sum = grown.size * grown.basis - before.size * before.basis
    action = action.with_interest(identity, size, basis_sum)
    _check_terms(now, order.terms, size_with_other_mode(action.book, readings, identity), action)
    _check_size(now, order, action, skew)
    if order.is_cross:
        action = action.with_balance(order.account, -costs.total)
    else:
        action = _margined(action, order, costs)
    return replace(leg, action=_insured(action, costs), costs=costs)


def _grown(now: MarketNow, order: Order, before: Position, added: SizeE18) -> Position:
    """Give a position after an opening: its basis averaged, and all of it under the new terms."""
    size = SizeE18(before.size + added)
    if size > MAX_SIZE:
        raise Refused(Refusal.AMOUNT_OUT_OF_RANGE)
    price = PriceE18(now.net_price)
    basis = average_entry_price(order.direction, before.size, PriceE18(before.basis), added, price)
    cuts = now.book.side(order.direction).number
    grown = replace(before, size=size, basis=basis, long=order.long, cuts=cuts)
    return under_terms(grown, order.terms)


def _margined(action: Action, order: Order, costs: Costs) -> Action:
    """Put an order's margin, less what opening costs, into an isolated position."""
    position = action.book.position(order.position_id)
    collateral = position.collateral + order.margin - costs.total
    if collateral < 0:
        raise Refused(Refusal.MARGIN_SHORT)
    after = replace(position, collateral=UsdcE6(collateral))
    return action.with_position(order.position_id, after)


def _check_may_open(now: MarketNow) -> None:
    if not now.allows(MAY_OPEN):
        raise Refused(Refusal.OPENING_PAUSED)
    if not now.ready:
        raise Refused(Refusal.PRICE_NOT_READY)


def _check_terms(
    now: MarketNow, terms: Terms, account_size: SizeE18, action: Action | None = None
) -> None:
    """Refuse terms that the market does not allow now; `action`: an opening is in its sizes."""
    limits = now.limits
    adjustment = Adjustment.MANAGED if terms.managed else Adjustment.FIXED
    target, floor = limits.target_maintenance_ppm, limits.floor_maintenance_ppm
    if not is_opening_ratio(adjustment, terms.maintenance_ppm, target, floor):
        raise Refused(Refusal.MAINTENANCE_TOO_LOW)
    bearable = is_ceiling_bearable(terms.ceiling_ppm, terms.leverage_e2)
    if terms.managed and not (bearable and terms.ceiling_ppm >= terms.maintenance_ppm):
        raise Refused(Refusal.CEILING_UNBEARABLE)
    found = action.book.market(now.market) if action else now.book
    heavier = SizeE18(max(found.long.size, found.short.size))
    cap = leverage_cap(
        limits.cap_e2,
        limits.size_scale,
        notional_up(account_size, now.price),
        notional_up(heavier, now.price),
    )
    if terms.leverage_e2 > cap:
        raise Refused(Refusal.LEVERAGE_ABOVE_CAP)


def _check_size(now: MarketNow, order: Order, action: Action, skew: int) -> None:
    """Refuse a position too large or too small, and a market too full for it."""
    book, rules = action.book, now.book.rules
    found = book.market(now.market)
    size, assets = book.position(order.position_id).size, action.start.pool.assets
    if notional_up(size, now.price) > order.max_notional:
        raise Refused(Refusal.NOTIONAL_ABOVE_TERMS)
    if notional_down(size, now.price) < rules.min_notional:
        raise Refused(Refusal.BELOW_MINIMUM_SIZE)
    interest = notional_up(found.side(order.direction).size, now.price)
    share = ppm_floor(assets, rules.interest_share_ppm)
    if interest > min(now.limits.open_interest_cap, share):
        raise Refused(Refusal.OPEN_INTEREST_FULL)
    far = notional_up(SizeE18(abs(found.skew)), now.price)
    if abs(found.skew) > abs(skew) and far > ppm_floor(assets, rules.skew_share_ppm):
        raise Refused(Refusal.SKEW_FULL)
    markets = book.account(order.account).markets
    if order.is_cross and order.market not in markets and len(markets) == MAX_CROSS:
        raise Refused(Refusal.TOO_MANY_POSITIONS)


def _fill(now: MarketNow, order: Order, close: _Leg, opened: _Leg) -> Fill:
    """Add both legs up; refuse a price worse than accepted."""
    costs = Costs(
        spread=UsdcE6(close.costs.spread + opened.costs.spread),
        impact=UsdcE6(close.costs.impact + opened.costs.impact),
        fee=UsdcE6(close.costs.fee + opened.costs.fee),
    )
    size = SizeE18(close.size + opened.size)
    try:
        paid = price_paid(order.direction, size, now.price, UsdcE6(costs.spread + costs.impact))
    except UnitError:
        raise Refused(Refusal.PRICE_NOT_ACCEPTABLE) from None
    if order.direction * (paid - order.acceptable_price) > 0:
        raise Refused(Refusal.PRICE_NOT_ACCEPTABLE)
    return Fill(
        closed=close.size,
        opened=opened.size,
        profit=close.profit,
        costs=costs,
        price_paid=paid,
    )


def _check_margin(
    book: Book, readings: Readings, identity: PositionId, *, has_opened: bool
) -> None:
    """Refuse an opening that lacks initial margin, and a reduction that leaves too little."""
    account, _, mode = split_position_id(identity)
    if not has_opened:
        if not is_safe(book, readings, identity):
            raise Refused(Refusal.WOULD_BE_LIQUIDATABLE)
        return
    if mode != CROSS:
        own = standing(book, readings, identity)
        if own.equity < own.initial:
            raise Refused(Refusal.MARGIN_SHORT)
        return
    sums = cross_margin(book, readings, account)
    if not sums.ready:
        raise Refused(Refusal.PRICE_NOT_READY)
    if sums.opening_equity < sums.initial:
        raise Refused(Refusal.MARGIN_SHORT)
