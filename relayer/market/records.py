"""What books, trades and funding leave behind: rows of one market, as columns that Arrow holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

import pyarrow as pa

from contracts.units import MarketId, UnixMs
from relayer.errors import BadAnswer, EvidenceDamaged
from relayer.market.depth import BANDS_BP, depth_within
from relayer.market.derivatives import MOST_FUNDING
from relayer.market.parsing import reading
from relayer.market.values import DAY_MS, E18, MINUTE_MS, Book, Listing

Row = tuple[Any, ...]


class RecordKind(StrEnum):
    """What is kept beside bars."""

    DEPTH = "depth"  # of one venue's book, in its quote currency, every five minutes
    FLOW = "flow"  # one venue's trades of five minutes, summed up by the taker's side
    FORCED = "forced"  # its liquidations, summed up in the same way
    FUNDING = "funding"  # settled rates


SAMPLE_MS: Final = 5 * MINUTE_MS  # of depth and flow


def _schema(numbers: Sequence[str], counts: Sequence[str] = ()) -> pa.Schema:
    """Give the columns of a kind: time and venue, whole numbers, then others."""
    types: dict[str, pa.DataType] = {"at_ms": pa.int64(), "venue": pa.string()}
    types |= dict.fromkeys(counts, pa.int64()) | dict.fromkeys(numbers, pa.float64())
    return pa.schema(types)


SCHEMAS: Final[Mapping[RecordKind, pa.Schema]] = {
    RecordKind.DEPTH: _schema([f"{side}_{band}bp" for side in ("bid", "ask") for band in BANDS_BP]),
    RecordKind.FLOW: _schema(("bought", "sold", "value"), counts=("trades",)),
    RecordKind.FORCED: _schema(("bought", "sold", "value"), counts=("trades",)),
    RecordKind.FUNDING: _schema(("rate",)),
}
# What is kept, and what of it is in memory. 200 markets at 3 venues: about 15 MB of disk a day.
KEPT_DAYS: Final = {
    RecordKind.DEPTH: 30,
    RecordKind.FLOW: 30,
    RecordKind.FORCED: 30,
    RecordKind.FUNDING: 365,
}
IN_MEMORY_MS: Final = {
    RecordKind.DEPTH: DAY_MS,
    RecordKind.FLOW: DAY_MS,
    RecordKind.FORCED: DAY_MS,
    RecordKind.FUNDING: 30 * DAY_MS,
}


class AnyTrade(Protocol):
    """What is counted of a trade."""

    @property
    def venue(self) -> str:
        """Where it was made."""
        ...

    @property
    def side(self) -> str:
        """The taker's: buy or sell."""
        ...

    @property
    def price_e18(self) -> int:
        """Its price × 10^18."""
        ...

    @property
    def size_e18(self) -> int:
        """Its base units × 10^18."""
        ...

    @property
    def traded_at_ms(self) -> UnixMs:
        """The exchange's stamp."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRate:
    """One settled rate of one market at one venue."""

    venue: str
    market: MarketId
    settled_at_ms: UnixMs
    rate: float


@reading("settled funding")
def parse_rates(
    listing: Listing, market: MarketId, rows: Sequence[Mapping[str, Any]]
) -> tuple[FundingRate, ...]:
    """Make settled rates of ccxt's, oldest first; raises BadAnswer when one is none."""
    found = {int(row["timestamp"]): float(row["fundingRate"]) for row in rows}
    if any(not abs(rate) <= MOST_FUNDING for rate in found.values()):
        raise BadAnswer(f"{listing.symbol}: a settled rate beyond {MOST_FUNDING:.0%}")
    return tuple(
        FundingRate(venue=listing.venue, market=market, settled_at_ms=UnixMs(at), rate=found[at])
        for at in sorted(found)
    )


def depth_row(book: Book) -> Row:
    """Give what stands near the mid of a book."""
    bids, asks = depth_within(book)
    return (int(book.observed_at_ms), book.venue, *bids, *asks)


def flow_rows(trades: Sequence[AnyTrade]) -> list[Row]:
    """Sum up one market's trades by venue and five minutes: base units and value."""
    sums: dict[tuple[int, str], list[float]] = {}
    for trade in trades:
        start = trade.traded_at_ms - trade.traded_at_ms % SAMPLE_MS
        found = sums.setdefault((start, trade.venue), [0, 0.0, 0.0, 0.0])
        size = trade.size_e18 / E18
        found[0] += 1
        found[1 if trade.side == "buy" else 2] += size
        found[3] += size * trade.price_e18 / E18
    return [
        (start, venue, int(count), bought, sold, value)
        for (start, venue), (count, bought, sold, value) in sorted(sums.items())
    ]


def encode_rows(kind: RecordKind, rows: Sequence[Row]) -> bytes:
    """Write rows as an Arrow IPC file; the same rows give the same bytes."""
    schema = SCHEMAS[kind]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = [pa.array(column, each.type) for column, each in zip(columns, schema, strict=True)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    return bytes(sink.getvalue())


def decode_rows(kind: RecordKind, content: bytes) -> list[Row]:
    """Read what `encode_rows` wrote; raises EvidenceDamaged when it is something else."""
    try:
        table = pa.ipc.open_file(pa.py_buffer(content)).read_all()
        columns = [table[name].to_pylist() for name in SCHEMAS[kind].names]
    except (pa.ArrowException, KeyError) as fault:
        raise EvidenceDamaged(f"not a segment of {kind}: {fault}") from None
    return list(zip(*columns, strict=True))
