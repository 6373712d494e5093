"""The liquidator's arithmetic on chain is the margin law in Python, bit for bit."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from contracts import margin, margin_losses, margin_price, margin_sides, units
from tests.contracts.chain import Contract, new_evm
from tests.contracts.doubles import double
from tests.contracts.margins import (
    PROVEN,
    close_rules,
    logarithmic,
    money,
    ratios,
    sides,
    signed_money,
    sizes,
    skews,
    trade_rules,
    usual_prices,
    usual_sizes,
)
from tests.contracts.world import OWNER

E27 = 10**27
FULL = 2**62  # USDC e6: beyond every open-interest cap

penalties = st.tuples(st.integers(0, 65_535), st.integers(0, units.PPM)).map(sorted)


@pytest.fixture(scope="module")
def probe() -> Contract:
    return double(new_evm(), "LiquidationMathProbe", OWNER)


@PROVEN
@given(equity=signed_money, maintenance=money)
def test_predicates__any__are_the_law_s(probe, equity, maintenance):
    law = margin.is_liquidatable(equity, maintenance)
    assert probe.read("is_liquidatable", equity, maintenance) is law
    assert probe.read("is_backstop", equity, maintenance) is margin_losses.is_backstop(
        equity, maintenance
    )


@pytest.mark.parametrize("maintenance", [1, 2, 3, 999_999, 10**15])
def test_predicates__around_their_thresholds__are_strict(probe, maintenance):
    two_thirds = 2 * maintenance // 3
    for equity in (maintenance - 1, maintenance, two_thirds - 1, two_thirds, two_thirds + 1):
        law = margin.is_liquidatable(equity, maintenance)
        assert probe.read("is_liquidatable", equity, maintenance) is law
        assert probe.read("is_backstop", equity, maintenance) is (3 * equity < 2 * maintenance)


@PROVEN
@given(equity=signed_money, maintenance=logarithmic(1, 10**15), limits=penalties)
def test_penalty__any__is_the_law_s(probe, equity, maintenance, limits):
    law = margin_losses.penalty_ppm(equity, maintenance, *limits)
    assert probe.read("penalty_ppm", equity, maintenance, *limits) == law


@PROVEN
@given(side=sides, size=usual_sizes, price=usual_prices, skew=skews, rules=trade_rules)
def test_close_cost__any__is_the_law_s(probe, side, size, price, skew, rules):
    law = margin_price.close_cost_ppm(-side, size, price, skew, rules)
    flat = rules.fee_ppm + rules.spread_ppm
    scale = (flat, rules.impact_ppm, rules.size_scale)
    assert probe.read("close_cost_ppm", side > 0, size, price, skew, *scale) == law


def _asked(size, price, ratio, equity, rules, others):
    parts = (rules.cost_ppm, rules.penalty_ppm, rules.target_ppm)
    return (size, price, ratio, equity, others, *parts)


@PROVEN
@given(
    size=sizes,
    price=usual_prices,
    ratio=ratios,
    equity=signed_money,
    rules=close_rules,
    others=money,
)
def test_partial_close__any__is_the_law_s(probe, size, price, ratio, equity, rules, others):
    assume(size * price < FULL * 10**30)
    law = margin.partial_close_size(size, price, ratio, equity, rules, others)
    assert probe.read("partial_close_size", _asked(size, price, ratio, equity, rules, others)) == (
        law
    )


@PROVEN
@given(
    size=usual_sizes,
    price=usual_prices,
    ratio=st.integers(5_000, 500_000),
    rules=close_rules,
    share=st.integers(0, 2 * units.PPM),
)
def test_partial_close__between_bankruptcy_and_target__is_the_law_s(
    probe, size, price, ratio, rules, share
):
    assume(size * price < FULL * 10**30)
    asked = margin.maintenance_margin(size, price, ratio)
    equity = asked * share // units.PPM
    law = margin.partial_close_size(size, price, ratio, equity, rules)
    assert probe.read("partial_close_size", _asked(size, price, ratio, equity, rules, 0)) == law


@PROVEN
@given(
    assets=logarithmic(10**6, 10**15),
    shares=st.tuples(st.integers(0, 999_998), st.integers(1, 999_999)).map(sorted),
)
def test_cut__that_nothing_limits__is_the_smallest_that_brings_profit_to_its_share(
    probe, assets, shares
):
    share, profit = shares[0], assets * shares[1] // units.PPM
    cut = probe.read("cut_e27", profit, assets, share)
    assume(E27 // 100 < cut < min(9 * E27 // 10, (assets - 2) * E27 // (profit + 1)))
    ratio = Fraction(share, units.PPM)
    taken = Fraction(cut, E27) * profit
    assert profit - taken <= ratio * (assets - taken)
    less = Fraction(cut - 1, E27) * profit
    assert profit - less > ratio * (assets - less)


@PROVEN
@given(profit=money, assets=money, share=st.integers(0, units.PPM))
def test_cut__any__leaves_the_pool_something_and_the_side_a_tenth(probe, profit, assets, share):
    cut = probe.read("cut_e27", profit, assets, share)
    assert cut == margin_sides.cut_e27(profit, assets, share)
    assert cut == 0 or E27 // 100 <= cut <= 9 * E27 // 10
    assert cut * (profit + 1) <= max(0, assets - 2) * E27
    if profit * units.PPM <= share * assets or assets <= 2:
        assert cut == 0
