"""Losses and coverage tests against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.backtests import basel_green, christoffersen, fz0, independence, kupiec, qlike


def breaches(count: int, total: int) -> np.ndarray:
    """`count` breaches spread evenly over `total` rows."""
    result = np.zeros(total, dtype=bool)
    result[np.linspace(0, total - 1, count + 2).astype(int)[1:-1]] = True
    return result


def test_qlike__perfect_forecast__is_zero():
    assert qlike(np.array([0.02]), np.array([0.02])).tolist() == [0.0]


def test_qlike__hand_computed():
    # 2 - ln 2 - 1
    assert qlike(np.array([2.0]), np.array([1.0]))[0] == pytest.approx(0.306853)


def test_qlike__dead_outcome__is_finite():
    assert np.isfinite(qlike(np.array([0.0]), np.array([1e-4]))).all()


def test_kupiec__sixteen_of_a_thousand_at_99__hand_computed():
    # 2 (16 ln(0.016/0.01) + 984 ln(0.984/0.99)) = 3.0766; upper tail of chi2(1) = 0.0794
    test = kupiec(breaches(16, 1_000), 0.99)
    assert test.statistic == pytest.approx(3.0766, abs=1e-3)
    assert test.p_value == pytest.approx(0.0794, abs=1e-3)
    assert test.passes()


def test_kupiec__none_of_250_at_99__hand_computed():
    # -2 * 250 ln 0.99 = 5.0252; upper tail of chi2(1) = 0.0250
    test = kupiec(breaches(0, 250), 0.99)
    assert (test.statistic, test.p_value) == pytest.approx((5.0252, 0.0250), abs=1e-3)
    assert not test.passes()


def test_kupiec__exact_share__is_zero():
    assert kupiec(breaches(10, 1_000), 0.99).statistic == pytest.approx(0.0, abs=1e-9)


def test_independence__six_rows__hand_computed():
    # transitions: quiet-quiet 2, quiet-breach 1, breach-quiet 1, breach-breach 1
    # 2 (ln(1/3) + 2 ln(2/3) + 2 ln(1/2) - 2 ln 0.4 - 3 ln 0.6) = 0.13844
    test = independence(np.array([False, False, True, True, False, False]))
    assert test.statistic == pytest.approx(0.13844, abs=1e-4)


def test_independence__breaches_in_one_cluster__fail():
    clustered = np.zeros(1_000, dtype=bool)
    clustered[500:510] = True
    assert not independence(clustered).passes()
    assert kupiec(clustered, 0.99).passes()


def test_christoffersen__is_the_sum_of_both():
    rows = breaches(16, 1_000)
    both = kupiec(rows, 0.99).statistic + independence(rows).statistic
    test = christoffersen(rows, 0.99)
    assert test.statistic == pytest.approx(both)
    assert test.freedom == 2
    # upper tail of chi2(2) is exp(-x/2)
    assert test.p_value == pytest.approx(np.exp(-both / 2.0))


def test_kupiec__true_promise__is_rejected_about_once_in_twenty():
    rng = np.random.default_rng(11)
    rejected = [not kupiec(rng.random(2_000) < 0.01, 0.99).passes() for _ in range(600)]
    assert 0.02 < np.mean(rejected) < 0.08


def test_fz0__no_breach__hand_computed():
    # 0 + 2/4 + ln 4 - 1
    loss = fz0(np.array([1.0]), np.array([2.0]), np.array([4.0]), 0.99)
    assert loss[0] == pytest.approx(0.886294)


def test_fz0__breach__adds_the_excess_over_level_and_shortfall():
    # 1 / (0.01 * 4) more than without the breach
    loss = fz0(np.array([3.0]), np.array([2.0]), np.array([4.0]), 0.99)
    assert loss[0] == pytest.approx(25.886294)


def test_fz0__true_pair__has_the_smallest_mean():
    # normal losses: quantile 2.3263 and shortfall 2.6652 at 99 %
    losses = np.random.default_rng(0).standard_normal(400_000)
    pairs = [(2.3263, 2.6652), (1.9, 2.3), (2.8, 3.2), (2.3263, 3.4)]
    means = [
        fz0(losses, np.full_like(losses, v), np.full_like(losses, e), 0.99).mean() for v, e in pairs
    ]
    assert np.argmin(means) == 0


@pytest.mark.parametrize(("breaches", "green"), [(4, 1.0), (5, 0.0)])
def test_basel_green__250_days_at_99_percent__is_up_to_four(breaches: int, green: float):
    days = np.zeros(250, dtype=np.bool_)
    days[:breaches] = True
    assert basel_green(days, 0.99) == green


def test_basel_green__windows__each_count():
    days = np.zeros(251, dtype=np.bool_)
    days[[0, 1, 2, 3, 4]] = True
    assert basel_green(days, 0.99) == 0.5


def test_basel_green__short_history__is_one_window():
    assert basel_green(np.zeros(20, dtype=np.bool_), 0.99) == 1.0
