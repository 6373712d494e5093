"""Each configured exchange through unmodified ccxt against its own protocol, by REST and stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from contracts.units import MarketId
from relayer.errors import Misconfigured
from relayer.market.capabilities import Capability
from relayer.market.events import Repair, StreamEvent
from relayer.market.settings import VenueSettings
from relayer.market.values import MINUTE_MS, Listing, Market, Quote, QuoteRefusal
from relayer.market.venue_client import CandleAsk, VenueClient
from tests.relayer.market.exchanges.base import Exchange
from tests.relayer.market.exchanges.bybit import Bybit
from tests.relayer.market.exchanges.hyperliquid import Hyperliquid
from tests.relayer.market.exchanges.kraken import Kraken

pytestmark = pytest.mark.loopback

BTC, PEPE = MarketId(0), MarketId(1)
PATIENCE_S = 5.0


@dataclass(frozen=True)
class Dialect:
    """How a test asks one of the exchanges."""

    ccxt_class: str
    currency: str
    btc: str
    pepe: str
    units: int


DIALECTS = {
    "bybit": Dialect("bybit", "USDT", "BTC/USDT:USDT", "1000PEPE/USDT:USDT", 1_000),
    "kraken": Dialect("krakenfutures", "USD", "BTC/USD:USD", "PEPE/USD:USD", 1),
    "hyperliquid": Dialect("hyperliquid", "USDC", "BTC/USDC:USDC", "KPEPE/USDC:USDC", 1_000),
}


@dataclass
class Events:
    """Remembers what is counted."""

    streams: list[StreamEvent] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    refusals: list[QuoteRefusal] = field(default_factory=list)

    def stream(self, venue: str, event: StreamEvent) -> None:
        self.streams.append(event)

    def repaired(self, venue: str, repair: Repair) -> None:
        self.repairs.append(repair)

    def refused(self, venue: str, reason: QuoteRefusal) -> None:
        self.refusals.append(reason)


def _markets(dialect: Dialect, **changes: Any) -> list[Market]:
    return [
        Market(
            market=number,
            symbol=name,
            class_id=1,
            listings=(
                Listing(
                    venue="v",
                    **{
                        "symbol": symbol,
                        "quote_currency": dialect.currency,
                        "multiplier": units,
                        **changes,
                    },
                ),
            ),
        )
        for number, name, symbol, units in (
            (BTC, "BTC", dialect.btc, 1),
            (PEPE, "PEPE", dialect.pepe, dialect.units),
        )
    ]


def _client(name: str, server: Any, events: Events | None = None, **settings: Any) -> VenueClient:
    dialect = DIALECTS[name]
    venue = VenueSettings(
        id="v",
        ccxt_class=dialect.ccxt_class,
        quote_currency=dialect.currency,
        urls=server.urls,
        rate_limit_ms=1,
        **settings,
    )
    return VenueClient(venue, _markets(dialect), events)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _until(true: Callable[[], object]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not true() and time.monotonic() < ends:  # noqa: ASYNC110 - real sockets have no event
        await asyncio.sleep(0.01)
    assert true()


@pytest.fixture(params=["bybit", "kraken", "hyperliquid"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(name: str, bybit: Bybit, kraken: Kraken, hyperliquid: Hyperliquid) -> Exchange:
    return {"bybit": bybit, "kraken": kraken, "hyperliquid": hyperliquid}[name]


def _fresh(quotes: tuple[Quote, ...]) -> bool:
    return all(abs(_now_ms() - quote.observed_at_ms) < 1_000 for quote in quotes)


async def test_rest__quotes__one_base_unit_with_the_exchanges_stamp(
    name: str, server: Exchange
) -> None:
    client = _client(name, server)
    answer = await client.answer(_now_ms())
    await client.close()
    assert (answer.refused, answer.faults) == ((), ())
    assert [quote.market for quote in answer.quotes] == [BTC, PEPE]
    assert [quote.bid_e18 / 1e18 for quote in answer.quotes] == pytest.approx([59_994, 0.000009999])
    assert _fresh(answer.quotes)


async def test_stream__quotes__the_same_without_a_rest_call(name: str, server: Exchange) -> None:
    events = Events()
    client = _client(name, server, events, streams=("quotes",))
    await client.load()
    await _until(lambda: len(client.streams.tops) == 2)
    before = server.asked.copy()
    answer = await client.answer(_now_ms())
    await client.close()
    assert server.asked == before
    assert (answer.refused, answer.faults) == ((), ())
    assert [quote.bid_e18 / 1e18 for quote in answer.quotes] == pytest.approx([59_994, 0.000009999])
    assert _fresh(answer.quotes)
    assert StreamEvent.LIVE in events.streams


async def test_stream__price_moves__newest_is_quoted(name: str, server: Exchange) -> None:
    client = _client(name, server, streams=("quotes",))
    await client.load()
    await _until(lambda: len(client.streams.tops) == 2)
    server.price["BTC"] = 70_000.0
    symbol = DIALECTS[name].btc
    await _until(lambda: client.streams.tops[symbol]["bid"] > 69_000)
    answer = await client.answer(_now_ms())
    await client.close()
    assert answer.quotes[0].bid_e18 / 1e18 == pytest.approx(69_993)


async def test_stream__silent_while_open__told_and_rest_goes_on(
    name: str, server: Exchange
) -> None:
    events = Events()
    client = _client(name, server, events, streams=("quotes",), silent_after_s=0.2)
    await client.load()
    await _until(lambda: len(client.streams.tops) == 2)
    server.silent = True
    server.price["BTC"] = 61_000.0
    await _until(lambda: StreamEvent.SILENT in events.streams)
    answer = await client.answer(_now_ms() + 2_000)
    assert answer.quotes[0].bid_e18 / 1e18 == pytest.approx(60_993.9)
    assert _fresh(answer.quotes)  # the mark that the stream said last ages none of them
    assert StreamEvent.FALLBACK in events.streams
    server.silent = False
    await _until(lambda: events.streams.count(StreamEvent.LIVE) >= 2)
    await client.close()
    assert server.handshakes >= 2


async def test_stream__closed_by_the_exchange__comes_back(name: str, server: Exchange) -> None:
    events = Events()
    client = _client(name, server, events, streams=("quotes",))
    await client.load()
    await _until(lambda: len(client.streams.tops) == 2)
    await server.hang_up()
    await _until(lambda: events.streams.count(StreamEvent.LIVE) >= 2)
    await client.close()
    assert StreamEvent.CLOSED in events.streams


async def test_stream__refused_with_429__not_before_it_allows(name: str, server: Exchange) -> None:
    events = Events()
    client = _client(name, server, events, streams=("quotes",))
    await client.load()
    await _until(lambda: len(client.streams.tops) == 2)
    server.limited_s = 60
    await server.hang_up()
    await _until(lambda: StreamEvent.RATE_LIMITED in events.streams)
    asked = sum(server.asked.values())
    await asyncio.sleep(0.3)
    await client.close()
    assert sum(server.asked.values()) == asked


async def test_rest__429__left_alone_for_as_long_as_it_says(name: str, server: Exchange) -> None:
    client = _client(name, server)
    await client.load()
    server.limited_s = 60
    first = await client.answer(_now_ms())
    asked = sum(server.asked.values())
    second = await client.answer(_now_ms())
    await client.close()
    assert [fault.reason for fault in (*first.faults, *second.faults)] == ["rate_limited"] * 2
    assert sum(server.asked.values()) == asked
    assert 50 < client.link.limited_s <= 60


async def test_rest__book_and_candles__base_units(name: str, server: Exchange) -> None:
    client = _client(name, server)
    book = await client.book(PEPE, set())
    now_ms = _now_ms()
    since_ms = (now_ms // MINUTE_MS - 10) * MINUTE_MS
    ask = CandleAsk(bar_ms=MINUTE_MS, since_ms=since_ms, limit=3, now_ms=now_ms)
    bars = await client.candles(PEPE, ask, set())
    await client.close()
    assert book.bids[0].price_e18 / 1e18 == pytest.approx(0.000009999)
    assert book.bids[0].size_e18 == 3 * DIALECTS[name].units * 10**18
    assert bars.open_ms.tolist() == [since_ms + n * MINUTE_MS for n in range(3)]
    assert bars.close.tolist() == pytest.approx([0.00001] * 3)
    assert bars.volume.tolist() == [7.0 * DIALECTS[name].units] * 3


async def test_rest__funding__comparable_by_the_hour(name: str, server: Exchange) -> None:
    client = _client(name, server)
    funding = await client.reads.funding(BTC)
    await client.close()
    assert funding is not None
    assert funding.hourly_e18 is not None
    assert 0.9e13 < funding.hourly_e18 < 1.3e13


async def test_capabilities__asked_and_what_is_lacking_is_none(name: str, server: Exchange) -> None:
    client = _client(name, server)
    interest, tiers = await client.reads.open_interest(BTC), await client.reads.tiers(BTC)
    trades = await client.reads.trades(BTC, 3)
    await client.close()
    assert (interest is None) == (name == "kraken")
    assert (tiers is None) == (name == "hyperliquid")
    assert (trades is None) == (name == "hyperliquid")
    reached = client.reads.reached(Capability.LIQUIDATIONS)
    assert reached.call is None
    assert reached.stream == ("watchLiquidations" if name == "bybit" else None)


async def test_rest__market_is_delisted__absent_and_the_other_goes_on(
    name: str, server: Exchange
) -> None:
    client = _client(name, server)
    await client.load()
    server.removed.add({"bybit": "1000PEPEUSDT", "kraken": "PF_PEPEUSD"}.get(name, ""))
    answer = await client.answer(_now_ms())
    await client.close()
    if name == "hyperliquid":
        assert len(answer.quotes) == 2  # its books are asked for one by one
        return
    assert [quote.market for quote in answer.quotes] == [BTC]
    assert [(each.market, each.reason) for each in answer.refused] == [(PEPE, QuoteRefusal.ABSENT)]


@pytest.mark.parametrize("exchange", ["bybit", "hyperliquid"])
async def test_stream__trades__each_once_in_base_units(
    exchange: str, bybit: Bybit, hyperliquid: Hyperliquid
) -> None:
    double = bybit if exchange == "bybit" else hyperliquid
    raw = "1000PEPEUSDT" if exchange == "bybit" else "kPEPE"
    client = _client(exchange, double, streams=("trades",))
    await client.load()
    await _until(lambda: len([t for topics in double.sockets.values() for t in topics]) == 2)
    for number in (1, 2, 2, 3):
        await double.send(double.trade(raw, number))
    await _until(lambda: len(client.streams.happened.tapes[PEPE]) == 3)
    trades = client.streams.happened.tapes[PEPE].trades
    await client.close()
    assert [trade.size_e18 for trade in trades] == [500 * 10**18] * 3
    assert len({trade.id for trade in trades}) == 3


async def test_stream__liquidation_of_a_long_at_bybit__a_sale(bybit: Bybit) -> None:
    client = _client("bybit", bybit, streams=("liquidations",))
    await client.load()
    await _until(lambda: len([t for topics in bybit.sockets.values() for t in topics]) == 2)
    await bybit.send(bybit.liquidation("BTCUSDT"))
    await _until(lambda: client.streams.happened.liquidations)
    seen = client.streams.happened.liquidations[0]
    await client.close()
    assert (seen.market, seen.side, seen.size_e18) == (BTC, "sell", 2 * 10**18)


async def test_stream__books_at_bybit__given_without_a_rest_call(bybit: Bybit) -> None:
    client = _client("bybit", bybit, streams=("books",))
    await client.load()
    await _until(lambda: len(client.link.exchange.orderbooks) == 2)
    before = bybit.asked.copy()
    book = await client.book(PEPE, set(), _now_ms())
    await client.close()
    assert bybit.asked == before
    assert book.bids[0].price_e18 / 1e18 == pytest.approx(0.000009999)
    assert book.bids[0].size_e18 == 3_000 * 10**18


async def test_rest__stablecoin_at_bybit__from_the_book_since_tickers_have_no_time(
    bybit: Bybit,
) -> None:
    client = _client("bybit", bybit, stablecoin_symbol="USDC/USDT")
    bybit.price["USDC"] = 1.001
    answer = await client.answer(_now_ms())
    await client.close()
    assert answer.faults == ()
    [found] = answer.stablecoins
    assert found.value_e18 / 1e18 == pytest.approx(1 / 1.001)
    assert abs(_now_ms() - found.observed_at_ms) < 1_000


async def test_load__stablecoin_that_the_venue_does_not_list__nearest_offered(bybit: Bybit) -> None:
    client = _client("bybit", bybit, stablecoin_symbol="USDC/USD")
    with pytest.raises(Misconfigured, match="did you mean USDC/USDT"):
        await client.load()
    await client.close()


async def test_stream__one_market_alone_ends__lagging_and_started_anew(bybit: Bybit) -> None:
    events = Events()
    client = _client("bybit", bybit, events, streams=("quotes",), silent_after_s=0.3)
    await client.load()
    await _until(lambda: len(client.streams.tops) == 2)
    for topics in bybit.sockets.values():
        topics.discard("tickers.1000PEPEUSDT")

    ends = time.monotonic() + PATIENCE_S
    while StreamEvent.LAGGING not in events.streams and time.monotonic() < ends:
        await client.answer(_now_ms() + 2_000)
    await client.close()
    assert StreamEvent.LAGGING in events.streams


async def test_stream__clock_runs_minutes_between_two_messages__not_lagging(bybit: Bybit) -> None:
    """A replayed clock is fast: REST is minutes newer, though the stream spoke a moment ago."""
    events = Events()
    client = _client("bybit", bybit, events, streams=("quotes",), silent_after_s=5.0)
    await client.load()
    await _until(lambda: len(client.streams.tops) == 2)
    bybit.silent = True
    bybit.clock = lambda: _now_ms() + 600_000
    answer = await client.answer(_now_ms() + 600_000)
    await client.close()
    assert all(quote.observed_at_ms > _now_ms() + 500_000 for quote in answer.quotes)
    assert StreamEvent.FALLBACK in events.streams
    assert StreamEvent.LAGGING not in events.streams


async def test_stream__top_of_the_book_crosses__a_gap_and_started_anew(
    hyperliquid: Hyperliquid,
) -> None:
    events = Events()
    client = _client("hyperliquid", hyperliquid, events, streams=("quotes",))
    await client.load()
    await _until(lambda: len(client.streams.tops) == 2)
    level = [{"px": "60000", "sz": "1", "n": 1}]
    crossed = {"coin": "BTC", "levels": [level, [{**level[0], "px": "59000"}]]}
    hyperliquid.sockets = {socket: set() for socket in hyperliquid.sockets}
    await hyperliquid.send({"channel": "l2Book", "data": {**crossed, "time": _now_ms() + 1}})
    await _until(lambda: StreamEvent.GAP in events.streams)
    await client.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quote_currency": "USDC"}, 'quote_currency = "USDT"'),
        ({"symbol": "BTC/USDC:USDT"}, "did you mean BTC/USDT:USDT"),
        ({"symbol": "1000PEPE/USDT:USDT", "multiplier": 1}, "multiplier = 1000"),
    ],
)
async def test_load__listing_is_not_what_the_venue_means__what_would_mend_it(
    bybit: Bybit, changes: dict[str, Any], said: str
) -> None:
    venue = VenueSettings(id="v", ccxt_class="bybit", urls=bybit.urls, rate_limit_ms=1)
    client = VenueClient(venue, _markets(DIALECTS["bybit"], **changes))
    with pytest.raises(Misconfigured, match=said):
        await client.load()
    await client.close()
