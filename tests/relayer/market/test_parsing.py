"""What ccxt parsed becomes a value in base units, or is refused with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from relayer.errors import BadAnswer
from relayer.market.parsing import parse_book, parse_candles, parse_quote, parse_stablecoin
from relayer.market.values import E18, MINUTE_MS, Listing, Quote, QuoteRefusal, RefusedQuote
from tests.relayer.market.builders import MARKET, NOW_MS

LISTING = Listing(venue="a", symbol="BTC/USDT:USDT", quote_currency="USDT")
THOUSANDS = Listing(venue="a", symbol="1000PEPE/USDT:USDT", quote_currency="USDT", multiplier=1_000)
START_MS = 1_747_073_880_000


def _ticker(bid: Any = 100.0, ask: Any = 101.0, at: Any = NOW_MS) -> dict[str, Any]:
    return {"bid": bid, "ask": ask, "timestamp": at}


def test_parse_quote__good_ticker__quote() -> None:
    quote = parse_quote(LISTING, MARKET, _ticker(), None, NOW_MS + 5)
    assert isinstance(quote, Quote)
    assert (quote.bid_e18, quote.ask_e18) == (100 * E18, 101 * E18)
    assert (quote.observed_at_ms, quote.received_at_ms) == (NOW_MS, NOW_MS + 5)


def test_parse_quote__mark_older_than_ticker__older_stamp_counts() -> None:
    mark = {"markPrice": 100.4, "timestamp": NOW_MS - 300}
    quote = parse_quote(LISTING, MARKET, _ticker(), mark, NOW_MS)
    assert isinstance(quote, Quote)
    assert quote.observed_at_ms == NOW_MS - 300
    assert quote.value_e18 == 1004 * E18 // 10


def test_parse_quote__thousands_contract__one_base_unit() -> None:
    quote = parse_quote(THOUSANDS, MARKET, _ticker(bid=0.012, ask=0.013), None, NOW_MS)
    assert isinstance(quote, Quote)
    assert quote.bid_e18 == 12 * E18 // 1_000_000


@pytest.mark.parametrize(
    ("ticker", "reason"),
    [
        (_ticker(bid=None), QuoteRefusal.NO_PRICE),
        (_ticker(ask=float("nan")), QuoteRefusal.NOT_A_NUMBER),
        (_ticker(bid=-1.0), QuoteRefusal.NOT_POSITIVE),
        (_ticker(bid=102.0), QuoteRefusal.CROSSED),
        (_ticker(at=None), QuoteRefusal.NO_TIME),
    ],
)
def test_parse_quote__unusable__refused_with_reason(
    ticker: dict[str, Any], reason: QuoteRefusal
) -> None:
    refused = parse_quote(LISTING, MARKET, ticker, None, NOW_MS)
    assert isinstance(refused, RefusedQuote)
    assert refused.reason is reason


def test_parse_quote__mark_far_from_its_own_book__refused() -> None:
    mark = {"markPrice": 130.0, "timestamp": NOW_MS}
    refused = parse_quote(LISTING, MARKET, _ticker(), mark, NOW_MS)
    assert isinstance(refused, RefusedQuote)
    assert refused.reason is QuoteRefusal.MARK_OFF_BOOK


def test_parse_stablecoin__quoted_the_other_way__turned_round() -> None:
    quote = parse_stablecoin("a", "USDC/USDT", _ticker(bid=1.001, ask=1.001))
    assert quote.currency == "USDT"
    assert quote.value_e18 == E18 * E18 // (1001 * E18 // 1000)


def test_parse_stablecoin__straight__as_it_is() -> None:
    quote = parse_stablecoin("a", "USDT/USDC", _ticker(bid=0.998, ask=1.0))
    assert quote.currency == "USDT"
    assert quote.value_e18 == 999 * E18 // 1000


def test_parse_stablecoin__no_price__bad_answer() -> None:
    with pytest.raises(BadAnswer):
        parse_stablecoin("a", "USDT/USDC", _ticker(bid=None))


def test_parse_book__contracts__base_units() -> None:
    raw = {"bids": [[100.0, 3.0, 0]], "asks": [[101.0, 5.0, 0]], "timestamp": NOW_MS}
    book = parse_book(LISTING, MARKET, raw, 0.01)
    assert book.bids[0].size_e18 == 3 * E18 // 100
    assert book.asks[0].price_e18 == 101 * E18


@pytest.mark.parametrize(
    "raw",
    [
        {"bids": [[102.0, 1.0]], "asks": [[101.0, 1.0]], "timestamp": NOW_MS},
        {"bids": [], "asks": [[101.0, 1.0]], "timestamp": NOW_MS},
        {"bids": [[100.0, 1.0]], "asks": [[101.0, 1.0]], "timestamp": None},
    ],
)
def test_parse_book__crossed_empty_or_timeless__bad_answer(raw: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer):
        parse_book(LISTING, MARKET, raw, 1.0)


def _row(minute: int, close: float = 100.5) -> list[float]:
    return [START_MS + minute * MINUTE_MS, 100.0, 101.0, 99.0, close, 7.0]


def test_parse_candles__bar_still_open__left_out() -> None:
    now_ms = START_MS + 2 * MINUTE_MS + 30_000
    bars = parse_candles(LISTING, MARKET, MINUTE_MS, [_row(0), _row(1), _row(2)], now_ms)
    assert bars.open_ms.tolist() == [START_MS, START_MS + MINUTE_MS]


def test_parse_candles__newest_first_and_repeated__ascending_and_last_counts() -> None:
    rows = [_row(1), _row(0), _row(1, close=100.9)]
    bars = parse_candles(LISTING, MARKET, MINUTE_MS, rows, START_MS + 10 * MINUTE_MS)
    assert bars.close.tolist() == [100.5, 100.9]


def test_parse_candles__thousands_contract__price_and_volume_of_one_unit() -> None:
    bars = parse_candles(THOUSANDS, MARKET, MINUTE_MS, [_row(0)], START_MS + MINUTE_MS)
    assert bars.close.tolist() == [pytest.approx(0.1005)]
    assert bars.volume.tolist() == [7_000.0]


@pytest.mark.parametrize("close", [None, float("nan"), 150.0, -1.0])
def test_parse_candles__impossible_bar__bad_answer(close: Any) -> None:
    with pytest.raises(BadAnswer):
        parse_candles(LISTING, MARKET, MINUTE_MS, [_row(0, close=close)], START_MS + MINUTE_MS)


@pytest.mark.parametrize(
    "row",
    [
        [None, 100.0, 101.0, 99.0, 100.5, 7.0],
        [START_MS, "a lot", 101.0, 99.0, 100.5, 7.0],
        [START_MS, 100.0, 101.0],
        [],
        None,
        {},
        [10**30, 100.0, 101.0, 99.0, 100.5, 7.0],
    ],
)
def test_parse_candles__row_of_another_shape__bad_answer(row: Any) -> None:
    with pytest.raises(BadAnswer):
        parse_candles(LISTING, MARKET, MINUTE_MS, [_row(0), row], 10**31)


@pytest.mark.parametrize(
    "raw",
    [
        {"asks": [[101.0, 1.0]], "timestamp": NOW_MS},
        {"bids": [["cheap", 1.0]], "asks": [[101.0, 1.0]], "timestamp": NOW_MS},
        {"bids": [[100.0]], "asks": [[101.0, 1.0]], "timestamp": NOW_MS},
        {"bids": None, "asks": [[101.0, 1.0]], "timestamp": NOW_MS},
        None,
    ],
)
def test_parse_book__answer_of_another_shape__bad_answer(raw: Any) -> None:
    with pytest.raises(BadAnswer):
        parse_book(LISTING, MARKET, raw, 1.0)


@pytest.mark.parametrize("ticker", [None, [], "down for maintenance"])
def test_parse_quote__no_ticker_at_all__bad_answer(ticker: Any) -> None:
    with pytest.raises(BadAnswer):
        parse_quote(LISTING, MARKET, ticker, None, NOW_MS)
