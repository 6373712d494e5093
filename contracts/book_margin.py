"""What positions and accounts of a book are worth now, and what is asked of them.

The formulas are those of margin.py and margin_account.py, with the entry price that funding has
moved, and with what cuts have left of each position.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from contracts.book import Book, MarketBook, Refused
from contracts.book_action import after_cuts
from contracts.book_readings import ALL_PERMISSIONS, MAY_LIQUIDATE, Limits, Readings
from contracts.book_words import (
    CROSS,
    Account,
    Position,
    PositionId,
    Ramp,
    position_id,
    split_position_id,
)
from contracts.halts import EPOCHS
from contracts.margin import (
    NO_RATIO,
    NOTHING,
    charge,
    initial_margin,
    is_liquidatable,
    maintenance_margin,
    notional_up,
    unrealised_pnl,
)
from contracts.margin_sides import index_at
from contracts.margin_terms import ramped_ppm
from contracts.refusals import Refusal
from contracts.units import MS_PER_S, MarketId, Ppm, PriceE18, UnixMs, UnixS, UsdcE6, ppm_floor


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketNow:
    """A market of the book at this moment's readings; a settled one stands at its last price.

    `closable`: its price is fresh and confirmed. `ready`: it may carry new risk, too, and is not
    halted. `live`: fresh and not halted, so that a profit counts.
    """

    market: MarketId
    book: MarketBook
    limits: Limits
    now_s: UnixS
    price: PriceE18
    average: PriceE18
    confidence_ppm: Ppm
    observed_at_ms: UnixMs
    index: int
    permissions: int
    closable: bool
    ready: bool
    live: bool

    @property
    def net_price(self) -> int:
        """The price less what funding has come to; may be below 0."""
        return self.price - self.index

    def allows(self, permission: int) -> bool:
        """Tell whether something may be done here now."""
        return self.permissions & permission != 0

    def is_young(self) -> bool:
        """Tell whether the price is young enough to liquidate at."""
        age_ms = self.book.rules.liquidation_age_s * MS_PER_S
        return self.observed_at_ms + age_ms >= self.now_s * MS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A position with its cuts applied, at the price of now.

    `cash`: what cuts paid a cross position and its balance does not show yet; an isolated one has
    it in its collateral already.
    """

    now: MarketNow
    position: Position
    cash: UsdcE6
    ratio_ppm: Ppm

    @property
    def entry_price(self) -> PriceE18:
        """The price at which it would break even now, funding included; may be below 0."""
        return PriceE18(self.position.basis + self.now.index)

    @property
    def profit(self) -> UsdcE6:
        """Its unrealised profit, funding included."""
        held = self.position
        return unrealised_pnl(held.side, held.size, self.entry_price, self.now.price)

    @property
    def counted(self) -> UsdcE6:
        """What of it counts in a cross account: without a live price only a loss."""
        return self.profit if self.now.live else UsdcE6(min(0, self.profit))

    @property
    def absent(self) -> UsdcE6:
        """What of it only the want of a live price keeps out of a cross account."""
        return UsdcE6(self.profit - self.counted)

    @property
    def equity(self) -> UsdcE6:
        """What an isolated position owns."""
        return UsdcE6(self.position.collateral + self.profit)

    @property
    def initial(self) -> UsdcE6:
        """The initial margin that it locks."""
        return initial_margin(self.position.size, self.now.price, self.position.leverage_e2)

    @property
    def maintenance(self) -> UsdcE6:
        """The maintenance margin that it asks for."""
        return maintenance_margin(self.position.size, self.now.price, self.ratio_ppm)

    @property
    def notional(self) -> UsdcE6:
        """What it is worth, up."""
        return notional_up(self.position.size, self.now.price)

    @property
    def widening(self) -> UsdcE6:
        """What the price's confidence takes from whoever withdraws."""
        return charge(self.position.size, self.now.price, self.now.confidence_ppm)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossMargin:
    """The sums of a cross account; `permissions`: what all its markets allow.

    `absent`: profit that only the want of a live price keeps out of equity.
    """

    balance: int
    equity: int
    opening_equity: int
    initial: UsdcE6
    maintenance: UsdcE6
    notional: UsdcE6
    widening: UsdcE6
    ready: bool
    permissions: int
    absent: UsdcE6

    @property
    def is_liquidatable(self) -> bool:
        """Tell whether its equity is below its maintenance."""
        return is_liquidatable(self.equity, self.maintenance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a position stands, as `MarginEngine.health`; a cross one with its account's sums."""

    equity: int
    maintenance: UsdcE6
    own_maintenance: UsdcE6
    standing: Standing
    largest_market: MarketId
    absent: UsdcE6 = NOTHING

    @property
    def priced(self) -> int:
        """Equity with the profit that has no live price; what cost and penalty come from.

        It is paid when its position is closed, so it pays for that: or a freeze would make
        liquidation cheaper than a close.
        """
        return self.equity + self.absent


def market_now(book: Book, readings: Readings, market: MarketId) -> MarketNow:
    """Read a market; refuse one that has no rules, or that nobody reads."""
    found = book.market(market)
    reading = readings.markets.get(market)
    if reading is None:
        raise Refused(Refusal.UNKNOWN_MARKET)
    mark, limits = reading.mark, reading.limits
    elapsed_s = 0 if found.settled else readings.now_s - found.at_s
    now = MarketNow(
        market=market,
        book=found,
        limits=limits,
        now_s=readings.now_s,
        price=mark.price,
        average=mark.average,
        confidence_ppm=mark.confidence_ppm,
        observed_at_ms=mark.observed_at_ms,
        index=index_at(found.index, found.rate, elapsed_s),
        permissions=limits.permissions,
        closable=mark.fresh and not mark.unconfirmed,
        ready=mark.new_risk and not limits.halted,
        live=mark.fresh and not limits.halted,
    )
    return _at_last_price(now) if found.settled else now


def _at_last_price(now: MarketNow) -> MarketNow:
    """Put a settled market at its settlement price, for good."""
    price = now.book.settlement_price
    return replace(
        now,
        price=price,
        average=price,
        confidence_ppm=NO_RATIO,
        permissions=ALL_PERMISSIONS,
        closable=True,
        ready=True,
        live=True,
    )


def effective_ppm(position: Position, limits: Limits, readings: Readings) -> Ppm:
    """Give the maintenance ratio of an open position now."""
    if not position.managed:
        return position.maintenance_ppm
    adjusted = NO_RATIO
    ramp = position.ramp
    if ramp is not None:
        elapsed_s = elapsed_of(ramp, readings)
        adjusted = ramped_ppm(ramp.from_ppm, ramp.target_ppm, elapsed_s, ramp.ramp_s)
    asked = max(position.maintenance_ppm, limits.effective_maintenance_ppm, adjusted)
    return min(position.ceiling_ppm, asked)


def elapsed_of(ramp: Ramp, readings: Readings) -> int:
    """Give how long an `ADJUST` has run: until its AI-input epoch ended.

    Epochs' numbers come round. Where the one before has ended since the ramp began, it is not known
    any more where it stopped: it counts as not begun, so that no ratio leaps.
    """
    before_s = readings.epoch_ended_s.get((ramp.ai_epoch - 1) % EPOCHS, 0)
    if before_s > ramp.begun_s:
        return 0
    stop_s = readings.epoch_ended_s.get(ramp.ai_epoch, 0) or readings.now_s
    return max(0, min(stop_s, readings.now_s) - ramp.begun_s)


def standing(book: Book, readings: Readings, identity: PositionId) -> Standing:
    """Look at a position; size 0 where there is none."""
    _, market, mode = split_position_id(identity)
    now = market_now(book, readings, market)
    stored = book.position(identity)
    position, cash = after_cuts(stored, now.book.side(stored.side))
    if mode != CROSS and cash:
        collateral = UsdcE6(max(0, position.collateral + cash))
        position, cash = replace(position, collateral=collateral), NOTHING
    ratio = effective_ppm(position, now.limits, readings)
    return Standing(now=now, position=position, cash=cash, ratio_ppm=ratio)


def cross_standings(book: Book, readings: Readings, account: Account) -> tuple[Standing, ...]:
    """Look at an account's cross positions, in the order of its list."""
    markets = book.account(account).markets
    return tuple(
        standing(book, readings, position_id(account, market, CROSS)) for market in markets
    )


def cross_margin(book: Book, readings: Readings, account: Account) -> CrossMargin:
    """Add up a cross account."""
    return sum_up(book.account(account).balance, cross_standings(book, readings, account))


def sum_up(balance: int, standings: tuple[Standing, ...]) -> CrossMargin:
    """Add up a balance and positions."""
    equity = opening = balance
    initial = maintenance = notional = widening = absent = 0
    permissions = ALL_PERMISSIONS
    for each in standings:
        counted = each.counted
        share = ppm_floor(counted, each.now.limits.profit_share_ppm)
        equity += counted + each.cash
        opening += min(counted, share) + each.cash
        initial += each.initial
        maintenance += each.maintenance
        notional += each.notional
        widening += each.widening
        absent += each.absent
        permissions &= each.now.permissions
    return CrossMargin(
        balance=balance,
        equity=equity,
        opening_equity=opening,
        initial=UsdcE6(initial),
        maintenance=UsdcE6(maintenance),
        notional=UsdcE6(notional),
        widening=UsdcE6(widening),
        ready=all(each.now.ready for each in standings),
        permissions=permissions,
        absent=UsdcE6(absent),
    )


def health(book: Book, readings: Readings, identity: PositionId) -> Health:
    """Tell how a position stands."""
    account, market, mode = split_position_id(identity)
    own = standing(book, readings, identity)
    if mode != CROSS:
        return Health(
            equity=own.equity,
            maintenance=own.maintenance,
            own_maintenance=own.maintenance,
            standing=own,
            largest_market=market,
        )
    standings = cross_standings(book, readings, account)
    sums = sum_up(book.account(account).balance, standings)
    return Health(
        equity=sums.equity,
        maintenance=sums.maintenance,
        own_maintenance=own.maintenance,
        standing=own,
        largest_market=_largest(standings, market),
        absent=sums.absent,
    )


def _largest(standings: tuple[Standing, ...], otherwise: MarketId) -> MarketId:
    """Give the market of the largest maintenance among positions that may be liquidated now."""
    found, most = otherwise, 0
    for each in standings:
        if each.maintenance > most and may_be_closed(each):
            found, most = each.now.market, each.maintenance
    return found


def may_be_closed(each: Standing) -> bool:
    """Tell whether liquidation may touch a position now: permitted, priced, and priced anew."""
    now = each.now
    permitted = now.allows(MAY_LIQUIDATE) and now.is_young() and not now.book.settled
    return permitted and now.observed_at_ms > each.position.stamp_ms


def is_safe(book: Book, readings: Readings, identity: PositionId) -> bool:
    """Tell whether a position, or the whole cross account that it is in, may stay as it is.

    Where nothing is open, the balance of a cross account may not be owed.
    """
    account, _, mode = split_position_id(identity)
    if mode == CROSS:
        sums = cross_margin(book, readings, account)
        return not sums.is_liquidatable and (sums.maintenance > 0 or sums.balance >= 0)
    own = standing(book, readings, identity)
    return own.position.size == 0 or not is_liquidatable(own.equity, own.maintenance)
