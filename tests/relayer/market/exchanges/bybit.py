"""Bybit v5, public market data of linear perpetuals: bulk tickers without stamps."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.relayer.market.exchanges.base import Exchange, Message

BASES = {"BTCUSDT": ("BTC", 1), "1000PEPEUSDT": ("PEPE", 1_000)}
CHANGING = ("symbol", "markPrice", "bid1Price", "ask1Price")
HOUR_MS = 3_600_000
SPOT = {
    "symbol": "USDCUSDT", "baseCoin": "USDC", "quoteCoin": "USDT", "status": "Trading",
    "marginTrading": "none", "innovation": "0", "priceFilter": {"tickSize": "0.0001"},
    "lotSizeFilter": {
        "basePrecision": "0.01", "quotePrecision": "0.0001", "minOrderQty": "1",
        "maxOrderQty": "1000000", "minOrderAmt": "1", "maxOrderAmt": "1000000",
    },
}  # fmt: skip


class Bybit(Exchange):
    """Sends tickers as a snapshot and then changes, as the real one does."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    @property
    def urls(self) -> dict[str, str]:
        return {"public": self.url, "ws.public.linear": f"{self.ws_url}/v5/public/linear"}

    def routes(self) -> list[web.RouteDef]:
        market = "/v5/market"
        return [
            web.get(f"{market}/instruments-info", self._instruments),
            web.get(f"{market}/tickers", self._tickers),
            web.get(f"{market}/orderbook", self._book),
            web.get(f"{market}/recent-trade", self._trades),
            web.get(f"{market}/kline", self._bars),
            web.get(f"{market}/open-interest", self._open_interest),
            web.get(f"{market}/risk-limit", self._tiers),
            web.get("/v5/public/linear", self.websocket),
        ]

    def topics(self, message: Message) -> set[str]:
        return set(message.get("args", ())) if message.get("op") == "subscribe" else set()

    def confirm(self, message: Message) -> list[Message]:
        if message.get("op") == "ping":
            return [{"success": True, "ret_msg": "pong", "op": "ping", "req_id": message["req_id"]}]
        self._told -= self.topics(message)
        return [{"success": True, "ret_msg": "", "op": "subscribe", "conn_id": "c"}]

    def say(self, topic: str) -> Message | None:
        name = topic.rsplit(".", 1)[-1]
        if topic.startswith("tickers."):
            whole = topic not in self._told
            self._told.add(topic)
            fields = self._ticker(name)
            kept = fields if whole else {k: fields[k] for k in CHANGING}
            kind = "snapshot" if whole else "delta"
            return {"topic": topic, "type": kind, "data": kept, "cs": 1, "ts": self.clock()}
        if topic.startswith("orderbook."):
            levels = self._levels(name)
            return {"topic": topic, "type": "snapshot", "ts": self.clock(), "data": levels}
        return None

    def trade(self, name: str, number: int) -> Message:
        row = {
            "T": self.clock(), "s": name, "S": "Buy", "v": "0.5",
            "p": str(self._price(name)), "L": "PlusTick", "i": f"t{number}", "BT": False,
        }  # fmt: skip
        at_ms = self.clock()
        return {"topic": f"publicTrade.{name}", "type": "snapshot", "ts": at_ms, "data": [row]}

    def liquidation(self, name: str) -> Message:
        price = str(self._price(name))
        row = {"T": self.clock(), "s": name, "S": "Buy", "v": "2", "p": price}
        at_ms = self.clock()
        return {"topic": f"allLiquidation.{name}", "type": "snapshot", "ts": at_ms, "data": [row]}

    def _price(self, name: str) -> float:
        base, units = BASES.get(name, ("USDC", 1))
        return self.price[base] * units

    def _names(self) -> list[str]:
        return [name for name in BASES if name not in self.removed]

    def _ticker(self, name: str) -> dict[str, str]:
        price = self._price(name)
        return {
            "symbol": name, "lastPrice": f"{price:.10g}", "indexPrice": f"{price:.10g}",
            "markPrice": f"{price * 1.0001:.10g}", "prevPrice24h": f"{price:.10g}",
            "openInterest": "1000", "openInterestValue": f"{price * 1000:.10g}",
            "turnover24h": f"{price * 5000:.10g}", "volume24h": "5000", "fundingRate": "0.0001",
            "nextFundingTime": str(self.clock() + HOUR_MS), "fundingIntervalHour": "8",
            "bid1Price": f"{price * 0.9999:.10g}", "bid1Size": "3",
            "ask1Price": f"{price * 1.0001:.10g}", "ask1Size": "3",
        }  # fmt: skip

    def _answer(self, result: Any) -> web.Response:
        body = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}}
        return web.json_response({**body, "time": self.clock()})

    async def _instruments(self, request: web.Request) -> web.Response:
        if request.query["category"] == "spot":
            return self._answer({"category": "spot", "list": [SPOT], "nextPageCursor": ""})
        names = [] if request.query.get("status") == "PreLaunch" else self._names()
        rows = [
            {
                "symbol": name, "contractType": "LinearPerpetual", "status": "Trading",
                "baseCoin": name.removesuffix("USDT"), "quoteCoin": "USDT", "settleCoin": "USDT",
                "launchTime": "1585526400000", "deliveryTime": "0", "deliveryFeeRate": "",
                "priceScale": "2", "fundingInterval": 480, "unifiedMarginTrade": True,
                "leverageFilter": {"minLeverage": "1", "maxLeverage": "99", "leverageStep": "0.1"},
                "priceFilter": {"minPrice": "0.0000001", "maxPrice": "9999999", "tickSize": "0.1"},
                "lotSizeFilter": {
                    "maxOrderQty": "100", "minOrderQty": "0.001", "qtyStep": "0.001",
                    "postOnlyMaxOrderQty": "1000",
                },
            }
            for name in names
        ]  # fmt: skip
        return self._answer({"category": "linear", "list": rows, "nextPageCursor": ""})

    async def _tickers(self, request: web.Request) -> web.Response:
        names = [request.query["symbol"]] if "symbol" in request.query else self._names()
        return self._answer({"category": "linear", "list": [self._ticker(n) for n in names]})

    async def _book(self, request: web.Request) -> web.Response:
        return self._answer({**self._levels(request.query["symbol"]), "ts": self.clock()})

    def _levels(self, name: str) -> Message:
        price = self._price(name)
        bids = [[f"{price * (1 - 0.0001 * n):.10g}", "3"] for n in range(1, 6)]
        asks = [[f"{price * (1 + 0.0001 * n):.10g}", "3"] for n in range(1, 6)]
        return {"s": name, "b": bids, "a": asks, "u": 1, "seq": 1}

    async def _trades(self, request: web.Request) -> web.Response:
        name = request.query["symbol"]
        rows = [
            {
                "execId": f"t{n}", "symbol": name, "price": str(self._price(name)), "size": "0.5",
                "side": "Sell", "time": str(self.clock() - n), "isBlockTrade": False,
            }
            for n in range(3)
        ]  # fmt: skip
        return self._answer({"category": "linear", "list": rows})

    async def _bars(self, request: web.Request) -> web.Response:
        price, minute = str(self._price(request.query["symbol"])), 60_000
        start = int(request.query["start"]) // minute * minute
        rows = [[str(start + n * minute), *[price] * 4, "7", "7"] for n in reversed(range(3))]
        return self._answer({"category": "linear", "symbol": "", "list": rows})

    async def _open_interest(self, request: web.Request) -> web.Response:
        name = request.query["symbol"]
        rows = [{"openInterest": "1000", "timestamp": str(self.clock())}]
        return self._answer({"symbol": name, "category": "linear", "list": rows})

    async def _tiers(self, request: web.Request) -> web.Response:
        rows = [
            {
                "id": number, "symbol": name, "riskLimitValue": str(limit),
                "maintenanceMargin": str(rate), "initialMargin": str(2 * rate),
                "isLowestRisk": int(number == 1), "maxLeverage": str(leverage),
            }
            for name in self._names()
            for number, limit, rate, leverage in (
                (1, 2_000_000, 0.005, 100), (2, 4_000_000, 0.01, 50),
            )
        ]  # fmt: skip
        return self._answer({"category": "linear", "list": rows, "nextPageCursor": ""})
