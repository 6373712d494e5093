"""Trades and liquidations as one exchange streams them, through unmodified ccxt."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from contracts.units import MarketId
from relayer.errors import BadAnswer
from relayer.market.dialects import dialect_of
from relayer.market.events import MarketEvents, Repair
from relayer.market.parsing import reading
from relayer.market.settings import VenueSettings
from relayer.market.streams import Channel
from relayer.market.tapes import (
    KEPT_LIQUIDATIONS,
    Liquidation,
    Trade,
    TradeTape,
    parse_liquidation,
    parse_trade,
)
from relayer.market.values import Listing


class EventStreams:
    """What happened at one venue: the last trades of each market, and the last liquidations."""

    def __init__(
        self,
        exchange: Any,  # noqa: ANN401 - ccxt is untyped
        settings: VenueSettings,
        listings: Mapping[MarketId, Listing],
        events: MarketEvents,
    ) -> None:
        self._exchange = exchange
        self._settings = settings
        self._listings = listings
        self._events = events
        self._by_symbol = {listing.symbol: market for market, listing in listings.items()}
        self.tapes = {market: TradeTape() for market in listings}
        self.liquidations: deque[Liquidation] = deque(maxlen=KEPT_LIQUIDATIONS)

    def channels(self) -> list[Channel]:
        """List what is configured and what ccxt says that the venue streams."""
        found: list[Channel] = []
        if "trades" in self._settings.streams:
            found += self._event_channels("trades", "watchTrades", self._take_trades)
        if "liquidations" in self._settings.streams:
            name, capability = "liquidations", "watchLiquidations"
            found += self._event_channels(name, capability, self._take_liquidations)
        return found

    def _event_channels(
        self, name: str, capability: str, take: Callable[[object], None]
    ) -> list[Channel]:
        """Follow all markets in one call where ccxt has it, else one by one, else not at all."""
        symbols = list(self._by_symbol)
        if self._has(f"{capability}ForSymbols"):
            watch = getattr(self._exchange, f"watch_{name}_for_symbols")
            return [_quiet(name, partial(watch, symbols), take)]
        if self._has(capability):
            watch = getattr(self._exchange, f"watch_{name}")
            return [_quiet(f"{name} of {each}", partial(watch, each), take) for each in symbols]
        return []

    def _has(self, capability: str) -> bool:
        return self._exchange.has.get(capability) is True

    def _take_trades(self, update: object) -> None:
        """Put new trades on their tapes."""
        for raw in _rows(update):
            self._take(raw, Repair.TRADE_REFUSED, parse_trade, self._keep_trade)

    def _take_liquidations(self, update: object) -> None:
        """Keep new liquidations."""
        named = dialect_of(self._settings.ccxt_class).liquidations_name_position
        parse = partial(parse_liquidation, names_position=named)
        for raw in _rows(update):
            self._take(raw, Repair.LIQUIDATION_REFUSED, parse, self.liquidations.append)

    def _take(
        self,
        raw: Any,  # noqa: ANN401 - ccxt is untyped
        refused: Repair,
        parse: Callable[..., Any],
        keep: Callable[[Any], None],
    ) -> None:
        """Parse one event of a market of ours and keep it; one that is none is counted."""
        try:
            with reading("an event"):
                market = self._by_symbol.get(raw["symbol"])
                size = self._exchange.markets[raw["symbol"]].get("contractSize") or 1.0
            if market is not None:
                keep(parse(self._listings[market], market, raw, size))
        except BadAnswer:
            self._events.repaired(self._settings.id, refused)

    def _keep_trade(self, trade: Trade) -> None:
        repair = self.tapes[trade.market].add(trade)
        # ccxt repeats what it keeps: a repeated trade is the rule there, so it is not counted.
        if repair is not None and repair is not Repair.TRADE_REPEATED:
            self._events.repaired(self._settings.id, repair)


def _quiet(
    name: str, watch: Callable[[], Awaitable[object]], take: Callable[[object], None]
) -> Channel:
    """Make a channel on which nothing may happen for long."""
    return Channel(name=name, watch=watch, take=take, may_be_quiet=True)


def _rows(update: object) -> list[Any]:
    """Read what a stream of events brought."""
    if not isinstance(update, list):
        raise BadAnswer(f"a list of events was expected, not {type(update).__name__}")
    return list(update)
