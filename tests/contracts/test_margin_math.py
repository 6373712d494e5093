"""The engine's arithmetic and words on chain are the margin law in Python, bit for bit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import margin, margin_account, margin_price, margin_terms, units
from contracts.envelope import join_bits
from contracts.margin_sides import Cut, cash_of_cuts, size_after_cuts
from tests.contracts.chain import Contract, RevertedError, new_evm
from tests.contracts.doubles import double
from tests.contracts.margins import PROVEN, leverages, logarithmic, prices, sides, trade_rules
from tests.contracts.world import OWNER

E27 = 10**27
MOST_SIZE = 2**120 - 1
MOST_RATE = 2**71 - 1
MOST_CASH = 2**120
full_sizes = logarithmic(1, MOST_SIZE)
full_ratios = st.integers(0, units.PPM)
full_skews = st.builds(lambda side, size: side * size, sides, logarithmic(1, 2**100)) | st.just(0)
bases = st.builds(lambda side, size: side * size, sides, logarithmic(1, 2**110)) | st.just(0)
scales = logarithmic(10**6, 2**68)
indices = st.integers(-(2**111), 2**111 - 1)
seconds = st.integers(0, 2**24 - 1)


@pytest.fixture(scope="module")
def probe() -> Contract:
    return double(new_evm(), "MarginMathProbe", OWNER)


@PROVEN
@given(numerator=st.integers(-(2**254), 2**254), denominator=logarithmic(1, 2**200))
def test_divisions__any__round_as_named(probe, numerator, denominator):
    law = units.floor_div(numerator, denominator)
    assert probe.read("floor_div", numerator, denominator) == law
    if numerator >= 0:
        assert probe.read("ceil_div", numerator, denominator) == units.ceil_div(
            numerator, denominator
        )


def test_divisions__by_nothing__revert(probe):
    for function in ("floor_div", "ceil_div"):
        with pytest.raises(RevertedError):
            probe.read(function, 1, 0)


@PROVEN
@given(size=full_sizes, price=prices, ratio=full_ratios, leverage=leverages)
def test_amounts__any__are_the_law_s(probe, size, price, ratio, leverage):
    assert probe.read("notional_up", size, price) == margin.notional_up(size, price)
    assert probe.read("notional_down", size, price) == margin.notional_down(size, price)
    assert probe.read("charge", size, price, ratio) == margin.charge(size, price, ratio)
    assert probe.read("initial_margin", size, price, leverage) == margin.initial_margin(
        size, price, leverage
    )


@PROVEN
@given(side=sides, size=full_sizes, entry=prices, price=prices, index=st.integers(-(2**90), 2**90))
def test_profit__any__is_the_law_s_whatever_the_index(probe, side, size, entry, price, index):
    law = margin.unrealised_pnl(side, size, entry, price)
    assert probe.read("profit", side > 0, size, entry - index, price - index) == law


@PROVEN
@given(side=sides, size=full_sizes, entry=prices, added=full_sizes, price=prices)
def test_average_basis__any__is_the_law_s(probe, side, size, entry, added, price):
    law = margin.average_entry_price(side, size, entry, added, price)
    assert probe.read("average_basis", side > 0, size, entry, added, price) == law


@PROVEN
@given(
    side=sides,
    size=full_sizes,
    entry=prices,
    added=full_sizes,
    price=prices,
    index=st.integers(-(2**90), 2**90),
)
def test_average_basis__with_an_index__moves_with_it(probe, side, size, entry, added, price, index):
    law = margin.average_entry_price(side, size, entry, added, price)
    found = probe.read("average_basis", side > 0, size, entry - index, added, price - index)
    assert found == law - index


@PROVEN
@given(before=full_skews, after=full_skews, price=prices, rules=trade_rules)
def test_impact__any__is_the_law_s(probe, before, after, price, rules):
    if max(abs(before), abs(after)) * price >= 2**115 * 10**30:
        before, after = before % 2**20, after % 2**20
    law = margin_price.impact_cost(before, after, price, rules)
    found = probe.read("impact_cost", before, after, price, rules.impact_ppm, rules.size_scale)
    assert found == law


@PROVEN
@given(side=sides, size=full_sizes, price=prices, cost=st.integers(0, 2**80))
def test_price_paid__any__is_the_law_s_and_0_where_it_has_none(probe, side, size, price, cost):
    found = probe.read("price_paid", side > 0, size, price, cost)
    try:
        law = margin_price.price_paid(side, size, price, cost)
    except units.UnitError:
        law = 0
    assert found == law


@PROVEN
@given(skew=full_skews, price=prices, daily=st.integers(0, 2**20 - 1), scale=scales)
def test_funding_rate__any__is_a_second_of_the_law_s_within_its_field(
    probe, skew, price, daily, scale
):
    daily = min(daily, units.PPM)
    law = margin_price.funding_step(skew, price, 1, daily, scale)
    found = probe.read("funding_rate", skew, price, daily, scale)
    assert found == max(-MOST_RATE, min(MOST_RATE, law))


@PROVEN
@given(cap=leverages, scale=scales, own=logarithmic(1, 2**80), interest=logarithmic(1, 2**80))
def test_leverage_cap__any__is_the_law_s(probe, cap, scale, own, interest):
    law = margin_terms.leverage_cap(cap, scale, own, interest)
    assert probe.read("leverage_cap", cap, scale, own, interest) == law


@PROVEN
@given(start=full_ratios, target=full_ratios, elapsed=seconds, ramp=seconds)
def test_ramped_ppm__any__is_the_law_s(probe, start, target, elapsed, ramp):
    law = margin_terms.ramped_ppm(start, target, elapsed, ramp)
    assert probe.read("ramped_ppm", start, target, elapsed, ramp) == law


@PROVEN
@given(initial=logarithmic(1, 2**90), notional=logarithmic(1, 2**90))
def test_locked_margin__any__is_the_law_s(probe, initial, notional):
    law = margin_account.locked_margin(initial, notional)
    assert probe.read("locked_margin", initial, notional) == law


@PROVEN
@given(
    long=st.booleans(),
    size=full_sizes,
    basis=st.integers(-(2**94), 2**94),
    before=st.integers(10**9, E27),
    share=st.integers(0, E27),
    paid=st.integers(-(2**180), 2**180),
)
def test_cuts__any__are_the_law_s(probe, long, size, basis, before, share, paid):
    then = Cut(keep_e27=before)
    now = Cut(keep_e27=before * share // E27, cash=paid)
    left = size_after_cuts(size, then, now)
    assert probe.read("cut_size", size, then.keep_e27, now.keep_e27) == left
    cash = cash_of_cuts(1 if long else -1, size, basis, then, now)
    kept = (then.keep_e27, now.keep_e27)
    if abs(cash) < MOST_CASH:
        assert probe.read("cut_cash", long, size, basis, *kept, paid) == cash


@PROVEN
@given(
    size=full_sizes,
    basis=indices,
    flags=st.integers(0, 7),
    index=indices,
    rate=st.integers(-(2**71), 2**71 - 1),
    elapsed=st.integers(0, 2**32),
    settled=st.booleans(),
)
def test_words__any__are_read_as_they_were_packed(
    probe, size, basis, flags, index, rate, elapsed, settled
):
    word = join_bits([size, basis % 2**112, 500, flags], [120, 112, 16, 3])
    assert probe.read("basis", word) == basis
    at = probe.evm.now_s - elapsed % (probe.evm.now_s + 1)
    flow = join_bits(
        [index % 2**112, rate % 2**72, at, 3, 4, 0, int(settled)], [112, 72, 40, 15, 15, 1, 1]
    )
    assert probe.read("index", flow) == index
    assert probe.read("rate", flow) == rate
    now = index if settled else index + rate * (probe.evm.now_s - at)
    assert probe.read("index_now", flow) == now
    assert probe.read("signed_112", basis) == basis % 2**112


def test_signed_112__beyond_its_field__reverts(probe):
    for number in (2**111, -(2**111) - 1):
        with pytest.raises(RevertedError):
            probe.read("signed_112", number)
