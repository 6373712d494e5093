"""What a venue can be asked for, as ccxt says it, and asking for it: never assumed, never emulated.

An exchange that lacks a thing answers None here; one that has it and fails raises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from contracts.units import MarketId
from relayer.errors import BadAnswer
from relayer.market.asking import within
from relayer.market.derivatives import (
    Funding,
    LeverageTier,
    OpenInterest,
    parse_funding,
    parse_open_interest,
    parse_tiers,
)
from relayer.market.dialects import dialect_of
from relayer.market.events import MarketEvents, Repair
from relayer.market.parsing import reading
from relayer.market.records import FundingRate, parse_rates
from relayer.market.tapes import Trade, parse_trade
from relayer.market.venue_link import VenueLink


class Capability(StrEnum):
    """What market data is made of."""

    BOOK = "book"
    TRADES = "trades"
    QUOTES = "quotes"
    MARK = "mark"
    CANDLES = "candles"
    FUNDING = "funding"
    OPEN_INTEREST = "open_interest"
    LIQUIDATIONS = "liquidations"
    TIERS = "tiers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How a venue gives one thing: ccxt's calls and streams of it, in the order we prefer them."""

    calls: tuple[str, ...]
    streams: tuple[str, ...]


REACHES: Final = {
    Capability.BOOK: Reach(calls=("fetchOrderBook",), streams=("watchOrderBook",)),
    Capability.TRADES: Reach(
        calls=("fetchTrades",), streams=("watchTradesForSymbols", "watchTrades")
    ),
    Capability.QUOTES: Reach(
        calls=("fetchBidsAsks", "fetchTickers"), streams=("watchTickers", "watchBidsAsks")
    ),
    Capability.MARK: Reach(calls=("fetchMarkPrices",), streams=("watchMarkPrices",)),
    Capability.CANDLES: Reach(calls=("fetchOHLCV",), streams=("watchOHLCV",)),
    Capability.FUNDING: Reach(
        calls=("fetchFundingRates", "fetchFundingRate"), streams=("watchFundingRates",)
    ),
    Capability.OPEN_INTEREST: Reach(calls=("fetchOpenInterests", "fetchOpenInterest"), streams=()),
    Capability.LIQUIDATIONS: Reach(
        calls=("fetchLiquidations",), streams=("watchLiquidationsForSymbols", "watchLiquidations")
    ),
    Capability.TIERS: Reach(calls=("fetchLeverageTiers", "fetchMarketLeverageTiers"), streams=()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Which of ccxt's calls and streams give a thing at one venue; None: none does."""

    call: str | None
    stream: str | None


def reached(can: Callable[[str], bool], capability: Capability) -> Reached:
    """Ask ccxt for the first call and the first stream that a venue has."""
    reach = REACHES[capability]
    return Reached(
        call=next((name for name in reach.calls if can(name)), None),
        stream=next((name for name in reach.streams if can(name)), None),
    )


class VenueReads:
    """Trades, funding, open interest and tiers of one venue, by REST."""

    def __init__(self, link: VenueLink, events: MarketEvents) -> None:
        self._link = link
        self._events = events

    def reached(self, capability: Capability) -> Reached:
        """Say how the venue gives a thing."""
        return reached(self._link.can, capability)

    async def trades(self, market: MarketId, limit: int) -> tuple[Trade, ...] | None:
        """Ask for a market's last trades; one that is none is left out and counted."""
        if not self._link.can("fetchTrades"):
            return None
        listing, exchange = self._link.listings[market], self._link.exchange
        rows = await self._loaded(lambda: exchange.fetch_trades(listing.symbol, None, limit))
        trades = []
        for raw in rows:
            try:
                trades.append(parse_trade(listing, market, raw, self._size(market)))
            except BadAnswer:
                self._events.repaired(self._link.id, Repair.TRADE_REFUSED)
        return tuple(trades)

    async def funding(self, market: MarketId) -> Funding | None:
        """Ask for a market's current funding rate."""
        raw = await self._of_market(market, "fetchFundingRates", "fetchFundingRate")
        if raw is None:
            return None
        if dialect_of(self._link.settings.ccxt_class).stamps_last_trade:
            raw = {**raw, "timestamp": None}  # a rate is not as old as the last trade
        return parse_funding(self._link.listings[market], market, raw)

    async def funding_history(
        self, market: MarketId, since_ms: int, limit: int
    ) -> tuple[FundingRate, ...]:
        """Ask for the rates settled since a time, oldest first; none where ccxt has no call."""
        if not self._link.can("fetchFundingRateHistory"):
            return ()
        listing, exchange = self._link.listings[market], self._link.exchange
        rows = await self._loaded(
            lambda: exchange.fetch_funding_rate_history(listing.symbol, since_ms, limit)
        )
        return parse_rates(listing, market, rows)

    async def open_interest(self, market: MarketId) -> OpenInterest | None:
        """Ask for a market's open interest."""
        raw = await self._of_market(market, "fetchOpenInterests", "fetchOpenInterest")
        if raw is None:
            return None
        return parse_open_interest(self._link.listings[market], market, raw, self._size(market))

    async def open_interests(self) -> tuple[OpenInterest, ...]:
        """Ask for all our markets' open interest, where one call gives it; else give none."""
        if not self._link.can("fetchOpenInterests"):
            return ()
        exchange, symbols = self._link.exchange, self._link.symbols
        answer = await self._loaded(lambda: exchange.fetch_open_interests(symbols))
        with reading("open interests"):
            given = {symbol: answer.get(symbol) for symbol in symbols}
        return tuple(
            parse_open_interest(listing, market, given[listing.symbol], self._size(market))
            for market, listing in self._link.listings.items()
            if given[listing.symbol] is not None
        )

    def _size(self, market: MarketId) -> float:
        return self._link.contract_size(market)

    async def tiers(self, market: MarketId) -> tuple[LeverageTier, ...] | None:
        """Ask for the venue's own leverage tiers of a market."""
        rows = await self._of_market(market, "fetchLeverageTiers", "fetchMarketLeverageTiers")
        return None if rows is None else parse_tiers(rows)

    async def _of_market(self, market: MarketId, bulk: str, single: str) -> Any | None:  # noqa: ANN401
        """Ask for one market alone where ccxt can, else pick it out of a bulk answer."""
        symbol, exchange = self._link.listings[market].symbol, self._link.exchange
        if self._link.can(single):
            return await self._loaded(lambda: getattr(exchange, single)(symbol))
        if not self._link.can(bulk):
            return None
        answer = await self._loaded(lambda: getattr(exchange, bulk)([symbol]))
        with reading(f"{bulk} of {symbol}"):
            return answer[symbol]

    async def _loaded(self, call: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401
        """Ask once the venue's markets are loaded."""
        await within(self._link.load(), self._link.settings.timeout_s, self._link.id)
        return await self._link.ask(call)
