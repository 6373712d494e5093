"""Market values: what is not one cannot be made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from contracts.units import MarketId, UnixMs
from relayer.market.depth import depth_within
from relayer.market.values import (
    E18,
    HOUR_MS,
    MINUTE_MS,
    Book,
    BookLevel,
    Listing,
    Market,
    MarketDataError,
    price_e18,
)
from tests.relayer.market.builders import MARKET, NOW_MS, quote, series

START_MS = 1_747_008_000_000


def _book(bids: list[tuple[float, float]], asks: list[tuple[float, float]]) -> Book:
    def levels(rows: list[tuple[float, float]]) -> tuple[BookLevel, ...]:
        return tuple(BookLevel(price_e18=price_e18(p), size_e18=price_e18(s)) for p, s in rows)

    return Book(
        venue="a",
        market=MARKET,
        quote_currency="USDC",
        bids=levels(bids),
        asks=levels(asks),
        observed_at_ms=UnixMs(NOW_MS),
    )


def test_price_e18__decimal_of_the_venue__exact() -> None:
    assert price_e18(0.1) == E18 // 10
    assert price_e18("103250.7") == 1_032_507 * E18 // 10


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_price_e18__no_number__refused(value: float) -> None:
    with pytest.raises(MarketDataError):
        price_e18(value)


def test_quote__crossed__refused() -> None:
    whole = quote("a", 100.0)
    with pytest.raises(MarketDataError, match="crossed"):
        replace(whole, bid_e18=whole.ask_e18 + 1)


def test_quote__not_positive__refused() -> None:
    with pytest.raises(MarketDataError, match="not_positive"):
        replace(quote("a", 100.0), bid_e18=0)


def test_market__two_listings_at_one_venue__refused() -> None:
    listing = Listing(venue="a", symbol="BTC/USDC:USDC", quote_currency="USDC")
    with pytest.raises(MarketDataError, match="listed twice"):
        Market(market=MARKET, symbol="BTC", class_id=0, listings=(listing, listing))


def test_candles__written_to__refused() -> None:
    bars = series(START_MS, 3)
    with pytest.raises(ValueError, match="read-only"):
        bars.close[0] = 1.0


def test_candles__unsorted__refused() -> None:
    bars = series(START_MS, 3)
    with pytest.raises(MarketDataError, match="ascending"):
        replace(bars, open_ms=bars.open_ms[::-1].copy())


def test_candles__not_a_number__refused() -> None:
    bars = series(START_MS, 3)
    with pytest.raises(MarketDataError, match="finite"):
        replace(bars, close=np.array([1.0, np.nan, 2.0]))


def test_candles__close_above_high__refused() -> None:
    bars = series(START_MS, 3)
    with pytest.raises(MarketDataError, match="outside"):
        replace(bars, close=bars.high + 1.0)


def test_candles_between__bar_that_ends_later__left_out() -> None:
    bars = series(START_MS, 10)
    part = bars.between(START_MS, START_MS + 5 * MINUTE_MS + 59_999)
    assert len(part) == 5


def test_candles_between__nothing_inside__empty() -> None:
    assert len(series(START_MS, 10, bar_ms=HOUR_MS).between(START_MS - 10, START_MS)) == 0


def test_book__crossed__refused() -> None:
    with pytest.raises(MarketDataError, match="crossed"):
        _book([(101.0, 1.0)], [(100.0, 1.0)])


def test_book__unsorted__refused() -> None:
    with pytest.raises(MarketDataError, match="sorted"):
        _book([(99.0, 1.0), (100.0, 1.0)], [(101.0, 1.0)])


def test_depth_within__bands__cumulative_in_quote_units() -> None:
    book = _book([(99.95, 2.0), (99.0, 1.0)], [(100.05, 1.0), (100.4, 3.0)])
    bids, asks = depth_within(book, (10, 50, 100))
    assert bids == pytest.approx((199.9, 199.9, 298.9))
    assert asks == pytest.approx((100.05, 401.25, 401.25))


def test_market__venue_symbols__by_venue() -> None:
    listing = Listing(venue="a", symbol="BTC/USDC:USDC", quote_currency="USDC")
    market = Market(market=MarketId(0), symbol="BTC", class_id=0, listings=(listing,))
    assert market.venue_symbols == {"a": "BTC/USDC:USDC"}
    assert market.listing("b") is None
