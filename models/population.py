"""A simulated population of traders: it labels account risk, and gives replays someone to serve.

NOTHING HERE IS OBSERVED. Habits are drawn from the stated styles, prices are the caller's (recorded
or simulated). What comes out is labelled with `SIMULATED`, and so must be whatever is fitted to
it. One seed gives one population and one list of trades, on any machine of the same numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SIMULATED = "simulated trader population"
HOUR_MS = 3_600_000
SLOTS = 4
"""Isolated positions that one trader holds at once, at most."""
OPEN, CLOSED, STOPPED, LIQUIDATED = 0, 1, 2, 3
"""How a trade ended; `OPEN` is one that had not."""
SPREAD = 0.35
"""Standard deviation of the logarithm of a trader's habits around those of the style."""
CHANGE_EACH_HOURS = 24 * 45
"""Mean time after which a trader's appetite for risk is drawn anew: people change."""
LEAST_STOP, LEAST_LEVERAGE = 0.002, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Habits that traders of one kind share; medians.

    Attributes
    ----------
    share : float
        Part of the population, in weights.
    cap_share : float
        Leverage as a share of the cap.
    trades_a_day, holding_hours : float
        Cadence, and how long a position is meant to be held.
    stop_chance, stop_depth : float
        Chance that a position has a stop, and how far to liquidation it lies (0 to 1).
    doubling : float
        What leverage is multiplied by after a loss.
    markets : int
        Markets that the trader looks at.
    """

    name: str
    share: float
    cap_share: float
    trades_a_day: float
    holding_hours: float
    stop_chance: float
    stop_depth: float
    doubling: float
    markets: int


STYLES = (
    Style(
        name="hedger",
        share=0.15,
        cap_share=0.12,
        trades_a_day=0.15,
        holding_hours=240.0,
        stop_chance=0.5,
        stop_depth=0.6,
        doubling=1.0,
        markets=2,
    ),
    Style(
        name="swing",
        share=0.30,
        cap_share=0.30,
        trades_a_day=0.5,
        holding_hours=60.0,
        stop_chance=0.6,
        stop_depth=0.5,
        doubling=1.0,
        markets=4,
    ),
    Style(
        name="day trader",
        share=0.30,
        cap_share=0.50,
        trades_a_day=3.0,
        holding_hours=5.0,
        stop_chance=0.7,
        stop_depth=0.5,
        doubling=1.1,
        markets=3,
    ),
    Style(
        name="gambler",
        share=0.15,
        cap_share=0.85,
        trades_a_day=2.0,
        holding_hours=12.0,
        stop_chance=0.1,
        stop_depth=0.8,
        doubling=1.4,
        markets=2,
    ),
    Style(
        name="carry",
        share=0.10,
        cap_share=0.25,
        trades_a_day=0.05,
        holding_hours=700.0,
        stop_chance=0.1,
        stop_depth=0.7,
        doubling=1.0,
        markets=1,
    ),
)
"""Chosen, not measured: wide enough to hold careful and careless traders. The one outside anchor:
liquidated traders on BitMEX averaged 60x of a cap of 100x (Cheng et al. 2021)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traders:
    """Habits of each trader, shape (traders,); the fields of `Style`, drawn around them."""

    style: IntArray
    cap_share: FloatArray
    trades_a_day: FloatArray
    holding_hours: FloatArray
    stop_chance: FloatArray
    stop_depth: FloatArray
    doubling: FloatArray
    markets: IntArray
    first_market: IntArray
    notional_usdc: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prices:
    """Hourly prices of some markets and the cap on leverage, shape (hours, markets).

    An hour's bar closes one hour after its stamp; low and high are of the bar.
    """

    start_ms: int
    close: FloatArray
    low: FloatArray
    high: FloatArray
    cap: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trades:
    """Positions in the order in which they were opened, shape (trades,) each.

    ``side`` is 1 or -1; ``closed_ms`` of an open position is the end of the record; ``origin``
    says where the trades come from.
    """

    origin: str
    account: IntArray
    market: IntArray
    side: IntArray
    opened_ms: IntArray
    closed_ms: IntArray
    leverage: FloatArray
    cap: FloatArray
    notional_usdc: FloatArray
    end: IntArray

    def __len__(self) -> int:
        """Return the number of trades."""
        return len(self.account)

    def select(self, chosen: BoolArray | IntArray) -> Trades:
        """Return the chosen trades, in the given order."""
        names = [field.name for field in fields(self) if field.name != "origin"]
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})


def traders(count: int, *, markets: int, seed: int) -> Traders:
    """Draw the habits of `count` traders over so many markets."""
    rng = np.random.default_rng((seed, 1))
    weights = np.array([style.share for style in STYLES])
    style = rng.choice(len(STYLES), size=count, p=weights / weights.sum())

    def around(habit: Callable[[Style], float]) -> FloatArray:
        medians = np.array([habit(each) for each in STYLES])[style]
        return np.asarray(medians * np.exp(SPREAD * rng.standard_normal(count)), dtype=np.float64)

    return Traders(
        style=style.astype(np.int64),
        cap_share=around(lambda each: each.cap_share),
        trades_a_day=around(lambda each: each.trades_a_day),
        holding_hours=around(lambda each: each.holding_hours),
        stop_chance=np.minimum(around(lambda each: each.stop_chance), 1.0),
        stop_depth=np.minimum(around(lambda each: each.stop_depth), 0.95),
        doubling=np.maximum(around(lambda each: each.doubling), 1.0),
        markets=np.minimum(np.array([each.markets for each in STYLES])[style], markets),
        first_market=rng.integers(0, markets, count),
        notional_usdc=np.exp(rng.normal(8.5, 1.5, count)),
    )


def simulated_prices(
    *, hours: int, markets: int, seed: int, start_ms: int = 0, cap: float = 10.0
) -> Prices:
    """Draw prices with clustered, heavy-tailed moves that the markets share in part."""
    rng = np.random.default_rng((seed, 2))
    level = np.zeros((hours, markets))
    shared, own = rng.standard_normal((hours, 1)), rng.standard_normal((hours, markets))
    for hour in range(1, hours):
        level[hour] = 0.995 * level[hour - 1] + 0.05 * (0.7 * shared[hour] + 0.7 * own[hour])
    deviation = 0.006 * np.exp(level) * np.linspace(0.8, 1.6, markets)
    # Student's t with four degrees of freedom, scaled to variance 1
    jumps = rng.standard_t(4.0, (hours, 1 + markets)) / np.sqrt(2.0)
    steps = deviation * (0.75 * jumps[:, :1] + 0.66 * jumps[:, 1:])
    close = np.cumsum(steps, axis=0)
    before = np.concatenate([np.zeros((1, markets)), close[:-1]])
    reach = 0.5 * deviation * np.abs(rng.standard_normal((2, hours, markets)))
    return Prices(
        start_ms=start_ms,
        close=100.0 * np.exp(close),
        low=100.0 * np.exp(np.minimum(close, before) - reach[0]),
        high=100.0 * np.exp(np.maximum(close, before) + reach[1]),
        cap=np.full((hours, markets), cap),
    )


def trade(people: Traders, prices: Prices, *, seed: int) -> Trades:
    """Let the traders trade through the prices, hour by hour; isolated positions only."""
    rng = np.random.default_rng((seed, 3))
    floor = _Floor(people, prices)
    for hour in range(len(prices.close)):
        floor.close_hour(hour)
        floor.open_hour(hour, rng)
    return floor.trades()


class _Floor:
    """The positions of all traders while a simulation runs, shape (traders, SLOTS)."""

    def __init__(self, people: Traders, prices: Prices) -> None:
        self._people, self._prices = people, prices
        shape = (len(people.style), SLOTS)
        self._row = np.full(shape, -1, dtype=np.int64)
        self._market = np.zeros(shape, dtype=np.int64)
        self._side = np.zeros(shape, dtype=np.int64)
        self._entry, self._fatal, self._stop = np.ones(shape), np.zeros(shape), np.zeros(shape)
        self._until = np.zeros(shape, dtype=np.int64)
        self._appetite, self._heat = np.ones(shape[0]), np.ones(shape[0])
        self._opened: list[FloatArray] = []
        self._ended: list[tuple[IntArray, int, int]] = []
        self._count = 0

    def close_hour(self, hour: int) -> None:
        """End what the hour's bar liquidates or stops, and what has been held long enough."""
        held = self._row >= 0
        long = self._side > 0
        low, high = self._prices.low[hour][self._market], self._prices.high[hour][self._market]
        fatal = held & np.where(long, low <= self._fatal, high >= self._fatal)
        # a bar that reaches the liquidation price passed the stop on its way
        stopped = held & np.where(long, low <= self._stop, high >= self._stop)
        close = self._prices.close[hour][self._market]
        lost = np.where(long, close < self._entry, close > self._entry)
        over = held & (self._until <= hour)
        for chosen, end in ((stopped, STOPPED), (fatal, LIQUIDATED), (over, CLOSED)):
            ending = chosen & (self._row >= 0)
            self._ended.append((self._row[ending], end, hour))
            self._row[ending] = -1
        bad = stopped | fatal | (over & lost)
        self._heat = np.where(bad.any(axis=1), self._people.doubling, self._heat)
        self._heat = np.where((over & ~lost).any(axis=1), 1.0, self._heat)

    def open_hour(self, hour: int, rng: np.random.Generator) -> None:
        """Open at the hour's close what the traders feel like, one position each at most."""
        people, count = self._people, len(self._people.style)
        draws = rng.random((6, count))
        normals = rng.standard_normal((3, count))
        changes = draws[0] < 1.0 / CHANGE_EACH_HOURS
        self._appetite = np.where(changes, np.exp(0.4 * normals[0]), self._appetite)
        free = (self._row < 0).argmax(axis=1)
        able = (self._row < 0).any(axis=1)
        who = np.flatnonzero(able & (draws[1] < -np.expm1(-people.trades_a_day / 24.0)))
        slot = free[who]
        step = np.floor(draws[2][who] * people.markets[who]).astype(np.int64)
        market = (people.first_market[who] + step) % self._prices.close.shape[1]
        side = np.where(draws[3][who] < 0.55, 1, -1)
        entry, cap = self._prices.close[hour][market], self._prices.cap[hour][market]
        wanted = people.cap_share[who] * self._appetite[who] * self._heat[who]
        leverage = np.clip(cap * wanted * np.exp(0.3 * normals[1][who]), LEAST_LEVERAGE, cap)
        fatal = liquidation_price(entry, side, leverage, cap)
        has_stop = draws[4][who] < people.stop_chance[who]
        stop = entry + (fatal - entry) * people.stop_depth[who]
        nearest = entry * (1.0 - side * LEAST_STOP)
        stop = np.where(side > 0, np.minimum(stop, nearest), np.maximum(stop, nearest))
        never = np.where(side > 0, 0.0, np.inf)
        hold = people.holding_hours[who] * np.exp(0.8 * normals[2][who])
        place = (who, slot)
        self._row[place] = self._count + np.arange(len(who))
        self._market[place], self._side[place], self._entry[place] = market, side, entry
        self._fatal[place], self._stop[place] = fatal, np.where(has_stop, stop, never)
        self._until[place] = hour + np.maximum(np.ceil(hold), 1).astype(np.int64)
        size = people.notional_usdc[who] * np.exp(0.5 * (draws[5][who] - 0.5))
        hours = np.full(len(who), hour)
        self._opened.append(np.stack([who, market, side, hours, leverage, cap, size]))
        self._count += len(who)

    def trades(self) -> Trades:
        """Return everything that was opened, and how it ended."""
        account, market, side, hour, leverage, cap, size = np.concatenate(self._opened, axis=1)
        end = np.full(self._count, OPEN, dtype=np.int64)
        closed = np.full(self._count, len(self._prices.close) - 1, dtype=np.int64)
        for rows, how, at in self._ended:
            end[rows], closed[rows] = how, at
        return Trades(
            origin=SIMULATED,
            account=account.astype(np.int64),
            market=market.astype(np.int64),
            side=side.astype(np.int64),
            opened_ms=self._prices.start_ms + (hour.astype(np.int64) + 1) * HOUR_MS,
            closed_ms=self._prices.start_ms + (closed + 1) * HOUR_MS,
            leverage=leverage,
            cap=cap,
            notional_usdc=size,
            end=end,
        )


def liquidation_price(
    entry: FloatArray, side: IntArray, leverage: FloatArray, cap: FloatArray
) -> FloatArray:
    """Price at which an isolated position has just its maintenance, 1 / (2 cap), left.

    The law of contracts/margin.py in floats, without costs: equity = maintenance at the price.
    """
    ratio = 1.0 / (2.0 * cap)
    return np.asarray(entry * (1.0 - side / leverage) / (1.0 - side * ratio), dtype=np.float64)
