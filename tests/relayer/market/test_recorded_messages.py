"""Real messages that exchanges sent, through unmodified ccxt's own handlers and our books.

The recordings are no part of the product: without them these tests skip, and say so.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import ccxt.pro
import pandas as pd
import pytest

from relayer.market.books import Applied, BookChange, LiveBook, slippage_ladder
from relayer.market.depth import depth_within
from relayer.market.parsing import bar_repairs, parse_book, parse_candles
from relayer.market.quoting import top_of
from relayer.market.tapes import TradeTape, parse_trade
from relayer.market.values import MINUTE_MS, Listing, price_e18
from tests.relayer.market.builders import MARKET

DATA = Path(__file__).resolve().parents[4] / "shared/data"
LISTING = Listing(venue="a", symbol="X/USD:USD", quote_currency="USD")

Message = dict[str, Any]


def _found(*parts: str) -> Path:
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no recorded messages: ../shared/data/{'/'.join(parts)} is absent")
    return path


def _recorded(name: str) -> Iterator[Message]:
    """Every JSON object of a recording, with `<time>: ` before it."""
    with gzip.open(_found("cryptofeed-ws-2021-2022", name), "rt") as lines:
        for line in lines:
            body = line.partition(": ")[2]
            if body.startswith("{"):
                yield json.loads(body)


class _Client:
    """Takes what ccxt's handlers resolve, instead of a connection."""

    url = "wss://recorded/linear"

    def __init__(self) -> None:
        self.subscriptions: Message = {}
        self.lastPong = 0
        self.resolved: list[tuple[str, Any]] = []

    def resolve(self, result: object, message_hash: str) -> None:
        self.resolved.append((message_hash, result))

    def reject(self, error: Exception, message_hash: str | None = None) -> None:
        raise error


@pytest.fixture
async def made() -> AsyncIterator[Callable[[str, list[Message]], Any]]:
    """Makes ccxt exchanges that know the given markets, without a network."""
    open_ones: list[Any] = []

    def make(name: str, markets: list[Message]) -> Any:
        exchange = getattr(ccxt.pro, name)({"enableRateLimit": False})
        exchange.set_markets([exchange.safe_market_structure(market) for market in markets])
        open_ones.append(exchange)
        return exchange

    yield make
    for exchange in open_ones:
        await exchange.close()


def _perpetual(number: str, base: str, quote: str, **more: Any) -> Message:
    return {
        "id": number, "symbol": f"{base}/{quote}:{quote}", "base": base, "quote": quote,
        "settle": quote, "baseId": base, "quoteId": quote, "settleId": quote, "type": "swap",
        "swap": True, "contract": True, "linear": True, "contractSize": 1.0, "active": True,
        "precision": {"amount": 1e-8, "price": 1e-8}, **more,
    }  # fmt: skip


def _levels(rows: list[Any], price: Any, size: Any) -> tuple[tuple[int, int], ...]:
    return tuple((price_e18(float(r[price])), price_e18(float(r[size]))) for r in rows)


async def test_kraken__recorded_book__ours_is_ccxts_and_numbers_have_no_gap(made: Any) -> None:
    messages = [m for m in _recorded("KRAKEN_FUTURES.ws.1.0.gz") if "product_id" in m]
    names = sorted({m["product_id"] for m in messages})
    exchange = made("krakenfutures", [_perpetual(name, name, "USD") for name in names])
    wire, ours = _Client(), {name: LiveBook(LISTING, MARKET) for name in names}
    compared = 0
    for message in messages:
        name, feed = message["product_id"], message["feed"]
        exchange.handle_message(wire, message)
        if feed == "book_snapshot":
            sides = [_levels(message[side], "price", "qty") for side in ("bids", "asks")]
            ours[name].load(BookChange(bids=sides[0], asks=sides[1], sequence=message["seq"]))
        elif feed == "book":
            level = _levels([message], "price", "qty")
            number, sell = message["seq"], message["side"] == "sell"
            became = ours[name].apply(
                BookChange(
                    bids=() if sell else level, asks=level if sell else (),
                    sequence=number, follows=number - 1,
                )
            )  # fmt: skip
            assert became is Applied.TAKEN
            theirs = top_of(exchange.orderbooks[f"{name}/USD:USD"])
            best = ours[name].best()
            assert best == (price_e18(theirs["bid"]), price_e18(theirs["ask"]))
            compared += 1
    assert compared > 7_000


async def test_kraken__one_recorded_message_lost__found_at_the_next(made: Any) -> None:
    messages = [m for m in _recorded("KRAKEN_FUTURES.ws.1.0.gz") if "product_id" in m]
    name = next(m["product_id"] for m in messages if m["feed"] == "book")
    book = LiveBook(LISTING, MARKET)
    became = []
    for message in (m for m in messages if m["product_id"] == name):
        if message["feed"] == "book_snapshot":
            sides = [_levels(message[side], "price", "qty") for side in ("bids", "asks")]
            book.load(BookChange(bids=sides[0], asks=sides[1], sequence=message["seq"]))
        elif message["feed"] == "book" and len(became) != 50:
            number = message["seq"]
            became.append(book.apply(BookChange(sequence=number, follows=number - 1)))
        elif message["feed"] == "book":
            became.append(Applied.OLD)  # the one that is lost
    assert became[51] is Applied.GAP
    assert set(became[52:]) == {Applied.IGNORED}


async def test_kraken__recorded_trades__each_once(made: Any) -> None:
    messages = [m for m in _recorded("KRAKEN_FUTURES.ws.1.0.gz") if "product_id" in m]
    names = sorted({m["product_id"] for m in messages})
    exchange = made("krakenfutures", [_perpetual(name, name, "USD") for name in names])
    wire, tape = _Client(), TradeTape()
    for message in messages:
        if message["feed"] in ("trade", "trade_snapshot"):
            exchange.handle_message(wire, message)
    sent = {
        trade["uid"]
        for m in messages
        for trade in (m["trades"] if m["feed"] == "trade_snapshot" else [m])
        if m["feed"] in ("trade", "trade_snapshot")
    }
    for _, kept in wire.resolved:
        tape.add_all(parse_trade(LISTING, MARKET, raw, 1.0) for raw in kept)
    assert {trade.id for trade in tape.trades} == sent


async def test_okx__recorded_tickers_and_trades__stamps_are_the_exchanges(made: Any) -> None:
    messages = [m for m in _recorded("OKX.ws.1.0.gz") if "arg" in m and "data" in m]
    names = sorted({m["arg"]["instId"] for m in messages})
    exchange = made("okx", [_perpetual(name, name, "USD", contractSize=100.0) for name in names])
    wire, seen = _Client(), 0
    for message in messages:
        channel, row = message["arg"]["channel"], message["data"][0]
        symbol = f"{row.get('instId', '')}/USD:USD"
        if channel == "tickers":
            exchange.handle_message(wire, message)
            ticker = exchange.bidsasks[symbol]
            assert ticker["timestamp"] == int(row["ts"])
            assert (ticker["bid"], ticker["ask"]) == (float(row["bidPx"]), float(row["askPx"]))
            seen += 1
        elif channel == "trades":
            exchange.handle_message(wire, message)
            raw = exchange.trades[symbol][-1]
            trade = parse_trade(LISTING, MARKET, raw, 100.0)
            assert trade.size_e18 == price_e18(float(row["sz"])) * 100
            assert trade.traded_at_ms == int(row["ts"])
            seen += 1
    assert seen > 90


async def test_okx__recorded_book__ours_is_what_the_changes_add_up_to(made: Any) -> None:
    tables: dict[str, dict[str, dict[float, float]]] = {}
    books: dict[str, LiveBook] = {}
    for message in _recorded("OKX.ws.1.0.gz"):
        if message.get("arg", {}).get("channel") != "books" or "data" not in message:
            continue
        name, row = message["arg"]["instId"], message["data"][0]
        change = BookChange(
            bids=_levels(row["bids"], 0, 1), asks=_levels(row["asks"], 0, 1), at_ms=int(row["ts"])
        )
        if message["action"] == "snapshot":
            tables[name] = {"bids": {}, "asks": {}}
            books[name] = LiveBook(LISTING, MARKET)
            books[name].load(change)
        else:
            assert books[name].apply(change) is Applied.TAKEN
        for side in ("bids", "asks"):
            tables[name][side] |= {float(level[0]): float(level[1]) for level in row[side]}
        best = books[name].best()
        bids, asks = ([p for p, s in tables[name][side].items() if s] for side in ("bids", "asks"))
        assert best == (price_e18(max(bids)), price_e18(min(asks)))
    assert len(books) == 3


async def test_bybit__recorded_book__ccxt_reads_it_as_we_do(made: Any) -> None:
    path = _found("nautilus-samples", "xrpusdt-ob500.data.zip")
    with zipfile.ZipFile(path) as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    exchange = made("bybit", [_perpetual("XRPUSDT", "XRP", "USDT")])
    wire, book = _Client(), LiveBook(LISTING, MARKET)
    for message in map(json.loads, lines):
        exchange.handle_message(wire, message)
        data = message["data"]
        number = data["u"]
        change = BookChange(
            bids=_levels(data["b"], 0, 1), asks=_levels(data["a"], 0, 1),
            sequence=number, follows=number - 1, at_ms=message["ts"],
        )  # fmt: skip
        if message["type"] == "snapshot":
            book.load(change)
        else:
            assert book.apply(change) is Applied.TAKEN
        theirs = exchange.orderbooks["XRP/USDT:USDT"]
        parsed = parse_book(LISTING, MARKET, theirs, 1.0)
        found = book.book()
        assert found is not None
        assert (found.bids, found.asks) == (parsed.bids, parsed.asks)
        assert found.observed_at_ms == theirs["timestamp"] == message["ts"]
    bids, asks = depth_within(found)
    assert 0 < bids[0] <= bids[3]
    assert 0 < asks[0] <= asks[3]
    ladder = slippage_ladder(found, values=(1_000, 10_000, 100_000))
    assert [rung.buy_ppm for rung in ladder] == sorted(rung.buy_ppm or 0 for rung in ladder)


async def test_hyperliquid__recorded_answers__book_and_stamp(made: Any) -> None:
    raw = json.loads(_found("nautilus-samples", "hyperliquid-http_l2_book_btc.json").read_text())
    raw.setdefault("time", 1_700_000_000_000)
    market = _perpetual("0", "BTC", "USDC", baseName="BTC")
    exchange = made("hyperliquid", [market])
    wire = _Client()
    exchange.handle_message(wire, {"channel": "l2Book", "data": raw})
    kept = exchange.orderbooks["BTC/USDC:USDC"]
    assert top_of(kept)["timestamp"] == raw["time"]
    assert top_of(kept)["bid"] == float(raw["levels"][0][0]["px"])
    assert parse_book(LISTING, MARKET, kept, 1.0).asks


async def test_hyperliquid__recorded_contexts__carry_no_time() -> None:
    """Why their tickers can give no quote: neither contexts nor tickers have a stamp."""
    path = _found("nautilus-samples", "ws_all_dexs_asset_ctxs.json")
    contexts = json.loads(path.read_text())["data"]["ctxs"][0][1]
    assert len(contexts) > 200
    assert not any("time" in context for context in contexts)


def test_freqtrade__recorded_trades__ascending_and_each_once() -> None:
    rows = pd.read_parquet(_found("freqtrade-testdata", "XRP_ETH-trades.parquet"))
    tape = TradeTape(kept=20_000)
    for row in rows.head(5_000).itertuples():
        raw = {
            "id": row.id, "price": row.price, "amount": row.amount, "side": row.side,
            "timestamp": int(row.timestamp),
        }  # fmt: skip
        for _ in range(2):  # as a venue that repeats itself
            tape.add(parse_trade(LISTING, MARKET, raw, 1.0))
    assert len(tape) == rows.head(5_000)["id"].nunique()


def test_freqtrade__recorded_bars__shuffled_and_repeated_come_out_the_same() -> None:
    rows = pd.read_feather(_found("freqtrade-testdata", "UNITTEST_BTC-1m.feather")).head(500)
    times = rows["date"].astype("int64") // (
        10**6 if str(rows["date"].dtype).startswith("datetime64[ns") else 1
    )
    columns = [rows[name].tolist() for name in ("open", "high", "low", "close", "volume")]
    bars = [list(bar) for bar in zip(times.tolist(), *columns, strict=True)]
    straight = parse_candles(LISTING, MARKET, MINUTE_MS, bars, 10**15)
    jumbled = [*bars[250:], *bars[:250], *bars[100:110]]
    again = parse_candles(LISTING, MARKET, MINUTE_MS, jumbled, 10**15)
    assert again.close.tolist() == straight.close.tolist()
    assert len(bar_repairs(jumbled)) == 2
    assert bar_repairs(bars) == ()
