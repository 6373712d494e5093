"""The simulated population: seeded, labelled, lawful in what it does to a position."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from models.population import (
    CLOSED,
    HOUR_MS,
    LIQUIDATED,
    OPEN,
    SIMULATED,
    SLOTS,
    STOPPED,
    STYLES,
    Prices,
    Trades,
    liquidation_price,
    simulated_prices,
    trade,
    traders,
)

HOURS, MARKETS, COUNT = 24 * 20, 3, 300


def world(seed: int = 4) -> tuple[Prices, Trades]:
    prices = simulated_prices(hours=HOURS, markets=MARKETS, seed=seed)
    return prices, trade(traders(COUNT, markets=MARKETS, seed=seed), prices, seed=seed)


@pytest.fixture(scope="module")
def made() -> tuple[Prices, Trades]:
    return world()


def same(first: object, second: object) -> bool:
    return all(
        np.array_equal(getattr(first, field.name), getattr(second, field.name))
        for field in fields(first)  # type: ignore[arg-type]
    )


def test_trade__same_seed__same_trades(made: tuple[Prices, Trades]):
    assert same(world()[1], made[1])


def test_trade__another_seed__other_trades(made: tuple[Prices, Trades]):
    assert not np.array_equal(world(5)[1].leverage[:50], made[1].leverage[:50])


def test_trades__say_that_they_are_simulated(made: tuple[Prices, Trades]):
    assert made[1].origin == SIMULATED
    assert made[1].select(np.array([0])).origin == SIMULATED


def test_trades__terms__lie_inside_the_law(made: tuple[Prices, Trades]):
    trades = made[1]
    assert (trades.leverage >= 1.0).all()
    assert (trades.leverage <= trades.cap).all()
    assert (trades.closed_ms >= trades.opened_ms).all()
    assert set(np.unique(trades.end)) <= {OPEN, CLOSED, STOPPED, LIQUIDATED}
    assert set(np.unique(trades.side)) == {-1, 1}


def test_trades__no_trader__holds_more_than_the_slots(made: tuple[Prices, Trades]):
    trades = made[1]
    for account in range(0, COUNT, 17):
        own = trades.select(trades.account == account)
        for stamp in own.opened_ms:
            # what ends in an hour's bar is gone before the next is opened at its close
            still = (own.closed_ms > stamp) | (own.end == OPEN)
            assert ((own.opened_ms <= stamp) & still).sum() <= SLOTS


def test_trades__liquidated_ones__met_their_price_in_that_bar(made: tuple[Prices, Trades]):
    prices, trades = made
    dead = trades.select(trades.end == LIQUIDATED)
    assert len(dead) > 5
    entry = prices.close[dead.opened_ms // HOUR_MS - 1, dead.market]
    fatal = liquidation_price(entry, dead.side, dead.leverage, dead.cap)
    bar = dead.closed_ms // HOUR_MS - 1
    low, high = prices.low[bar, dead.market], prices.high[bar, dead.market]
    assert np.where(dead.side > 0, low <= fatal, high >= fatal).all()


def test_liquidation_price__leaves_exactly_the_maintenance():
    entry, leverage, cap = np.full(4, 50.0), np.array([2.0, 5.0, 2.0, 5.0]), np.full(4, 10.0)
    side = np.array([1, 1, -1, -1])
    price = liquidation_price(entry, side, leverage, cap)
    equity = entry / leverage + side * (price - entry)
    assert equity == pytest.approx(price / (2.0 * cap))


def test_traders__every_style__is_there():
    people = traders(1_000, markets=2, seed=0)
    assert set(np.unique(people.style)) == set(range(len(STYLES)))
    assert people.markets.max() <= 2


def test_prices__bars__hold_their_closes():
    prices = simulated_prices(hours=500, markets=2, seed=1)
    assert (prices.low <= prices.close).all()
    assert (prices.high >= prices.close).all()
    moves = np.diff(np.log(prices.close), axis=0)
    kurtosis = (moves**4).mean(axis=0) / (moves**2).mean(axis=0) ** 2
    assert (kurtosis > 4.0).all()
