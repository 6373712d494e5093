"""The local store of depth, flow and funding: day segments by hash beside those of closed bars.

One folder, one writer. The day in progress is a tail file; a whole UTC day of one market and kind
is an immutable segment. A damaged or missing one is named and forgotten: funding is fetched again,
depth and flow of the past cannot be, and stay a gap.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

from contracts.units import MarketId
from relayer.errors import EvidenceDamaged, EvidenceMissing, RelayerError
from relayer.market.hash_files import HashFiles, storing
from relayer.market.records import (
    IN_MEMORY_MS,
    KEPT_DAYS,
    SAMPLE_MS,
    AnyTrade,
    FundingRate,
    RecordKind,
    Row,
    decode_rows,
    depth_row,
    encode_rows,
    flow_rows,
)
from relayer.market.values import DAY_MS, HOUR_MS, MINUTE_MS, Book, Market

SEAL_AFTER_MS: Final = 5 * MINUTE_MS
TAIL_EVERY_MS: Final = 10 * MINUTE_MS  # a crash costs at most so much of depth and flow
FUNDING_BACK_MS: Final = 30 * DAY_MS
FUNDING_EVERY_MS: Final = HOUR_MS
FUNDING_PAGE: Final = 100  # rates that OKX gives at once

Key = tuple[str, RecordKind]  # our name of the market, and what
DayKey = tuple[str, RecordKind, int]


class FundingSource(Protocol):
    """What settled rates are fetched from."""

    async def funding_history(
        self, market: MarketId, since_ms: int, limit: int
    ) -> Sequence[FundingRate]:
        """Give the oldest rates settled at `since_ms` or later; raises RelayerError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DayEntry:
    """One line of the index: which file holds a day."""

    symbol: str
    kind: RecordKind
    day: int
    sha256: str
    rows: int
    size: int  # of the file, in bytes

    @property
    def key(self) -> DayKey:
        """Give what the entry is found by."""
        return self.symbol, self.kind, self.day


class RecordArchive:
    """Rows of the recent past in memory, all that is kept on disk."""

    def __init__(self, folder: Path, markets: Sequence[Market]) -> None:
        self._files = HashFiles(folder / "segments")
        self._tails = _Tails(folder / "tails")
        self._index = folder / "records.jsonl"
        self._markets = {market.market: market for market in markets}
        self._entries: dict[DayKey, DayEntry] = {}
        self._rows: dict[Key, list[Row]] = {}
        self._written_ms: dict[Key, int] = {}
        self._asked_ms: dict[str, int] = {}  # when funding was fetched last, or was to be
        self._holes_ms: dict[str, int] = {}  # from when funding is to be fetched again

    def open(self, now_ms: int) -> tuple[DayEntry, ...]:
        """Read what belongs in memory; give the days that are damaged, which are now gaps.

        What is read is checked by its hash, what is older by its size alone, so that a start takes
        no longer with a long history; `day` checks its hash when it is wanted.
        """
        self._entries = _read_index(self._index)
        damaged = [each for each in self._entries.values() if not self._is_whole(each, now_ms)]
        for entry in damaged:
            del self._entries[entry.key]
            if entry.kind is RecordKind.FUNDING:
                start_ms = entry.day * DAY_MS
                self._holes_ms[entry.symbol] = min(
                    start_ms, self._holes_ms.get(entry.symbol, start_ms)
                )
        for market in self._markets.values():
            for kind in RecordKind:
                self._merge((market.symbol, kind), self._tails.read((market.symbol, kind)))
        return tuple(damaged)

    def add_books(self, books: Iterable[Book]) -> None:
        """Keep the depth of books, one each five minutes and venue."""
        for book in books:
            key = self._markets[book.market].symbol, RecordKind.DEPTH
            kept = self._rows.get(key, [])
            last = next((row[0] for row in reversed(kept) if row[1] == book.venue), 0)
            if book.observed_at_ms // SAMPLE_MS > last // SAMPLE_MS:
                self._merge(key, [depth_row(book)])

    def add_trades(
        self,
        market: MarketId,
        trades: Sequence[AnyTrade],
        now_ms: int,
        kind: RecordKind = RecordKind.FLOW,
    ) -> None:
        """Keep the flow of trades or liquidations; what is given again replaces what was known.

        Only whole five minutes count: those in progress are given again later.
        """
        start = now_ms - now_ms % SAMPLE_MS
        key = self._markets[market].symbol, kind
        known = {row[:2]: row[2] for row in self._rows.get(key, [])}
        rows = [row for row in flow_rows(trades) if row[0] < start]
        # Fewer trades than before: the tape has let the older ones go.
        self._merge(key, [row for row in rows if row[2] >= known.get(row[:2], 0)])

    async def fill_funding(
        self, source: FundingSource, now_ms: int, at_most: int | None = None
    ) -> tuple[RelayerError, ...]:
        """Fetch the settled rates since the last known one; what cannot be fetched is returned.

        Each market is asked for once an hour; `at_most` so many at once, so that the first fill of
        many markets holds nobody up.
        """
        faults = []
        waiting = [
            market
            for market in self._markets.values()
            if now_ms - self._asked_ms.get(market.symbol, 0) >= FUNDING_EVERY_MS
        ]
        for market in waiting[:at_most]:
            self._asked_ms[market.symbol] = now_ms
            try:
                await self._fill_funding(source, market, now_ms)
            except RelayerError as fault:
                faults.append(fault)
        return tuple(faults)

    def rows(self, market: MarketId, kind: RecordKind, since_ms: int, until_ms: int) -> list[Row]:
        """Give the rows in memory of [since, until), oldest first."""
        kept = self._rows.get((self._markets[market].symbol, kind), [])
        return [row for row in kept if since_ms <= row[0] < until_ms]

    def day(self, market: MarketId, kind: RecordKind, day: int) -> list[Row]:
        """Read one whole day from disk; raises EvidenceMissing or EvidenceDamaged."""
        entry = self._entries.get((self._markets[market].symbol, kind, day))
        if entry is None:
            raise EvidenceMissing(f"no {kind} of day {day} is stored")
        return decode_rows(kind, self._files.read(entry.sha256))

    def entries(self) -> tuple[DayEntry, ...]:
        """List the stored days."""
        return tuple(self._entries.values())

    def settle(self, now_ms: int) -> int:
        """Seal days that are over, write tails that are due, forget what is too old; give seals."""
        sealed = 0
        for key in tuple(self._rows):
            sealed += self._seal(key, (now_ms - SEAL_AFTER_MS) // DAY_MS)
            self._rows[key] = _since(self._rows[key], now_ms - IN_MEMORY_MS[key[1]] - DAY_MS)
            if now_ms - self._written_ms.get(key, 0) >= TAIL_EVERY_MS:
                rows = (row for row in self._rows[key] if not self._is_sealed(key, row))
                self._tails.write(key, tuple(rows))
                self._written_ms[key] = now_ms
        self._prune(now_ms // DAY_MS)
        return sealed

    # --- inside -------------------------------------------------------------------------------

    async def _fill_funding(self, source: FundingSource, market: Market, now_ms: int) -> None:
        """Fetch one market's rates, page by page; each page stays whatever comes next."""
        key = market.symbol, RecordKind.FUNDING
        kept = self._rows.get(key, [])
        since_ms = max(now_ms - FUNDING_BACK_MS, kept[-1][0] + 1 if kept else 0)
        since_ms = min(since_ms, self._holes_ms.get(market.symbol, since_ms))
        while since_ms < now_ms:
            page = await source.funding_history(market.market, since_ms, FUNDING_PAGE)
            rows = [(int(each.settled_at_ms), each.venue, each.rate) for each in page]
            self._merge(key, [row for row in rows if row[0] <= now_ms])
            if not rows:  # a short page proves nothing: some venues give fewer than asked
                break
            since_ms = max(row[0] for row in rows) + 1
        self._holes_ms.pop(market.symbol, None)

    def _merge(self, key: Key, rows: Sequence[Row]) -> None:
        """Add rows; one of the same time and venue replaces the old one."""
        old = self._rows.setdefault(key, [])
        if not rows:
            return
        if len(rows) == 1 and (not old or old[-1][:2] < rows[0][:2]):
            old.append(rows[0])
        else:
            kept = {(row[0], row[1]): row for row in (*old, *rows)}
            self._rows[key] = [kept[at] for at in sorted(kept)]

    def _seal(self, key: Key, before_day: int) -> int:
        """Store the days before one that are not stored."""
        symbol, kind = key
        days = {row[0] // DAY_MS for row in self._rows[key]}
        due = [day for day in sorted(days) if day < before_day]
        count = 0
        for day in due:
            if (symbol, kind, day) in self._entries:
                continue
            rows = [row for row in self._rows[key] if row[0] // DAY_MS == day]
            content = encode_rows(kind, rows)
            entry = DayEntry(
                symbol=symbol,
                kind=kind,
                day=day,
                sha256=self._files.write(content),
                rows=len(rows),
                size=len(content),
            )
            self._entries[entry.key] = entry
            with storing("the records' index"), self._index.open("a", encoding="utf-8") as index:
                index.write(_line(entry))
            count += 1
        return count

    def _is_whole(self, entry: DayEntry, now_ms: int) -> bool:
        """Check a day's file, and read it where it belongs in memory."""
        if (entry.day + 1) * DAY_MS < now_ms - IN_MEMORY_MS[entry.kind]:
            return self._files.size(entry.sha256) == entry.size
        try:
            rows = decode_rows(entry.kind, self._files.read(entry.sha256))
        except (EvidenceDamaged, EvidenceMissing):
            return False
        self._merge((entry.symbol, entry.kind), rows)
        return True

    def _is_sealed(self, key: Key, row: Row) -> bool:
        """Tell whether a segment holds a row's day."""
        return (*key, row[0] // DAY_MS) in self._entries

    def _prune(self, today: int) -> None:
        """Remove days past their retention."""
        kept = {k: e for k, e in self._entries.items() if e.day >= today - KEPT_DAYS[e.kind]}
        if len(kept) < len(self._entries):
            self._entries = kept
            with storing("the records' index"):
                draft = self._index.with_suffix(".tmp")
                draft.write_text("".join(map(_line, kept.values())), encoding="utf-8")
                draft.replace(self._index)
            self._files.keep_only({entry.sha256 for entry in kept.values()})


class _Tails:
    """The rows that no segment holds yet, each file after its own hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with storing("the records' folder"):
            folder.mkdir(parents=True, exist_ok=True)

    @storing("a records' tail")
    def write(self, key: Key, rows: Sequence[Row]) -> None:
        """Store rows whole or not at all."""
        content = encode_rows(key[1], rows)
        draft = self._path(key).with_suffix(".tmp")
        draft.write_bytes(hashlib.sha256(content).digest() + content)
        draft.replace(self._path(key))

    @storing("a records' tail")
    def read(self, key: Key) -> list[Row]:
        """Read a tail; one that is absent or damaged is empty."""
        path = self._path(key)
        stored = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(stored[32:]).digest() != stored[:32]:
            return []
        return decode_rows(key[1], stored[32:])

    def _path(self, key: Key) -> Path:
        """Give a tail's place."""
        name = hashlib.sha256(key[0].encode()).hexdigest()[:16]
        return self._folder / f"{name}-{key[1]}.arrow"


def _since(rows: list[Row], since_ms: int) -> list[Row]:
    """Give the rows from a time on."""
    return rows if not rows or rows[0][0] >= since_ms else [r for r in rows if r[0] >= since_ms]


@storing("the records' index")
def _read_index(path: Path) -> dict[DayKey, DayEntry]:
    """Read the index; the last line of a day counts, a torn last line does not."""
    found: dict[DayKey, DayEntry] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in lines:
        try:
            fields = json.loads(line)
            entry = DayEntry(**{**fields, "kind": RecordKind(fields["kind"])})
        except (ValueError, TypeError, KeyError):
            continue
        found[entry.key] = entry
    return found


def _line(entry: DayEntry) -> str:
    """Write an index line."""
    return json.dumps(asdict(entry), sort_keys=True) + "\n"
