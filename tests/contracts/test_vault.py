"""CollateralVault: what traders are owed, kept apart, and nothing else."""

from __future__ import annotations

import pytest

from contracts.artifacts import load
from tests.contracts.pool_world import (
    ATTACKER,
    DEPOSITOR,
    INSURANCE,
    INSURER,
    KEEPER,
    POOL,
    TRADER,
    USDC,
    PoolWorld,
    events,
)


@pytest.fixture
def world() -> PoolWorld:
    found = PoolWorld()
    found.deposit(DEPOSITOR, POOL, 1_000 * USDC)
    found.deposit(INSURER, INSURANCE, 100 * USDC)
    found.engine.send(KEEPER, "pull", TRADER, 500 * USDC)
    return found


def test_vault__has_five_ways_to_act_and_no_owner():
    entries = [entry for entry in load("CollateralVault").abi if entry["type"] == "function"]
    acting = {entry["name"] for entry in entries if entry["stateMutability"] == "nonpayable"}
    assert acting == {"pull", "pay", "release", "credit", "sweep"}


def test_vault__wired__says_to_whom(world):
    wired = [world.vault.read(view) for view in ("token", "engine", "pool")]
    parties = [world.token.address, world.engine.address, world.pool.address]
    assert wired == [party.lower() for party in parties]


def test_pull__credits_what_arrives(world):
    before = world.balance(TRADER)
    receipt = world.engine.send(KEEPER, "pull", TRADER, 7)
    assert world.balance(TRADER) == before - 7
    assert world.vault.read("credited") == 500 * USDC + 7 == world.balance(world.vault.address)
    (event,) = events(receipt, "Pulled")
    assert event.fields == {"account": TRADER.lower(), "amount": 7}


def test_pay__takes_from_what_is_owed(world):
    before = world.balance(TRADER)
    receipt = world.engine.send(KEEPER, "pay", TRADER, 500 * USDC)
    assert world.balance(TRADER) == before + 500 * USDC
    assert world.vault.read("credited") == 0 == world.balance(world.vault.address)
    (event,) = events(receipt, "Paid")
    assert event.fields == {"account": TRADER.lower(), "amount": 500 * USDC}


def test_vault__asked_for_nothing__moves_nothing(world):
    before = world.everything()
    for function in ("pull", "pay"):
        world.engine.send(KEEPER, function, TRADER, 0)
    assert world.everything() == before


@pytest.mark.parametrize("amounts", [(30 * USDC, 0), (-30 * USDC, 0), (0, 2 * USDC), (-3, 3)])
def test_settle__moves_credit_and_tokens_together(world, amounts):
    world.settle(*amounts)
    credited = 500 * USDC - sum(amounts)
    assert world.vault.read("credited") == credited == world.balance(world.vault.address)
    assert world.balance(world.pool.address) == 1_100 * USDC + sum(amounts)


def test_donation__to_the_vault__is_nobody_s_until_swept(world):
    world.mint(world.vault.address, 9 * USDC)
    assert world.vault.read("credited") == 500 * USDC
    assert world.vault.read("excess") == 9 * USDC
    before = world.state()
    receipt = world.vault.send(ATTACKER, "sweep")
    assert world.vault.read("excess") == 0
    assert world.balance(world.vault.address) == 500 * USDC
    after = world.state()
    assert (after.insurance, after.assets) == (before.insurance + 9 * USDC, before.assets)
    swept, insured = events(receipt, "Swept", "Insured")
    assert swept.fields == {"amount": 9 * USDC}
    assert insured.fields == {"sender": world.vault.address.lower(), "amount": 9 * USDC}


def test_credited__from_events__is_rebuilt(world):
    receipts = [
        world.engine.send(KEEPER, "pull", TRADER, 40 * USDC),
        world.settle(30 * USDC, USDC),
        world.settle(-70 * USDC, 2),
        world.engine.send(KEEPER, "pay", TRADER, 11),
        world.settle(0, 0, 5),
    ]
    signs = {"Pulled": ("amount", 1), "Paid": ("amount", -1)}
    credited = 500 * USDC
    for event in (event for receipt in receipts for event in receipt.events):
        name, sign = signs.get(event.name, ("", 0))
        credited += sign * event.fields.get(name, 0)
        if event.name == "Settled":
            credited -= event.fields["to_pool"] + event.fields["to_insurance"]
    assert world.vault.read("credited") == credited
