"""What went wrong elsewhere, tried here: each test names the incident and its guard."""

from __future__ import annotations

import pytest

from contracts.margin import initial_margin
from contracts.messages import ActionKind, Adjustment, MarginMode, Side
from contracts.refusals import REFUSED_SELECTOR, Refusal
from contracts.units import LeverageE2
from tests.contracts.chain import Contract, RefusedError
from tests.contracts.margin_world import (
    ANY_PRICE,
    AVERAGE_S,
    CROSS,
    DEPLOYER,
    E18,
    GAP_S,
    HOUR_S,
    ISOLATED,
    KEEPER,
    LP,
    MARKET_RULES,
    PRICES,
    TRADER,
    TRADERS,
    USDC,
    MarginWorld,
    events,
    halves,
    message_tuple,
    request_of,
    role,
)
from tests.contracts.world import BOUNDS, GUARDIAN, OWNER, STRANGER, capped

FEE_E6 = MARKET_RULES.execution_fee
START = 50_000 * USDC
SIZE = 100 * E18  # 10,000 USDC in market 0
MARGIN = 2_500 * USDC
ATTACKER, VICTIM = TRADERS[0], TRADERS[1]
REFUSED = RefusedError


@pytest.fixture
def world():
    found = MarginWorld()
    found.deposit(TRADER, START)
    return found


def asked(world, size=SIZE, margin=MARGIN, side=Side.LONG, account=TRADER, **changes):
    return world.request_open(world.terms(account, side=side, **changes), size, margin=margin)


def isolated(world, size=SIZE, margin=MARGIN, side=Side.LONG, account=TRADER, **changes):
    return world.fill(asked(world, size, margin, side, account, **changes))


def cross(world, size=SIZE, side=Side.LONG, account=TRADER, **changes):
    terms = world.terms(account, side=side, margin_mode=MarginMode.CROSS, **changes)
    return world.open(terms, size)


def wealth(world, account):
    """Give what an account has in the system and out of it, without open profit."""
    held = [world.held(account, market) for market in PRICES]
    collateral = sum(each.collateral for each in held)
    return world.wallet(account) + world.holder(account).balance + collateral


class TestManipulatedPrices:
    """Mango 2022, JELLY 2025, the whale of 2025: profit and margin that should not leave."""

    def test_mango__profit_on_a_pumped_market__is_paid_to_nobody(self, world):
        cross(world, size=400 * E18)
        world.rest(0, 190 * E18)
        found = world.view("account_view", TRADER)
        assert found["equity"] > found["balance"] + 30_000 * USDC
        with world.refuses(Refusal.BALANCE_SHORT):
            world.engine.send(TRADER, "withdraw", found["balance"] + 1)

    def test_mango__profit_on_a_pumped_market__carries_only_its_share(self, world):
        cross(world, size=1_000 * E18)
        world.rest(0, 190 * E18)
        found = world.view("account_view", TRADER)
        profit = found["equity"] - found["balance"]
        share = BOUNDS.profit_share_ppm
        assert found["opening_equity"] == found["balance"] + profit * share // 10**6
        # What the whole profit would carry, its share does not.
        free = found["equity"] - found["initial"]
        size = free * 4 * 10**30 // PRICES[1]
        terms = world.terms(market=1, margin_mode=MarginMode.CROSS)
        world.refuses_order(Refusal.MARGIN_SHORT, world.request_open(terms, size))

    def test_mango__price_jumping_out_of_its_band__opens_and_withdraws_nothing(self, world):
        cross(world)
        requested = world.request_open(world.terms(margin_mode=MarginMode.CROSS), SIZE)
        world.wait(3)
        world.post({0: 900 * E18})
        with world.refuses(Refusal.PRICE_OUTSIDE_WINDOW):
            world.execute(requested)
        with world.refuses(Refusal.PRICE_NOT_READY):
            world.engine.send(TRADER, "withdraw", USDC)

    def test_whale__margin_taken_out_of_a_winner__leaves_what_is_locked(self, world):
        isolated(world, size=1_000 * E18, margin=22_000 * USDC)
        world.rest(0, 150 * E18)
        found = world.view("position_view", TRADER, 0, ISOLATED)
        with world.refuses(Refusal.MARGIN_LOCKED):
            world.engine.send(TRADER, "remove_margin", 0, found["collateral"] + 1)
        world.engine.send(TRADER, "remove_margin", 0, found["collateral"])
        world.rest(0, 131 * E18)
        equity = world.view("position_view", TRADER, 0, ISOLATED)["equity"]
        assert equity * 10 >= 131_000 * USDC  # a tenth of the notional is there, and more
        world.invariants()

    def test_whale__margin_taken_out_below_initial__refuses_margin_locked(self, world):
        isolated(world, size=1_000 * E18, margin=25_000 * USDC)
        equity = world.view("position_view", TRADER, 0, ISOLATED)["equity"]
        free = equity - initial_margin(1_000 * E18, PRICES[0], LeverageE2(500))
        with world.refuses(Refusal.MARGIN_LOCKED):
            world.engine.send(TRADER, "remove_margin", 0, free + 1)
        world.engine.send(TRADER, "remove_margin", 0, free)
        world.pass_time(40)
        with world.refuses(Refusal.NOT_LIQUIDATABLE):
            world.liquidate(TRADER)

    def test_whale__size_beyond_the_market_s_scale__gets_less_leverage(self, world):
        world.deposit(TRADER, 10**6 * USDC)
        world.set_rules(0, skew_share_ppm=10**6, interest_share_ppm=10**6)
        terms = world.terms(margin_mode=MarginMode.CROSS, max_notional_e6=2 * 10**6 * USDC)
        size = 15_000 * E18  # 1.5 M USDC, the scale is about 1 M
        requested = world.request_open(terms, size, leverage_e2=1_000)
        world.refuses_order(Refusal.LEVERAGE_ABOVE_CAP, requested)
        again = world.terms(margin_mode=MarginMode.CROSS, max_notional_e6=2 * 10**6 * USDC)
        world.open(again, size, leverage_e2=500)

    def test_jelly__thin_market__takes_no_more_than_its_cap_and_share_of_the_pool(self, world):
        world.deposit(VICTIM, START)
        world.set_rules(2, skew_share_ppm=1_000, interest_share_ppm=1_800)
        size = 2_100 * 2 * E18  # 2,100 USDC; a thousandth of the pool is 2,000
        world.refuses_order(Refusal.SKEW_FULL, asked(world, size, market=2, side=Side.SHORT))
        isolated(world, size=size * 9 // 10, market=2, side=Side.SHORT)
        isolated(world, size=size, market=2, account=VICTIM)
        requested = asked(world, size, market=2, side=Side.SHORT)
        world.refuses_order(Refusal.OPEN_INTEREST_FULL, requested)

    def test_jelly__winners_beyond_the_pool_s_share__are_cut_alike_and_not_too_far(self, world):
        for account in TRADERS:
            world.deposit(account, 10**6 * USDC)
        for index, account in enumerate(TRADERS):
            isolated(world, size=700 * (index + 1) * E18, margin=150_000 * USDC, account=account)
        world.rest(0, 300 * E18)
        profit = world.views.read("exposure_at_last_prices")[1]
        assert profit > world.totals()["pool"] * MARKET_RULES.cut_share_ppm // 10**6
        held = [world.held(account).size for account in TRADERS]
        equities = [world.view("position_view", each, 0, ISOLATED)["equity"] for each in TRADERS]
        world.liquidator.send(KEEPER, "deleverage_side", 0, True)
        world.invariants()
        views = [world.view("position_view", each, 0, ISOLATED) for each in TRADERS]
        shares = [view["size"] * 10**6 // size for view, size in zip(views, held, strict=True)]
        assert max(shares) - min(shares) <= 1
        for view, before in zip(views, equities, strict=True):
            assert 0 <= before - view["equity"] <= 2
        left = world.views.read("exposure_at_last_prices")[1]
        assert left * 10**6 >= (world.totals()["pool"] - USDC) * MARKET_RULES.cut_share_ppm
        with world.refuses(Refusal.NOTHING_TO_DELEVERAGE):
            world.liquidator.send(KEEPER, "deleverage_side", 0, True)
        for account in TRADERS:
            world.close(account)
            world.invariants()


class TestReentrancy:
    """GMX v1 2025: a call back in the middle meets the one lock."""

    def hooked(self):
        world = MarginWorld(token="HookToken")
        world.deposit(TRADER, START)
        isolated(world)
        return world

    @pytest.mark.parametrize(
        ("name", "function", "arguments"),
        [
            ("engine", "deposit", [1]),
            ("engine", "withdraw", [0]),
            ("engine", "add_margin", [0, 1, True]),
            ("engine", "remove_margin", [0, 0]),
            ("engine", "settle", [TRADER, 0, ISOLATED]),
            ("engine", "catch_up", [int(TRADER, 16) << 24 | ISOLATED]),
            ("pool", "request_deposit", [1, 1]),
            ("pool", "sweep", []),
            ("vault", "sweep", []),
        ],
    )
    @pytest.mark.parametrize("moment", ["deposit", "withdraw"])
    def test_gmx__a_call_in_the_middle_of_a_transfer__refuses_reentered(
        self, moment, name, function, arguments
    ):
        world = self.hooked()
        inner = getattr(world, name)
        call = inner.calldata(function, *arguments)
        world.token.send(DEPLOYER, "set_hook", inner.address, call)
        if moment == "deposit":
            world.deposit(TRADER, USDC)
        else:
            world.engine.send(TRADER, "withdraw", USDC)
        assert world.token.read("reverted")
        assert world.token.read("answer")[:36] == refused(Refusal.REENTERED)
        world.invariants()

    @pytest.mark.parametrize("ending", ["execute", "cancel"])
    def test_gmx__ending_a_request_in_the_middle__refuses_reentered(self, ending):
        world = self.hooked()
        requested = world.request_close(TRADER)
        world.wait(3 if ending == "execute" else 18)
        world.post()
        call = world.desk.calldata(ending, request_of(requested))
        world.token.send(DEPLOYER, "set_hook", world.desk.address, call)
        world.engine.send(TRADER, "withdraw", USDC)
        assert world.token.read("answer")[:36] == refused(Refusal.REENTERED)
        assert world.desk.read("pending", requested.output) == 1
        world.invariants()

    def test_gmx__liquidating_in_the_middle__refuses_reentered(self):
        world = self.hooked()
        world.rest(0, 79 * E18)
        call = world.liquidator.calldata("liquidate", TRADER, 0, ISOLATED)
        world.token.send(DEPLOYER, "set_hook", world.liquidator.address, call)
        world.engine.send(TRADER, "withdraw", USDC)
        assert world.token.read("answer")[:36] == refused(Refusal.REENTERED)
        world.liquidate(TRADER)


class TestChosenPrices:
    """Flat Money, Perennial, GMX #163: prices picked by whoever profits from them."""

    def test_flat_money__open_and_liquidate_at_one_price__refuses_price_before_position(
        self, world
    ):
        requested = world.request_open(world.terms(), SIZE, margin=MARGIN)
        world.wait(3)
        world.post()
        world.execute(requested)
        with world.refuses(Refusal.PRICE_BEFORE_POSITION):
            world.liquidate(TRADER)

    def test_perennial__a_price_from_before_the_request__executes_nothing(self, world):
        world.post()
        requested = world.request_open(world.terms(), SIZE, margin=MARGIN)
        world.wait(2)
        world.post()
        with world.refuses(Refusal.PRICE_OUTSIDE_WINDOW):
            world.execute(requested)

    def test_withheld_execution__as_an_option__ends_with_the_window_and_costs_the_fee(self, world):
        requested = world.request_open(world.terms(), SIZE, margin=MARGIN)
        world.wait(18)
        world.post({0: 103 * E18})
        with world.refuses(Refusal.OUTSIDE_WINDOW):
            world.execute(requested, TRADER)
        world.cancel(requested)
        assert wealth(world, TRADER) == START - FEE_E6
        world.invariants()

    def test_withheld_execution__within_the_window__anybody_executes(self, world):
        requested = world.request_open(world.terms(), SIZE, margin=MARGIN)
        world.wait(3)
        world.post()
        world.execute(requested, STRANGER)
        assert world.holder(STRANGER).balance == FEE_E6

    def test_gmx_163__cancelling_when_the_price_goes_wrong__refuses_outside_window(self, world):
        requested = world.request_open(world.terms(), SIZE, margin=MARGIN)
        world.wait(3)
        world.post({0: 99 * E18})
        with world.refuses(Refusal.OUTSIDE_WINDOW):
            world.cancel(requested, TRADER)

    def test_bad_print__far_from_the_average__liquidates_nobody_until_it_is_confirmed(self, world):
        isolated(world)
        world.move(0, 75 * E18)
        receipt = world.liquidate(TRADER)
        assert events(receipt, "LiquidationDeferred")
        assert world.held(TRADER).size == SIZE
        world.post({0: 100 * E18}, observed_at_ms=world.now_ms + 1)
        world.wait(GAP_S)
        world.post({0: 100 * E18})
        with world.refuses(Refusal.NOT_LIQUIDATABLE):
            world.liquidate(TRADER)


class TestDecisions:
    """Caps cut under open positions; messages used where they were not meant."""

    @pytest.mark.parametrize("adjustment", list(Adjustment))
    def test_cap_cut__under_an_open_position__changes_nothing_in_its_block(self, world, adjustment):
        isolated(world, adjustment=adjustment)
        world.wait(1)
        before = world.view("position_view", TRADER, 0, ISOLATED)
        world.set_fields(capped(700, world.fields[0]))
        assert world.view("position_view", TRADER, 0, ISOLATED) == before

    def test_cap_cut__managed__ramps_no_further_than_its_ceiling(self, world):
        terms = {"adjustment": Adjustment.MANAGED, "maintenance_ceiling_ppm": 60_000}
        isolated(world, **terms)
        world.wait(1)
        world.set_fields(capped(700, world.fields[0]))
        world.pass_time(HOUR_S // 2)
        halfway = world.view("position_view", TRADER, 0, ISOLATED)["ratio_ppm"]
        assert 50_000 < halfway <= 60_000
        world.update()
        world.pass_time(HOUR_S)
        assert world.view("position_view", TRADER, 0, ISOLATED)["ratio_ppm"] == 60_000

    def test_cap_cut__fixed__never_follows(self, world):
        isolated(world)
        world.wait(1)
        world.set_fields(capped(700, world.fields[0]))
        world.pass_time(HOUR_S)
        assert world.view("position_view", TRADER, 0, ISOLATED)["ratio_ppm"] == 50_000

    def test_calm_weather_terms__used_in_a_storm__refuses_maintenance_too_low(self, world):
        terms = world.terms()
        requested = world.request_open(terms, SIZE, margin=MARGIN)
        world.wait(1)
        world.set_fields(capped(700, world.fields[0]))
        world.wait(3)
        world.post()
        with world.refuses(Refusal.MAINTENANCE_TOO_LOW):
            world.execute(requested)

    def test_calm_weather_terms__kept_for_later__refuses_observation_too_old(self, world):
        terms = world.terms(valid_until_ms=world.now_ms + 600_000)
        world.wait(601)
        with world.refuses(Refusal.OBSERVATION_TOO_OLD):
            world.request_open(terms, SIZE, margin=MARGIN)

    def test_calm_weather_terms__older_than_those_used__refuses_terms_used(self, world):
        first, second = world.terms(), world.terms()
        world.request_open(second, SIZE, margin=MARGIN)
        world.wait(1)
        with world.refuses(Refusal.TERMS_USED):
            world.request_open(first, SIZE, margin=MARGIN)

    def test_reused_signature__of_terms__refuses_terms_used(self, world):
        terms = world.terms()
        world.open(terms, SIZE, margin=MARGIN)
        with world.refuses(Refusal.TERMS_USED):
            world.request_open(terms, SIZE, margin=MARGIN)

    def test_reused_signature__of_an_action__refuses_action_void(self, world):
        isolated(world, adjustment=Adjustment.MANAGED)
        world.pass_time(3)
        action = world.action(world.held_id(TRADER), ActionKind.ADJUST)
        world.act("adjust", action)
        with world.refuses(Refusal.ACTION_VOID):
            world.act("adjust", action)

    def test_reused_signature__after_a_new_configuration__refuses_unknown_signer(self, world):
        terms = world.terms()
        signed = world.sign(terms)
        world.oracle.send(GUARDIAN, "remove_signer", world.oracle.signers[-1].address)
        values = [SIZE, MARGIN, 500, ANY_PRICE]
        with world.refuses(Refusal.UNKNOWN_SIGNER):
            world.desk.send(TRADER, "request_open", message_tuple(terms), signed, *values)

    def test_reused_signature__of_another_contract__refuses_unknown_signer(self, world):
        terms = world.terms()
        signed = halves(world.oracle.signatures(terms, domain=world.feed.domain()))
        values = [SIZE, MARGIN, 500, ANY_PRICE]
        with world.refuses(Refusal.UNKNOWN_SIGNER):
            world.desk.send(TRADER, "request_open", message_tuple(terms), signed, *values)

    def test_forwarder__bringing_another_s_terms__refuses_terms_of_another(self, world):
        terms = world.terms()
        values = [SIZE, MARGIN, 500, ANY_PRICE]
        with world.refuses(Refusal.TERMS_OF_ANOTHER):
            world.desk.send(
                STRANGER, "request_open", message_tuple(terms), world.sign(terms), *values
            )

    def test_forwarder__executing_something_else__refuses_not_requested(self, world):
        request = list(request_of(world.request_open(world.terms(), SIZE, margin=MARGIN)))
        world.wait(3)
        world.post()
        for index, value in ((6, SIZE // 2), (8, 1_000), (12, 0), (13, 1)):
            other = (*request[:index], value, *request[index + 1 :])
            with world.refuses(Refusal.NOT_REQUESTED):
                world.desk.send(KEEPER, "execute", other)


class TestTokens:
    """Decimals mistaken, a token that lies, a fee on the way, a donation."""

    def test_decimals__not_of_usdc__refuses_token_decimals(self, world):
        arguments = [world.pool.address, world.engine.address, world.pool.address]  # 12 decimals
        with pytest.raises(REFUSED, match="TOKEN_DECIMALS"):
            Contract(world.evm, "CollateralVault", OWNER, arguments)

    def test_size_of_the_wrong_decimals__refuses(self, world):
        mistaken = asked(world, 100 * 10**6)  # 1e6 instead of 1e18
        world.refuses_order(Refusal.BELOW_MINIMUM_SIZE, mistaken)
        mistaken = asked(world, 100 * E18 * 10**12)
        world.refuses_order(Refusal.LEVERAGE_ABOVE_CAP, mistaken)

    def test_false_answer__of_a_token__refuses_token_refused(self):
        world = MarginWorld(token="FalseToken")
        world.deposit(TRADER, START)
        world.token.send(DEPLOYER, "set_failing", True)
        with world.refuses(Refusal.TOKEN_REFUSED):
            world.deposit(TRADER, USDC)
        with world.refuses(Refusal.TOKEN_REFUSED):
            world.engine.send(TRADER, "withdraw", USDC)
        world.invariants()

    @pytest.mark.parametrize("on_top", [False, True])
    def test_fee_on_transfer__refuses_token_amount_differs(self, on_top):
        world = MarginWorld(token="FeeToken")
        world.deposit(TRADER, START)
        world.token.send(DEPLOYER, "set_fee", 1, on_top)
        function = "withdraw" if on_top else "deposit"
        world.mint(TRADER, 2 * USDC, world.vault)
        with world.refuses(Refusal.TOKEN_AMOUNT_DIFFERS):
            world.engine.send(TRADER, function, USDC)
        world.invariants()

    def test_donation__to_vault_or_pool__belongs_to_insurance_only(self, world):
        isolated(world)
        before, worth = world.totals(), world.pool.read("totalAssets")
        for contract in (world.vault, world.pool):
            world.token.send(STRANGER, "mint", contract.address, 1_000 * USDC)
        assert world.pool.read("totalAssets") == worth
        for contract in (world.vault, world.pool):
            contract.send(STRANGER, "sweep")
        after = world.totals()
        assert after["insurance"] == before["insurance"] + 2_000 * USDC
        assert (after["credited"], after["pool"]) == (before["credited"], before["pool"])
        assert world.pool.read("totalAssets") == worth
        world.invariants()

    def test_first_depositor__inflating_the_share__pays_for_it_alone(self):
        world = MarginWorld(fund=False)
        thief, lender = role("thief"), LP
        world.supply(1, 1, thief)
        world.token.send(thief, "mint", world.pool.address, 10_000 * USDC)
        world.pool.send(thief, "sweep")
        world.supply(1, 10_000 * USDC, lender)
        shares = world.pool.read("balanceOf", lender)
        assert world.pool.read("convertToAssets", shares) >= 10_000 * USDC - 1
        assert world.pool.read("convertToAssets", world.pool.read("balanceOf", thief)) <= 1


class TestDust:
    """Rounding loops, splitting, positions too small to matter that are in the way."""

    @pytest.mark.parametrize("side", list(Side))
    def test_rounding_loop__smallest_position_in_and_out__only_loses(self, world, side):
        worst = wealth(world, TRADER)
        for _ in range(5):
            size = (MARKET_RULES.min_notional_usdc * E18 // 100) + 10**13 + 1
            isolated(world, size=size, margin=30 * USDC, side=side)
            world.close(TRADER)
            assert wealth(world, TRADER) < worst
            worst = wealth(world, TRADER)
            world.invariants()

    def test_rounding_loop__margin_in_and_out__gains_nothing(self, world):
        isolated(world, margin=2 * MARGIN)
        before = wealth(world, TRADER)
        for amount in (1, 3, 7, 10**6 + 1):
            world.engine.send(TRADER, "add_margin", 0, amount, False)
            world.engine.send(TRADER, "remove_margin", 0, amount)
            assert wealth(world, TRADER) == before
        world.invariants()

    @pytest.mark.parametrize("mode", list(MarginMode))
    def test_splitting__an_order__is_never_cheaper(self, mode):
        spent = []
        for parts in (1, 3):
            world = MarginWorld()
            world.deposit(TRADER, START)
            for _ in range(parts):
                margin = 3 * MARGIN // parts if mode == MarginMode.ISOLATED else 0
                terms = world.terms(margin_mode=mode)
                world.open(terms, 3 * SIZE // parts, margin=margin)
            spent.append(START - wealth(world, TRADER) - parts * FEE_E6)
        assert spent[0] <= spent[1]

    def test_dust__opening_below_the_minimum__refuses_below_minimum_size(self, world):
        requested = asked(world, E18 - 10**12, margin=30 * USDC)
        world.refuses_order(Refusal.BELOW_MINIMUM_SIZE, requested)

    def test_dust__left_by_a_close__refuses_below_minimum_size(self, world):
        isolated(world)
        requested = world.request_close(TRADER, size=SIZE - E18 // 2)
        world.refuses_order(Refusal.BELOW_MINIMUM_SIZE, requested)

    def test_dust__smallest_position_liquidated__pays_no_more_than_its_penalty(self, world):
        isolated(world, size=E18 + 10**12, margin=22 * USDC)
        world.rest(0, 82 * E18)
        receipt = world.liquidate(TRADER)
        (liquidated,) = events(receipt, "Liquidation")
        assert world.holder(KEEPER).balance - FEE_E6 <= liquidated["penalty"]
        world.invariants()

    def test_dust__liquidated_over_and_over__does_not_use_the_window_up(self, world):
        for account in TRADERS[1:]:
            world.deposit(account, START)
            isolated(world, size=E18 + 10**12, margin=22 * USDC, account=account)
        isolated(world, margin=2_050 * USDC)
        world.rest(0, 82 * E18)
        for account in TRADERS[1:]:
            world.liquidate(account)
        world.liquidate(TRADER)
        assert world.held(TRADER).size < SIZE
        world.invariants()

    def test_stale_dust__in_a_cross_account__shields_nothing(self, world):
        world.engine.send(TRADER, "withdraw", START - 3_000 * USDC)
        cross(world, market=2, size=300 * E18)
        cross(world, size=120 * E18)
        world.wait(GAP_S)
        world.post({0: 78 * E18}, only=[0, 1])
        world.wait(AVERAGE_S)
        world.post(only=[0, 1])
        assert world.view("account_view", TRADER)["liquidatable"]
        world.liquidate(TRADER, 0, CROSS)
        assert world.held(TRADER, 0, CROSS).size < 120 * E18
        assert world.held(TRADER, 2, CROSS).size == 300 * E18
        world.invariants()

    def test_stale_dust__in_a_cross_account__lets_nothing_be_opened_or_taken_out(self, world):
        cross(world, market=2, size=300 * E18)
        world.wait(46)
        world.post(only=[0, 1])
        with world.refuses(Refusal.PRICE_NOT_READY):
            world.engine.send(TRADER, "withdraw", USDC)
        requested = world.request_open(world.terms(margin_mode=MarginMode.CROSS), SIZE)
        world.wait(3)
        world.post(only=[0, 1])
        with world.refuses(Refusal.PRICE_NOT_READY):
            world.execute(requested)


class TestLiquidation:
    """No exit cheaper than a close, no jackpot, nobody else touched."""

    def test_liquidation__against_a_close__is_never_cheaper(self):
        left = []
        for liquidated in (True, False):
            world = MarginWorld()
            world.deposit(TRADER, START)
            isolated(world)
            world.rest(0, 79 * E18)
            if liquidated:
                while world.held(TRADER).size:
                    world.pass_time(61)
                    with_left = world.held(TRADER).size
                    try:
                        world.liquidate(TRADER)
                    except RefusedError:
                        world.close(TRADER)
                    assert world.held(TRADER).size < with_left
            else:
                world.pass_time(61)
                world.close(TRADER)
            left.append(wealth(world, TRADER))
            world.invariants()
        assert left[0] <= left[1]

    def test_liquidation__of_one_isolated_position__touches_nothing_else(self, world):
        world.deposit(VICTIM, START)
        isolated(world)
        isolated(world, market=1, size=5 * E18)
        cross(world, market=1, size=E18)
        isolated(world, account=VICTIM, margin=5_000 * USDC)
        world.rest(0, 79 * E18)
        kept = [
            world.held(TRADER, 1),
            world.held(TRADER, 1, CROSS),
            world.held(VICTIM),
            world.holder(VICTIM),
        ]
        world.liquidate(TRADER)
        assert kept == [
            world.held(TRADER, 1),
            world.held(TRADER, 1, CROSS),
            world.held(VICTIM),
            world.holder(VICTIM),
        ]
        world.invariants()

    def test_bankruptcy__loss_beyond_the_collateral__insurance_before_the_pool(self, world):
        isolated(world)
        before = world.totals()
        world.rest(0, 60 * E18)
        receipt = world.liquidate(TRADER)
        (liquidated,) = events(receipt, "Liquidation")
        after = world.totals()
        assert liquidated["shortfall"] > 0
        assert before["insurance"] - after["insurance"] == liquidated["shortfall"]
        assert after["pool"] > before["pool"]
        assert world.holder(TRADER).balance == START - MARGIN - FEE_E6
        world.invariants()


class TestProfitWithoutALivePrice:
    """A freeze, or a minute without prices: the profit does not count, but a grace comes first."""

    def on_profit(self, world, balance=100 * USDC):
        """A cross account that lives on its profit in market 0, and holds a little in market 1."""
        cross(world, size=1_000 * E18)
        cross(world, size=E18, market=1)
        world.rest(0, 160 * E18)
        world.refresh()
        world.engine.send(TRADER, "withdraw", world.holder(TRADER).balance - balance)
        world.pass_time(40)
        with world.refuses(Refusal.NOT_LIQUIDATABLE):
            world.liquidate(TRADER, 0, CROSS)

    def frozen(self, world, market=0):
        world.oracle.send(GUARDIAN, "freeze_market", market)

    def closes_after_its_grace(self, world):
        """The first call begins the grace; 300 s later, and not before, the account is closed."""
        receipt = world.liquidate(TRADER, 0, CROSS)
        (begun,) = events(receipt, "GraceBegun")
        assert receipt.output == bytes(32)
        assert begun["equity"] < begun["maintenance"] <= begun["equity"] + begun["absent"]
        world.pass_time(299)
        with world.refuses(Refusal.GRACE_RUNNING):
            world.liquidate(TRADER, 0, CROSS)
        world.pass_time(1)
        (closed,) = events(world.liquidate(TRADER, 0, CROSS), "Liquidation")
        assert world.held(TRADER, 0, CROSS).size == 0
        # The profit is paid now: so it pays what closing costs, and the least penalty.
        least = closed["size"] * closed["price"] // 10**30 * MARKET_RULES.penalty_min_ppm // 10**6
        assert closed["cost"] > 0
        assert 0 <= closed["penalty"] - least <= 2
        world.invariants()

    def test_freeze__of_the_market_it_lives_on__closes_after_a_grace(self, world):
        self.on_profit(world)
        self.frozen(world)
        self.closes_after_its_grace(world)

    def test_pause__of_the_market_it_lives_on__closes_what_else_it_holds_after_a_grace(self, world):
        self.on_profit(world)
        world.oracle.send(GUARDIAN, "pause_market", 0, 3_000)
        assert events(world.liquidate(TRADER, 1, CROSS), "GraceBegun")
        world.pass_time(300)
        assert events(world.liquidate(TRADER, 1, CROSS), "Liquidation")

    def test_freeze__margin_added_in_the_grace__keeps_the_position(self, world):
        self.on_profit(world)
        self.frozen(world)
        world.liquidate(TRADER, 0, CROSS)
        world.deposit(TRADER, 40_000 * USDC)
        world.pass_time(300)
        with world.refuses(Refusal.NOT_LIQUIDATABLE):
            world.liquidate(TRADER, 0, CROSS)

    def test_freeze__lifted_in_the_grace__keeps_the_position(self, world):
        self.on_profit(world)
        self.frozen(world)
        world.liquidate(TRADER, 0, CROSS)
        world.oracle.send(OWNER, "unfreeze_market", 0)
        world.pass_time(300)
        with world.refuses(Refusal.NOT_LIQUIDATABLE):
            world.liquidate(TRADER, 0, CROSS)

    def test_freeze__found_again_after_the_grace_has_lapsed__has_a_grace_of_its_own(self, world):
        self.on_profit(world)
        self.frozen(world)
        world.liquidate(TRADER, 0, CROSS)
        world.pass_time(419)
        first = world.liquidator.read("graces", TRADER)
        world.pass_time(1)
        assert events(world.liquidate(TRADER, 0, CROSS), "GraceBegun")
        assert world.liquidator.read("graces", TRADER) == first + 420

    def test_no_price_for_46_s__closes_nothing(self, world):
        self.on_profit(world)
        world.wait(46)
        assert events(world.liquidate(TRADER, 0, CROSS), "GraceBegun")
        world.post()
        with world.refuses(Refusal.NOT_LIQUIDATABLE):
            world.liquidate(TRADER, 0, CROSS)

    def test_freeze__of_an_account_that_lacks_more_than_prices__closes_it_at_once(self, world):
        self.on_profit(world)
        world.rest(0, 102 * E18)
        self.frozen(world)
        assert world.view("account_view", TRADER)["equity"] < 5_000 * USDC
        assert events(world.liquidate(TRADER, 0, CROSS), "Liquidation")

    def test_dust_that_wins_in_a_frozen_market__shields_nobody(self, world):
        cross(world, size=1_000 * E18)
        cross(world, size=E18 // 10, market=1)
        world.rest(1, 2_400 * E18)
        world.rest(0, 52 * E18)
        self.frozen(world, 1)
        world.pass_time(900)
        found = world.view("account_view", TRADER)
        assert found["maintenance"] * 2 < found["equity"] * 3 < found["maintenance"] * 3
        assert events(world.liquidate(TRADER, 0, CROSS), "Liquidation")

    def test_freeze__signed_liquidation__waits_as_long(self, world):
        self.on_profit(world)
        self.frozen(world)
        action = world.action(world.held_id(TRADER, 0, CROSS), ActionKind.LIQUIDATE)
        world.wait(3)
        world.post()
        assert events(world.act("liquidate_signed", action), "GraceBegun")


def refused(refusal):
    """Give the bytes of a refusal."""
    return REFUSED_SELECTOR + int(refusal).to_bytes(32, "big")
