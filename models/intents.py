"""What a simulated population means to do, minute by minute, whatever it is allowed to do.

NOTHING HERE IS OBSERVED: habits are those of `models.population`. Intents are drawn once from a
seed and do not know who sets the limits, so that every agent of a comparison meets the same
traders: same markets, sides, sizes, minutes and wishes. What depends on how it ends for them
(leverage after a loss, whether a slot is free) is the replay's to follow.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.population import SPREAD, Traders

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

DAY_MINUTES: Final = 1_440
FILLING_MINUTES: Final = 360
"""Who would hold a position already when the record begins opens it within so long."""
LONGS: Final = 0.55
"""Share of positions that are long, as in `models.population.trade`."""
MANAGED: Final = 0.5
"""Share of traders who let the market's ratio move with their position (`adjustment`)."""
HEEDING: Final = 0.5
"""Share of traders who act on a warning, where a replay asks what warnings do."""
LEAST_USDC, MOST_USDC = 200.0, 250_000.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intents:
    """Positions that somebody means to open, in the order of time, shape (intents,) each.

    Attributes
    ----------
    minute, account, market, side : ndarray of int64
        When, who, where, and 1 or -1.
    share : ndarray of float64
        Leverage wanted, as a share of the most that the market's class can ever allow.
    hold_minutes : ndarray of int64
        How long it is meant to be held.
    stop : ndarray of float64
        Where it is given up, as a share of the way to liquidation; NaN without a stop.
    notional_usdc : ndarray of float64
    managed, heeds : ndarray of bool
        The trader's, not the position's.
    """

    minute: IntArray
    account: IntArray
    market: IntArray
    side: IntArray
    share: FloatArray
    hold_minutes: IntArray
    stop: FloatArray
    notional_usdc: FloatArray
    managed: BoolArray
    heeds: BoolArray

    def __len__(self) -> int:
        """Return the number of intents."""
        return len(self.minute)


def intents(people: Traders, *, minutes: int, markets: int, seed: int) -> Intents:
    """Draw what everybody means to do over so many minutes.

    Openings of a trader are a Poisson process of the trader's cadence. Who would be in a position
    when the record begins opens one in its first hours, so that a replay soon has its usual book.
    """
    rng = np.random.default_rng((seed, 4))
    count = len(people.style)
    managed = rng.random(count) < MANAGED
    heeds = rng.random(count) < HEEDING
    who, minute = _arrivals(people, minutes, rng)
    size = len(who)
    step = np.floor(rng.random(size) * people.markets[who]).astype(np.int64)
    hold = people.holding_hours[who] * 60.0 * np.exp(0.8 * rng.standard_normal(size))
    has_stop = rng.random(size) < people.stop_chance[who]
    worth = people.notional_usdc[who] * np.exp(0.5 * (rng.random(size) - 0.5))
    drawn = Intents(
        minute=minute,
        account=who,
        market=(people.first_market[who] + step) % markets,
        side=np.where(rng.random(size) < LONGS, 1, -1).astype(np.int64),
        share=people.cap_share[who] * np.exp(SPREAD * rng.standard_normal(size)),
        hold_minutes=np.maximum(np.ceil(hold), 5).astype(np.int64),
        stop=np.where(has_stop, people.stop_depth[who], np.nan),
        notional_usdc=np.clip(worth, LEAST_USDC, MOST_USDC),
        managed=managed[who],
        heeds=heeds[who],
    )
    order = np.lexsort((drawn.account, drawn.minute))
    columns = {field.name: getattr(drawn, field.name)[order] for field in fields(Intents)}
    return Intents(**columns)


def _arrivals(people: Traders, minutes: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Draw who opens when; traders in order, each trader's minutes unordered."""
    count = len(people.style)
    rate = people.trades_a_day / DAY_MINUTES
    usual = rng.poisson(rate * minutes)
    # by Little's law a trader holds cadence x holding positions at any time
    inside = rng.random(count) < -np.expm1(-rate * people.holding_hours * 60.0)
    who = np.concatenate([np.repeat(np.arange(count), usual), np.flatnonzero(inside)])
    spans = np.concatenate([np.full(usual.sum(), minutes), np.full(inside.sum(), FILLING_MINUTES)])
    minute = np.floor(rng.random(len(who)) * np.minimum(spans, minutes))
    return who.astype(np.int64), minute.astype(np.int64)
