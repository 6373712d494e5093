"""Each event of the margin contracts is told by some call of a journey through all of them."""

from __future__ import annotations

import pytest

from contracts import artifacts
from contracts.book_words import CROSS, ISOLATED
from contracts.messages import ActionKind, Adjustment, MarginMode, Side
from tests.contracts.margin_world import (
    E18,
    KEEPER,
    LP,
    TRADER,
    TRADERS,
    USDC,
    WINDOW_S,
    MarginWorld,
)
from tests.contracts.world import GUARDIAN, OWNER, STRANGER

HOUR_S, WEEK_S, DAY_S = 3_600, 604_800, 86_400
SIZE = 1_000 * E18
MARGIN = 20_500 * USDC
# the authority module's, which tests/contracts/test_events.py reaches
SHARED = {
    "GuardianChanged",
    "Launched",
    "OperationCancelled",
    "OperationConsumed",
    "OperationScheduled",
    "OwnerChanged",
    "OwnerProposed",
}


def orders(world):
    """Open, add, change terms, cancel, reduce, close, withdraw."""
    world.deposit(TRADER, 3 * MARGIN)
    world.open(world.terms(), SIZE, margin=MARGIN)
    world.engine.send(TRADER, "add_margin", 0, 10 * USDC, False)
    world.change_terms(world.terms(), 500)
    late = world.request_close(TRADER)
    world.wait(WINDOW_S + 1)
    world.cancel(late)
    world.close(TRADER)
    world.engine.send(TRADER, "withdraw", USDC)


def pool(world):
    """Enter, leave, change one's mind both ways, give shares on, and give tokens away."""
    world.mint(LP, 100 * USDC, world.pool)
    world.pool.send(LP, "request_deposit", 1, 50 * USDC)
    world.pool.send(LP, "approve", STRANGER, 10)
    world.pool.send(LP, "transfer", STRANGER, 10)
    leaving = world.pool.send(LP, "request_redeem", 1, 10**6)
    staying = world.pool.send(LP, "request_redeem", 1, 10**6)
    waiting = world.pool.send(LP, "request_deposit", 1, 50 * USDC)
    world.wait(HOUR_S)
    world.refresh()
    world.pool.send(KEEPER, "execute_redeem", int.from_bytes(leaving.output, "big"))
    world.wait(WEEK_S)
    world.refresh()
    world.pool.send(LP, "cancel_redeem", int.from_bytes(staying.output, "big"))
    world.pool.send(LP, "cancel_deposit", int.from_bytes(waiting.output, "big"))
    world.token.send(STRANGER, "mint", world.vault.address, USDC)
    world.vault.send(STRANGER, "sweep")


def liquidations(world):
    """A print that waits, a part, a whole at a loss, an adjusting and a deleveraging."""
    for account in TRADERS[:2]:
        world.deposit(account, MARGIN + USDC)
        managed = {"adjustment": Adjustment.MANAGED, "maintenance_ceiling_ppm": 120_000}
        world.open(world.terms(account, **managed), SIZE, margin=MARGIN)
    first = world.held_id(TRADER, 0, ISOLATED)
    world.act("adjust", world.action(first, ActionKind.ADJUST))
    world.rest(0, 88 * E18)
    world.pass_time(900)
    action = world.action(first, ActionKind.DELEVERAGE)
    world.wait(3)
    world.post()
    world.act("deleverage", action)
    world.rest(0, 837 * E18 // 10)
    world.pass_time(900)
    world.liquidate(TRADERS[1])
    world.move(0, 60 * E18)
    assert world.liquidate(TRADERS[1]).output == bytes(32)  # noted: a second round has to agree
    world.wait(4)
    world.post()
    world.liquidate(TRADERS[1])


def freezing(world):
    """A market frozen on whose profit an account lives."""
    world.deposit(TRADER, MARGIN)
    world.open(world.terms(margin_mode=MarginMode.CROSS), SIZE)
    world.rest(0, 160 * E18)
    world.engine.send(TRADER, "withdraw", world.holder(TRADER).balance - 10 * USDC)
    world.oracle.send(GUARDIAN, "freeze_market", 0)
    world.pass_time(40)
    assert world.liquidate(TRADER, 0, CROSS).output == bytes(32)


def sides_and_settlement(world):
    """A side cut and caught up with, and a market whose oracle is dead."""
    world.deposit(TRADER, 10 * MARGIN)
    world.open(world.terms(), 2_500 * E18, margin=3 * MARGIN)
    short = world.terms(market=1, side=Side.SHORT, margin_mode=MarginMode.CROSS)
    world.open(short, E18)
    world.set_rules(0, cut_share_ppm=20_000)
    world.rest(0, 130 * E18)
    world.pass_time(900)
    world.liquidator.send(KEEPER, "deleverage_side", 0, True)
    world.engine.send(STRANGER, "catch_up", world.held_id(TRADER, 0, ISOLATED))
    world.wait(DAY_S + 1)
    world.engine.send(OWNER, "begin_settlement", 1)
    world.engine.send(STRANGER, "settle", TRADER, 1, CROSS)


@pytest.fixture(scope="module")
def told() -> set[str]:
    """Every event that the journeys told."""
    found = set()
    for journey in (orders, pool, liquidations, freezing, sides_and_settlement):
        world = MarginWorld()
        journey(world)
        world.invariants()
        for contract in (*world.contracts.values(), world.feed.contract):
            found |= contract.told
    return found


MARGIN_CONTRACTS = [name for name in artifacts.DEPLOYED if name not in {"PriceFeed", "RiskOracle"}]


@pytest.mark.parametrize("name", MARGIN_CONTRACTS)
def test_events__of_a_margin_contract__are_all_told_on_the_journey(name, told):
    declared = {entry["name"] for entry in artifacts.load(name).abi if entry["type"] == "event"}
    assert declared - SHARED <= told
