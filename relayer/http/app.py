"""The HTTP app: every answer is the agent's, behind the fences, described by its own OpenAPI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Path, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from relayer.http.fences import Fences
from relayer.http.port import AgentPort
from relayer.http.problems import described, given, install
from relayer.http.schemas import (
    AccountAnswer,
    Address,
    Decisions,
    Health,
    Limits,
    Markets,
    QuoteAnswer,
    QuoteRequest,
    SimulateAnswer,
    SimulateRequest,
    WarningRow,
    Warnings,
)
from relayer.http.settings import HttpRules

SILENCE_S: Final = 15.0  # a stream says something at least so often, or proxies close it
ANSWERS: Final = described(400, 429, 503, 504)
BODIES: Final = described(409, 413, 422)

Count = Annotated[int, Query(ge=1, le=500)]
Digest = Annotated[str, Path(pattern=r"^(0x)?[0-9a-f]{64}$", examples=["0x" + "00" * 32])]


def create_app(
    agent: AgentPort, rules: HttpRules, version: str, origins: Sequence[str] = ()
) -> FastAPI:
    """Build the app around an agent; pages of these origins may ask it from a browser."""
    app = FastAPI(
        title="Autonomous Margin Layer",
        version=version,
        description="Terms, limits, positions, warnings, decisions and their evidence.",
        docs_url=None,  # the page would load scripts from elsewhere
        redoc_url=None,
        responses=ANSWERS,
    )
    install(app)
    for routes in (_terms(agent), _state(agent), _warnings(agent, rules), _records(agent)):
        app.include_router(routes)
    app.include_router(_health(agent))
    app.add_middleware(Fences, rules=rules)
    if origins:  # outermost: a page may read why it was turned away
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Content-Type"],
            expose_headers=["Retry-After"],
        )
    return app


def _terms(agent: AgentPort) -> APIRouter:
    routes = APIRouter(tags=["terms"], responses=BODIES)

    @routes.post("/quote")
    async def quote(asked: QuoteRequest) -> QuoteAnswer:
        """Offer signed terms, or say why not and what would pass (409)."""
        return given(await agent.quote(asked))

    @routes.post("/simulate")
    async def simulate(asked: SimulateRequest) -> SimulateAnswer:
        """Say what margin a hypothetical book would have along hypothetical prices."""
        return given(await agent.simulate(asked))

    return routes


def _state(agent: AgentPort) -> APIRouter:
    routes = APIRouter(tags=["state"])

    @routes.get("/markets")
    async def markets() -> Markets:
        """Give all markets at one block."""
        return await agent.markets()

    @routes.get("/limits")
    async def limits() -> Limits:
        """Say which decisions are live, over what, and how far they may go now."""
        return await agent.limits()

    @routes.get("/accounts/{address}", responses=described(409, 422))
    async def account(address: Annotated[Address, Path()]) -> AccountAnswer:
        """Give an account's positions with their liquidation prices, and its risk profile."""
        return given(await agent.account(address))

    return routes


def _warnings(agent: AgentPort, rules: HttpRules) -> APIRouter:
    routes = APIRouter(tags=["warnings"], responses=described(422))
    open_streams = OpenStreams()

    @routes.get("/warnings")
    async def warnings(
        account: Annotated[Address | None, Query()] = None, limit: Count = 100
    ) -> Warnings:
        """Give the warnings that stand, the most urgent first."""
        return await agent.warnings(account, limit)

    @routes.get("/warnings/stream", response_class=StreamingResponse)
    async def stream() -> StreamingResponse:
        """Give each warning as it is made, as server-sent events."""
        if open_streams.count >= rules.max_streams:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "too many streams are open")
        return StreamingResponse(
            _events(agent.warned(), open_streams), media_type="text/event-stream"
        )

    return routes


def _records(agent: AgentPort) -> APIRouter:
    routes = APIRouter(tags=["records"], responses=described(422))

    @routes.get("/decisions")
    async def decisions(limit: Count = 50) -> Decisions:
        """Give the newest decisions and how far they came."""
        return await agent.decisions(limit)

    @routes.get("/evidence/{digest}", responses=described(404), response_class=JSONResponse)
    async def evidence(digest: Digest) -> Response:
        """Give a decision's evidence, byte for byte as its hash was made of it."""
        found = await agent.evidence(bytes.fromhex(digest.removeprefix("0x")))
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such evidence, or past its retention")
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(found, media_type="application/json", headers=headers)

    return routes


def _health(agent: AgentPort) -> APIRouter:
    routes = APIRouter(tags=["health"])
    unwell: dict[int | str, dict[str, Any]] = {503: {"model": Health}}

    @routes.get("/healthz", responses=unwell)
    async def alive() -> JSONResponse:
        """Tell whether the loops make progress."""
        return _health_of(await agent.alive())

    @routes.get("/readyz", responses=unwell)
    async def ready() -> JSONResponse:
        """Tell whether answers rest on fresh data."""
        return _health_of(await agent.ready())

    return routes


def _health_of(health: Health) -> JSONResponse:
    status = HTTPStatus.OK if health.ok else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse(health.model_dump(mode="json"), status_code=status)


class OpenStreams:
    """How many streams are open."""

    def __init__(self) -> None:
        self.count = 0


async def _events(
    warned: AsyncGenerator[WarningRow, None], streams: OpenStreams
) -> AsyncIterator[str]:
    """Write warnings as events, and a comment where there was none for a while."""
    streams.count += 1
    waiting: asyncio.Task[WarningRow] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(warned))
            done, _ = await asyncio.wait({waiting}, timeout=SILENCE_S)
            if not done:
                yield ": nothing yet\n\n"
                continue
            row, waiting = waiting.result(), None
            yield f"id: {row.sequence}\nevent: warning\ndata: {row.model_dump_json()}\n\n"
    except StopAsyncIteration:
        return
    finally:
        streams.count -= 1
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await warned.aclose()
