"""Which positions a price may have reached, in float, without looking at the others; pure.

A screen never misses: what the law (`contracts/margin*.py`) would liquidate is always in its
answer, because each bound below is padded by more than float and the law's own roundings can take
(docs/positions.md has the proof, tests/agent/positions/test_watch.py looks for a counterexample).

Isolated: with entry `b + i` (basis and funding index), collateral C, size s and ratio r, a long is
liquidatable below `(b + i - C/s) / (1 - r)`, a short above `(b + i + C/s) / (1 + r)`. Sorted, one
search finds all.

Cross: while no market of an account has moved by more than `reach`, relative to where it was when
the account was looked at, its equity has not fallen below its maintenance: what it can lose is at
most the move times `sum(notional x (1 + r))`. Holders of a market are sorted by reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.units import MarketId

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Places = NDArray[np.int32]

E30: Final = 1e30  # size x price in one unit of USDC
ROUNDING: Final = 4.0
"""Units of 10^-6 USDC: floor of equity, ceiling of maintenance, cash of cuts, collateral."""
FLOAT: Final = 64 * 2.0**-53
"""Relative: at most thirty roundings lie between the integers and a bound, each 2^-53."""
THIN: Final = 0.25  # 1 - ratio below which a price says too little: always looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Isolated positions of one market and side; the units of the law, as floats."""

    size: Floats
    basis: Floats
    collateral: Floats
    least: Floats  # ratio that it is asked for whatever its market says
    most: Floats  # ratio that it is never asked more than

    @classmethod
    def of(cls, table: Floats) -> Columns:
        """Take the columns of a table in this order."""
        size, basis, collateral, least, most = table.T
        return cls(size=size, basis=basis, collateral=collateral, least=least, most=most)

    def ratio(self, bound: float) -> Floats:
        """Give the most that each may be asked for while its market asks for at most `bound`."""
        return np.minimum(self.most, np.maximum(self.least, bound))


def fatal_long(held: Columns, ratio: Floats, index: float) -> Floats:
    """Give a price at or below which a long may be liquidatable; above it it is not."""
    margin, rest = held.collateral * E30 / held.size, 1.0 - ratio
    pad = ROUNDING * E30 / held.size + FLOAT * (np.abs(held.basis) + abs(index) + margin)
    with np.errstate(divide="ignore", invalid="ignore"):
        fatal = (held.basis + index - margin + pad) / rest
    fatal = fatal + FLOAT * np.abs(fatal)
    return np.where(rest < THIN, np.inf, fatal)


def fatal_short(held: Columns, ratio: Floats, index: float) -> Floats:
    """Give a price at or above which a short may be liquidatable; below it it is not."""
    margin = held.collateral * E30 / held.size
    pad = ROUNDING * E30 / held.size + FLOAT * (np.abs(held.basis) + abs(index) + margin)
    fatal = (held.basis + index + margin - pad) / (1.0 + ratio)
    return np.asarray(fatal - FLOAT * np.abs(fatal))


class Ladder:
    """One market's isolated positions of one side, in the order in which price reaches them."""

    def __init__(
        self, places: Places, held: Columns, at: tuple[float, float], *, long: bool
    ) -> None:
        bound, index = at
        ratio = held.ratio(bound)
        fatal = fatal_long(held, ratio, index) if long else fatal_short(held, ratio, index)
        order = np.argsort(fatal, kind="stable")
        self._long = long
        self._fatal = fatal[order]
        self._places = places[order]
        self._index = index
        # How much a long's fatal price moves with the index, at most.
        self._grows = float(np.max(1.0 / np.maximum(1.0 - ratio, THIN), initial=1.0))

    def __len__(self) -> int:
        return len(self._places)

    def reached(self, price: float, index: float) -> list[int]:
        """Give the places of the positions that a price may have reached."""
        drift = index - self._index
        if self._long:
            least = price - self._grows * max(drift, 0.0)
            first = int(self._fatal.searchsorted(least - FLOAT * abs(least), side="left"))
            return list[int](self._places[first:].tolist())
        most = price + max(-drift, 0.0)
        last = int(self._fatal.searchsorted(most + FLOAT * abs(most), side="right"))
        return list[int](self._places[:last].tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a market stood when cross accounts were looked at; `live`: a profit counts."""

    price: float
    index: float
    live: bool
    bound: float

    def moved(self, price: float, index: float) -> float:
        """Give how far it has gone since, relative: the price, or the price less funding."""
        net = abs((price - index) - (self.price - self.index))
        slip = FLOAT * (abs(price) + abs(index) + abs(self.index))
        return (max(abs(price - self.price), net) + slip) / self.price


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossColumns:
    """Cross positions, one row each; `account` is the row in `balance`, `market` in places."""

    account: Numbers
    market: Numbers
    size: Floats  # below 0 for a short
    basis: Floats
    least: Floats
    most: Floats
    cash: Floats
    balance: Floats  # one an account

    @classmethod
    def of(cls, table: Floats, balance: Floats) -> CrossColumns:
        """Take the columns of a table in this order, and the accounts' balances."""
        account, market, size, basis, least, most, cash = table.T
        return cls(
            account=account.astype(np.int64),
            market=market.astype(np.int64),
            size=size,
            basis=basis,
            least=least,
            most=most,
            cash=cash,
            balance=balance,
        )


def reaches(held: CrossColumns, places: Sequence[Place]) -> Floats:
    """Give, for each account, a relative move of its markets that it survives for sure."""
    prices = np.array([place.price for place in places])[held.market]
    indices = np.array([place.index for place in places])[held.market]
    live = np.array([place.live for place in places])[held.market]
    bound = np.array([place.bound for place in places])[held.market]
    ratio = np.minimum(held.most, np.maximum(held.least, bound))
    profit = held.size * (prices - held.basis - indices) / E30
    counted = np.where(live, profit, np.minimum(profit, 0.0))
    notional = np.abs(held.size) * prices / E30
    swing = notional * (1.0 + ratio)
    used = np.abs(held.size) * (np.abs(held.basis) + np.abs(indices) + prices) / E30
    pad = ROUNDING + FLOAT * (used + np.abs(held.cash))
    count = len(held.balance)
    spare = _per_account(held, counted + held.cash - notional * ratio - pad, count)
    spare = spare + held.balance - FLOAT * (np.abs(held.balance) + _per_account(held, used, count))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(spare / _per_account(held, swing, count) * (1.0 - FLOAT))


def _per_account(held: CrossColumns, values: Floats, count: int) -> Floats:
    return np.asarray(np.bincount(held.account, values, count), dtype=np.float64)


def objects(values: Sequence[int]) -> NDArray[np.object_]:
    """Put numbers of any size into an array."""
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


class Holders:
    """The cross accounts of each market, in the order in which a move may reach them."""

    def __init__(
        self, accounts: Sequence[int], held: CrossColumns, places: Mapping[MarketId, Place]
    ) -> None:
        self.places = dict(places)
        reach = reaches(held, list(places.values()))[held.account]
        names = objects(accounts)
        order = np.lexsort((reach, held.market))
        ends = held.market[order].searchsorted(np.arange(len(places) + 1), side="left")
        self._sorted: dict[MarketId, tuple[Floats, NDArray[np.object_]]] = {}
        for column, market in enumerate(places):
            rows = order[ends[column] : ends[column + 1]]
            self._sorted[market] = (reach[rows], names[held.account[rows]])

    def reached(self, market: MarketId, price: float, index: float) -> list[int]:
        """Give the accounts that a market's move may have brought below maintenance."""
        if market not in self._sorted:
            return []
        reach, names = self._sorted[market]
        moved = self.places[market].moved(price, index)
        return list(names[: int(reach.searchsorted(moved, side="right"))])
