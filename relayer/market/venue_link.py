"""The connection to one exchange: ccxt's client, loaded once, asked in time and within limits."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import ccxt.async_support as ccxt
import ccxt.pro as ccxt_streams

from contracts.units import MarketId
from relayer.errors import Misconfigured, RateLimited, RelayerError, Unreachable, fault_reason
from relayer.market.asking import Cooldown, retry_after, translated, within
from relayer.market.dialects import dialect_of
from relayer.market.settings import VenueSettings
from relayer.market.values import Listing, Market, VenueFault

OPEN_TIMEOUT_S: Final = 20.0  # loading a venue's markets: megabytes on the large ones
SLOW_LANE: Final = 4  # calls for one market that may wait in ccxt's queue before a tick's calls

# A contract of several units says so in its name: 1000PEPE, 1MBABYDOGE, kBONK.
_SEVERAL: Final = re.compile(r"(?P<thousands>1(?:0{3})+)(?=[A-Z])|(?P<millions>1M)(?=[A-Z]{3})")

Answer = TypeVar("Answer")


class VenueLink:
    """One venue: ccxt's client and the markets of ours that it lists."""

    def __init__(
        self,
        settings: VenueSettings,
        markets: Sequence[Market],
        exchange: Any | None = None,  # noqa: ANN401 - ccxt is untyped
    ) -> None:
        self.settings = settings
        self.id = settings.id
        self.listings = {
            market.market: listing
            for market in markets
            if (listing := market.listing(settings.id)) is not None
        }
        made = exchange_class(settings)(settings.ccxt_config()) if exchange is None else exchange
        self.exchange: Any = made
        self._loading: asyncio.Task[None] | None = None
        self._cooldown = Cooldown()
        # ccxt queues calls first come, first served: hundreds of candle calls at once would make
        # the next tick wait until its quotes are stale.
        self._slow_lane = asyncio.Semaphore(SLOW_LANE)

    @property
    def symbols(self) -> list[str]:
        """List our markets as the venue names them."""
        return [listing.symbol for listing in self.listings.values()]

    @property
    def limited_s(self) -> float:
        """How long the venue is left alone, since it said that it was asked too often."""
        return self._cooldown.left_s

    def contract_size(self, market: MarketId) -> float:
        """Give how many priced units one contract of a market is."""
        found: Mapping[str, Any] = self.exchange.markets[self.listings[market].symbol]
        return found.get("contractSize") or 1.0

    def can(self, capability: str) -> bool:
        """Tell whether ccxt offers a call for this venue, emulated calls not counted."""
        private = capability in dialect_of(self.settings.ccxt_class).private
        return not private and self.exchange.has.get(capability) is True

    async def load(self) -> None:
        """Load the venue's markets once; raises what `translate_ccxt` says, or Misconfigured.

        The loading goes on when who waits for it gives up, so that a slow venue joins later.
        """
        failed = self._loading is not None and self._loading.done() and _failed(self._loading)
        if self._loading is None or failed:
            self._loading = asyncio.create_task(self._load())
        await asyncio.shield(self._loading)

    async def close(self) -> None:
        """Close the connection."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        await self.exchange.close()

    async def _load(self) -> None:
        """Load the markets and look for ours among them."""
        await self.polite(lambda: within(self.exchange.load_markets(), OPEN_TIMEOUT_S, self.id))
        known = self.exchange.markets
        wrong = [listing_fault(self.id, each, known) for each in self.listings.values()]
        spot = self.settings.stablecoin_symbol
        if spot is not None and spot not in known:
            wrong.append(nearest(f"venue {self.id} lists no {spot}", spot, known))
        if any(wrong):
            raise Misconfigured("; ".join(each for each in wrong if each is not None))

    async def ask(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """Await ccxt within the venue's time, unless it is to be left alone."""
        return await self.polite(lambda: within(call(), self.settings.timeout_s, self.id))

    async def polite(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask, unless the venue is to be left alone; listen when it says so."""
        self._cooldown.require(self.id)
        try:
            answer = await translated(call())
        except RelayerError as fault:
            asked_s = retry_after(self.exchange.last_response_headers)
            if asked_s is None and not isinstance(fault, RateLimited):
                raise
            # ccxt takes some venues' 429 for another error; only a limit says when to come back.
            self._cooldown.limited(asked_s)
            raise RateLimited(str(fault), retry_after_s=asked_s) from fault
        self._cooldown.answered()
        return answer

    @asynccontextmanager
    async def lane(self, away: set[str]) -> AsyncIterator[None]:
        """Take a turn for a call about one market, unless this venue is among those away.

        The first call that gets no answer puts it there: the markets behind it do not wait too.
        """
        async with self._slow_lane:
            if self.id in away:
                raise Unreachable(f"{self.id}: passed over, it did not answer a moment ago")
            try:
                await within(self.load(), self.settings.timeout_s, self.id)
                yield
            except (Unreachable, RateLimited):
                away.add(self.id)
                raise


def exchange_class(settings: VenueSettings) -> type[ccxt.Exchange]:
    """Find ccxt's class; raises Misconfigured with the nearest name, or when it has no streams."""
    name = settings.ccxt_class
    if name not in ccxt.exchanges:
        message = f"venue {settings.id}: ccxt has no exchange {name}"
        raise Misconfigured(nearest(message, name, ccxt.exchanges))
    if name in ccxt_streams.exchanges:
        streaming: type[ccxt.Exchange] = getattr(ccxt_streams, name)
        return streaming
    if settings.streams:
        raise Misconfigured(f"venue {settings.id}: ccxt has no websockets for {name}; streams = []")
    found: type[ccxt.Exchange] = getattr(ccxt, name)
    return found


def listing_fault(venue: str, listing: Listing, known: Mapping[str, Any]) -> str | None:
    """Say why a listing is not what its venue calls by that name, or None."""
    symbol = listing.symbol
    if symbol not in known:
        return nearest(f"venue {venue} lists no {symbol}", symbol, known)
    found: Mapping[str, Any] = known[symbol]
    quote = found.get("quote", listing.quote_currency)
    if quote != listing.quote_currency:
        return (
            f"venue {venue}: {symbol} is quoted in {quote}, the configuration says "
            f'{listing.quote_currency}; quote_currency = "{quote}"'
        )
    if found.get("inverse") is True:
        return f"venue {venue}: {symbol} is an inverse contract, whose size is in {quote}"
    units = units_in_name(str(found.get("base", "")))
    if units not in (1, listing.multiplier):
        return f"venue {venue}: {symbol} is {units} units a piece; multiplier = {units}"
    return None


def units_in_name(base: str) -> int:
    """Read how many units one piece is from a contract's name; 1 where it does not say."""
    found = _SEVERAL.match(base)
    if found is None:
        return 1
    return 1_000_000 if found["millions"] else int(found["thousands"])


def nearest(message: str, name: str, known: Collection[str]) -> str:
    """Add the nearest known name to a message."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"{message}; did you mean {near[0]}?" if near else message


def venue_fault(venue: str, error: RelayerError) -> VenueFault:
    """Write an exception as a value."""
    return VenueFault(venue=venue, reason=fault_reason(error), detail=str(error))


def _failed(task: asyncio.Task[None]) -> bool:
    """Tell whether a task that is done ended without its work done."""
    return task.cancelled() or task.exception() is not None
