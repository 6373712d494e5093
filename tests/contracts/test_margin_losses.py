"""Liquidation: the slope of the penalty, nothing taken that is not there, losses in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import margin, margin_losses, units
from tests.contracts.margins import PROVEN, money, signed_money

rates = st.tuples(st.integers(0, 50_000), st.integers(0, 50_000)).map(sorted)
asked = st.integers(1, 10**13)


@PROVEN
@given(signed_money, asked, rates)
def test_penalty_ppm__any__lies_between_minimum_and_maximum(equity, maintenance, rate):
    assert rate[0] <= margin_losses.penalty_ppm(equity, maintenance, *rate) <= rate[1]


@PROVEN
@given(signed_money, st.integers(1, 10**12), asked, rates)
def test_penalty_ppm__less_equity__is_never_cheaper(equity, less, maintenance, rate):
    here = margin_losses.penalty_ppm(equity, maintenance, *rate)
    assert here <= margin_losses.penalty_ppm(equity - less, maintenance, *rate)


@PROVEN
@given(asked, rates)
def test_penalty_ppm__ends_of_the_slope__are_the_limits(maintenance, rate):
    assert margin_losses.penalty_ppm(maintenance, maintenance, *rate) == rate[0]
    assert margin_losses.penalty_ppm(0, maintenance, *rate) == rate[1]
    assert margin_losses.penalty_ppm(-1, maintenance, *rate) == rate[1]


def test_penalty_ppm__half_way__is_half_way_rounded_up():
    assert margin_losses.penalty_ppm(50, 100, 1_000, 5_000) == 3_000
    assert margin_losses.penalty_ppm(99, 100, 1_000, 1_001) == 1_001


def test_penalty_ppm__limits_exchanged__are_refused():
    with pytest.raises(units.UnitError, match="above"):
        margin_losses.penalty_ppm(1, 1, 2, 1)


@PROVEN
@given(signed_money, money, money, money)
def test_settle__any__divides_exactly_what_there_is(equity, cost, penalty, reward):
    settled = margin_losses.settle(equity, cost, penalty, reward)
    parts = settled.cost + settled.penalty + settled.trader
    assert parts - settled.loss == equity
    assert min(parts, settled.loss) == 0
    assert settled.cost <= cost
    assert settled.penalty <= penalty
    assert settled.reward <= min(reward, settled.penalty)
    assert settled.penalty == 0 or settled.cost == cost
    assert settled.trader == 0 or settled.penalty == penalty


@PROVEN
@given(st.integers(1, 10**12), money, money)
def test_settle__against_a_close__is_never_the_cheaper_exit(equity, cost, penalty):
    closed = margin_losses.settle(equity, cost, 0, 0)
    assert margin_losses.settle(equity, cost, penalty, 0).trader <= closed.trader


@PROVEN
@given(money, money, money)
def test_share_loss__any__is_borne_in_order_and_whole(loss, collateral, insurance):
    shares = margin_losses.share_loss(loss, collateral, insurance)
    assert shares.collateral + shares.insurance + shares.pool == loss
    assert shares.insurance == 0 or shares.collateral == collateral
    assert shares.pool == 0 or shares.insurance == insurance
    assert shares.collateral <= collateral
    assert shares.insurance <= insurance


@PROVEN
@given(signed_money, asked)
def test_is_backstop__any__is_strictly_below_two_thirds(equity, maintenance):
    assert margin_losses.is_backstop(equity, maintenance) is (3 * equity < 2 * maintenance)
    assert not margin_losses.is_backstop(equity, maintenance) or margin.is_liquidatable(
        equity, maintenance
    )


def test_is_backstop__exactly_two_thirds__is_not_yet():
    assert not margin_losses.is_backstop(200, 300)
    assert margin_losses.is_backstop(199, 300)
    assert not margin_losses.is_backstop(-1, 0)
