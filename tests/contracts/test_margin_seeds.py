"""Every sentence about margin in the founding documents, shown on numbers.

Each test quotes its sentence. Which mode is the default is configuration, because the documents
differ; that test belongs to it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts import margin, margin_account, margin_losses, margin_price, margin_terms, units
from contracts.messages import Adjustment
from tests.contracts.margins import e18, usd

LONG, SHORT = margin.LONG, margin.SHORT
CAP = units.LeverageE2(2_000)  # 20x
MAINTENANCE = units.maintenance_from_cap(CAP)  # 2.5 %


def held(side, size, entry, price, leverage_e2=1_000):
    return margin_account.CrossPosition(
        side=side,
        size=e18(size),
        entry_price=e18(entry),
        price=e18(price),
        leverage_e2=leverage_e2,
        maintenance_ppm=MAINTENANCE,
        profit_share_ppm=500_000,
    )


def is_liquidated(account):
    return margin.is_liquidatable(account.equity, account.maintenance)


# supercexy: cross-margin vs isolated margin

ETH = (LONG, e18("0.5"), e18(2_000))  # a $1,000 ETH long
BTC = (LONG, e18("0.01"), e18(50_000))  # a $500 BTC long


def test_supercexy__ten_thousand_account_one_thousand_eth_long__is_based_on_the_whole_balance():
    """You have $10,000 … You open a $1,000 ETH long … it's based on your whole balance."""
    assert margin.notional_up(*ETH[1:]) == usd(1_000)
    assert margin.liquidation_price(*ETH, usd(10_000), MAINTENANCE) is None
    on_its_own = margin.liquidation_price(*ETH, usd(1_000) // 20, MAINTENANCE)
    assert e18(1_948) < on_its_own < e18(1_949)


def test_supercexy__cross__is_harder_to_get_liquidated():
    """Harder to get liquidated (you have more margin) … This reduces liquidation risk."""
    short = (SHORT, *ETH[1:])
    isolated = margin.liquidation_price(*short, usd(50), MAINTENANCE)
    cross = margin.liquidation_price(*short, usd(10_000), MAINTENANCE)
    assert e18(2_048) < isolated < e18(2_049)
    assert e18(21_463) < cross < e18(21_464)


def test_supercexy__cross__one_large_loss_drains_the_entire_balance():
    """A large loss in one position can drain your entire balance … everything is connected."""
    book = [held(LONG, 100, 100, 1), held(LONG, 1, 100, 100)]
    account = margin_account.account_margin(usd(9_900), book)
    assert account.equity == 0
    assert is_liquidated(account)
    assert not is_liquidated(margin_account.account_margin(usd(9_900), book[1:]))


def test_supercexy__cross__monitors_total_exposure():
    """You must monitor your total exposure, not just individual positions."""
    one, other = held(LONG, 10, 100, 95), held(SHORT, 10, 100, 105)
    assert not is_liquidated(margin_account.account_margin(usd(80), [one]))
    assert not is_liquidated(margin_account.account_margin(usd(80), [other]))
    assert is_liquidated(margin_account.account_margin(usd(80), [one, other]))


def test_supercexy__cross__smooths_hedged_portfolios():
    """Smooths volatility across multiple trades; ideal for hedged portfolios."""
    for price in (50, 80, 100, 150):
        hedge = [held(LONG, 10, 100, price), held(SHORT, 10, 100, price)]
        assert not is_liquidated(margin_account.account_margin(usd(80), hedge))


def test_supercexy__five_hundred_btc_isolated__only_those_matter():
    """You open a $500 BTC long with isolated margin. Only those $500 matter."""
    size, entry = e18("0.05"), e18(50_000)  # 500 of margin at 5x
    assert margin.initial_margin(size, entry, 500) == usd(500)
    price = margin.liquidation_price(LONG, size, entry, usd(500), MAINTENANCE)
    assert e18(41_025) < price < e18(41_026)


def test_supercexy__five_hundred_btc_isolated_fails__other_funds_remain_untouched():
    """If that position fails, your other funds remain untouched. Losses are contained."""
    lost = usd(500) + margin.unrealised_pnl(LONG, e18("0.05"), e18(50_000), e18(30_000))
    assert lost == usd(-500)
    settled = margin_losses.settle(lost, usd(1), usd(1), usd(1))
    shares = margin_losses.share_loss(settled.loss, 0, usd(10_000))
    assert settled.trader == settled.cost == settled.penalty == 0
    assert shares.insurance == usd(500)  # nothing is asked of the trader beyond the 500
    # and the cross account beside it is counted without it
    assert margin_account.account_margin(usd(9_500), []).withdrawable == usd(9_500)


def test_supercexy__isolated__allocates_margin_for_each_trade():
    """You can set different margin allocations for each trade."""
    prices = [margin.liquidation_price(*BTC, usd(each), MAINTENANCE) for each in (25, 50, 250)]
    assert prices == sorted(prices, reverse=True)
    assert len(set(prices)) == 3


def test_supercexy__isolated__is_much_easier_to_liquidate_unless_margin_is_added():
    """Much easier to liquidate … it dies quickly unless you add more margin."""
    small = margin.liquidation_price(*BTC, usd(25), MAINTENANCE)
    price = small - 1
    equity = usd(25) + margin.unrealised_pnl(*BTC, price)
    asked = margin.maintenance_margin(BTC[1], price, MAINTENANCE)
    assert margin.is_liquidatable(equity, asked)
    assert not margin.is_liquidatable(equity + usd(25), asked)
    assert margin.liquidation_price(*BTC, usd(10_000), MAINTENANCE) is None


# Nika and Onyx: margin and leverage (the same sentences, but for the default mode)


def test_nika_onyx__cross__gains_and_losses_affect_the_others():
    """Losses or gains from one position can affect others under the same mode."""
    losing, winning = held(LONG, 10, 100, 92), held(LONG, 10, 100, 110)
    assert is_liquidated(margin_account.account_margin(usd(100), [losing]))
    assert not is_liquidated(margin_account.account_margin(usd(100), [losing, winning]))
    collapsed = replace(winning, price=e18(80))
    assert is_liquidated(margin_account.account_margin(usd(300), [losing, collapsed]))
    assert not is_liquidated(margin_account.account_margin(usd(300), [losing]))


def test_nika_onyx__isolated__is_confined_to_its_own_collateral():
    """If the position is liquidated, it does not impact other positions — cross or isolated."""
    beside = held(LONG, 1, 100, 100)
    cross = margin_account.account_margin(usd(50), [beside])
    lost = margin_losses.settle(-usd(1_000), usd(1), usd(1), usd(1))  # far beyond its collateral
    borne = margin_losses.share_loss(lost.loss, 0, usd(600))
    assert (borne.collateral, borne.insurance, borne.pool) == (0, usd(600), usd(400))
    assert (cross.equity, cross.withdrawable) == (usd(50), usd(40))
    # in the same mode it would have been the end of the other
    assert is_liquidated(margin_account.account_margin(usd(50) - lost.loss, [beside]))


@pytest.mark.parametrize(("leverage_e2", "fits"), [(100, 1), (2_000, 1), (99, 0), (2_001, 0)])
def test_nika_onyx__leverage__is_anywhere_from_1x_to_the_maximum(leverage_e2, fits):
    """Users can set leverage anywhere from 1x up to the asset's maximum."""
    assert margin_terms.is_within_terms(MAINTENANCE, CAP, leverage_e2) is bool(fits)


@pytest.mark.parametrize("leverage", [1, 2, 3, 7, 20])
def test_nika_onyx__initial_margin__is_size_times_mark_over_leverage(leverage):
    """Initial Margin = (Position Size × Mark Price) ÷ Leverage."""
    asked = margin.initial_margin(e18("1.5"), e18(2_000), 100 * leverage)
    assert asked == units.ceil_div(usd(3_000), leverage)


def test_nika_onyx__cross__initial_margin_is_locked():
    """In cross margin, the initial margin is locked and cannot be withdrawn."""
    at_5x = replace(held(LONG, 10, 100, 100), leverage_e2=500)
    account = margin_account.account_margin(usd(1_000), [at_5x])
    assert account.initial == usd(200)
    assert account.withdrawable == usd(800)
    at_20x = replace(at_5x, leverage_e2=2_000)  # a tenth of the notional stays at any leverage
    assert margin_account.account_margin(usd(1_000), [at_20x]).withdrawable == usd(900)


def test_nika_onyx__isolated__margin_can_be_added_and_removed():
    """In isolated margin, users can adjust margin (add/remove) even after … opened."""
    size, price, collateral = e18(10), e18(100), usd(250)
    locked = margin_account.locked_margin(
        margin.initial_margin(size, price, 500), margin.notional_up(size, price)
    )
    assert margin_account.withdrawable(collateral, collateral, locked) == usd(50)
    more = margin.liquidation_price(LONG, size, price, usd(300), MAINTENANCE)
    less = margin.liquidation_price(LONG, size, price, usd(200), MAINTENANCE)
    assert more < margin.liquidation_price(LONG, size, price, collateral, MAINTENANCE) < less


def test_nika_onyx__cross__unrealised_profit_is_reused_for_new_positions():
    """For cross positions, unrealized PnL can be reused as margin for new positions."""
    level, winning = held(LONG, 10, 100, 100), held(LONG, 10, 100, 120)
    before = margin_account.account_margin(usd(100), [level])
    after = margin_account.account_margin(usd(100), [winning])
    assert before.free_margin == 0
    assert after.opening_equity - before.opening_equity == usd(100)  # half of 200: the share
    assert after.free_margin == usd(80)  # less the 20 that the larger notional locks


def test_nika_onyx__isolated__unrealised_profit_adds_to_its_own_margin():
    """For isolated positions, unrealized PnL adds to that position's margin."""
    equity = usd(50) + margin.unrealised_pnl(*BTC, e18(60_000))
    assert equity == usd(150)
    asked = margin.maintenance_margin(BTC[1], e18(60_000), MAINTENANCE)
    assert margin.is_liquidatable(usd(50) - usd(100), asked)
    assert not margin.is_liquidatable(equity, asked)


def test_nika_onyx__open_position__leverage_is_not_automatically_re_evaluated():
    """Once a position is open, leverage is not automatically re-evaluated (fixed)."""
    for market in (10_000, 25_000, 100_000, 500_000):
        kept = margin_terms.position_maintenance_ppm(
            Adjustment.FIXED, MAINTENANCE, 50_000, market, 0
        )
        assert kept == MAINTENANCE


def test_nika_onyx__cures__closing_adding_or_depositing():
    """Users … can adjust by closing part or all …, adding margin …, depositing USDC."""
    position = held(LONG, 10, 100, 92)
    short = margin_account.account_margin(usd(100), [position])
    assert is_liquidated(short)
    assert not is_liquidated(margin_account.account_margin(usd(110), [position]))
    # closing at the mark: the loss is realised, the balance bears it, the rest asks for less
    half = replace(position, size=e18(5))
    lost = margin.unrealised_pnl(LONG, e18(5), e18(100), e18(92))
    assert not is_liquidated(margin_account.account_margin(usd(100) + lost, [half]))
    flat = margin_account.account_margin(usd(100) + 2 * lost, [])
    assert flat.withdrawable == usd(20)


@pytest.mark.parametrize("cap_e2", [100, 300, 1_000, 2_000, 5_000])
def test_nika_onyx__maintenance__is_half_of_initial_margin_at_maximum_leverage(cap_e2):
    """Maintenance margin, which is 50% of the initial margin at max leverage."""
    size, price = e18(3), e18(1_000)
    ratio = units.maintenance_from_cap(units.LeverageE2(cap_e2))
    half = margin.initial_margin(size, price, cap_e2) / 2
    assert abs(margin.maintenance_margin(size, price, ratio) - half) <= usd("0.003")  # 1 ppm


def test_nika_onyx__cross__is_liquidated_when_account_value_falls_below_maintenance():
    """Liquidated if your total account value (including unrealized PnL) falls below …"""
    book = [held(LONG, 10, 100, 95), held(SHORT, 5, 200, 190)]
    asked = margin_account.account_margin(0, book).maintenance
    assert asked == usd("47.5")  # 2.5 % of 950 and of 950
    assert not is_liquidated(margin_account.account_margin(asked, book))  # −50 and +50
    assert is_liquidated(margin_account.account_margin(asked - 1, book))


def test_nika_onyx__isolated__follows_the_same_logic_for_its_own_margin_and_notional():
    """… the calculation is limited to the margin and notional value of the … position only."""
    cross = margin_account.account_margin(usd(100), [held(LONG, 10, 100, 95)])
    equity = usd(100) + margin.unrealised_pnl(LONG, e18(10), e18(100), e18(95))
    assert cross.equity == equity
    assert cross.maintenance == margin.maintenance_margin(e18(10), e18(95), MAINTENANCE)


# Liqui: margin trading, and the autonomous margin layer


def test_liqui__long_and_short__both_are_leveraged_and_liquidated_on_their_own_side():
    """The system allows users to open long and short positions with dynamic leverage."""
    entry = e18(100)
    for side in (LONG, SHORT):
        price = margin.liquidation_price(side, e18(1), entry, usd(10), MAINTENANCE)
        assert side * (entry - price) > 0


def test_liqui__cross__aggregates_profit_and_requirements_into_account_health():
    """All positions draw from a shared collateral pool. … aggregates unrealized PnL …"""
    book = [held(LONG, 10, 100, 120), held(SHORT, 10, 100, 110), held(LONG, 1, 50, 40)]
    account = margin_account.account_margin(usd(100), book)
    assert account.equity == usd(100 + 200 - 100 - 10)
    assert account.maintenance == usd("30") + usd("27.5") + usd("1")


def test_liqui__cross__balances_profit_and_loss_against_premature_liquidation():
    """This reduces the risk of premature liquidations by balancing …"""
    losing, winning = held(LONG, 10, 100, 91), held(SHORT, 10, 100, 91)
    assert is_liquidated(margin_account.account_margin(usd(100), [losing]))
    assert not is_liquidated(margin_account.account_margin(usd(100), [losing, winning]))


def test_liqui__isolated__considers_only_that_positions_margin_and_profit():
    """Only that position's margin and unrealized PnL are considered during liquidation."""
    own = margin.liquidation_price(*BTC, usd(50), MAINTENANCE)
    assert e18(46_153) < own < e18(46_154)
    shared = margin.liquidation_price(*BTC, usd(50), MAINTENANCE, usd(-10), usd(5))
    assert shared > own  # the same position in a cross account: others would have moved it


def test_liqui__managed__ratios_adjust_in_real_time_up_to_what_was_accepted():
    """Leverage adjusts in real time …; dynamically adjusting position parameters."""
    kept = [
        margin_terms.position_maintenance_ppm(Adjustment.MANAGED, 25_000, 40_000, market, adjust)
        for market, adjust in ((20_000, 0), (30_000, 0), (30_000, 35_000), (90_000, 90_000))
    ]
    assert kept == [25_000, 30_000, 35_000, 40_000]


def test_liqui__liquidation__closes_only_what_restores_and_pays_least_at_the_threshold():
    """Smart liquidation logic minimizes cascade effects and prevents front-running."""
    size, price = e18(10), e18(1_000)
    asked = margin.maintenance_margin(size, price, MAINTENANCE)  # 250
    penalties = [
        margin_losses.penalty_ppm(equity, asked, 500, 10_000)
        for equity in (asked, asked - 1, asked // 2, 0)
    ]
    assert penalties == [500, 501, 5_250, 10_000]
    rules = margin.CloseRules(cost_ppm=700, penalty_ppm=penalties[1])
    closed = margin.partial_close_size(size, price, MAINTENANCE, asked - 1, rules)
    assert e18("3.44") < closed < e18("3.45")  # a third, not the whole


def test_liqui__execution__is_under_the_signed_constraints():
    """The smart contract executes the position under those constraints."""
    assert margin_terms.is_within_terms(25_000, 2_000, 2_000)
    assert not margin_terms.is_within_terms(25_000, 2_001, 2_000)
    assert margin_terms.is_ceiling_bearable(50_000, 2_000)
    assert not margin_terms.is_ceiling_bearable(50_001, 2_000)


def test_liqui__leverage__follows_liquidity_and_size():
    """Leverage adjusts … based on volatility, liquidity conditions, and … position risk."""
    small = margin_terms.leverage_cap(CAP, usd(100_000), usd(10_000), 0)
    large = margin_terms.leverage_cap(CAP, usd(100_000), usd(400_000), 0)
    thin = margin_terms.leverage_cap(CAP, usd(5_000), usd(10_000), 0)
    assert (small, large, thin) == (2_000, 500, 1_000)


def test_liqui__liquidity_conditions__are_paid_for_by_who_strains_them():
    """Leverage adjusts … based on … liquidity conditions: so does the price paid."""
    rules = margin_price.TradeRules(
        fee_ppm=500, spread_ppm=200, impact_ppm=10_000, size_scale=usd(100_000)
    )
    adds = margin_price.trade_cost(LONG, e18(100), e18(100), 0, rules)
    balances = margin_price.trade_cost(SHORT, e18(100), e18(100), e18(100), rules)
    assert (adds, balances) == (usd(7), usd(2))
