"""Cross accounts: sums, stale markets, what is locked, what may leave, who is riskier."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import margin, margin_account, units
from tests.contracts.margins import PROVEN, cross_positions, e18, money, signed_money, usd

books = st.lists(cross_positions, max_size=4)
HELD = margin_account.CrossPosition(
    side=1,
    size=e18(1),
    entry_price=e18(100),
    price=e18(110),
    leverage_e2=1_000,
    maintenance_ppm=50_000,
    profit_share_ppm=500_000,
)


@PROVEN
@given(signed_money, books)
def test_account_margin__any_book__is_the_sum_of_its_positions(balance, book):
    account = margin_account.account_margin(balance, book)
    assert account.equity == balance + sum(each.profit for each in book)
    assert account.maintenance == sum(each.maintenance for each in book)
    assert account.initial == sum(each.initial for each in book)
    assert account == margin_account.account_margin(balance, book[::-1])


@PROVEN
@given(signed_money, books)
def test_account_margin__stale_markets__never_raise_equity_nor_lower_maintenance(balance, book):
    live = [replace(each, is_live=True) for each in book]
    account, whole = (margin_account.account_margin(balance, each) for each in (book, live))
    assert account.equity <= whole.equity
    assert account.opening_equity <= whole.opening_equity
    assert account.maintenance == whole.maintenance


@PROVEN
@given(cross_positions)
def test_profit__stale__is_the_loss_in_full_and_profit_not_at_all(position):
    live = replace(position, is_live=True).profit
    assert replace(position, is_live=False).profit == min(0, live)


@PROVEN
@given(signed_money, books)
def test_account_margin__opening_equity__never_counts_more_than_there_is(balance, book):
    account = margin_account.account_margin(balance, book)
    assert account.opening_equity <= account.equity


def test_reusable_profit__share_of_the_market__carries_new_positions():
    assert (HELD.profit, HELD.reusable_profit) == (usd(10), usd(5))
    lost = replace(HELD, price=e18(90))
    assert lost.profit == lost.reusable_profit == usd(-10)


def test_funding__of_a_position__counts_in_its_profit():
    assert replace(HELD, funding=usd(-3)).profit == usd(7)


@PROVEN
@given(signed_money, books)
def test_free_margin_and_withdrawable__one_price_stale__are_nothing(balance, book):
    account = margin_account.account_margin(balance, [*book, replace(HELD, is_live=False)])
    assert account.free_margin == account.withdrawable == 0


@PROVEN
@given(money, money)
def test_locked_margin__any__is_the_larger_of_initial_margin_and_a_tenth(initial, notional):
    locked = margin_account.locked_margin(initial, notional)
    assert locked >= initial
    assert locked * 10 >= notional
    assert locked == initial or (locked - 1) * 10 < notional


@PROVEN
@given(money, books)
def test_withdrawable__taken_whole__leaves_what_is_locked_and_nobody_liquidatable(balance, book):
    live = [replace(each, is_live=True) for each in book]
    account = margin_account.account_margin(balance, live)
    taken = account.withdrawable
    assert 0 <= taken <= max(0, balance)
    if taken:
        after = margin_account.account_margin(balance - taken, live)
        assert after.equity >= margin_account.locked_margin(after.initial, after.notional)
        one_more = account.equity - taken - 1
        locked = margin_account.locked_margin(account.initial, account.notional)
        assert taken == balance or one_more < locked


def test_withdrawable__profit_not_realised__is_paid_by_nobody():
    assert margin_account.withdrawable(usd(100), usd(1_000), usd(50)) == usd(100)


@PROVEN
@given(books)
def test_liquidation_order__any_book__is_the_live_ones_largest_maintenance_first(book):
    order = margin_account.liquidation_order(book)
    assert sorted(order) == [index for index, each in enumerate(book) if each.is_live]
    asked = [book[index].maintenance for index in order]
    assert asked == sorted(asked, reverse=True)


def test_liquidation_order__equal_ones__keep_the_order_given():
    assert margin_account.liquidation_order([HELD, replace(HELD, size=e18(2)), HELD]) == (1, 0, 2)


def test_liquidation_order__stale_dust_market__shields_nothing():
    dust = replace(HELD, size=1, is_live=False)
    book = [dust, replace(HELD, price=e18(90), size=e18(100))]
    account = margin_account.account_margin(usd(1_000), book)
    assert margin.is_liquidatable(account.equity, account.maintenance)
    assert margin_account.liquidation_order(book) == (1,)


risks = st.tuples(st.integers(-(10**6), 10**6), st.integers(1, 10**6))


@PROVEN
@given(risks, risks)
def test_compare_risk__any_two__order_by_equity_over_maintenance(first, second):
    ordered = margin_account.compare_risk(*first, *second)
    assert ordered == -margin_account.compare_risk(*second, *first)
    ratios = [Fraction(*each) for each in (first, second)]
    if ratios[0] != ratios[1]:
        assert ordered == (1 if ratios[0] < ratios[1] else -1)
    else:
        assert (ordered == 0) is (first == second)


@PROVEN
@given(risks, risks)
def test_is_valid_transition__any__lets_only_risk_fall(old, new):
    falls = new[1] <= old[1] and Fraction(*new) >= Fraction(*old)
    assert margin_account.is_valid_transition(*old, *new) is falls


def test_is_valid_transition__everything_closed__must_leave_no_debt():
    assert margin_account.is_valid_transition(5, 10, 0, 0)
    assert not margin_account.is_valid_transition(-5, 10, -1, 0)


def test_cross_position__what_none_can_be__is_refused_by_name():
    for field, bad in {"side": 0, "size": 0, "price": 0, "profit_share_ppm": 10**7}.items():
        with pytest.raises(units.UnitError, match=field):
            replace(HELD, **{field: bad})
