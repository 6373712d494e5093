"""The world as the loops see it: contracts, venues and local history, at one instant."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from agent.ports import Clock
from agent.snapshot import Feed, Limits, MarketHistory, Observation
from agent.triggers import Posted
from contracts.envelope import Configuration
from contracts.messages import Domain
from contracts.price_feed import FeedState, MarketPrice
from contracts.units import MarketId, UnixMs, UnixS
from models.features import BookDepth
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.reads import ChainState, read_chain, read_feed
from relayer.chain.requests import OBSERVED_AFTER_MS, RequestWatch, WaitingRequest
from relayer.chain.values import Deployment
from relayer.errors import StorageFailed
from relayer.market.aggregate import AggregationRules, ConversionRate, NoMark, conversion_rates
from relayer.market.book_measures import BookMeasures
from relayer.market.depth import depth_within
from relayer.market.feeds import FeedRules, FeedWatch
from relayer.market.history import HistoryStore
from relayer.market.records import RecordKind
from relayer.market.values import E18, SETTLEMENT_CURRENCY, Book, Market, QuoteRound
from relayer.market.venues import VenuePool

FUNDING_A_CYCLE = 5  # markets whose settled funding is asked for in one cycle
BOOK_STALE_MS = 30_000  # an older book says nothing of what may be sold into it now

SeenBook = tuple[BookDepth | None, BookMeasures | None]
NO_BOOK: SeenBook = (None, None)
Rates = Mapping[str, ConversionRate | NoMark]


class LiveWorld:
    """The `World` port over one endpoint, the venue pool and the history store."""

    def __init__(
        self,
        chain: tuple[ChainEndpoint, Deployment],
        pool: VenuePool,
        history: HistoryStore,
        clock: Clock,
        rules: tuple[AggregationRules, FeedRules],
    ) -> None:
        self._endpoint, self._deployment = chain
        self._pool = pool
        self._history = history
        self._clock = clock
        self._rules, feeds = rules
        self._feeds = FeedWatch(rules=feeds)
        margin = self._deployment.margin
        self._requests = RequestWatch(self._endpoint, margin.desk) if margin else None

    async def feed(self) -> Feed:
        """Read the price feed at one block."""
        reading = await read_feed(self._endpoint, self._deployment)
        feed = feed_of(self._endpoint.chain_id, self._deployment, reading.feed)
        if self._requests is None:
            return feed
        now_ms = await self._clock.now_ms()
        requests = await self._requests.waiting(now_ms)
        return replace(feed, waiting=needed_since(requests, now_ms))

    async def quotes(self) -> QuoteRound:
        """Ask every venue for its quotes; a venue that repeats itself is refused."""
        asked = await self._pool.quotes()
        taken, self._feeds = self._feeds.believed(asked)
        self._pool.count_refused(taken.refused[len(asked.refused) :])
        return taken

    async def observe(self) -> Observation:
        """Bring history and books up to now, then take chain and quotes together.

        Quotes come last: they are what goes stale while a slow venue is waited for.
        """
        filled = await self._history.fill(self._pool, await self._clock.now_ms())
        books = await self._pool.books([market.market for market in self._pool.markets])
        await self._keep(books.books, await self._clock.now_ms())
        state, quotes = await asyncio.gather(
            read_chain(self._endpoint, self._deployment), self.quotes()
        )
        as_of_ms = await self._clock.now_ms()
        rates = conversion_rates(quotes.stablecoins, as_of_ms, self._rules)
        seen = {
            book.market: (depth_of(book, rates), self._pool.measures(book))
            for book in books.books
            if as_of_ms - book.observed_at_ms <= BOOK_STALE_MS
        }
        return Observation(
            as_of_ms=as_of_ms,
            limits=limits_of(self._deployment, state),
            quotes=quotes,
            rules=self._rules,
            histories=tuple(
                self._history_of(market, as_of_ms, seen.get(market.market, NO_BOOK))
                for market in self._pool.markets
            ),
            notices=(
                *(f"{f.venue}: {f.reason}: {f.detail}" for f in (*quotes.faults, *books.faults)),
                *(f"{q.venue} market {q.market}: {q.reason}" for q in quotes.refused),
                *(f"history of {f.symbol}: {f.reason}: {f.detail}" for f in filled.faults),
            ),
        )

    async def _keep(self, books: Sequence[Book], now_ms: int) -> None:
        """Keep depth, trades and funding; what a disk or venue refuses must not hold a cycle."""
        log = structlog.get_logger("aml")
        try:
            records = self._history.records(now_ms)
            records.add_books(books)
            for market in self._pool.markets:
                number = market.market
                records.add_trades(number, self._pool.trades(number), now_ms)
                forced = self._pool.liquidations(number)
                records.add_trades(number, forced, now_ms, RecordKind.FORCED)
            for fault in await records.fill_funding(self._pool, now_ms, FUNDING_A_CYCLE):
                log.info("funding_not_fetched", detail=str(fault))
            records.settle(now_ms)
        except StorageFailed as refused:
            log.warning("records_not_stored", detail=str(refused))

    def _history_of(self, market: Market, as_of_ms: int, seen: SeenBook) -> MarketHistory:
        """Take one market's closed bars, and what its book said."""
        window = self._history.window(market.market, as_of_ms)
        return MarketHistory(
            market=market.market,
            symbol=market.symbol,
            hours=window.hours,
            minutes=window.minutes,
            depth=seen[0],
            book=seen[1],
        )


def depth_of(book: Book, rates: Rates) -> BookDepth | None:
    """Give a book's depth in USDC; None where its currency cannot be converted."""
    rate = rates.get(book.quote_currency)
    if book.quote_currency != SETTLEMENT_CURRENCY and not isinstance(rate, ConversionRate):
        return None
    factor = rate.value_e18 / E18 if isinstance(rate, ConversionRate) else 1.0
    bids, asks = depth_within(book)
    b10, b25, b50, b100 = (value * factor for value in bids)
    a10, a25, a50, a100 = (value * factor for value in asks)
    return BookDepth(bid_usdc=(b10, b25, b50, b100), ask_usdc=(a10, a25, a50, a100))


def feed_of(chain_id: int, deployment: Deployment, state: FeedState) -> Feed:
    """Give the feed's prices as the triggers read them."""
    domain = domain_of(chain_id, deployment.price_feed, state.config)
    return Feed(
        domain=domain,
        round=state.latest_round,
        posted=tuple(posted_of(market) for market in state.markets),
    )


def domain_of(chain_id: int, contract: str, config: Configuration) -> Domain:
    """Give the domain that a contract's messages are signed in now."""
    return Domain(chain_id=chain_id, contract=contract, config_digest=config.config_digest)


def posted_of(market: MarketPrice) -> Posted | None:
    """Give one market's last accepted price, or None before the first."""
    if not market.has_price:
        return None
    return Posted(
        price_e18=market.price_e18,
        observed_at_ms=market.observed_at_ms,
        unconfirmed=market.unconfirmed,
    )


def limits_of(deployment: Deployment, state: ChainState) -> Limits:
    """Give what the plans start from."""
    return Limits(
        domain=domain_of(state.chain_id, deployment.risk_oracle, state.oracle.config),
        block_number=state.block_number,
        timestamp_s=UnixS(state.timestamp_s),
        round=state.oracle.latest_round,
        controls=state.oracle.controls,
        bounds=state.oracle.bounds,
        states=state.oracle.markets,
        feed=feed_of(state.chain_id, deployment, state.feed),
    )


def needed_since(requests: Sequence[WaitingRequest], now_ms: int) -> dict[MarketId, UnixMs]:
    """Give the instant from which each market's price serves all requests that it can serve now."""
    needed: dict[MarketId, UnixMs] = {}
    for request in requests:
        since_ms = UnixMs(request.requested_at_ms + OBSERVED_AFTER_MS)
        if since_ms <= now_ms:
            needed[request.market] = max(since_ms, needed.get(request.market, since_ms))
    return needed
