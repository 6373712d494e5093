"""The margin law of a position: every rounding against the trader, both solvers exact."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from contracts import margin, margin_price, messages, packing, units
from tests.contracts.margins import (
    PROVEN,
    close_rules,
    e18,
    leverages,
    logarithmic,
    money,
    prices,
    ratios,
    sides,
    signed_money,
    sizes,
    skews,
    trade_rules,
    usd,
    usual_prices,
    usual_sizes,
)

_E36 = 10**36


def exact(size, price, ratio=units.PPM):
    """What a share of a size is worth, in units of 10^-6 USDC."""
    return Fraction(size * price * ratio, _E36)


@PROVEN
@given(sizes, prices)
def test_notional__any__is_rounded_as_its_name_says(size, price):
    worth = exact(size, price)
    assert worth - 1 < margin.notional_down(size, price) <= worth
    assert worth <= margin.notional_up(size, price) < worth + 1


@PROVEN
@given(sizes, prices, leverages)
def test_initial_margin__any__is_the_next_unit_not_below(size, price, leverage):
    asked = margin.initial_margin(size, price, leverage)
    due = exact(size, price) * 100 / leverage
    assert due <= asked < due + 1


@PROVEN
@given(sizes, prices, st.integers(0, units.PPM))
def test_maintenance_margin__any__is_the_next_unit_not_below(size, price, ratio):
    asked = margin.maintenance_margin(size, price, ratio)
    assert exact(size, price, ratio) <= asked < exact(size, price, ratio) + 1


@PROVEN
@given(sizes, prices, st.integers(units.ONE_X, units.MAX_CAP_E2))
def test_maintenance_margin__of_a_cap__is_half_of_initial_margin_at_it(size, price, cap):
    asked = margin.maintenance_margin(size, price, units.maintenance_from_cap(cap))
    half = exact(size, price) * 50 / cap
    assert half - exact(size, price, 1) - 1 < asked < half + 1


@PROVEN
@given(sides, sizes, prices, prices)
def test_unrealised_pnl__any__is_the_next_unit_not_above(side, size, entry, price):
    gained = Fraction(side * size * (price - entry), 10**30)
    assert gained - 1 < margin.unrealised_pnl(side, size, entry, price) <= gained


@PROVEN
@given(sizes, prices, prices)
def test_unrealised_pnl__long_and_short_together__never_make_money(size, entry, price):
    both = sum(margin.unrealised_pnl(side, size, entry, price) for side in (1, -1))
    assert both in (-1, 0)


@PROVEN
@given(sizes, sizes, prices, leverages, ratios)
def test_margins__larger_size__ask_more(size, more, price, leverage, ratio):
    assert margin.initial_margin(size + more, price, leverage) >= margin.initial_margin(
        size, price, leverage
    )
    assert margin.maintenance_margin(size + more, price, ratio) >= margin.maintenance_margin(
        size, price, ratio
    )


@PROVEN
@given(sizes, sizes, prices, leverages, ratios)
def test_margins__split_in_two__never_ask_less(size, more, price, leverage, ratio):
    whole = margin.initial_margin(size + more, price, leverage)
    parts = [margin.initial_margin(part, price, leverage) for part in (size, more)]
    assert whole <= sum(parts) <= whole + 1
    kept = margin.maintenance_margin(size + more, price, ratio)
    assert kept <= sum(margin.maintenance_margin(part, price, ratio) for part in (size, more))


@PROVEN
@given(sizes, prices, leverages, leverages, ratios, ratios)
def test_margins__less_leverage_or_larger_ratio__ask_more(size, price, first, second, low, high):
    low, high = sorted((low, high))
    slow, fast = sorted((first, second))
    assert margin.initial_margin(size, price, slow) >= margin.initial_margin(size, price, fast)
    assert margin.maintenance_margin(size, price, high) >= margin.maintenance_margin(
        size, price, low
    )


@PROVEN
@given(sides, sizes, prices, prices, prices)
def test_unrealised_pnl__better_price__never_earns_less(side, size, entry, first, second):
    worse, better = sorted((first, second), key=lambda price: side * price)
    profits = [margin.unrealised_pnl(side, size, entry, price) for price in (worse, better)]
    assert profits[0] <= profits[1]


@PROVEN
@given(sides, sizes, prices, sizes, prices)
def test_average_entry_price__any__is_the_exact_mean_against_the_trader(
    side, size, entry, added, price
):
    mean = Fraction(size * entry + added * price, size + added)
    average = margin.average_entry_price(side, size, entry, added, price)
    assert 0 <= side * (average - mean) < 1


@PROVEN
@given(st.integers(-(10**15), 10**15), st.integers(1, 10**15))
def test_is_liquidatable__any__is_strictly_below(equity, maintenance):
    assert margin.is_liquidatable(equity, maintenance) is (equity < maintenance)
    assert not margin.is_liquidatable(maintenance, maintenance)
    assert margin.is_liquidatable(maintenance - 1, maintenance)


@pytest.mark.parametrize("equity", [-100, 0, 100])
def test_is_liquidatable__nothing_open__has_nothing_to_liquidate(equity):
    assert not margin.is_liquidatable(equity, 0)


# liquidation_price: exact


def holds(position, price):
    side, size, entry, collateral, ratio, others, asked = position
    equity = collateral + others + margin.unrealised_pnl(side, size, entry, price)
    return margin.is_liquidatable(equity, margin.maintenance_margin(size, price, ratio) + asked)


def positions(size, price):
    """Positions and the rest of their accounts, as liquidation_price takes them."""
    amounts = signed_money, ratios, signed_money, money
    return st.tuples(sides, size, price, *amounts)


def scaled_positions(size, price):
    """Positions whose collateral is of the order of their notional: the price is not far away."""
    return st.tuples(sides, size, price, st.integers(-200, 1200), ratios).map(
        lambda drawn: (
            *drawn[:3],
            margin.notional_up(drawn[1], drawn[2]) * drawn[3] // 1000,
            drawn[4],
            0,
            0,
        )
    )


# Sizes so large that one unit of a price is a noticeable amount: every price can be tried.
COARSE = scaled_positions(logarithmic(10**26, 10**32), st.integers(1, 10**6))


@PROVEN
@given(COARSE)
def test_liquidation_price__each_price_tried__is_the_first_that_holds(position):
    side, size = position[0], position[1]
    found = margin.liquidation_price(*position)
    # this many prices lie within one unit of headroom; before them every price is safe
    reach = 10**30 * 2 // size + 3
    edge = margin._price_of_last_unit(side, *position[1:3], position[3], position[4])
    start = edge + side * 3
    tried = range(start, start - side * 2 * reach, -side)
    first = next((price for price in tried if price > 0 and holds(position, price)), None)
    assert found == first


@PROVEN
@given(positions(sizes, prices) | scaled_positions(usual_sizes, usual_prices))
def test_liquidation_price__found__holds_and_one_unit_before_does_not(position):
    found = margin.liquidation_price(*position)
    if found is None:
        assert not holds(position, 1)
        assert position[0] == margin.LONG
    else:
        assert holds(position, found)
        before = found + position[0]
        assert before == 0 or not holds(position, before)


@PROVEN
@given(scaled_positions(usual_sizes, usual_prices), st.data())
def test_liquidation_price__any_price_before_it__is_safe(position, data):
    side, found = position[0], margin.liquidation_price(*position)
    assume(found is not None)
    away = data.draw(logarithmic(1, 10**25))
    before = found + side * away
    assert before <= 0 or not holds(position, before)


@PROVEN
@given(positions(sizes, prices) | scaled_positions(sizes, prices))
def test_liquidation_price__search__takes_at_most_five_steps(position):
    side, size, entry, collateral, ratio, others, asked = position
    price = margin._price_of_last_unit(side, size, entry, collateral + others - asked, ratio)
    for _ in range(5):
        if price <= 0 or holds(position, price):
            return
        price = margin._next_worse_price(side, size, entry, ratio, price)
    pytest.fail("more than five steps")


@PROVEN
@given(scaled_positions(usual_sizes, usual_prices), st.integers(1, 10**9))
def test_liquidation_price__more_collateral__is_never_nearer(position, added):
    side, collateral = position[0], position[3]
    price = margin.liquidation_price(*position)
    richer = margin.liquidation_price(*position[:3], collateral + added, *position[4:])
    assert richer is None or (price is not None and side * (price - richer) >= 0)


@PROVEN
@given(scaled_positions(usual_sizes, usual_prices), ratios)
def test_liquidation_price__larger_ratio__is_never_further(position, ratio):
    side, low, high = position[0], *sorted((position[4], ratio))
    prices_found = [
        margin.liquidation_price(*position[:4], each, *position[5:]) for each in (low, high)
    ]
    if prices_found[0] is not None:
        assert side * (prices_found[1] - prices_found[0]) >= 0


@PROVEN
@given(scaled_positions(usual_sizes, usual_prices), signed_money, money)
def test_liquidation_price__others__count_as_collateral(position, equity, asked):
    plain = margin.liquidation_price(*position[:3], position[3] + equity - asked, position[4])
    assert margin.liquidation_price(*position[:5], equity, asked) == plain


def test_liquidation_price__nothing_to_lose__is_none():
    assert margin.liquidation_price(1, e18(1), e18(100), usd(101), 10_000) is None
    assert margin.liquidation_price(1, e18(1), e18(100), usd(10), 0) is None


def test_liquidation_price__short__exists_whatever_the_collateral():
    assert margin.liquidation_price(-1, 1, 10**18, usd(10**9), 1) is not None


def test_liquidation_price__hopeless_already__is_on_the_side_of_profit():
    long = margin.liquidation_price(1, e18(1), e18(100), usd(-10), 10_000)
    assert long is not None
    assert long > e18(100)
    assert margin.liquidation_price(-1, e18(1), e18(100), usd(-1000), 10_000) == 1


# partial_close_size: the smallest

DISTRESS = st.tuples(usual_sizes, usual_prices, ratios, st.integers(1, 1499), close_rules)


def distressed(drawn):
    """Size, price, ratio, equity between nothing and 1.5 × maintenance, rules."""
    size, price, ratio, thousandths, rules = drawn
    asked = margin.maintenance_margin(size, price, ratio)
    return size, price, ratio, asked * thousandths // 1000, rules


def restores(state, close, others=0):
    size, price, ratio, equity, rules = state
    left = margin.equity_after_close(close, price, equity, rules)
    return margin.is_restored(size - close, price, ratio, left, rules, others)


@PROVEN
@given(DISTRESS, money)
def test_partial_close_size__result__restores_and_one_grid_unit_less_does_not(drawn, others):
    state = distressed(drawn)
    size, price, ratio, _, rules = state
    close = margin.partial_close_size(*state, others)
    grid = margin.close_grid(price, ratio, rules)
    assert 0 <= close <= size
    if close == 0:
        assert margin.is_restored(*state, others)
        return
    assert not margin.is_restored(*state, others)
    if close < size:
        assert close % grid == 0
        assert restores(state, close, others)
        assert close == grid or not restores(state, close - grid, others)
    elif grid is not None and size > grid:
        assert not restores(state, (size - 1) // grid * grid, others)


@PROVEN
@given(DISTRESS)
def test_partial_close_size__larger_multiples_of_the_grid__restore_too(drawn):
    state = distressed(drawn)
    size, price, ratio, _, rules = state
    close, grid = margin.partial_close_size(*state), margin.close_grid(price, ratio, rules)
    assume(0 < close < size)
    for units_more in (1, 2, 3, 1000):
        if close + units_more * grid < size:
            assert restores(state, close + units_more * grid)


@PROVEN
@given(sides, DISTRESS, usual_prices)
def test_partial_close_size__after_realising__the_position_is_restored(side, drawn, entry):
    state = distressed(drawn)
    size, price, ratio, equity, rules = state
    close = margin.partial_close_size(*state)
    assume(0 < close < size)
    collateral = equity - margin.unrealised_pnl(side, size, entry, price)
    realised = margin.unrealised_pnl(side, close, entry, price)
    paid = margin.charge(close, price, rules.cost_ppm) + margin.charge(
        close, price, rules.penalty_ppm
    )
    rest = size - close
    left = collateral + realised - paid + margin.unrealised_pnl(side, rest, entry, price)
    assert margin.is_restored(rest, price, ratio, left, rules)


@PROVEN
@given(sides, DISTRESS, skews, trade_rules)
def test_partial_close_size__real_costs_with_impact__still_restore(side, drawn, skew, market):
    size, price, ratio, equity, rules = distressed(drawn)
    bound = margin_price.close_cost_ppm(-side, size, price, skew, market)
    rules = margin.CloseRules(cost_ppm=bound, penalty_ppm=rules.penalty_ppm)
    close = margin.partial_close_size(size, price, ratio, equity, rules)
    if not 0 < close < size:  # nothing to close, or all: another test's
        return
    cost = margin_price.trade_cost(-side, close, price, skew, market)
    cost += margin.charge(close, price, market.fee_ppm)
    left = equity - cost - margin.charge(close, price, rules.penalty_ppm) - 1
    assert margin.is_restored(size - close, price, ratio, left, rules)


@PROVEN
@given(DISTRESS, st.integers(1, 10**9))
def test_partial_close_size__more_equity__never_closes_more(drawn, added):
    size, price, ratio, equity, rules = distressed(drawn)
    closes = [
        margin.partial_close_size(size, price, ratio, each, rules)
        for each in (equity, equity + added)
    ]
    assert closes[1] <= closes[0]


def test_partial_close_size__default_target__restores_one_and_a_half_times_maintenance():
    # 1 BTC at 50,000, 1 %: maintenance 500, equity 400; (750 − 400) ÷ (0.015 × 50,000) closes 47 %
    close = margin.partial_close_size(e18(1), e18(50_000), 10_000, usd(400), margin.CloseRules())
    assert e18("0.466666") < close < e18("0.466667")


def test_partial_close_size__one_unit_missing__closes_one_grid_unit():
    rules = margin.CloseRules()
    state = e18(1), e18(50_000), 10_000, usd(750) - 1, rules
    assert margin.partial_close_size(*state) == margin.close_grid(*state[1:3], rules)


def test_partial_close_size__charges_above_what_a_close_frees__closes_all():
    rules = margin.CloseRules(cost_ppm=5_000, penalty_ppm=10_000)  # 1.5 % = 1.5 × 1 %
    assert margin.close_grid(e18(100), 10_000, rules) is None
    assert margin.partial_close_size(e18(3), e18(100), 10_000, usd(2), rules) == e18(3)


def test_partial_close_size__deleveraging__restores_the_ceiling_at_no_penalty():
    # 1 BTC at 50,000 with a ceiling of 4 % and equity of 1,500: 37,500 may stay open
    rules = margin.CloseRules(target_ppm=units.PPM)
    close = margin.partial_close_size(e18(1), e18(50_000), 40_000, usd(1_500), rules)
    assert e18("0.25") <= close < e18("0.2500001")


# Bad input


@pytest.mark.parametrize("side", [0, 2, True, "1", 1.0, None])
def test_side__not_one_of_two__is_refused(side):
    with pytest.raises(units.UnitError, match="side"):
        margin.unrealised_pnl(side, 1, 1, 1)


def test_side__enum_of_the_messages__is_one():
    sides_of_messages = [messages.Side.LONG, messages.Side.SHORT]
    profits = [margin.unrealised_pnl(side, e18(1), e18(1), e18(2)) for side in sides_of_messages]
    assert profits == [usd(1), usd(-1)]


@pytest.mark.parametrize("bad", [-1, 1.5, "1", True, None])
def test_size_and_price__not_an_amount__are_refused_by_name(bad):
    with pytest.raises(units.UnitError, match="size"):
        margin.initial_margin(bad, 1, 100)
    with pytest.raises(units.UnitError, match="price"):
        margin.maintenance_margin(1, bad, 100)


@pytest.mark.parametrize(
    "arguments",
    [
        (1, 0, 1, 1, 1),
        (1, 1, -1.0, 1, 1),
        (1, 1, 1, 1.0, 1),
        (1, 1, 1, 1, -1),
        (1, 1, 1, 1, units.PPM),
        (1, 1, 1, 1, 1, 0, -1),
    ],
)
def test_liquidation_price__bad_input__is_refused(arguments):
    with pytest.raises(units.UnitError):
        margin.liquidation_price(*arguments)


@pytest.mark.parametrize("leverage", [0, 99, -100, 10.0])
def test_initial_margin__leverage_below_1x_or_no_int__is_refused(leverage):
    with pytest.raises(units.UnitError, match="leverage_e2"):
        margin.initial_margin(1, 1, leverage)


@pytest.mark.parametrize(
    "rules",
    [{"cost_ppm": -1}, {"penalty_ppm": units.PPM + 1}, {"target_ppm": units.PPM - 1}],
)
def test_close_rules__no_rule__are_refused(rules):
    with pytest.raises(units.UnitError):
        margin.CloseRules(**rules)


def test_domain__largest_values__stay_below_256_bits():
    # docs/margin.md: notional and money below 2^63 units, whatever the price and the size
    money_limit, worth_limit = 2**63, 2**63 * 10**30
    assert money_limit > packing.MAX_AMOUNT_USDC * units.USDC
    largest = [
        (worth_limit + money_limit * 10**30) * units.PPM,  # liquidation_price
        worth_limit * units.PPM * 10 * units.PPM * 2,  # partial_close_size: asked × target
        money_limit * 10**36 * units.PPM,  # partial_close_size: equity
        money_limit * money_limit * units.PPM,  # impact_cost
        money_limit * packing.MAX_PRICE_E18 * units.PPM * 2**32,  # funding_step
        (2**128 - 1) * packing.MAX_PRICE_E18 * units.PPM,  # one product, however absurd
    ]
    assert max(largest) < 2**255


@PROVEN
@given(sides, usual_sizes, st.integers(-(10**24), 0), money, ratios)
def test_liquidation_price__entry_below_zero_by_funding__is_still_the_first(
    side, size, entry, collateral, ratio
):
    price = margin.liquidation_price(side, size, entry, collateral, ratio)
    if price is None:
        assert side == margin.LONG  # one that funding has paid for entirely
        return
    for at in (price, price + side):
        equity = collateral + margin.unrealised_pnl(side, size, entry, at)
        asked = margin.maintenance_margin(size, at, ratio)
        assert at == 0 or margin.is_liquidatable(equity, asked) is (at == price)
