"""Depth, flow and funding: day segments by hash, whole after any crash, bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contracts.units import MarketId, UnixMs
from relayer.errors import (
    BadAnswer,
    EvidenceDamaged,
    EvidenceMissing,
    RelayerError,
    Unreachable,
)
from relayer.market.archive import RecordArchive
from relayer.market.records import FundingRate, RecordKind, decode_rows, encode_rows, parse_rates
from relayer.market.tapes import Liquidation, Trade
from relayer.market.values import DAY_MS, E18, HOUR_MS, MINUTE_MS, Book, BookLevel
from tests.relayer.market.builders import MARKET, market

DAY = 20_220
START_MS = DAY * DAY_MS
NOW_MS = START_MS + DAY_MS + 6 * MINUTE_MS


def _book(at_ms: int, venue: str = "a") -> Book:
    def level(price: float) -> BookLevel:
        return BookLevel(price_e18=int(price * 1_000) * E18 // 1_000, size_e18=E18)

    return Book(
        venue=venue,
        market=MARKET,
        quote_currency="USDC",
        bids=(level(99.95), level(99.0)),
        asks=(level(100.05),),
        observed_at_ms=UnixMs(at_ms),
    )


def _trade(at_ms: int, side: str = "buy", size: int = 2) -> Trade:
    return Trade(
        venue="a",
        market=MARKET,
        id=None,
        side=side,
        price_e18=10 * E18,
        size_e18=size * E18,
        traded_at_ms=UnixMs(at_ms),
    )


@dataclass
class Rates:
    """A venue that settles every eight hours; counts pages; fails when told so."""

    until_ms: int
    pages: list[int] = field(default_factory=list)
    fail_after: int = 1_000

    async def funding_history(
        self, market: MarketId, since_ms: int, limit: int
    ) -> Sequence[FundingRate]:
        if len(self.pages) >= self.fail_after:
            raise Unreachable("told to fail")
        self.pages.append(since_ms)
        first = -(-since_ms // (8 * HOUR_MS)) * 8 * HOUR_MS
        stamps = range(first, self.until_ms + 1, 8 * HOUR_MS)[: min(limit, 50)]
        rates = (
            FundingRate(venue="a", market=market, settled_at_ms=UnixMs(at), rate=at % 7 / 1e4)
            for at in stamps
        )
        return tuple(rates)


def _archive(folder: Path, now_ms: int = NOW_MS) -> RecordArchive:
    archive = RecordArchive(folder, [market()])
    archive.open(now_ms)
    return archive


def test_depth__one_each_five_minutes_and_venue(tmp_path: Path) -> None:
    archive = _archive(tmp_path)
    stamps = [START_MS, START_MS + MINUTE_MS, START_MS + 5 * MINUTE_MS]
    archive.add_books([_book(at) for at in stamps])
    archive.add_books([_book(START_MS, "b")])
    rows = archive.rows(MARKET, RecordKind.DEPTH, START_MS, NOW_MS)
    assert [(row[0] - START_MS, row[1]) for row in rows] == [(0, "a"), (0, "b"), (300_000, "a")]
    assert rows[0][2:] == pytest.approx((99.95, 99.95, 99.95, 198.95, *[100.05] * 4))


def test_flow__whole_five_minutes_only_and_given_again_replaces(tmp_path: Path) -> None:
    archive = _archive(tmp_path)
    first = [_trade(START_MS + 1), _trade(START_MS + 2, "sell", 1)]
    archive.add_trades(MARKET, [*first, _trade(START_MS + 6 * MINUTE_MS)], START_MS + 7 * MINUTE_MS)
    assert archive.rows(MARKET, RecordKind.FLOW, START_MS, NOW_MS) == [
        (START_MS, "a", 2, 2.0, 1.0, 30.0)
    ]
    archive.add_trades(MARKET, [*first, *first], START_MS + 7 * MINUTE_MS)
    assert archive.rows(MARKET, RecordKind.FLOW, START_MS, NOW_MS)[0][2] == 4
    archive.add_trades(MARKET, first[:1], START_MS + 7 * MINUTE_MS)  # a tape that lost some
    assert archive.rows(MARKET, RecordKind.FLOW, START_MS, NOW_MS)[0][2] == 4


def test_forced__liquidations_summed_up_apart_from_trades(tmp_path: Path) -> None:
    archive = _archive(tmp_path)
    forced = Liquidation(
        venue="a",
        market=MARKET,
        side="sell",
        price_e18=10 * E18,
        size_e18=2 * E18,
        liquidated_at_ms=UnixMs(START_MS + 1),
    )
    archive.add_trades(MARKET, [forced], START_MS + 7 * MINUTE_MS, RecordKind.FORCED)
    rows = archive.rows(MARKET, RecordKind.FORCED, START_MS, NOW_MS)
    assert rows == [(START_MS, "a", 1, 0.0, 2.0, 20.0)]
    assert archive.rows(MARKET, RecordKind.FLOW, START_MS, NOW_MS) == []


def test_settle__day_over__sealed_by_hash_and_read_back(tmp_path: Path) -> None:
    archive = _archive(tmp_path)
    archive.add_books([_book(START_MS + n * 5 * MINUTE_MS) for n in range(290)])
    assert archive.settle(NOW_MS) == 1
    assert archive.settle(NOW_MS) == 0
    again = _archive(tmp_path)
    [entry] = again.entries()
    assert (entry.day, entry.rows) == (DAY, 288)
    assert len(again.day(MARKET, RecordKind.DEPTH, DAY)) == 288
    rows = again.rows(MARKET, RecordKind.DEPTH, START_MS, NOW_MS)
    assert len(rows) == 290  # the tail as well


def test_settle__day_not_quite_over__not_sealed(tmp_path: Path) -> None:
    archive = _archive(tmp_path)
    archive.add_books([_book(START_MS)])
    assert archive.settle(START_MS + DAY_MS + 4 * MINUTE_MS) == 0


@pytest.mark.parametrize("damage", ["truncated", "flipped", "removed"])
def test_open__damaged_day__found_and_named(tmp_path: Path, damage: str) -> None:
    archive = _archive(tmp_path)
    archive.add_books([_book(START_MS)])
    archive.settle(NOW_MS)
    _damage(next((tmp_path / "segments").glob("*/*.arrow")), damage)
    [damaged] = RecordArchive(tmp_path, [market()]).open(NOW_MS)
    assert damaged.day == DAY


@pytest.mark.parametrize(("damage", "found"), [("truncated", 1), ("removed", 1), ("flipped", 0)])
def test_open__old_day__its_size_is_checked_and_its_hash_when_it_is_read(
    tmp_path: Path, damage: str, found: int
) -> None:
    archive = _archive(tmp_path)
    archive.add_books([_book(START_MS)])
    archive.settle(NOW_MS)
    _damage(next((tmp_path / "segments").glob("*/*.arrow")), damage)
    later = RecordArchive(tmp_path, [market()])
    assert len(later.open(NOW_MS + 5 * DAY_MS)) == found
    with pytest.raises((EvidenceDamaged, EvidenceMissing)):
        later.day(MARKET, RecordKind.DEPTH, DAY)


def test_settle__past_retention__file_and_entry_gone(tmp_path: Path) -> None:
    archive = _archive(tmp_path)
    archive.add_books([_book(START_MS)])
    archive.settle(NOW_MS)
    archive.settle(NOW_MS + 31 * DAY_MS)
    assert archive.entries() == ()
    assert list((tmp_path / "segments").glob("*/*.arrow")) == []
    assert archive.rows(MARKET, RecordKind.DEPTH, 0, NOW_MS) == []


async def test_funding__pages_until_now_and_only_what_is_missing(tmp_path: Path) -> None:
    rates = Rates(until_ms=NOW_MS)
    archive = _archive(tmp_path)
    assert await archive.fill_funding(rates, NOW_MS) == ()
    rows = archive.rows(MARKET, RecordKind.FUNDING, 0, NOW_MS)
    assert len(rows) == 90
    rates.pages.clear()
    await archive.fill_funding(rates, NOW_MS)
    assert rates.pages == []  # once an hour
    await archive.fill_funding(rates, NOW_MS + HOUR_MS)
    assert rates.pages == [rows[-1][0] + 1]


async def test_funding__many_markets__a_few_at_once(tmp_path: Path) -> None:
    rates = Rates(until_ms=NOW_MS)
    archive = RecordArchive(tmp_path, [market(1), market(2), market(3)])
    archive.open(NOW_MS)
    known = []
    for _ in range(3):
        await archive.fill_funding(rates, NOW_MS, at_most=1)
        each = [archive.rows(MarketId(n), RecordKind.FUNDING, 0, NOW_MS) for n in (1, 2, 3)]
        known.append([len(rows) for rows in each])
    assert known == [[90, 0, 0], [90, 90, 0], [90, 90, 90]]


async def test_funding__interrupted__goes_on_where_it_was(tmp_path: Path) -> None:
    rates = Rates(until_ms=NOW_MS, fail_after=0)
    archive = _archive(tmp_path)
    [fault] = await archive.fill_funding(rates, NOW_MS)
    assert isinstance(fault, RelayerError)
    rates.fail_after = 9
    assert await archive.fill_funding(rates, NOW_MS + HOUR_MS) == ()
    archive.settle(NOW_MS)
    again = _archive(tmp_path)
    assert len(again.rows(MARKET, RecordKind.FUNDING, 0, NOW_MS)) == 90


async def test_funding__damaged_day__fetched_again(tmp_path: Path) -> None:
    rates = Rates(until_ms=NOW_MS)
    archive = _archive(tmp_path)
    await archive.fill_funding(rates, NOW_MS)
    archive.settle(NOW_MS)
    middle = sorted(archive.entries(), key=lambda entry: entry.day)[5].sha256
    next((tmp_path / "segments").glob(f"*/{middle}.arrow")).write_bytes(b"")
    again = RecordArchive(tmp_path, [market()])
    assert [entry.sha256 for entry in again.open(NOW_MS)] == [middle]
    await again.fill_funding(rates, NOW_MS)
    assert len(again.rows(MARKET, RecordKind.FUNDING, 0, NOW_MS)) == 90


def test_rows__same_rows__same_bytes() -> None:
    rows = [(1, "a", 0.5), (2, "b", 0.25)]
    content = encode_rows(RecordKind.FUNDING, rows)
    assert encode_rows(RecordKind.FUNDING, list(rows)) == content
    assert decode_rows(RecordKind.FUNDING, content) == rows
    with pytest.raises(EvidenceDamaged):
        decode_rows(RecordKind.DEPTH, content)


def _damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(
            content[:100] if how == "truncated" else content[:-9] + b"x" + content[-8:]
        )


def test_rates__of_ccxt__sorted_and_a_wild_one_refused() -> None:
    [listing, *_] = market().listings
    rows = [{"timestamp": at, "fundingRate": at / 1e4} for at in (2, 1)]
    assert [each.rate for each in parse_rates(listing, MARKET, rows)] == [0.0001, 0.0002]
    for bad in (0.3, float("nan"), None):
        with pytest.raises(BadAnswer):
            parse_rates(listing, MARKET, [{"timestamp": 1, "fundingRate": bad}])
