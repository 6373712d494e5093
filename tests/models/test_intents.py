"""Intents: one seed, one population, whoever sets the limits."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from models.intents import LEAST_USDC, LONGS, MOST_USDC, Intents, intents
from models.population import traders

WEEK = 7 * 1_440


def drawn(seed: int = 3, count: int = 300) -> Intents:
    people = traders(count, markets=4, seed=seed)
    return intents(people, minutes=WEEK, markets=4, seed=seed)


def test_intents__same_seed__are_the_same() -> None:
    one, other = drawn(), drawn()
    for field in fields(Intents):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_intents__another_seed__are_others() -> None:
    assert len(drawn(3)) != len(drawn(4))


def test_intents__all__lie_in_the_record_and_in_the_order_of_time() -> None:
    found = drawn()
    assert np.all(np.diff(found.minute) >= 0)
    assert found.minute.min() >= 0
    assert found.minute.max() < WEEK
    assert set(found.market) <= set(range(4))
    assert found.notional_usdc.min() >= LEAST_USDC
    assert found.notional_usdc.max() <= MOST_USDC
    assert found.hold_minutes.min() >= 5


def test_intents__sides__are_long_as_often_as_stated() -> None:
    found = drawn(count=1_000)
    assert abs((found.side > 0).mean() - LONGS) < 0.03


def test_intents__managed_and_heeds__are_the_traders_not_the_positions() -> None:
    found = drawn()
    for trader in np.unique(found.account)[:50]:
        own = found.account == trader
        assert len(set(found.managed[own])) == 1
        assert len(set(found.heeds[own])) == 1


def test_intents__cadence__is_that_of_the_traders() -> None:
    people = traders(400, markets=4, seed=5)
    found = intents(people, minutes=WEEK, markets=4, seed=5)
    usual = people.trades_a_day.sum() * 7
    assert usual * 0.95 < len(found) < usual * 1.05 + 400
