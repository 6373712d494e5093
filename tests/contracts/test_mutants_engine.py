"""Guards of the engine that only one state can tell from others."""

from __future__ import annotations

import pytest

from contracts.refusals import Refusal
from tests.contracts.chain import RefusedError
from tests.contracts.engines import EngineWorld
from tests.contracts.world import OWNER


@pytest.fixture
def world():
    """Three markets, nothing open."""
    return EngineWorld()


def test_begin_settlement__market_of_the_oracle_without_rules__refuses_unknown_market(world):
    world.set_market(3)
    world.wait(86_400)
    with pytest.raises(RefusedError) as caught:
        world.engine.send(OWNER, "begin_settlement", 3)
    assert caught.value.refusal is Refusal.UNKNOWN_MARKET
