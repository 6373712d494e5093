"""Liquidity: hand-computed costs; less depth or volume is never cheaper."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.liquidity import book_slippage, candle_slippage, stressed_book, stressed_depth

MONEY = st.floats(1.0, 1e10)
DEPTHS = st.lists(MONEY, min_size=4, max_size=4).map(sorted)


def test_candle_slippage__hundredth_of_a_day__is_a_tenth_of_its_deviation():
    cost = candle_slippage(1e6, np.array([0.03]), np.array([1e8]))
    assert cost[0] == pytest.approx(0.003)


def test_candle_slippage__no_volume__costs_everything():
    assert candle_slippage(1.0, np.array([0.03]), np.array([0.0])).tolist() == [1.0]


def test_stressed_depth__inverts_the_square_root_law():
    depth = stressed_depth(np.array([0.05]), np.array([1e8]), np.array([1e-12]))
    assert depth[0] == pytest.approx(1e6)
    assert candle_slippage(1e6, np.array([0.05]), np.array([1e8]))[0] == pytest.approx(0.005)


@given(MONEY, MONEY, st.floats(1e-3, 1.0))
def test_stressed_depth__less_volume__is_never_deeper(one: float, other: float, deviation: float):
    volume = np.sort(np.array([one, other]))
    depth = stressed_depth(np.full(2, deviation), volume, np.full(2, 1e-9))
    assert depth[0] <= depth[1]


def test_book_slippage__within_the_first_level__is_a_part_of_it():
    assert book_slippage(50.0, (400.0, 800.0, 1_600.0, 3_200.0)) == pytest.approx(0.0005)


def test_book_slippage__beyond_the_book__goes_on_at_its_mean_thickness():
    assert book_slippage(1_600.0, (400.0, 800.0, 1_600.0, 3_200.0)) == pytest.approx(0.02)


def test_book_slippage__empty_book__costs_everything():
    assert book_slippage(1.0, (0.0, 0.0, 0.0, 0.0)) == 1.0


@given(st.floats(1.0, 1e8), DEPTHS, st.floats(0.0, 1.0))
def test_book_slippage__thinner_book__is_never_cheaper(
    notional: float, depths: list[float], share: float
):
    thinner = [depth * share for depth in depths]
    assert book_slippage(notional, thinner) >= book_slippage(notional, depths) * (1 - 1e-9)


@given(MONEY, MONEY, DEPTHS)
def test_book_slippage__larger_notional__is_never_cheaper(
    one: float, other: float, depths: list[float]
):
    small, large = sorted((one, other))
    assert book_slippage(small, depths) <= book_slippage(large, depths) * (1 + 1e-9)


def test_stressed_book__is_a_quarter_within_fifty_basis_points():
    assert stressed_book((1.0, 2.0, 8.0, 16.0)) == 2.0
