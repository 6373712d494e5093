"""The peers of a replay: who else could have set the limits, from what was known at the time.

Each has the same contracts, bounds, guard, plan and liquidity figures; what differs is the cap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agent.decisions import Decision
from agent.policy import PolicySettings, decide
from benchmarks.crises_daemon import Scored, known
from benchmarks.crises_prices import MINUTE_MS, Walk
from contracts.units import (
    ONE_X,
    LeverageE2,
    MarketId,
    Ppm,
    cap_from_maintenance,
    maintenance_from_cap,
)
from models.dataset import HOUR_MS, Series, coarser, read_series
from models.heads import HORIZONS_S
from models.scorer import RiskScores

Floats = NDArray[np.float64]

OURS, HEEDED = "ours", "ours, warnings heeded"
EWMA, TIERS = "EWMA", "exchange tiers"
SCALED, MATCHED, NOBODY = "EWMA at our average", "fixed at our average", "no agent"
PEERS: Final = (OURS, HEEDED, EWMA, SCALED, TIERS, MATCHED, NOBODY)

QUARTER_MS: Final = 900_000
DECAY_HOUR: Final = 0.97
"""The better of the two RiskMetrics decays in docs/evaluation.md, an hour."""
DECAY: Final = DECAY_HOUR ** (QUARTER_MS / HOUR_MS)
LEVEL: Final = 0.995
LEARNED_FROM: Final = datetime(2017, 1, 1, tzinfo=UTC)
LEARNED_TO: Final = datetime(2020, 1, 1, tzinfo=UTC)
LEARNED_ON: Final = ("BTCUSD-1m", "ETHUSD-5m", "LTCUSD-5m", "XRPUSD-5m")
LEAST_VARIANCE: Final = 1e-10 / 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiples:
    """Filtered historical simulation: 99.5 % of past excursions over the deviation before them."""

    long: float
    short: float


def multiples(folder: Path) -> Multiples:
    """Learn EWMA's quantile of 15 minutes where ours learned its own: Bitfinex, before 2020."""
    longs, shorts = [], []
    for name in LEARNED_ON:
        for series in read_series(folder / f"{name}.parquet"):
            falls, rises = _ratios(coarser(series, 300_000))
            longs.append(falls)
            shorts.append(rises)
    long, short = np.concatenate(longs), np.concatenate(shorts)
    return Multiples(long=float(np.quantile(long, LEVEL)), short=float(np.quantile(short, LEVEL)))


def _ratios(series: Series) -> tuple[Floats, Floats]:
    """Give both excursions of each whole quarter of an hour in deviations forecast before it."""
    count = series.length // 3 * 3
    close, low, high = (
        np.log(getattr(series.bars, name)[0, :count].reshape(-1, 3))
        for name in ("close", "low", "high")
    )
    whole = np.isfinite(close).all(axis=1)
    last = close[:, -1]
    squares = np.square(np.diff(last))
    level = pd.Series(squares).ewm(alpha=1.0 - DECAY, adjust=False).mean().to_numpy()
    deviation = np.sqrt(np.maximum(level[:-1], LEAST_VARIANCE))
    start = last[1:-1]
    falls = np.maximum(start - low[2:].min(axis=1), 0.0) / deviation
    rises = np.maximum(high[2:].max(axis=1) - start, 0.0) / deviation
    at_ms = series.start_ms + QUARTER_MS * np.arange(2, len(last))
    borders = [each.timestamp() * 1_000 for each in (LEARNED_FROM, LEARNED_TO)]
    good = whole[2:] & whole[1:-1] & (at_ms >= borders[0]) & (at_ms < borders[1])
    good &= np.isfinite(falls) & np.isfinite(rises)
    return falls[good], rises[good]


class Ewma:
    """Exponentially weighted squares of 15-minute returns, and the quantile that goes with them."""

    def __init__(self, walk: Walk, found: Multiples, policy: PolicySettings) -> None:
        self._found, self._policy = found, policy
        before = (walk.minutes.start_ms - walk.hours.start_ms) // walk.hours.bar_ms
        hours = (
            np.square(
                np.diff(
                    np.log(
                        walk.hours.close[:before],
                    ),
                    axis=0,
                )
            )
            / 4.0
        )
        ends = np.log(walk.minutes.close[14::15])
        squares = np.vstack([np.repeat(hours, 4, axis=0), np.square(np.diff(ends, axis=0))])
        level = pd.DataFrame(squares).ewm(alpha=1.0 - DECAY, adjust=False).mean().to_numpy()
        self._level = np.maximum(level, LEAST_VARIANCE)
        self._first_ms = walk.minutes.start_ms + 30 * MINUTE_MS - len(hours) * HOUR_MS
        self._start_ms = walk.start_ms

    def decisions(self, scored: Scored, class_of: Sequence[int]) -> dict[MarketId, Decision]:
        """Decide by the same policy on EWMA's figures."""
        now_ms = self._start_ms + scored.minute * MINUTE_MS
        row = self._level[(now_ms - self._first_ms) // QUARTER_MS]
        return known(
            decide(self._rescored(each, math.sqrt(row[market])), class_of[market], self._policy)
            for market, each in scored.scores.items()
        )

    def _rescored(self, scores: RiskScores, quarter: float) -> RiskScores:
        spans = tuple(quarter * math.sqrt(each * 1_000 / QUARTER_MS) for each in HORIZONS_S)
        return replace(
            scores,
            volatility=spans,
            tail_long=-math.expm1(-self._found.long * quarter),
            tail_short=math.expm1(self._found.short * quarter),
        )


class Tiers:
    """An exchange's static tiers in force at the time; before the first, the first."""

    def __init__(self, table: pd.DataFrame) -> None:
        names = table["symbol"].str.removesuffix(":USDT")
        self._own = dict(iter(table.assign(symbol=names).groupby("symbol")))
        self.first = str(table["snapshot"].min())[:10]

    def cap_e2(self, symbol: str, notional_usdc: float, now_ms: int) -> LeverageE2:
        """Give the cap that goes with the maintenance rate of a notional's tier."""
        own = self._own[symbol.removesuffix(":USDT")]
        stamp = pd.Timestamp(now_ms, unit="ms", tz=UTC)
        past = own[own["snapshot"] <= stamp]
        held = past if len(past) else own[own["snapshot"] == own["snapshot"].min()]
        held = held[held["snapshot"] == held["snapshot"].max()]
        row = held[(held["min_notional"] <= notional_usdc) & (notional_usdc < held["max_notional"])]
        return cap_from_maintenance(Ppm(round(float(row["mmr"].iloc[0]) * 1e6)))


def scaled_caps(
    decisions: Mapping[MarketId, Decision], shares: Mapping[MarketId, float]
) -> dict[MarketId, LeverageE2]:
    """Give each market's cap times its share."""
    return {
        market: LeverageE2(max(int(each.cap_e2 * shares[market]), ONE_X))
        for market, each in decisions.items()
    }


def with_caps(
    decisions: Mapping[MarketId, Decision], caps: Mapping[MarketId, LeverageE2]
) -> dict[MarketId, Decision]:
    """Put other caps into decisions; liquidity figures stay."""
    return {
        market: replace(
            each, cap_e2=caps[market], maintenance_ppm=maintenance_from_cap(caps[market])
        )
        for market, each in decisions.items()
    }
