"""LiquidityPool: entering and leaving values, two steps, who bears a loss, shares as a token."""

from __future__ import annotations

import pytest

from contracts import pool
from contracts.pool import Exposure, PoolState, Tranche
from contracts.units import UsdcE6
from tests.contracts.chain import PyEvm, RefusedError
from tests.contracts.pool_world import (
    ATTACKER,
    DAY_S,
    DEPLOYER,
    DEPOSITOR,
    HOUR_S,
    INSURANCE,
    INSURER,
    KEEPER,
    NO_ONE,
    POOL,
    TRADER,
    USDC,
    WEEK_S,
    PoolWorld,
    events,
)
from tests.contracts.world import OWNER

BOTH = pytest.mark.parametrize("tranche", [POOL, INSURANCE])
PARTY = {POOL: DEPOSITOR, INSURANCE: INSURER}
LOSING = Exposure(profit_high=-90 * USDC, profit_low=-110 * USDC)
WINNING = Exposure(
    debts=UsdcE6(5 * USDC),
    profit_high=110 * USDC,
    profit_low=90 * USDC,
    reserve=UsdcE6(120 * USDC),
)


def settled_world(evm=None) -> PoolWorld:
    found = PoolWorld(evm=evm)
    found.deposit(DEPOSITOR, POOL, 1_000 * USDC)
    found.deposit(INSURER, INSURANCE, 100 * USDC)
    found.engine.send(KEEPER, "pull", TRADER, 500 * USDC)
    return found


@pytest.fixture
def world() -> PoolWorld:
    return settled_world()


@BOTH
def test_deposit__the_first__makes_a_million_shares_a_unit(tranche):
    world = PoolWorld()
    assert world.deposit(DEPOSITOR, tranche, USDC) == USDC * 10**6
    assert world.held(DEPOSITOR, tranche) == USDC * 10**6


@BOTH
def test_request_deposit__waits_apart_from_both_tranches(world, tranche):
    before = world.state()
    now_s = world.evm.now_s
    id_ = world.request(PARTY[tranche], tranche, 10 * USDC)
    after = world.state()
    assert after == pool.request_deposit(before, UsdcE6(10 * USDC))
    ready_s = now_s + (DAY_S if tranche is POOL else WEEK_S)
    expected = (PARTY[tranche].lower(), 0, int(tranche), now_s, ready_s, 10 * USDC)
    assert world.pool.read("request", id_) == expected


@BOTH
def test_cancel_deposit__a_week_after_the_cooldown__gives_all_back(world, tranche):
    party, before = PARTY[tranche], world.everything()
    balance = world.balance(party)
    id_ = world.request(party, tranche, 10 * USDC)
    world.wait(2 * WEEK_S)
    receipt = world.pool.send(party, "cancel_deposit", id_)
    assert world.balance(party) == balance
    assert world.state() == before[-1]
    (event,) = events(receipt, "DepositCancelled")
    assert (event.fields["id"], event.fields["amount"]) == (id_, 10 * USDC)
    assert world.pool.read("request", id_) == (NO_ONE, 0, 0, 0, 0, 0)


@BOTH
def test_cancel_redeem__a_week_after_the_cooldown__gives_all_back(world, tranche):
    party = PARTY[tranche]
    held, before = world.held(party, tranche), world.state()
    id_ = world.request_redeem(party, tranche, held)
    assert world.held(party, tranche) == 0
    assert world.state() == before
    world.wait(2 * WEEK_S)
    world.pool.send(party, "cancel_redeem", id_)
    assert world.held(party, tranche) == held
    assert world.state() == before


@pytest.mark.parametrize("exposure", [Exposure(), LOSING, WINNING])
def test_execute_deposit__pays_the_high_value(world, exposure):
    id_ = world.request(ATTACKER, POOL, 10 * USDC)
    world.wait(DAY_S)
    world.expose(exposure)
    worth = 1_000 * USDC + exposure.debts - exposure.profit_low
    expected = 10 * USDC * (10**15 + 10**6) // (worth + 1)
    assert world.pool.read("previewDeposit", 10 * USDC) == expected
    assert world.execute(id_) == expected == world.held(ATTACKER, POOL)


@pytest.mark.parametrize("exposure", [Exposure(), LOSING, WINNING])
def test_execute_redeem__is_paid_the_low_value(world, exposure):
    shares = 10**15 // 3
    id_ = world.request_redeem(DEPOSITOR, POOL, shares)
    world.wait(DAY_S)
    world.expose(exposure)
    worth = 1_000 * USDC - max(0, exposure.profit_high)
    expected = shares * (worth + 1) // (10**15 + 10**6)
    assert world.pool.read("previewRedeem", shares) == expected
    before = world.balance(DEPOSITOR)
    assert world.execute(id_, "redeem") == expected == world.balance(DEPOSITOR) - before


@pytest.mark.parametrize("exposure", [LOSING, WINNING])
def test_insurance__whatever_positions_are_worth__is_its_own_money(world, exposure):
    entering = world.request(ATTACKER, INSURANCE, 10 * USDC)
    leaving = world.request_redeem(INSURER, INSURANCE, 10**13)
    world.wait(WEEK_S)
    world.expose(exposure)
    assert world.execute(entering) == 10**13
    assert world.execute(leaving, "redeem") == 10 * USDC


@pytest.mark.parametrize("exposure", [Exposure(), LOSING, WINNING])
def test_previews__of_the_other_direction__ask_for_enough(world, exposure):
    world.expose(exposure)
    state = world.state()
    high = pool.entering_value(state, POOL, exposure)
    low = pool.leaving_value(state, POOL, exposure)
    cost = world.pool.read("previewMint", 10**9 + 7)
    assert cost == pool.assets_to_mint(10**9 + 7, state.shares, high)
    assert world.pool.read("previewDeposit", cost) >= 10**9 + 7
    assert world.pool.read("previewDeposit", cost - 1) < 10**9 + 7
    shares = world.pool.read("previewWithdraw", 10_007)
    assert shares == pool.shares_to_withdraw(10_007, state.shares, low)
    assert world.pool.read("previewRedeem", shares) >= 10_007
    assert world.pool.read("previewRedeem", shares - 1) < 10_007


def test_total_assets__at_the_last_marks__lies_between(world):
    world.expose(WINNING, profit=101 * USDC)
    assert world.pool.read("totalAssets") == 904 * USDC
    assert world.pool.read("convertToShares", 904 * USDC) == 904 * USDC * (10**15 + 10**6) // (
        904 * USDC + 1
    )
    assert world.pool.read("convertToAssets", 10**12) == 10**12 * (904 * USDC + 1) // (
        10**15 + 10**6
    )


def test_total_assets__without_fresh_prices__answers_while_previews_refuse(world):
    world.expose(WINNING)
    id_ = world.request(ATTACKER, POOL, USDC)
    world.wait(DAY_S)
    world.engine.send(DEPLOYER, "set_observed", 0)
    assert world.pool.read("totalAssets") == 905 * USDC
    assert world.pool.read("convertToAssets", 10**9) > 0
    with pytest.raises(RefusedError):
        world.execute(id_)


def test_total_assets__below_zero__is_zero(world):
    world.expose(Exposure(profit_high=2_000 * USDC, profit_low=2_000 * USDC))
    assert world.pool.read("totalAssets") == 0


def test_limits__of_one_step__are_zero(world):
    for view in ("maxDeposit", "maxMint", "maxWithdraw", "maxRedeem"):
        assert world.pool.read(view, DEPOSITOR) == 0


def test_assets_for_limits__are_its_own__whatever_the_prices(world):
    world.expose(WINNING)
    assert world.pool.read("assets_for_limits") == 1_000 * USDC
    assert world.pool.read("asset") == world.token.address.lower()


@pytest.mark.parametrize(
    ("shortfall", "covered"), [(1, 1), (100 * USDC, 100 * USDC), (100 * USDC + 1, 100 * USDC)]
)
def test_settle__shortfall__falls_on_insurance_and_then_on_the_pool(world, shortfall, covered):
    receipt = world.settle(0, 0, shortfall)
    state = world.state()
    assert (state.insurance, state.assets) == (100 * USDC - covered, 1_000 * USDC + covered)
    (event,) = events(receipt, "LossShared")
    assert event.fields == {"shortfall": shortfall, "covered": covered, "drawn": 0}


def test_settle__penalty_of_the_same_action__covers_its_shortfall_first(world):
    world.settle(0, 0, 100 * USDC)
    world.settle(0, 3 * USDC, 5 * USDC)
    assert (world.state().insurance, world.state().assets) == (0, 1_103 * USDC)


def test_settle__profit_beyond_assets__draws_on_insurance(world):
    receipt = world.settle(-1_030 * USDC)
    assert (world.state().insurance, world.state().assets) == (70 * USDC, 0)
    (event,) = events(receipt, "LossShared")
    assert event.fields == {"shortfall": 0, "covered": 0, "drawn": 30 * USDC}
    assert world.accounted()


def test_settle__without_a_loss_to_share__says_only_what_moved(world):
    receipt = world.settle(30 * USDC, 2)
    assert [event.name for event in events(receipt, "Settled", "LossShared")] == ["Settled"]


def test_settle__nothing__moves_nothing(world):
    before = world.everything()
    for amounts in ((0, 0), (-USDC, USDC)):
        receipt = world.settle(*amounts)
        assert [event.name for event in receipt.events] == ["Settled"]
        assert world.everything()[:-1] == before[:-1]


@pytest.mark.parametrize("amounts", [(100 * USDC, 5 * USDC), (-100 * USDC, 5 * USDC)])
def test_settle__cold__takes_little_gas(amounts):
    world = settled_world(PyEvm())
    used = int.from_bytes(world.settle(*amounts).output, "big")
    # 31,100 are four cold slots, three cold accounts, `Settled` and the token's `Transfer`.
    assert used <= 34_200


def test_cooldowns__at_first__are_a_day_and_a_week(world):
    assert world.pool.read("cooldown", int(POOL)) == (DAY_S, DAY_S)
    assert world.pool.read("cooldown", int(INSURANCE)) == (WEEK_S, WEEK_S)


def test_cooldowns__changed__hold_for_later_requests_only(world):
    early = world.request(DEPOSITOR, POOL, USDC)
    receipt = world.pool.send(OWNER, "set_cooldowns", int(POOL), HOUR_S, 30 * DAY_S)
    late = world.request(DEPOSITOR, POOL, USDC)
    leaving = world.request_redeem(DEPOSITOR, POOL, USDC)
    now_s = world.evm.now_s
    ready = [world.pool.read("request", id_)[4] - now_s for id_ in (early, late, leaving)]
    assert ready == [DAY_S, HOUR_S, 30 * DAY_S]
    (event,) = receipt.events
    assert event.fields == {"tranche": 1, "deposit_s": HOUR_S, "redeem_s": 30 * DAY_S}
    assert world.pool.read("cooldown", int(INSURANCE)) == (WEEK_S, WEEK_S)


def test_share__as_a_token__moves_and_is_allowed(world):
    names = [world.pool.read(view) for view in ("name", "symbol", "decimals", "totalSupply")]
    assert names == ["Autonomous Margin Layer Pool", "amlUSDC", 12, 10**15]
    (moved,) = world.pool.send(DEPOSITOR, "transfer", TRADER, 5).events
    assert moved.fields == {"sender": DEPOSITOR.lower(), "receiver": TRADER.lower(), "value": 5}
    (allowed,) = world.pool.send(DEPOSITOR, "approve", KEEPER, 9).events
    assert allowed.fields == {"owner": DEPOSITOR.lower(), "spender": KEEPER.lower(), "value": 9}
    world.pool.send(KEEPER, "transferFrom", DEPOSITOR, TRADER, 4)
    assert world.pool.read("allowance", DEPOSITOR, KEEPER) == 5
    assert (world.held(TRADER, POOL), world.held(DEPOSITOR, POOL)) == (9, 10**15 - 9)
    assert world.pool.read("totalSupply") == 10**15
    world.pool.send(KEEPER, "transferFrom", DEPOSITOR, TRADER, 5)
    assert world.pool.read("allowance", DEPOSITOR, KEEPER) == 0


def test_share__sent_to_oneself__stays(world):
    world.pool.send(DEPOSITOR, "transfer", DEPOSITOR, 10**15)
    assert world.held(DEPOSITOR, POOL) == 10**15


def test_allowance__without_end__is_not_used_up(world):
    world.pool.send(DEPOSITOR, "approve", KEEPER, 2**256 - 1)
    world.pool.send(KEEPER, "transferFrom", DEPOSITOR, TRADER, 4)
    assert world.pool.read("allowance", DEPOSITOR, KEEPER) == 2**256 - 1


def test_pool__wired__says_to_whom(world):
    wired = [world.pool.read(view) for view in ("engine", "views", "vault")]
    parties = [world.engine.address, world.engine.address, world.vault.address]
    assert wired == [party.lower() for party in parties]


SIGNS = {
    "DepositRequested": ("pending", "amount", 1),
    "DepositCancelled": ("pending", "amount", -1),
    "Insured": ("insurance", "amount", 1),
}


def replayed(state: PoolState, event) -> PoolState:
    """Apply one event to what was rebuilt so far."""
    values = {name: getattr(state, name) for name in PoolState.__slots__}
    fields = event.fields
    if event.name in SIGNS:
        name, field, sign = SIGNS[event.name]
        values[name] += sign * fields[field]
    elif event.name in {"DepositExecuted", "RedeemExecuted"}:
        sign = 1 if event.name == "DepositExecuted" else -1
        first = fields["tranche"] == Tranche.POOL
        values["assets" if first else "insurance"] += sign * fields["amount"]
        values["shares" if first else "insurance_shares"] += sign * fields["shares"]
        values["pending"] -= fields["amount"] if sign > 0 else 0
    elif event.name == "Settled":
        values["assets"] += fields["to_pool"]
        values["insurance"] += fields["to_insurance"]
    elif event.name == "LossShared":
        values["assets"] += fields["covered"] + fields["drawn"]
        values["insurance"] -= fields["covered"] + fields["drawn"]
    return PoolState(**values)


def test_totals__from_events__are_rebuilt(world):
    start = world.state()
    ids = [world.request(PARTY[tranche], tranche, 20 * USDC) for tranche in Tranche]
    leaving = world.request_redeem(DEPOSITOR, POOL, 10**14)
    state = pool.request_deposit(start, UsdcE6(40 * USDC))
    world.wait(2 * WEEK_S)
    world.mint(world.pool.address, 3)
    receipts = [
        world.pool.send(KEEPER, "execute_deposit", ids[0]),
        world.settle(40 * USDC, 3 * USDC),
        world.pool.send(KEEPER, "execute_redeem", leaving),
        world.pool.send(KEEPER, "sweep"),
        world.pool.send(INSURER, "cancel_deposit", ids[1]),
        world.settle(-30 * USDC, 0, 5),
    ]
    for event in (event for receipt in receipts for event in receipt.events):
        state = replayed(state, event)
    assert world.state() == state


def test_standard_events__of_the_vault_standard__are_given(world):
    id_ = world.request(ATTACKER, POOL, USDC)
    leaving = world.request_redeem(DEPOSITOR, POOL, 10**12)
    world.wait(DAY_S)
    deposited = world.pool.send(KEEPER, "execute_deposit", id_)
    assert [e.name for e in deposited.events] == ["Transfer", "Deposit", "DepositExecuted"]
    assert deposited.events[1].fields["owner"] == ATTACKER.lower()
    redeemed = world.pool.send(KEEPER, "execute_redeem", leaving)
    (event,) = events(redeemed, "Withdraw")
    assert (event.fields["receiver"], event.fields["assets"]) == (DEPOSITOR.lower(), USDC)
