"""Unmodified ccxt.pro against the local exchanges' websocket, from another process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator

import aiohttp
import ccxt.pro as ccxt
import pytest

from relayer.local import client
from relayer.local.book import checksum
from relayer.local.state import WorldState

pytestmark = pytest.mark.loopback

BTC = "BTC/USDT:USDT"
ETH = "ETH/USDT:USDT"
MINUTE_MS = 60_000


def okx_pro(world: WorldState, venue: int = 0) -> ccxt.okx:
    where = world.venues[venue]
    return ccxt.okx(
        {
            "urls": {"api": {"rest": where.url, "ws": where.ws_url}},
            "rateLimit": 1,
            "options": {"fetchMarkets": {"types": ["spot", "swap"]}},
        }
    )


@pytest.fixture
async def okx(world: WorldState) -> AsyncIterator[ccxt.okx]:
    exchange = okx_pro(world)
    yield exchange
    await exchange.close()
    client.switch_venue(world, 0, "ok")


async def _advance(world: WorldState, exchange: ccxt.okx, step_ms: int) -> int:
    to_ms = int(await exchange.fetch_time()) + step_ms
    client.advance(world, to_ms)
    return to_ms


async def _until(world: WorldState, exchange: ccxt.okx, watch: object, seen: object) -> object:
    """Watch until what comes is what is waited for, moving the clock on in between."""
    for _ in range(50):
        found = await asyncio.wait_for(watch(), 5)
        if seen(found):
            return found
        await _advance(world, exchange, 1_000)
    raise AssertionError("did not come")


async def test_tickers__follow_the_clock_and_agree_with_rest(
    okx: ccxt.okx, world: WorldState
) -> None:
    first = await okx.watch_ticker(BTC)
    assert first["bid"] < first["ask"]
    now_ms = await _advance(world, okx, 5_000)
    later = await okx.watch_ticker(BTC)
    rest = await okx.fetch_ticker(BTC)
    assert later["timestamp"] == now_ms
    assert (later["bid"], later["ask"]) == (rest["bid"], rest["ask"])


async def test_tickers__many_markets_on_one_connection(okx: ccxt.okx) -> None:
    await okx.watch_tickers([BTC, ETH, "USDC/USDT"])
    async with asyncio.timeout(5):
        while len(okx.tickers) < 3:
            await okx.fetch_time()
    assert okx.tickers["USDC/USDT"]["last"] == pytest.approx(1.0, abs=1e-3)
    assert len(okx.clients) == 1


async def test_mark_price__parsed(okx: ccxt.okx) -> None:
    mark = await okx.watch_mark_price(ETH)
    assert mark["markPrice"] > 0
    assert mark["timestamp"] == await okx.fetch_time()


async def test_book__snapshot_and_updates__equal_the_rest_book(
    okx: ccxt.okx, world: WorldState
) -> None:
    await okx.watch_order_book(BTC)
    for _ in range(5):
        await _advance(world, okx, 1_500)
        streamed = await okx.watch_order_book(BTC)
    rest = await okx.fetch_order_book(BTC, 400)
    assert streamed["timestamp"] == rest["timestamp"]
    for side in ("bids", "asks"):
        assert [row[:2] for row in streamed[side]] == [row[:2] for row in rest[side]]


async def test_book__few_levels_change_within_a_second(world: WorldState, okx: ccxt.okx) -> None:
    """A book that is written anew each time would be no book."""
    async with aiohttp.ClientSession() as session, _books(session, world) as socket:
        snapshot = await _data(socket)
        await _advance(world, okx, 200)
        update = await _data(socket)
    assert len(snapshot["bids"]) == 400
    assert 0 < len(update["bids"]) + len(update["asks"]) < 200


async def test_book__sequence_and_checksum__as_the_protocol_says(
    world: WorldState, okx: ccxt.okx
) -> None:
    async with aiohttp.ClientSession() as session, _books(session, world) as socket:
        snapshot = await _data(socket)
        await _advance(world, okx, 500)
        update = await _data(socket)
    assert snapshot["prevSeqId"] == -1
    assert update["prevSeqId"] == snapshot["seqId"] < update["seqId"]
    assert snapshot["checksum"] == checksum(snapshot["bids"], snapshot["asks"])
    sides = []
    for side, best_first in (("bids", True), ("asks", False)):
        book = {row[0]: row for row in snapshot[side]} | {row[0]: row for row in update[side]}
        rows = [row for row in book.values() if float(row[1]) > 0]
        sides.append(sorted(rows, key=lambda row: float(row[0]), reverse=best_first))
    assert update["checksum"] == checksum(sides[0], sides[1])


def test_checksum__the_documented_example() -> None:
    """OKX v5's documentation: more levels on one side than on the other."""
    bids = [["3366.1", "7"]]
    asks = [["3366.8", "9"], ["3368", "8"], ["3372", "8"]]
    value = zlib.crc32(b"3366.1:7:3366.8:9:3368:8:3372:8")
    assert checksum(bids, asks) == (value - 2**32 if value >= 2**31 else value)


async def test_book__skipped_update__ccxt_finds_the_gap_and_recovers(
    okx: ccxt.okx, world: WorldState
) -> None:
    await okx.watch_order_book(BTC)
    client.switch_venue(world, 0, "skips")
    with pytest.raises(ccxt.InvalidNonce):
        await _watch_on(okx, world)
    client.switch_venue(world, 0, "ok")
    await _advance(world, okx, 1_000)
    book = await asyncio.wait_for(okx.watch_order_book(BTC), 5)
    assert len(book["bids"]) == 400


async def _watch_on(okx: ccxt.okx, world: WorldState) -> None:
    for _ in range(10):
        await _advance(world, okx, 1_000)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(okx.watch_order_book(BTC), 0.3)


async def test_trades__each_once_oldest_first(okx: ccxt.okx, world: WorldState) -> None:
    watching = asyncio.create_task(okx.watch_trades(BTC))
    await okx.watch_ticker(BTC)
    await asyncio.sleep(0.1)
    now_ms = await _advance(world, okx, 7_000)
    trades = await asyncio.wait_for(watching, 5)
    assert trades[-1]["timestamp"] <= now_ms
    stamps = [trade["timestamp"] for trade in okx.trades[BTC]]
    assert stamps == sorted(set(stamps))


async def test_candles__progress_then_closed(okx: ccxt.okx, world: WorldState) -> None:
    now_ms = int(await okx.fetch_time())
    client.advance(world, now_ms - now_ms % MINUTE_MS + 20_000 + MINUTE_MS)
    first = (await okx.watch_ohlcv(BTC, "1m"))[-1]
    client.advance(world, int(first[0]) + MINUTE_MS + 2_000)
    bars = await _until(
        world, okx, lambda: okx.watch_ohlcv(BTC, "1m"), lambda b: b[-1][0] > first[0]
    )
    whole = next(bar for bar in okx.ohlcvs[BTC]["1m"] if bar[0] == first[0])
    [rest] = await okx.fetch_ohlcv(BTC, "1m", first[0], 1)
    assert bars[-1][0] == first[0] + MINUTE_MS
    assert list(whole) == rest


async def test_funding_rate__parsed(okx: ccxt.okx) -> None:
    rate = await okx.watch_funding_rate(BTC)
    assert rate["fundingRate"] == 0.0001


async def test_open_interest__streamed(world: WorldState) -> None:
    """The channel exists at OKX; ccxt has no method for it."""
    asked = {"channel": "open-interest", "instId": "BTC-USDT-SWAP"}
    async with aiohttp.ClientSession() as session, _open(session, world, asked) as socket:
        assert float((await _data(socket))["oiCcy"]) > 0


async def test_liquidations__all_markets_on_one_channel__subscribed(world: WorldState) -> None:
    asked = {"channel": "liquidation-orders", "instType": "SWAP"}
    async with aiohttp.ClientSession() as session, _open(session, world, asked) as socket:
        assert not socket.closed


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ('{"op":"subscribe","args":[{"channel":"tickers","instId":"DOGE-USDT-SWAP"}]}', "60018"),
        ('{"op":"subscribe","args":[{"channel":"candle1m","instId":"BTC-USDT-SWAP"}]}', "60018"),
        ('{"op":"subscribe","args":[{"channel":"rumours","instId":"BTC-USDT-SWAP"}]}', "60018"),
        ('{"op":"dance","args":[{}]}', "60012"),
        ("hello", "60012"),
    ],
)
async def test_subscribe__wrong__error_of_the_protocol(
    world: WorldState, sent: str, code: str
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(world.venues[0].ws_url + "/public") as socket,
    ):
        await socket.send_str(sent)
        answer = await socket.receive_json(timeout=5)
    assert (answer["event"], answer["code"]) == ("error", code)


async def test_ping__text__pong(world: WorldState) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(world.venues[0].ws_url + "/public") as socket,
    ):
        await socket.send_str("ping")
        assert (await socket.receive(timeout=5)).data == "pong"


def _open(session: aiohttp.ClientSession, world: WorldState, argument: dict[str, str]) -> _Stream:
    return _Stream(session, world.venues[0].ws_url + "/public", argument)


def _books(session: aiohttp.ClientSession, world: WorldState) -> _Stream:
    return _open(session, world, {"channel": "books", "instId": "BTC-USDT-SWAP"})


class _Stream:
    """One subscription, until the end of the block."""

    def __init__(self, session: aiohttp.ClientSession, url: str, argument: dict[str, str]) -> None:
        self._connecting = session.ws_connect(url)
        self._argument = argument

    async def __aenter__(self) -> aiohttp.ClientWebSocketResponse:
        self._socket = await self._connecting
        await self._socket.send_json({"op": "subscribe", "args": [self._argument]})
        answer = await self._socket.receive_json(timeout=5)
        assert answer["event"] == "subscribe"
        return self._socket

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()


async def _data(socket: aiohttp.ClientWebSocketResponse) -> dict:
    return json.loads((await socket.receive(timeout=5)).data)["data"][0]
