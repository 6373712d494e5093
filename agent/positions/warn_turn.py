"""Warnings, one look at a time: who is near, how near, what would help, and saying it.

Looks only at what the watch finds near and at what the board has; the rest is not touched.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest

from agent.positions.ahead import Ahead
from agent.positions.assess import Assessor
from agent.positions.levels import (
    WarnSettings,
)
from agent.positions.saying import Said, Speaker
from agent.positions.warn import (
    Board,
    Channel,
    Keeping,
    Stream,
    Warned,
)
from agent.positions.watch import Watch
from contracts.book_margin import MarketNow
from contracts.book_readings import Readings
from contracts.book_words import PositionId, split_position_id
from contracts.units import MarketId
from relayer.chain.index import Index

CURED_AT_ONCE = 50  # warnings whose cure is worked out in one turn, the most urgent first
URGENT_PART = 4  # of a turn that cannot look at all: this part is of the most urgent
LOOKED_AT_ONCE = 20_000
"""Positions judged in one turn, about 2 s; the next look at who is liquidatable waits for it."""


class Warner:
    """The board of warnings and its listeners; what rises is handed to who says it."""

    def __init__(
        self,
        index: Index,
        settings: WarnSettings,
        channel: Channel,
        kept: Keeping,
        looked_at_once: int = LOOKED_AT_ONCE,
    ) -> None:
        self._settings = settings
        self._assessor = Assessor(index, settings)
        self._speaker = Speaker(settings, channel, kept)
        self._looked_at_once = looked_at_once
        self._judged_to = 0
        self.board = Board()
        self.stream = Stream()

    def retune(self, settings: WarnSettings, channel: Channel) -> None:
        """Warn by other levels, into other channels, from the next turn on."""
        self._settings = settings
        self._assessor.retune(settings)
        self._speaker.retune(settings, channel)

    def current(self) -> tuple[Warned, ...]:
        """Give every warning that stands, the most urgent first."""
        return tuple(sorted(self.board.standing.values(), key=_urgency))

    def urgent(self, limit: int) -> tuple[PositionId, ...]:
        """Name the positions of the warnings that stand, the most urgent first, up to a number."""
        found: list[PositionId] = []
        for each in nsmallest(limit, self.board.standing.values(), _urgency):
            found += self._assessor.positions_of(each.found)
        return tuple(found[:limit])

    async def suggest(self, said: Sequence[tuple[str, str]], now_ms: int) -> None:
        """Put suggestions into the queue, by the key of what they concern; they never trade."""
        await self._speaker.suggest(said, now_ms)

    def expect(self, ahead: Ahead) -> None:
        """Take what the last cycle foresaw: how far each market may move over each horizon."""
        self._assessor.expect(ahead)

    async def turn(
        self, watch: Watch, readings: Readings, now: Mapping[MarketId, MarketNow], now_ms: int
    ) -> Said:
        """Look at who is near, change the board, and say what is to be said."""
        await self._speaker.remember(now_ms)
        moves = {market: self._assessor.farthest(market) for market in now}
        near = sorted({*watch.near(now, moves), *self._positions_on_board()})
        looked_at = self._next(near)
        unseen = self._unseen(looked_at) if len(looked_at) < len(near) else ()
        assessed = await self._assessor.assess(looked_at, self.board.standing, readings, now_ms)
        self.board, risen, over = self.board.step(assessed, now_ms, self._settings, unseen)
        cured = [self._assessor.cured(each, readings) for each in risen[:CURED_AT_ONCE]]
        self.board = self.board.with_cures(cured)
        risen = (*cured, *risen[CURED_AT_ONCE:])
        self.stream.tell((*risen, *over))
        await self._speaker.note(risen, now_ms)
        return await self._speaker.say(now_ms)

    def _next(self, near: list[PositionId]) -> list[PositionId]:
        """Choose whom to look at in this turn: all, or of too many the most urgent and the next.

        The most urgent are a quarter of a turn, in every turn; the others take turns. Accounts are
        whole, since what one position does counts for the others.
        """
        if len(near) <= self._looked_at_once:
            return near
        urgent = _with_their_accounts(near, self.urgent(self._looked_at_once // URGENT_PART))
        first = bisect_right(near, self._judged_to) % len(near)
        end = first + max(1, self._looked_at_once - len(urgent))
        while end < len(near) and _account(near[end]) == _account(near[end - 1]):
            end += 1
        chosen = near[first:end]
        self._judged_to = chosen[-1]
        return sorted(urgent.union(chosen))

    def _unseen(self, looked_at: Sequence[PositionId]) -> set[str]:
        """Name what stands on the board and has to wait for its turn."""
        seen = set(looked_at)
        named = {k: self._assessor.positions_of(e.found) for k, e in self.board.standing.items()}
        return {key for key, owned in named.items() if owned and seen.isdisjoint(owned)}

    def _positions_on_board(self) -> Iterable[PositionId]:
        for each in self.board.standing.values():
            yield from self._assessor.positions_of(each.found)


def _with_their_accounts(near: Sequence[PositionId], some: Iterable[PositionId]) -> set[PositionId]:
    """Give some of the sorted positions with all that are of the same accounts."""
    found: set[PositionId] = set()
    for each in some:
        account, at = _account(each), bisect_left(near, each)
        while at > 0 and _account(near[at - 1]) == account:
            at -= 1
        while at < len(near) and _account(near[at]) == account:
            found.add(near[at])
            at += 1
    return found


def _urgency(each: Warned) -> tuple[int, float, str]:
    return -each.level, each.found.distance, each.found.key


def _account(identity: PositionId) -> int:
    return split_position_id(identity)[0]
