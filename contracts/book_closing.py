"""What others than its owner do to a position: liquidate, adjust, cut, settle; and the rules.

The engine's side of it: which position, how much and when is the liquidator's to say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from contracts.book import Book, MarketBook, Refused
from contracts.book_action import Action, begin, forgiven, listed, reduced, touch, with_side
from contracts.book_legs import leg_costs, profit_of, reindexed, stamped
from contracts.book_margin import market_now
from contracts.book_readings import Readings
from contracts.book_words import (
    CROSS,
    Account,
    MarketRules,
    Position,
    PositionId,
    Ramp,
    split_position_id,
)
from contracts.margin import NOTHING, SizeE18, charge
from contracts.margin_losses import collectable
from contracts.margin_sides import (
    LEAST_KEEP_E27,
    MAX_CUTS,
    cut_payout,
    next_cut,
    side_numerator,
    sums_after_cut,
)
from contracts.refusals import Refusal
from contracts.units import MS_PER_S, PPM, MarketId, Ppm, UsdcE6

SETTLEMENT_AGE_S: Final = 86_400
MAX_MARKETS: Final = 256
LEAST_EXECUTION_FEE: Final = 10_000
"""What a keeper's transaction may cost; an order that only its owner executes is an option."""
LEAST_BAND_PPM: Final = 10_000
"""Within it a price is near its average in every market: the liquidator reads no rules for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """What the liquidator has the engine close; cost and penalty come out of `available` only."""

    size: SizeE18
    penalty_ppm: Ppm
    available: UsdcE6
    reward: UsdcE6
    recipient: Account


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidated:
    """What a liquidation realised and took, and what the trader could not pay."""

    profit: UsdcE6
    cost: UsdcE6
    penalty: UsdcE6
    reward: UsdcE6
    shortfall: UsdcE6


def liquidate(
    book: Book, readings: Readings, identity: PositionId, close: Close
) -> tuple[Book, Liquidated]:
    """Close a part of a position, or all of it, against the pool at the mark."""
    action = touch(begin(book), identity)
    position = _open_position(action, identity)
    now = market_now(action.book, readings, split_position_id(identity)[1])
    size = SizeE18(min(close.size, position.size))
    costs = leg_costs(now, now.book.skew, -position.side, size, 0)
    profit = profit_of(now, position, size)
    available = _available(identity, position, close, profit)
    cost = collectable(costs.total, available)
    asked = charge(size, now.price, close.penalty_ppm)
    penalty = collectable(asked, available - cost)
    reward = min(close.reward, penalty)
    action = _realised(action, identity, size, profit - cost - penalty)
    action = reindexed(stamped(action, identity, now.observed_at_ms), now)
    action = action.insured(penalty - reward).with_balance(close.recipient, reward)
    taken = Liquidated(
        profit=profit, cost=cost, penalty=penalty, reward=reward, shortfall=action.shortfall
    )
    return action.done(), taken


def adjust(book: Book, readings: Readings, identity: PositionId, ramp: Ramp) -> Book:
    """Begin to ramp a position's maintenance ratio, from its live value."""
    action = begin(book)
    position = _open_position(action, identity)
    begun = replace(ramp, begun_s=readings.now_s)
    after = replace(position, ramp=begun, version=position.version + 1)
    return action.with_position(identity, after).done()


def cut(
    book: Book, readings: Readings, market: MarketId, side: int, keep_e27: int
) -> tuple[Book, UsdcE6]:
    """Take the same share of every position of a side at the mark; its profit goes to the pot."""
    now = market_now(book, readings, market)
    held = now.book.side(side)
    last = held.cuts[-1]
    after = next_cut(last, keep_e27, now.net_price)
    if held.number >= MAX_CUTS or after.keep_e27 < LEAST_KEEP_E27:
        raise Refused(Refusal.CUT_TOO_DEEP)
    size, basis_sum = sums_after_cut(side, held.size, held.basis_sum, last, after)
    payout = cut_payout(
        side_numerator(side, held.size, held.basis_sum, now.net_price),
        side_numerator(side, size, basis_sum, now.net_price),
    )
    cuts = (*held.cuts, after)
    left = replace(held, size=size, basis_sum=basis_sum, cuts=cuts)
    moved = replace(with_side(now.book, side, left), pot=now.book.pot + payout)
    return reindexed(begin(book).with_market(market, moved), now).done(), payout


def settle(book: Book, readings: Readings, identity: PositionId) -> Book:
    """End a position of a settled market at the settlement price, without cost."""
    _, market, _ = split_position_id(identity)
    action = touch(begin(book), identity)
    position = _open_position(action, identity)
    if not book.market(market).settled:
        raise Refused(Refusal.NOT_SETTLED)
    now = market_now(action.book, readings, market)
    profit = profit_of(now, position, position.size)
    action = _realised(action, identity, position.size, profit)
    return stamped(action, identity, position.stamp_ms).done()


def catch_up(book: Book, identity: PositionId) -> Book:
    """Bring a position up to the cuts of its side."""
    if book.position(identity).size == 0:
        raise Refused(Refusal.NO_POSITION)
    action = listed(touch(begin(book), identity), identity)
    account, _, mode = split_position_id(identity)
    return (forgiven(action, account) if mode == CROSS else action).done()


def begin_settlement(book: Book, readings: Readings, market: MarketId) -> Book:
    """Freeze a market for ever at its last good price, once that is a day old."""
    now = market_now(book, readings, market)
    if now.book.settled:
        raise Refused(Refusal.MARKET_SETTLED)
    if now.observed_at_ms == 0:
        raise Refused(Refusal.PRICE_NOT_READY)
    if readings.now_s * MS_PER_S < now.observed_at_ms + SETTLEMENT_AGE_S * MS_PER_S:
        raise Refused(Refusal.PRICE_STILL_YOUNG)
    after = replace(
        now.book,
        index=now.index,
        rate=0,
        at_s=readings.now_s,
        settled=True,
        settlement_price=now.price,
    )
    return begin(book).with_market(market, after).done()


def set_rules(book: Book, readings: Readings, market: MarketId, rules: MarketRules) -> Book:
    """Set a market's rules; its first ones make it a market of the book."""
    if market >= MAX_MARKETS:
        raise Refused(Refusal.TOO_MANY_MARKETS)
    if market > len(book.markets):
        raise Refused(Refusal.MARKET_OUT_OF_ORDER)
    found = book.markets.get(market)
    if found and found.settled:
        raise Refused(Refusal.MARKET_SETTLED)
    reading = readings.markets.get(market)
    if reading is None:
        raise Refused(Refusal.UNKNOWN_MARKET)
    if not is_coherent(rules, reading.limits.floor_maintenance_ppm):
        raise Refused(Refusal.RULES_INVALID)
    begun = found or MarketBook(rules=rules, at_s=readings.now_s)
    after = replace(begun, rules=rules)
    return replace(book, markets={**book.markets, market: after})


def is_coherent(rules: MarketRules, floor_ppm: Ppm) -> bool:
    """Tell whether rules may hold: no liquidation costs more than the floor of maintenance.

    The smallest position's penalty pays the reward; no share is more than the whole.
    """
    shares = (
        rules.impact_ppm,
        rules.funding_daily_ppm,
        rules.interest_share_ppm,
        rules.skew_share_ppm,
        rules.cut_share_ppm,
    )
    needed = (
        rules.interest_share_ppm,
        rules.skew_share_ppm,
        rules.cut_share_ppm,
        rules.min_notional_usdc,
        rules.liquidation_age_s,
    )
    ordered = rules.penalty_min_ppm <= rules.penalty_max_ppm
    bearable = rules.penalty_max_ppm + rules.fee_ppm < floor_ppm
    paid = rules.penalty_min_ppm * rules.min_notional >= rules.reward * PPM
    watched = rules.band_ppm >= LEAST_BAND_PPM
    executed = rules.execution_fee >= LEAST_EXECUTION_FEE
    fit = ordered and bearable and paid and watched and executed
    return max(shares) <= PPM and min(needed) > 0 and fit


def _open_position(action: Action, identity: PositionId) -> Position:
    position = action.book.position(identity)
    if position.size == 0:
        raise Refused(Refusal.NO_POSITION)
    return position


def _available(identity: PositionId, position: Position, close: Close, profit: UsdcE6) -> UsdcE6:
    """Give what cost and penalty may come from: of an isolated part, not more than is realised."""
    if split_position_id(identity)[2] == CROSS:
        return close.available
    return UsdcE6(max(0, min(close.available, position.collateral + profit)))


def _realised(action: Action, identity: PositionId, size: SizeE18, gained: int) -> Action:
    """Take a part off a position at its gain, costs taken; whole, what is left is the trader's.

    Below 0 the whole of an isolated position is a shortfall; a cross account's balance is, once its
    last position is gone.
    """
    account, _, mode = split_position_id(identity)
    position = action.book.position(identity)
    if mode == CROSS:
        action = listed(reduced(action, identity, size, NOTHING), identity)
        return forgiven(action.with_balance(account, gained), account)
    left = UsdcE6(position.collateral + gained)
    if size < position.size:
        return reduced(action, identity, size, left)
    action = reduced(action, identity, size, NOTHING).with_balance(account, max(0, left))
    return action.short_of(max(0, -left))
