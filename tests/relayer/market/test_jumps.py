"""A jump waits for all venues or a second look; nothing else does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.units import PriceE18, UnixMs
from relayer.market.aggregate import AggregationRules, Mark, NoMark, NoMarkReason, aggregate
from relayer.market.jumps import JumpRules, MarkMemory, confirm_jumps
from relayer.market.values import E18, MarketDataError
from tests.relayer.market.builders import MARKET, NOW_MS, quote

RULES = JumpRules()


def _mark(price: float, at_s: float, venues: int = 2, excluded: tuple[str, ...] = ()) -> Mark:
    quotes = [quote(f"v{n}", 100.0) for n in range(venues)]
    made = aggregate(quotes, NOW_MS, AggregationRules())
    assert isinstance(made, Mark)
    return replace(
        made,
        price_e18=PriceE18(int(price * E18)),
        observed_at_ms=UnixMs(NOW_MS + int(1_000 * at_s)),
        excluded=excluded,
    )


def _play(*marks: Mark | NoMark) -> list[bool]:
    """Tell of each mark whether it was shown."""
    memory, shown = MarkMemory(), []
    for mark in marks:
        found, memory = confirm_jumps(memory, {MARKET: mark}, RULES)
        shown.append(isinstance(found[MARKET], Mark))
    return shown


@pytest.mark.parametrize(
    ("marks", "shown"),
    [
        ([_mark(100, 0), _mark(102.9, 1)], [True, True]),  # no jump
        ([_mark(100, 0), _mark(105, 1)], [True, False]),  # two venues: waits
        ([_mark(100, 0), _mark(105, 1), _mark(105.5, 2)], [True, False, True]),  # second look
        ([_mark(100, 0), _mark(105, 1), _mark(105.5, 1.5)], [True, False, False]),  # too soon
        ([_mark(100, 0), _mark(105, 1), _mark(95, 2.5)], [True, False, False]),  # another jump
        ([_mark(100, 0), _mark(105, 1), _mark(100, 2)], [True, False, True]),  # it went away
        ([_mark(100, 0), _mark(105, 1, venues=3)], [True, True]),  # all three show it
        ([_mark(100, 0), _mark(105, 1, 3, ("v9",))], [True, False]),  # one of four stands apart
        ([_mark(100, 0), _mark(105, 10.1)], [True, True]),  # the last mark is too old
    ],
)
def test_jump__shown_or_held(marks: list[Mark], shown: list[bool]) -> None:
    assert _play(*marks) == shown


def test_jump__held__says_how_far() -> None:
    _, memory = confirm_jumps(MarkMemory(), {MARKET: _mark(100, 0)}, RULES)
    found, _ = confirm_jumps(memory, {MARKET: _mark(90, 2)}, RULES)
    held = found[MARKET]
    assert isinstance(held, NoMark)
    assert held.reason is NoMarkReason.JUMP_UNCONFIRMED
    assert "-10.0 % in 2.0 s" in held.detail


def test_jump__no_mark_in_between__passed_on_and_forgets_nothing() -> None:
    none = NoMark(market=MARKET, reason=NoMarkReason.STALE, detail="")
    assert _play(_mark(100, 0), none, _mark(105, 2)) == [True, False, False]


def test_rules__second_look_after_the_window__refused() -> None:
    with pytest.raises(MarketDataError):
        JumpRules(second_look_ms=20_000)
