"""Price paid and funding: impact is one integral, no split is cheaper, no round trip pays."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import margin, margin_price, units
from tests.contracts.margins import (
    PROVEN,
    e18,
    sides,
    skews,
    trade_rules,
    usd,
    usual_prices,
    usual_sizes,
)

DAY_S = 86_400
RULES = margin_price.TradeRules(
    fee_ppm=500, spread_ppm=200, impact_ppm=10_000, size_scale=usd(1_000_000)
)
scales = st.integers(10**9, 10**14)


@PROVEN
@given(skews, skews, usual_prices, trade_rules)
def test_impact_cost__growing_skew__is_the_exact_integral_rounded_up(before, after, price, rules):
    start = 0 if before * after < 0 else abs(before)
    ends = [Fraction(skew * price, 10**30) for skew in (start, max(start, abs(after)))]
    rate = Fraction(rules.impact_ppm, units.PPM)
    integral = rate * (ends[1] ** 2 - ends[0] ** 2) / (2 * rules.size_scale)
    cost = margin_price.impact_cost(before, after, price, rules)
    assert integral <= cost
    assert cost < integral + 1 + rate * (ends[0] + ends[1] + 1) / rules.size_scale


@PROVEN
@given(skews, skews, skews, usual_prices, trade_rules)
def test_impact_cost__split__is_never_cheaper(before, between, after, price, rules):
    whole = margin_price.impact_cost(before, after, price, rules)
    first = margin_price.impact_cost(before, between, price, rules)
    assert whole <= first + margin_price.impact_cost(between, after, price, rules)


@PROVEN
@given(skews, st.integers(0, units.PPM), usual_prices, trade_rules)
def test_impact_cost__toward_zero__is_nothing(skew, share, price, rules):
    nearer = skew * share // units.PPM if skew > 0 else -(-skew * share // units.PPM)
    assert margin_price.impact_cost(skew, nearer, price, rules) == 0


@PROVEN
@given(skews, usual_sizes, usual_sizes, usual_prices, trade_rules)
def test_impact_cost__larger_trade__is_never_cheaper(skew, size, more, price, rules):
    cost = margin_price.impact_cost(skew, skew + size, price, rules)
    assert cost <= margin_price.impact_cost(skew, skew + size + more, price, rules)


def test_impact_cost__at_the_size_scale__is_half_of_the_marginal_premium():
    # 1,000,000 of skew at a scale of 1,000,000 and 1 %: 0.5 % on average
    cost = margin_price.impact_cost(0, e18(1_000_000), e18(1), RULES)
    assert cost == usd(5_000)


def test_impact_cost__through_zero__pays_only_beyond_it():
    through = margin_price.impact_cost(e18(-300), e18(200), e18(100), RULES)
    assert through == margin_price.impact_cost(0, e18(200), e18(100), RULES) > 0


@PROVEN
@given(sides, usual_sizes, usual_sizes, usual_prices, skews, trade_rules)
def test_trade_cost__order_split_in_two__is_never_cheaper(side, size, more, price, skew, rules):
    whole = margin_price.trade_cost(side, size + more, price, skew, rules)
    first = margin_price.trade_cost(side, size, price, skew, rules)
    then = margin_price.trade_cost(side, more, price, skew + side * size, rules)
    assert whole <= first + then


@PROVEN
@given(sides, usual_sizes, usual_prices, skews, trade_rules)
def test_trade_cost__round_trip_at_one_price__never_pays(side, size, price, skew, rules):
    opened = margin_price.trade_cost(side, size, price, skew, rules)
    closed = margin_price.trade_cost(-side, size, price, skew + side * size, rules)
    assert opened + closed >= 0
    if size * price // 10**30 > 0 and rules.spread_ppm:
        assert opened > 0
        assert closed > 0


@PROVEN
@given(sides, usual_sizes, usual_prices, st.integers(0, 10**6))
def test_price_paid__round_trip_at_one_price__never_profits(side, size, price, cost):
    if Fraction(cost * 10**30, size) >= price - 1:
        return
    entry = margin_price.price_paid(side, size, price, cost)
    leaving = margin_price.price_paid(-side, size, price, cost)
    assert margin.unrealised_pnl(side, size, entry, leaving) <= -2 * cost


@PROVEN
@given(
    st.lists(st.tuples(sides, usual_sizes), min_size=1, max_size=6),
    skews,
    usual_prices,
    trade_rules,
)
def test_trade_cost__any_way_there_and_back__never_pays(steps, skew, price, rules):
    position, paid, at = 0, 0, skew
    for side, size in steps:
        paid += margin_price.trade_cost(side, size, price, at, rules)
        position, at = position + side * size, at + side * size
    if position:
        back = -1 if position > 0 else 1
        paid += margin_price.trade_cost(back, abs(position), price, at, rules)
    assert paid >= 0


@PROVEN
@given(sides, usual_sizes, usual_prices, st.integers(0, 10**12))
def test_price_paid__any__is_the_exact_price_against_the_trader(direction, size, price, cost):
    exact = price + direction * Fraction(cost * 10**30, size)
    if exact <= 1:
        return
    paid = margin_price.price_paid(direction, size, price, cost)
    assert 0 <= direction * (paid - exact) < 1


def test_price_paid__cost_above_the_price__is_refused():
    with pytest.raises(units.UnitError, match="trade less"):
        margin_price.price_paid(margin.SHORT, e18(1), e18(1), usd(1))


@PROVEN
@given(sides, usual_prices, st.integers(0, 200_000))
def test_widened_price__any__moves_against_the_trader(direction, price, confidence):
    exact = price * (1 + direction * Fraction(confidence, units.PPM))
    assert 0 <= direction * (margin_price.widened_price(direction, price, confidence) - exact) < 1


@PROVEN
@given(sides, usual_sizes, usual_prices, skews, trade_rules, st.integers(1, 1000))
def test_close_cost_ppm__any_part__costs_no_more(direction, size, price, skew, rules, share):
    bound = margin_price.close_cost_ppm(direction, size, price, skew, rules)
    part = max(1, size * share // 1000)
    cost = margin_price.trade_cost(direction, part, price, skew, rules)
    cost += margin.charge(part, price, rules.fee_ppm)
    if bound < units.PPM:
        assert cost <= margin.charge(part, price, bound) + 5  # its roundings


def test_close_cost_ppm__toward_zero__has_no_impact():
    assert margin_price.close_cost_ppm(-1, e18(10), e18(100), e18(20), RULES) == 700
    assert margin_price.close_cost_ppm(-1, e18(10), e18(100), e18(5), RULES) == 705


# Funding


@PROVEN
@given(skews, usual_prices, st.integers(0, 30 * DAY_S), st.integers(0, 10**6), scales)
def test_funding_step__any__is_paid_by_the_heavier_side_within_its_limit(
    skew, price, elapsed_s, most, scale
):
    step = margin_price.funding_step(skew, price, elapsed_s, most, scale)
    assert step * skew >= 0
    assert abs(step) * units.PPM * DAY_S <= price * most * elapsed_s
    assert step == -margin_price.funding_step(-skew, price, elapsed_s, most, scale)


def test_funding_step__full_skew_for_a_day__is_the_daily_rate():
    step = margin_price.funding_step(e18(20_000), e18(100), DAY_S, 3_000, usd(1_000_000))
    assert step == e18("0.3")
    half = margin_price.funding_step(e18(5_000), e18(100), DAY_S, 3_000, usd(1_000_000))
    assert half == e18("0.15")


@PROVEN
@given(skews, usual_prices, st.integers(0, DAY_S), st.integers(0, DAY_S), scales)
def test_funding_step__split_in_time__differs_by_less_than_a_unit(skew, price, first, then, scale):
    whole = margin_price.funding_step(skew, price, first + then, 3_000, scale)
    parts = [margin_price.funding_step(skew, price, each, 3_000, scale) for each in (first, then)]
    assert 0 <= abs(whole) - abs(sum(parts)) <= 1


@PROVEN
@given(usual_sizes, st.integers(-(10**24), 10**24), st.integers(-(10**24), 10**24))
def test_funding_payment__both_sides__never_cost_the_pool(size, before, now):
    both = [margin_price.funding_payment(side, size, before, now) for side in (1, -1)]
    assert sum(both) in (-1, 0)
    assert both[0] == 0 or (both[0] < 0) is (now > before)


@pytest.mark.parametrize("field", ["fee_ppm", "spread_ppm", "impact_ppm", "size_scale"])
def test_trade_rules__below_zero__are_refused_by_name(field):
    given_rules = {"fee_ppm": 0, "spread_ppm": 0, "impact_ppm": 0, "size_scale": 1, field: -1}
    with pytest.raises(units.UnitError, match=field):
        margin_price.TradeRules(**given_rules)


@PROVEN
@given(skews, usual_prices, trade_rules)
def test_impact_cost__skew_unmoved__is_nothing_not_even_dust(skew, price, rules):
    assert margin_price.impact_cost(skew, skew, price, rules) == 0


def test_funding_payment__less_than_a_unit__is_still_asked_and_never_paid():
    payments = [margin_price.funding_payment(side, 1, 0, 1) for side in (1, -1)]
    assert payments == [-1, 0]
