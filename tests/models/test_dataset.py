"""Candle files: what is read, what is refused, and outcomes that lie after the instant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.dataset import DatasetError, coarser, hour_rows, joined, minute_rows, read_series
from models.features import HOUR_MS, MINUTE_MS
from tests.models.fakes import AS_OF_MS, DAY_MS, frame


def written(tmp_path: Path, content: pd.DataFrame, name: str = "x.parquet") -> Path:
    content.to_parquet(tmp_path / name)
    return tmp_path / name


def test_read_series__symbols__come_in_the_order_of_the_file(tmp_path: Path):
    parts = [frame(name, HOUR_MS, 50, seed=1) for name in ("B", "A")]
    path = written(tmp_path, pd.concat(parts))
    assert [series.symbol for series in read_series(path)] == ["B", "A"]


def test_read_series__no_symbol_column__takes_the_name_of_the_file(tmp_path: Path):
    content = frame("X", MINUTE_MS, 50, seed=1).drop(columns="symbol")
    series = next(read_series(written(tmp_path, content, "BTCUSD-1m.parquet")))
    assert (series.symbol, series.bar_ms, series.length) == ("BTCUSD", MINUTE_MS, 50)


def test_read_series__before__leaves_later_bars_out(tmp_path: Path):
    path = written(tmp_path, frame("X", HOUR_MS, 50, seed=1))
    series = next(read_series(path, before_ms=AS_OF_MS - 10 * HOUR_MS))
    assert series.start_ms + series.length * HOUR_MS == AS_OF_MS - 10 * HOUR_MS


def test_read_series__gap__is_missing_bars(tmp_path: Path):
    content = frame("X", HOUR_MS, 50, seed=1).drop(index=[20, 21])
    series = next(read_series(written(tmp_path, content)))
    assert np.flatnonzero(np.isnan(series.bars.close[0])).tolist() == [20, 21]


@pytest.mark.parametrize("column", ["ts", "open", "volume"])
def test_read_series__missing_column__says_which(tmp_path: Path, column: str):
    path = written(tmp_path, frame("X", HOUR_MS, 50, seed=1).drop(columns=column))
    with pytest.raises(DatasetError, match=f"missing columns {column}"):
        next(read_series(path))


def test_read_series__rows_out_of_order__says_where(tmp_path: Path):
    content = frame("X", HOUR_MS, 50, seed=1)
    order = [*range(30), 31, 30, *range(32, 50)]
    path = written(tmp_path, content.iloc[order].reset_index(drop=True))
    with pytest.raises(DatasetError, match=r"rows of X are not in order of ts.* \(row 31\)"):
        next(read_series(path))


def test_read_series__repeated_bar__is_out_of_order(tmp_path: Path):
    content = pd.concat([frame("X", HOUR_MS, 5, seed=1)] * 2, ignore_index=True)
    with pytest.raises(DatasetError, match="not in order"):
        next(read_series(written(tmp_path, content)))


def test_read_series__text_in_a_price__is_refused(tmp_path: Path):
    content = frame("X", HOUR_MS, 5, seed=1).assign(close="1")
    with pytest.raises(DatasetError, match="column close"):
        next(read_series(written(tmp_path, content)))


def test_read_series__times_as_text__are_refused(tmp_path: Path):
    content = frame("X", HOUR_MS, 5, seed=1).assign(ts="2020")
    with pytest.raises(DatasetError, match="column ts"):
        next(read_series(written(tmp_path, content)))


def test_read_series__no_parquet__is_refused(tmp_path: Path):
    path = tmp_path / "x.parquet"
    path.write_text("symbol,ts")
    with pytest.raises(DatasetError, match="not a readable parquet file"):
        next(read_series(path))


def test_read_series__no_rows__is_refused(tmp_path: Path):
    path = written(tmp_path, frame("X", HOUR_MS, 5, seed=1).iloc[:0])
    with pytest.raises(DatasetError, match="no rows"):
        next(read_series(path))


def test_read_series__times_as_index_or_rows_upside_down__are_refused_by_row(tmp_path: Path):
    table = frame("A", HOUR_MS, 50, seed=1)
    indexed = table.set_index(pd.DatetimeIndex(table["ts"]).rename("time")).iloc[::-1]
    path = tmp_path / "a.parquet"
    indexed.to_parquet(path)
    with pytest.raises(DatasetError, match=r"rows of A .* \(row 1\): sort them"):
        list(read_series(path))


def test_read_series__times_in_seconds__are_refused(tmp_path: Path):
    table = frame("A", HOUR_MS, 50, seed=1)
    path = tmp_path / "a.parquet"
    stamps = pd.DatetimeIndex(table["ts"]).as_unit("s").astype("int64")
    table.assign(ts=stamps).to_parquet(path)
    with pytest.raises(DatasetError, match="milliseconds since 1970"):
        list(read_series(path))


def test_read_series__rows_without_a_symbol__are_refused(tmp_path: Path):
    table = frame("A", HOUR_MS, 50, seed=1)
    table.loc[3, "symbol"] = None
    path = tmp_path / "a.parquet"
    table.to_parquet(path)
    with pytest.raises(DatasetError, match="1 rows without a symbol"):
        list(read_series(path))


def test_coarser__bars__begin_at_whole_hours(tmp_path: Path):
    content = frame("X", MINUTE_MS, 150, seed=1)
    hours = coarser(next(read_series(written(tmp_path, content))), HOUR_MS)
    assert hours.start_ms == AS_OF_MS - 3 * HOUR_MS
    assert hours.bars.close[0, -1] == content["close"].iloc[-1]
    assert hours.bars.high[0, 1] == content["high"].iloc[30:90].max()


def test_hour_rows__outcome__is_the_hours_that_follow(tmp_path: Path):
    content = frame("X", HOUR_MS, 200, seed=1)
    rows = hour_rows(
        next(read_series(written(tmp_path, content))), horizons_s=(4 * 3_600,), stride_ms=HOUR_MS
    )
    row = 10
    place = int((rows.as_of_ms[row] - (AS_OF_MS - 200 * HOUR_MS)) // HOUR_MS)
    close, following = content["close"].iloc[place - 1], content.iloc[place : place + 4]
    moves = np.diff(np.log(np.concatenate([[close], following["close"]])))
    assert rows.variance[row, 0] == pytest.approx((moves**2).sum())
    assert rows.falls[row, 0] == pytest.approx(max(np.log(close / following["low"].min()), 0.0))
    assert rows.rises[row, 0] == pytest.approx(max(np.log(following["high"].max() / close), 0.0))


def test_hour_rows__outcome_beyond_the_data__is_unknown(tmp_path: Path):
    path = written(tmp_path, frame("X", HOUR_MS, 200, seed=1))
    rows = hour_rows(next(read_series(path)), horizons_s=(86_400,), stride_ms=HOUR_MS)
    late = rows.as_of_ms > AS_OF_MS - DAY_MS
    assert np.isnan(rows.variance[late]).all()
    assert np.isfinite(rows.variance[~late]).all()


def test_hour_rows__outcome_hardly_traded__is_unknown(tmp_path: Path):
    content = frame("X", HOUR_MS, 200, seed=1).drop(index=range(150, 165))
    rows = hour_rows(
        next(read_series(written(tmp_path, content))), horizons_s=(86_400,), stride_ms=HOUR_MS
    )
    before_gap = rows.as_of_ms == AS_OF_MS - 52 * HOUR_MS
    assert np.isnan(rows.variance[before_gap]).all()


def test_minute_rows__young_market__has_no_rows_in_its_first_three_days(tmp_path: Path):
    path = written(tmp_path, frame("X", 5 * MINUTE_MS, 288 * 5, seed=1))
    rows = minute_rows(next(read_series(path)), horizons_s=(900,), stride_ms=HOUR_MS)
    assert rows.as_of_ms.min() == AS_OF_MS - 2 * DAY_MS


def test_joined__nothing__is_refused():
    with pytest.raises(DatasetError, match="no symbol"):
        joined(())


def test_read_series__no_such_file__says_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere\.parquet: there is no such file; give"):
        next(read_series(tmp_path / "nowhere.parquet"))
