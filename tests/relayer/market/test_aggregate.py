"""The mark's rules: robust to any minority of venues, and a reason wherever there is no mark."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.units import MarketId, UnixMs
from relayer.market.aggregate import (
    AggregationRules,
    Mark,
    NoMark,
    NoMarkReason,
    aggregate,
    aggregate_round,
    conversion_rates,
)
from relayer.market.values import E18, MarketDataError, QuoteRound
from tests.relayer.market.builders import MARKET, NOW_MS, quote, tether

RULES = AggregationRules()


def test_aggregate__three_venues_agree__median_of_mids() -> None:
    mark = aggregate([quote("a", 100.0), quote("b", 100.2), quote("c", 100.1)], NOW_MS, RULES)
    assert isinstance(mark, Mark)
    assert mark.price_e18 == 1001 * E18 // 10
    assert mark.venues == ("a", "b", "c")


def test_aggregate__mark_price_given__counts_instead_of_mid() -> None:
    marked = replace(quote("a", 100.0), mark_e18=101 * E18)
    mark = aggregate([marked, replace(marked, venue="b")], NOW_MS, RULES)
    assert isinstance(mark, Mark)
    assert mark.price_e18 == 101 * E18


def test_aggregate__observed_at__is_the_oldest_used() -> None:
    mark = aggregate([quote("a", 100.0, age_ms=900), quote("b", 100.0, age_ms=100)], NOW_MS, RULES)
    assert isinstance(mark, Mark)
    assert mark.observed_at_ms == NOW_MS - 900


def test_aggregate__one_of_three_off_by_30_percent__excluded() -> None:
    mark = aggregate([quote("a", 100.0), quote("b", 130.0), quote("c", 100.1)], NOW_MS, RULES)
    assert isinstance(mark, Mark)
    assert mark.excluded == ("b",)
    assert 100 * E18 <= mark.price_e18 <= 1001 * E18 // 10


def test_aggregate__one_of_two_off_by_30_percent__no_mark() -> None:
    none = aggregate([quote("a", 100.0), quote("b", 130.0)], NOW_MS, RULES)
    assert isinstance(none, NoMark)
    assert none.reason is NoMarkReason.DISAGREE
    assert "a 100" in none.detail


@pytest.mark.parametrize(
    ("quotes", "reason"),
    [
        ([quote("a", 100.0)], NoMarkReason.TOO_FEW_VENUES),
        (
            [quote("a", 100.0, age_ms=5_001), quote("b", 100.0, age_ms=9_000)],
            NoMarkReason.STALE,
        ),
        (
            [quote("a", 100.0), quote("b", 100.0, age_ms=-1_001)],
            NoMarkReason.FROM_THE_FUTURE,
        ),
        (
            [quote("a", 100.0), quote("b", 100.0, age_ms=4_000)],
            NoMarkReason.NOT_SIMULTANEOUS,
        ),
    ],
)
def test_aggregate__unusable__says_why(quotes: list, reason: NoMarkReason) -> None:
    none = aggregate(quotes, NOW_MS, RULES)
    assert isinstance(none, NoMark)
    assert none.reason is reason


def test_aggregate__stale_venue__left_out_of_the_others() -> None:
    quotes = [quote("a", 100.0), quote("b", 100.0), quote("c", 80.0, age_ms=60_000)]
    mark = aggregate(quotes, NOW_MS, RULES)
    assert isinstance(mark, Mark)
    assert mark.venues == ("a", "b")


def test_aggregate__wider_disagreement__wider_confidence() -> None:
    near = aggregate([quote("a", 100.0), quote("b", 100.1)], NOW_MS, RULES)
    far = aggregate([quote("a", 100.0), quote("b", 101.0)], NOW_MS, RULES)
    assert isinstance(near, Mark)
    assert isinstance(far, Mark)
    assert far.confidence_ppm > near.confidence_ppm
    # 1.4826 × 5,000 ppm of deviation + half a spread of 100 ppm, each rounded up
    assert 7_400 <= far.confidence_ppm <= 7_600


def test_aggregate__no_quotes__refused() -> None:
    with pytest.raises(MarketDataError):
        aggregate([], NOW_MS, RULES)


def test_rules__one_venue_enough__refused() -> None:
    with pytest.raises(MarketDataError, match="at least 2"):
        AggregationRules(minimum_venues=1)


def test_aggregate__usdt_quotes__converted_by_the_median_rate() -> None:
    rates = conversion_rates([tether("a", 0.999), tether("b", 0.999)], NOW_MS, RULES)
    quotes = [quote("a", 100.0, currency="USDT"), quote("b", 100.0, currency="USDT")]
    mark = aggregate(quotes, NOW_MS, RULES, rates)
    assert isinstance(mark, Mark)
    assert mark.price_e18 == 999 * E18 // 10


def test_aggregate__usdt_unquoted__no_mark() -> None:
    quotes = [quote("a", 100.0, currency="USDT"), quote("b", 100.0, currency="USDT")]
    none = aggregate(quotes, NOW_MS, RULES)
    assert isinstance(none, NoMark)
    assert none.reason is NoMarkReason.STABLECOIN_UNKNOWN


@pytest.mark.parametrize("value", [0.979, 1.021])
def test_aggregate__usdt_off_its_peg__no_mark(value: float) -> None:
    rates = conversion_rates([tether("a", value), tether("b", value)], NOW_MS, RULES)
    quotes = [quote("a", 100.0, currency="USDT"), quote("b", 100.0, currency="USDT")]
    none = aggregate(quotes, NOW_MS, RULES, rates)
    assert isinstance(none, NoMark)
    assert none.reason is NoMarkReason.STABLECOIN_OFF_PEG


def test_aggregate__usdt_off_its_peg_but_usdc_venues__mark_from_those() -> None:
    rates = conversion_rates([tether("c", 0.9), tether("d", 0.9)], NOW_MS, RULES)
    quotes = [quote("a", 100.0), quote("b", 100.0), quote("c", 111.0, currency="USDT")]
    mark = aggregate(quotes, NOW_MS, RULES, rates)
    assert isinstance(mark, Mark)
    assert mark.venues == ("a", "b")


def test_aggregate_round__market_without_quotes__answered() -> None:
    taken = QuoteRound(
        quotes=(quote("a", 100.0), quote("b", 100.0)),
        stablecoins=(),
        refused=(),
        faults=(),
        taken_at_ms=UnixMs(NOW_MS),
    )
    marks = aggregate_round(taken, [MARKET, MarketId(8)], NOW_MS, RULES)
    assert isinstance(marks[MARKET], Mark)
    assert marks[MarketId(8)] == NoMark(
        market=MarketId(8),
        reason=NoMarkReason.TOO_FEW_VENUES,
        detail="0 of at least 2 answered",
    )


PRICES = st.floats(min_value=0.01, max_value=1e6)
HONEST = st.lists(st.tuples(PRICES, st.integers(0, 1_000)), min_size=2, max_size=5)
BAD = st.lists(st.tuples(PRICES, st.integers(-5_000, 10_000)), max_size=4)


@given(honest=HONEST, bad=BAD, spread=st.floats(0.0, 0.04))
def test_aggregate__any_minority__stays_inside_the_honest_range(
    honest: list[tuple[float, int]], bad: list[tuple[float, int]], spread: float
) -> None:
    base = honest[0][0]
    near = [base * (1 + spread * i / len(honest)) for i in range(len(honest))]
    good = [
        quote(f"h{i}", price, age_ms=age)
        for i, (price, (_, age)) in enumerate(zip(near, honest, strict=True))
    ]
    minority = bad[: len(honest) - 1]
    liars = [quote(f"b{i}", price, age_ms=age) for i, (price, age) in enumerate(minority)]
    mark = aggregate([*liars, *good], NOW_MS, RULES)
    values = [each.value_e18 for each in good]
    if isinstance(mark, Mark):
        assert min(values) <= mark.price_e18 <= max(values)


@given(
    base=st.floats(1.0, 1e5),
    pulls=st.lists(st.floats(-0.04, 0.04), min_size=1, max_size=3),
    ages=st.lists(st.integers(-1_000, 6_000), min_size=3, max_size=3),
)
def test_aggregate__subtle_minority_with_skewed_clocks__stays_inside(
    base: float, pulls: list[float], ages: list[int]
) -> None:
    good = [quote(f"h{i}", base * (1 + 0.001 * i), age_ms=250 * i) for i in range(4)]
    liars = [
        quote(f"b{i}", base * (1 + pull), age_ms=age)
        for i, (pull, age) in enumerate(zip(pulls, ages[: len(pulls)], strict=True))
    ]
    mark = aggregate([*good, *liars], NOW_MS, RULES)
    values = [each.value_e18 for each in good]
    assert isinstance(mark, Mark)
    assert min(values) <= mark.price_e18 <= max(values)
    assert mark.observed_at_ms >= NOW_MS - RULES.stale_after_ms


def test_aggregate__usdt_venue_from_the_future__the_rates_stamp_does_not_hide_it() -> None:
    rates = conversion_rates([tether("a", 0.999), tether("b", 0.999)], NOW_MS, RULES)
    quotes = [quote(venue, 100.0, currency="USDT") for venue in ("a", "b")]
    ahead = quote("c", 80.0, currency="USDT", age_ms=-60_000)
    mark = aggregate([*quotes, ahead], NOW_MS, RULES, rates)
    assert isinstance(mark, Mark)
    assert mark.venues == ("a", "b")
    assert mark.excluded == ()
