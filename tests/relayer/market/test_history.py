"""The history store: whole, resumable, healed, never ahead of the instant it is asked about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contracts.units import MarketId
from relayer.errors import EvidenceDamaged, StorageFailed
from relayer.market.history import FillProgress, HistoryStore
from relayer.market.segments import SegmentFolder
from relayer.market.tails import TailFiles
from relayer.market.values import DAY_MS, HOUR_MS, MINUTE_MS, CandleSeries
from tests.relayer.market.builders import market, series
from tests.relayer.market.fakes import FakeCandles

TODAY_MS = 20_220 * DAY_MS
NOW_MS = TODAY_MS + 10 * HOUR_MS + 30 * MINUTE_MS + 12_345
LISTED_MS = TODAY_MS - 10 * DAY_MS
MARKET = MarketId(7)


@pytest.fixture
def source() -> FakeCandles:
    return FakeCandles(LISTED_MS, NOW_MS)


def _store(folder: Path) -> HistoryStore:
    store = HistoryStore(folder, [market()])
    store.open()
    return store


def _segment_files(folder: Path) -> list[Path]:
    return sorted((folder / "segments").glob("*/*.arrow"))


def _same(one: CandleSeries, other: CandleSeries) -> bool:
    return np.array_equal(one.open_ms, other.open_ms) and np.array_equal(one.close, other.close)


async def test_fill__empty_store__window_is_whole(tmp_path: Path, source: FakeCandles) -> None:
    store = _store(tmp_path)
    report = await store.fill(source, NOW_MS)
    window = store.window(MARKET, NOW_MS)
    assert report.faults == ()
    assert len(window.hours) == 10 * 24 + 10
    assert len(window.minutes) == 1_439
    expected = series(NOW_MS - NOW_MS % MINUTE_MS - 1_439 * MINUTE_MS, 1_439)
    assert _same(window.minutes, expected)


async def test_window__whole_days__named_by_segment_and_the_rest_is_tail(
    tmp_path: Path, source: FakeCandles
) -> None:
    store = _store(tmp_path)
    await store.fill(source, NOW_MS)
    window = store.window(MARKET, NOW_MS)
    days = {(ref.bar_ms, ref.day) for ref in window.segments}
    assert days == {(HOUR_MS, 20_210 + n) for n in range(10)} | {(MINUTE_MS, 20_219)}
    assert len(window.tail_hours) == 10
    assert len(window.tail_minutes) == 10 * 60 + 30


async def test_window__earlier_instant__shows_nothing_later(
    tmp_path: Path, source: FakeCandles
) -> None:
    store = _store(tmp_path)
    await store.fill(source, NOW_MS)
    as_of_ms = TODAY_MS + 3 * HOUR_MS + 59_999
    window = store.window(MARKET, as_of_ms)
    assert window.minutes.open_ms[-1] + MINUTE_MS == TODAY_MS + 3 * HOUR_MS
    assert window.hours.open_ms[-1] + HOUR_MS == TODAY_MS + 3 * HOUR_MS


async def test_fill__twice__asks_nothing_again(tmp_path: Path, source: FakeCandles) -> None:
    store = _store(tmp_path)
    await store.fill(source, NOW_MS)
    assert (await store.fill(source, NOW_MS)).pages == 0


async def test_fill__after_restart__asks_only_for_what_never_was(
    tmp_path: Path, source: FakeCandles
) -> None:
    await _store(tmp_path).fill(source, NOW_MS)
    source.pages.clear()
    store = _store(tmp_path)
    await store.fill(source, NOW_MS)
    assert all(since_ms < LISTED_MS for _, _, since_ms in source.pages)
    assert len(store.window(MARKET, NOW_MS).minutes) == 1_439


async def test_fill__new_bars__one_page_each(tmp_path: Path, source: FakeCandles) -> None:
    store = _store(tmp_path)
    await store.fill(source, NOW_MS)
    source.pages.clear()
    source.until_ms = NOW_MS + HOUR_MS
    await store.fill(source, NOW_MS + HOUR_MS)
    assert len(source.pages) == 2
    assert len(store.window(MARKET, NOW_MS + HOUR_MS).tail_minutes) == 11 * 60 + 30


async def test_fill__midnight_passes__day_sealed_without_asking_again(
    tmp_path: Path, source: FakeCandles
) -> None:
    store = _store(tmp_path)
    await store.fill(source, NOW_MS)
    for step in range(1, 16):
        source.until_ms = NOW_MS + step * HOUR_MS
        await store.fill(source, NOW_MS + step * HOUR_MS)
    asked = [since_ms for _, bar_ms, since_ms in source.pages if bar_ms == MINUTE_MS]
    window = store.window(MARKET, source.until_ms)
    assert asked.count(TODAY_MS) == 1
    assert (MINUTE_MS, 20_220) in {(ref.bar_ms, ref.day) for ref in window.segments}


async def test_fill__just_after_midnight__day_is_not_sealed_without_its_last_bar(
    tmp_path: Path, source: FakeCandles
) -> None:
    store = _store(tmp_path)
    source.until_ms = TODAY_MS + DAY_MS - MINUTE_MS  # the venue is late by one bar
    await store.fill(source, TODAY_MS + DAY_MS + 2_000)
    source.until_ms = TODAY_MS + DAY_MS + 6 * MINUTE_MS
    await store.fill(source, source.until_ms)
    window = store.window(MARKET, source.until_ms)
    assert len(window.minutes) == 1_440
    assert (MINUTE_MS, 20_220) in {(ref.bar_ms, ref.day) for ref in window.segments}


async def test_fill__interrupted__goes_on_where_it_was(tmp_path: Path, source: FakeCandles) -> None:
    source.fail_after = 6
    report = await _store(tmp_path).fill(source, NOW_MS)
    assert [fault.reason for fault in report.faults] == ["unreachable"]
    done = len(_segment_files(tmp_path))
    source.fail_after = None
    source.pages.clear()
    store = _store(tmp_path)
    await store.fill(source, NOW_MS)
    assert done > 0
    assert len(store.window(MARKET, NOW_MS).minutes) == 1_439
    assert len(store.window(MARKET, NOW_MS).hours) == 250


async def test_fill__venue_gives_shorter_pages__nothing_is_lost(
    tmp_path: Path, source: FakeCandles
) -> None:
    source.most_bars = 100
    store = _store(tmp_path)
    await store.fill(source, NOW_MS)
    assert len(store.window(MARKET, NOW_MS).minutes) == 1_439
    assert len(store.window(MARKET, NOW_MS).hours) == 250


async def test_fill__venue_has_a_gap__stays_a_gap_and_is_not_asked_for_ever(
    tmp_path: Path, source: FakeCandles
) -> None:
    source.missing = {TODAY_MS + 5 * MINUTE_MS}
    store = _store(tmp_path)
    await store.fill(source, NOW_MS)
    await store.fill(source, NOW_MS)
    source.pages.clear()
    await store.fill(source, NOW_MS)
    assert source.pages == []
    assert len(store.window(MARKET, NOW_MS).minutes) == 1_438


@pytest.mark.parametrize("damage", ["truncated", "flipped", "removed"])
async def test_open__damaged_segment__found_and_fetched_again(
    tmp_path: Path, source: FakeCandles, damage: str
) -> None:
    await _store(tmp_path).fill(source, NOW_MS)
    victim = _segment_files(tmp_path)[2]
    content = victim.read_bytes()
    if damage == "removed":
        victim.unlink()
    else:
        cut = content[:100] if damage == "truncated" else content[:-9] + b"x" + content[-8:]
        victim.write_bytes(cut)
    store = HistoryStore(tmp_path, [market()])
    damaged = store.open()
    report = await store.fill(source, NOW_MS)
    assert [ref.sha256 for ref in damaged] == [victim.stem]
    assert report.healed == damaged
    assert victim.read_bytes() == content
    assert HistoryStore(tmp_path, [market()]).open() == ()


async def test_open__damaged_tail__fetched_again(tmp_path: Path, source: FakeCandles) -> None:
    await _store(tmp_path).fill(source, NOW_MS)
    for tail in (tmp_path / "tails").iterdir():
        tail.write_bytes(tail.read_bytes()[:-40])
    store = _store(tmp_path)
    await store.fill(source, NOW_MS)
    assert len(store.window(MARKET, NOW_MS).minutes) == 1_439


async def test_open__torn_index_line__only_that_day_is_fetched(
    tmp_path: Path, source: FakeCandles
) -> None:
    await _store(tmp_path).fill(source, NOW_MS)
    index = tmp_path / "index.jsonl"
    index.write_text(index.read_text()[:-30])
    store = _store(tmp_path)
    report = await store.fill(source, NOW_MS)
    assert report.segments == 1
    assert len(store.window(MARKET, NOW_MS).hours) == 250


async def test_segment__bytes_of_a_reference__checked(tmp_path: Path, source: FakeCandles) -> None:
    store = _store(tmp_path)
    await store.fill(source, NOW_MS)
    ref = store.window(MARKET, NOW_MS).segments[0]
    assert store.segment(ref)[:6] == b"ARROW1"
    next((tmp_path / "segments").glob(f"*/{ref.sha256}.arrow")).write_bytes(b"other")
    with pytest.raises(EvidenceDamaged):
        store.segment(ref)


async def test_prune__past_retention__file_and_entry_gone(
    tmp_path: Path, source: FakeCandles
) -> None:
    store = _store(tmp_path)
    await store.fill(source, NOW_MS)
    files = len(_segment_files(tmp_path))
    removed = store.prune(NOW_MS + 3 * DAY_MS)
    assert removed == 1  # the one day of minutes; hours are kept for 60 days
    assert len(_segment_files(tmp_path)) == files - 1


async def test_fill__progress__counts_up_to_the_total(tmp_path: Path, source: FakeCandles) -> None:
    seen: list[FillProgress] = []
    await _store(tmp_path).fill(source, NOW_MS, seen.append)
    assert [(each.done, each.total) for each in seen] == [(1, 2), (2, 2)]


async def test_fill__bars_in_doubt__day_stays_open_and_is_asked_for_an_hour_later(
    tmp_path: Path, source: FakeCandles
) -> None:
    doubtful = TODAY_MS - DAY_MS + 5 * HOUR_MS
    source.unconfirmed = {doubtful}
    store = _store(tmp_path)
    report = await store.fill(source, NOW_MS)
    assert {fault.reason for fault in report.faults} == {"bad_answer"}
    assert doubtful not in store.window(MARKET, NOW_MS).hours.open_ms
    source.unconfirmed = set()
    source.until_ms = NOW_MS + HOUR_MS
    assert (await store.fill(source, source.until_ms)).faults == ()
    window = store.window(MARKET, source.until_ms)
    assert doubtful in window.hours.open_ms
    assert (HOUR_MS, 20_219) in {(ref.bar_ms, ref.day) for ref in window.segments}


async def test_fill__disk_refuses_the_segment__a_fault_and_bars_kept_in_memory(
    tmp_path: Path, source: FakeCandles
) -> None:
    store = _store(tmp_path)
    _block(tmp_path / "segments")
    report = await store.fill(source, NOW_MS)
    assert {fault.reason for fault in report.faults} == {"storage_failed"}
    assert len(store.window(MARKET, NOW_MS).hours) > 0


async def test_fill__disk_refuses_the_tail__a_fault(tmp_path: Path, source: FakeCandles) -> None:
    store = _store(tmp_path)
    _block(tmp_path / "tails")
    report = await store.fill(source, NOW_MS)
    assert {fault.reason for fault in report.faults} == {"storage_failed"}


def test_store__folder_cannot_be_made__storage_failed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFailed):
        SegmentFolder(tmp_path / "file")
    with pytest.raises(StorageFailed):
        TailFiles(tmp_path / "file")


def _block(folder: Path) -> None:
    """Put a file where the folder was: every write below it is refused by the system."""
    folder.rmdir()
    folder.write_bytes(b"")
