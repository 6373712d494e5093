"""Read a file of recorded one-minute candles, and refuse one that cannot be played."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from relayer.local.errors import ReplayError
from relayer.local.tape import BAR_MS, Tape

COLUMNS: Final = ("symbol", "ts", "open", "high", "low", "close", "volume")
SCORING_MS: Final = 3 * 86_400_000  # the history below which no market is scored
SYNTHETIC_KEY: Final = b"aml.synthetic"  # file metadata: present when we made the candles up
_SYMBOL: Final = re.compile(r"^(?P<base>[A-Za-z0-9]+)/(?P<quote>USDT|USDC):(?P=quote)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """All the tapes of one file, in the order of their symbols."""

    tapes: tuple[Tape, ...]
    source: str
    synthetic: bool

    @property
    def ends_ms(self) -> int:
        """Give the time at which the last bar of all closes."""
        return max(tape.ends_ms for tape in self.tapes)

    def play_start_ms(self) -> int:
        """Give the first minute at which all markets have history for scoring, or the first of any.

        The last of the markets decides; where the markets never overlap by then, the first does.
        """
        last = max(tape.starts_ms for tape in self.tapes) + SCORING_MS
        if last < min(tape.ends_ms for tape in self.tapes):
            return last
        first = min(self.tapes, key=lambda tape: tape.starts_ms)
        return min(first.starts_ms + SCORING_MS, first.ends_ms - BAR_MS)

    def check_start(self, at_ms: int) -> int:
        """Refuse a start outside of what was recorded."""
        first = min(tape.starts_ms for tape in self.tapes)
        if not first <= at_ms < self.ends_ms:
            raise ReplayError(
                f"{self.source}: --from lies outside the recording "
                f"({_utc(first)} to {_utc(self.ends_ms)})"
            )
        return at_ms


def load_recording(path: Path) -> Recording:
    """Read and check a parquet file of candles; raises ReplayError naming symbol and row."""
    table = _read(path)
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        found = ", ".join(table.column_names)
        raise ReplayError(f"{path}: missing column {', '.join(missing)} (it has {found})")
    if table.num_rows == 0:
        raise ReplayError(f"{path}: has no rows")
    metadata = table.schema.metadata or {}
    codes, names = _symbols(path, table)
    times = _times(path, table)
    prices = [_floats(path, table, name) for name in COLUMNS[2:]]
    _check_numbers(path, codes, names, prices)
    order = np.argsort(codes, kind="stable")
    ends = np.flatnonzero(np.diff(codes[order])) + 1
    tapes = []
    for rows in np.split(order, ends):
        symbol = names[int(codes[rows[0]])]
        _check_times(path, symbol, rows, times[rows])
        tapes.append(_tape(path, symbol, times[rows], [column[rows] for column in prices]))
    ordered = tuple(sorted(tapes, key=lambda tape: tape.symbol))
    return Recording(tapes=ordered, source=str(path), synthetic=SYNTHETIC_KEY in metadata)


def load_funding(candles: Path) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Read `funding.parquet` beside the candles, where there is one: symbol → times and rates."""
    path = candles.with_name("funding.parquet")
    if not path.exists():
        return {}
    table = _read(path)
    if not {"symbol", "ts", "funding_rate"} <= set(table.column_names):
        raise ReplayError(f"{path}: needs the columns symbol, ts, funding_rate")
    codes, names = _symbols(path, table, checked=False)
    times, rates = _times(path, table), _floats(path, table, "funding_rate")
    order = np.lexsort((times, codes))
    ends = np.flatnonzero(np.diff(codes[order])) + 1
    groups = np.split(order, ends) if len(order) else []
    return {names[int(codes[rows[0]])]: (times[rows], rates[rows]) for rows in groups}


def _read(path: Path) -> pa.Table:
    """Read a parquet file whole."""
    try:
        return pq.read_table(path)
    except FileNotFoundError:
        raise ReplayError(f"{path}: no such file") from None
    except (OSError, pa.ArrowException) as fault:
        raise ReplayError(f"{path}: cannot be read as parquet: {_first_line(fault)}") from None


def _symbols(
    path: Path, table: pa.Table, *, checked: bool = True
) -> tuple[NDArray[np.int32], Sequence[str]]:
    """Give each row's symbol as a number, and the names of the numbers."""
    column = table["symbol"].cast(pa.large_string()).combine_chunks()
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise ReplayError(f"{path}: row {row}: symbol is missing")
    encoded = column.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    names = [str(name) for name in encoded.dictionary.to_pylist()]
    for code, name in enumerate(names if checked else ()):
        if not _SYMBOL.match(name):
            row = int(np.flatnonzero(codes == code)[0])
            raise ReplayError(
                f"{path}: row {row}: symbol {name!r} is no linear perpetual in USDT or USDC "
                "(written BTC/USDT:USDT)"
            )
    return codes, names


def _times(path: Path, table: pa.Table) -> NDArray[np.int64]:
    """Give the rows' times in milliseconds since 1970, UTC."""
    column = table["ts"]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms", tz=column.type.tz), safe=False).cast(pa.int64())
    if not pa.types.is_integer(column.type):
        raise ReplayError(f"{path}: column ts is {column.type}; give timestamps or integer ms")
    if column.null_count:
        row = int(np.flatnonzero(pc.is_null(column).to_numpy())[0])
        raise ReplayError(f"{path}: row {row}: ts is missing")
    return column.to_numpy().astype(np.int64)


def _floats(path: Path, table: pa.Table, name: str) -> NDArray[np.float64]:
    """Give a column as float64, what is missing as NaN."""
    column = table[name]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise ReplayError(f"{path}: column {name} is {column.type}; give numbers")
    return column.cast(pa.float64()).to_numpy().astype(np.float64)


def _check_numbers(
    path: Path,
    codes: NDArray[np.int32],
    names: Sequence[str],
    columns: Sequence[NDArray[np.float64]],
) -> None:
    """Refuse the first row whose prices or volume no market can have had."""
    opened, high, low, closed, volume = columns
    faults = {
        "a price or the volume is not a number": ~np.isfinite(np.sum(columns, axis=0)),
        "a price is not above 0": low <= 0,
        "the volume is negative": volume < 0,
        "open or close lies outside low to high": (high < np.maximum(opened, closed))
        | (low > np.minimum(opened, closed)),
    }
    for fault, rows in faults.items():
        if rows.any():
            row = int(np.flatnonzero(rows)[0])
            raise ReplayError(f"{path}: {names[int(codes[row])]}, row {row}: {fault}")


def _check_times(
    path: Path, symbol: str, rows: NDArray[np.int64], times: NDArray[np.int64]
) -> None:
    """Refuse bars that are unsorted, repeated or not of one minute."""
    steps = np.diff(times)
    bad = np.flatnonzero((steps <= 0) | (steps % BAR_MS != 0))
    if len(bad):
        place = int(bad[0])
        row, at = int(rows[place + 1]), _utc(int(times[place + 1]))
        if steps[place] == 0:
            raise ReplayError(f"{path}: {symbol}, row {row}: a second bar of {at}")
        if steps[place] < 0:
            raise ReplayError(
                f"{path}: {symbol}, row {row}: {at} comes after {_utc(int(times[place]))}; "
                "sort the rows by (symbol, ts)"
            )
        raise ReplayError(f"{path}: {symbol}, row {row}: {at} is no whole minute after the last")
    if times[0] % BAR_MS:
        raise ReplayError(f"{path}: {symbol}, row {int(rows[0])}: ts is not a whole minute")
    if len(steps) and steps.min() > BAR_MS:
        minutes = int(steps.min()) // BAR_MS
        raise ReplayError(
            f"{path}: {symbol}, row {int(rows[0])}: bars of {minutes} min; "
            "the exchanges play bars of 1 min"
        )


def _tape(
    path: Path, symbol: str, times: NDArray[np.int64], columns: Sequence[NDArray[np.float64]]
) -> Tape:
    """Make one market's tape."""
    named = _SYMBOL.match(symbol)
    if named is None:
        raise ReplayError(f"{path}: symbol {symbol!r} is none")
    opened, high, low, closed, volume = columns
    return Tape(
        symbol=symbol,
        base=named["base"],
        quote=named["quote"],
        open_ms=times,
        open=opened,
        high=high,
        low=low,
        close=closed,
        volume=volume,
    )


def _utc(at_ms: int) -> str:
    """Write a time for people."""
    return f"{np.datetime64(at_ms, 'ms')}Z"


def _first_line(fault: Exception) -> str:
    """Give the first line of a message."""
    return (str(fault).splitlines() or [type(fault).__name__])[0]
