"""The open positions of a replay as columns: one row for each trader and market, in float.

The columns find who may be liquidatable, who is stopped and who is near; the law decides.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.positions.screen import Columns, fatal_long, fatal_short
from benchmarks.crises_law import Law
from contracts.book_words import ISOLATED, Account, Position, PositionId, position_id
from contracts.margin_sides import index_at
from contracts.units import PPM, MarketId

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]

FIRST_ACCOUNT: Final = 1 << 159
NEVER: Final = 1 << 60


def account_of(trader: int) -> Account:
    """Give a trader's address as a number."""
    return Account(FIRST_ACCOUNT + 1 + trader)


class Table:
    """Isolated positions, shape (traders x markets,); size 0 where there is none."""

    def __init__(self, traders: int, markets: int) -> None:
        self.markets = markets
        rows = traders * markets
        self.trader = np.repeat(np.arange(traders), markets)
        self.market = np.tile(np.arange(markets), traders)
        self.size, self.basis, self.collateral = (np.zeros(rows) for _ in range(3))
        self.side = np.zeros(rows)
        self.least, self.most, self.stop = np.zeros(rows), np.zeros(rows), np.full(rows, np.nan)
        self.until = np.full(rows, NEVER, dtype=np.int64)
        self.heeds = np.zeros(rows, dtype=np.bool_)
        self.held_since = np.zeros(rows, dtype=np.int64)

    def row_of(self, trader: int, market: int) -> int:
        """Give the row of a trader in a market."""
        return trader * self.markets + market

    def identity(self, row: int) -> PositionId:
        """Name the position of a row."""
        market = MarketId(int(self.market[row]))
        return position_id(account_of(int(self.trader[row])), market, ISOLATED)

    def take(self, row: int, held: Position) -> None:
        """Take a position over as the law has it now."""
        self.size[row], self.basis[row] = float(held.size), float(held.basis)
        self.collateral[row], self.side[row] = float(held.collateral), float(held.side)
        self.least[row] = held.maintenance_ppm / PPM
        self.most[row] = (held.ceiling_ppm if held.managed else held.maintenance_ppm) / PPM
        if held.size == 0:
            self.until[row], self.stop[row] = NEVER, np.nan

    def weak(self, law: Law, prices: Floats) -> Rows:
        """Give the rows that the law may find below maintenance, and few others."""
        bound, index = self._now(law)
        price, ratio = prices[self.market], self._ratio(bound)
        equity = (
            self.collateral
            + self.side * self.size * (price - (self.basis + index[self.market])) / 1e30
        )
        asked = self.size * price * ratio / 1e30
        return np.flatnonzero((self.size > 0) & (equity < asked * (1 + 1e-9) + 8))

    def stopped(self, prices: Floats) -> Flags:
        """Tell which rows stand at or beyond their stop."""
        price = prices[self.market]
        beyond = np.where(self.side > 0, price <= self.stop, price >= self.stop)
        return np.asarray((self.size > 0) & beyond)

    def fatal(self, law: Law, chosen: Rows) -> Floats:
        """Give liquidation prices, to float's precision, of rows that hold something."""
        bound, index = self._now(law)
        found = np.empty(len(chosen))
        for market in range(self.markets):
            for side, fatal_of in ((1.0, fatal_long), (-1.0, fatal_short)):
                of = (self.market[chosen] == market) & (self.side[chosen] == side)
                rows = chosen[of]
                held = Columns(
                    size=self.size[rows],
                    basis=self.basis[rows],
                    collateral=self.collateral[rows],
                    least=self.least[rows],
                    most=self.most[rows],
                )
                found[of] = fatal_of(held, held.ratio(bound[market]), index[market])
        return found

    def distances(self, law: Law, prices: Floats, chosen: Rows) -> Floats:
        """Give the logarithm that price can run against each row; 0 past the end."""
        fatal = np.maximum(self.fatal(law, chosen), 1.0)
        room = self.side[chosen] * np.log(prices[self.market[chosen]] / fatal)
        return np.asarray(np.maximum(room, 0.0))

    def open_rows(self) -> Rows:
        """Give the rows that hold something."""
        return np.flatnonzero(self.size > 0)

    def _ratio(self, bound: Floats) -> Floats:
        return np.asarray(np.minimum(self.most, np.maximum(self.least, bound[self.market])))

    def _now(self, law: Law) -> tuple[Floats, Floats]:
        """Give each market's ratio for managed positions, and its funding index."""
        seen, bounds, indices = law.seen, [], []
        for market, held in law.book.markets.items():
            bounds.append(seen.markets[market].limits.effective_maintenance_ppm / PPM)
            indices.append(float(index_at(held.index, held.rate, law.now_s - held.at_s)))
        return np.array(bounds), np.array(indices)
