"""What ccxt's `has` does not tell of an exchange: which of its calls and streams carry its stamps.

A quote needs best bid, best ask and the exchange's own time. All three come from different calls on
different exchanges; a class that is not named here is asked for its bulk tickers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class QuoteCall(StrEnum):
    """Which REST call gives bid, ask and time of many markets."""

    TICKERS = "tickers"  # each ticker has the exchange's stamp
    STAMPED_TICKERS = "stamped_tickers"  # the tickers have none, the whole answer has
    BIDS_ASKS = "bids_asks"  # best bids and asks have a call of their own
    BOOKS = "books"  # no bulk call has a stamp: one order book a market, in turns


class QuoteStream(StrEnum):
    """Which websocket stream does."""

    TICKERS = "tickers"
    BIDS_ASKS = "bids_asks"
    BOOKS = "books"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one ccxt class is asked."""

    quotes: QuoteCall = QuoteCall.TICKERS
    stream: QuoteStream = QuoteStream.TICKERS
    perpetuals: str | None = None  # ccxt's name of the market type to load; None: load all
    spot: str | None = None
    stamp_field: str | None = None  # of a streamed ticker as sent: a stamp that ccxt leaves out
    stamps_last_trade: bool = False  # ccxt gives the last trade's time as the ticker's
    private: frozenset[str] = frozenset()  # calls that `has` lists and that need an account
    liquidations_name_position: bool = False  # a "buy" there is a long that was closed, by selling
    streamed_levels: int | None = None  # of a streamed book; None: ccxt's own number

    def market_types(self, *, spot: bool) -> tuple[str, ...]:
        """Name the market types to load; empty where the class takes no such choice."""
        wanted = (self.spot, self.perpetuals) if spot else (self.perpetuals,)
        return tuple(each for each in wanted if each is not None)


DIALECTS: Final[Mapping[str, Dialect]] = {
    "okx": Dialect(perpetuals="swap", spot="spot"),
    # Tickers carry no time of their own; the answer's `time` is when Bybit made it.
    "bybit": Dialect(
        quotes=QuoteCall.STAMPED_TICKERS,
        perpetuals="linear",
        spot="spot",
        liquidations_name_position=True,
        streamed_levels=1_000,  # ccxt asks for 50, which do not reach a basis point on Bitcoin
    ),
    # ccxt takes the time of the last trade for the ticker's; `serverTime` is when it was made.
    "krakenfutures": Dialect(
        quotes=QuoteCall.STAMPED_TICKERS, stamp_field="time", stamps_last_trade=True
    ),
    # Tickers have impact prices and no time; only order books have both best prices and time.
    "hyperliquid": Dialect(
        quotes=QuoteCall.BOOKS,
        stream=QuoteStream.BOOKS,
        perpetuals="swap",
        spot="spot",
        private=frozenset({"fetchTrades"}),
    ),
    # 24 h statistics carry no bid and ask.
    "binanceusdm": Dialect(
        quotes=QuoteCall.BIDS_ASKS,
        stream=QuoteStream.BIDS_ASKS,
        perpetuals="linear",
        private=frozenset({"fetchLeverageTiers"}),
    ),
}

_PLAIN: Final = Dialect()


def dialect_of(ccxt_class: str) -> Dialect:
    """Give the dialect of a ccxt class."""
    return DIALECTS.get(ccxt_class, _PLAIN)
