"""OKX v5's public REST over one local exchange, in the shapes that unmodified ccxt reads.

Every answer carries the header `X-Synthetic`, which names what in it was made up by rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from aiohttp import web

from relayer.local.channels import TIMEFRAMES_MS
from relayer.local.gate import Gate
from relayer.local.okx_rows import (
    Row,
    book_row,
    candle_rows,
    funding_history_rows,
    funding_row,
    instrument_row,
    interest_row,
    mark_row,
    stablecoin_instrument,
    stablecoin_ticker,
    ticker_row,
    tier_rows,
    trade_rows,
)
from relayer.local.venue import Venue, View

SYNTHETIC_NOTE: Final = "spread, book, trades, mark, open interest and differences between venues"
MAX_CANDLES: Final = 300
Query = Mapping[str, str]


class OkxError(Exception):
    """An answer with OKX's own error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class OkxVenue:
    """The endpoints of one venue."""

    def __init__(self, venue: Venue, gate: Gate) -> None:
        self._venue = venue
        self._gate = gate
        self._endpoints: Mapping[str, Callable[[Query], list[Any]]] = {
            "public/time": self._time,
            "public/instruments": self._instruments,
            "public/mark-price": self._marks,
            "public/funding-rate": self._funding,
            "public/funding-rate-history": self._funding_history,
            "public/open-interest": self._open_interest,
            "public/position-tiers": self._tiers,
            "market/tickers": self._tickers,
            "market/ticker": self._ticker,
            "market/candles": self._candles,
            "market/history-candles": self._history_candles,
            "market/books": self._book,
            "market/books-full": self._book,
            "market/trades": self._trades,
            "market/history-trades": self._trades,
            "system/status": lambda _: [],
        }

    def add_to(self, application: web.Application) -> None:
        """Serve the endpoints."""
        application.router.add_get("/api/v5/{path:.*}", self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, or misbehave as told."""
        refusal = await self._gate.refusal(request)
        if refusal is not None:
            return refusal
        endpoint = self._endpoints.get(request.match_info["path"])
        if endpoint is None:
            body = {"code": "404", "data": [], "msg": "no such endpoint here"}
            return web.json_response(body, status=404)
        try:
            body = {"code": "0", "data": endpoint(request.query), "msg": ""}
        except OkxError as refused:
            body = {"code": refused.code, "data": [], "msg": refused.message}
        return web.json_response(body, headers={"X-Synthetic": SYNTHETIC_NOTE})

    # --- all markets --------------------------------------------------------------------------

    def _time(self, _query: Query) -> list[Row]:
        return [{"ts": str(self._venue.now_ms())}]

    def _instruments(self, query: Query) -> list[Row]:
        kind = query.get("instType")
        if kind == "SWAP":
            chosen = [each for each in self._venue.instruments if _is_chosen(query, each.inst_id)]
            return [instrument_row(each, live=self._venue.live(each)) for each in chosen]
        return stablecoin_instrument(self._venue) if kind == "SPOT" else []

    def _tickers(self, query: Query) -> list[Row]:
        kind = query.get("instType")
        if kind == "SPOT":
            return stablecoin_ticker(self._venue)
        return (
            [ticker_row(view, self._venue) for view in self._views(query)] if kind == "SWAP" else []
        )

    def _marks(self, query: Query) -> list[Row]:
        return [mark_row(view) for view in self._views(query)]

    def _open_interest(self, query: Query) -> list[Row]:
        return [interest_row(view) for view in self._views(query)]

    def _views(self, query: Query) -> list[View]:
        """Give what the venue shows of each market that is asked for."""
        shown = (
            self._venue.view(each)
            for each in self._venue.instruments
            if _is_chosen(query, each.inst_id)
        )
        return [view for view in shown if view is not None]

    # --- one market ---------------------------------------------------------------------------

    def _view(self, query: Query) -> View:
        """Give what the venue shows of the one market that is asked for."""
        listed = self._venue.find(_asked(query, "instId"))
        view = None if listed is None else self._venue.view(listed)
        if view is None:
            raise OkxError("51001", "Instrument ID or Spread ID doesn't exist.")
        return view

    def _ticker(self, query: Query) -> list[Row]:
        if query.get("instId") == "USDC-USDT":
            return stablecoin_ticker(self._venue)
        return [ticker_row(self._view(query), self._venue)]

    def _book(self, query: Query) -> list[Row]:
        return [book_row(self._view(query), _number(query, "sz", 1), self._venue)]

    def _trades(self, query: Query) -> list[Row]:
        return trade_rows(self._view(query), min(_number(query, "limit", 100), 500))

    def _funding(self, query: Query) -> list[Row]:
        view = self._view(query)
        return [funding_row(view, self._venue.funding)]

    def _funding_history(self, query: Query) -> list[Row]:
        after = _number(query, "after", np.iinfo(np.int64).max)
        before = _number(query, "before", 0)
        rows = funding_history_rows(self._view(query), self._venue.funding, before, after)
        return rows[: min(_number(query, "limit", 100), 400)]

    def _tiers(self, query: Query) -> list[Row]:
        family = _asked(query, "instFamily")
        listed = self._venue.find(f"{family}-SWAP")
        return [] if listed is None else tier_rows(listed)

    def _candles(self, query: Query) -> list[list[str]]:
        return self._bars(query, unconfirmed=True)

    def _history_candles(self, query: Query) -> list[list[str]]:
        return self._bars(query, unconfirmed=False)

    def _bars(self, query: Query, *, unconfirmed: bool) -> list[list[str]]:
        """List bars newest first: those that open after `before` and before `after`."""
        view = self._view(query)
        length = TIMEFRAMES_MS.get(query.get("bar", "1m"))
        if length is None:
            raise OkxError("51000", "Parameter bar error")
        count = min(_number(query, "limit", 100), MAX_CANDLES)
        newest = view.at_ms - view.at_ms % length
        last = min(newest, _floor(_number(query, "after", newest + 1) - 1, length))
        first = max(
            last - (count - 1) * length, _floor(_number(query, "before", -1), length) + length
        )
        bars = view.instrument.tape.bars(length, first, last + length, view.at_ms)
        venue = self._venue
        listed = view.instrument
        shown = [b for b in bars if (b.closed or unconfirmed) and venue.has_bar(listed, b)]
        return candle_rows(view, shown)


def _floor(at_ms: int, length: int) -> int:
    """Give the open time of the bar that a time lies in."""
    return at_ms - at_ms % length


def _is_chosen(query: Query, inst_id: str) -> bool:
    """Tell whether a request for many asks for this one."""
    return query.get("instId") in {None, inst_id}


def _asked(query: Query, name: str) -> str:
    """Read a parameter that must be there."""
    value = query.get(name)
    if not value:
        raise OkxError("50014", f"Parameter {name} can not be empty.")
    return value


def _number(query: Query, name: str, default: int) -> int:
    """Read a number, or its default."""
    value = query.get(name)
    if value is None:
        return int(default)
    if not value.lstrip("-").isdigit():
        raise OkxError("51000", f"Parameter {name} error")
    return int(value)
