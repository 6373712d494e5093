"""The grid of scores: toward safety, at most 1e-6 away, and stable when applied again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.grid import depth_down, risk_up

AMOUNTS = st.floats(1e-12, 1e15)


@given(AMOUNTS)
def test_risk_up__is_close_and_not_below(value: float):
    assert value * (1 - 2e-12) <= risk_up(value) <= value * (1 + 1.01e-6)


@given(AMOUNTS)
def test_depth_down__is_close_and_not_above(value: float):
    assert value * (1 - 1.01e-6) <= depth_down(value) <= value * (1 + 2e-12)


@given(AMOUNTS)
def test_grid__twice__is_once(value: float):
    assert risk_up(risk_up(value)) == risk_up(value)
    assert depth_down(depth_down(value)) == depth_down(value)


@given(AMOUNTS, AMOUNTS)
def test_grid__keeps_order(one: float, other: float):
    small, large = sorted((one, other))
    assert risk_up(small) <= risk_up(large)
    assert depth_down(small) <= depth_down(large)


def test_grid__zero__stays():
    assert risk_up(0.0) == depth_down(0.0) == 0.0


@pytest.mark.parametrize("value", [-1e-9, float("nan"), float("inf")])
def test_grid__no_score__is_refused(value: float):
    with pytest.raises(ValueError, match="score"):
        risk_up(value)
