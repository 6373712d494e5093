"""The local store of closed bars: filled from the venues, whole after any crash, read in memory.

Whole UTC days are immutable segments; the day in progress is the open tail. Everything is checked
by hash when the store is opened; what is damaged is forgotten, and filled again like any other gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from contracts.units import MarketId, UnixMs
from relayer.errors import BadAnswer, EvidenceDamaged, EvidenceMissing, RelayerError, fault_reason
from relayer.market.agreement import CandlePage
from relayer.market.archive import RecordArchive
from relayer.market.asked import AskedDays
from relayer.market.days import FOREVER_MS, joined, merge, of_day, outside
from relayer.market.segments import IndexEntry, SegmentFolder, SegmentRef
from relayer.market.tails import TailFiles
from relayer.market.values import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    CandleSeries,
    Market,
    concatenate,
    empty_series,
)

LOOK_BACK_MS: Final = {HOUR_MS: 30 * DAY_MS, MINUTE_MS: DAY_MS}  # what features may look at
KEPT_DAYS: Final = {HOUR_MS: 60, MINUTE_MS: 3}  # retention; older segments are removed
PAGE_BARS: Final = 300
SEAL_AFTER_MS: Final = 5 * MINUTE_MS  # venues publish a day's last bars late
CONCURRENT_MARKETS: Final = 12

Key = tuple[MarketId, int]  # market and bar length


class CandleSource(Protocol):
    """What the store is filled from; VenuePool is one."""

    async def candles(
        self, market: MarketId, bar_ms: int, since_ms: int, limit: int, away: set[str]
    ) -> CandlePage:
        """Give one page of closed bars that open at `since_ms` or later, as far as confirmed.

        Venues in `away` are passed over; one that does not answer in time is added to it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryWindow:
    """One market's history as it was known at an instant, and where its closed days are stored."""

    market: MarketId
    as_of_ms: UnixMs
    hours: CandleSeries  # at most 30 days
    minutes: CandleSeries  # at most 1 day
    segments: tuple[SegmentRef, ...]  # whole days that the window touches
    tail_hours: CandleSeries  # the bars of the window that no segment holds
    tail_minutes: CandleSeries


@dataclass(frozen=True, slots=True, kw_only=True)
class FillProgress:
    """How far a fill has come: one step is one market's hours or minutes."""

    done: int
    total: int
    symbol: str
    bar_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFault:
    """One market's bars could not be fetched."""

    market: MarketId
    symbol: str
    bar_ms: int
    reason: str  # one of relayer.errors.FAULT_REASONS
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FillReport:
    """What a fill brought, healed and could not get."""

    pages: int
    segments: int
    healed: tuple[SegmentRef, ...]  # damaged files that were fetched again
    faults: tuple[HistoryFault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Brought:
    """What one market's fill brought."""

    pages: int = 0
    segments: int = 0


class HistoryStore:
    """One folder of history. One process writes it; reads are from memory and never wait."""

    def __init__(self, folder: Path, markets: Sequence[Market]) -> None:
        self._folder = SegmentFolder(folder)
        self._tails = TailFiles(folder / "tails")
        self._markets = {market.market: market for market in markets}
        self._entries: dict[tuple[str, int, int], IndexEntry] = {}
        self._series: dict[Key, CandleSeries] = {}
        self._damaged: list[SegmentRef] = []
        self._asked = AskedDays()
        self._pruned_day = 0
        self._records: RecordArchive | None = None
        self._records_folder = folder / "records"

    def records(self, now_ms: int) -> RecordArchive:
        """Give the archive of depth, flow and funding, opened when it is first asked for."""
        if self._records is None:
            self._records = RecordArchive(self._records_folder, tuple(self._markets.values()))
            self._records.open(now_ms)
        return self._records

    def open(self) -> tuple[SegmentRef, ...]:
        """Read everything, checking each hash; give the damaged segments, which are now gaps."""
        self._entries = self._folder.entries()
        for market in self._markets.values():
            for bar_ms in LOOK_BACK_MS:
                self._series[market.market, bar_ms] = self._load(market, bar_ms)
        return tuple(self._damaged)

    async def fill(
        self,
        source: CandleSource,
        now_ms: int,
        progress: Callable[[FillProgress], None] | None = None,
    ) -> FillReport:
        """Fetch what is missing up to now; what was fetched stays, whatever happens next."""
        self._asked.reopen(now_ms)
        before = {ref for ref in self._damaged if self._entry(ref) is None}
        steps = [(market, bar) for market in self._markets.values() for bar in LOOK_BACK_MS]
        limit = asyncio.Semaphore(CONCURRENT_MARKETS)
        brought: list[_Brought] = []
        faults: list[HistoryFault] = []
        away: set[str] = set()

        async def step(market: Market, bar_ms: int) -> None:
            async with limit:
                try:
                    brought.append(await self._fill_one(source, market, bar_ms, now_ms, away))
                except RelayerError as fault:
                    faults.append(_fault(market, bar_ms, fault))
            if progress is not None:
                done = len(brought) + len(faults)
                progress(
                    FillProgress(done=done, total=len(steps), symbol=market.symbol, bar_ms=bar_ms)
                )

        await asyncio.gather(*(step(market, bar_ms) for market, bar_ms in steps))
        if self._pruned_day != now_ms // DAY_MS:
            self.prune(now_ms)
        healed = tuple(sorted((ref for ref in before if self._entry(ref)), key=lambda ref: ref.day))
        self._damaged = [ref for ref in self._damaged if self._entry(ref) is None]
        return FillReport(
            pages=sum(each.pages for each in brought),
            segments=sum(each.segments for each in brought),
            healed=healed,
            faults=tuple(faults),
        )

    def window(self, market: MarketId, as_of_ms: int) -> HistoryWindow:
        """Give a market's history as it was known at an instant: bars that were closed by then."""
        hours, minutes = (self._between(market, bar_ms, as_of_ms) for bar_ms in LOOK_BACK_MS)
        refs = [*self._touched(market, hours), *self._touched(market, minutes)]
        return HistoryWindow(
            market=market,
            as_of_ms=UnixMs(as_of_ms),
            hours=hours,
            minutes=minutes,
            segments=tuple(refs),
            tail_hours=outside(hours, refs),
            tail_minutes=outside(minutes, refs),
        )

    def segment(self, ref: SegmentRef) -> bytes:
        """Read a segment's file, checked by its hash, for the evidence store."""
        return self._folder.content(ref.sha256)

    def prune(self, now_ms: int) -> int:
        """Forget and remove segments past their retention; give how many."""
        today = self._pruned_day = now_ms // DAY_MS
        kept = {
            key: entry
            for key, entry in self._entries.items()
            if entry.day >= today - KEPT_DAYS.get(entry.bar_ms, 0)
        }
        removed = len(self._entries) - len(kept)
        self._entries = kept
        self._folder.rewrite(kept)
        return removed

    # --- inside -------------------------------------------------------------------------------

    async def _fill_one(
        self, source: CandleSource, market: Market, bar_ms: int, now_ms: int, away: set[str]
    ) -> _Brought:
        """Fetch one market's missing bars of one length, and seal the days that are whole.

        Raises BadAnswer at the end when bars stayed out because no two venues agree on them.
        """
        key = market.market, bar_ms
        pages = segments = 0
        doubts: list[str] = []
        for start_ms, end_ms in self._gaps(market, bar_ms, now_ms):
            days = range(start_ms // DAY_MS, min(end_ms // DAY_MS, _unsealed_day(now_ms)))
            async for page in fetch(source, key, (start_ms, end_ms), away):
                pages += 1
                self._series[key] = merge(self._series[key], page.bars)
                if page.unconfirmed is not None:
                    doubts.append(page.unconfirmed)
                    self._asked.note_doubted(market.symbol, bar_ms, page.unconfirmed_ms, now_ms)
            segments += self._seal(market, bar_ms, days)
        oldest_ms = now_ms - LOOK_BACK_MS[bar_ms] - 2 * DAY_MS
        self._series[key] = self._series[key].between(oldest_ms, FOREVER_MS)
        self._store_tail(market, bar_ms)
        if doubts:
            raise BadAnswer(f"unconfirmed: {doubts[-1]}")
        return _Brought(pages=pages, segments=segments)

    def _gaps(self, market: Market, bar_ms: int, now_ms: int) -> list[tuple[int, int]]:
        """List what to fetch: runs of days without a segment, then the day in progress."""
        today = _unsealed_day(now_ms)
        first = (now_ms - LOOK_BACK_MS[bar_ms]) // DAY_MS
        series = self._series[market.market, bar_ms]
        missing = []
        for day in range(first, today):
            key = market.symbol, bar_ms, day
            if key in self._entries or self._asked.is_barless(key) or self._asked.is_doubted(key):
                continue
            if len(of_day(series, day)) == DAY_MS // bar_ms:
                self._seal(market, bar_ms, [day])  # the tail had it all: nothing to fetch
            else:
                missing.append((self._missing_from(market, bar_ms, day), (day + 1) * DAY_MS))
        since_ms, end_ms = self._missing_from(market, bar_ms, today), now_ms - now_ms % bar_ms
        return [*joined(missing), *([(since_ms, end_ms)] if since_ms < end_ms else [])]

    def _missing_from(self, market: Market, bar_ms: int, day: int) -> int:
        """Say where a day is to be continued."""
        bars = of_day(self._series[market.market, bar_ms], day)
        return self._asked.missing_from((market.symbol, bar_ms, day), bars)

    def _seal(self, market: Market, bar_ms: int, days: Iterable[int]) -> int:
        """Store whole days; one without bars is not, and is asked for again at the next start."""
        count = 0
        for day in days:
            if self._asked.is_doubted((market.symbol, bar_ms, day)):
                continue
            bars = of_day(self._series[market.market, bar_ms], day)
            if not len(bars):
                self._asked.note_barless((market.symbol, bar_ms, day))
                continue
            entry = self._folder.write(market.symbol, bars, day)
            self._entries[entry.key] = entry
            count += 1
        return count

    def _store_tail(self, market: Market, bar_ms: int) -> None:
        """Store the bars that no segment holds; not for every new bar."""
        series = self._series[market.market, bar_ms]
        if self._tails.is_due(market.symbol, series):
            refs = self._touched(market.market, series)
            self._tails.write(market.symbol, outside(series, refs))

    def _between(self, market: MarketId, bar_ms: int, as_of_ms: int) -> CandleSeries:
        """Give the bars of a look-back that were closed at an instant."""
        return self._series[market, bar_ms].between(as_of_ms - LOOK_BACK_MS[bar_ms], as_of_ms)

    def _touched(self, market: MarketId, series: CandleSeries) -> list[SegmentRef]:
        """List the segments that hold bars of a series."""
        symbol = self._markets[market].symbol
        days = np.unique(series.open_ms // DAY_MS).tolist()
        entries = (self._entries.get((symbol, series.bar_ms, day)) for day in days)
        return [_ref(market, entry) for entry in entries if entry is not None]

    def _entry(self, ref: SegmentRef) -> IndexEntry | None:
        """Find the index entry of a reference's day."""
        return self._entries.get((self._markets[ref.market].symbol, ref.bar_ms, ref.day))

    def _load(self, market: Market, bar_ms: int) -> CandleSeries:
        """Read one market's segments and tail; what is damaged is forgotten."""
        series = empty_series(market.market, bar_ms)
        parts = []
        for key in sorted(key for key in self._entries if key[:2] == (market.symbol, bar_ms)):
            entry = self._entries[key]
            try:
                parts.append(self._folder.read(entry, market.market))
            except (EvidenceDamaged, EvidenceMissing):
                del self._entries[key]
                self._damaged.append(_ref(market.market, entry))
        whole = concatenate([part for part in parts if len(part)] or [series])
        return merge(whole, self._tails.read(market.symbol, market.market, bar_ms))


async def fetch(
    source: CandleSource, key: Key, span_ms: tuple[int, int], away: set[str]
) -> AsyncIterator[CandlePage]:
    """Fetch the bars of [start, end) page by page.

    A page that ends early is followed from its last bar: the venue may give fewer than asked. An
    empty one is a gap of the venue's, and is passed over.
    """
    market, bar_ms = key
    since_ms, end_ms = span_ms
    while since_ms < end_ms:
        count = min(PAGE_BARS, (end_ms - since_ms) // bar_ms)
        page = await source.candles(market, bar_ms, since_ms, count, away)
        bars = page.bars.between(since_ms, end_ms)
        yield replace(page, bars=bars)
        passed_ms = since_ms + count * bar_ms
        since_ms = int(bars.open_ms[-1]) + bar_ms if len(bars) else passed_ms


def _unsealed_day(now_ms: int) -> int:
    """Give the first day whose bars may not all be published yet."""
    return (now_ms - SEAL_AFTER_MS) // DAY_MS


def _ref(market: MarketId, entry: IndexEntry) -> SegmentRef:
    """Make the reference of an index entry."""
    return SegmentRef(market=market, bar_ms=entry.bar_ms, day=entry.day, sha256=entry.sha256)


def _fault(market: Market, bar_ms: int, error: RelayerError) -> HistoryFault:
    """Write an exception as a value."""
    return HistoryFault(
        market=market.market,
        symbol=market.symbol,
        bar_ms=bar_ms,
        reason=fault_reason(error),
        detail=str(error),
    )
