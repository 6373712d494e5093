"""Candle files as full grids, and grids as training rows: features at an instant, what followed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.bars import BarMatrix, CleanBars, aggregate, clean
from models.features import FeatureTable, hour_table, minute_table
from models.state import in_state

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

PRICE_COLUMNS = ("open", "high", "low", "close", "volume")
HOUR_MS = 3_600_000
FIVE_MINUTES_MS = 300_000
EARLIEST_MS = 100_000_000_000
"""1973 in milliseconds; a time of our days in seconds lies before it."""
HOURS_LOOK_BACK = 720
FIVE_MINUTES_LOOK_BACK = 288
CHUNK_ROWS = 512
"""Rows whose windows are in memory at once: 512 x 720 bars x 5 columns are 15 MB."""
PRESENT_SHARE = 0.7
"""What followed is only learned from when at least this share of its bars was traded."""


class DatasetError(Exception):
    """A candle file cannot be used; the message names the file and the fault."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """One symbol's bars on a full grid from `start_ms`; a missing bar is NaN, shape (1, bars)."""

    symbol: str
    bar_ms: int
    start_ms: int
    bars: BarMatrix

    @property
    def length(self) -> int:
        """Number of bars of the grid, missing ones included."""
        return int(self.bars.close.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Instants of one or several symbols: features, and what followed over some horizons.

    Attributes
    ----------
    names : tuple of str
        Feature columns.
    features : ndarray of float64, shape (rows, columns)
    as_of_ms : ndarray of int64, shape (rows,)
    symbols : ndarray of str, shape (rows,)
    variance : ndarray of float64, shape (rows, horizons)
        Realised variance over each horizon; NaN where too little of it was traded.
    falls, rises : ndarray of float64, shape (rows, horizons)
        Adverse excursion for longs and shorts, as logarithms (at least 0); NaN likewise.
    """

    names: tuple[str, ...]
    features: FloatArray
    as_of_ms: IntArray
    symbols: NDArray[np.str_]
    variance: FloatArray
    falls: FloatArray
    rises: FloatArray

    def select(self, chosen: BoolArray) -> Rows:
        """Return the rows where `chosen` is true, in the same order."""
        columns = {
            field.name: getattr(self, field.name)[chosen]
            for field in fields(self)
            if field.name != "names"
        }
        return Rows(names=self.names, **columns)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hex, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def read_series(path: Path, *, before_ms: int | None = None) -> Iterator[Series]:
    """Read a candle file and yield each of its symbols, in the file's order.

    Parameters
    ----------
    path : Path
        Parquet with `ts` (the bar's open time), open, high, low, close, volume and, unless it
        holds one symbol only, `symbol`; rows sorted by `ts` within a symbol.
    before_ms : int, optional
        Bars that open at or after this instant are left out.

    Raises
    ------
    DatasetError
        When a column is missing or of no use, or the rows are out of order.
    """
    frame = _frame(path)
    bar_ms = _bar_ms(path, frame)
    for symbol in frame["symbol"].unique():
        part = frame[frame["symbol"] == symbol]
        if before_ms is not None:
            part = part[part["ts"] < before_ms]
        if len(part):
            yield _series(str(symbol), bar_ms, part)


def coarser(series: Series, bar_ms: int) -> Series:
    """Join bars into longer ones that begin at multiples of `bar_ms`."""
    if series.bar_ms == bar_ms:
        return series
    factor = bar_ms // series.bar_ms
    front = (series.start_ms % bar_ms) // series.bar_ms
    back = -(front + series.length) % factor
    columns = (getattr(series.bars, name) for name in PRICE_COLUMNS)
    padded = [np.pad(column, ((0, 0), (front, back)), constant_values=np.nan) for column in columns]
    bars = aggregate(BarMatrix(**dict(zip(PRICE_COLUMNS, padded, strict=True))), factor)
    start_ms = series.start_ms - front * series.bar_ms
    return Series(symbol=series.symbol, bar_ms=bar_ms, start_ms=start_ms, bars=bars)


def hour_rows(
    series: Series,
    *,
    horizons_s: Sequence[int],
    stride_ms: int,
    known_hours: int = HOURS_LOOK_BACK,
) -> Rows:
    """Rows of the hours family, one each `stride_ms`, with what followed in hourly bars.

    `known_hours` shortens the windows, as if the market had been listed that long ago.
    """
    hours = coarser(series, HOUR_MS)
    past = _Past(hours=hours, fives=None, known_hours=known_hours)
    return _rows(past, hours, horizons_s, _instants(hours, stride_ms))


def minute_rows(
    series: Series,
    *,
    horizons_s: Sequence[int],
    stride_ms: int,
    known_hours: int = HOURS_LOOK_BACK,
) -> Rows:
    """Rows of the hours and minutes families, with what followed in five-minute bars."""
    fives = coarser(series, FIVE_MINUTES_MS)
    past = _Past(hours=coarser(series, HOUR_MS), fives=fives, known_hours=known_hours)
    return _rows(past, fives, horizons_s, _instants(fives, stride_ms))


def joined(parts: Sequence[Rows]) -> Rows:
    """Join rows of several symbols under each other, in the given order."""
    if not parts:
        raise DatasetError("no symbol has enough history to learn from")
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Rows)
        if field.name != "names"
    }
    return Rows(names=parts[0].names, **columns)


def with_state(rows: Rows) -> Rows:
    """Return the rows with the state of all markets (`models.state`) that they hold together.

    Rows as they are made stand alone: each has its own state.
    """
    return replace(rows, features=in_state(rows.names, rows.features, rows.as_of_ms))


def _frame(path: Path) -> pd.DataFrame:
    """Read and check the columns of a file; `ts` becomes milliseconds, `symbol` is always there."""
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file; give the path of a parquet file")
    try:
        frame = pd.read_parquet(path).reset_index(drop=True)
    except (OSError, ValueError) as fault:
        raise DatasetError(f"{path}: not a readable parquet file ({fault})") from fault
    missing = [name for name in ("ts", *PRICE_COLUMNS) if name not in frame.columns]
    if missing:
        raise DatasetError(f"{path}: missing columns {', '.join(missing)}")
    for name in PRICE_COLUMNS:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise DatasetError(f"{path}: column {name} holds {frame[name].dtype}, not numbers")
    frame["ts"] = _milliseconds(path, frame["ts"])
    if "symbol" not in frame.columns:
        frame["symbol"] = path.stem.split("-")[0]
    if frame["symbol"].isna().any():
        raise DatasetError(f"{path}: {int(frame['symbol'].isna().sum())} rows without a symbol")
    return frame


def _milliseconds(path: Path, times: pd.Series) -> pd.Series:
    """Turn times, or integers that are milliseconds already, into milliseconds."""
    if times.isna().any() or not len(times):
        raise DatasetError(f"{path}: no rows, or rows without a time")
    if pd.api.types.is_datetime64_any_dtype(times):
        stamps = np.asarray(pd.DatetimeIndex(times).as_unit("ms").astype(np.int64))
        times = pd.Series(stamps, index=times.index)
    elif not pd.api.types.is_integer_dtype(times):
        raise DatasetError(f"{path}: column ts holds {times.dtype}, not times")
    if int(times.min()) < EARLIEST_MS:
        raise DatasetError(f"{path}: ts must be times, or milliseconds since 1970, not seconds")
    return times


def _bar_ms(path: Path, frame: pd.DataFrame) -> int:
    """Find the bar's length: the most frequent step within a symbol; refuse rows out of order."""
    steps = frame.groupby("symbol", sort=False)["ts"].diff().dropna()
    if (steps <= 0).any():
        place = int(np.flatnonzero(np.asarray(steps <= 0))[0])
        row = int(steps.index[place])
        symbol = frame["symbol"].iloc[row]
        raise DatasetError(
            f"{path}: rows of {symbol} are not in order of ts, or one is there twice (row {row}): "
            "sort them by symbol and ts, and keep one row a bar"
        )
    if not len(steps):
        raise DatasetError(f"{path}: no symbol has two bars")
    return int(steps.mode().iloc[0])


def _series(symbol: str, bar_ms: int, part: pd.DataFrame) -> Series:
    """Lay the bars of one symbol on a full grid."""
    index = (part["ts"].to_numpy(dtype=np.int64) // bar_ms).astype(np.int64)
    length = int(index[-1] - index[0] + 1)
    columns = {}
    for name in PRICE_COLUMNS:
        column = np.full((1, length), np.nan)
        column[0, index - index[0]] = part[name].to_numpy(dtype=np.float64)
        columns[name] = column
    start_ms = int(index[0]) * bar_ms
    return Series(symbol=symbol, bar_ms=bar_ms, start_ms=start_ms, bars=BarMatrix(**columns))


def _instants(series: Series, stride_ms: int) -> IntArray:
    """Every `stride_ms` from the first multiple of it inside the series to its end."""
    first = -(-series.start_ms // stride_ms) * stride_ms
    end = series.start_ms + series.length * series.bar_ms
    return np.arange(first, end + 1, stride_ms, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Past:
    """The bars that windows are cut from."""

    hours: Series
    fives: Series | None
    known_hours: int


def _rows(past: _Past, following: Series, horizons_s: Sequence[int], instants: IntArray) -> Rows:
    parts = []
    for start in range(0, len(instants), CHUNK_ROWS):
        chunk = instants[start : start + CHUNK_ROWS]
        hours = _windows(past.hours, chunk, HOURS_LOOK_BACK, past.known_hours)
        minutes = None
        if past.fives is not None:
            fives = _windows(past.fives, chunk, FIVE_MINUTES_LOOK_BACK, FIVE_MINUTES_LOOK_BACK)
            minutes = minute_table(fives)
        parts.append((chunk, *_usable_rows(hour_table(hours, chunk), minutes)))
    names = parts[0][3]
    kept = np.concatenate([chunk[good] for chunk, good, _, _ in parts])
    features = np.concatenate([values for _, _, values, _ in parts])
    variance, falls, rises = _followed(following, kept, horizons_s)
    return Rows(
        names=names,
        features=features,
        as_of_ms=kept,
        symbols=np.full(len(kept), following.symbol),
        variance=variance,
        falls=falls,
        rises=rises,
    )


def _usable_rows(
    hours: FeatureTable, minutes: FeatureTable | None
) -> tuple[BoolArray, FloatArray, tuple[str, ...]]:
    """Mark the rows without a fault; return them with the columns of both families joined."""
    good = np.array([fault is None for fault in hours.faults])
    if minutes is None:
        return good, hours.values[good], hours.names
    good &= np.array([fault is None for fault in minutes.faults])
    values = np.concatenate([hours.values[good], minutes.values[good]], axis=1)
    return good, values, hours.names + minutes.names


def _windows(series: Series, instants: IntArray, bars: int, known: int) -> BarMatrix:
    """Copy the bars closed before each instant; all but the last `known` are missing."""
    ends = instants // series.bar_ms - series.start_ms // series.bar_ms
    index = ends[:, None] + np.arange(-bars, 0)[None, :]
    inside = (index >= 0) & (index < series.length)
    inside[:, : bars - known] = False
    safe = np.where(inside, index, 0)
    columns = {
        name: np.where(inside, getattr(series.bars, name)[0][safe], np.nan)
        for name in PRICE_COLUMNS
    }
    return BarMatrix(**columns)


def _followed(
    series: Series, instants: IntArray, horizons_s: Sequence[int]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Realised variance and excursions over each horizon after each instant."""
    cleaned = clean(series.bars)
    ends = instants // series.bar_ms - series.start_ms // series.bar_ms
    results = [np.full((len(instants), len(horizons_s)), np.nan) for _ in range(3)]
    for column, horizon_s in enumerate(horizons_s):
        bars = horizon_s * 1_000 // series.bar_ms
        for start in range(0, len(ends), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            for result, values in zip(results, _outcome(cleaned, ends[rows], bars), strict=True):
                result[rows, column] = values
    return results[0], results[1], results[2]


def _outcome(
    cleaned: CleanBars, ends: IntArray, bars: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    whole = ends + bars <= cleaned.close.shape[1]
    index = np.where(whole, ends, bars)[:, None] + np.arange(bars)[None, :]
    index = np.minimum(index, cleaned.close.shape[1] - 1)
    start = cleaned.close[0][np.maximum(index[:, 0] - 1, 0)]
    good = whole & (cleaned.present[0][index].mean(axis=1) >= PRESENT_SHARE)
    variance = np.square(cleaned.returns[0][index]).sum(axis=1)
    falls = np.maximum(start - cleaned.low[0][index].min(axis=1), 0.0)
    rises = np.maximum(cleaned.high[0][index].max(axis=1) - start, 0.0)
    return (
        np.where(good, variance, np.nan),
        np.where(good, falls, np.nan),
        np.where(good, rises, np.nan),
    )
