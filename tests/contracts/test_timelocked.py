"""Every timelocked function of either contract waits for exactly the call that was announced."""

from __future__ import annotations

import pytest

from contracts import price_feed
from contracts.fields import keccak256
from contracts.packing import join_risk_word
from contracts.refusals import Refusal
from contracts.risk_bounds import encode_bounds
from tests.contracts.world import (
    BOTH,
    BOUNDS,
    CLASS,
    FIELDS,
    OUTSIDER,
    OWNER,
    RULES,
    STRANGER,
    TIMELOCK_S,
    FeedWorld,
    OracleWorld,
)

OTHER_HASH = b"\x01" * 32
# function, the announced arguments, and for each of them another one
SHARED = [
    ("set_guardian", [STRANGER], [OUTSIDER.address]),
    ("add_signer", [STRANGER], [OUTSIDER.address]),
    ("set_threshold", [3], [1]),
    ("set_policy_hash", [OTHER_HASH], [OTHER_HASH[:-1] + b"\x02"]),
]
RULES_WORD, BOUNDS_WORD = price_feed.encode_rules(RULES), encode_bounds(BOUNDS)
MARKET_WORD = join_risk_word(FIELDS._replace(market=2))
CASES = [
    *((kind, *case) for kind in BOTH for case in SHARED),
    (FeedWorld, "set_class", [2, RULES_WORD], [3, RULES_WORD + 1]),
    (FeedWorld, "add_market", [3, CLASS], [4, 2]),
    (FeedWorld, "set_market_class", [1, CLASS], [2, 2]),
    (OracleWorld, "set_class", [2, BOUNDS_WORD], [3, BOUNDS_WORD + 1]),
    (OracleWorld, "add_market", [2, CLASS, MARKET_WORD], [3, 2, MARKET_WORD ^ 1 << 100]),
    (OracleWorld, "set_market_class", [1, CLASS], [0, 2]),
]
NAMES = [f"{case[0].name}.{case[1]}" for case in CASES]


@pytest.mark.parametrize(("kind", "function", "arguments", "others"), CASES, ids=NAMES)
class TestTimelocked:
    """After launch."""

    def test_call__not_announced__is_refused(self, kind, function, arguments, others):
        world = kind()
        world.send(OWNER, "launch")
        with world.refuses(Refusal.NOT_SCHEDULED):
            world.send(OWNER, function, *arguments)

    def test_call__any_one_argument_differs__is_refused(self, kind, function, arguments, others):
        world = kind()
        world.send(OWNER, "launch")
        world.schedule(function, *arguments)
        world.wait(TIMELOCK_S)
        for index, other in enumerate(others):
            changed = [*arguments[:index], other, *arguments[index + 1 :]]
            with world.refuses(Refusal.NOT_SCHEDULED):
                world.send(OWNER, function, *changed)

    def test_call__as_announced__passes_once(self, kind, function, arguments, others):
        world = kind()
        world.send(OWNER, "launch")
        world.schedule(function, *arguments)
        world.wait(TIMELOCK_S - 1)
        with world.refuses(Refusal.TIMELOCK_RUNNING):
            world.send(OWNER, function, *arguments)
        world.wait(1)
        world.send(OWNER, function, *arguments)
        assert world.read("scheduled", world.operation(function, *arguments)) == 0
        with world.refuses(Refusal.NOT_SCHEDULED):
            world.send(OWNER, function, *arguments)


@pytest.mark.parametrize("kind", BOTH)
def test_set_class__of_each_contract__covers_the_whole_word(kind):
    world = kind()
    word = RULES_WORD if kind is FeedWorld else BOUNDS_WORD
    data = world.contract.calldata("set_class", 2, word)
    world.send(OWNER, "launch")
    world.send(OWNER, "schedule", keccak256(data[:-32]))
    world.wait(TIMELOCK_S)
    with world.refuses(Refusal.NOT_SCHEDULED):
        world.send(OWNER, "set_class", 2, word)
