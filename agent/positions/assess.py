"""How near the end each position is, and what would help: the law's price, and what is foreseen.

A cross account is judged by its most endangered position, and by all its markets together where it
is among the most urgent.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from agent.positions.ahead import NOTHING_AHEAD, Ahead
from agent.positions.chances import Method, Odds, odds_together, trained
from agent.positions.cure import cure_of
from agent.positions.levels import (
    Level,
    Outlook,
    WarnSettings,
    level_by_chances,
    outlook_of,
    without_forecast,
)
from agent.positions.warn import (
    Assessed,
    Warned,
)
from contracts.book import Book
from contracts.book_margin import health
from contracts.book_readings import Readings
from contracts.book_views import position_liquidation_price
from contracts.book_words import CROSS, Account, PositionId, split_position_id
from contracts.margin import is_liquidatable
from contracts.units import LawError, MarketId, PriceE18
from relayer.chain.index import Index, cross_identities

AT_ONCE = 100  # positions between two breaths: prices must not wait for warnings
JOINT_A_TURN = 16  # cross accounts simulated in one turn
JOINT_KEPT_MS = 30_000  # and for how long a simulation counts, within one forecast
Standing = Mapping[str, Warned]


class Assessor:
    """Judges positions by what the last cycle foresaw."""

    def __init__(self, index: Index, settings: WarnSettings) -> None:
        self._index = index
        self._settings = settings
        self._ahead = NOTHING_AHEAD
        self._joint: dict[str, tuple[int, Odds]] = {}
        self._outlook = Outlook(otherwise=without_forecast(settings))

    def retune(self, settings: WarnSettings) -> None:
        """Judge by other levels."""
        self._settings = settings
        self.expect(self._ahead)

    def expect(self, ahead: Ahead) -> None:
        """Take what the last cycle foresaw: how far each market may move over each horizon."""
        self._ahead, self._joint = ahead, {}
        self._outlook = outlook_of(ahead.deviations, trained(ahead.heads), self._settings)

    def farthest(self, market: MarketId) -> float:
        """Give the distance past which no position of a market has a level."""
        return self._outlook.farthest(market)

    async def assess(
        self, near: Iterable[PositionId], standing: Standing, readings: Readings, now_ms: int
    ) -> list[Assessed]:
        """Say how near each is, beside the level that it has on the board."""
        alone = await self._alone(near, standing, readings)
        return self._jointly(alone, standing, readings, now_ms)

    def positions_of(self, found: Assessed) -> tuple[PositionId, ...]:
        """Name an isolated position, or all positions of a cross account."""
        if not found.is_cross:
            return (PositionId(int(found.key, 16)),)
        account = Account(int(found.account, 16))
        return cross_identities(account, self._index.account(account))

    def cured(self, warned: Warned, readings: Readings) -> Warned:
        """Work out what would bring a warning off the board."""
        found = warned.found
        triggers = self._outlook.of(found.market, found.side)
        at_price = _away(found.price, -found.side, triggers.farthest)
        account = int(found.account, 16)
        book = self._index.part([account])  # type: ignore[list-item]
        identity = _identity(found)
        try:
            cure = cure_of(book, readings, identity, at_price)
        except LawError:
            return warned
        return replace(warned, margin_to_add=cure.margin, size_to_reduce=cure.size)

    async def _alone(
        self, near: Iterable[PositionId], standing: Standing, readings: Readings
    ) -> list[Assessed]:
        """Say how near each is; of a cross account, its most endangered position."""
        found: dict[str, Assessed] = {}
        ordered = sorted(near)
        for first in range(0, len(ordered), AT_ONCE):
            chosen = ordered[first : first + AT_ONCE]
            book = self._index.holding(_with_siblings(self._index, chosen))
            for identity in chosen:
                each = self._look(book, readings, identity, standing)
                if each is None:
                    continue
                before = found.get(each.key)
                if before is None or _urgency(each) > _urgency(before):
                    found[each.key] = each
            await asyncio.sleep(0)
        return list(found.values())

    def _jointly(
        self, assessed: list[Assessed], standing: Standing, readings: Readings, now_ms: int
    ) -> list[Assessed]:
        """Judge cross accounts by all their markets together, the most urgent first.

        So many are simulated in a turn; what was simulated a moment ago is taken again, and the
        others keep the level of their most endangered position alone.
        """
        crossed = [each for each in assessed if each.is_cross]
        crossed.sort(key=_urgency, reverse=True)
        left, found = JOINT_A_TURN, {}
        for each in crossed:
            at_ms, odds = self._joint.get(each.key, (0, None))
            if now_ms - at_ms > JOINT_KEPT_MS and left > 0:
                left -= 1
                odds = self._simulated(each, readings)
                if odds is not None:
                    self._joint[each.key] = (now_ms, odds)
            if odds is not None:
                found[each.key] = self._at_odds(each, odds, standing)
        return [found.get(each.key, each) for each in assessed]

    def _simulated(self, each: Assessed, readings: Readings) -> Odds | None:
        identity = _identity(each)
        account = Account(int(each.account, 16))
        named = cross_identities(account, self._index.account(account))
        book = self._index.holding((*named, identity))
        try:
            return odds_together(book, readings, identity, self._ahead, self._ahead.heads)
        except LawError:
            return None

    def _at_odds(self, each: Assessed, odds: Odds, standing: Standing) -> Assessed:
        """Give an account the level of its joint chances, or of its nearest price alone."""
        before = standing.get(each.key)
        held = before.level if before else Level.NONE
        level = max(
            level_by_chances(odds.probabilities, held, self._settings),
            without_forecast(self._settings).level_of(each.distance, held),
        )
        fatal, triggers = each.liquidation_price, self._outlook.of(each.market, each.side)
        nearer = triggers.next_distance(level)
        return replace(
            each,
            level=level,
            chances=odds.probabilities,
            method=odds.method.value,
            next_price=None if fatal is None else _away(fatal, each.side, nearer),
        )

    def _look(
        self, book: Book, readings: Readings, identity: PositionId, standing: Standing
    ) -> Assessed | None:
        account, market, mode = split_position_id(identity)
        try:
            stands = health(book, readings, identity)
            if stands.standing.position.size == 0:
                return None
            fatal = position_liquidation_price(book, readings, identity)
        except LawError:  # a market without a price, or numbers past what the law can say
            return None
        own = stands.standing
        side, price = own.position.side, own.now.price
        distance = _distance(side, price, fatal)
        if is_liquidatable(stands.equity, stands.maintenance):
            distance = 0.0
        triggers, is_cross = self._outlook.of(market, side), mode == CROSS
        key = f"{account:040x}" if is_cross else f"{identity:046x}"
        before = standing.get(key)
        level = triggers.level_of(distance, before.level if before else Level.NONE)
        nearer = triggers.next_distance(level)
        return Assessed(
            key=key,
            account=f"0x{account:040x}",
            market=market,
            side=side,
            is_cross=is_cross,
            level=level,
            distance=distance,
            price=price,
            liquidation_price=fatal,
            next_price=None if fatal is None else _away(fatal, side, nearer),
            chances=self._outlook.chances(market, side, distance),
            method=Method.TEXTBOOK.value if self._ahead.heads is None else Method.ALONE.value,
        )


def _identity(found: Assessed) -> PositionId:
    if not found.is_cross:
        return PositionId(int(found.key, 16))
    return PositionId(int(found.account, 16) << 24 | found.market << 8 | CROSS)


def _with_siblings(index: Index, identities: Sequence[PositionId]) -> set[PositionId]:
    """Name all positions of the cross accounts that some are of."""
    named = set(identities)
    for identity in identities:
        account, _, mode = split_position_id(identity)
        if mode == CROSS:
            named.update(cross_identities(account, index.account(account)))
    return named


def _urgency(each: Assessed) -> tuple[int, float]:
    return int(each.level), -each.distance


def _distance(side: int, price: PriceE18, fatal: PriceE18 | None) -> float:
    """Give the logarithm that price can run against a position; infinite where none liquidates."""
    if fatal is None or fatal <= 0:
        return math.inf
    return max(0.0, side * math.log(price / fatal))


def _away(price: PriceE18, side: int, distance: float) -> PriceE18:
    """Give the price so far on the safe side of another: above for a long, below for a short."""
    return PriceE18(max(1, round(price * math.exp(side * distance))))
