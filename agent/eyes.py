"""Where signers look for themselves: own venues, bars, books, around a reading of the chain."""

from __future__ import annotations

from agent.ports import Clock
from agent.snapshot import Limits, MarketHistory, Observation
from agent.world import BOOK_STALE_MS, NO_BOOK, depth_of
from relayer.market.aggregate import AggregationRules, conversion_rates
from relayer.market.feeds import FeedRules, FeedWatch
from relayer.market.history import HistoryStore
from relayer.market.venues import VenuePool


class SignerEyes:
    """One pool of venues and one store of bars.

    A signer in a process of its own fills its own store. Signers in the daemon's process read the
    daemon's (`fills` False): closed bars are facts, and two writers of one store are not.
    """

    def __init__(
        self,
        pool: VenuePool,
        history: HistoryStore,
        clock: Clock,
        rules: tuple[AggregationRules, FeedRules],
        *,
        fills: bool,
    ) -> None:
        self._pool = pool
        self._history = history
        self._clock = clock
        self._rules, feeds = rules
        self._feeds = FeedWatch(rules=feeds)
        self._fills = fills

    async def observe(self, limits: Limits) -> Observation:
        """Bring bars and books up to now, then take the quotes: they are what goes stale."""
        if self._fills:
            await self._history.fill(self._pool, await self._clock.now_ms())
        books = await self._pool.books([market.market for market in self._pool.markets])
        quotes, self._feeds = self._feeds.believed(await self._pool.quotes())
        as_of_ms = await self._clock.now_ms()
        rates = conversion_rates(quotes.stablecoins, as_of_ms, self._rules)
        seen = {
            book.market: (depth_of(book, rates), self._pool.measures(book))
            for book in books.books
            if as_of_ms - book.observed_at_ms <= BOOK_STALE_MS
        }
        histories = []
        for market in self._pool.markets:
            window = self._history.window(market.market, as_of_ms)
            depth, book = seen.get(market.market, NO_BOOK)
            histories.append(
                MarketHistory(
                    market=market.market,
                    symbol=market.symbol,
                    hours=window.hours,
                    minutes=window.minutes,
                    depth=depth,
                    book=book,
                )
            )
        return Observation(
            as_of_ms=as_of_ms,
            limits=limits,
            quotes=quotes,
            rules=self._rules,
            histories=tuple(histories),
        )
