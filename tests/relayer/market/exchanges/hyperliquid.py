"""Hyperliquid's info endpoint and streams: only order books have both best prices and time."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from tests.relayer.market.exchanges.base import Exchange, Message

COINS = {"BTC": ("BTC", 1), "kPEPE": ("PEPE", 1_000)}
Answer = Any


class Hyperliquid(Exchange):
    """Quotes in USDC."""

    @property
    def urls(self) -> dict[str, str]:
        return {"public": self.url, "private": self.url, "ws.public": f"{self.ws_url}/ws"}

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/info", self._info), web.get("/ws", self.websocket)]

    def topics(self, message: Message) -> set[str]:
        if message.get("method") != "subscribe":
            return set()
        return {f"{message['subscription']['type']}:{message['subscription'].get('coin')}"}

    def confirm(self, message: Message) -> list[Message]:
        if message.get("method") == "ping":
            return [{"channel": "pong"}]
        return [{"channel": "subscriptionResponse", "data": message}]

    def say(self, topic: str) -> Message | None:
        kind, coin = topic.split(":")
        return {"channel": kind, "data": self._book(coin)} if kind == "l2Book" else None

    def trade(self, coin: str, number: int) -> Message:
        return {"channel": "trades", "data": [self._trade(coin, number)]}

    def _price(self, coin: str) -> float:
        base, units = COINS[coin]
        return self.price[base] * units

    def _trade(self, coin: str, number: int) -> dict[str, Any]:
        return {
            "coin": coin, "side": "A", "px": f"{self._price(coin):.10g}", "sz": "0.5",
            "time": self.clock(), "hash": "0x0", "tid": number,
        }  # fmt: skip

    def _book(self, coin: str) -> dict[str, Any]:
        price = self._price(coin)
        sides = [
            [
                {"px": f"{price * (1 + sign * 0.0001 * n):.10g}", "sz": "3", "n": 1}
                for n in range(1, 6)
            ]
            for sign in (-1, 1)
        ]
        return {"coin": coin, "levels": sides, "time": self.clock()}

    async def _info(self, request: web.Request) -> web.Response:
        body = json.loads(await request.text())
        kind = body["type"]
        self.asked[kind] += 1
        if kind in ("metaAndAssetCtxs", "meta"):
            return web.json_response(self._meta())
        if kind == "l2Book":
            return web.json_response(self._book(body["coin"]))
        if kind == "candleSnapshot":
            return web.json_response(self._bars(body["req"]))
        if kind == "fundingHistory":
            rate = {"fundingRate": "0.0000125", "premium": "0.0001", "time": body["startTime"]}
            return web.json_response([{"coin": body["coin"], **rate}])
        return web.json_response([])

    def _meta(self) -> list[Any]:
        coins = [coin for coin in COINS if coin not in self.removed]
        universe = [{"szDecimals": 3, "name": coin, "maxLeverage": 40} for coin in coins]
        contexts = [
            {
                "funding": "0.0000125", "openInterest": "800", "prevDayPx": price,
                "dayNtlVlm": "100000", "premium": "0", "oraclePx": price, "markPx": price,
                "midPx": price, "impactPxs": [price, price], "dayBaseVlm": "5",
            }
            for coin in coins
            for price in (f"{self._price(coin):.10g}",)
        ]  # fmt: skip
        return [{"universe": universe, "marginTables": []}, contexts]

    def _bars(self, asked: dict[str, Any]) -> list[Any]:
        price, minute = f"{self._price(asked['coin']):.10g}", 60_000
        start = asked["startTime"] // minute * minute
        sides = dict.fromkeys(("o", "h", "l", "c"), price)
        return [
            {
                "t": start + n * minute, "T": start + (n + 1) * minute - 1, "s": asked["coin"],
                "i": "1m", **sides, "v": "7", "n": 1,
            }
            for n in range(3)
        ]  # fmt: skip
