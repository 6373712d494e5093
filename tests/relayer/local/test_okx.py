"""Unmodified ccxt against the local exchanges, from another process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import ccxt.async_support as ccxt
import pytest

from relayer.local import client
from relayer.local.state import WorldState
from tests.relayer.local.recordings import STARTS_MS

pytestmark = pytest.mark.loopback

BTC = "BTC/USDT:USDT"
ETH = "ETH/USDT:USDT"
MINUTE_MS = 60_000
HOUR_MS = 3_600_000


def _okx(url: str) -> ccxt.okx:
    return ccxt.okx(
        {
            "urls": {"api": {"rest": url}},
            "rateLimit": 1,
            "options": {"fetchMarkets": {"types": ["spot", "swap"]}},
        }
    )


@pytest.fixture
async def okx(world: WorldState) -> AsyncIterator[ccxt.okx]:
    exchange = _okx(world.venues[0].url)
    yield exchange
    await exchange.close()
    client.switch_venue(world, 0, "ok")


async def _now(exchange: ccxt.okx) -> int:
    return int(await exchange.fetch_time())


async def test_markets__perpetuals_and_the_stablecoin__listed(okx: ccxt.okx) -> None:
    markets = await okx.load_markets()
    assert set(markets) == {BTC, ETH, "USDC/USDT"}
    assert markets[BTC]["linear"]
    assert markets[BTC]["active"]
    assert markets[BTC]["contractSize"] == 10.0


async def test_tickers__fresh_and_uncrossed(okx: ccxt.okx) -> None:
    tickers = await okx.fetch_tickers([BTC, ETH])
    for ticker in tickers.values():
        assert ticker["bid"] < ticker["ask"]
        assert ticker["timestamp"] == await _now(okx)
    one = await okx.fetch_ticker(BTC)
    assert one["bid"] == tickers[BTC]["bid"]


async def test_mark_prices__near_the_mid(okx: ccxt.okx) -> None:
    marks = await okx.fetch_mark_prices([BTC, ETH])
    ticker = await okx.fetch_ticker(ETH)
    assert marks[ETH]["markPrice"] == pytest.approx((ticker["bid"] + ticker["ask"]) / 2, rel=5e-4)
    assert marks[ETH]["timestamp"] == ticker["timestamp"]


async def test_stablecoin__near_one(okx: ccxt.okx) -> None:
    assert (await okx.fetch_ticker("USDC/USDT"))["last"] == pytest.approx(1.0, abs=3e-4)


async def test_venues__same_instant__differ_by_a_few_basis_points(world: WorldState) -> None:
    exchanges = [_okx(venue.url) for venue in world.venues]
    mids = []
    for exchange in exchanges:
        ticker = await exchange.fetch_ticker(BTC)
        mids.append((ticker["bid"] + ticker["ask"]) / 2)
        await exchange.close()
    assert len(set(mids)) == 3
    assert max(mids) / min(mids) - 1 < 8e-4


@pytest.mark.parametrize(("timeframe", "length"), [("1m", MINUTE_MS), ("1h", HOUR_MS)])
async def test_history__pages_of_closed_bars__whole(
    okx: ccxt.okx, timeframe: str, length: int
) -> None:
    now_ms = await _now(okx)
    since_ms = now_ms - now_ms % length - 50 * length
    bars = await okx.fetch_ohlcv(BTC, timeframe, since_ms, 300)
    assert [bar[0] for bar in bars] == [since_ms + i * length for i in range(50)]


async def test_history__before_the_listing__nothing(okx: ccxt.okx) -> None:
    assert await okx.fetch_ohlcv(BTC, "1h", STARTS_MS - 900 * HOUR_MS, 300) == []


async def test_candles__bar_in_progress__unconfirmed_and_only_what_was_walked(
    okx: ccxt.okx, world: WorldState
) -> None:
    now_ms = await _now(okx)
    client.advance(world, now_ms - now_ms % MINUTE_MS + MINUTE_MS + 20_000)
    asked = {"instId": "BTC-USDT-SWAP", "bar": "1m", "limit": "2"}
    current, closed = (await okx.publicGetMarketCandles(asked))["data"]
    assert (current[8], closed[8]) == ("0", "1")
    client.advance(world, int(current[0]) + MINUTE_MS)
    final = next(
        row for row in (await okx.publicGetMarketCandles(asked))["data"] if row[0] == current[0]
    )
    assert final[8] == "1"
    assert float(current[2]) <= float(final[2])
    assert float(current[3]) >= float(final[3])
    assert float(current[5]) < float(final[5])


async def test_book__400_levels__sorted_and_past_100_basis_points(okx: ccxt.okx) -> None:
    book = await okx.fetch_order_book(BTC, 400)
    bids, asks = [level[0] for level in book["bids"]], [level[0] for level in book["asks"]]
    assert bids == sorted(set(bids), reverse=True)
    assert asks == sorted(set(asks))
    assert bids[0] < asks[0]
    assert asks[-1] / asks[0] - 1 > 0.01
    ticker = await okx.fetch_ticker(BTC)
    assert (bids[0], asks[0]) == (ticker["bid"], ticker["ask"])


async def test_trades__one_a_second__none_from_the_future(okx: ccxt.okx) -> None:
    trades = await okx.fetch_trades(BTC, limit=50)
    stamps = [trade["timestamp"] for trade in trades]
    assert stamps == sorted(stamps)
    assert stamps[-1] <= await _now(okx)
    assert len({trade["id"] for trade in trades}) == 50


async def test_funding_interest_and_tiers__parsed(okx: ccxt.okx) -> None:
    rate = await okx.fetch_funding_rate(BTC)
    assert rate["fundingRate"] == 0.0001
    assert rate["fundingTimestamp"] > await _now(okx)
    assert (await okx.fetch_open_interest(BTC))["openInterestAmount"] > 0
    assert len(await okx.fetch_market_leverage_tiers(BTC)) == 3
    assert await okx.fetch_funding_rate_history(BTC) == []


async def test_answers__say_what_is_synthetic(okx: ccxt.okx) -> None:
    await okx.fetch_ticker(BTC)
    assert "book" in okx.last_response_headers["X-Synthetic"]


async def test_unknown_instrument__bad_symbol(okx: ccxt.okx) -> None:
    with pytest.raises(ccxt.BadSymbol):
        await okx.publicGetMarketTicker({"instId": "DOGE-USDT-SWAP"})


async def test_unknown_endpoint__exchange_error(okx: ccxt.okx) -> None:
    with pytest.raises(ccxt.BaseError):
        await okx.publicGetMarketIndexTickers({"quoteCcy": "USDT"})


async def test_switch__down__connection_dropped(okx: ccxt.okx, world: WorldState) -> None:
    client.switch_venue(world, 0, "down")
    with pytest.raises(ccxt.NetworkError):
        await okx.fetch_time()


async def test_switch__stale__prices_and_stamps_of_then(okx: ccxt.okx, world: WorldState) -> None:
    before = await okx.fetch_ticker(BTC)
    client.switch_venue(world, 0, "stale")
    client.advance(world, before["timestamp"] + 30_000)
    after = await okx.fetch_ticker(BTC)
    assert (after["timestamp"], after["bid"]) == (before["timestamp"], before["bid"])


async def test_switch__one_symbol_off__the_others_stay(okx: ccxt.okx, world: WorldState) -> None:
    before = await okx.fetch_tickers([BTC, ETH])
    client.switch_venue(world, 0, "off", symbol=BTC, factor=1.3)
    after = await okx.fetch_tickers([BTC, ETH])
    assert after[BTC]["bid"] / before[BTC]["bid"] == pytest.approx(1.3, rel=1e-4)
    assert after[ETH]["bid"] == before[ETH]["bid"]


async def test_switch__one_symbol_down__not_in_the_tickers(
    okx: ccxt.okx, world: WorldState
) -> None:
    client.switch_venue(world, 0, "down", symbol=BTC)
    assert set(await okx.fetch_tickers([BTC, ETH])) == {ETH}


async def test_market__ended__suspended_with_old_stamps(
    tmp_path_factory: pytest.TempPathFactory, world: WorldState
) -> None:
    """In a world of its own, whose clock goes past the end of the first market."""
    folder = tmp_path_factory.mktemp("ended")
    ended_ms = STARTS_MS + (3 * 1_440 + 240) * MINUTE_MS
    state = client.start(folder, replay=Path(world.source), chain_time=True)
    client.advance(state, ended_ms + 600_000)
    exchange = _okx(state.venues[0].url)
    try:
        markets = await exchange.load_markets()
        tickers = await exchange.fetch_tickers([BTC, ETH])
    finally:
        await exchange.close()
        client.stop(folder)
    assert not markets[BTC]["active"]
    assert markets[ETH]["active"]
    assert tickers[BTC]["timestamp"] == ended_ms
    assert tickers[ETH]["timestamp"] == ended_ms + 600_000
