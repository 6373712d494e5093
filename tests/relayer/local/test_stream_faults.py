"""How a misbehaving exchange's streams look to whoever listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import ccxt.pro as ccxt
import pytest

from relayer.local import client
from relayer.local.state import WorldState
from tests.relayer.local.test_okx_stream import okx_pro

pytestmark = pytest.mark.loopback

BTC = "BTC/USDT:USDT"
TICKERS = {"op": "subscribe", "args": [{"channel": "tickers", "instId": "BTC-USDT-SWAP"}]}


@pytest.fixture
async def socket(world: WorldState) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A stream of tickers that has given its first one."""
    url = world.venues[0].ws_url + "/public"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as opened:
        await opened.send_json(TICKERS)
        for _ in range(2):
            await opened.receive(timeout=5)
        yield opened
    client.switch_venue(world, 0, "ok")


async def test_silent__no_data_and_pings_answered(
    socket: aiohttp.ClientWebSocketResponse, world: WorldState
) -> None:
    client.switch_venue(world, 0, "silent")
    _advance(world)
    await socket.send_str("ping")
    assert (await socket.receive(timeout=5)).data == "pong"
    with pytest.raises(TimeoutError):
        await socket.receive(timeout=0.3)


async def test_ok_again__talks_on(
    socket: aiohttp.ClientWebSocketResponse, world: WorldState
) -> None:
    client.switch_venue(world, 0, "silent")
    _advance(world)
    client.switch_venue(world, 0, "ok")
    _advance(world)
    assert "tickers" in (await socket.receive(timeout=5)).data


@pytest.mark.parametrize(
    ("mode", "code"), [("closes", 1001), ("broken", 1011), ("banned", 1008), ("down", 1006)]
)
async def test_closed__with_the_code_of_its_cause(
    socket: aiohttp.ClientWebSocketResponse, world: WorldState, mode: str, code: int
) -> None:
    client.switch_venue(world, 0, mode, delay_s=0)
    async with asyncio.timeout(5):
        while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            continue
    assert socket.close_code == code


async def test_garbage__no_json(socket: aiohttp.ClientWebSocketResponse, world: WorldState) -> None:
    client.switch_venue(world, 0, "garbage")
    _advance(world)
    message = await socket.receive(timeout=5)
    with pytest.raises(ValueError, match="delimiter"):
        message.json()


@pytest.mark.parametrize(("mode", "status"), [("limited", 429), ("banned", 403), ("broken", 502)])
async def test_new_stream__refused(world: WorldState, mode: str, status: int) -> None:
    client.switch_venue(world, 0, mode)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(world.venues[0].ws_url + "/public")
    client.switch_venue(world, 0, "ok")
    assert refused.value.status == status


async def test_limited__so_many_a_second_and_no_more(world: WorldState) -> None:
    client.switch_venue(world, 0, "limited", rate=3)
    async with aiohttp.ClientSession() as session:
        url = world.venues[0].url + "/api/v5/public/time"
        answers = [(await session.get(url)).status for _ in range(5)]
        last = await session.get(url)
    client.switch_venue(world, 0, "ok")
    assert answers == [200, 200, 200, 429, 429]
    assert last.headers["Retry-After"] == "1"


async def test_closes__ccxt__network_error_and_a_new_stream(world: WorldState) -> None:
    exchange = okx_pro(world)
    await exchange.watch_ticker(BTC)
    watching = asyncio.create_task(exchange.watch_ticker(BTC))
    await exchange.fetch_time()
    client.switch_venue(world, 0, "closes", delay_s=0)
    with pytest.raises(ccxt.NetworkError):
        await asyncio.wait_for(watching, 5)
    client.switch_venue(world, 0, "ok")
    assert (await asyncio.wait_for(exchange.watch_ticker(BTC), 10))["bid"] > 0
    await exchange.close()


def _advance(world: WorldState) -> None:
    now_ms = client.fetch_json(world.control_url + "/clock")["now_ms"]
    client.advance(world, now_ms + 1_000)
