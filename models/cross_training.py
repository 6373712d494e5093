"""Random cross accounts and what became of them: what the joint calibration is learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.liquidation import CrossAccount, CrossPosition, JointCalibration, joint_chance

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

HOUR_MS = 3_600_000
DAY_HOURS, LOOK_BACK_HOURS = 24, 720
MAINTENANCE = 0.01
MOST_MARKETS = 5
LONG_SHARE = 0.7
LEAST_DEATHS = 5
"""With fewer liquidations, or survivals, the simulated share stands as it is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HourCloses:
    """Logarithms of one symbol's hourly closes from `start_ms`; NaN where nothing was traded."""

    symbol: str
    start_ms: int
    values: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Announced:
    """Deviations over 24 h as they were forecast; one row an instant and symbol."""

    as_of_ms: IntArray
    symbols: NDArray[np.str_]
    deviation: FloatArray


def joint_calibration(
    closes: Sequence[HourCloses], announced: Announced, *, accounts: int, seed: int
) -> JointCalibration:
    """Draw accounts at the forecasts' instants, simulate them, see what followed, and calibrate."""
    symbols = sorted({each.symbol for each in closes})
    moves, start_ms = aligned(closes, symbols)
    groups = _by_instant(announced, symbols)
    rng = np.random.default_rng(seed)
    shares, dead = [], []
    chosen = sorted(stamp for stamp, known in groups.items() if len(known) > 1)
    for stamp in chosen[:: max(len(chosen) // max(accounts, 1), 1)]:
        place = (stamp - start_ms) // HOUR_MS
        if place < LOOK_BACK_HOURS or place + DAY_HOURS > len(moves):
            continue
        account = random_account(rng, sorted(groups[stamp]))
        spread = np.ones(len(symbols))
        for market, deviation in groups[stamp].items():
            spread[market] = deviation
        past = moves[place - LOOK_BACK_HOURS : place]
        shares.append(joint_chance(account, past, spread, DAY_HOURS))
        dead.append(died(account, moves[place : place + DAY_HOURS]))
    return _fitted(np.array(shares), np.array(dead, dtype=np.float64))


def aligned(closes: Sequence[HourCloses], symbols: Sequence[str]) -> tuple[FloatArray, int]:
    """Lay hourly log returns on one grid, shape (hours, symbols); also its first instant.

    A symbol that stands in several files counts as its first.
    """
    start = min(each.start_ms for each in closes)
    end = max(each.start_ms + len(each.values) * HOUR_MS for each in closes)
    grid = np.full(((end - start) // HOUR_MS, len(symbols)), np.nan)
    filled: set[str] = set()
    for each in closes:
        if each.symbol not in filled:
            place = (each.start_ms - start) // HOUR_MS
            grid[place : place + len(each.values), symbols.index(each.symbol)] = each.values
            filled.add(each.symbol)
    known = np.where(np.isfinite(grid), np.arange(len(grid))[:, None], 0)
    carried = np.take_along_axis(grid, np.maximum.accumulate(known, axis=0), axis=0)
    return np.nan_to_num(np.diff(carried, axis=0, prepend=np.nan)), start


def random_account(
    rng: np.random.Generator, known: Sequence[int], maintenance: float = MAINTENANCE
) -> CrossAccount:
    """Draw an account with a notional of 1 and equity of 3 % to 25 % of it."""
    count = int(rng.integers(2, min(MOST_MARKETS, len(known)) + 1))
    coins = rng.choice(known, size=count, replace=False)
    weights = rng.dirichlet(np.ones(count))
    sides = np.where(rng.random(count) < LONG_SHARE, 1.0, -1.0)
    positions = tuple(
        CrossPosition(market=int(coin), size=float(size), price=1.0, maintenance_ratio=maintenance)
        for coin, size in zip(coins, weights * sides, strict=True)
    )
    return CrossAccount(equity=float(rng.uniform(0.03, 0.25)), positions=positions)


def died(account: CrossAccount, moves: FloatArray) -> bool:
    """Whether the account falls below maintenance at an hour's end, prices beginning at 1."""
    prices = np.exp(np.cumsum(moves, axis=0))
    spare = np.full(len(moves), account.equity)
    for each in account.positions:
        price = prices[:, each.market]
        spare += each.size * (price - 1.0) - abs(each.size) * price * each.maintenance_ratio
    return bool((spare < 0.0).any())


def _by_instant(announced: Announced, symbols: Sequence[str]) -> Mapping[int, dict[int, float]]:
    places = {symbol: place for place, symbol in enumerate(symbols)}
    groups: dict[int, dict[int, float]] = {}
    for stamp, symbol, deviation in zip(
        announced.as_of_ms.tolist(),
        announced.symbols.tolist(),
        announced.deviation.tolist(),
        strict=True,
    ):
        groups.setdefault(stamp, {}).setdefault(places[symbol], deviation)
    return groups


def _fitted(share: FloatArray, dead: FloatArray) -> JointCalibration:
    """Calibrate; with next to no deaths (or nothing else) the share is not to be bent."""
    if min(dead.sum(), len(dead) - dead.sum()) < LEAST_DEATHS:
        untouched = JointCalibration()
        untouched.intercept_, untouched.slope_ = 0.0, 1.0
        return untouched
    return JointCalibration().fit(share, dead)
