"""Facts about an endpoint: another chain, a slow, a lying and a broken one, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from relayer.chain.endpoints import ChainEndpoint, NotTaken, SendCapability, Taken
from relayer.chain.rpc import SendRefusal
from relayer.errors import (
    BadAnswer,
    ChainRefused,
    Misconfigured,
    RateLimited,
    Unreachable,
    WrongChain,
)

pytestmark = pytest.mark.loopback

Method = Callable[[list[Any]], Any]
MISSING = {"code": -32601, "message": "the method does not exist/is not available"}
UNDECODABLE = {"code": -32000, "message": "failed to decode signed transaction"}


def error(body: dict[str, Any]) -> Method:
    return lambda _: {"error": body}


@dataclass
class Node:
    """A JSON-RPC server that answers as scripted; `raw` replaces the whole HTTP answer."""

    methods: dict[str, Method] = field(default_factory=lambda: {"eth_chainId": lambda _: "0x18c7"})
    raw: Callable[[], web.Response] | None = None
    delay_s: float = 0
    connections: set[Any] = field(default_factory=set)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.connections.add(request.transport)
        await asyncio.sleep(self.delay_s)
        if self.raw:
            return self.raw()
        many = isinstance(asked, list)
        answers = [self.answer(one) for one in (asked if many else [asked])]
        return web.json_response(answers if many else answers[0])

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        method = self.methods.get(asked["method"], error(MISSING))
        result = method(asked["params"])
        told = result if isinstance(result, dict) and "error" in result else {"result": result}
        return {"jsonrpc": "2.0", "id": asked["id"]} | told


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    served = Node()
    application = web.Application()
    application.router.add_post("/", served.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield served
    await runner.cleanup()


@pytest.fixture
async def endpoint(node: Node) -> AsyncIterator[ChainEndpoint]:
    opened = await ChainEndpoint.open(node.url, chain_id=6343, timeout_s=0.5)
    yield opened
    await opened.close()


async def test_open__another_chain__names_both_and_sends_nothing(node: Node) -> None:
    with pytest.raises(WrongChain, match="chain id 6343, expected chain id 4326") as caught:
        await ChainEndpoint.open(node.url, chain_id=4326)
    assert (caught.value.expected, caught.value.actual) == (4326, 6343)


async def test_open__no_chain_named__takes_the_endpoints_word(node: Node) -> None:
    opened = await ChainEndpoint.open(node.url, chain_id=None)
    assert opened.chain_id == 6343
    await opened.close()


async def test_open__nobody_there__is_unreachable() -> None:
    with pytest.raises(Unreachable):
        await ChainEndpoint.open("http://127.0.0.1:9/", chain_id=1, timeout_s=1)


@pytest.mark.parametrize("url", ["ws://127.0.0.1/", "file:///etc/passwd", "127.0.0.1:8545", ""])
async def test_open__not_http__is_misconfigured(url: str) -> None:
    with pytest.raises(Misconfigured, match="use an http"):
        await ChainEndpoint.open(url, chain_id=1)


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ((), SendCapability.POLL),
        (("eth_sendRawTransactionSync",), SendCapability.SYNC),
        (("realtime_sendRawTransaction",), SendCapability.REALTIME),
        (("realtime_sendRawTransaction", "eth_sendRawTransactionSync"), SendCapability.REALTIME),
    ],
)
async def test_open__capability__is_the_best_that_is_offered(
    node: Node, offered: tuple[str, ...], expected: SendCapability
) -> None:
    node.methods |= {name: error(UNDECODABLE) for name in offered}
    opened = await ChainEndpoint.open(node.url, chain_id=6343)
    assert opened.sends_by is expected
    await opened.close()


async def test_call__many__keep_their_connection(node: Node, endpoint: ChainEndpoint) -> None:
    for _ in range(5):
        await endpoint.call("eth_chainId")
    assert len(node.connections) == 1


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (lambda: web.Response(status=429), RateLimited),
        (lambda: web.Response(status=500, text="oops"), BadAnswer),
        (lambda: web.Response(status=403, text="Cloudflare"), ChainRefused),
        (lambda: web.Response(text="<html>"), BadAnswer),
        (lambda: web.Response(body=b"\xff\xfe"), BadAnswer),
        (lambda: web.Response(text="[]"), BadAnswer),
        (lambda: web.Response(text="null"), BadAnswer),
        (lambda: web.Response(text='"text"'), BadAnswer),
        (lambda: web.Response(text='{"jsonrpc": "2.0", "id": 1}'), BadAnswer),
        (lambda: web.Response(text='{"jsonrpc": "2.0", "id": 1, "error": "no"}'), ChainRefused),
    ],
)
async def test_call__broken_answer__is_classed_never_raised_as_it_came(
    node: Node,
    endpoint: ChainEndpoint,
    raw: Callable[[], web.Response],
    expected: type[Exception],
) -> None:
    node.raw = raw
    with pytest.raises(expected):
        await endpoint.call("eth_chainId")
    with pytest.raises((expected, BadAnswer)):
        await endpoint.batch([("eth_chainId", ()), ("eth_chainId", ())])


async def test_call__no_answer_in_time__is_unreachable(node: Node, endpoint: ChainEndpoint) -> None:
    node.delay_s = 1
    with pytest.raises(Unreachable):
        await endpoint.call("eth_chainId")


async def test_batch__fewer_answers_than_calls__is_a_bad_answer(
    node: Node, endpoint: ChainEndpoint
) -> None:
    one = json.dumps([{"jsonrpc": "2.0", "id": 0, "result": "0x1"}])
    node.raw = lambda: web.Response(text=one)
    with pytest.raises(BadAnswer, match="batch of 2 calls has 1"):
        await endpoint.batch([("eth_chainId", ()), ("eth_chainId", ())])


async def test_batch__of_nothing__asks_nobody(endpoint: ChainEndpoint, node: Node) -> None:
    node.raw = lambda: web.Response(status=500)
    assert await endpoint.batch([]) == ()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("nonce too low", NotTaken(refusal=SendRefusal.NONCE_TOO_LOW, detail="nonce too low")),
        ("already known", Taken(receipt=None)),
        ("realtime transaction expired", Taken(receipt=None)),
    ],
)
async def test_send__refused_in_words__is_a_value(
    node: Node, endpoint: ChainEndpoint, message: str, expected: Taken | NotTaken
) -> None:
    node.methods["eth_sendRawTransaction"] = error({"code": -32000, "message": message})
    assert await endpoint.send(b"\x02") == expected


async def test_send__answer_lost__is_raised_as_unknown(node: Node, endpoint: ChainEndpoint) -> None:
    node.raw = lambda: web.Response(text="{")
    with pytest.raises(BadAnswer):
        await endpoint.send(b"\x02")


async def test_send__receipt_of_a_mini_block__comes_with_the_answer(node: Node) -> None:
    receipt = {
        "transactionHash": "0x" + "11" * 32,
        "blockNumber": "0x5",
        "blockHash": None,
        "status": "0x1",
        "gasUsed": "0xea60",
        "l1Fee": "0x0",
        "logs": [],
    }
    node.methods["realtime_sendRawTransaction"] = lambda params: (
        receipt if params[0] != "0x" else {"error": UNDECODABLE}
    )
    opened = await ChainEndpoint.open(node.url, chain_id=6343)
    answer = await opened.send(b"\x02")
    assert isinstance(answer, Taken)
    assert answer.receipt is not None
    assert answer.receipt.block_hash is None
    await opened.close()
