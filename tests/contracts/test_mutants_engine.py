"""Guards of the engine that only one state can tell from others."""

from __future__ import annotations

import pytest

from contracts.book_words import ISOLATED, account_number
from contracts.refusals import Refusal
from tests.contracts.chain import RefusedError
from tests.contracts.engines import DESK, LIQUIDATOR, TRADER, EngineWorld, address
from tests.contracts.margins import e18, usd
from tests.contracts.world import OWNER, STRANGER

UNRULED = 3
NO_POSITION = Refusal.NO_POSITION


@pytest.fixture
def world():
    """Three markets, nothing open; the oracle knows a fourth that has no rules."""
    found = EngineWorld()
    found.set_market(UNRULED)
    found.deposit(TRADER, usd(10_000))
    return found


def test_market_without_rules__begin_settlement__refuses_unknown_market(world):
    world.wait(86_400)
    refused(lambda: world.engine.send(OWNER, "begin_settlement", UNRULED))


def test_market_without_rules__health__refuses_unknown_market(world):
    identity = world.identity(TRADER, UNRULED, ISOLATED)
    refused(lambda: world.engine.read("health", identity))


def test_market_without_rules__what_trades__refuses_unknown_market(world):
    identity = world.identity(TRADER, UNRULED, ISOLATED)
    order = (TRADER, UNRULED, ISOLATED, True, False, False, e18(1), *[0] * 9, TRADER)
    refused(lambda: world.engine.send(DESK, "execute", order))
    refused(lambda: world.engine.send(LIQUIDATOR, "liquidate", identity, 1, 0, 0, 0, TRADER))
    refused(lambda: world.engine.send(LIQUIDATOR, "cut", UNRULED, True, 10**26))


def test_settle__mode_that_spills_into_the_market__refuses_no_position(world):
    assert world.trade(TRADER, 1, ISOLATED, e18(50)).refusal is None
    world.wait(86_400)
    world.begin_settlement(0)
    another_s = (1 << 8) | ISOLATED
    refused(lambda: world.engine.send(STRANGER, "settle", TRADER, 0, another_s), NO_POSITION)


def test_add_margin__market_that_spills_into_the_account__refuses_no_position(world):
    assert world.trade(TRADER, 0, ISOLATED, e18(50)).refusal is None
    holder = account_number(TRADER)
    caller = address(holder & (2**150 - 1))
    refused(lambda: world.engine.send(caller, "add_margin", holder << 16, 1, True), NO_POSITION)


def refused(call, refusal=Refusal.UNKNOWN_MARKET):
    with pytest.raises(RefusedError) as caught:
        call()
    assert caught.value.refusal is refusal
