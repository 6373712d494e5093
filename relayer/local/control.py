"""The control port: the clock, the list of markets, and the venues' switches."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import web

from relayer.local.clock import WorldClock
from relayer.local.errors import ScenarioError
from relayer.local.faults import Fault, VenueMode
from relayer.local.scenario import faults_of, parse_scenario
from relayer.local.state import WorldState
from relayer.local.venue import Venue

MAX_WAIT_S: Final = 30.0
DEFAULT_LEASE_S: Final = 30.0


class Control:
    """Handlers of the control port; a bad request answers 400 with the reason."""

    def __init__(
        self, clock: WorldClock, venues: Sequence[Venue], state: Callable[[], WorldState]
    ) -> None:
        self._clock = clock
        self._venues = venues
        self._state = state

    def application(self) -> web.Application:
        """Build the HTTP application."""
        application = web.Application()
        application.router.add_get("/status", self._status)
        application.router.add_get("/markets", self._markets)
        application.router.add_get("/clock", self._read)
        application.router.add_get("/clock/wait", self._wait)
        application.router.add_post("/clock/hold", self._hold)
        application.router.add_post("/clock/renew", self._renew)
        application.router.add_post("/clock/release", self._release)
        application.router.add_post("/clock/advance", self._advance)
        application.router.add_post("/control/venue/{index}", self._switch)
        application.router.add_post("/control/scenario", self._play)
        application.router.add_get("/control/faults", self._faults)
        return application

    async def _status(self, _request: web.Request) -> web.Response:
        """Answer what is in the state file, and the clock."""
        state = dataclasses.asdict(self._state())
        return web.json_response({**state, "clock": dataclasses.asdict(self._clock.read())})

    async def _markets(self, _request: web.Request) -> web.Response:
        """List the markets with their ids."""
        markets = [dataclasses.asdict(market) for market in self._state().markets]
        return web.json_response(markets)

    async def _read(self, _request: web.Request) -> web.Response:
        return web.json_response(dataclasses.asdict(self._clock.read()))

    async def _wait(self, request: web.Request) -> web.Response:
        """Answer when the clock shows `until_ms`, or after `timeout_s` at most."""
        until_ms = int(_number(request.query, "until_ms"))
        timeout_s = min(_number(request.query, "timeout_s", MAX_WAIT_S), MAX_WAIT_S)
        now_ms = await self._clock.wait_until(until_ms, timeout_s)
        return web.json_response({"now_ms": now_ms})

    async def _hold(self, request: web.Request) -> web.Response:
        """Stop the clock for `lease_s` or until released."""
        body = await _body(request)
        lease = self._clock.hold(_number(body, "lease_s", DEFAULT_LEASE_S))
        return web.json_response({"lease": lease, "now_ms": self._clock.now_ms()})

    async def _renew(self, request: web.Request) -> web.Response:
        body = await _body(request)
        alive = self._clock.renew(str(body.get("lease")), _number(body, "lease_s", DEFAULT_LEASE_S))
        return web.json_response({"alive": alive, "now_ms": self._clock.now_ms()})

    async def _release(self, request: web.Request) -> web.Response:
        alive = self._clock.release(str((await _body(request)).get("lease")))
        return web.json_response({"alive": alive, "now_ms": self._clock.now_ms()})

    async def _advance(self, request: web.Request) -> web.Response:
        """Move the clock on to `to_ms`; tests and demos drive a manual clock with it."""
        self._clock.advance_to(int(_number(await _body(request), "to_ms")))
        return web.json_response({"now_ms": self._clock.now_ms()})

    async def _switch(self, request: web.Request) -> web.Response:
        """Make a venue, or one market of it, misbehave."""
        index = request.match_info["index"]
        if not index.isdigit() or int(index) >= len(self._venues):
            raise _bad(f"venue {index}: there are 0 to {len(self._venues) - 1}")
        body = await _body(request)
        symbol = body.get("symbol")
        known = self._venues[int(index)].symbols
        if symbol is not None and symbol not in known:
            raise _bad(f"symbol {symbol}: known are {', '.join(known)}")
        try:
            mode = VenueMode(str(body.get("mode")))
        except ValueError:
            raise _bad(f"mode {body.get('mode')}: one of {', '.join(VenueMode)}") from None
        fault = Fault(
            mode=mode,
            since_ms=self._clock.now_ms(),
            symbol=symbol,
            factor=_number(body, "factor", 1.3),
            delay_s=_number(body, "delay_s", 5.0),
            skew_ms=int(_number(body, "skew_ms", 0)),
            rate=_number(body, "rate", 0),
            name=str(body.get("name", "RENAMED")),
        )
        self._venues[int(index)].faults.set_fault(symbol, fault)
        self._clock.wake()
        return web.json_response({"venue": int(index), "symbol": symbol, "mode": mode})

    async def _play(self, request: web.Request) -> web.Response:
        """Start a scenario now, in place of the one before."""
        body = await _body(request)
        try:
            steps = parse_scenario(body, len(self._venues), self._venues[0].symbols)
        except ScenarioError as fault:
            raise _bad(str(fault)) from None
        for venue in self._venues:
            venue.faults.play(faults_of(steps, venue.index, self._clock.now_ms()))
        self._clock.wake()
        return web.json_response({"steps": len(steps), "now_ms": self._clock.now_ms()})

    async def _faults(self, _request: web.Request) -> web.Response:
        """List what each venue does wrong now."""
        now = self._clock.now_ms()
        found = [
            {"venue": venue.index, **dataclasses.asdict(fault)}
            for venue in self._venues
            for fault in venue.faults.now(now)
        ]
        return web.json_response({"now_ms": now, "faults": found})


async def _body(request: web.Request) -> dict[str, Any]:
    """Read a JSON object; an empty body is an empty one."""
    try:
        body = json.loads(await request.text() or "{}")
    except ValueError:
        raise _bad("the body is no JSON") from None
    if not isinstance(body, dict):
        raise _bad("the body is no JSON object")
    return body


def _number(fields: Any, name: str, default: float | None = None) -> float:  # noqa: ANN401 — a query or a body
    """Read a number."""
    value = fields.get(name, default)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _bad(f"{name} must be a number, not {value!r}") from None


def _bad(reason: str) -> web.HTTPBadRequest:
    """Answer 400 with the reason."""
    return web.HTTPBadRequest(text=json.dumps({"error": reason}), content_type="application/json")
