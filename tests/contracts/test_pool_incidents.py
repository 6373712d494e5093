"""Incidents of the field tried on vault and pool: what each attacker gains is nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.pool import Exposure, Tranche
from contracts.refusals import REFUSED_SELECTOR, Refusal
from tests.contracts.chain import FAST, Contract
from tests.contracts.pool_world import (
    ATTACKER,
    DAY_S,
    DEPLOYER,
    DEPOSITOR,
    INSURANCE,
    INSURER,
    KEEPER,
    POOL,
    TRADER,
    USDC,
    WEEK_S,
    PoolWorld,
)

BOTH = pytest.mark.parametrize("tranche", [POOL, INSURANCE])
REVERT_WITH_WORDS = bytes.fromhex("08c379a0")  # Error(string), as the stub's lock refuses
EXAMPLES = 25 if FAST else 4


@BOTH
@settings(max_examples=EXAMPLES)
@given(
    first=st.sampled_from([1, 10, USDC]),
    donation=st.sampled_from([0, 1, USDC, 10**6 * USDC, 10**9 * USDC]),
    victim=st.sampled_from([USDC, 1_000 * USDC, 10**6 * USDC]),
    swept=st.booleans(),
)
def test_first_depositor__inflating_the_price__only_loses(tranche, first, donation, victim, swept):
    world = PoolWorld()
    before = world.balance(ATTACKER)
    world.deposit(ATTACKER, tranche, first)
    if donation:
        world.token.send(ATTACKER, "transfer", world.pool.address, donation)
        if swept:
            world.pool.send(ATTACKER, "sweep")
    id_ = world.request(DEPOSITOR, tranche, victim)
    world.wait(WEEK_S)
    shares = world.execute(id_)
    world.redeem(ATTACKER, tranche, world.held(ATTACKER, tranche))
    assert world.balance(ATTACKER) <= before
    returned = world.redeem(DEPOSITOR, tranche, shares)
    # At worst, rounding costs a millionth of what the attacker has given away.
    assert returned >= victim - 1 - (donation + first) // 10**6


@BOTH
def test_donation__to_the_pool__changes_no_share_value_until_swept(tranche):
    world = PoolWorld()
    world.deposit(DEPOSITOR, POOL, 1_000 * USDC)
    world.deposit(INSURER, INSURANCE, 100 * USDC)
    before = world.state()
    world.mint(world.pool.address, 10**6 * USDC)
    assert world.state() == before
    assert world.pool.read("totalAssets") == 1_000 * USDC
    assert world.deposit(ATTACKER, tranche, USDC) == 10**12
    world.pool.send(ATTACKER, "sweep")
    assert world.state().assets == before.assets + (USDC if tranche is POOL else 0)
    assert world.pool.read("excess") == 0


def test_donation__between_request_and_execution__gains_its_giver_nothing():
    world = PoolWorld()
    world.deposit(INSURER, INSURANCE, 100 * USDC)
    before = world.balance(ATTACKER)
    world.deposit(ATTACKER, INSURANCE, 100 * USDC)
    leaving = world.request_redeem(ATTACKER, INSURANCE, world.held(ATTACKER, INSURANCE))
    world.token.send(ATTACKER, "transfer", world.vault.address, 50 * USDC)
    world.vault.send(ATTACKER, "sweep")
    world.wait(WEEK_S)
    world.execute(leaving, "redeem")
    assert world.balance(ATTACKER) < before


@pytest.mark.parametrize("gain", [300 * USDC, -300 * USDC])
def test_entering__around_a_price_that_is_known_beforehand__gains_nothing(gain):
    """A jump seen before the chain sees it: who asks to enter then, enters after it."""
    world = PoolWorld()
    world.deposit(DEPOSITOR, POOL, 1_000 * USDC)
    before = world.balance(ATTACKER)
    id_ = world.request(ATTACKER, POOL, 1_000 * USDC)
    world.expose(Exposure(profit_high=-gain, profit_low=-gain))
    world.wait(DAY_S)
    world.execute(id_)
    leaving = world.request_redeem(ATTACKER, POOL, world.held(ATTACKER, POOL) // 2)
    world.wait(DAY_S)
    world.execute(leaving, "redeem")
    assert world.balance(ATTACKER) <= before - 500 * USDC + 1


def test_leaving__before_a_loss_that_is_known__bears_it():
    world = PoolWorld()
    world.deposit(DEPOSITOR, POOL, 1_000 * USDC)
    world.deposit(ATTACKER, POOL, 1_000 * USDC)
    leaving = world.request_redeem(ATTACKER, POOL, world.held(ATTACKER, POOL))
    world.settle(-500 * USDC)
    world.wait(DAY_S)
    assert 750 * USDC - 2 <= world.execute(leaving, "redeem") <= 750 * USDC


def test_insurer__leaving_when_it_begins_to_rain__bears_the_loss():
    world = PoolWorld()
    world.deposit(DEPOSITOR, POOL, 1_000 * USDC)
    world.deposit(INSURER, INSURANCE, 100 * USDC)
    leaving = world.request_redeem(INSURER, INSURANCE, world.held(INSURER, INSURANCE))
    world.settle(0, 0, 60 * USDC)
    world.wait(WEEK_S)
    assert world.execute(leaving, "redeem") == 40 * USDC


def test_execution_withheld__by_whoever_asked__anybody_may_do_it():
    """A request that only its owner could execute would be an option on the price."""
    world = PoolWorld()
    world.deposit(DEPOSITOR, POOL, 1_000 * USDC)
    id_ = world.request(ATTACKER, POOL, 1_000 * USDC)
    world.wait(DAY_S)
    world.pool.send(KEEPER, "execute_deposit", id_)
    world.settle(-500 * USDC)
    assert world.held(ATTACKER, POOL) == 10**15
    assert world.held(KEEPER, POOL) == 0


def test_pool_under_water__entering__does_not_take_what_is_won_back():
    world = PoolWorld()
    world.deposit(DEPOSITOR, POOL, 1_000 * USDC)
    id_ = world.request(ATTACKER, POOL, USDC)
    world.wait(DAY_S)
    world.expose(Exposure(profit_high=1_200 * USDC, profit_low=1_000 * USDC))
    with world.refuses(Refusal.POOL_UNDER_WATER):
        world.execute(id_)
    world.expose(Exposure())
    assert world.execute(id_) == 10**12


def test_pool__wiped_out__takes_new_deposits_that_the_old_shares_do_not_own():
    world = PoolWorld()
    world.deposit(DEPOSITOR, POOL, 1_000 * USDC)
    world.settle(-1_000 * USDC)
    shares = world.deposit(ATTACKER, POOL, 1_000 * USDC)
    assert world.redeem(ATTACKER, POOL, shares) >= 1_000 * USDC - 1


def hooked() -> PoolWorld:
    world = PoolWorld("HookToken")
    world.deposit(DEPOSITOR, POOL, 1_000 * USDC)
    world.deposit(INSURER, INSURANCE, 100 * USDC)
    world.engine.send(KEEPER, "pull", TRADER, 500 * USDC)
    return world


def calls(world: PoolWorld) -> dict[str, tuple[Contract, bytes]]:
    """Make calls of outsiders that succeed when nothing else is under way."""
    deposits = [world.request(DEPOSITOR, tranche, 10 * USDC) for tranche in Tranche]
    redeems = [
        world.request_redeem(DEPOSITOR, POOL, 10**13),
        world.request_redeem(INSURER, INSURANCE, 10**13),
    ]
    world.mint(world.vault.address, 3)
    world.mint(world.pool.address, 5)
    world.wait(2 * WEEK_S)
    pool = world.pool
    named = {
        "vault sweep": (world.vault, world.vault.calldata("sweep")),
        "pool sweep": (pool, pool.calldata("sweep")),
    }
    for index, id_ in enumerate(deposits):
        named[f"deposit {index}"] = (pool, pool.calldata("execute_deposit", id_))
    for index, id_ in enumerate(redeems):
        named[f"redeem {index}"] = (pool, pool.calldata("execute_redeem", id_))
    return named


MOMENTS = {
    "pull": lambda world: world.engine.send(KEEPER, "pull", TRADER, USDC),
    "pay": lambda world: world.engine.send(KEEPER, "pay", TRADER, USDC),
    "loss": lambda world: world.settle(USDC),
    "profit": lambda world: world.settle(-USDC),
    "request": lambda world: world.request(DEPOSITOR, POOL, USDC),
    "sweep": lambda world: world.vault.send(KEEPER, "sweep"),
    "payout": lambda world: world.execute(5, "redeem"),
    "cancel": lambda world: world.pool.send(DEPOSITOR, "cancel_deposit", 3),
}
INNER = ("vault sweep", "pool sweep", "deposit 1", "redeem 1")


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("moment", MOMENTS)
def test_reentrancy__from_a_token_s_hook__meets_the_lock(moment, inner):
    world = hooked()
    contract, call = calls(world)[inner]
    world.token.send(DEPLOYER, "set_hook", contract.address, call)
    MOMENTS[moment](world)
    assert world.token.read("reverted")
    assert world.token.read("answer")[:4] == REVERT_WITH_WORDS != REFUSED_SELECTOR
    assert world.accounted()
    if (moment, inner) != ("sweep", "vault sweep"):
        contract.send_raw(KEEPER, call)  # the same call, when nothing else is under way


@pytest.mark.parametrize("function", ["request_deposit", "request_redeem"])
def test_reentrancy__asking_in_the_middle__meets_the_lock(function):
    world = hooked()
    arguments = (int(POOL), 1)
    world.token.send(
        DEPLOYER, "set_hook", world.pool.address, world.pool.calldata(function, *arguments)
    )
    world.engine.send(KEEPER, "pay", TRADER, USDC)
    assert world.token.read("reverted")
    assert world.token.read("answer")[:4] == REVERT_WITH_WORDS


@pytest.mark.parametrize("function", ["cancel_deposit", "cancel_redeem"])
def test_reentrancy__cancelling_in_the_middle__meets_the_lock(function):
    world = hooked()
    world.token.send(DEPLOYER, "set_hook", world.pool.address, world.pool.calldata(function, 10**6))
    world.engine.send(KEEPER, "pay", TRADER, USDC)
    assert world.token.read("answer")[:4] == REVERT_WITH_WORDS


@pytest.mark.parametrize("moment", ["profit", "loss", "payout", "request", "cancel"])
@pytest.mark.parametrize("view", ["totalAssets", "pending", "totalSupply"])
def test_views__read_in_the_middle__say_what_will_hold(moment, view):
    world = hooked()
    calls(world)
    world.token.send(DEPLOYER, "set_hook", world.pool.address, world.pool.calldata(view))
    MOMENTS[moment](world)
    assert not world.token.read("reverted")
    assert int.from_bytes(world.token.read("answer"), "big") == world.pool.read(view)
