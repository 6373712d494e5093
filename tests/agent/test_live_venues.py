"""The configuration of real exchanges that is shipped, held against their protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import ccxt.pro as streaming
import pytest

from agent.config import load_settings
from agent.network import Network, live_network
from agent.venue_report import NOBODY, report_venues
from relayer.errors import Misconfigured
from relayer.market.settings import VenueSettings
from relayer.market.values import Listing, Market
from relayer.market.venue_client import VenueClient
from relayer.market.venue_link import exchange_class, units_in_name
from relayer.market.venues import VenuePool
from tests.relayer.market.exchanges.base import Exchange
from tests.relayer.market.exchanges.bybit import Bybit
from tests.relayer.market.exchanges.hyperliquid import Hyperliquid
from tests.relayer.market.exchanges.kraken import Kraken
from tests.relayer.market.fakes import FakeClock

SETTINGS = load_settings("live")
NETWORK = live_network(SETTINGS, Path("unused"))
TRADED = [venue for venue in NETWORK.venues if any(m.listing(venue.id) for m in NETWORK.markets)]


@pytest.fixture(params=["bybit", "krakenfutures", "hyperliquid"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, Exchange]]:
    """A venue's name, and a double of its protocol."""
    kinds: dict[str, type[Exchange]] = {
        "bybit": Bybit,
        "krakenfutures": Kraken,
        "hyperliquid": Hyperliquid,
    }
    made = kinds[str(request.param)]()
    await made.start()
    yield str(request.param), made
    await made.stop()


def listings() -> list[Listing]:
    return [listing for market in NETWORK.markets for listing in market.listings]


def test_live__four_exchanges_list_every_market() -> None:
    assert {venue.ccxt_class for venue in TRADED} == {
        "okx", "bybit", "krakenfutures", "hyperliquid",
    }  # fmt: skip
    assert all(len(market.listings) == 4 for market in NETWORK.markets)


def test_live__no_keys__a_dry_run() -> None:
    assert NETWORK.keys.gas_payer is None


@pytest.mark.parametrize("venue", NETWORK.venues, ids=lambda venue: venue.id)
def test_live__venue__ccxt_has_what_it_is_configured_for(venue: VenueSettings) -> None:
    exchange = exchange_class(venue)()
    asked = [exchange.has.get("watchTrades"), exchange.has.get("watchOrderBook")]
    assert exchange.has["fetchOrderBook"] is True
    assert venue.stablecoin_symbol is None or exchange.has["fetchTicker"] is True
    assert not venue.streams or (venue.ccxt_class in streaming.exchanges and all(asked))


@pytest.mark.parametrize("listing", listings(), ids=lambda each: f"{each.venue} {each.symbol}")
def test_live__listing__currency_and_multiplier_are_those_of_its_name(listing: Listing) -> None:
    base, rest = listing.symbol.split("/")
    quote, settled = rest.split(":")
    assert listing.quote_currency == quote == settled
    thousands = 1_000 if listing.venue == "hyperliquid" and base == "KPEPE" else 1
    assert listing.multiplier == max(units_in_name(base), thousands)


def test_live__each_currency__converted_by_two_venues() -> None:
    quoted = {listing.quote_currency for listing in listings()} - {"USDC"}
    converting = [venue.stablecoin_symbol or "" for venue in NETWORK.venues]
    assert quoted == {"USDT", "USD"}
    assert all(converting.count(f"USDC/{currency}") >= 2 for currency in quoted)


def test_live__venue_with_a_stablecoin__its_answer_carries_a_time() -> None:
    """Kraken's spot tickers carry none in ccxt, so its dollar is asked for elsewhere."""
    for venue in NETWORK.venues:
        if venue.stablecoin_symbol is not None:
            assert venue.ccxt_class in {"okx", "bybit", "bitstamp", "cryptocom"}


def only(*symbols: str) -> Sequence[Market]:
    return [market for market in NETWORK.markets if market.symbol in symbols]


@pytest.mark.loopback
async def test_live__through_the_exchanges_protocol__quotes_of_one_base_unit(
    served: tuple[str, Exchange],
) -> None:
    name, server = served
    [venue] = [venue for venue in NETWORK.venues if venue.id == name]
    changes = {"urls": server.urls, "streams": (), "rate_limit_ms": 1, "timeout_s": 10.0}
    client = VenueClient(venue.model_copy(update=changes), only("BTC", "PEPE"))
    answer = await client.answer(server.clock())
    await client.close()
    assert (answer.refused, answer.faults) == ((), ())
    prices = [quote.bid_e18 / 1e18 for quote in answer.quotes]
    assert prices == pytest.approx([59_994, 0.000009999])


@pytest.mark.loopback
async def test_venues__nobody_can_be_reached__says_so_and_ends() -> None:
    nowhere = {"urls": {"rest": "http://127.0.0.1:1"}, "streams": ()}
    venues = tuple(
        venue.model_copy(update=nowhere) for venue in NETWORK.venues if venue.id == "okx"
    )
    markets = tuple(
        Market(
            market=market.market,
            symbol=market.symbol,
            class_id=market.class_id,
            listings=tuple(each for each in market.listings if each.venue == "okx"),
        )
        for market in NETWORK.markets
    )
    report = await report_venues(_network(venues, markets), SETTINGS.marks)
    assert not report.sound
    assert report.notices[0] == NOBODY
    assert report.health[1][1] == "0"


def _network(venues: tuple[VenueSettings, ...], markets: tuple[Market, ...]) -> Network:
    return replace(NETWORK, venues=venues, markets=markets)


def test_live__listing_at_a_venue_that_is_not_there__nearest_offered() -> None:
    fewer = [venue for venue in NETWORK.venues if venue.id != "okx"]
    with pytest.raises(Misconfigured, match="no venue okx"):
        VenuePool(fewer, NETWORK.markets, FakeClock(0))
