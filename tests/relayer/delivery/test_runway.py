"""Facts about how long a balance lasts."""

from __future__ import annotations

import math

import pytest

from relayer.delivery.runway import Runway

HOUR_S = 3_600.0


def test_runway__steady_spending__is_balance_over_pace() -> None:
    runway = Runway()
    lasts = [runway.see(hour * HOUR_S, 1_000 - 10 * hour) for hour in range(11)]
    assert lasts[0] is None
    assert lasts[10] == pytest.approx(90 * HOUR_S)


def test_runway__money_comes_in__is_no_spending() -> None:
    runway = Runway()
    runway.see(0, 100)
    runway.see(HOUR_S, 90)
    assert runway.see(2 * HOUR_S, 1_090) == pytest.approx(1_090 * 2 * HOUR_S / 10)


def test_runway__nothing_spent__lasts_for_ever() -> None:
    runway = Runway()
    runway.see(0, 100)
    assert runway.see(HOUR_S, 100) == math.inf


def test_runway__spending_of_long_ago__no_longer_counts() -> None:
    runway = Runway(window_s=2 * HOUR_S)
    for hour, balance in enumerate((1_000, 100, 100, 100, 100)):
        last = runway.see(hour * HOUR_S, balance)
    assert last == math.inf


def test_runway__first_minutes__are_no_pace() -> None:
    runway = Runway()
    runway.see(0, 100)
    assert runway.see(60, 50) is None
