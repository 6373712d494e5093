"""Signers behind real doors on loopback, and the ways in which a door can lie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from aiohttp import web

from contracts.units import UnixMs
from relayer.metrics import Metrics
from relayer.signing import wire
from relayer.signing.keys import Key
from relayer.signing.memory import SignedRounds
from relayer.signing.peers import connected
from relayer.signing.quorum import Quorum
from relayer.signing.remote import Peer
from relayer.signing.server import PATH, Door, SignerServer
from relayer.signing.signer import Signer, SignerPorts
from relayer.signing.transport import ANSWER_HEADER, Seal, read_seal, seal_answer
from relayer.signing.values import Proposal, Refusal, SignerAnswer, SignerView
from relayer.storage import Database
from tests.relayer import builders as b

RELAY = b.key(91)
TRANSPORT = tuple(b.key(number) for number in (41, 42, 43, 44, 45))
SIGNERS = tuple(b.key(number) for number in (11, 12, 13, 14, 15))
NAMES = tuple(f"signer-{n}" for n in range(5))


@dataclass
class Wall:
    """The machines' own time, which only the test moves."""

    now: int = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


@dataclass
class Views:
    """What every signer sees."""

    shown: SignerView = field(default_factory=lambda: view_of(SIGNERS))

    async def view(self, proposal: Proposal) -> SignerView:
        return self.shown


def view_of(keys: tuple[Key, ...]) -> SignerView:
    shown = b.signer_view()
    assert shown.feed is not None
    assert shown.oracle is not None
    config = b.configuration(keys)
    return replace(
        shown,
        feed=replace(shown.feed, config=config),
        oracle=replace(shown.oracle, config=config),
    )


@dataclass
class House:
    """A signer process as the test sees it."""

    number: int
    url: str
    metrics: Metrics
    views: Views
    server: SignerServer

    @property
    def peer(self) -> Peer:
        return peer_of(self.number, self.url)

    def refused(self, reason: str, name: str = "") -> float:
        counter = self.metrics.signer_refusals[name or NAMES[self.number], reason]
        return counter._value.get()

    @property
    def signed(self) -> float:
        return self.metrics.signatures[NAMES[self.number]]._value.get()


def peer_of(number: int, url: str) -> Peer:
    return Peer(
        name=NAMES[number],
        url=url,
        transport=TRANSPORT[number].address,
        address=SIGNERS[number].address,
    )


def metrics() -> Metrics:
    return b.metrics(NAMES)


@asynccontextmanager
async def house(
    number: int, database: Database, wall: Callable[[], int], **door: object
) -> AsyncIterator[House]:
    """One signer process, without the process."""
    counted, views = metrics(), Views()
    ports = SignerPorts(views=views, memory=SignedRounds(database))
    signer = Signer(NAMES[number], SIGNERS[number], ports, b.signer_rules())
    settings = {"senders": frozenset({RELAY.address}), "now_ms": wall, **door}
    server = SignerServer(
        signer,
        signer,
        Door(name=NAMES[number], key=TRANSPORT[number], **settings),  # type: ignore[arg-type]
        counted,
    )
    await server.start("127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{server.port}"
        yield House(number=number, url=url, metrics=counted, views=views, server=server)
    finally:
        await server.close()


Lie = Callable[[Seal, bytes, Key], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def liar(number: int, lie: Lie) -> AsyncIterator[Peer]:
    """A process at a signer's place that answers as it likes, with that signer's transport key."""

    async def handle(request: web.Request) -> web.StreamResponse:
        seal = read_seal(request.headers)
        assert seal is not None
        return await lie(seal, await request.read(), TRANSPORT[number])

    app = web.Application()
    app.router.add_post(PATH, handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield peer_of(number, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


def sealed(answer: SignerAnswer | Refusal, seal: Seal, key: Key) -> web.Response:
    body = wire.encode_answer(answer)
    return web.Response(body=body, headers={ANSWER_HEADER: seal_answer(key, seal, 200, body)})


async def never(seal: Seal, body: bytes, key: Key) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def endless(seal: Seal, body: bytes, key: Key) -> web.StreamResponse:
    return web.Response(body=b"x" * 5_000_000)


async def unsealed(seal: Seal, body: bytes, key: Key) -> web.StreamResponse:
    return web.Response(body=b'{"address":"0x","signature":"0x"}')


async def other_message(seal: Seal, body: bytes, key: Key) -> web.StreamResponse:
    """Signs something else, and seals that properly: a signer that has turned."""
    signature = SIGNERS[0].sign_digest(b"\x07" * 32)
    return sealed(SignerAnswer(address=SIGNERS[0].address, signature=signature), seal, key)


@asynccontextmanager
async def quorum_of(
    peers: list[Peer], needed: int, wall: Callable[[], int], timeout_s: float = 20.0
) -> AsyncIterator[tuple[Quorum, Metrics]]:
    counted = metrics()
    async with AsyncExitStack() as stack:
        context = connected(peers, RELAY, hedge_after_s=0.2, timeout_s=timeout_s)
        signers = await stack.enter_async_context(context)
        for signer in signers.values():
            signer._now_ms = wall
        quorum = Quorum(list(signers.values()), needed, timeout_s, counted)
        try:
            yield quorum, counted
        finally:
            await quorum.close()


def now() -> UnixMs:
    return b.NOW_MS
