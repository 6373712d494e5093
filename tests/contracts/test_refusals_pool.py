"""Each refusal of the liquidity pool: reached, and nothing moved."""

from __future__ import annotations

import pytest

from contracts.fields import keccak256
from contracts.pool import MAX_AMOUNT, MAX_SHARES, VIRTUAL_SHARES, Exposure
from contracts.refusals import Refusal
from contracts.units import UsdcE6
from tests.contracts.chain import PyEvm
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
)
from tests.contracts.world import GUARDIAN, OWNER, TIMELOCK_S

BOTH = pytest.mark.parametrize("tranche", [POOL, INSURANCE])
PARTY = {POOL: DEPOSITOR, INSURANCE: INSURER}


@pytest.fixture
def world() -> PoolWorld:
    """A thousand USDC in the pool and a hundred in insurance; traders hold five hundred."""
    found = PoolWorld()
    found.deposit(DEPOSITOR, POOL, 1_000 * USDC)
    found.deposit(INSURER, INSURANCE, 100 * USDC)
    found.engine.send(KEEPER, "pull", TRADER, 500 * USDC)
    return found


@pytest.mark.parametrize("party", [ATTACKER, OWNER, GUARDIAN])
def test_insure__by_another__refuses_not_vault(world, party):
    world.mint(world.pool.address, USDC)
    with world.refuses(Refusal.NOT_VAULT):
        world.pool.send(party, "insure", USDC)


def test_settle__profit_beyond_both_tranches__refuses_pool_exhausted(world):
    with world.refuses(Refusal.POOL_EXHAUSTED):
        world.settle(-1_100 * USDC - 1)
    with world.refuses(Refusal.POOL_EXHAUSTED):
        world.settle(-1_100 * USDC - 1, 0, 50 * USDC)
    world.settle(-1_100 * USDC)
    with world.refuses(Refusal.POOL_EXHAUSTED):
        world.settle(-1)


@pytest.mark.parametrize("tranche", [0, 3, 2**256 - 1])
@pytest.mark.parametrize("function", ["request_deposit", "request_redeem"])
def test_request__of_another_tranche__refuses_unknown_tranche(world, function, tranche):
    with world.refuses(Refusal.UNKNOWN_TRANCHE):
        world.pool.send(DEPOSITOR, function, tranche, USDC)


def test_cooldown__of_another_tranche__refuses_unknown_tranche(world):
    with world.refuses(Refusal.UNKNOWN_TRANCHE):
        world.pool.send(OWNER, "set_cooldowns", 3, DAY_S, DAY_S)
    with world.refuses(Refusal.UNKNOWN_TRANCHE):
        world.pool.read("cooldown", 0)


@BOTH
@pytest.mark.parametrize("function", ["request_deposit", "request_redeem"])
def test_request__of_nothing__refuses_amount_zero(world, function, tranche):
    with world.refuses(Refusal.AMOUNT_ZERO):
        world.pool.send(DEPOSITOR, function, int(tranche), 0)


@BOTH
def test_request__of_more_than_storage_counts__refuses_amount_too_large(world, tranche):
    world.mint(ATTACKER, 2**100)
    with world.refuses(Refusal.AMOUNT_TOO_LARGE):
        world.request(ATTACKER, tranche, MAX_AMOUNT + 1)
    world.request(ATTACKER, tranche, MAX_AMOUNT)


@BOTH
def test_execute__sum_beyond_what_storage_counts__refuses_amount_too_large(world, tranche):
    world.mint(ATTACKER, 2**100)
    id_ = world.request(ATTACKER, tranche, MAX_AMOUNT)
    world.wait(WEEK_S)
    with world.refuses(Refusal.AMOUNT_TOO_LARGE):
        world.execute(id_)


def test_settle__sum_beyond_what_storage_counts__refuses_amount_too_large(world):
    world.mint(ATTACKER, 2**100)
    world.token.send(ATTACKER, "approve", world.vault.address, 2**256 - 1)
    world.engine.send(KEEPER, "pull", ATTACKER, 2**98)
    world.settle(MAX_AMOUNT - 1_000 * USDC, MAX_AMOUNT - 100 * USDC)
    assert (world.state().assets, world.state().insurance) == (MAX_AMOUNT, MAX_AMOUNT)
    for amounts in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        with world.refuses(Refusal.AMOUNT_TOO_LARGE):
            world.settle(*amounts)


def test_sweep__sum_beyond_what_storage_counts__refuses_amount_too_large(world):
    world.mint(world.pool.address, 2**96)
    with world.refuses(Refusal.AMOUNT_TOO_LARGE):
        world.pool.send(KEEPER, "sweep")


@pytest.mark.parametrize("kind", ["deposit", "redeem"])
def test_request__that_there_is_not__refuses_unknown_request(world, kind):
    deposited = world.request(DEPOSITOR, POOL, USDC)
    redeemed = world.request_redeem(DEPOSITOR, POOL, USDC)
    other = redeemed if kind == "deposit" else deposited
    world.wait(DAY_S + WEEK_S)
    for id_ in (0, redeemed + 1, 2**256 - 1, other):
        with world.refuses(Refusal.UNKNOWN_REQUEST):
            world.execute(id_, kind)
        with world.refuses(Refusal.UNKNOWN_REQUEST):
            world.pool.send(DEPOSITOR, f"cancel_{kind}", id_)


@BOTH
@pytest.mark.parametrize("first", ["execute", "cancel"])
@pytest.mark.parametrize("again", ["execute", "cancel"])
def test_deposit__a_second_time__refuses_unknown_request(world, tranche, first, again):
    id_ = world.request(PARTY[tranche], tranche, USDC)
    world.wait(2 * WEEK_S)
    world.pool.send(PARTY[tranche], f"{first}_deposit", id_)
    with world.refuses(Refusal.UNKNOWN_REQUEST):
        world.pool.send(PARTY[tranche], f"{again}_deposit", id_)


@BOTH
@pytest.mark.parametrize("first", ["execute", "cancel"])
@pytest.mark.parametrize("again", ["execute", "cancel"])
def test_redeem__a_second_time__refuses_unknown_request(world, tranche, first, again):
    id_ = world.request_redeem(PARTY[tranche], tranche, 10**13)
    world.wait(2 * WEEK_S)
    world.pool.send(PARTY[tranche], f"{first}_redeem", id_)
    with world.refuses(Refusal.UNKNOWN_REQUEST):
        world.pool.send(PARTY[tranche], f"{again}_redeem", id_)


@pytest.mark.parametrize("party", [ATTACKER, OWNER, GUARDIAN])
def test_cancel__of_another_s__refuses_not_requester(world, party):
    deposited = world.request(DEPOSITOR, POOL, USDC)
    redeemed = world.request_redeem(DEPOSITOR, POOL, USDC)
    world.wait(DAY_S + WEEK_S)
    with world.refuses(Refusal.NOT_REQUESTER):
        world.pool.send(party, "cancel_deposit", deposited)
    with world.refuses(Refusal.NOT_REQUESTER):
        world.pool.send(party, "cancel_redeem", redeemed)


@BOTH
def test_execute__a_second_early__refuses_cooldown_running(world, tranche):
    waits = DAY_S if tranche is POOL else WEEK_S
    deposited = world.request(PARTY[tranche], tranche, USDC)
    redeemed = world.request_redeem(PARTY[tranche], tranche, 10**13)
    world.wait(waits - 1)
    with world.refuses(Refusal.COOLDOWN_RUNNING):
        world.execute(deposited)
    with world.refuses(Refusal.COOLDOWN_RUNNING):
        world.execute(redeemed, "redeem")
    world.wait(1)
    assert world.execute(deposited) > 0
    assert world.execute(redeemed, "redeem") > 0


@BOTH
def test_cancel__a_second_early__refuses_not_lapsed(world, tranche):
    waits = DAY_S if tranche is POOL else WEEK_S
    party = PARTY[tranche]
    deposited = world.request(party, tranche, USDC)
    redeemed = world.request_redeem(party, tranche, 10**13)
    world.wait(waits + WEEK_S - 1)
    with world.refuses(Refusal.NOT_LAPSED):
        world.pool.send(party, "cancel_deposit", deposited)
    with world.refuses(Refusal.NOT_LAPSED):
        world.pool.send(party, "cancel_redeem", redeemed)


@BOTH
def test_execute_deposit__too_little_for_a_share__refuses_shares_zero(tranche):
    world = PoolWorld()
    world.mint(world.pool.address, 10**6 * USDC)
    world.pool.send(KEEPER, "sweep")
    if tranche is POOL:
        world.expose(Exposure(profit_high=-(10**6) * USDC, profit_low=-(10**6) * USDC))
    id_ = world.request(DEPOSITOR, tranche, USDC)
    world.wait(WEEK_S)
    with world.refuses(Refusal.SHARES_ZERO):
        world.execute(id_)


def test_execute_redeem__while_worth_nothing__refuses_assets_zero(world):
    id_ = world.request_redeem(DEPOSITOR, POOL, world.held(DEPOSITOR, POOL))
    world.wait(DAY_S)
    world.expose(Exposure(profit_high=1_000 * USDC, profit_low=0))
    with world.refuses(Refusal.ASSETS_ZERO):
        world.execute(id_, "redeem")


def test_execute_redeem__of_an_empty_insurance__refuses_assets_zero(world):
    id_ = world.request_redeem(INSURER, INSURANCE, world.held(INSURER, INSURANCE))
    world.wait(WEEK_S)
    world.settle(0, 0, 100 * USDC)
    with world.refuses(Refusal.ASSETS_ZERO):
        world.execute(id_, "redeem")


def test_execute_redeem__into_the_reserve__refuses_reserve_needed(world):
    id_ = world.request_redeem(DEPOSITOR, POOL, world.held(DEPOSITOR, POOL) // 2)
    world.wait(DAY_S)
    world.expose(Exposure(reserve=UsdcE6(500 * USDC + 1)))
    with world.refuses(Refusal.RESERVE_NEEDED):
        world.execute(id_, "redeem")
    world.expose(Exposure(reserve=UsdcE6(500 * USDC)))
    assert world.execute(id_, "redeem") == 500 * USDC


def test_execute_redeem__of_insurance_behind_the_reserve__refuses_reserve_needed(world):
    id_ = world.request_redeem(INSURER, INSURANCE, world.held(INSURER, INSURANCE))
    world.wait(WEEK_S)
    paid = 100 * USDC
    world.expose(Exposure(reserve=UsdcE6(1_100 * USDC - paid + 1)))
    with world.refuses(Refusal.RESERVE_NEEDED):
        world.execute(id_, "redeem")
    world.expose(Exposure(reserve=UsdcE6(1_100 * USDC - paid)))
    assert world.execute(id_, "redeem") == paid


def test_execute_redeem__of_losses_not_yet_paid__pays_own_assets_alone(world):
    # The money for traders' losses is still in the vault, and some of it nobody has.
    id_ = world.request_redeem(DEPOSITOR, POOL, world.held(DEPOSITOR, POOL))
    world.wait(DAY_S)
    world.expose(Exposure(profit_high=-USDC, profit_low=-USDC))
    own = world.pool.read("totals")[0]
    assert world.execute(id_, "redeem") <= own


@BOTH
def test_execute_redeem__while_paused__refuses_withdrawals_paused(world, tranche):
    id_ = world.request_redeem(PARTY[tranche], tranche, 10**13)
    world.wait(WEEK_S)
    world.engine.send(KEEPER, "set_withdrawals", False)
    with world.refuses(Refusal.WITHDRAWALS_PAUSED):
        world.execute(id_, "redeem")
    world.engine.send(KEEPER, "set_withdrawals", True)
    assert world.execute(id_, "redeem") > 0


@pytest.mark.parametrize("function", ["deposit", "mint"])
def test_one_step__to_enter__refuses_use_requests(world, function):
    with world.refuses(Refusal.USE_REQUESTS):
        world.pool.send(DEPOSITOR, function, USDC, DEPOSITOR)


@pytest.mark.parametrize("function", ["withdraw", "redeem"])
def test_one_step__to_leave__refuses_use_requests(world, function):
    with world.refuses(Refusal.USE_REQUESTS):
        world.pool.send(DEPOSITOR, function, USDC, DEPOSITOR, DEPOSITOR)


@pytest.mark.parametrize(
    ("deposit_s", "redeem_s"),
    [(HOUR_S - 1, DAY_S), (DAY_S, HOUR_S - 1), (30 * DAY_S + 1, DAY_S), (DAY_S, 30 * DAY_S + 1)],
)
def test_set_cooldowns__outside__refuses_cooldown_out_of_range(world, deposit_s, redeem_s):
    with world.refuses(Refusal.COOLDOWN_OUT_OF_RANGE):
        world.pool.send(OWNER, "set_cooldowns", int(POOL), deposit_s, redeem_s)


@pytest.mark.parametrize("party", [ATTACKER, GUARDIAN])
def test_set_cooldowns__by_another__refuses_not_owner(world, party):
    with world.refuses(Refusal.NOT_OWNER):
        world.pool.send(party, "set_cooldowns", int(POOL), HOUR_S, HOUR_S)


def test_set_cooldowns__launched_and_not_announced__refuses_not_scheduled(world):
    world.pool.send(OWNER, "launch")
    with world.refuses(Refusal.NOT_SCHEDULED):
        world.pool.send(OWNER, "set_cooldowns", int(POOL), HOUR_S, HOUR_S)
    call = world.pool.calldata("set_cooldowns", int(POOL), HOUR_S, 2 * HOUR_S)
    world.pool.send(OWNER, "schedule", keccak256(call))
    with world.refuses(Refusal.TIMELOCK_RUNNING):
        world.pool.send_raw(OWNER, call)
    world.wait(TIMELOCK_S)
    world.pool.send_raw(OWNER, call)
    assert world.pool.read("cooldown", int(POOL)) == (HOUR_S, 2 * HOUR_S)


@BOTH
def test_request_redeem__more_than_held__refuses_shares_short(world, tranche):
    held = world.held(PARTY[tranche], tranche)
    with world.refuses(Refusal.SHARES_SHORT):
        world.request_redeem(PARTY[tranche], tranche, held + 1)
    world.request_redeem(PARTY[tranche], tranche, held)
    with world.refuses(Refusal.SHARES_SHORT):
        world.request_redeem(PARTY[tranche], tranche, 1)


def test_transfer__more_than_held__refuses_shares_short(world):
    with world.refuses(Refusal.SHARES_SHORT):
        world.pool.send(ATTACKER, "transfer", DEPOSITOR, 1)


def test_transfer_from__more_than_allowed__refuses_allowance_short(world):
    world.pool.send(DEPOSITOR, "approve", KEEPER, USDC)
    with world.refuses(Refusal.ALLOWANCE_SHORT):
        world.pool.send(KEEPER, "transferFrom", DEPOSITOR, KEEPER, USDC + 1)
    with world.refuses(Refusal.ALLOWANCE_SHORT):
        world.pool.send(ATTACKER, "transferFrom", DEPOSITOR, ATTACKER, 1)


def test_transfer__to_nobody_or_the_pool__refuses_receiver_refused(world):
    for receiver in (NO_ONE, world.pool.address):
        with world.refuses(Refusal.RECEIVER_REFUSED):
            world.pool.send(DEPOSITOR, "transfer", receiver, USDC)


@pytest.mark.parametrize("profit", [1_000 * USDC, 1_000 * USDC + 1, 5_000 * USDC])
def test_execute_deposit__pool_owes_all_it_has__refuses_pool_under_water(world, profit):
    id_ = world.request(ATTACKER, POOL, USDC)
    world.wait(DAY_S)
    world.expose(Exposure(profit_high=profit, profit_low=profit))
    with world.refuses(Refusal.POOL_UNDER_WATER):
        world.execute(id_)
    with world.refuses(Refusal.POOL_UNDER_WATER):
        world.pool.read("previewDeposit", USDC)


def crowded(shares: int) -> tuple[PoolWorld, int]:
    """Give a world whose insurance has so many shares for one USDC, and a request to match them."""
    world = PoolWorld(evm=PyEvm())
    made = world.deposit(INSURER, INSURANCE, USDC)
    slots = [s for s in range(64) if world.evm.storage(world.pool.address, s) == made]
    for slot in slots:
        world.evm.write_storage(world.pool.address, slot, shares)
    assert world.state().insurance_shares == shares
    id_ = world.request(DEPOSITOR, INSURANCE, USDC + 1)
    world.wait(WEEK_S)
    return world, id_


def test_execute_deposit__into_a_tranche_of_too_many_shares__refuses_shares_exhausted():
    most = (MAX_SHARES - VIRTUAL_SHARES) // 2  # the request makes as many, and the virtual ones
    world, id_ = crowded(most + 1)
    with world.refuses(Refusal.SHARES_EXHAUSTED):
        world.execute(id_)
    world, id_ = crowded(most)
    assert world.execute(id_) == most + VIRTUAL_SHARES
    assert world.state().insurance_shares == MAX_SHARES


@BOTH
def test_execute__price_from_before_the_request__refuses_observation_too_old(world, tranche):
    deposited = world.request(PARTY[tranche], tranche, USDC)
    redeemed = world.request_redeem(PARTY[tranche], tranche, 10**13)
    since_ms = (world.evm.now_s + 2) * 1_000
    world.wait(WEEK_S)
    world.engine.send(DEPLOYER, "set_observed", since_ms - 1)
    with world.refuses(Refusal.OBSERVATION_TOO_OLD):
        world.execute(deposited)
    with world.refuses(Refusal.OBSERVATION_TOO_OLD):
        world.execute(redeemed, "redeem")
    world.engine.send(DEPLOYER, "set_observed", since_ms)
    assert world.execute(deposited) > 0
    assert world.execute(redeemed, "redeem") > 0
