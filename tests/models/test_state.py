"""State of all markets: medians over an instant, whatever the order, and one's own when alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dataset import hour_rows, joined, read_series, with_state
from models.features import HOUR_MS, FeatureVector, MarketWindow, feature_vector, feature_vectors
from models.state import SOURCES, in_state, medians
from tests.models.fakes import candles, frame, window

finite = st.floats(-50.0, 50.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), finite), min_size=1, max_size=40))
def test_medians__each_row__gets_the_median_of_its_group(pairs: list[tuple[int, float]]):
    groups = np.unique([group for group, _ in pairs], return_inverse=True)[1]
    values = np.array([value for _, value in pairs])
    expected = [np.median(values[groups == group]) for group in groups]
    assert medians(values, groups) == pytest.approx(expected)


def test_in_state__table_without_these_columns__comes_back_as_it_is():
    values = np.ones((2, 1))
    assert in_state(("clock",), values, np.zeros(2, dtype=np.int64)) is values


def test_in_state__twice__changes_nothing_more():
    vector = feature_vector(window())
    assert isinstance(vector, FeatureVector)
    values = np.array([vector.values, [2.0 * value for value in vector.values]])
    instants = np.zeros(2, dtype=np.int64)
    once = in_state(vector.names, values, instants)
    assert in_state(vector.names, once, instants).tobytes() == once.tobytes()


def test_feature_vector__market_alone__is_its_own_state():
    vector = feature_vector(window(market=3))
    assert isinstance(vector, FeatureVector)
    columns = dict(zip(vector.names, vector.values, strict=True))
    for name, sources in SOURCES.items():
        own = columns[sources[0]] - (columns[sources[1]] if sources[1:] else 0.0)
        assert columns[name] == own


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(6)))
def test_feature_vectors__order_of_a_snapshot__changes_no_bit(order: list[int]):
    markets = [window(market=i, minutes=0 if i % 2 else 1_440) for i in range(6)]
    known = feature_vectors(markets)
    again = feature_vectors([markets[place] for place in order])
    assert list(again) == [known[place] for place in order]


def test_feature_vectors__market_that_warms_up__is_not_part_of_the_state():
    markets = [window(market=i) for i in range(3)]
    young = window(market=9, hours=30)
    assert feature_vectors([*markets, young])[:3] == feature_vectors(markets)


def test_feature_vectors__state__equals_that_of_the_training_rows(tmp_path: Path):
    path = tmp_path / "hours.parquet"
    pd.concat([frame(f"M{i}", HOUR_MS, 800, seed=i) for i in range(3)]).to_parquet(path)
    parts = [
        hour_rows(series, horizons_s=(3_600,), stride_ms=HOUR_MS) for series in read_series(path)
    ]
    rows = with_state(joined(parts))
    instant = int(rows.as_of_ms.max())
    last = rows.select(rows.as_of_ms == instant)
    served = feature_vectors(
        [
            MarketWindow(
                market=i,
                as_of_ms=instant,
                hours=candles(HOUR_MS, 800, seed=i),
                minutes=candles(60_000, 0),
            )
            for i in range(3)
        ]
    )
    for row, vector in enumerate(served):
        assert isinstance(vector, FeatureVector)
        assert vector.names == last.names
        assert np.array(vector.values).tobytes() == last.features[row].tobytes()
