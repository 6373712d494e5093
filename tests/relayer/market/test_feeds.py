"""A venue that repeats itself is found when most others moved, and only then."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.units import UnixMs
from relayer.market.aggregate import AggregationRules, Mark, aggregate_round
from relayer.market.feeds import FeedMemory, FeedRules, frozen_feeds, withhold_frozen
from relayer.market.values import MarketDataError, Quote, QuoteRefusal, QuoteRound
from tests.relayer.market.builders import MARKET, NOW_MS, quote

RULES = FeedRules()


def _tick(prices: dict[str, float], at_s: int) -> QuoteRound:
    at_ms = UnixMs(NOW_MS + 1_000 * at_s)
    quotes = tuple(replace(quote(v, p), observed_at_ms=at_ms) for v, p in prices.items())
    return QuoteRound(quotes=quotes, stablecoins=(), refused=(), faults=(), taken_at_ms=at_ms)


def _play(*ticks: tuple[int, dict[str, float]]) -> QuoteRound:
    memory = FeedMemory()
    for at_s, prices in ticks:
        shown, memory = withhold_frozen(memory, _tick(prices, at_s), RULES)
    return shown


def test_frozen__others_moved_for_ten_seconds__refused_with_the_reason() -> None:
    shown = _play(
        (0, {"a": 100.0, "b": 100.0, "c": 100.0}), (10, {"a": 100.1, "b": 100.1, "c": 100.0})
    )
    assert [each.venue for each in shown.quotes] == ["a", "b"]
    assert shown.refused[0].reason is QuoteRefusal.FROZEN
    assert "10 s" in shown.refused[0].detail
    assert frozen_feeds(shown.refused) == (("c", MARKET),)


@pytest.mark.parametrize(
    "last",
    [
        (9, {"a": 100.1, "b": 100.1, "c": 100.0}),  # not long enough
        (10, {"a": 100.02, "b": 100.02, "c": 100.0}),  # not far enough
        (10, {"a": 100.1, "b": 100.0, "c": 100.0}),  # one of two others
        (10, {"a": 100.1, "b": 99.9, "c": 100.0}),  # in two directions
        (10, {"a": 100.1, "b": 100.1, "c": 100.01}),  # it said something new
    ],
)
def test_quiet__believed(last: tuple[int, dict[str, float]]) -> None:
    shown = _play((0, {"a": 100.0, "b": 100.0, "c": 100.0}), last)
    assert shown.refused == ()


def test_frozen__thaws_with_the_first_new_word() -> None:
    start = (0, {"a": 100.0, "b": 100.0, "c": 100.0})
    frozen = (20, {"a": 101.0, "b": 101.0, "c": 100.0})
    thawed = (21, {"a": 101.0, "b": 101.0, "c": 101.0})
    assert _play(start, frozen).refused != ()
    assert _play(start, frozen, thawed).refused == ()


def test_frozen__venue_that_joined_later__counts_from_then() -> None:
    shown = _play(
        (0, {"c": 100.0}),
        (5, {"a": 100.0, "b": 100.0, "c": 100.0}),
        (15, {"a": 100.1, "b": 100.1, "c": 100.0}),
    )
    assert frozen_feeds(shown.refused) == (("c", MARKET),)


def test_rules__no_time_at_all__refused() -> None:
    with pytest.raises(MarketDataError):
        FeedRules(frozen_after_ms=0)


@given(
    honest=st.integers(2, 4),
    lies=st.lists(st.lists(st.floats(50.0, 200.0), min_size=6, max_size=6), max_size=3),
    quiet=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_minority__cannot_freeze_an_honest_venue_nor_move_the_mark(
    honest: int, lies: list[list[float]], quiet: list[bool]
) -> None:
    """Honest venues say something new whenever the market moved; in quiet ticks they repeat."""
    lies = lies[: honest - 1]
    memory, price, at_s = FeedMemory(), 100.0, 0
    for tick, still in enumerate(quiet):
        at_s += 11
        price *= 1.0 if still else 1.001
        said = {f"h{i}": price * (1 + 0.0001 * i) for i in range(honest)}
        said |= {f"l{i}": prices[tick] for i, prices in enumerate(lies)}
        shown, memory = withhold_frozen(memory, _tick(said, at_s), RULES)
        kept = [each for each in shown.quotes if each.venue.startswith("h")]
        assert len(kept) == honest
        _check_range(shown, kept)


def _check_range(shown: QuoteRound, kept: list[Quote]) -> None:
    now_ms = int(shown.taken_at_ms)
    mark = aggregate_round(shown, [MARKET], now_ms, AggregationRules())[MARKET]
    if isinstance(mark, Mark):
        values = [each.value_e18 for each in kept]
        assert min(values) <= mark.price_e18 <= max(values)
