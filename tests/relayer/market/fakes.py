"""Doubles of the market's ports."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from contracts.units import MarketId, UnixMs
from relayer.errors import Unreachable
from relayer.market.agreement import CandlePage
from relayer.market.days import FOREVER_MS
from relayer.market.settings import VenueSettings
from relayer.market.values import CandleSeries, Market
from relayer.market.venue_client import VenueClient
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
        self.unconfirmed: set[int] = set()  # open times that no two venues agree on

    async def candles(
        self, market: MarketId, bar_ms: int, since_ms: int, limit: int, away: set[str]
    ) -> CandlePage:
        if self.fail_after is not None and len(self.pages) >= self.fail_after:
            raise Unreachable("told to fail")
        self.pages.append((market, bar_ms, since_ms))
        first = max(since_ms, self.listed_ms + -self.listed_ms % bar_ms)
        last = min(since_ms + limit * bar_ms, self.until_ms - self.until_ms % bar_ms)
        count = max(0, min(self.most_bars, (last - first) // bar_ms))
        bars = series(first, count, bar_ms=bar_ms, market=market)
        bars = _without(bars, self.missing)
        left = sorted(self.unconfirmed & set(bars.open_ms.tolist()))
        said = "told to doubt" if left else None
        bars = _without(bars, self.unconfirmed)
        return CandlePage(bars=bars, unconfirmed=said, unconfirmed_ms=tuple(left))


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


@dataclass
class FakeExchange:
    """Stands in for ccxt's client: bars of a rising and falling price, or what it is told."""

    id: str
    factor: float = 1.0
    flat: bool = False
    hangs: bool = False
    calls: int = 0
    markets: Any = None
    has: ClassVar[dict[str, bool]] = {"fetchTickers": True}
    last_response_headers: ClassVar[dict[str, str]] = {}
    orderbooks: Any = field(default_factory=dict)
    ticker: Any = field(default_factory=lambda: {"bid": 1.0, "ask": 1.0, "timestamp": 1})

    async def fetch_tickers(self, symbols: Sequence[str]) -> dict[str, Any]:
        return dict.fromkeys(symbols, self.ticker)

    async def fetch_ticker(self, symbol: str) -> dict[str, Any]:
        return dict(self.ticker)

    async def load_markets(self) -> None:
        self.markets = _AnyMarket()

    async def close(self) -> None:
        """Nothing is open."""

    async def fetch_order_book(self, symbol: str, levels: int) -> dict[str, Any]:
        await self._answer()
        return {"bids": [[100.0, 1.0]], "asks": [[101.0, 1.0]], "timestamp": 1}

    async def fetch_ohlcv(
        self, symbol: str, frame: str, since_ms: int, limit: int
    ) -> list[list[float]]:
        await self._answer()
        bar_ms = {"1m": 60_000, "1h": 3_600_000}[frame]
        return [self._bar(since_ms + n * bar_ms, bar_ms) for n in range(limit)]

    def _bar(self, at_ms: int, bar_ms: int) -> list[float]:
        price = 100.0 * self.factor
        if self.flat:
            return [at_ms, price, price, price, price, 7.0]
        close = price + (at_ms // bar_ms % 7) * 0.1
        return [at_ms, price, close + 0.2, price - 0.2, close, 7.0]

    async def _answer(self) -> None:
        self.calls += 1
        if self.hangs:
            await asyncio.Event().wait()


class _AnyMarket(dict[str, Any]):
    """Lists every symbol."""

    def __contains__(self, symbol: object) -> bool:
        return True

    def __missing__(self, symbol: str) -> dict[str, Any]:
        return {}


class FakeVenues:
    """Connects venue clients to fake exchanges, by the venue's id."""

    def __init__(self, *exchanges: FakeExchange) -> None:
        self.of = {each.id: each for each in exchanges}

    def settings(self) -> list[VenueSettings]:
        return [VenueSettings(id=each, ccxt_class="okx", timeout_s=0.05) for each in self.of]

    def connect(self, settings: VenueSettings, markets: Sequence[Market]) -> VenueClient:
        return VenueClient(settings, markets, exchange=self.of[settings.id])
