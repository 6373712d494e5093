"""What a change of parameters would do to open positions, counted in the law's own arithmetic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.book import Book
from contracts.book_margin import cross_margin, is_safe, standing
from contracts.book_words import CROSS, ISOLATED, split_position_id
from contracts.impact import (
    NO_IMPACT,
    at_end,
    concerned,
    impact_of,
    part_of,
    rising,
    stakes_of,
)
from contracts.margin import LONG
from contracts.risk_bounds import Values
from contracts.risk_oracle import MarketState
from contracts.units import PPM, maintenance_from_cap
from tests.contracts.books import ACCOUNTS, START_S, Walk, at_price, opened_book, readings, trade
from tests.contracts.margins import e18, usd

STATE = MarketState(
    values=Values(
        cap_e2=2_500,
        open_interest_cap_usdc=5_000_000,
        size_scale_usdc=1_000_000,
        spread_ppm=200,
        reduce_only=False,
    ),
    previous=Values(
        cap_e2=2_500,
        open_interest_cap_usdc=5_000_000,
        size_scale_usdc=1_000_000,
        spread_ppm=200,
        reduce_only=False,
    ),
    frozen=False,
    revertible=False,
    held=False,
    class_id=1,
    ai_epoch=0,
    drift_used=0,
    validity_s=900,
    observed_at_ms=START_S * 1_000,
    ramp_from_ppm=maintenance_from_cap(2_500),
    changed_at_s=START_S,
    ramp_s=0,
)


def capped(cap_e2: int, **changes) -> MarketState:
    """The state with another cap."""
    return replace(STATE, values=replace(STATE.values, cap_e2=cap_e2), **changes)


def fallen(book: Book, seen, price: str):
    """Later, at another price."""
    return at_price(seen, e18(price), seconds=5)


def one(**changes):
    """One long of 10,000 USDC at 10x, isolated and managed, at 100."""
    book = opened_book()
    return trade(book, readings(), LONG, 10_000, **changes)


def test_rising__renewal_or_looser__asks_nobody_for_more():
    assert rising(STATE, STATE) is None
    assert rising(STATE, capped(3_000)) is None


def test_rising__for_new_risk_only__asks_nobody_for_more():
    values = replace(STATE.values, reduce_only=True, open_interest_cap_usdc=0, spread_ppm=900)
    assert rising(STATE, replace(STATE, values=values)) is None


def test_rising__cap_down__gives_where_the_ramp_ends():
    assert rising(STATE, capped(1_250)) == 40_000


def test_rising__held_by_a_revert__starts_from_what_is_held():
    held = capped(1_250, held=True, ramp_from_ppm=20_000)
    assert rising(held, replace(held, held=False)) == 40_000


def test_rising__looser_than_what_runs__asks_nobody_for_more():
    running = capped(1_000, ramp_from_ppm=20_000, ramp_s=3_600)
    assert rising(running, capped(1_100)) is None


def test_impact__plenty_of_margin__is_touched_and_not_brought():
    book, seen = one()
    found = impact_of(book, seen, {0: 40_000})
    assert (found.touched, found.accounts, found.liquidatable) == (1, 0, 0)
    assert found.notional == 0


def test_impact__equity_between_the_two_asks__is_brought_and_lost():
    book, seen = one()
    seen = fallen(book, seen, "92.5")  # equity between 2 % and 4 % of notional
    found = impact_of(book, seen, {0: 40_000})
    assert (found.touched, found.accounts, found.liquidatable) == (1, 1, 1)
    assert found.notional == pytest.approx(usd(9_250), rel=0.01)
    assert found.share_ppm == PPM


def test_impact__near_at_the_end__is_brought_and_not_lost():
    book, seen = one()
    seen = fallen(book, seen, "93.5")  # equity between 4 % and 5 % of notional
    found = impact_of(book, seen, {0: 40_000})
    assert (found.accounts, found.liquidatable) == (1, 0)


def test_impact__fixed_position__is_not_touched():
    book, seen = one(managed=False)
    seen = fallen(book, seen, "93")
    assert impact_of(book, seen, {0: 40_000}).touched == 0


def test_impact__beyond_the_ceiling__asks_the_ceiling_only():
    book, seen = one()
    seen = fallen(book, seen, "94")
    at_ceiling = impact_of(book, seen, {0: 40_000})
    assert impact_of(book, seen, {0: 400_000}) == at_ceiling


def test_impact__liquidatable_already__is_not_the_changes_doing():
    book, seen = one()
    seen = fallen(book, seen, "90")
    found = impact_of(book, seen, {0: 40_000})
    assert (found.accounts, found.liquidatable) == (0, 0)


def test_impact__other_market__is_nobody():
    book, seen = one()
    assert impact_of(book, seen, {1: 40_000}) == NO_IMPACT


def test_impact__cross_account_in_two_markets__only_both_together_bring_it():
    book, seen = one(mode=CROSS, margin=usd(1_100))
    book, seen = trade(book, seen, LONG, 10_000, mode=CROSS, market=1, margin=usd(1_100))
    sums = cross_margin(book, seen, ACCOUNTS[0])
    # a distance that 20,000 x 4 % comes within, and half of it does not
    near_ppm = sums.equity * PPM // (sums.maintenance * 2) - PPM + 1_000
    apart = [impact_of(book, seen, {market: 40_000}, near_ppm) for market in (0, 1)]
    together = impact_of(book, seen, {0: 40_000, 1: 40_000}, near_ppm)
    assert [each.accounts for each in (*apart, together)] == [0, 0, 1]
    assert together.notional == sums.notional


def test_impact__many_small_changes__count_what_is_not_asked_yet():
    book, seen = one()
    seen = fallen(book, seen, "93")
    running = capped(2_000, ramp_from_ppm=20_000, ramp_s=3_600)
    end = rising(running, capped(1_250))
    assert impact_of(book, seen, {0: end}) == impact_of(book, seen, {0: 40_000})


@pytest.mark.parametrize("seed", range(6))
def test_impact__random_histories__as_the_law_says_of_each(seed: int):
    walk, ends = Walk(seed=seed), {0: 30_000, 2: 40_000}
    counted = 0
    for step in range(900):
        walk.step()
        if step % 30:
            continue
        counted += check(walk.book, walk.seen, ends)
    assert counted > 0


def check(book: Book, seen, ends) -> int:
    """Hold the count against the law, one position after the other."""
    after = at_end(seen, ends)
    stakes = stakes_of(book, seen, ends)
    lost = {each.name for each in stakes if each.is_lost}
    touched = set()
    for identity, held in book.positions.items():
        if held.size == 0:
            continue
        account, _, mode = split_position_id(identity)
        name = identity if mode == ISOLATED else account
        was, will = standing(book, seen, identity), standing(book, after, identity)
        if will.ratio_ppm > was.ratio_ppm:
            touched.add(name)
            assert identity in concerned(book, seen, ends)
        newly = is_safe(book, seen, identity) and not is_safe(book, after, identity)
        assert newly == (name in lost)
    assert {each.name for each in stakes} <= touched
    whole, part = impact_of(book, seen, ends), part_of(book, seen, ends)
    assert impact_of(part, seen, ends) == whole
    return whole.touched
