"""Each refusal of the vault and of its token: reached, and nothing moved."""

from __future__ import annotations

import pytest

from contracts.refusals import Refusal
from tests.contracts.chain import Contract, RefusedError
from tests.contracts.pool_world import (
    ATTACKER,
    DEPLOYER,
    INSURANCE,
    INSURER,
    KEEPER,
    NO_ONE,
    POOL,
    TRADER,
    USDC,
    PoolWorld,
)
from tests.contracts.world import GUARDIAN, OWNER, TIMELOCK_S


@pytest.fixture
def world() -> PoolWorld:
    found = PoolWorld()
    found.engine.send(KEEPER, "pull", TRADER, 500 * USDC)
    return found


@pytest.mark.parametrize("function", ["pull", "pay"])
def test_engine_s__by_another__refuses_not_engine(world, function):
    with world.refuses(Refusal.NOT_ENGINE):
        world.vault.send(ATTACKER, function, ATTACKER, USDC)


def test_settle__by_another__refuses_not_engine(world):
    with world.refuses(Refusal.NOT_ENGINE):
        world.pool.send(ATTACKER, "settle", USDC, 0, 0)


@pytest.mark.parametrize("function", ["release", "credit"])
def test_pool_s__by_another__refuses_not_pool(world, function):
    with world.refuses(Refusal.NOT_POOL):
        world.vault.send(ATTACKER, function, USDC)


@pytest.mark.parametrize("party", [ATTACKER, OWNER, GUARDIAN])
def test_pool_s__by_engine_s_friends__refuses_not_pool(world, party):
    with world.refuses(Refusal.NOT_POOL):
        world.vault.send(party, "release", USDC)


def test_pull__without_allowance__refuses_token_refused(world):
    world.token.send(TRADER, "approve", world.vault.address, USDC - 1)
    with world.refuses(Refusal.TOKEN_REFUSED):
        world.engine.send(KEEPER, "pull", TRADER, USDC)


@pytest.mark.parametrize("amount", [10**30, 2**256 - 1])
def test_pull__more_than_there_is__refuses_token_refused(world, amount):
    with world.refuses(Refusal.TOKEN_REFUSED):
        world.engine.send(KEEPER, "pull", TRADER, amount)


@pytest.mark.parametrize("function", ["pull", "pay"])
def test_token__that_answers_false__refuses_token_refused(function):
    world = PoolWorld("FalseToken")
    world.engine.send(KEEPER, "pull", TRADER, 500 * USDC)
    world.token.send(DEPLOYER, "set_failing", True)
    with world.refuses(Refusal.TOKEN_REFUSED):
        world.engine.send(KEEPER, function, TRADER, USDC)


def test_token__that_answers_false_between_vault_and_pool__refuses_token_refused():
    world = PoolWorld("FalseToken")
    world.deposit(INSURER, POOL, 500 * USDC)
    world.engine.send(KEEPER, "pull", TRADER, 500 * USDC)
    world.token.send(DEPLOYER, "set_failing", True)
    for to_pool in (USDC, -USDC):
        with world.refuses(Refusal.TOKEN_REFUSED):
            world.settle(to_pool)


def test_token__that_answers_nothing__refuses_token_refused():
    world = PoolWorld("SilentToken")
    with world.refuses(Refusal.TOKEN_REFUSED):
        world.engine.send(KEEPER, "pull", TRADER, USDC)
    with world.refuses(Refusal.TOKEN_REFUSED):
        world.request(INSURER, INSURANCE, USDC)


def test_pull__fee_on_transfer__refuses_token_amount_differs():
    world = PoolWorld("FeeToken")
    world.token.send(DEPLOYER, "set_fee", 1, False)
    with world.refuses(Refusal.TOKEN_AMOUNT_DIFFERS):
        world.engine.send(KEEPER, "pull", TRADER, USDC)


def test_request_deposit__fee_on_transfer__refuses_token_amount_differs():
    world = PoolWorld("FeeToken")
    world.token.send(DEPLOYER, "set_fee", 1, False)
    with world.refuses(Refusal.TOKEN_AMOUNT_DIFFERS):
        world.request(INSURER, POOL, USDC)


def test_pay__fee_on_top_of_what_is_sent__refuses_token_amount_differs():
    world = PoolWorld("FeeToken")
    world.engine.send(KEEPER, "pull", TRADER, 500 * USDC)
    world.token.send(DEPLOYER, "set_fee", 1, True)
    with world.refuses(Refusal.TOKEN_AMOUNT_DIFFERS):
        world.engine.send(KEEPER, "pay", TRADER, USDC)


def test_settle__fee_on_what_the_pool_sends__refuses_tokens_missing():
    world = PoolWorld("FeeToken")
    world.deposit(INSURER, POOL, 500 * USDC)
    world.token.send(DEPLOYER, "set_fee", 1, False)
    with world.refuses(Refusal.TOKENS_MISSING):
        world.settle(-USDC)


def test_insure__by_the_engine_of_what_did_not_arrive__refuses_tokens_missing(world):
    world.mint(world.pool.address, USDC)
    with world.refuses(Refusal.TOKENS_MISSING):
        world.engine.send(KEEPER, "insure", USDC + 1)
    world.engine.send(KEEPER, "insure", USDC)
    assert world.state().insurance == USDC


def test_insure__of_what_is_deposited__refuses_tokens_missing(world):
    world.deposit(INSURER, POOL, USDC)
    world.deposit(INSURER, INSURANCE, USDC)
    world.request(INSURER, POOL, USDC)
    with world.refuses(Refusal.TOKENS_MISSING):
        world.engine.send(KEEPER, "insure", 1)


def test_pay__more_than_traders_are_owed__refuses_vault_short(world):
    world.mint(world.vault.address, 1_000 * USDC)
    with world.refuses(Refusal.VAULT_SHORT):
        world.engine.send(KEEPER, "pay", TRADER, 500 * USDC + 1)


def test_settle__more_than_traders_are_owed__refuses_vault_short(world):
    world.mint(world.vault.address, 1_000 * USDC)
    for to_pool, to_insurance in ((500 * USDC + 1, 0), (500 * USDC, 1), (0, 500 * USDC + 1)):
        with world.refuses(Refusal.VAULT_SHORT):
            world.settle(to_pool, to_insurance)


def test_sweep__nothing_there__refuses_nothing_to_sweep(world):
    with world.refuses(Refusal.NOTHING_TO_SWEEP):
        world.vault.send(ATTACKER, "sweep")
    with world.refuses(Refusal.NOTHING_TO_SWEEP):
        world.pool.send(ATTACKER, "sweep")


def vault_arguments(world, **changes):
    plain = {"token": world.token.address, "engine": TRADER, "pool": KEEPER}
    return list({**plain, **changes}.values())


def pool_arguments(world, **changes):
    plain = {"token": world.token.address, "engine": TRADER, "views": TRADER, "vault": KEEPER}
    roles = {"owner": OWNER, "guardian": GUARDIAN, "timelock_s": TIMELOCK_S}
    return list({**plain, **roles, **changes}.values())


MAKERS = {"CollateralVault": vault_arguments, "LiquidityPool": pool_arguments}


@pytest.mark.parametrize("name", MAKERS)
def test_deployment__token_of_other_decimals__refuses_token_decimals(world, name):
    # The pool itself is a token of twelve.
    with pytest.raises(RefusedError) as caught:
        Contract(world.evm, name, DEPLOYER, MAKERS[name](world, token=world.pool.address))
    assert caught.value.refusal is Refusal.TOKEN_DECIMALS


@pytest.mark.parametrize(
    ("name", "party"),
    [
        *(("CollateralVault", party) for party in ("token", "engine", "pool")),
        *(("LiquidityPool", p) for p in ("token", "engine", "views", "vault", "owner", "guardian")),
    ],
)
def test_deployment__without_a_party__refuses_address_missing(world, name, party):
    with pytest.raises(RefusedError) as caught:
        Contract(world.evm, name, DEPLOYER, MAKERS[name](world, **{party: NO_ONE}))
    assert caught.value.refusal is Refusal.ADDRESS_MISSING
