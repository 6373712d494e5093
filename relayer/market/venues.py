"""Several exchanges through unmodified ccxt, asked at once; none that is down blocks another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from contracts.units import MarketId, UnixMs
from relayer.errors import Misconfigured, RelayerError, Unreachable
from relayer.market.agreement import COMPARED_BARS, CandlePage, is_settled, settle
from relayer.market.book_measures import BookMeasures, measure
from relayer.market.derivatives import OpenInterest
from relayer.market.records import FundingRate
from relayer.market.settings import VenueSettings
from relayer.market.standings import Standings
from relayer.market.tapes import Liquidation, Trade
from relayer.market.values import (
    Book,
    CandleSeries,
    Market,
    QuoteRound,
    RefusedQuote,
    VenueFault,
)
from relayer.market.venue_client import CandleAsk, VenueClient
from relayer.market.venue_link import nearest, venue_fault

Answer = TypeVar("Answer")
Rates = tuple[FundingRate, ...]


class TimeSource(Protocol):
    """The clock that everything counts in."""

    async def now_ms(self) -> UnixMs:
        """Give the time in milliseconds since 1970."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRound:
    """The books that were asked for, one a market, and the venues that failed on the way."""

    books: tuple[Book, ...]
    faults: tuple[VenueFault, ...]
    taken_at_ms: UnixMs


class VenuePool:
    """All venues; opened once, closed once, asked together."""

    def __init__(
        self,
        venues: Sequence[VenueSettings],
        markets: Sequence[Market],
        clock: TimeSource,
        connect: Callable[[VenueSettings, Sequence[Market]], VenueClient] = VenueClient,
    ) -> None:
        known = {venue.id for venue in venues}
        for listing in (each for market in markets for each in market.listings):
            if listing.venue not in known:
                raise Misconfigured(nearest(f"no venue {listing.venue}", listing.venue, known))
        self._markets = {market.market: market for market in markets}
        self._clock = clock
        self._venues = {venue.id: connect(venue, markets) for venue in venues}
        self._standings = Standings(self._markets)

    @property
    def markets(self) -> tuple[Market, ...]:
        """List the markets, in the order they were given."""
        return tuple(self._markets.values())

    @property
    def venues(self) -> tuple[VenueClient, ...]:
        """List the venues, in the order they were given."""
        return tuple(self._venues.values())

    async def open(self) -> tuple[VenueFault, ...]:
        """Load every venue's markets; one that is down is a fault now and is loaded later.

        Then compares the venues: a listing that means another unit or asset is set aside, which
        is a fault too, until its prices agree with the others'.
        Raises Misconfigured when a venue does not list a configured symbol.
        """
        outcomes = await asyncio.gather(
            *(venue.load() for venue in self._venues.values()), return_exceptions=True
        )
        faults = []
        for venue, outcome in zip(self._venues, outcomes, strict=True):
            if isinstance(outcome, Misconfigured) or not isinstance(outcome, RelayerError | None):
                await self.close()
                raise outcome
            if outcome is not None:
                faults.append(venue_fault(venue, outcome))
        down = {fault.venue for fault in faults}
        return (*faults, *await self._compare([v for v in self.venues if v.id not in down]))

    async def close(self) -> None:
        """Close every venue's connection."""
        await asyncio.gather(*(venue.close() for venue in self._venues.values()))

    async def quotes(self) -> QuoteRound:
        """Ask every venue at once; answers, refusals and faults, never an exception of a venue."""
        received_at_ms = await self._clock.now_ms()
        answers = await asyncio.gather(
            *(venue.answer(received_at_ms) for venue in self._venues.values())
        )
        quotes = [quote for each in answers for quote in each.quotes]
        refused = [quote for each in answers for quote in each.refused]
        believed, apart = self._standings.believed(quotes), self._standings.refusals()
        self.count_refused(apart)
        return QuoteRound(
            quotes=believed,
            stablecoins=tuple(quote for each in answers for quote in each.stablecoins),
            refused=(*refused, *apart),
            faults=tuple(fault for each in answers for fault in each.faults),
            taken_at_ms=received_at_ms,
        )

    def count_refused(self, refused: Iterable[RefusedQuote]) -> None:
        """Count quotes that were refused for what other venues say."""
        for quote in refused:
            self._venues[quote.venue].events.refused(quote.venue, quote.reason)

    async def _compare(self, loaded: Sequence[VenueClient]) -> tuple[VenueFault, ...]:
        """Compare the venues once at start, prices first, then sizes at those prices."""
        taken = await self.quotes()
        self._standings.judge(taken.quotes)
        sizes, faults = await _sizes(loaded)
        self._standings.judge_sizes(sizes, taken.quotes)
        return (*faults, *self._standings.faults())

    async def books(self, markets: Sequence[MarketId]) -> BookRound:
        """Give one book a market, from the first of its venues that answers, or streams it.

        A venue that once does not answer in time is passed over for the other markets.
        """
        taken_at_ms = await self._clock.now_ms()
        away: set[str] = set()
        outcomes = await asyncio.gather(
            *(self._book(market, away, taken_at_ms) for market in markets)
        )
        return BookRound(
            books=tuple(book for book, _ in outcomes if book is not None),
            faults=tuple(fault for _, faults in outcomes for fault in faults),
            taken_at_ms=taken_at_ms,
        )

    def measures(self, book: Book) -> BookMeasures:
        """Read off a book what it says besides its depth."""
        return measure(book, self._venues[book.venue].resiliency(book.market))

    async def candles(
        self, market: MarketId, bar_ms: int, since_ms: int, limit: int, away: set[str]
    ) -> CandlePage:
        """Ask for one page of closed bars that two of the market's venues agree on.

        A market that one venue alone lists is believed that venue. `away` holds the venues to
        pass over, and those are added that do not answer in time.
        Raises Unreachable when too few venues answer to agree, with what each said.
        """
        needed = min(2, len(self._markets[market].listings))
        lead = max(0, COMPARED_BARS - limit) if needed > 1 else 0
        ask = CandleAsk(
            bar_ms=bar_ms,
            since_ms=since_ms - lead * bar_ms,
            limit=limit + lead,
            now_ms=await self._clock.now_ms(),
        )
        answers: list[CandleSeries] = []
        said: list[str] = []
        waiting = list(self.order(market))
        while waiting and not is_settled(answers, needed, since_ms):
            count = max(1, needed - len(answers))
            asked, waiting = waiting[:count], waiting[count:]
            clients = [self._venues[venue] for venue in asked]
            for venue, answer in await _pages(clients, market, ask, away):
                if isinstance(answer, VenueFault):
                    said.append(f"{venue}: {answer.detail}")
                else:
                    said.append(f"{venue}: {len(answer)} bars")
                    answers.append(answer)
        if len(answers) < max(1, needed):
            raise Unreachable(f"unconfirmed candles of market {market}: {'; '.join(said)}")
        return settle(answers, needed, since_ms, "; ".join(said))

    async def funding_history(self, market: MarketId, since_ms: int, limit: int) -> Rates:
        """Ask for the rates settled since a time; raises Unreachable when no venue answers."""
        found, faults = await self._first(
            market, lambda venue: venue.reads.funding_history(market, since_ms, limit)
        )
        if found is None:
            raise Unreachable(f"settled funding of market {market}: {_said(faults)}")
        return found

    def trades(self, market: MarketId) -> tuple[Trade, ...]:
        """Give the trades that the market's streams keep, venue by venue."""
        tapes = (venue.streams.happened.tapes.get(market) for venue in self._venues.values())
        return tuple(trade for tape in tapes if tape is not None for trade in tape.trades)

    def liquidations(self, market: MarketId) -> tuple[Liquidation, ...]:
        """Give the liquidations of a market that its streams keep, venue by venue."""
        kept = (each for venue in self.venues for each in venue.streams.happened.liquidations)
        return tuple(each for each in kept if each.market == market)

    async def _book(
        self, market: MarketId, away: set[str], now_ms: int
    ) -> tuple[Book | None, list[VenueFault]]:
        """Ask for one market's book."""

        def ask(venue: VenueClient) -> Awaitable[Book]:
            wrong = self._standings.size_fault(venue.id, market)
            if wrong is not None:
                raise Misconfigured(wrong)
            return venue.book(market, away, now_ms)

        return await self._first(market, ask)

    def order(self, market: MarketId) -> tuple[str, ...]:
        """Give the venues that list a market in the order they are asked.

        Rotated by the market's id: the load is spread, and a market keeps its venue.
        """
        listings = self._markets[market].listings
        venues = [
            each.venue for each in listings if not self._standings.is_apart(each.venue, market)
        ]
        first = market % max(1, len(venues))
        return tuple(venues[first:] + venues[:first])

    async def _first(
        self, market: MarketId, ask: Callable[[VenueClient], Awaitable[Answer]]
    ) -> tuple[Answer | None, list[VenueFault]]:
        """Ask one venue after the other until one answers."""
        faults: list[VenueFault] = []
        for venue in self.order(market):
            try:
                return await ask(self._venues[venue]), faults
            except RelayerError as fault:
                faults.append(venue_fault(venue, fault))
        return None, faults


async def _sizes(
    venues: Sequence[VenueClient],
) -> tuple[list[OpenInterest], list[VenueFault]]:
    """Ask several venues at once for the open interest of each of their markets."""
    outcomes = await asyncio.gather(
        *(venue.reads.open_interests() for venue in venues), return_exceptions=True
    )
    sizes: list[OpenInterest] = []
    faults: list[VenueFault] = []
    for venue, outcome in zip(venues, outcomes, strict=True):
        if isinstance(outcome, RelayerError):
            faults.append(venue_fault(venue.id, outcome))
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            sizes += outcome
    return sizes, faults


async def _pages(
    venues: Sequence[VenueClient], market: MarketId, ask: CandleAsk, away: set[str]
) -> list[tuple[str, CandleSeries | VenueFault]]:
    """Ask several venues for the same page at once."""

    async def one(venue: VenueClient) -> tuple[str, CandleSeries | VenueFault]:
        try:
            page = await venue.candles(market, ask, away)
        except RelayerError as fault:
            return venue.id, venue_fault(venue.id, fault)
        return venue.id, page.between(ask.since_ms, ask.since_ms + ask.limit * ask.bar_ms)

    return list(await asyncio.gather(*(one(venue) for venue in venues)))


def _said(faults: Sequence[VenueFault]) -> str:
    """Say what each venue said."""
    return "; ".join(f"{fault.venue}: {fault.detail}" for fault in faults)
