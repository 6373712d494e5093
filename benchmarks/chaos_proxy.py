"""A JSON-RPC endpoint in bad weather: anvil behind a proxy that loses, lies, repeats and forgets.

Seeded by --seed of `benchmarks.chaos`; what order requests arrive in is the machine's.
"""
# ruff: noqa: ANN401 -- JSON, and what the node's calls take

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

# What happens to a request, and how often; the rest goes through.
WEATHER = {
    "delayed": 0.08,
    "request_lost": 0.02,
    "answer_lost": 0.02,
    "cut_in_the_middle": 0.015,
    "status_429": 0.015,
    "status_5xx": 0.015,
    "garbage": 0.015,
    "rate_limit_code": 0.015,
    "stale_head": 0.03,
    "receipt_withheld": 0.05,
    "sent_twice": 0.03,
    "sent_late": 0.02,
    "forgotten": 0.03,
}
_SENDS = frozenset(
    {"eth_sendRawTransaction", "eth_sendRawTransactionSync", "realtime_sendRawTransaction"}
)
_HEADS = frozenset({"eth_blockNumber", "eth_getTransactionCount", "eth_getBlockByNumber"})


@dataclass
class Proxy:
    """One endpoint; `happened` counts what it did to its users."""

    node: str
    dice: random.Random
    happened: Counter[str] = field(default_factory=Counter)
    calm: bool = False
    heads: dict[str, Any] = field(default_factory=dict)
    session: aiohttp.ClientSession | None = None
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one HTTP request, or do worse; whoever asked may be dead by then."""
        try:
            return await self.answer(request)
        except (aiohttp.ClientError, ConnectionError):
            return self.cut(request)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Draw what happens, and let it."""
        body = await request.json()
        calls = body if isinstance(body, list) else [body]
        methods = {call["method"] for call in calls}
        happens = self.draw(methods)
        for name in happens:
            self.happened[name] += 1
        self.happened["requests"] += 1
        if "delayed" in happens:
            await asyncio.sleep(self.dice.uniform(0.005, 0.08))
        if (refusal := self.refusal(happens, body)) is not None:
            return refusal
        if "request_lost" in happens:
            return self.cut(request)
        if "sent_late" in happens:
            return self.send_late(body)
        answer = await self.forward(body)
        if "sent_twice" in happens:
            await self.forward(body)
        if "forgotten" in happens and isinstance(answer, dict):
            await self.forget(answer)
        if "answer_lost" in happens:
            return self.cut(request)
        answer = self.bent(happens, calls, answer)
        if "cut_in_the_middle" in happens:
            return await self.half(request, answer)
        return web.json_response(answer)

    def draw(self, methods: set[str]) -> set[str]:
        """Draw what happens to a request of these methods."""
        if self.calm:
            return set()
        drawn = {name for name, chance in WEATHER.items() if self.dice.random() < chance}
        if not methods & _SENDS:
            drawn -= {"sent_twice", "sent_late", "forgotten"}
        if not methods & _HEADS:
            drawn -= {"stale_head"}
        if "eth_getTransactionReceipt" not in methods:
            drawn -= {"receipt_withheld"}
        return drawn

    def refusal(self, happens: set[str], body: Any) -> web.Response | None:
        """Say no without asking the node."""
        if "status_429" in happens:
            return web.Response(status=429, text="slow down", headers={"Retry-After": "0"})
        if "status_5xx" in happens:
            return web.Response(status=self.dice.choice((500, 502, 503)), text="<html>oops</html>")
        if "garbage" in happens:
            return web.Response(body=self.dice.randbytes(40), content_type="application/json")
        if "rate_limit_code" in happens:
            error = {"code": -32022, "message": "rate limited, retry in 0 seconds"}
            one = {"jsonrpc": "2.0", "id": None, "error": error}
            if isinstance(body, list):
                return web.json_response([{**one, "id": call["id"]} for call in body])
            return web.json_response({**one, "id": body["id"]})
        return None

    def send_late(self, body: Any) -> web.Response:
        """Take a transaction and hand it on later, behind others."""

        async def later() -> None:
            await asyncio.sleep(self.dice.uniform(0.05, 0.25))
            with suppress(aiohttp.ClientError):
                await self.forward(body)

        task = asyncio.create_task(later())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        error = {"code": -32000, "message": "realtime transaction expired"}
        return web.json_response({"jsonrpc": "2.0", "id": body["id"], "error": error})

    async def forget(self, answer: dict[str, Any]) -> None:
        """Drop from the pool what was just taken, where it is not in a block yet."""
        if isinstance(answer.get("result"), str):
            call = {"jsonrpc": "2.0", "id": 1, "method": "anvil_dropTransaction"}
            await self.forward({**call, "params": [answer["result"]]})

    def bent(self, happens: set[str], calls: list[Any], answer: Any) -> Any:
        """Alter what the node said: an older head, or no receipt yet."""
        answers = answer if isinstance(answer, list) else [answer]
        by_id = {call["id"]: call for call in calls}
        for each in answers:
            call = by_id.get(each.get("id"))
            if call is None or "result" not in each:
                continue
            if call["method"] in _HEADS and "latest" in str(call["params"]):
                key = json.dumps([call["method"], call["params"]])
                older = self.heads.get(key, each["result"])
                if self.dice.random() < 0.5:
                    self.heads[key] = each["result"]
                if "stale_head" in happens:
                    each["result"] = older
            if call["method"] == "eth_getTransactionReceipt" and "receipt_withheld" in happens:
                each["result"] = None
        return answer

    def cut(self, request: web.Request) -> web.Response:
        """Close the connection without a word."""
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def half(self, request: web.Request, answer: Any) -> web.StreamResponse:
        """Promise an answer, give half of it, and close."""
        content = json.dumps(answer).encode()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(content)
        await response.prepare(request)
        await response.write(content[: len(content) // 2])
        self.cut(request)
        return response

    async def forward(self, body: Any) -> Any:
        """Ask the node."""
        assert self.session is not None
        async with self.session.post(self.node, json=body) as answer:
            return await answer.json()


def serve(node: str, port_file: Path, seed: int) -> None:
    """Run the proxy until SIGTERM; SIGUSR1 ends the bad weather, the counts go beside the port."""
    asyncio.run(_serve(Proxy(node=node, dice=random.Random(seed)), port_file))


async def _serve(proxy: Proxy, port_file: Path) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: setattr(proxy, "calm", True))
    async with aiohttp.ClientSession() as session:
        proxy.session = session
        app = web.Application()
        app.router.add_post("/", proxy.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port_file.write_text(str(runner.addresses[0][1]))  # noqa: ASYNC240 -- once, at the start
        await ended.wait()
        await runner.cleanup()
    port_file.with_suffix(".json").write_text(json.dumps(proxy.happened))
