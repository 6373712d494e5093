"""Cleaning bars: bad prints, bad wicks, gaps; and rows that do not see each other."""

from __future__ import annotations

import numpy as np
import pytest

from models.bars import (
    BarMatrix,
    aggregate,
    clean,
    excursion_scores,
    fall_share,
    jump_share,
    low_daily_quote_volume,
    mean_of_last,
)

PRICES = ("open", "high", "low", "close")


def matrix(closes: list[list[float]], **changes: np.ndarray) -> BarMatrix:
    close = np.array(closes)
    columns = {name: close.copy() for name in PRICES} | {"volume": np.ones_like(close)}
    return BarMatrix(**(columns | changes))


def test_clean__missing_bar__repeats_last_close_and_next_bar_carries_the_move():
    cleaned = clean(matrix([[100.0, np.nan, 110.0]]))
    assert cleaned.returns[0] == pytest.approx([0.0, 0.0, np.log(1.1)])
    assert cleaned.present.tolist() == [[True, False, True]]


def test_clean__missing_front__is_not_known():
    cleaned = clean(matrix([[np.nan, np.nan, 100.0, 101.0]]))
    assert cleaned.known.tolist() == [2.0]
    assert cleaned.returns[0, :3].tolist() == [0.0, 0.0, 0.0]


def test_clean__no_bar_at_all__is_quiet_and_unknown():
    cleaned = clean(matrix([[np.nan, np.nan]]))
    assert cleaned.known.tolist() == [0.0]
    assert cleaned.returns.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("price", [0.0, -1.0, np.inf, np.nan])
def test_clean__impossible_price__counts_as_missing(price: float):
    cleaned = clean(matrix([[100.0, 100.0, 100.0]], low=np.array([[100.0, price, 100.0]])))
    assert cleaned.present.tolist() == [[True, False, True]]


def test_clean__high_under_low__counts_as_missing():
    cleaned = clean(matrix([[100.0, 100.0]], high=np.array([[100.0, 99.0]])))
    assert cleaned.present.tolist() == [[True, False]]


def test_clean__low_of_a_ten_thousandth__is_dropped():
    # Binance LINK/USDT, 2020-03-12 10:00: low = 0.0001
    cleaned = clean(matrix([[2.4, 2.3, 2.2]], low=np.array([[2.4, 0.0001, 2.2]])))
    assert cleaned.low[0, 1] == pytest.approx(np.log(2.3))
    assert cleaned.range_variance[0, 1] == 0.0


def test_clean__deep_but_possible_low__is_kept():
    cleaned = clean(matrix([[2.4, 2.3, 2.2]], low=np.array([[2.4, 1.5, 2.2]])))
    assert cleaned.low[0, 1] == pytest.approx(np.log(1.5))


def test_clean__print_that_the_next_bar_takes_back__is_dropped():
    cleaned = clean(matrix([[100.0, 1.0, 100.0, 101.0]]))
    assert np.abs(cleaned.returns).max() < 0.02


def test_clean__crash_that_stays__is_kept():
    cleaned = clean(matrix([[100.0, 50.0, 49.0, 50.0]]))
    assert cleaned.returns[0, 1] == pytest.approx(np.log(0.5))


def test_aggregate__joins_bars_with_gaps():
    nan = np.nan
    bars = BarMatrix(
        open=np.array([[nan, 2.0, 3.0, nan, nan, nan]]),
        high=np.array([[nan, 5.0, 4.0, nan, nan, nan]]),
        low=np.array([[nan, 1.0, 2.0, nan, nan, nan]]),
        close=np.array([[nan, 3.0, 4.0, nan, nan, nan]]),
        volume=np.array([[nan, 1.0, 2.0, nan, nan, nan]]),
    )
    joined = aggregate(bars, 3)
    row = [getattr(joined, name)[0, 0] for name in (*PRICES, "volume")]
    assert row == [2.0, 5.0, 1.0, 4.0, 3.0]
    assert np.isnan(joined.close[0, 1])


def test_mean_of_last__counts_only_what_is_known():
    assert mean_of_last(np.array([[0.0, 2.0, 4.0]]), 3, np.array([2.0])).tolist() == [3.0]


def test_fall_share__all_falling__is_one_half_above_balance():
    assert fall_share(np.array([[-0.1, -0.2]]), 2).tolist() == [0.5]


def test_fall_share__nothing_moves__is_balance():
    assert fall_share(np.zeros((1, 4)), 4).tolist() == [0.0]


def test_jump_share__one_jump__is_all_of_it():
    assert jump_share(np.array([[0.0, 0.0, 0.1, 0.0]]), 4).tolist() == [1.0]


def test_excursion_scores__wild_lows__score_longs_above_shorts():
    rng = np.random.default_rng(3)
    close = 100.0 * np.exp(np.cumsum(rng.standard_normal((1, 400)) * 0.01, axis=1))
    cleaned = clean(matrix(close.tolist(), low=close * 0.9, high=close * 1.001))
    longs, shorts = excursion_scores(cleaned, scale_bars=24, ahead=4, share=0.05)
    assert longs[0] > shorts[0]


def test_low_daily_quote_volume__young_market__ignores_days_before_it_began():
    close = np.full((1, 96), np.nan)
    close[0, 48:] = 10.0
    assert low_daily_quote_volume(clean(matrix(close.tolist())))[0] == pytest.approx(240.0)
