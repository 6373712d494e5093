"""Who is warned of what, what is said of it and when: a board of levels, and a queue of notices.

The board is read by interfaces at any time. Of what rises, notices are made: one by one while they
are few, one digest for all where they are many, never more than the settings allow; what has not
been handed over waits in the database and is tried again. Nothing here trades or signs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Protocol

from agent.positions.levels import Level, WarnSettings
from contracts.units import MarketId, PriceE18, UsdcE6

E18: Final = 10**18
USDC: Final = 10**6
MS: Final = 1_000
SHOWN: Final = 10  # of a digest's warnings: the most urgent
LISTENER_MAY_LAG: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed:
    """How near the end a position is now; of a cross account, its most endangered position.

    `key` names an isolated position or a cross account, `next_price` where the next level begins
    (the liquidation price itself past the last). `chances` are over 15 min, 1 h, 4 h and 24 h, by
    `method`.
    """

    key: str
    account: str
    market: MarketId
    side: int
    is_cross: bool
    level: Level
    distance: float
    price: PriceE18
    liquidation_price: PriceE18 | None
    next_price: PriceE18 | None
    chances: tuple[float, ...] | None
    method: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """A position's or account's level as the board has it, since when, and what would cure it."""

    found: Assessed
    since_ms: int
    calm_since_ms: int | None = None
    margin_to_add: UsdcE6 | None = None
    size_to_reduce: int | None = None

    @property
    def level(self) -> Level:
        """The level that holds, which may be higher than what was found a moment ago."""
        return self.found.level


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A warning that is still to be said, in words; `row` is the database's number of it."""

    key: str
    level: Level
    text: str
    row: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message to people: a single warning, or a digest of several."""

    title: str
    body: str
    level: Level
    rows: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Every warning that stands."""

    standing: Mapping[str, Warned] = field(default_factory=lambda: MappingProxyType({}))

    def step(
        self,
        assessed: Iterable[Assessed],
        now_ms: int,
        settings: WarnSettings,
        unseen: Collection[str] = (),
    ) -> tuple[Board, tuple[Warned, ...], tuple[str, ...]]:
        """Give the board afterwards, the warnings that rose, and the keys that are over.

        What is not assessed is as far away as can be, but for `unseen`: that was not looked at, and
        stands as it did. A level rises at once, and falls only after it was lower for `calm_s`.
        """
        found = {each.key: each for each in assessed}
        standing: dict[str, Warned] = {}
        risen, over = [], []
        for key in self.standing.keys() | found.keys():
            before, now = self.standing.get(key), found.get(key)
            if before is not None and key in unseen:
                standing[key] = before
                continue
            after = _after(before, now, now_ms, settings.calm_s * MS)
            if after is None:
                over.append(key)
                continue
            standing[key] = after
            if before is None or after.level > before.level:
                risen.append(after)
        risen.sort(key=lambda each: (-each.level, each.found.distance, each.found.key))
        over = [key for key in over if key in self.standing]
        return Board(standing=standing), tuple(risen), tuple(sorted(over))

    def with_cures(self, cured: Iterable[Warned]) -> Board:
        """Put what would help beside warnings that stand."""
        known = {each.found.key: each for each in cured if each.found.key in self.standing}
        return Board(standing={**self.standing, **known})

    def counts(self) -> Counter[Level]:
        """Count the warnings by level."""
        return Counter(each.level for each in self.standing.values())


def _after(before: Warned | None, now: Assessed | None, now_ms: int, calm_ms: int) -> Warned | None:
    """Give a warning as it stands after a look; None where there is none, or no longer."""
    if before is None:
        return Warned(found=now, since_ms=now_ms) if now is not None and now.level else None
    if now is not None and now.level > before.level:
        return Warned(found=now, since_ms=now_ms)
    if now is not None and now.level == before.level:
        return replace(before, found=now, calm_since_ms=None)
    since = before.calm_since_ms if before.calm_since_ms is not None else now_ms
    if now_ms - since < calm_ms:  # lower, but not for long enough
        kept = before.found if now is None else replace(now, level=before.level)
        return replace(before, found=kept, calm_since_ms=since)
    return None if now is None or not now.level else Warned(found=now, since_ms=now_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What was said lately: when singles went out, and the last digest."""

    singles_ms: tuple[int, ...] = ()
    digest_ms: int | None = None


def due(
    waiting: Sequence[Waiting], pace: Pace, now_ms: int, settings: WarnSettings
) -> tuple[tuple[Notice, ...], Pace]:
    """Make the notices that may go now; what is in none of them goes on waiting."""
    if not waiting:
        return (), pace
    recent = tuple(at for at in pace.singles_ms if now_ms - at < 60 * MS)
    if len(waiting) + len(recent) <= settings.singles_a_minute:
        said = tuple(single(each) for each in waiting)
        return said, replace(pace, singles_ms=(*recent, *(now_ms,) * len(said)))
    last = pace.digest_ms
    if last is not None and now_ms - last < settings.digest_every_s * MS:
        return (), replace(pace, singles_ms=recent)
    return (digest(waiting),), replace(pace, singles_ms=recent, digest_ms=now_ms)


def waiting_of(warned: Warned, settings: WarnSettings) -> Waiting:
    """Put a warning into the queue, in words."""
    lines = [sentence(warned)]
    if settings.base_url:
        lines.append(settings.link.format(base=settings.base_url, key=warned.found.key))
    return Waiting(key=warned.found.key, level=warned.level, text="\n".join(lines))


def single(waiting: Waiting) -> Notice:
    """Say one warning."""
    title = f"{waiting.level.label}: {waiting.key}"
    return Notice(title=title, body=waiting.text, level=waiting.level, rows=(waiting,))


def digest(waiting: Sequence[Waiting]) -> Notice:
    """Say many warnings in one message: how many of what, and the most urgent."""
    ordered = sorted(waiting, key=lambda each: -each.level)
    counts = Counter(each.level for each in ordered)
    heads = [f"{counts[level]} {level.label}" for level in sorted(counts, reverse=True)]
    lines = [each.text for each in ordered[:SHOWN]]
    if len(ordered) > SHOWN:
        lines.append(f"and {len(ordered) - SHOWN} more")
    return Notice(
        title=f"{len(ordered)} warnings: {', '.join(heads)}",
        body="\n".join(lines),
        level=ordered[0].level,
        rows=tuple(waiting),
    )


def sentence(warned: Warned) -> str:
    """Say a warning: where it stands, where the next level begins, and what would help."""
    found = warned.found
    side = "long" if found.side > 0 else "short"
    what = "cross account" if found.is_cross else "position"
    where = f"{side} in market {found.market} at {_price(found.price)}"
    end = f"liquidation at {_price(found.liquidation_price)}"
    parts = [f"{found.level.label} {what} {found.key}: {where}, {end}"]
    if found.next_price is not None and found.level < Level.CRITICAL:
        parts.append(f"next level at {_price(found.next_price)}")
    if found.chances is not None:
        shares = ", ".join(f"{each:.0%}" for each in found.chances)
        parts.append(f"chance within 15 min, 1 h, 4 h, 24 h: {shares}")
    if warned.margin_to_add:
        help_ = f"to cure: add {warned.margin_to_add / USDC:,.6f} USDC"
        if warned.size_to_reduce:
            help_ += f" or close {warned.size_to_reduce / E18:.18f}".rstrip("0")
        parts.append(help_)
    return "; ".join(parts)


def _price(price: PriceE18 | None) -> str:
    return "none" if price is None else f"{price / E18:,.8g}"


class Channel(Protocol):
    """Where notices go out (`relayer.notices.Channels`)."""

    async def send(self, title: str, body: str, urgency: int) -> bool:
        """Hand a message over; False where it has to be tried again."""
        ...


class Keeping(Protocol):
    """Where what is to be said survives this process (`relayer.notices.NoticeStore`)."""

    async def waiting(self) -> Sequence[tuple[int, str, int, str]]:
        """Return what was never said, oldest first: number, key, level, text."""
        ...

    async def said_since(self, at_ms: int) -> Mapping[str, int]:
        """Return the highest level that was said of each key since a time."""
        ...

    async def note(self, rows: Sequence[tuple[str, int, str]], now_ms: int) -> Sequence[int]:
        """Keep key, level and text of what is to be said; return their numbers."""
        ...

    async def said(self, numbers: Sequence[int], now_ms: int) -> None:
        """Write that these were handed over."""
        ...


class Stream:
    """Tells listeners what changes on the board; one who does not listen is let go."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[Warned | str | None]] = set()

    def listen(self) -> asyncio.Queue[Warned | str | None]:
        """Begin to listen: a warning that rose, the key of one that is over, None at the end."""
        queue: asyncio.Queue[Warned | str | None] = asyncio.Queue(LISTENER_MAY_LAG + 1)
        self._listeners.add(queue)
        return queue

    def leave(self, queue: asyncio.Queue[Warned | str | None]) -> None:
        """Listen no longer."""
        self._listeners.discard(queue)

    def tell(self, changes: Iterable[Warned | str]) -> None:
        """Tell all; whoever lags by more than a thousand changes reads the list again."""
        said = tuple(changes)
        for queue in tuple(self._listeners):
            if queue.qsize() + len(said) > LISTENER_MAY_LAG:
                self._listeners.discard(queue)
                _put(queue, (None,))
            else:
                _put(queue, said)


def _put(queue: asyncio.Queue[Warned | str | None], said: Iterable[Warned | str | None]) -> None:
    for each in said:
        queue.put_nowait(each)
