"""One replay: the same traders on one law, minute by minute, under whoever sets its limits.

Each minute: what traders ask for is sent; three seconds later a round is posted, what waits is
executed, who is below maintenance is liquidated, worst first; where a price was only noted, a
second round follows six seconds later. Then limits are set, when it is time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.positions.keeper import worst_first
from agent.positions.watch import decide
from benchmarks.crises_book import Table, account_of
from benchmarks.crises_daemon import CONFIDENCE_PPM
from benchmarks.crises_law import Law
from benchmarks.crises_orders import ANY_PRICE, Crowd, order_of
from benchmarks.crises_prices import LEAD_MINUTES, Walk
from contracts.book import Request
from contracts.book_legs import leg_costs
from contracts.book_margin import Health
from contracts.book_words import PositionId
from contracts.margin import SizeE18, charge, notional_up
from contracts.margin_losses import penalty_ppm
from contracts.refusals import Refusal
from contracts.units import ONE_X, PPM, USDC
from relayer.market.values import price_e18

Floats = NDArray[np.float64]

SLOTS: Final = 4
"""Positions that one trader holds at once, at most, as in models.population."""
ROUND_S, SECOND_ROUND_S = 3, 9
DEEP_POCKETS: Final = 10**9 * USDC
NEAREST_STOP: Final = 0.002
REACTION_MINUTES: Final = 10
"""How long a trader who heeds a warning takes to act on it."""
REST_MINUTES: Final = 60
MEASURED_MINUTES: Final = 5
"""How often caps, open positions and the pool's worth are noted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidation:
    """One liquidation as it was found: the position before it, and what was closed.

    `by_ramp`: at the ratio of its terms it would not have been liquidatable.
    """

    minute: int
    row: int
    side: int
    size: float
    entry: float
    collateral: float
    ratio: float
    notional_usdc: float
    bad_debt_usdc: float
    drawn_usdc: float
    collected_usdc: float
    by_ramp: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One position opened, or an addition to it: what was wanted, allowed, and used."""

    minute: int
    notional_usdc: float
    wanted: float
    allowed: float
    used: float


@dataclass(slots=True, kw_only=True)
class Record:
    """What happened in one replay."""

    liquidations: list[Liquidation] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    turned_away: list[int] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    caps: list[tuple[float, ...]] = field(default_factory=list)
    may_open: list[float] = field(default_factory=list)
    worth: list[float] = field(default_factory=list)
    insurance: list[float] = field(default_factory=list)
    held_usdc: list[float] = field(default_factory=list)


Steer = Callable[[Law, int], None]
"""Sets limits, when it is time; given the law and the minute."""
Look = Callable[[Law, Table, int, Floats], "list[tuple[int, int]]"]
"""Sees every minute after liquidations; gives (row, minute) of positions to be halved then."""


class Floor:
    """Traders, keeper and law of one replay."""

    def __init__(self, law: Law, walk: Walk, crowd: Crowd, steer: Steer, look: Look) -> None:
        self.law, self.record = law, Record()
        self._walk, self._crowd, self._steer, self._look = walk, crowd, steer, look
        traders = len(crowd.people.style)
        self.table = Table(traders, len(walk.symbols))
        self._heat = np.ones(traders)
        self._start_s = law.now_s
        self._next = 0
        self._closing: dict[int, float] = {}
        self._halving: dict[int, int] = {}
        self._waiting: list[tuple[Request, int, int]] = []
        self._nonce = 0
        self._prices = [price_e18(float(p)) for p in walk.minutes.close[LEAD_MINUTES - 1]]

    def begin(self) -> None:
        """Post the first prices and fund everybody."""
        for trader in range(len(self._crowd.people.style)):
            self.law.deposit(account_of(trader), DEEP_POCKETS)
        self.law.at(self._start_s + ROUND_S)
        self.law.post(self._prices, CONFIDENCE_PPM)
        self._steer(self.law, 0)

    def play(self, minute: int) -> None:
        """Play one minute, from 1 on."""
        at_s = self._start_s + 60 * minute
        self.law.at(at_s)
        self._ask_to_close(minute)
        self._ask_to_open(minute)
        row = self._walk.minutes.close[LEAD_MINUTES + minute - 1]
        self._prices = [price_e18(float(price)) for price in row]
        self.law.at(at_s + ROUND_S)
        self.law.post(self._prices, CONFIDENCE_PPM)
        self._execute(minute)
        seen = np.array(self._prices, dtype=np.float64)
        if self._liquidate(minute, seen):
            self.law.at(at_s + SECOND_ROUND_S)
            self.law.post(self._prices, CONFIDENCE_PPM)
            self._liquidate(minute, seen)
        self._decide_to_close(minute, seen)
        self._steer(self.law, minute)
        if minute % MEASURED_MINUTES == 0:
            self._measure(seen)

    # what traders ask for

    def _ask_to_open(self, minute: int) -> None:
        intents = self._crowd.intents
        while self._next < len(intents) and intents.minute[self._next] < minute:
            if not self._is_held(self._next):
                self._open(self._next, minute)
            self._next += 1

    def _is_held(self, number: int) -> bool:
        """Tell whether the trader's slots are full, or this market's is."""
        intents, table = self._crowd.intents, self.table
        trader, market = int(intents.account[number]), int(intents.market[number])
        first = table.row_of(trader, 0)
        held = table.size[first : first + table.markets] > 0
        return bool(held[market] or held.sum() >= SLOTS)

    def _open(self, number: int, minute: int) -> None:
        trader = int(self._crowd.intents.account[number])
        self._nonce += 1
        order = order_of(self.law, self._crowd, number, float(self._heat[trader]), self._nonce)
        if order is None:
            self.record.turned_away.append(minute)
            return
        request = self.law.request_open(account_of(trader), order.terms, order.asked)
        self._await(request, self.table.row_of(trader, order.terms.market), number)
        self.record.openings.append(
            Opening(
                minute=minute,
                notional_usdc=order.notional_usdc,
                wanted=order.wanted,
                allowed=order.allowed,
                used=order.used,
            )
        )

    def _ask_to_close(self, minute: int) -> None:
        due = [row for row, at in self._halving.items() if at <= minute]
        asked = {row: 0.5 for row in due if self.table.size[row] > 0} | self._closing
        self._closing = {}
        for row in due:
            del self._halving[row]
        for row, share in asked.items():
            if self.table.size[row] <= 0:
                continue
            identity = self.table.identity(row)
            held = self.law.book.position(identity).size
            worth = notional_up(held, self._prices[int(self.table.market[row])]) / USDC  # type: ignore[arg-type]
            size = held if share == 1.0 or worth < 250 else held // 2
            worst = 0 if self.table.side[row] > 0 else ANY_PRICE
            self._await(self.law.request_close(identity, size, worst), row, -1)

    def _await(self, request: Request | Refusal, row: int, number: int) -> None:
        if isinstance(request, Refusal):
            self.record.refused[f"ask {request.name}"] += 1
        else:
            self._waiting.append((request, row, number))

    # what happens at a new price

    def _execute(self, minute: int) -> None:
        for request, row, number in self._waiting:
            refusal = self.law.execute(request)
            if refusal is not None:
                self.record.refused[f"execute {refusal.name}"] += 1
            self._take(row)
            if refusal is None and number >= 0:
                self._opened(row, number, minute)
        self._waiting = []

    def _opened(self, row: int, number: int, minute: int) -> None:
        """Note what a trader means to do with a new position."""
        intents, table = self._crowd.intents, self.table
        table.until[row] = minute + int(intents.hold_minutes[number])
        table.heeds[row], table.held_since[row] = intents.heeds[number], minute
        depth = intents.stop[number]
        if not math.isnan(depth):
            entry = float(self._prices[int(table.market[row])])
            fatal = float(table.fatal(self.law, np.array([row]))[0])
            far = entry + (fatal - entry) * depth
            near = entry * (1.0 - table.side[row] * NEAREST_STOP)
            table.stop[row] = min(far, near) if table.side[row] > 0 else max(far, near)

    def _take(self, row: int) -> None:
        self.table.take(row, self.law.book.position(self.table.identity(row)))

    def _liquidate(self, minute: int, prices: Floats) -> bool:
        """Liquidate whom the law lets go; tell whether one waits for a second round."""
        rows = self.table.weak(self.law, prices)
        if not len(rows):
            return False
        of = {self.table.identity(int(row)): int(row) for row in rows}
        weak = decide(self.law.book, self.law.seen, of)
        awaited = False
        for identity, found in worst_first(weak):
            insurance = self.law.book.pool.insurance
            refusal, size = self.law.liquidate(identity)
            noted = refusal is Refusal.AWAITING_SECOND_ROUND or (refusal is None and size == 0)
            awaited |= noted
            if refusal is not None:
                self.record.refused[f"liquidate {refusal.name}"] += 1
            elif size:
                self._liquidated(minute, (identity, of[identity]), found, (size, insurance))
        return awaited

    def _liquidated(
        self, minute: int, who: tuple[PositionId, int], found: Health, did: tuple[int, int]
    ) -> None:
        own, (identity, row), (size, insurance) = found.standing, who, did
        whole = self.law.book.position(identity).size == 0
        lost = max(0, -found.equity) if whole else 0
        self.record.liquidations.append(
            Liquidation(
                minute=minute,
                row=row,
                side=own.position.side,
                size=float(own.position.size),
                entry=float(own.entry_price),
                collateral=float(own.position.collateral),
                ratio=own.ratio_ppm / PPM,
                notional_usdc=notional_up(SizeE18(size), own.now.price) / USDC,
                bad_debt_usdc=lost / USDC,
                drawn_usdc=min(lost, insurance) / USDC,
                collected_usdc=_collected(found, SizeE18(size)) / USDC,
                by_ramp=_is_by_ramp(found),
            )
        )
        trader = int(self.table.trader[row])
        self._heat[trader] = self._crowd.people.doubling[trader]
        self._take(row)

    def _decide_to_close(self, minute: int, prices: Floats) -> None:
        """Stops that are reached, positions held long enough, warnings that are heeded."""
        table = self.table
        over = (table.size > 0) & (table.until <= minute)
        for row in np.flatnonzero(over | table.stopped(prices)):
            market, trader = int(table.market[row]), int(table.trader[row])
            won = table.side[row] * (prices[market] - table.basis[row]) > 0
            self._heat[trader] = 1.0 if won else self._crowd.people.doubling[trader]
            self._closing[int(row)] = 1.0
        self._halving |= dict(self._look(self.law, table, minute, prices))

    def _measure(self, prices: Floats) -> None:
        law, table, record = self.law, self.table, self.record
        limits = [each.limits for each in law.seen.markets.values()]
        record.caps.append(tuple(each.cap_e2 / ONE_X for each in limits))
        record.may_open.append(float(np.mean([each.permissions & 1 for each in limits])))
        price = prices[table.market]
        profit = table.side * table.size * (price - table.basis) / 1e36
        pool = law.book.pool
        record.worth.append((pool.assets / USDC) - float(profit.sum()))
        record.insurance.append(pool.insurance / USDC)
        record.held_usdc.append(float((table.size * price).sum() / 1e36))


def _is_by_ramp(found: Health) -> bool:
    """Tell whether only the market's ramp made a position liquidatable."""
    own = found.standing
    at_first = charge(own.position.size, own.now.price, own.position.maintenance_ppm)
    return found.equity >= at_first


def _collected(found: Health, size: SizeE18) -> int:
    """Give what cost and penalty of a liquidated size came to, as far as it was there."""
    own = found.standing
    rules = own.now.book.rules
    penalty = penalty_ppm(
        found.priced, found.maintenance, rules.penalty_min_ppm, rules.penalty_max_ppm
    )
    costs = leg_costs(own.now, own.now.book.skew, -own.position.side, size, 0).total
    return min(max(0, found.priced), costs + charge(size, own.now.price, penalty))


def nobody_looks(law: Law, table: Table, minute: int, prices: Floats) -> list[tuple[int, int]]:
    """Look at nothing."""
    del law, table, minute, prices
    return []
