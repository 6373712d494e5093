"""The margin law on what other exchanges computed; docs/margin.md says which rows apply and why."""

from __future__ import annotations

from fractions import Fraction

import pytest

from contracts import margin, margin_account, margin_losses, margin_price
from contracts.units import PPM, LeverageE2, maintenance_from_cap
from tests.contracts.vectors import e6, e18, ppm, rows

BTC, ETH = 50_000, 3_000  # dYdX's test markets: USD, both 20 % initial and 10 % maintenance
TENTH = 100_000


def side_of(row):
    return margin.LONG if row["side"] == "long" else margin.SHORT


def near(got, expected, tolerance):
    return abs(Fraction(got) - expected) <= tolerance


# Hyperliquid: the rule is ours


def hyperliquid(row, other_equity=0):
    maintenance = maintenance_from_cap(LeverageE2(100 * int(row["max_leverage"])))
    sizes = e18(row["size"]), e18(row["entry_price"]), e6(row["collateral"])
    return margin.liquidation_price(side_of(row), *sizes, maintenance, other_equity)


@pytest.mark.parametrize("row", rows("hyperliquid_liquidation_price", "vectors"))
def test_liquidation_price__hyperliquid_isolated_and_cross__is_what_the_exchange_showed(row):
    expected = e18(row["expected_liquidation_price"])
    assert near(hyperliquid(row), expected, Fraction(expected, 10_000))


@pytest.mark.parametrize("row", rows("hyperliquid_liquidation_price", "vectors"))
def test_liquidation_price__twice_the_wallet__is_further_away(row):
    price = hyperliquid(row)
    further = hyperliquid(row, other_equity=e6(row["collateral"]))
    assert further is None or side_of(row) * (price - further) > 0


WORKED = ("hyperliquid_worked_examples", "vectors")


@pytest.mark.parametrize("row", rows(*WORKED, only=lambda row: "initial_margin" in row))
def test_initial_margin__hyperliquid_worked_examples__agree(row):
    size, leverage = e18(row["notional"]), 100 * int(row["leverage"])
    assert margin.initial_margin(size, 10**18, leverage) == e6(row["initial_margin"])


@pytest.mark.parametrize("row", rows(*WORKED, only=lambda row: "maintenance_margin" in row))
def test_maintenance_margin__hyperliquid_worked_examples__agree(row):
    ratio = maintenance_from_cap(LeverageE2(100 * int(row["max_leverage"])))
    assert ratio == ppm(row["maintenance_rate"])
    asked = margin.maintenance_margin(e18(row["notional"]), 10**18, ratio)
    assert asked == e6(row["maintenance_margin"])


@pytest.mark.parametrize("row", rows("hyperliquid_worked_examples", "rates_table"))
def test_maintenance_from_cap__hyperliquid_rates__agree_rounded_down(row):
    for leverage, rate in row.items():
        ours = maintenance_from_cap(LeverageE2(100 * int(leverage.removesuffix("x"))))
        assert near(ours, Fraction(rate) * PPM, 50)  # the page shows four decimals


# Binance and those with its formula: a tier's deduction is equity that is always there

BINANCE = ("binance_usdm_liquidation_price", "vectors")


@pytest.mark.parametrize("row", rows(*BINANCE, only=lambda row: row["mode"] == "isolated"))
def test_liquidation_price__binance_isolated__agrees(row):
    collateral = e6(row["wallet_balance"]) + e6(row["maintenance_amount"])
    sizes = e18(row["amount"]), e18(row["entry_price"])
    price = margin.liquidation_price(side_of(row), *sizes, collateral, ppm(row["mm_ratio"]))
    assert near(price, e18(row["expected"]), 10**16)


@pytest.mark.parametrize("row", rows(*BINANCE, only=lambda row: row["mode"] == "cross"))
def test_liquidation_price__binance_cross_with_another_position__agrees(row):
    own, other = row["positions"][row["market"]], row["positions"][row["other_market"]]
    amount, mark = e18(other["amt"]), e18(other["mark"])
    price = margin.liquidation_price(
        side_of(row),
        e18(own["amt"]),
        e18(own["entry"]),
        e6(row["wallet_balance"]) + e6(own["cum"]),
        ppm(own["mmr"]),
        margin.unrealised_pnl(margin.LONG, amount, e18(other["entry"]), mark),
        margin.maintenance_margin(amount, mark, ppm(other["mmr"])) - e6(other["cum"]),
    )
    assert near(price, e18(row["expected"]), 10**16)


GENERIC = ("generic_isolated_liquidation_price", "vectors")


@pytest.mark.parametrize("row", rows(*GENERIC, only=lambda row: row["exchange_model"] == "binance"))
def test_liquidation_price__generic_isolated_of_the_same_formula__agrees(row):
    size, entry = e18(row["amount"]), e18(row["open_rate"])
    wallet = margin.initial_margin(size, entry, 100 * int(row["leverage"]))
    collateral = wallet + e6(row["maintenance_amount"])
    price = margin.liquidation_price(side_of(row), size, entry, collateral, ppm(row["mm_ratio"]))
    expected = Fraction(row["expected"]) * 10**18
    assert near(price, expected, expected / 10**6)


@pytest.mark.parametrize("row", rows("misc", "vectors"))
def test_liquidation_price__another_position__is_not_forgotten(row):
    size, mark, equity = e18(row["size"]), e18(row["mark"]), e6(row["equity"])
    own = (side_of(row), size, mark, equity, ppm(row["mmr"]))
    price = margin.liquidation_price(*own, 0, e6(row["other_maintenance"]))
    # the row leaves its own maintenance at the mark: 0.4 % of a price 0.6 % lower is 0.0024 less
    assert near(price, e18(row["expected_liquidation"]), 3 * 10**15)
    alone = margin.liquidation_price(*own)
    assert near(alone, e18(row["wrong_if_ignored"]), 2 * 10**16)


# dYdX v4: boundary, roundings, ordering, transitions, the slope of the penalty, who pays


def btc(quantums):
    return abs(quantums) * 10**10


def dydx_account(row):
    """Net collateral and maintenance of a subaccount, from our functions."""
    equity, asked = row["quote_quantums"], 0
    for position in row["positions"]:
        scale, price = (10**10, BTC) if position["market"] == "BTC" else (10**9, ETH)
        size, mark = abs(position["base_quantums"]) * scale, price * 10**18
        sign = 1 if position["base_quantums"] > 0 else -1
        equity += sign * margin.notional_down(size, mark)
        asked += margin.maintenance_margin(size, mark, TENTH)
    return equity, asked


@pytest.mark.parametrize("row", rows("dydx_v4", "is_liquidatable"))
def test_is_liquidatable__dydx_subaccounts__agree(row):
    equity, asked = dydx_account(row)
    assert (equity, asked) == (row["derived_net_collateral"], row["derived_mmr"])
    assert margin.is_liquidatable(equity, asked) is row["expected_is_liquidatable"]


@pytest.mark.parametrize("row", rows("dydx_v4", "risk_is_liquidatable"))
def test_is_liquidatable__dydx_risk__agrees(row):
    assert margin.is_liquidatable(row["nc"], row["mmr"]) is row["expected"]


@pytest.mark.parametrize(
    "row", rows("dydx_v4", "risk_maintenance_collateralized", only=lambda row: row["mmr"] > 0)
)
def test_is_liquidatable__dydx_maintenance_collateralized__is_its_opposite(row):
    assert margin.is_liquidatable(row["nc"], row["mmr"]) is not row["expected"]


@pytest.mark.parametrize("row", rows("dydx_v4", "risk_cmp"))
def test_compare_risk__dydx_order__agrees(row):
    accounts = row["first_nc"], row["first_mmr"], row["second_nc"], row["second_mmr"]
    assert margin_account.compare_risk(*accounts) == row["expected"]


@pytest.mark.parametrize("row", rows("dydx_v4", "valid_state_transition_undercollateralised"))
def test_is_valid_transition__dydx_transitions__agree(row):
    states = row["old_nc"], row["old_mmr"], row["new_nc"], row["new_mmr"]
    expected = not row["expected"].endswith("Undercollateralized")
    assert margin_account.is_valid_transition(*states) is expected


def dydx_notional(row):
    size = row["base_quantums"] * 10 ** (18 + row["base_atomic_resolution"])
    return size, row["price"] * 10 ** (18 + row["price_exponent"])


REQUIREMENTS = ("dydx_v4", "margin_requirements")


@pytest.mark.parametrize("row", rows(*REQUIREMENTS))
def test_maintenance_margin__dydx_requirements__are_equal_to_the_unit(row):
    ratio = row["initial_margin_ppm"] * row["maintenance_fraction_ppm"] // PPM
    assert margin.maintenance_margin(*dydx_notional(row), ratio) == row["expected_mm"]


def has_fixed_initial_margin(row):
    return row["initial_margin_ppm"] > 0 and "open_interest_lower_cap" not in row


@pytest.mark.parametrize("row", rows(*REQUIREMENTS, only=has_fixed_initial_margin))
def test_initial_margin__dydx_requirements__are_equal_to_the_unit(row):
    leverage, rest = divmod(100 * PPM, row["initial_margin_ppm"])
    assert rest == 0
    assert margin.initial_margin(*dydx_notional(row), leverage) == row["expected_im"]


def is_one_position_closed(row):
    return len(row["positions"]) == 1 and "expected_error" not in row


@pytest.mark.parametrize(
    "row",
    rows(
        "dydx_v4",
        "bankruptcy_price",
        only=lambda row: is_one_position_closed(row) and not row["name"].startswith("Rounds up"),
    ),
)
def test_unrealised_pnl__dydx_bankruptcy_price__leaves_exactly_nothing(row):
    equity, _ = dydx_account(row)
    position, closed = row["positions"][0], row["delta_base_quantums"]
    side = 1 if position["base_quantums"] > 0 else -1
    price = Fraction(abs(row["expected_bankruptcy_price_quote_quantums"]) * 10**12, btc(closed))
    at = price * 10**18
    assert at.denominator == 1
    profit = margin.unrealised_pnl(side, btc(position["base_quantums"]), BTC * 10**18, at.numerator)
    assert equity + profit == 0


def has_plain_slope(row):
    return "expected_error" not in row and row["bankruptcy_adjustment_ppm"] == PPM


@pytest.mark.parametrize("row", rows("dydx_v4", "fillable_price", only=has_plain_slope))
def test_penalty_ppm__dydx_fillable_price__is_the_same_slope(row):
    equity, asked = dydx_account(row)
    most = row["spread_to_maintenance_margin_ratio_ppm"] * TENTH // PPM
    slope = margin_losses.penalty_ppm(equity, asked, 0, most)
    side = 1 if row["delta_base_quantums"] < 0 else -1
    size = btc(row["delta_base_quantums"])
    penalty = margin.charge(size, BTC * 10**18, slope)
    paid = margin_price.price_paid(-side, size, BTC * 10**18, penalty)
    assert paid == e18(row["expected_fillable_price_usd"])


@pytest.mark.parametrize(
    "row",
    rows(
        "dydx_v4",
        "liquidation_insurance_fund_delta",
        only=lambda row: "expected_error" not in row,
    ),
)
def test_settle__dydx_insurance_delta__is_penalty_taken_or_loss_borne(row):
    size, price = btc(row["fill_base_quantums"]), e18(row["fill_price_usd"])
    side = -1 if row["is_buy"] else 1
    equity = row["quote_quantums"] + side * margin.notional_down(size, price)
    fee = margin.charge(size, price, row["max_liquidation_fee_ppm"])
    settled = margin_losses.settle(equity, 0, fee, 0)
    shares = margin_losses.share_loss(settled.loss, 0, 10**15)
    moved = settled.penalty - shares.insurance
    assert moved == row["expected_insurance_fund_delta_quote_quantums"]
    assert shares.pool == 0


# Synthetix v3: a cross account of five markets, and the price that moves its skew

SNX = ("synthetix_v3_cross_account",)
SNX_RATES = {"BTC": (2, ".01"), "ETH": (2, ".01"), "LINK": (2, ".01")}  # the rest: 1.5, .035


def snx_position(given, price):
    size = Fraction(given["size"])
    fraction, least = SNX_RATES.get(given["market"], ("1.5", ".035"))
    rate = abs(size) / Fraction(given["skew_scale"]) * Fraction(fraction) + Fraction(least)
    return margin_account.CrossPosition(
        side=1 if size > 0 else -1,
        size=e18(abs(size)),
        entry_price=e18(given["fill_price"]),
        price=e18(price),
        leverage_e2=int(100 / rate),
        maintenance_ppm=ppm(rate / 2),
    )


@pytest.mark.parametrize("row", rows(*SNX))
def test_account_margin__synthetix_cross_account__agrees_at_opening(row):
    held = [snx_position(each, each["open_oracle_price"]) for each in row["positions"]]
    expected = [e6(each["expected_initial_pnl"]) for each in row["positions"]]
    assert [each.profit for each in held] == expected
    account = margin_account.account_margin(e6(row["collateral"]), held)
    assert account.equity == e6(row["expected_open"]["available_margin"])
    assert account.notional == e6(row["expected_open"]["open_interest"])
    liquidatable = margin.is_liquidatable(account.equity, account.maintenance)
    assert liquidatable is row["expected_open"]["liquidatable"]


@pytest.mark.parametrize("row", rows(*SNX))
def test_account_margin__synthetix_cross_account__agrees_after_moves(row):
    for scenario in row["scenarios"]:
        prices = scenario["prices"]
        held = {
            each["market"]: snx_position(each, prices[each["market"]]) for each in row["positions"]
        }
        expected = {market: e6(pnl) for market, pnl in scenario["expected_pnl"].items()}
        assert {market: each.profit for market, each in held.items()} == expected
        account = margin_account.account_margin(e6(row["collateral"]), list(held.values()))
        assert account.equity == e6(scenario["expected_available_margin"])
        liquidatable = margin.is_liquidatable(account.equity, account.maintenance)
        assert liquidatable is scenario["expected_liquidatable"]


@pytest.mark.parametrize("row", rows(*SNX, "extra", "required_margins"))
def test_initial_margin__synthetix_required_margins__agree(row):
    for each in row["positions"]:
        asked = margin.initial_margin(abs(e18(each["size"])), e18(each["price"]), 2_000)  # 5 %
        assert asked == e6(row["initial"][each["market"]])


def snx_paid(size, price, skew_scale, skew=0):
    """Their premium reaches 100 % at the skew scale, in units; ours at the size scale, in USDC."""
    scale = e6(Fraction(skew_scale) * Fraction(price))
    rules = margin_price.TradeRules(fee_ppm=0, spread_ppm=0, impact_ppm=PPM, size_scale=scale)
    direction = 1 if size > 0 else -1
    cost = margin_price.trade_cost(direction, e18(abs(size)), e18(price), e18(skew), rules)
    return margin_price.price_paid(direction, e18(abs(size)), e18(price), cost)


@pytest.mark.parametrize("row", rows(*SNX, "positions"))
def test_price_paid__synthetix_fill_price_of_a_growing_skew__agrees(row):
    paid = snx_paid(Fraction(row["size"]), row["open_oracle_price"], row["skew_scale"])
    assert paid == e18(row["fill_price"])


@pytest.mark.parametrize("row", rows(*SNX, "extra", "fill_price", "example"))
def test_price_paid__synthetix_fill_price_example__agrees(row):
    paid = snx_paid(Fraction(row["size"]), row["oracle"], row["scale"], Fraction(row["skew"]))
    assert paid == e18(row["expected"])


# Drift v2: only the shortage is sold


def drift_close(size, price, ratio, equity, fees):
    """Theirs restores the requirement itself: a target of 100 %."""
    rules = margin.CloseRules(cost_ppm=fees[0], penalty_ppm=fees[1], target_ppm=PPM)
    return margin.partial_close_size(size, price, ratio, equity, rules)


SHORTAGE = ("drift_v2", "base_to_cover_margin_shortage", "vectors")


@pytest.mark.parametrize("row", rows(*SHORTAGE, only=lambda row: row["quote_oracle_price"] == "1"))
def test_partial_close_size__drift_shortage__agrees(row):
    size, price, ratio = e18(10), e18(row["oracle_price"]), ppm(row["margin_ratio"])
    asked = margin.maintenance_margin(size, price, ratio)
    fees = ppm(row["liquidator_fee"]), ppm(row["if_fee"])
    equity = asked - e6(row["margin_shortage_usd"])
    closed = drift_close(size, price, ratio, equity, fees)
    expected = int(row["expected_base_1e9"]) * 10**9
    assert expected <= closed  # theirs ignores the roundings of what follows
    assert near(closed, expected, Fraction(expected, 10**5))


def is_one_step_run(row):
    return isinstance(row.get("expected"), dict) and "final_margin_ratio" in row["expected"]


@pytest.mark.parametrize("row", rows("drift_v2", "liquidation_runs", only=is_one_step_run))
def test_partial_close_size__drift_run__leaves_the_same_position_and_ratio(row):
    size, price, expected = e18(row["position"]["base"]), e18(row["oracle"]), row["expected"]
    worth = margin.notional_down(size, price)
    equity = e6(row["deposit"]) + e6(row["position"]["quote"]) + worth
    ratio = ppm(row["margin_maintenance"]) + ppm(row["buffer"])
    fees = ppm(row["liquidator_fee"]), ppm(row["if_fee"])
    closed = drift_close(size, price, ratio, equity, fees)
    assert near(size - closed, e18(expected["user_base"]), 10**13)
    rules = margin.CloseRules(cost_ppm=fees[0], penalty_ppm=fees[1], target_ppm=PPM)
    left = margin.equity_after_close(closed, price, equity, rules)
    final = Fraction(left * PPM, margin.notional_up(size - closed, price))
    assert near(final, ppm(expected["final_margin_ratio"]), 1)


@pytest.mark.parametrize("row", rows("drift_v2", "isolated_position"))
def test_is_liquidatable__drift_isolated_beside_cross__touches_only_itself(row):
    own, expected = row["isolated"], row["expected"]
    size, price = e18(own["base"]), e18(own["price"])
    entry = e18(-Fraction(own["quote"]) / Fraction(own["base"]))
    equity = e6(own["collateral"]) + margin.unrealised_pnl(margin.LONG, size, entry, price)
    asked = margin.maintenance_margin(size, price, ppm(own["margin_initial"]))
    assert (equity, asked) == (e6(expected["isolated_collateral"]), e6("1000"))
    assert margin.is_liquidatable(equity, asked) is not expected["isolated_ok"]
    cross = e6(expected["cross_collateral"]), e6(expected["cross_requirement"])
    assert margin.is_liquidatable(*cross) is not expected["cross_ok"]


# The identities that other engines share with us


def bluefin_steps():
    """Every state of an open position in the sequences, with the oracle price of its step."""
    for parameter in rows("bluefin_isolated_margin_sequences", "suites"):
        if not parameter.values[0]:
            return
        for steps in parameter.values[0]["cases"].values():
            for step in steps:
                for who in ("expectMaker", "expectTaker", "expectCat", "expectLiquidator"):
                    state = step.get(who, {})
                    if "marginRatio" in state and state.get("qPos") and "pOracle" in step:
                        yield step["pOracle"], state


@pytest.mark.parametrize("row", rows("bluefin_isolated_margin_sequences"))
def test_unrealised_pnl__bluefin_states__give_their_margin_ratio(row):
    checked = 0
    for oracle, state in bluefin_steps():
        size, price = e18(str(abs(state["qPos"]))), e18(str(oracle))
        entry = Fraction(str(state["oiOpen"])) / Fraction(str(abs(state["qPos"])))
        side = 1 if state["qPos"] > 0 else -1
        profit = margin.unrealised_pnl(side, size, round(entry * 10**18), price)
        equity = e6(str(state["margin"])) + profit
        ratio = Fraction(equity, margin.notional_up(size, price))
        assert near(ratio, Fraction(str(state["marginRatio"])), Fraction(1, 1000)), (oracle, state)
        checked += 1
    assert checked > 200


@pytest.mark.parametrize("row", rows("perennial_v2", "vectors"))
def test_is_liquidatable__perennial_requirement__agrees(row):
    if "magnitude" in row:
        asked = margin.maintenance_margin(
            e18(row["magnitude"]), e18(row["price"]), ppm(row["maintenance"])
        )
        assert asked == e6(row["expected_requirement"])
    else:
        stands = not margin.is_liquidatable(e6(row["collateral"]), e6(row["requirement"]))
        assert stands is row["maintained"]


@pytest.mark.parametrize(
    "row", rows("derive_v2", "perp_margin", "vectors", only=lambda row: not row["bases"])
)
def test_maintenance_margin__derive_perps__agree_whatever_the_confidence(row):
    held = row["perps"][0]
    size, entry, mark = e18(held["amount"]), e18(held["entry_price"]), e18(2001)
    side = 1 if size > 0 else -1
    profit = margin.unrealised_pnl(side, abs(size), entry, mark)
    left = profit - margin.maintenance_margin(abs(size), mark, 50_000)
    assert int(Fraction(left, 10**6)) == row["expected_mm_truncated"]


@pytest.mark.parametrize("row", rows("derive_v2", "perp_margin", "funding"))
def test_maintenance_margin__derive_funding__counts_what_is_not_settled(row):
    size, mark = e18(row["size"]), e18(row["perp"])
    profit = margin.unrealised_pnl(margin.LONG, size, e18(row["entry"]), mark)
    left = profit + e6(row["unsettled_funding"]) - margin.maintenance_margin(size, mark, 50_000)
    assert left == e6(row["expected_mm"])


@pytest.mark.parametrize("row", rows("derive_v2", "perp_margin", "boundary"))
def test_initial_margin__derive_boundary__agrees(row):
    assert margin.initial_margin(e18(row["size"]), e18(row["price"]), 1_000) == e6(1500)


UNSTOPPABLE = ("unstoppable_vyper",)


@pytest.mark.parametrize("row", rows(*UNSTOPPABLE, "loss_tranches"))
def test_share_loss__unstoppable_tranches__agree(row):
    first, second = e6(row["safety_module"]), e6(row["base_lp"])
    for each in row["vectors"]:
        shares = margin_losses.share_loss(e6(each["bad_debt"]), 0, first)
        assert near(1 - Fraction(shares.insurance, first), Fraction(each["safety_share_value"]), 0)
        assert near(1 - Fraction(shares.pool, second), Fraction(each["base_share_value"]), 0)


@pytest.mark.parametrize("row", rows(*UNSTOPPABLE, "liquidation_penalty"))
def test_settle__unstoppable_penalty__is_taken_only_from_what_is_left(row):
    debt, put_in = e6(row["debt"]), e6(row["margin"])
    for each in row["vectors"]:
        proceeds = e6(each["proceeds"]) if "below" not in each["proceeds"] else debt - 1
        settled = margin_losses.settle(proceeds - debt, 0, debt // 100, 0)
        assert settled.penalty == e6(each["penalty"])
        assert put_in - settled.trader == e6(each["user_loss"])
        assert (settled.loss > 0) is each.get("bad_debt", False)
