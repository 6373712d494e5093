"""Best bid, best ask and mark of many markets by REST, each with a stamp of the exchange's own.

Which call gives them differs from exchange to exchange (`dialects`); no stamp is ever made up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from relayer.errors import Misconfigured, RelayerError
from relayer.market.asking import translated
from relayer.market.dialects import QuoteCall, dialect_of
from relayer.market.parsing import Ticker, reading

TOP_LEVELS: Final = 20  # what is asked of a book whose best prices are wanted; OKX's smallest is 1
_BOOK_COST: Final = 2  # calls' worth that an order book costs in ccxt's rate limits, at most

Tickers = Mapping[str, Ticker]


class RestQuotes:
    """Asks one exchange for tickers and marks with the calls that carry its stamps."""

    def __init__(self, exchange: Any, symbols: Sequence[str], timeout_s: float) -> None:  # noqa: ANN401 - ccxt is untyped
        self._exchange = exchange
        self._symbols = list(symbols)
        self._timeout_s = timeout_s
        self._turn = 0
        self._tops: dict[str, Ticker] = {}  # what books said last; each keeps its own stamp

    async def tickers(self) -> Tickers:
        """Ask for bid, ask and time of our markets."""
        asks: dict[QuoteCall, Callable[[], Awaitable[Tickers]]] = {
            QuoteCall.TICKERS: self._plain,
            QuoteCall.BIDS_ASKS: self._bids_asks,
            QuoteCall.STAMPED_TICKERS: self._stamped,
            QuoteCall.BOOKS: self._books,
        }
        return await asks[dialect_of(self._exchange.id).quotes]()

    async def marks(self) -> Tickers:
        """Ask for the mark prices of our markets in one call, where the venue has it."""
        if self._exchange.has.get("fetchMarkPrices") is not True:
            return {}
        return await translated(self._exchange.fetch_mark_prices(self._symbols))

    async def _plain(self) -> Tickers:
        self._require("fetchTickers", "bulk tickers")
        return await translated(self._exchange.fetch_tickers(self._symbols))

    async def _bids_asks(self) -> Tickers:
        self._require("fetchBidsAsks", "bulk bids and asks")
        return await translated(self._exchange.fetch_bids_asks(self._symbols))

    async def _stamped(self) -> Tickers:
        self._require("fetchTickers", "bulk tickers")
        stamp_ms, rows = await _STAMPED[self._exchange.id](self._exchange)
        with reading("tickers"):
            found: Mapping[str, Any] = self._exchange.parse_tickers(rows, self._symbols)
            return {symbol: {**each, "timestamp": stamp_ms} for symbol, each in found.items()}

    async def _books(self) -> Tickers:
        """Ask for as many order books as the rate limit allows within the time, in turns.

        The other markets keep what their book said last, stamped as it was then.
        """
        self._require("fetchOrderBook", "order books")
        each_s = max(1, self._exchange.rateLimit) * _BOOK_COST / 1_000
        count = min(len(self._symbols), max(1, int(self._timeout_s / 2 / each_s)))
        asked = [self._symbols[(self._turn + n) % len(self._symbols)] for n in range(count)]
        self._turn = (self._turn + count) % len(self._symbols)
        outcomes = await asyncio.gather(
            *(translated(self._exchange.fetch_order_book(each, TOP_LEVELS)) for each in asked),
            return_exceptions=True,
        )
        failed = [each for each in outcomes if isinstance(each, BaseException)]
        if len(failed) == len(asked) or not all(isinstance(each, RelayerError) for each in failed):
            raise failed[0]
        for symbol, book in zip(asked, outcomes, strict=True):
            if not isinstance(book, BaseException):
                self._tops[symbol] = top_of(book)
        return dict(self._tops)

    def _require(self, capability: str, text: str) -> None:
        if self._exchange.has.get(capability) is not True:
            raise Misconfigured(f"ccxt's {self._exchange.id} has no {text}")


def top_of(book: Mapping[str, Any]) -> Ticker:
    """Take the best prices and the time of a book as ccxt gives it; a side may be empty."""
    with reading("an order book"):
        bids, asks = book["bids"], book["asks"]
        return {
            "bid": bids[0][0] if bids else None,
            "ask": asks[0][0] if asks else None,
            "timestamp": book["timestamp"],
        }


async def _bybit(exchange: Any) -> tuple[int, list[Any]]:  # noqa: ANN401
    """Ask for all linear perpetuals; `time` is when Bybit made the answer."""
    answer = await translated(exchange.public_get_v5_market_tickers({"category": "linear"}))
    with reading("tickers"):
        return int(answer["time"]), answer["result"]["list"]


async def _kraken(exchange: Any) -> tuple[int, list[Any]]:  # noqa: ANN401
    """Ask for all contracts; `serverTime` is when Kraken made the answer."""
    answer = await translated(exchange.public_get_tickers())
    with reading("tickers"):
        made = datetime.fromisoformat(answer["serverTime"])
        return int(made.timestamp() * 1_000), answer["tickers"]


_STAMPED: Final[Mapping[str, Callable[[Any], Awaitable[tuple[int, list[Any]]]]]] = {
    "bybit": _bybit,
    "krakenfutures": _kraken,
}
