"""Exchanges for `benchmarks.market_data`: OKX's protocol at full traffic, as cheaply as possible.

    python -m benchmarks.market_data_world --venues 3 --markets 200 --every-ms 1000

One process of its own that writes the addresses on one line and serves until it is killed. Each
market's ticker and mark price move and are sent `every_ms`, spread over that time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from aiohttp import WSMsgType, web

from relayer.market.values import HOUR_MS, MINUTE_MS

HOST: Final = "127.0.0.1"
# OKX's own limits of the two paths that bars come from, calls in two seconds by address.
LIMITS: Final = {"market/candles": 40, "market/history-candles": 20}
LIMIT_S: Final = 2.0
BURSTS: Final = 20  # the messages of one round leave in so many bunches
BAR_MS: Final = {"1m": MINUTE_MS, "1H": HOUR_MS}


def symbol_of(market: int) -> str:
    """Give ccxt's name of a market."""
    return f"M{market}/USDC:USDC"


def inst_id(market: int) -> str:
    """Give OKX's name of a market."""
    return f"M{market}-USDC-SWAP"


def instrument(market: int) -> dict[str, str]:
    """Describe a perpetual of one base unit a contract."""
    family = f"M{market}-USDC"
    fixed = {"instType": "SWAP", "settleCcy": "USDC", "ctType": "linear", "state": "live"}
    sizes = {"ctVal": "1", "ctMult": "1", "tickSz": "0.0001", "lotSz": "1", "minSz": "1"}
    names = {"instId": inst_id(market), "uly": family, "instFamily": family}
    return {**fixed, **sizes, **names, "ctValCcy": f"M{market}", "lever": "50", "listTime": "1"}


def price(market: int, at_ms: int) -> float:
    """Move a little all the time, the same at every venue."""
    return 100.0 + market + (at_ms // 1_000 * 7 + market) % 13 * 0.01


def ticker_row(market: int, at_ms: int) -> dict[str, str]:
    """Quote a market."""
    mid = price(market, at_ms)
    names = {"instType": "SWAP", "instId": inst_id(market), "last": f"{mid:.4f}", "lastSz": "1"}
    top = {"askPx": f"{mid + 0.01:.4f}", "askSz": "9", "bidPx": f"{mid - 0.01:.4f}", "bidSz": "9"}
    day = {"open24h": "100", "high24h": "900", "low24h": "90", "volCcy24h": "1e6", "vol24h": "1e6"}
    return {**names, **top, **day, "ts": str(at_ms)}


def mark_row(market: int, at_ms: int) -> dict[str, str]:
    """Mark a market."""
    mark = f"{price(market, at_ms):.4f}"
    return {"instType": "SWAP", "instId": inst_id(market), "markPx": mark, "ts": str(at_ms)}


def messages(market: int, at_ms: int) -> Iterator[dict[str, Any]]:
    """Give what one market's streams send at once."""
    for channel, row in (("tickers", ticker_row), ("mark-price", mark_row)):
        arg = {"channel": channel, "instId": inst_id(market)}
        yield {"arg": arg, "data": [row(market, at_ms)]}


def candles(market: int, bar: str, after_ms: int, count: int) -> list[list[str]]:
    """Give bars that open before a time, newest first."""
    length = BAR_MS[bar]
    last = (after_ms - 1) // length
    rows = []
    for at in range(last, last - count, -1):
        base = 100.0 + market + at % 11 * 0.1
        o, h, low, c = base, base + 0.3, base - 0.2, base + 0.1
        rows.append([str(at * length), f"{o}", f"{h}", f"{low}", f"{c}", "1", "1", "1", "1"])
    return rows


class Exchange:
    """One venue: REST for what is loaded and filled, websocket for the rest."""

    def __init__(self, markets: int, every_s: float) -> None:
        self._markets = markets
        self._every_s = every_s
        self.calls: dict[str, int] = {}
        self._seen: dict[str, deque[float]] = {}

    def application(self) -> web.Application:
        """Build the HTTP application."""
        application = web.Application()
        application.router.add_get("/api/v5/{path:.*}", self._rest)
        application.router.add_get("/ws/v5/public", self._stream)
        return application

    async def _rest(self, request: web.Request) -> web.Response:
        now, path, query = int(time.time() * 1_000), request.match_info["path"], request.query
        data: list[Any] = []
        every = range(self._markets)
        if path == "public/instruments":
            data = [instrument(market) for market in every]
        elif path == "market/tickers":
            data = [ticker_row(market, now) for market in every]
        elif path == "public/mark-price":
            data = [mark_row(market, now) for market in every]
        elif path.endswith("candles"):
            self.calls[path] = self.calls.get(path, 0) + 1
            if self._is_too_often(path):
                self.calls["refused"] = self.calls.get("refused", 0) + 1
                body = {"code": "50011", "data": [], "msg": "Too Many Requests"}
                return web.json_response(body, status=429)
            market = int(query["instId"].split("-")[0][1:])
            after = min(now, int(query.get("after", now)))
            data = candles(market, query["bar"], after, min(300, int(query.get("limit", 100))))
        elif path == "calls":
            data = [self.calls]
        return web.json_response({"code": "0", "data": data, "msg": ""})

    def _is_too_often(self, path: str) -> bool:
        """Keep OKX's limit of a path: so many calls in any two seconds."""
        now, seen = time.monotonic(), self._seen.setdefault(path, deque())
        while seen and seen[0] <= now - LIMIT_S:
            seen.popleft()
        if len(seen) >= LIMITS[path]:
            return True
        seen.append(now)
        return False

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        sender = asyncio.create_task(self._send(socket))
        async for message in socket:
            if message.type is WSMsgType.TEXT and message.data == "ping":
                await socket.send_str("pong")
        sender.cancel()
        return socket

    async def _send(self, socket: web.WebSocketResponse) -> None:
        """Send every market's messages each round, in bunches."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not socket.closed:
            for bunch in range(BURSTS):
                at_ms = int(time.time() * 1_000)
                for market in range(bunch, self._markets, BURSTS):
                    for message in messages(market, at_ms):
                        await socket.send_str(json.dumps(message))
                due += self._every_s / BURSTS
                await asyncio.sleep(max(0.0, due - loop.time()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venues", type=int, default=3)
    parser.add_argument("--markets", type=int, default=200)
    parser.add_argument("--every-ms", type=int, default=1_000)
    parser.add_argument("--core", type=int, help="stay on this core")
    asked = parser.parse_args(arguments)
    if asked.core is not None:
        os.sched_setaffinity(0, {asked.core})
    asyncio.run(_serve(asked))


async def _serve(asked: argparse.Namespace) -> None:
    urls, runners = [], []
    for _ in range(asked.venues):
        application = Exchange(asked.markets, asked.every_ms / 1_000).application()
        runners.append(web.AppRunner(application, access_log=None))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], HOST, 0).start()
        urls.append(f"http://{HOST}:{runners[-1].addresses[0][1]}")
    print(json.dumps(urls), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
