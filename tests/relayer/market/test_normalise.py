"""Whether venues mean the same unit and asset: powers of ten are found, and named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayer.market.derivatives import OpenInterest
from relayer.market.normalise import check_prices, check_sizes, middle_prices, power_of_ten
from relayer.market.settings import VenueSettings
from relayer.market.standings import Standings
from relayer.market.values import E18, Quote, QuoteRefusal
from relayer.market.venue_client import VenueClient
from relayer.market.venue_link import units_in_name
from relayer.market.venues import VenuePool
from tests.relayer.market.builders import MARKET, NOW_MS, market, quote
from tests.relayer.market.fakes import FakeClock, FakeExchange, FakeVenues

MARKETS = {MARKET: market()}


def _interest(venue: str, size: float, value: float | None) -> OpenInterest:
    return OpenInterest(
        venue=venue, market=MARKET, size_e18=int(size * E18), value=value, observed_at_ms=None
    )


def _quotes(**prices: float) -> list[Quote]:
    return [quote(venue, price) for venue, price in prices.items()]


@pytest.mark.parametrize(("factor", "power"), [(1_000.0, 3), (10.0, 1), (0.1, -1), (1e-6, -6)])
def test_check_prices__power_of_ten__named_with_the_multiplier_that_mends_it(
    factor: float, power: int
) -> None:
    found = check_prices(_quotes(a=100.0, b=100.0 * factor, c=100.1), MARKETS)
    assert [(each.venue, each.reason) for each in found] == [("b", QuoteRefusal.WRONG_SCALE)]
    assert f"10^{power} off" in found[0].detail
    assert ("multiplier should be" in found[0].detail) == (power > 0)


def test_check_prices__mend__the_multiplier_times_the_factor() -> None:
    found = check_prices(_quotes(a=100.0, b=100_000.0, c=100.0), MARKETS)
    assert "its multiplier should be 1000" in found[0].detail


def test_check_prices__another_asset_of_the_name__named_as_that() -> None:
    found = check_prices(_quotes(a=100.0, b=437.0, c=101.0), MARKETS)
    assert [(each.venue, each.reason) for each in found] == [("b", QuoteRefusal.OTHER_ASSET)]


def test_check_prices__two_venues__both_are_in_doubt() -> None:
    found = check_prices(_quotes(a=100.0, b=100_000.0), MARKETS)
    assert {each.venue for each in found} == {"a", "b"}


def test_check_prices__one_venue__not_judged() -> None:
    assert check_prices(_quotes(a=100.0), MARKETS) == []


@given(st.lists(st.floats(70.0, 130.0), min_size=1, max_size=6))
def test_check_prices__within_what_venues_differ_by__nothing(prices: list[float]) -> None:
    told = [quote(f"v{n}", price) for n, price in enumerate(prices)]
    assert check_prices(told, MARKETS) == []


@given(st.integers(-9, 9).filter(bool), st.floats(0.95, 1.05))
def test_power_of_ten__any_mistaken_multiplier__found(power: int, noise: float) -> None:
    assert power_of_ten(10.0**power * noise) == power


@given(st.floats(1.3, 7.5), st.integers(1, 5))
def test_power_of_ten__another_factor__none(factor: float, power: int) -> None:
    assert power_of_ten(factor * 10**power) is None


def test_check_sizes__contract_size_is_wrong__named() -> None:
    told = [_interest("a", 1_000, 100_000.0), _interest("b", 100_000, 100_500.0)]
    found = check_sizes(told, {MARKET: 100.0}, MARKETS)
    assert [each.venue for each in found] == ["b"]
    assert "10^2 times" in found[0].detail


def test_check_sizes__venue_does_not_say_the_value__not_judged() -> None:
    assert check_sizes([_interest("a", 1_000, None)], {MARKET: 100.0}, MARKETS) == []


def test_middle_prices__one_venue__none() -> None:
    assert middle_prices(_quotes(a=100.0)) == {}
    assert middle_prices(_quotes(a=100.0, b=102.0)) == {MARKET: pytest.approx(100.0)}


@pytest.mark.parametrize(
    ("base", "units"),
    [
        ("BTC", 1), ("1000PEPE", 1_000), ("1000000MOG", 1_000_000), ("10000SATS", 1),
        ("1MBABYDOGE", 1_000_000), ("1INCH", 1), ("PEPE", 1), ("", 1),
    ],
)  # fmt: skip
def test_units_in_name__base__how_many(base: str, units: int) -> None:
    assert units_in_name(base) == units


def _pool(**prices: float) -> tuple[VenuePool, FakeVenues]:
    venues = FakeVenues(*(FakeExchange(name) for name in prices))
    for name, price in prices.items():
        venues.of[name].ticker = {"bid": price, "ask": price, "timestamp": NOW_MS}
    listed = market(7, tuple(prices))
    return VenuePool(venues.settings(), [listed], FakeClock(NOW_MS), venues.connect), venues


async def test_open__one_of_three_is_a_power_of_ten_off__set_aside_and_named() -> None:
    pool, _ = _pool(a=100.0, b=100_000.0, c=100.0)
    faults = await pool.open()
    taken = await pool.quotes()
    await pool.close()
    assert [(fault.venue, fault.reason) for fault in faults] == [("b", "misconfigured")]
    assert "10^3 off" in faults[0].detail
    assert [each.venue for each in taken.quotes] == ["a", "c"]
    assert [(each.venue, each.reason) for each in taken.refused] == [
        ("b", QuoteRefusal.WRONG_SCALE)
    ]
    assert "b" not in pool.order(MARKET)


async def test_quotes__venue_mends_itself__counts_again() -> None:
    pool, venues = _pool(a=100.0, b=100_000.0, c=100.0)
    await pool.open()
    venues.of["b"].ticker = {"bid": 100.0, "ask": 100.0, "timestamp": NOW_MS}
    taken = await pool.quotes()
    await pool.close()
    assert {each.venue for each in taken.quotes} == {"a", "b", "c"}


async def test_open__venue_falls_silent__stays_set_aside() -> None:
    pool, venues = _pool(a=100.0, b=100_000.0, c=100.0)
    await pool.open()
    venues.of["b"].ticker = {"bid": None, "ask": None, "timestamp": NOW_MS}
    await pool.quotes()
    venues.of["b"].ticker = {"bid": 100_000.0, "ask": 100_000.0, "timestamp": NOW_MS}
    taken = await pool.quotes()
    await pool.close()
    assert {each.venue for each in taken.quotes} == {"a", "c"}


def test_settings__dotted_address__a_table_deep() -> None:
    venue = VenueSettings(id="v", ccxt_class="bybit", urls={"ws.public.linear": "ws://x"})
    assert venue.ccxt_config()["urls"] == {"api": {"ws": {"public": {"linear": "ws://x"}}}}


@pytest.mark.parametrize(
    ("ccxt_class", "types"),
    [("okx", ["swap"]), ("bybit", ["linear"]), ("hyperliquid", ["swap"]), ("krakenfutures", None)],
)
def test_settings__market_types__by_the_names_of_the_class(
    ccxt_class: str, types: list[str] | None
) -> None:
    options = VenueSettings(id="v", ccxt_class=ccxt_class).ccxt_config()["options"]
    assert options.get("fetchMarkets", {}).get("types") == types


async def test_answer__venue_without_markets__its_stablecoin_alone() -> None:
    """How dollars are converted: Kraken futures has no spot market of its own."""
    exchange = FakeExchange("k")
    exchange.ticker = {"bid": 0.999, "ask": 1.001, "timestamp": NOW_MS}
    settings = VenueSettings(id="k", ccxt_class="bitstamp", stablecoin_symbol="USDC/USD")
    client = VenueClient(settings, [], exchange=exchange)
    answer = await client.answer(NOW_MS)
    await client.close()
    assert answer.quotes == ()
    assert [(each.currency, each.value_e18) for each in answer.stablecoins] == [("USD", E18)]


def test_standings__contract_size_is_wrong__sizes_alone_are_not_believed() -> None:
    standings = Standings(MARKETS)
    quotes = _quotes(a=100.0, b=100.0)
    standings.judge(quotes)
    standings.judge_sizes([_interest("b", 100_000, 100_500.0)], quotes)
    assert standings.believed(quotes) == tuple(quotes)
    assert standings.size_fault("a", MARKET) is None
    assert "10^2 times" in (standings.size_fault("b", MARKET) or "")
    assert [(each.venue, each.reason) for each in standings.faults()] == [("b", "misconfigured")]
