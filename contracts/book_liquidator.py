"""Which position of a book is closed, how much of it, and when: the formula, and signed actions.

Signatures apart: who calls these has verified them (contracts/messages.py, RiskOracle). Each gives
the book after it and the size that was closed, 0 where a price was noted and a second round has to
agree first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from contracts.book import Book, Refused
from contracts.book_closing import Close, cut, liquidate
from contracts.book_closing import adjust as adjust_position
from contracts.book_margin import (
    Health,
    MarketNow,
    Standing,
    cross_standings,
    health,
    market_now,
)
from contracts.book_readings import MAY_LIQUIDATE, Mark, Readings
from contracts.book_sizing import limited, needed, paced
from contracts.book_words import CROSS, Account, PositionId, Ramp, split_position_id
from contracts.margin import (
    NO_RATIO,
    NOTHING,
    CloseRules,
    SizeE18,
    charge,
    is_liquidatable,
)
from contracts.margin_losses import is_backstop, lacks_prices, penalty_ppm
from contracts.margin_pace import (
    NEVER_S,
    Agreement,
    Look,
    Pace,
    grace_until_s,
    price_grace,
    second_round,
)
from contracts.margin_sides import LEAST_KEEP_E27, WHOLE_E27, cut_e27, side_profit
from contracts.messages import ActionKind, PositionAction
from contracts.refusals import Refusal
from contracts.units import PPM, USDC, MarketId, Ppm, UsdcE6

_E30: Final = 10**30
_ID_BITS: Final = 184
_NO_LIMIT: Final = SizeE18(2**256 - 1)
_CEILING: Final = CloseRules(target_ppm=Ppm(PPM))


def liquidate_by_formula(
    book: Book, readings: Readings, identity: PositionId, caller: Account
) -> tuple[Book, SizeE18]:
    """Liquidate a position; of a cross account the largest maintenance goes first."""
    found = _found(book, readings, identity)
    _check_may_be_closed(found.standing)
    return _liquidate(book, readings, identity, found, (_NO_LIMIT, caller))


def liquidate_signed(
    book: Book, readings: Readings, action: PositionAction, caller: Account
) -> tuple[Book, SizeE18]:
    """Liquidate the position that the signers chose, above two thirds at most their size."""
    found = _meant(book, readings, action, ActionKind.LIQUIDATE)
    _check_may_be_closed(found.standing)
    _check_observed_after(action, found)
    identity = PositionId(action.position_id)
    return _liquidate(book, readings, identity, found, (_signed_size(action), caller))


def deleverage(
    book: Book, readings: Readings, action: PositionAction, caller: Account
) -> tuple[Book, SizeE18]:
    """Close of a managed position what restores the margin at its ceiling, without penalty."""
    found = _meant(book, readings, action, ActionKind.DELEVERAGE)
    _check_managed(found)
    _check_may_be_closed(found.standing)
    _check_observed_after(action, found)
    own = found.standing
    ceiling_ppm = own.position.ceiling_ppm
    others = found.maintenance - found.own_maintenance
    asked = others + charge(own.position.size, own.now.price, ceiling_ppm)
    is_lost = is_backstop(found.equity, found.maintenance)
    if is_lost or not is_liquidatable(found.equity, asked):
        raise Refused(Refusal.TRIGGER_GONE)
    identity = PositionId(action.position_id)
    noted = _agreed(book, readings, identity)
    if noted is not None:
        return noted, SizeE18(0)
    size = needed(found, ceiling_ppm, _CEILING)
    size = limited(own, size, _signed_size(action))
    close = _close(found, size, NO_RATIO, caller)
    return liquidate(book, readings, identity, replace(close, reward=NOTHING))[0], size


def adjust(book: Book, readings: Readings, action: PositionAction) -> tuple[Book, Ppm]:
    """Ramp a managed position's ratio from its live value; give the ratio that it goes to."""
    found = _meant(book, readings, action, ActionKind.ADJUST)
    _check_managed(found)
    own = found.standing
    target = Ppm(min(action.maintenance_ppm, own.position.ceiling_ppm))
    ramp = Ramp(
        from_ppm=own.ratio_ppm,
        target_ppm=target,
        begun_s=NEVER_S,
        ramp_s=readings.markets[own.now.market].notice_s,
        ai_epoch=readings.ai_epoch,
    )
    return adjust_position(book, readings, PositionId(action.position_id), ramp), target


def deleverage_side(
    book: Book, readings: Readings, market: MarketId, side: int
) -> tuple[Book, UsdcE6]:
    """Cut a side whose profit has outgrown its share of the pool; give what was paid out."""
    now = market_now(book, readings, market)
    if now.book.settled:
        raise Refused(Refusal.MARKET_SETTLED)
    _check_may_liquidate(now)
    if not now.live:
        raise Refused(Refusal.MARKET_NOT_LIVE)
    share_ppm = now.book.rules.cut_share_ppm
    taken = cut_e27(_profit(now, side), book.pool.assets, share_ppm)
    if not taken:
        raise Refused(Refusal.NOTHING_TO_DELEVERAGE)
    agreement, pace = _second_round(book, readings, market)
    if agreement is Agreement.NOTED:
        return _with_pace(book, market, pace), NOTHING
    if agreement is Agreement.AWAITED:
        raise Refused(Refusal.AWAITING_SECOND_ROUND)
    last = now.book.side(side).cuts[-1]
    if last.keep_e27 * (WHOLE_E27 - taken) // WHOLE_E27 < LEAST_KEEP_E27:
        raise Refused(Refusal.CUT_TOO_DEEP)
    after, payout = cut(book, readings, market, side, WHOLE_E27 - taken)
    left = _profit(market_now(after, readings, market), side)
    if (left + USDC) * PPM < share_ppm * after.pool.assets:
        raise Refused(Refusal.DELEVERAGED_TOO_FAR)
    return after, payout


def _liquidate(
    book: Book,
    readings: Readings,
    identity: PositionId,
    found: Health,
    by: tuple[SizeE18, Account],
) -> tuple[Book, SizeE18]:
    """Close what has to be closed now; `by`: a signed size, or no limit, and who calls."""
    max_size, caller = by
    own = found.standing
    if not is_liquidatable(found.equity, found.maintenance):
        raise Refused(Refusal.NOT_LIQUIDATABLE)
    market = own.now.market
    is_cross = split_position_id(identity)[2] == CROSS
    if is_cross and max_size == _NO_LIMIT and found.largest_market != market:
        raise Refused(Refusal.NOT_THE_LARGEST)
    noted = _graced(book, readings, identity, found) or _agreed(book, readings, identity)
    if noted is not None:
        return noted, SizeE18(0)
    rules = own.now.book.rules
    penalty = penalty_ppm(
        found.priced, found.maintenance, rules.penalty_min_ppm, rules.penalty_max_ppm
    )
    size = own.position.size
    if not is_backstop(found.equity, found.maintenance):
        _check_grace(readings, market)
        size = needed(found, own.ratio_ppm, CloseRules(penalty_ppm=penalty))
        size = limited(own, size, max_size)
        size, pace = paced(own, size, book.pace(market))
        book = _with_pace(book, market, pace)
    return liquidate(book, readings, identity, _close(found, size, penalty, caller))[0], size


def _close(found: Health, size: SizeE18, penalty: Ppm, caller: Account) -> Close:
    return Close(
        size=size,
        penalty_ppm=penalty,
        available=UsdcE6(max(0, found.priced)),
        reward=found.standing.now.book.rules.reward,
        recipient=caller,
    )


def _graced(book: Book, readings: Readings, identity: PositionId, found: Health) -> Book | None:
    """Ask for the grace of an account that lacks only live prices.

    None where it lacks more, or had it; the book with its beginning where it begins now.
    """
    if not lacks_prices(found.equity, found.absent, found.maintenance):
        return None
    account = split_position_id(identity)[0]
    agreement = price_grace(book.grace(account), readings.now_s)
    if agreement is Agreement.AWAITED:
        raise Refused(Refusal.GRACE_RUNNING)
    if agreement is Agreement.AGREED:
        return None
    return replace(book, graces={**book.graces, account: readings.now_s})


def _agreed(book: Book, readings: Readings, identity: PositionId) -> Book | None:
    """Ask for a second round where a price that makes it liquidatable is far from its average.

    Its own market's, and in a cross account that of each other position which loses by it in a
    market that is not settled. None where all agree, the book with its notes where one was noted
    now.
    """
    account, market, mode = split_position_id(identity)
    asked = [market]
    if mode == CROSS:
        others = cross_standings(book, readings, account)
        asked += [
            each.now.market
            for each in others
            if each.now.market != market
            and not each.now.book.settled
            and _loses(each, readings.markets[each.now.market].mark)
        ]
    seen = [(each, *_second_round(book, readings, each)) for each in asked]
    states = {agreement for _, agreement, _ in seen}
    if Agreement.NOTED in states:
        for each, _, pace in seen:
            book = _with_pace(book, each, pace)
        return book
    if Agreement.AWAITED in states:
        raise Refused(Refusal.AWAITING_SECOND_ROUND)
    return None


def _loses(each: Standing, mark: Mark) -> bool:
    """Tell whether a price's distance from its average is against the position."""
    return each.position.long == (mark.price < mark.average)


def _second_round(book: Book, readings: Readings, market: MarketId) -> tuple[Agreement, Pace]:
    mark = readings.markets[market].mark
    look = Look(
        price=mark.price,
        average=mark.average,
        observed_at_ms=mark.observed_at_ms,
        now_s=readings.now_s,
        band_ppm=book.market(market).rules.band_ppm,
    )
    return second_round(book.pace(market), look)


def _with_pace(book: Book, market: MarketId, pace: Pace) -> Book:
    if pace == book.pace(market):
        return book
    return replace(book, paces={**book.paces, market: pace})


def _found(book: Book, readings: Readings, identity: PositionId) -> Health:
    found = health(book, readings, identity)
    if identity >> _ID_BITS or found.standing.position.size == 0:
        raise Refused(Refusal.NO_POSITION)
    if found.standing.now.book.settled:
        raise Refused(Refusal.MARKET_SETTLED)
    return found


def _meant(book: Book, readings: Readings, action: PositionAction, kind: ActionKind) -> Health:
    """Find what an action was signed for; refuse another kind, version, or a worse price."""
    if action.kind is not kind:
        raise Refused(Refusal.WRONG_ACTION_KIND)
    found = _found(book, readings, PositionId(action.position_id))
    position, price = found.standing.position, found.standing.now.price
    if action.position_version != position.version:
        raise Refused(Refusal.ACTION_VOID)
    bound = action.price_bound_e18
    if bound and (price < bound if position.long else price > bound):
        raise Refused(Refusal.PRICE_BEYOND_BOUND)
    return found


def _signed_size(action: PositionAction) -> SizeE18:
    return SizeE18(action.max_size_e18)


def _check_may_be_closed(own: Standing) -> None:
    _check_may_liquidate(own.now)
    if own.now.observed_at_ms <= own.position.stamp_ms:
        raise Refused(Refusal.PRICE_BEFORE_POSITION)


def _check_may_liquidate(now: MarketNow) -> None:
    if not now.allows(MAY_LIQUIDATE):
        raise Refused(Refusal.LIQUIDATION_PAUSED)
    if not now.is_young():
        raise Refused(Refusal.PRICE_TOO_OLD)


def _check_observed_after(action: PositionAction, found: Health) -> None:
    if found.standing.now.observed_at_ms <= action.observed_at_ms:
        raise Refused(Refusal.PRICE_BEFORE_ACTION)


def _check_managed(found: Health) -> None:
    if not found.standing.position.managed:
        raise Refused(Refusal.NOT_MANAGED)


def _check_grace(readings: Readings, market: MarketId) -> None:
    reading = readings.markets[market]
    until_s = grace_until_s(reading.liquidation_resumes_at_s, reading.price_resumed_at_s)
    if until_s > readings.now_s:
        raise Refused(Refusal.GRACE_RUNNING)


def _profit(now: MarketNow, side: int) -> UsdcE6:
    """Give a side's profit at the mark, rounded down; 0 for a loss."""
    held = now.book.side(side)
    return UsdcE6(max(0, side_profit(side, held.size, held.basis_sum, now.net_price)))
