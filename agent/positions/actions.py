"""Which signed action a managed position calls for, inside its owner's consent; pure.

Three kinds, each first taken in the law's own book (`contracts/book_liquidator.py`): what it would
refuse is not proposed. `ADJUST` ramps the ratio of a position that is too large to be left at its
market's; `DELEVERAGE` closes what restores the margin at the ceiling that its owner accepted, while
a liquidation is likely and has not begun; `LIQUIDATE` chooses, in a cross account that is
liquidatable anyway, the position whose close moves its market least.

What was decided is void once the world has moved: the law is asked again before anything is sent
(`agent/positions/action_law.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Literal

from pydantic import Field

from agent.positions.action_law import Intended, would_be_taken
from agent.positions.ahead import Foresight
from agent.positions.chances import Odds
from agent.settings import Section
from contracts.book import Book
from contracts.book_margin import Health, Standing, health, may_be_closed
from contracts.book_readings import Readings
from contracts.book_sizing import needed, without_dust
from contracts.book_words import CROSS, Account, PositionId, position_id, split_position_id
from contracts.margin import CloseRules, SizeE18, charge, is_liquidatable, notional_up
from contracts.margin_losses import is_backstop
from contracts.messages import ActionKind
from contracts.units import PPM, USDC, MarketId, Ppm
from models.scorer import REFERENCE_NOTIONALS_USDC

HOUR_S: Final = 3_600
ROOM: Final = 4
"""A signed size is a quarter above what is needed now: the next price may ask for more."""
LARGEST_FACTOR: Final = 2  # signers allow no ratio above twice the market's
CALMER: Final = 0.5  # a signed choice has to move its market at most half as much as the formula's
_CEILING: Final = CloseRules(target_ppm=Ppm(PPM))


class ActionSettings(Section):
    """What the daemon does with managed positions beyond what anybody may do.

    `suggest` says what would help and signs nothing. `execute` asks the risk signers and sends.
    """

    mode: Literal["off", "suggest", "execute"] = "suggest"
    adjust: bool = True
    deleverage: bool = True
    liquidate: bool = True
    deleverage_chance: float = Field(default=0.25, gt=0, le=1)  # of a liquidation within the hour
    adjust_step_ratio: float = Field(default=0.1, gt=0, le=1)  # a smaller rise is not worth a turn
    window_ratio: float = Field(default=0.25, gt=0, le=1)  # of a size scale, a market and minute
    bound_ppm: int = Field(default=20_000, ge=1_000, le=200_000)  # how far price may run meanwhile
    forecast_age_s: int = Field(default=300, ge=10)
    valid_s: int = Field(default=60, ge=10, le=300)
    rest_s: int = Field(default=600, ge=0)  # a position is let alone for so long afterwards
    looked_at_a_turn: int = Field(default=64, ge=1, le=1_024)
    actions_a_turn: int = Field(default=4, ge=1, le=64)


class Withheld(StrEnum):
    """Why nothing is proposed for a position; each is a metric label."""

    NOT_MANAGED = "not_managed"
    NO_FORECAST = "no_forecast"
    UNLIKELY = "unlikely"
    NO_TRIGGER = "no_trigger"
    LAW_REFUSES = "law_refuses"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One position as it is judged: how likely its end is, what markets do; when, by whom."""

    identity: PositionId
    odds: Odds | None
    markets: Mapping[MarketId, Foresight]
    caller: Account
    now_ms: int

    @property
    def foresight(self) -> Foresight | None:
        """What its own market was foreseen to do."""
        return self.markets.get(split_position_id(self.identity)[1])


def intended(
    book: Book, readings: Readings, case: Case, settings: ActionSettings
) -> Intended | Withheld:
    """Decide on one position: of the kinds that are on, the most urgent that its owner allows."""
    found = health(book, readings, case.identity)
    own = found.standing
    if own.position.size == 0:
        return Withheld.NO_TRIGGER
    if is_liquidatable(found.equity, found.maintenance):
        return _liquidate(book, readings, case, settings)
    if not own.position.managed:
        return Withheld.NOT_MANAGED
    if case.foresight is None or case.odds is None:
        return Withheld.NO_FORECAST
    if settings.deleverage and is_below_ceiling(found):
        return _deleverage(book, readings, case, settings)
    if settings.adjust:
        return _adjust(book, readings, case, settings)
    return Withheld.NO_TRIGGER


def is_below_ceiling(found: Health) -> bool:
    """Tell whether the margin at the ceiling, which its owner accepted, is no longer there."""
    own = found.standing
    others = found.maintenance - found.own_maintenance
    asked = others + charge(own.position.size, own.now.price, own.position.ceiling_ppm)
    return is_liquidatable(found.equity, asked)


def needed_ppm(own: Standing, foresight: Foresight) -> Ppm:
    """Give the ratio that covers a position's own way out: the tail of 15 minutes, and slippage.

    The slippage is that of the next larger reference size, as the policy takes it.
    """
    tail = foresight.tail_long if own.position.long else foresight.tail_short
    worth = own.notional / USDC
    sizes = zip(REFERENCE_NOTIONALS_USDC, foresight.slippage, strict=True)
    slippage = next((ratio for size, ratio in sizes if worth <= size), 1.0)
    fee = own.now.book.rules.fee_ppm / PPM
    return Ppm(min(PPM, math.ceil((tail + slippage + fee) * PPM)))


def _deleverage(
    book: Book, readings: Readings, case: Case, settings: ActionSettings
) -> Intended | Withheld:
    """Close what restores the margin at the ceiling, where the end is likely within the hour."""
    assert case.odds is not None
    found = health(book, readings, case.identity)
    own, chance = found.standing, case.odds.within(HOUR_S)
    if chance < settings.deleverage_chance:
        return Withheld.UNLIKELY
    size = needed(found, own.position.ceiling_ppm, _CEILING)
    margin, maintenance = found.equity / USDC, found.maintenance / USDC
    because = (
        f"its margin is {margin:,.2f} USDC, its maintenance {maintenance:,.2f}",
        f"that is below the ceiling that its owner accepted, {own.position.ceiling_ppm / PPM:.2%}",
        f"the chance of a liquidation within an hour is {chance:.1%} by {case.odds.method}",
        f"closing {size / 10**18:,.6g} restores the margin at the ceiling, without a penalty",
    )
    what = _drawn(ActionKind.DELEVERAGE, found, case, with_room(own, size), settings)
    return _tried(book, readings, replace(what, because=because), case, settings)


def _adjust(
    book: Book, readings: Readings, case: Case, settings: ActionSettings
) -> Intended | Withheld:
    """Ramp the ratio where a position's own size asks for more than its market does."""
    assert case.foresight is not None
    found = health(book, readings, case.identity)
    own = found.standing
    held, wanted = own.position, needed_ppm(own, case.foresight)
    most = LARGEST_FACTOR * own.now.limits.effective_maintenance_ppm
    target = Ppm(min(wanted, held.ceiling_ppm, most))
    going_to = max(own.ratio_ppm, held.ramp.target_ppm if held.ramp is not None else 0)
    if target < going_to * (1.0 + settings.adjust_step_ratio):
        return Withheld.NO_TRIGGER
    because = (
        (
            f"leaving {own.notional / USDC:,.0f} USDC may cost {wanted / PPM:.2%} (the tail of 15 "
            f"minutes, slippage at this size, the fee); its ratio is {own.ratio_ppm / PPM:.2%}"
        ),
        (
            f"it is ramped to {target / PPM:.2%}, over at least its class's notice, not above the "
            f"{held.ceiling_ppm / PPM:.2%} that its owner accepted"
        ),
    )
    what = _drawn(ActionKind.ADJUST, found, case, SizeE18(0), settings)
    what = replace(what, maintenance_ppm=target, because=because)
    return _tried(book, readings, what, case, settings)


def _liquidate(
    book: Book, readings: Readings, case: Case, settings: ActionSettings
) -> Intended | Withheld:
    """Of a cross account, choose the position whose close moves its market least."""
    account, market, mode = split_position_id(case.identity)
    found = health(book, readings, case.identity)
    lost = is_backstop(found.equity, found.maintenance)
    formula = case.markets.get(found.largest_market)
    own = case.foresight
    if not settings.liquidate or mode != CROSS or lost or own is None or formula is None:
        return Withheld.NO_TRIGGER
    if market == found.largest_market or not may_be_closed(found.standing):
        return Withheld.NO_TRIGGER
    largest = health(book, readings, position_id(account, found.largest_market, CROSS))
    ours, theirs = _close_worth(found), _close_worth(largest)
    moves, would = ours / max(own.depth_usdc, 1.0), theirs / max(formula.depth_usdc, 1.0)
    if moves > CALMER * would:
        return Withheld.NO_TRIGGER
    size = needed(found, found.standing.ratio_ppm, CloseRules())
    because = (
        (
            f"the account is below its maintenance; the formula would close {theirs:,.0f} USDC in "
            f"market {found.largest_market}, {would:.1%} of its stressed depth"
        ),
        f"closing {ours:,.0f} USDC here is {moves:.1%} of this market's stressed depth",
    )
    what = _drawn(ActionKind.LIQUIDATE, found, case, with_room(found.standing, size), settings)
    return _tried(book, readings, replace(what, because=because), case, settings)


def _close_worth(found: Health) -> float:
    own = found.standing
    size = needed(found, own.ratio_ppm, CloseRules())
    return notional_up(size, own.now.price) / USDC


def with_room(own: Standing, size: SizeE18) -> SizeE18:
    """Give the size to be signed: with room for the next price, and never one that leaves dust."""
    roomy = SizeE18(min(own.position.size, size + size // ROOM))
    return without_dust(own, roomy)


def _drawn(
    kind: ActionKind, found: Health, case: Case, size: SizeE18, settings: ActionSettings
) -> Intended:
    """Put the place, the version and the worst price together."""
    own = found.standing
    step = own.now.price * settings.bound_ppm // PPM
    bound = own.now.price - step if own.position.long else own.now.price + step
    return Intended(
        kind=kind,
        identity=case.identity,
        version=own.position.version,
        maintenance_ppm=Ppm(0),
        max_size=size,
        price_bound_e18=bound,
        because=(),
    )


def worth(what: Intended, price_e18: int) -> float:
    """Give what an action may close at most, in USDC; 0 for an adjustment."""
    return what.max_size * price_e18 / 10**36


def within_windows(
    wanted: Sequence[Intended], prices: dict[int, int], windows_usdc: dict[int, float]
) -> tuple[Intended, ...]:
    """Keep to what each market's window has left, in the order given; the rest waits its turn."""
    left, chosen = dict(windows_usdc), []
    for each in wanted:
        market = split_position_id(each.identity)[1]
        asked = worth(each, prices[market])
        if asked <= left.get(market, 0.0):
            left[market] = left.get(market, 0.0) - asked
            chosen.append(each)
    return tuple(chosen)


def cure_for(found: Health, what: Intended) -> tuple[int, int]:
    """Give what its owner could do instead, exactly: USDC e6 to add, or the size to close.

    The margin makes the trigger go away at this price; of an adjustment, what the new ratio asks.
    """
    own = found.standing
    others = found.maintenance - found.own_maintenance
    adjusts = what.kind is ActionKind.ADJUST
    ratio = what.maintenance_ppm if adjusts else own.position.ceiling_ppm
    if what.kind is ActionKind.LIQUIDATE:
        ratio = own.ratio_ppm
    asked = others + charge(own.position.size, own.now.price, ratio)
    missing = max(0, asked - found.equity)
    size = needed(found, ratio, _CEILING) if missing else 0
    return missing, size


def _tried(
    book: Book, readings: Readings, what: Intended, case: Case, settings: ActionSettings
) -> Intended | Withheld:
    """Propose only what the law would take."""
    times = (case.now_ms, settings.valid_s)
    taken = would_be_taken(book, readings, what, case.caller, times)
    return what if taken else Withheld.LAW_REFUSES
