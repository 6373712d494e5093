"""Warnings, one look at a time: who is near, how near, what would help, and saying it.

Looks only at what the watch finds near and at what the board has; the rest is not touched. What
rises is written down before it is said; what no channel took is said again later.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

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
    Board,
    Channel,
    Keeping,
    Notice,
    Pace,
    Stream,
    Waiting,
    Warned,
    due,
    waiting_of,
)
from agent.positions.watch import Watch
from contracts.book import Book
from contracts.book_margin import MarketNow, health
from contracts.book_readings import Readings
from contracts.book_views import position_liquidation_price
from contracts.book_words import CROSS, Account, PositionId, split_position_id
from contracts.margin import is_liquidatable
from contracts.units import LawError, MarketId, PriceE18
from relayer.chain.index import Index, cross_identities

MS = 1_000
AT_ONCE = 100  # positions between two breaths: prices must not wait for warnings
CURED_AT_ONCE = 50  # warnings whose cure is worked out in one turn, the most urgent first
REMEMBERED_MS = 3_600_000  # after a restart nothing is said again that was said within an hour
JOINT_A_TURN = 16  # cross accounts simulated in one turn
JOINT_KEPT_MS = 30_000  # and for how long a simulation counts, within one forecast
FIRST_WAIT_MS, LONGEST_WAIT_MS = 5_000, 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one turn said: messages taken, and whether one was refused."""

    taken: int = 0
    refused: int = 0


class Warner:
    """The board of warnings, its listeners, and the queue of what is still to be said."""

    def __init__(
        self,
        index: Index,
        settings: WarnSettings,
        channel: Channel,
        kept: Keeping,
    ) -> None:
        self._index = index
        self._settings = settings
        self._channel = channel
        self._kept = kept
        self._ahead = NOTHING_AHEAD
        self._joint: dict[str, tuple[int, Odds]] = {}
        self._outlook = Outlook(otherwise=without_forecast(settings))
        self._queue: tuple[Waiting, ...] = ()
        self._known: dict[str, int] | None = None
        self._pace = Pace()
        self._wait_ms, self._not_before_ms = 0, 0
        self.board = Board()
        self.stream = Stream()

    def current(self) -> tuple[Warned, ...]:
        """Give every warning that stands, the most urgent first."""
        return tuple(
            sorted(
                self.board.standing.values(),
                key=lambda each: (-each.level, each.found.distance, each.found.key),
            )
        )

    def urgent(self, limit: int) -> tuple[PositionId, ...]:
        """Name the positions of the warnings that stand, the most urgent first, up to a number."""
        found: list[PositionId] = []
        for each in self.current():
            if len(found) >= limit:
                break
            found += self._positions_of(each.found)
        return tuple(found[:limit])

    async def suggest(self, said: Sequence[tuple[str, str]], now_ms: int) -> None:
        """Put suggestions into the queue, by the key of what they concern; they never trade."""
        if not said:
            return
        level = Level.WARNING
        rows = await self._kept.note([(key, int(level), text) for key, text in said], now_ms)
        numbered = zip(said, rows, strict=True)
        fresh = tuple(
            Waiting(key=k, level=level, text=text, row=row) for (k, text), row in numbered
        )
        self._queue = (*self._queue, *fresh)

    def expect(self, ahead: Ahead) -> None:
        """Take what the last cycle foresaw: how far each market may move over each horizon."""
        self._ahead, self._joint = ahead, {}
        self._outlook = outlook_of(ahead.deviations, trained(ahead.heads), self._settings)

    async def turn(
        self, watch: Watch, readings: Readings, now: Mapping[MarketId, MarketNow], now_ms: int
    ) -> Said:
        """Look at who is near, change the board, and say what is to be said."""
        await self._remember(now_ms)
        moves = {market: self._outlook.farthest(market) for market in now}
        near = set(watch.near(now, moves)) | set(self._positions_on_board())
        assessed = self._jointly(await self._assess(near, readings), readings, now_ms)
        self.board, risen, over = self.board.step(assessed, now_ms, self._settings)
        cured = [self._cured(each, readings) for each in risen[:CURED_AT_ONCE]]
        self.board = self.board.with_cures(cured)
        risen = (*cured, *risen[CURED_AT_ONCE:])
        self.stream.tell((*risen, *over))
        await self._note([each for each in risen if self._is_news(each)], now_ms)
        return await self._say(now_ms)

    async def _remember(self, now_ms: int) -> None:
        """After a start: what was never said is said now, what was just said is not repeated."""
        if self._known is not None:
            return
        rows = await self._kept.waiting()
        self._queue = tuple(
            Waiting(key=key, level=Level(level), text=text, row=row)
            for row, key, level, text in rows
        )
        self._known = dict(await self._kept.said_since(now_ms - REMEMBERED_MS))

    def _is_news(self, warned: Warned) -> bool:
        said = self._known.pop(warned.found.key, 0) if self._known else 0
        return warned.level > said

    def _positions_on_board(self) -> Iterable[PositionId]:
        for each in self.board.standing.values():
            yield from self._positions_of(each.found)

    def _positions_of(self, found: Assessed) -> tuple[PositionId, ...]:
        """Name an isolated position, or all positions of a cross account."""
        if not found.is_cross:
            return (PositionId(int(found.key, 16)),)
        account = Account(int(found.account, 16))
        return cross_identities(account, self._index.account(account))

    async def _assess(self, near: Iterable[PositionId], readings: Readings) -> list[Assessed]:
        """Say how near each is; of a cross account, its most endangered position."""
        found: dict[str, Assessed] = {}
        ordered = sorted(near)
        for first in range(0, len(ordered), AT_ONCE):
            chosen = ordered[first : first + AT_ONCE]
            book = self._index.holding(_with_siblings(self._index, chosen))
            for identity in chosen:
                each = self._look(book, readings, identity)
                if each is None:
                    continue
                before = found.get(each.key)
                if before is None or _urgency(each) > _urgency(before):
                    found[each.key] = each
            await asyncio.sleep(0)
        return list(found.values())

    def _jointly(self, assessed: list[Assessed], readings: Readings, now_ms: int) -> list[Assessed]:
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
                found[each.key] = self._at_odds(each, odds)
        return [found.get(each.key, each) for each in assessed]

    def _simulated(self, each: Assessed, readings: Readings) -> Odds | None:
        identity = self._identity(each)
        account = Account(int(each.account, 16))
        named = cross_identities(account, self._index.account(account))
        book = self._index.holding((*named, identity))
        try:
            return odds_together(book, readings, identity, self._ahead, self._ahead.heads)
        except LawError:
            return None

    def _at_odds(self, each: Assessed, odds: Odds) -> Assessed:
        """Give an account the level of its joint chances, or of its nearest price alone."""
        before = self.board.standing.get(each.key)
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

    def _look(self, book: Book, readings: Readings, identity: PositionId) -> Assessed | None:
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
        before = self.board.standing.get(key)
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

    def _cured(self, warned: Warned, readings: Readings) -> Warned:
        """Work out what would bring a warning off the board."""
        found = warned.found
        triggers = self._outlook.of(found.market, found.side)
        at_price = _away(found.price, -found.side, triggers.farthest)
        account = int(found.account, 16)
        book = self._index.part([account])  # type: ignore[list-item]
        identity = self._identity(found)
        try:
            cure = cure_of(book, readings, identity, at_price)
        except LawError:
            return warned
        return replace(warned, margin_to_add=cure.margin, size_to_reduce=cure.size)

    @staticmethod
    def _identity(found: Assessed) -> PositionId:
        if not found.is_cross:
            return PositionId(int(found.key, 16))
        return PositionId(int(found.account, 16) << 24 | found.market << 8 | CROSS)

    async def _note(self, risen: Sequence[Warned], now_ms: int) -> None:
        """Write down what is to be said, before it is."""
        if not risen:
            return
        fresh = [waiting_of(each, self._settings) for each in risen]
        rows = await self._kept.note([(w.key, int(w.level), w.text) for w in fresh], now_ms)
        placed = tuple(replace(w, row=row) for w, row in zip(fresh, rows, strict=True))
        self._queue = (*self._queue, *placed)

    async def _say(self, now_ms: int) -> Said:
        if now_ms < self._not_before_ms:
            return Said()
        notices, self._pace = due(self._queue, self._pace, now_ms, self._settings)
        taken = 0
        for notice in notices:
            if not await self._channel.send(notice.title, notice.body, int(notice.level)):
                self._back_off(now_ms)
                return Said(taken=taken, refused=1)
            await self._was_said(notice, now_ms)
            taken += 1
        if taken:
            self._wait_ms = 0
        return Said(taken=taken)

    def _back_off(self, now_ms: int) -> None:
        """Wait longer each time; a digest that nobody took does not count as said."""
        self._wait_ms = min(LONGEST_WAIT_MS, 2 * self._wait_ms) or FIRST_WAIT_MS
        self._not_before_ms = now_ms + self._wait_ms
        self._pace = replace(self._pace, digest_ms=None)

    async def _was_said(self, notice: Notice, now_ms: int) -> None:
        rows = {each.row for each in notice.rows}
        await self._kept.said(sorted(rows), now_ms)
        self._queue = tuple(each for each in self._queue if each.row not in rows)


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
