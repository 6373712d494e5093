"""A replay file is refused before it is played, naming symbol and row; a good one is read whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from relayer.local.candles import CRASH_MS, ENDS_MS, PLAY_MS, STORM_MS, write_demo_candles
from relayer.local.errors import ReplayError
from relayer.local.replay import load_funding, load_recording
from relayer.local.server import main
from relayer.local.tape import BAR_MS
from tests.relayer.local.recordings import STARTS_MS, THREE_DAYS_MS, columns, write

SYMBOL = "BTC/USDT:USDT"
SHARED = Path(__file__).parents[4] / "shared/data/binance-usdm-1m-2025/1m.parquet"

Change = Callable[[dict[str, Any]], None]


def _drop(name: str) -> Change:
    return lambda made: made.pop(name)


def _swap_rows(made: dict[str, Any]) -> None:
    made["ts"][[3, 4]] = made["ts"][[4, 3]]


def _repeat_row(made: dict[str, Any]) -> None:
    made["ts"][4] = made["ts"][3]


def _set(name: str, row: int, value: float) -> Change:
    def change(made: dict[str, Any]) -> None:
        made[name][row] = value

    return change


def _rename(made: dict[str, Any]) -> None:
    made["symbol"] = ["BTC-PERP"] * len(made["symbol"])


def _widen(made: dict[str, Any]) -> None:
    made["ts"] = STARTS_MS + 5 * BAR_MS * np.arange(len(made["ts"]), dtype=np.int64)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_drop("volume"), "missing column volume"),
        (_drop("ts"), "missing column ts"),
        (_swap_rows, f"{SYMBOL}, row 4: 2025-05-04T00:03:00.000Z comes after"),
        (_repeat_row, f"{SYMBOL}, row 4: a second bar of 2025-05-04T00:03:00.000Z"),
        (_set("close", 5, float("nan")), f"{SYMBOL}, row 5: a price or the volume is not a number"),
        (_set("low", 6, -1.0), f"{SYMBOL}, row 6: a price is not above 0"),
        (_set("volume", 7, -1.0), f"{SYMBOL}, row 7: the volume is negative"),
        (_set("high", 8, 1.0), f"{SYMBOL}, row 8: open or close lies outside low to high"),
        (_rename, "row 0: symbol 'BTC-PERP' is no linear perpetual"),
        (_widen, f"{SYMBOL}, row 0: bars of 5 min"),
    ],
)
def test_load__unplayable__refused_with_symbol_and_row(
    tmp_path: Path, change: Change, said: str
) -> None:
    made = columns(SYMBOL, 20)
    change(made)
    path = write(tmp_path / "candles.parquet", made)
    with pytest.raises(ReplayError) as refused:
        load_recording(path)
    assert said in str(refused.value)


def test_load__second_market_unsorted__row_of_the_file_is_named(tmp_path: Path) -> None:
    second = columns("ETH/USDT:USDT", 20)
    _swap_rows(second)
    path = write(tmp_path / "candles.parquet", columns(SYMBOL, 20), second)
    with pytest.raises(ReplayError, match="ETH/USDT:USDT, row 24"):
        load_recording(path)


def test_load__empty__refused(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="no rows"):
        load_recording(write(tmp_path / "candles.parquet", columns(SYMBOL, 0)))


def test_load__not_parquet__refused(tmp_path: Path) -> None:
    path = tmp_path / "candles.parquet"
    path.write_text("symbol,ts,open\n")
    with pytest.raises(ReplayError, match="cannot be read as parquet"):
        load_recording(path)


def test_load__absent__refused(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="no such file"):
        load_recording(tmp_path / "candles.parquet")


def test_load__rows_of_markets_interleaved__each_sorted_is_enough(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", columns(SYMBOL, 20), columns("ETH/USDT:USDT", 20, seed=9))
    table = pq.read_table(path)
    pq.write_table(table.take(pa.array([i // 2 + 20 * (i % 2) for i in range(40)])), path)
    assert [len(tape.open_ms) for tape in load_recording(path).tapes] == [20, 20]


def test_play_start__markets_overlap__the_last_has_its_three_days(tmp_path: Path) -> None:
    later = STARTS_MS + 600 * BAR_MS
    path = write(
        tmp_path / "a.parquet",
        columns(SYMBOL, 5_500),
        columns("ETH/USDT:USDT", 5_500, starts_ms=later),
    )
    assert load_recording(path).play_start_ms() == later + THREE_DAYS_MS


def test_play_start__markets_never_overlap__the_first_has_its_three_days(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.parquet",
        columns(SYMBOL, 5_000),
        columns("ETH/USDT:USDT", 5_000, starts_ms=STARTS_MS + 5_000 * BAR_MS),
    )
    assert load_recording(path).play_start_ms() == STARTS_MS + THREE_DAYS_MS


def test_server__unplayable_file__exit_code_2_and_nothing_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = columns(SYMBOL, 20)
    _repeat_row(made)
    replay = write(tmp_path / "candles.parquet", made)
    code = main(["--state", str(tmp_path / "state"), "--replay", str(replay)])
    assert code == 2
    assert "row 4: a second bar" in capsys.readouterr().err
    assert not (tmp_path / "state" / "local.json").exists()


def test_server__start_outside_the_recording__exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replay = write(tmp_path / "candles.parquet", columns(SYMBOL, 20))
    arguments = ["--state", str(tmp_path / "state"), "--replay", str(replay)]
    assert main([*arguments, "--from", "2031-01-01T00:00:00Z"]) == 2
    assert "--from lies outside the recording" in capsys.readouterr().err


def test_funding__file_beside__read_per_symbol(tmp_path: Path) -> None:
    funding = {"symbol": [SYMBOL, SYMBOL], "ts": [2, 1], "funding_rate": [0.2, 0.1]}
    pq.write_table(pa.table(funding), tmp_path / "funding.parquet")
    times, rates = load_funding(tmp_path / "candles.parquet")[SYMBOL]
    assert (times.tolist(), rates.tolist()) == ([1, 2], [0.1, 0.2])


def test_demo_candles__same_seed__same_rows_and_labelled(tmp_path: Path) -> None:
    write_demo_candles(tmp_path / "a.parquet", 5)
    write_demo_candles(tmp_path / "b.parquet", 5)
    recording = load_recording(tmp_path / "a.parquet")
    assert recording.synthetic
    assert recording.play_start_ms() == PLAY_MS
    assert recording.ends_ms == ENDS_MS
    assert pq.read_table(tmp_path / "a.parquet").equals(pq.read_table(tmp_path / "b.parquet"))


def test_demo_candles__storm__wilder_than_the_calm_and_crashes(tmp_path: Path) -> None:
    write_demo_candles(tmp_path / "a.parquet", 5)
    for tape in load_recording(tmp_path / "a.parquet").tapes:
        moves = np.abs(np.diff(np.log(tape.close)))
        at_ms = tape.open_ms[1:]
        stormy = moves[(at_ms >= CRASH_MS) & (at_ms < CRASH_MS + 3 * 3_600_000)]
        assert stormy.mean() > 1.5 * moves[at_ms < STORM_MS].mean()
        crash = tape.close[tape.bar_at(CRASH_MS + 21 * BAR_MS)] / tape.close[tape.bar_at(CRASH_MS)]
        assert crash < 0.95


@pytest.mark.skipif(not SHARED.exists(), reason="the recorded data is not on this machine")
def test_load__sixteen_recorded_markets__whole_and_starting_where_stated() -> None:
    recording = load_recording(SHARED)
    assert sum(len(tape.open_ms) for tape in recording.tapes) == 708_180
    assert recording.play_start_ms() == np.datetime64("2025-05-12T18:18", "ms").astype(int)
    assert not recording.synthetic
