"""From what a trader means to do to an order that the law may take: leverage, terms, margin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agent.terms import Allowance, Ratios, Wish, ratios_for, written
from benchmarks.crises_book import account_of
from benchmarks.crises_law import MS, Law
from contracts import book_desk
from contracts.book_legs import leg_costs
from contracts.book_margin import MarketNow, market_now
from contracts.book_readings import MAY_OPEN
from contracts.margin import LONG, SizeE18, notional_up
from contracts.margin_terms import leverage_cap
from contracts.messages import Adjustment, MarginMode, PositionTerms, Side
from contracts.units import ONE_X, PPM, USDC, LeverageE2, MarketId, Ppm, PriceE18, UsdcE6
from models.intents import Intents
from models.population import Traders

SLACK: Final = 1.02
"""Margin beyond the initial one: the price may move until the order is executed."""
ANY_PRICE: Final = PriceE18(2**256 - 1)
NO_PRICE: Final = PriceE18(0)
NO_HASH: Final = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crowd:
    """Who trades: habits, intents, and the most leverage that each market's class can allow."""

    people: Traders
    intents: Intents
    most_leverage: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Terms and what is asked for within them; what was wanted and allowed, as leverage."""

    terms: PositionTerms
    asked: book_desk.Wish
    notional_usdc: float
    wanted: float
    allowed: float

    @property
    def used(self) -> float:
        """The leverage that it is opened at."""
        return self.asked.leverage_e2 / ONE_X


def order_of(law: Law, crowd: Crowd, number: int, heat: float, nonce: int) -> Order | None:
    """Make an intent's order at what the market allows now; None where it allows nothing."""
    intents = crowd.intents
    market = MarketId(int(intents.market[number]))
    now = market_now(law.book, law.seen, market)
    size = SizeE18(int(intents.notional_usdc[number] * 1e36 / now.price))
    wanted = max(float(intents.share[number]) * heat * crowd.most_leverage[market], 1.0)
    wish = Wish(
        account=f"0x{account_of(int(intents.account[number])):040x}",
        market=market,
        side=Side.LONG if intents.side[number] > 0 else Side.SHORT,
        mode=MarginMode.ISOLATED,
        adjustment=Adjustment.MANAGED if intents.managed[number] else Adjustment.FIXED,
        max_notional=UsdcE6(notional_up(size, now.price) * 11 // 10),
        leverage_e2=LeverageE2(int(min(wanted, 1_000.0) * ONE_X)),
    )
    allowed = _allowed(wish, now, size)
    if allowed < ONE_X or not now.allows(MAY_OPEN):
        return None
    wish = replace(wish, leverage_e2=LeverageE2(min(wish.leverage_e2, allowed)))
    terms = written(wish, _ratios(wish, now), law.now_s * MS, (NO_HASH, NO_HASH))
    return Order(
        terms=replace(terms, nonce=nonce),
        asked=_asked(wish, now, size),
        notional_usdc=notional_up(size, now.price) / USDC,
        wanted=wanted,
        allowed=allowed / ONE_X,
    )


def _ratios(wish: Wish, now: MarketNow) -> Ratios:
    """Give the agent's tuple for a wish; what accounts are known for is left out, for all alike."""
    allowance = Allowance(cap_e2=now.limits.cap_e2, floor_ppm=now.limits.floor_maintenance_ppm)
    return ratios_for(wish, allowance, Ppm(PPM))


def _allowed(wish: Wish, now: MarketNow, size: SizeE18) -> LeverageE2:
    """Give the most leverage that terms and the size's own cap leave."""
    side = now.book.side(int(wish.side))
    heavier = max(now.book.long.size, now.book.short.size, side.size + size)
    cap = leverage_cap(
        now.limits.cap_e2,
        now.limits.size_scale,
        UsdcE6(int(notional_up(size, now.price) * SLACK)),
        UsdcE6(int(notional_up(SizeE18(heavier), now.price) * SLACK)),
    )
    return LeverageE2(min(cap, _ratios(wish, now).max_leverage_e2))


def _asked(wish: Wish, now: MarketNow, size: SizeE18) -> book_desk.Wish:
    """Ask with the margin that initial margin and costs come to, and a little more."""
    direction = int(wish.side)
    costs = leg_costs(now, now.book.skew, direction, size, now.confidence_ppm).total
    initial = notional_up(size, now.price) * ONE_X // wish.leverage_e2
    return book_desk.Wish(
        size=size,
        leverage_e2=wish.leverage_e2,
        acceptable_price=ANY_PRICE if direction == LONG else NO_PRICE,
        margin=UsdcE6(int((initial + costs) * SLACK) + USDC),
    )
