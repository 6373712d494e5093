"""What stands before a misbehaving exchange's answers: no connection, 403, 429, 502, garbage."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from aiohttp import web

from relayer.local.faults import VenueMode
from relayer.local.venue import Venue

GARBAGE: Final = '{"code":"0","data":[{"instId":"'
_PAGE: Final = "<html><body>{}</body></html>"
_MONOTONIC: Final = time.monotonic


class Gate:
    """The one way into a venue, for requests and for new streams alike."""

    def __init__(self, venue: Venue, wall: Callable[[], float] = _MONOTONIC) -> None:
        self._venue = venue
        self._wall = wall
        self._calls: deque[float] = deque()  # of the last second

    async def refusal(self, request: web.Request) -> web.Response | None:
        """Give the answer that comes instead of the venue's, or None; slow ones wait here."""
        venue, now = self._venue, self._venue.clock_ms()
        if venue.is_(VenueMode.DOWN):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
        slow = venue.faults.active(VenueMode.SLOW, None, now)
        if slow is not None:
            await asyncio.sleep(slow.delay_s)
        if venue.is_(VenueMode.BANNED):
            return web.Response(status=403, text=_PAGE.format("banned"), content_type="text/html")
        if venue.is_(VenueMode.BROKEN):
            return web.Response(status=502, text=_PAGE.format("502"), content_type="text/html")
        limited = venue.faults.active(VenueMode.LIMITED, None, now)
        if limited is not None and not self._has_room(limited.rate):
            body = {"code": "50011", "data": [], "msg": "Too Many Requests"}
            return web.json_response(body, status=429, headers={"Retry-After": "1"})
        if venue.is_(VenueMode.GARBAGE):
            return web.Response(text=GARBAGE, content_type="application/json")
        return None

    def _has_room(self, rate: float) -> bool:
        """Count a call, and tell whether the last second had fewer than allowed."""
        wall = self._wall()
        while self._calls and self._calls[0] <= wall - 1:
            self._calls.popleft()
        if len(self._calls) >= rate:
            return False
        self._calls.append(wall)
        return True
