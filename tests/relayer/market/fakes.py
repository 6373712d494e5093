"""Doubles of the market's ports."""

from __future__ import annotations

import numpy as np

from contracts.units import MarketId, UnixMs
from relayer.errors import Unreachable
from relayer.market.days import FOREVER_MS
from relayer.market.values import CandleSeries
from tests.relayer.market.builders import series


class FakeClock:
    """A clock that shows what it is told."""

    def __init__(self, now_ms: int) -> None:
        self.now = now_ms

    async def now_ms(self) -> UnixMs:
        return UnixMs(self.now)


class FakeCandles:
    """Gives the builders' bars up to a time; counts its pages; fails or stutters when told so."""

    def __init__(self, listed_ms: int, until_ms: int) -> None:
        self.listed_ms = listed_ms
        self.until_ms = until_ms
        self.pages: list[tuple[MarketId, int, int]] = []
        self.fail_after: int | None = None
        self.most_bars = 300
        self.missing: set[int] = set()  # open times that the venue has no bar of

    async def candles(
        self, market: MarketId, bar_ms: int, since_ms: int, limit: int
    ) -> CandleSeries:
        if self.fail_after is not None and len(self.pages) >= self.fail_after:
            raise Unreachable("told to fail")
        self.pages.append((market, bar_ms, since_ms))
        first = max(since_ms, self.listed_ms + -self.listed_ms % bar_ms)
        last = min(since_ms + limit * bar_ms, self.until_ms - self.until_ms % bar_ms)
        count = max(0, min(self.most_bars, (last - first) // bar_ms))
        bars = series(first, count, bar_ms=bar_ms, market=market)
        return _without(bars, self.missing)


def _without(bars: CandleSeries, missing: set[int]) -> CandleSeries:
    if not missing:
        return bars
    keep = ~np.isin(bars.open_ms, sorted(missing))
    return CandleSeries(
        market=bars.market,
        bar_ms=bars.bar_ms,
        open_ms=bars.open_ms[keep],
        open=bars.open[keep],
        high=bars.high[keep],
        low=bars.low[keep],
        close=bars.close[keep],
        volume=bars.volume[keep],
    ).between(0, FOREVER_MS)
