"""A MegaETH-shaped endpoint: a model of its JSON-RPC over anvil, for tests and benchmarks.

It is not MegaETH. It has what its documentation says a client must live with: a synchronous send
that answers with a receipt, receipts of mini-blocks that have a number and no hash until the block
is sealed, a base fee that stands still, a gas schedule that only the endpoint can estimate,
addresses in lower case, methods that are missing, and limits by rate. What it does not model:
mini-block timing, volatile-data limits, state growth.
"""
# ruff: noqa: ANN401 -- JSON, and what the node's calls take

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp import web
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes

from benchmarks import megaeth_gas

SYNC: Final = frozenset({"realtime_sendRawTransaction", "eth_sendRawTransactionSync"})
MISSING: Final = frozenset(
    {
        *("eth_getFilterChanges", "eth_getFilterLogs", "eth_newFilter", "eth_newBlockFilter"),
        *("eth_sendTransaction", "eth_sign", "eth_signTransaction"),
        *("txpool_content", "txpool_status", "txpool_inspect"),
    }
)
EXPIRED: Final = {"code": -32000, "message": "realtime transaction expired"}
TOO_LOW: Final = {"code": -32000, "message": "intrinsic gas too low"}


class Refused(Exception):  # noqa: N818 -- a JSON-RPC error object on its way out
    """The endpoint says no; `error` is what it says."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error


@dataclass
class MegaEthProxy:
    """One endpoint; `asked` counts round trips, `called` what was in them."""

    node: str
    seal_after_s: float = 1.0
    expire_sends: int = 0  # so many synchronous sends answer as after their 10 s
    hold_answer: asyncio.Event | None = None  # the next synchronous send answers only after it
    holding: asyncio.Event = field(default_factory=asyncio.Event)
    limit_calls: int = 0  # so many requests are told to come again
    asked: int = 0
    called: Counter[str] = field(default_factory=Counter)
    session: aiohttp.ClientSession | None = None
    _seen_s: dict[str, float] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one HTTP request, of one call or several."""
        body = await request.json()
        self.asked += 1
        if self.limit_calls:
            self.limit_calls -= 1
            refused = {"code": -32022, "message": "rate limited, retry in 0.05 seconds"}
            return web.json_response({"jsonrpc": "2.0", "id": None, "error": refused})
        if isinstance(body, list):
            return web.json_response([await self.answer(call) for call in body])
        return web.json_response(await self.answer(body))

    async def answer(self, call: dict[str, Any]) -> dict[str, Any]:
        """Answer one call as MegaETH would, by what anvil says."""
        method, params = call["method"], call.get("params", [])
        self.called[method] += 1
        try:
            result = await self._result(method, params)
        except Refused as refused:
            return {"jsonrpc": "2.0", "id": call["id"], "error": refused.error}
        return {"jsonrpc": "2.0", "id": call["id"], "result": result}

    async def _result(self, method: str, params: list[Any]) -> Any:
        if method in MISSING:
            raise Refused({"code": -32601, "message": f"the method {method} does not exist"})
        if method in SYNC:
            return await self._send(params[0])
        if method == "eth_sendRawTransaction":
            self._require_gas(params[0])
        result = await self.forward(method, *params)
        if method == "eth_estimateGas":
            return hex(self._estimate(int(result, 16), params[0]))
        if method == "eth_getTransactionReceipt" and result is not None:
            return await self._receipt(result)
        if method == "eth_getBlockByNumber" and result is not None:
            return {**result, "baseFeePerGas": hex(megaeth_gas.BASE_FEE_WEI)}
        return result

    async def _send(self, raw: str) -> Any:
        """Take a transaction and give its receipt, or say that its time ran out; it stays."""
        if raw == "0x":
            raise Refused({"code": -32000, "message": "failed to decode signed transaction"})
        self._require_gas(raw)
        tx_hash = await self.forward("eth_sendRawTransaction", raw)
        held, self.hold_answer = self.hold_answer, None
        if held is not None:
            self.holding.set()
            await held.wait()
        if self.expire_sends:
            self.expire_sends -= 1
            raise Refused(EXPIRED)
        receipt = await self.forward("eth_getTransactionReceipt", tx_hash)
        if receipt is None:
            raise Refused(EXPIRED)
        return await self._receipt(receipt)

    def _require_gas(self, raw: str) -> None:
        """Refuse a gas limit below what the schedule takes before anything runs."""
        fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        payload = bytes(HexBytes(fields["data"]))
        least = 21_000 + megaeth_gas.storage_gas(payload, ())
        if fields["gas"] < max(least, megaeth_gas.floor_gas(payload)):
            raise Refused(TOO_LOW)

    def _estimate(self, evm_gas: int, request: dict[str, Any]) -> int:
        payload = bytes(HexBytes(request.get("data") or request.get("input") or "0x"))
        # The batch's event is not known before it is made: its hash, counts and times.
        return megaeth_gas.gas(evm_gas, payload, ((2, 32 * 8),))

    async def _receipt(self, receipt: dict[str, Any]) -> dict[str, Any]:
        """Make anvil's receipt a mini-block's, and charge what the schedule charges."""
        tx_hash = receipt["transactionHash"]
        seen_s = self._seen_s.setdefault(tx_hash, time.monotonic())
        transaction = await self.forward("eth_getTransactionByHash", tx_hash)
        logs = [(len(log["topics"]), len(HexBytes(log["data"]))) for log in receipt["logs"]]
        used = megaeth_gas.gas(int(receipt["gasUsed"], 16), HexBytes(transaction["input"]), logs)
        sealed = time.monotonic() - seen_s >= self.seal_after_s
        return {
            **receipt,
            "gasUsed": hex(used),
            "effectiveGasPrice": hex(megaeth_gas.BASE_FEE_WEI),
            "blockHash": receipt["blockHash"] if sealed else None,
            "from": receipt["from"].lower(),
            "logs": [{**log, "address": log["address"].lower()} for log in receipt["logs"]],
        }

    async def forward(self, method: str, *params: Any) -> Any:
        """Ask anvil."""
        assert self.session is not None
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self.session.post(self.node, json=body) as response:
            answer = await response.json()
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]


@asynccontextmanager
async def serving(proxy: Any) -> AsyncIterator[str]:
    """Serve a proxy on loopback, and give its URL."""
    async with aiohttp.ClientSession() as session:
        proxy.session = session
        application = web.Application()
        application.router.add_post("/", proxy.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
