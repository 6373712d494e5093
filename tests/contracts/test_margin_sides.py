"""A side of a market: funding in its prices, aggregates, cuts, and how much is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import margin, margin_price, margin_sides, units
from tests.contracts.margins import (
    PROVEN,
    e18,
    money,
    sides,
    skews,
    usd,
    usual_prices,
    usual_sizes,
)

E27 = margin_sides.WHOLE_E27
indices = st.integers(-(10**24), 10**24)
held = st.lists(st.tuples(usual_sizes, usual_prices), min_size=1, max_size=6)
keeps = st.integers(E27 // 10, E27)


def sums(positions):
    return sum(size for size, _ in positions), sum(size * basis for size, basis in positions)


@PROVEN
@given(sides, usual_sizes, usual_prices, usual_prices, indices, indices)
def test_profit__with_funding_in_the_entry_price__is_price_and_funding_of_before(
    side, size, entry, price, before, now
):
    moved = margin.unrealised_pnl(side, size, entry - before + now, price)
    apart = margin.unrealised_pnl(side, size, entry, price)
    apart += margin_price.funding_payment(side, size, before, now)
    assert moved - 1 <= apart <= moved


@PROVEN
@given(sides, held, usual_prices)
def test_side_profit__of_the_sums__is_that_of_the_positions_but_for_roundings(side, positions, net):
    each = sum(margin.unrealised_pnl(side, size, basis, net) for size, basis in positions)
    whole = margin_sides.side_profit(side, *sums(positions), net)
    assert whole - len(positions) < each <= whole


@PROVEN
@given(sides, usual_sizes, usual_prices, usual_sizes, usual_prices, indices)
def test_average_entry_price__net_of_funding__is_the_same_position(
    side, size, entry, added, price, index
):
    plain = margin.average_entry_price(side, size, entry, added, price)
    net = margin.average_entry_price(side, size, entry - index, added, price - index)
    assert net == plain - index


@PROVEN
@given(skews, usual_prices, st.integers(0, units.PPM), st.integers(1, 10**15))
def test_funding_rate__any__has_the_sign_of_the_skew_and_fits(skew, price, daily, scale):
    rate = margin_sides.funding_rate(skew, price, daily, scale)
    assert rate * skew >= 0
    assert abs(rate) <= min(margin_sides.MAX_RATE, price * daily // (units.PPM * 86_400))


def test_funding_rate__absurd_price__is_held_to_its_field():
    args = (10**36, 10**28, units.PPM, 1)
    assert margin_sides.funding_rate(*args) == margin_sides.MAX_RATE
    assert margin_sides.funding_rate(-args[0], *args[1:]) == -margin_sides.MAX_RATE


def cut_all(side, positions, keeps_e27, prices):
    """Cut a side several times: its cuts, its aggregates, and all payouts."""
    cuts, payouts = [margin_sides.NO_CUT], 0
    size, basis_sum = sums(positions)
    for keep, price in zip(keeps_e27, prices, strict=True):
        after = margin_sides.next_cut(cuts[-1], keep, price)
        left = margin_sides.sums_after_cut(side, size, basis_sum, cuts[-1], after)
        payouts += margin_sides.cut_payout(
            margin_sides.side_numerator(side, size, basis_sum, price),
            margin_sides.side_numerator(side, *left, price),
        )
        (size, basis_sum), cuts = left, [*cuts, after]
    return cuts, (size, basis_sum), payouts


rounds = st.lists(st.tuples(keeps, usual_prices), min_size=1, max_size=5)


@PROVEN
@given(sides, held, rounds)
def test_cuts__any__leave_every_position_the_same_share(side, positions, cuts_made):
    cuts, _, _ = cut_all(side, positions, *zip(*cuts_made, strict=True))
    for size, _ in positions:
        left = margin_sides.size_after_cuts(size, cuts[0], cuts[-1])
        exact = size * cuts[-1].keep_e27
        assert left * E27 <= exact < (left + 1) * E27


@PROVEN
@given(sides, held, rounds)
def test_cuts__any__leave_aggregates_at_least_the_positions(side, positions, cuts_made):
    cuts, (size, _), _ = cut_all(side, positions, *zip(*cuts_made, strict=True))
    left = [margin_sides.size_after_cuts(each, cuts[0], cuts[-1]) for each, _ in positions]
    assert 0 <= size - sum(left) <= len(positions) + len(cuts_made)


@PROVEN
@given(sides, held, rounds)
def test_cuts__any__pay_the_pot_what_positions_are_owed(side, positions, cuts_made):
    cuts, _, payouts = cut_all(side, positions, *zip(*cuts_made, strict=True))
    owed = [
        margin_sides.cash_of_cuts(side, size, basis, cuts[0], cuts[-1]) for size, basis in positions
    ]
    assert 0 <= payouts - sum(owed) <= 3 * (len(positions) + len(cuts_made))


@PROVEN
@given(sides, usual_sizes, usual_prices, keeps, usual_prices)
def test_cut__at_the_mark__changes_no_equity(side, size, basis, keep, price):
    after = margin_sides.next_cut(margin_sides.NO_CUT, keep, price)
    left = margin_sides.size_after_cuts(size, margin_sides.NO_CUT, after)
    cash = margin_sides.cash_of_cuts(side, size, basis, margin_sides.NO_CUT, after)
    before = margin.unrealised_pnl(side, size, basis, price)
    rounded = 3 + size // 10**30  # the price of a unit is rounded down, once for all units
    unit = abs(price - basis) // 10**30 + 1
    assert abs(cash + margin.unrealised_pnl(side, left, basis, price) - before) <= rounded + unit


@PROVEN
@given(sides, usual_sizes, usual_prices, rounds)
def test_cuts__read_at_once_or_one_by_one__leave_and_pay_nearly_the_same(
    side, size, basis, cuts_made
):
    cuts, _, _ = cut_all(side, [(size, basis)], *zip(*cuts_made, strict=True))
    left, cash = size, 0
    for then, now in pairwise(cuts):
        cash += margin_sides.cash_of_cuts(side, left, basis, then, now)
        left = margin_sides.size_after_cuts(left, then, now)
    at_once = margin_sides.size_after_cuts(size, cuts[0], cuts[-1])
    assert 0 <= at_once - left <= len(cuts_made)
    paid = margin_sides.cash_of_cuts(side, size, basis, cuts[0], cuts[-1])
    assert abs(paid - cash) <= 3 * len(cuts_made) + size // 10**30 + 1


@PROVEN
@given(money, money, st.integers(0, units.PPM))
def test_cut_e27__any__takes_at_most_the_excess_and_what_can_be_paid(profit, assets, share):
    taken = margin_sides.cut_e27(profit, assets, share)
    assert taken == 0 or margin_sides.LEAST_CUT_E27 <= taken <= margin_sides.MOST_CUT_E27
    if taken:
        paid = profit * taken // E27
        assert paid <= assets
        left = profit - paid
        assert (left + 2) * units.PPM >= share * (assets - paid)  # never below what it restores


@PROVEN
@given(st.integers(usd(1_000), 10**15), st.integers(usd(1_000), 10**15), st.integers(0, 900_000))
def test_cut_e27__not_held_back__restores_the_share(profit, assets, share):
    taken = margin_sides.cut_e27(profit, assets, share)
    most = (assets - 2) * E27 // (profit + 1)
    if taken and taken < min(margin_sides.MOST_CUT_E27, most):
        paid = -(-profit * taken // E27)
        assert (profit - paid) * units.PPM <= share * (assets - paid) + units.PPM


@pytest.mark.parametrize(
    ("profit", "assets", "share", "taken"),
    [
        (usd(20), usd(1_000), 20_000, 0),  # at its share
        (0, 0, 20_000, 0),
        (usd(100), 1, 20_000, 0),  # nothing to pay with
        (usd(100), usd(1_000), units.PPM, 0),  # within all of it
        (usd("20.19"), usd(1_000), 20_000, 0),  # less than 1 % would be cut
        (usd(5_000), usd(1_000), 0, (usd(1_000) - 2) * E27 // (usd(5_000) + 1)),
        (usd(500), usd(1_000), 0, margin_sides.MOST_CUT_E27),
    ],
)
def test_cut_e27__at_its_edges__is_this(profit, assets, share, taken):
    assert margin_sides.cut_e27(profit, assets, share) == taken


def test_index_at__later__grows_by_the_rate():
    assert margin_sides.index_at(5, -2, 10) == -15


def test_next_cut__at_a_price__adds_what_was_not_kept():
    after = margin_sides.next_cut(margin_sides.NO_CUT, E27 * 3 // 4, e18(8))
    assert after == margin_sides.Cut(keep_e27=E27 * 3 // 4, cash=e18(2) * E27)
