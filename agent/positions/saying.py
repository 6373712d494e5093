"""What is said of warnings, and when: written down before it is said, and kept until it was taken.

What no channel took is said again later, each time after a longer wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from agent.positions.levels import Level, WarnSettings
from agent.positions.warn import Channel, Keeping, Notice, Pace, Waiting, Warned, due, waiting_of

REMEMBERED_MS = 3_600_000  # after a restart nothing is said again that was said within an hour
FIRST_WAIT_MS, LONGEST_WAIT_MS = 5_000, 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one turn said: messages taken, and whether one was refused."""

    taken: int = 0
    refused: int = 0


class Speaker:
    """The queue of what is still to be said, at the pace that its settings allow."""

    def __init__(self, settings: WarnSettings, channel: Channel, kept: Keeping) -> None:
        self._settings = settings
        self._channel = channel
        self._kept = kept
        self._queue: tuple[Waiting, ...] = ()
        self._known: dict[str, int] | None = None
        self._pace = Pace()
        self._wait_ms, self._not_before_ms = 0, 0

    def retune(self, settings: WarnSettings, channel: Channel) -> None:
        """Speak at another pace, into other channels."""
        self._settings, self._channel = settings, channel

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

    async def remember(self, now_ms: int) -> None:
        """After a start: what was never said is said now, what was just said is not repeated."""
        if self._known is not None:
            return
        rows = await self._kept.waiting()
        self._queue = tuple(
            Waiting(key=key, level=Level(level), text=text, row=row)
            for row, key, level, text in rows
        )
        self._known = dict(await self._kept.said_since(now_ms - REMEMBERED_MS))

    async def note(self, risen: Iterable[Warned], now_ms: int) -> None:
        """Write down what is to be said, before it is."""
        fresh = [waiting_of(each, self._settings) for each in risen if self._is_news(each)]
        if not fresh:
            return
        rows = await self._kept.note([(w.key, int(w.level), w.text) for w in fresh], now_ms)
        placed = tuple(replace(w, row=row) for w, row in zip(fresh, rows, strict=True))
        self._queue = (*self._queue, *placed)

    async def say(self, now_ms: int) -> Said:
        """Say what may be said now."""
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

    def _is_news(self, warned: Warned) -> bool:
        said = self._known.pop(warned.found.key, 0) if self._known else 0
        return warned.level > said
