"""One leg of a trade at the mark: what it costs, what it realises, and what each change stores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from contracts.book import Book
from contracts.book_action import Action
from contracts.book_margin import MarketNow, standing
from contracts.book_readings import Readings
from contracts.book_words import Position, PositionId, position_id, split_position_id
from contracts.margin import NOTHING, SizeE18, charge, unrealised_pnl
from contracts.margin_price import TradeRules, impact_cost
from contracts.margin_sides import funding_rate
from contracts.units import Ppm, PriceE18, UnixMs, UsdcE6


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a leg costs beside the mark, each part rounded up."""

    spread: UsdcE6 = NOTHING
    impact: UsdcE6 = NOTHING
    fee: UsdcE6 = NOTHING

    @property
    def total(self) -> UsdcE6:
        """All of it."""
        return UsdcE6(self.spread + self.impact + self.fee)


NO_COSTS: Final = Costs()


def leg_costs(now: MarketNow, skew: int, direction: int, size: SizeE18, widen_ppm: int) -> Costs:
    """Give spread, impact and fee of a size that finds the market at `skew`."""
    limits, rules = now.limits, now.book.rules
    asked = TradeRules(
        fee_ppm=rules.fee_ppm,
        spread_ppm=Ppm(limits.spread_ppm + widen_ppm),
        impact_ppm=rules.impact_ppm,
        size_scale=limits.size_scale,
    )
    return Costs(
        spread=charge(size, now.price, asked.spread_ppm),
        impact=impact_cost(skew, skew + direction * size, now.price, asked),
        fee=charge(size, now.price, asked.fee_ppm),
    )


def profit_of(now: MarketNow, position: Position, size: SizeE18) -> UsdcE6:
    """Give the profit, funding included, of a part of a position."""
    entry = PriceE18(position.basis + now.index)
    return unrealised_pnl(position.side, size, entry, now.price)


def reindexed(action: Action, now: MarketNow) -> Action:
    """Store the funding index of now, and the rate that the market's skew asks for from here."""
    found = action.book.market(now.market)
    daily_ppm, scale = found.rules.funding_daily_ppm, now.limits.size_scale
    rate = funding_rate(found.skew, now.price, daily_ppm, scale)
    after = replace(found, index=now.index, at_s=now.now_s, rate=rate)
    return action.with_market(now.market, after)


def stamped(action: Action, identity: PositionId, observed_at_ms: UnixMs) -> Action:
    """Count a change of a position, and note at which price it was made."""
    position = action.book.position(identity)
    stamp_ms = observed_at_ms if position.size else position.stamp_ms
    after = replace(position, version=position.version + 1, stamp_ms=stamp_ms)
    return action.with_position(identity, after)


def size_with_other_mode(book: Book, readings: Readings, identity: PositionId) -> SizeE18:
    """Give the account's size in a market, both modes together: what the cap of a leg counts."""
    account, market, _ = split_position_id(identity)
    modes = (position_id(account, market, mode) for mode in (1, 2))
    return SizeE18(sum(standing(book, readings, each).position.size for each in modes))
