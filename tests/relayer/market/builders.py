"""Small makers of market values: everything has a default except what the test is about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from contracts.units import MarketId, UnixMs
from relayer.market.values import (
    E18,
    MINUTE_MS,
    CandleSeries,
    Listing,
    Market,
    Quote,
    StablecoinQuote,
)

NOW_MS = 1_747_073_880_000
MARKET = MarketId(7)


def quote(
    venue: str,
    price: float,
    *,
    age_ms: int = 0,
    half_spread: float = 0.0001,
    currency: str = "USDC",
    market: MarketId = MARKET,
) -> Quote:
    middle = int(price * 1_000_000) * (E18 // 1_000_000)
    away = int(middle * half_spread)
    return Quote(
        venue=venue,
        market=market,
        quote_currency=currency,
        bid_e18=middle - away,
        ask_e18=middle + away,
        mark_e18=None,
        observed_at_ms=UnixMs(NOW_MS - age_ms),
        received_at_ms=UnixMs(NOW_MS),
    )


def tether(venue: str, value: float, *, age_ms: int = 0) -> StablecoinQuote:
    return StablecoinQuote(
        venue=venue,
        currency="USDT",
        value_e18=int(value * 1_000_000) * (E18 // 1_000_000),
        observed_at_ms=UnixMs(NOW_MS - age_ms),
    )


def market(number: int = 7, venues: Sequence[str] = ("a", "b", "c")) -> Market:
    listings = tuple(
        Listing(venue=venue, symbol="BTC/USDC:USDC", quote_currency="USDC") for venue in venues
    )
    return Market(market=MarketId(number), symbol=f"M{number}", class_id=0, listings=listings)


def series(
    start_ms: int, count: int, *, bar_ms: int = MINUTE_MS, market: MarketId = MARKET
) -> CandleSeries:
    """Bars whose prices are a function of their time, so that two makers agree on every bar."""
    open_ms = start_ms + bar_ms * np.arange(count, dtype=np.int64)
    opened = 100.0 + (open_ms // bar_ms % 97).astype(np.float64)
    return CandleSeries(
        market=market,
        bar_ms=bar_ms,
        open_ms=open_ms,
        open=opened,
        high=opened + 2.0,
        low=opened - 1.0,
        close=opened + 1.0,
        volume=opened * 10.0,
    )
