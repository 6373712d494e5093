"""How much of a position a liquidation closes: what restores it, what was signed, what may go."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from contracts.book import Refused
from contracts.book_margin import Health, Standing
from contracts.margin import CloseRules, SizeE18, notional_down, partial_close_size
from contracts.margin_pace import Pace, window_at, window_left
from contracts.margin_price import TradeRules, close_cost_ppm
from contracts.refusals import Refusal
from contracts.units import Ppm, UsdcE6

_E30: Final = 10**30  # SizeE18 × PriceE18 in one UsdcE6


def needed(found: Health, ratio_ppm: Ppm, rules: CloseRules) -> SizeE18:
    """Give the smallest close that restores the target, at what any close of it costs."""
    own = found.standing
    now, position = own.now, own.position
    market = TradeRules(
        fee_ppm=now.book.rules.fee_ppm,
        spread_ppm=now.limits.spread_ppm,
        impact_ppm=now.book.rules.impact_ppm,
        size_scale=now.limits.size_scale,
    )
    cost = close_cost_ppm(-position.side, position.size, now.price, now.book.skew, market)
    size = partial_close_size(
        position.size,
        now.price,
        ratio_ppm,
        UsdcE6(found.equity),
        replace(rules, cost_ppm=cost),
        UsdcE6(found.maintenance - found.own_maintenance),
    )
    return without_dust(own, size)


def without_dust(own: Standing, size: SizeE18) -> SizeE18:
    """Give the size; the whole position where less than the minimum would stay."""
    rest = SizeE18(own.position.size - size)
    is_dust = notional_down(rest, own.now.price) < own.now.book.rules.min_notional
    return own.position.size if is_dust else size


def limited(own: Standing, size: SizeE18, max_size: SizeE18) -> SizeE18:
    """Hold a close to the signed size; one that would leave dust is void."""
    if size <= max_size:
        return size
    if max_size == 0 or without_dust(own, max_size) != max_size:
        raise Refused(Refusal.ACTION_VOID)
    return max_size


def paced(own: Standing, size: SizeE18, pace: Pace) -> tuple[SizeE18, Pace]:
    """Limit a partial close to what is left of the market's window; dust neither waits nor uses."""
    now = own.now
    least = now.book.rules.min_notional
    worth = notional_down(size, now.price)
    if worth < least:
        return size, pace
    window = window_at(pace, now.now_s)
    left = window_left(window, now.limits.size_scale, least)
    if worth > left:
        if left < least:
            raise Refused(Refusal.WINDOW_USED_UP)
        size = without_dust(own, SizeE18(left * _E30 // now.price))
        worth = notional_down(size, now.price)
    return size, replace(window, used=UsdcE6(window.used + worth))
