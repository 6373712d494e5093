"""Guards of the engine that only one state can tell from others."""

from __future__ import annotations

import pytest

from contracts.book_words import ISOLATED
from contracts.refusals import Refusal
from tests.contracts.chain import RefusedError
from tests.contracts.engines import DESK, LIQUIDATOR, TRADER, EngineWorld
from tests.contracts.margins import e18
from tests.contracts.world import OWNER

UNRULED = 3


@pytest.fixture
def world():
    """Three markets, nothing open; the oracle knows a fourth that has no rules."""
    found = EngineWorld()
    found.set_market(UNRULED)
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


def refused(call):
    with pytest.raises(RefusedError) as caught:
        call()
    assert caught.value.refusal is Refusal.UNKNOWN_MARKET
