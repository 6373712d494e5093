"""Kraken futures, public market data: tickers whose own time is that of the last trade."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.relayer.market.exchanges.base import Exchange, Message

BASES = {"PF_XBTUSD": "BTC", "PF_PEPEUSD": "PEPE"}
LAST_TRADE = "2024-01-01T00:00:00.000Z"
API = "/derivatives/api/v3"


def iso(at_ms: int) -> str:
    stamp = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Kraken(Exchange):
    """Quotes in dollars."""

    @property
    def urls(self) -> dict[str, str]:
        return {
            "public": f"{self.url}/derivatives/api/",
            "history": f"{self.url}/api/history/",
            "charts": f"{self.url}/api/charts/",
            "ws": f"{self.ws_url}/ws/v1",
        }

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{API}/instruments", self._instruments),
            web.get(f"{API}/tickers", self._tickers),
            web.get(f"{API}/orderbook", self._book),
            web.get("/api/history/v2/market/{name}/executions", self._trades),
            web.get("/api/history/v3/market/{name}/executions", self._trades),
            web.get("/api/charts/v1/trade/{name}/{bar}", self._bars),
            web.get("/ws/v1", self.websocket),
        ]

    def topics(self, message: Message) -> set[str]:
        if message.get("event") != "subscribe":
            return set()
        return {f"{message['feed']}:{name.upper()}" for name in message["product_ids"]}

    def confirm(self, message: Message) -> list[Message]:
        if message.get("event") != "subscribe":
            return []
        return [
            {"event": "subscribed", "feed": message["feed"], "product_ids": [name.upper()]}
            for name in message["product_ids"]
        ]

    def say(self, topic: str) -> Message | None:
        feed, name = topic.split(":")
        price = self.price[BASES[name]]
        if feed != "ticker":
            return None
        return {
            "time": self.clock(), "product_id": name, "feed": "ticker", "funding_rate": 0.6,
            "relative_funding_rate": 0.00001, "bid": price * 0.9999, "ask": price * 1.0001,
            "bid_size": 3.0, "ask_size": 3.0, "volume": 5_000.0, "dtm": 0, "leverage": "50x",
            "index": price, "premium": 0.0, "last": price, "change": 0.0, "suspended": False,
            "tag": "perpetual", "pair": "XBT:USD", "openInterest": 900.0, "markPrice": price,
            "maturityTime": 0, "post_only": False, "volumeQuote": price * 5_000,
        }  # fmt: skip

    async def _instruments(self, request: web.Request) -> web.Response:
        margins = [
            {"contracts": 0, "initialMargin": 0.02, "maintenanceMargin": 0.01},
            {"contracts": 500_000, "initialMargin": 0.04, "maintenanceMargin": 0.02},
        ]
        rows = [
            {
                "symbol": name, "type": "flexible_futures", "underlying": "rr_xbtusd",
                "tickSize": 0.5, "contractSize": 1, "tradeable": True, "marginLevels": margins,
                "contractValueTradePrecision": 4, "fundingRateCoefficient": 8, "tags": [],
            }
            for name in BASES
            if name not in self.removed
        ]  # fmt: skip
        return self._answer(instruments=rows)

    async def _tickers(self, request: web.Request) -> web.Response:
        rows = [
            {
                "tag": "perpetual", "pair": "XBT:USD", "symbol": name, "markPrice": price,
                "bid": price * 0.9999, "bidSize": 3, "ask": price * 1.0001, "askSize": 3,
                "vol24h": 5_000, "openInterest": 900, "open24h": price, "last": price,
                "lastTime": LAST_TRADE, "lastSize": 1, "suspended": False, "indexPrice": price,
                "fundingRate": price * 0.00001, "fundingRatePrediction": price * 0.00001,
            }
            for name, base in BASES.items()
            for price in (self.price[base],)
            if name not in self.removed
        ]  # fmt: skip
        return self._answer(tickers=rows)

    async def _book(self, request: web.Request) -> web.Response:
        price = self.price[BASES[request.query["symbol"].upper()]]
        bids = [[price * (1 - 0.0001 * n), 3.0] for n in range(1, 6)]
        asks = [[price * (1 + 0.0001 * n), 3.0] for n in range(1, 6)]
        return self._answer(orderBook={"bids": bids, "asks": asks})

    async def _trades(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        rows = [
            {
                "uid": f"e{n}", "timestamp": str(self.clock() - n),
                "event": {"Execution": {"execution": {
                    "uid": f"t{n}", "quantity": "0.5", "price": str(self.price[BASES[name]]),
                    "timestamp": str(self.clock() - n), "limitFilled": False,
                    "takerOrder": {"direction": "Sell", "tradeable": name, "uid": "o"},
                    "makerOrder": {"direction": "Buy", "tradeable": name, "uid": "m"},
                }, "takerReducedQuantity": ""}},
            }
            for n in range(3)
        ]  # fmt: skip
        return web.json_response({"elements": rows, "len": len(rows)})

    async def _bars(self, request: web.Request) -> web.Response:
        price = str(self.price[BASES[request.match_info["name"]]])
        start = int(request.query["from"]) * 1_000
        sides = dict.fromkeys(("open", "high", "low", "close"), price)
        rows = [{"time": start + n * 60_000, **sides, "volume": "7"} for n in range(3)]
        return web.json_response({"candles": rows, "more_candles": False})

    def _answer(self, **body: Any) -> web.Response:
        return web.json_response({"result": "success", **body, "serverTime": iso(self.clock())})
