"""The shipped model on recorded crises: bad prints do not move it, storms are not refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from models.dataset import HOUR_MS, Series, _windows, read_series
from models.features import FeatureVector, hour_table
from models.scorer import RiskScores, Scorer

STORMS = (
    ("2020-03-12T12:00", "BTC/USDT"),
    ("2020-03-13T12:00", "ETH/USDT"),
    ("2020-03-13T03:00", "LINK/USDT"),
    ("2021-05-19T14:00", "BTC/USDT"),
    ("2021-05-20T00:00", "MATIC/USDT"),
    ("2021-05-23T18:00", "ADA/USDT"),
    ("2022-06-13T12:00", "ETH/USDT"),
)


def scored(scorer: Scorer, series: Series, instants: Sequence[int]) -> tuple[RiskScores, ...]:
    as_of = np.array(instants, dtype=np.int64)
    table = hour_table(_windows(series, as_of, 720, 720), as_of)
    assert not any(table.faults)
    rows = zip(as_of, table.values, strict=True)
    return scorer.score(
        [
            FeatureVector(
                market=0,
                as_of_ms=int(instant),
                names=table.names,
                values=tuple(float(value) for value in row),
            )
            for instant, row in rows
        ]
    )


@pytest.fixture
def series(shared_data: Path) -> dict[str, Series]:
    path = shared_data / "binance-spot-1h-2017-2023" / "ohlcv-1h.parquet"
    wanted = {symbol for _, symbol in STORMS}
    return {found.symbol: found for found in read_series(path) if found.symbol in wanted}


def milliseconds(text: str) -> int:
    return int(np.datetime64(text, "ms").astype(np.int64)) // HOUR_MS * HOUR_MS


def test_storms_of_2020_to_2022__are_scored_and_not_refused(
    scorer: Scorer, series: dict[str, Series]
):
    for text, symbol in STORMS:
        instants = [milliseconds(text) + hour * HOUR_MS for hour in range(0, 72, 3)]
        for scores in scored(scorer, series[symbol], instants):
            assert scores.out_of_domain == (), (text, symbol)


def test_crash_of_march_2020__at_least_doubles_the_tail(scorer: Scorer, series: dict[str, Series]):
    before, after = (milliseconds(text) for text in ("2020-03-11T00:00", "2020-03-13T00:00"))
    calm, storm = scored(scorer, series["BTC/USDT"], [before, after])
    assert storm.tails[-1].long_995 > 2.0 * calm.tails[-1].long_995


def test_link_low_of_a_ten_thousandth__does_not_set_the_tail(
    scorer: Scorer, series: dict[str, Series]
):
    after = milliseconds("2020-03-20T00:00")
    link, bitcoin = (scored(scorer, series[f"{coin}/USDT"], [after])[0] for coin in ("LINK", "BTC"))
    assert link.tails[-1].long_995 < 2.0 * bitcoin.tails[-1].long_995
