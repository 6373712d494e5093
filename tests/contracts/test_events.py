"""Each change of state has its event, and the event says what changed."""

from __future__ import annotations

import eth_abi
import pytest

from contracts import artifacts
from contracts.fields import keccak256
from contracts.packing import join_risk_word
from contracts.price_feed import encode_rules
from contracts.risk_bounds import encode_bounds
from tests.contracts.world import (
    BOUNDS,
    CLASS,
    FIELDS,
    GUARDIAN,
    OWNER,
    RULES,
    SIGNERS,
    STRANGER,
    TIMELOCK_S,
    FeedWorld,
    OracleWorld,
    capped,
)

HASH = b"\x07" * 32
SIGNER = SIGNERS[0].address.lower()
SHARED = [
    (OWNER, "propose_owner", [STRANGER], "OwnerProposed", {"proposed": STRANGER.lower()}),
    (
        OWNER,
        "set_guardian",
        [STRANGER],
        "GuardianChanged",
        {"previous": GUARDIAN.lower(), "current": STRANGER.lower()},
    ),
    (OWNER, "add_signer", [STRANGER], "SignerAdded", {"signer": STRANGER.lower()}),
    (GUARDIAN, "remove_signer", [SIGNER], "SignerRemoved", {"signer": SIGNER}),
    (OWNER, "set_threshold", [3], "ThresholdChanged", {"threshold": 3}),
    (OWNER, "set_policy_hash", [HASH], "PolicyHashChanged", {"policy_hash": HASH}),
    (
        OWNER,
        "set_market_class",
        [0, CLASS],
        "MarketClassChanged",
        {"market": 0, "class_id": CLASS},
    ),
]
ORACLE = [
    (GUARDIAN, "freeze_market", [1], "MarketFrozen", {"market": 1}),
    (OWNER, "unfreeze_market", [1], "MarketUnfrozen", {"market": 1}),
    (OWNER, "resume", [2], "Resumed", {"scope": 2}),
    (OWNER, "resume_market", [1], "MarketResumed", {"market": 1}),
    (OWNER, "lift_tightening", [1], "TighteningLifted", {"market": 1}),
    (GUARDIAN, "disable_decision_kind", [3], "DecisionKindDisabled", {"kind": 3}),
    (OWNER, "enable_decision_kind", [3], "DecisionKindEnabled", {"kind": 3}),
    (
        OWNER,
        "set_class",
        [2, encode_bounds(BOUNDS)],
        "ClassBoundsChanged",
        {"class_id": 2, "bounds": encode_bounds(BOUNDS)},
    ),
    (
        OWNER,
        "add_market",
        [2, CLASS, join_risk_word(FIELDS._replace(market=2))],
        "MarketAdded",
        {"market": 2, "class_id": CLASS, "word": join_risk_word(FIELDS._replace(market=2))},
    ),
]
FEED = [
    (
        OWNER,
        "set_class",
        [2, encode_rules(RULES)],
        "ClassRulesChanged",
        {"class_id": 2, "rules": encode_rules(RULES)},
    ),
    (OWNER, "add_market", [3, CLASS], "MarketAdded", {"market": 3, "class_id": CLASS}),
]
CASES = [
    *((FeedWorld, *case) for case in (*SHARED, *FEED)),
    *((OracleWorld, *case) for case in (*SHARED, *ORACLE)),
]
RECONFIGURING = {"add_signer", "remove_signer", "set_threshold", "set_policy_hash"}
RECONFIGURING |= {"set_market_class", "set_class"}


@pytest.mark.parametrize(("kind", "sender", "function", "arguments", "name", "fields"), CASES)
def test_event__of_a_change__says_what_changed(kind, sender, function, arguments, name, fields):
    world = kind()
    events = world.send(sender, function, *arguments).events
    assert (events[0].name, events[0].fields) == (name, fields)
    assert [event.name for event in events[1:]] == ["ConfigChanged"] * (function in RECONFIGURING)


def test_config_changed__after_a_change__is_the_digest_of_the_configuration():
    world = OracleWorld()
    event = world.send(OWNER, "set_threshold", 3).events[-1]
    signers = [signer.address for signer in world.signers]
    values = [
        event.fields["config_count"],
        signers,
        3,
        event.fields["bounds_hash"],
        world.read("policy_hash"),
    ]
    encoded = eth_abi.encode(["uint256", "address[]", "uint256", "bytes32", "bytes32"], values)
    assert event.fields["config_digest"] == keccak256(encoded) == world.read("config_digest")
    bounds = [world.read("bounds", class_id) for class_id in range(8)]
    assert event.fields["bounds_hash"] == keccak256(eth_abi.encode(["uint256[8]"], [bounds]))


def test_ownership__proposed_and_accepted__is_told():
    world = FeedWorld()
    world.send(OWNER, "propose_owner", STRANGER)
    (event,) = world.send(STRANGER, "accept_ownership").events
    assert event.name == "OwnerChanged"
    assert event.fields == {"previous": OWNER.lower(), "current": STRANGER.lower()}


def test_timelock__from_launch_to_use__is_told():
    world = FeedWorld()
    assert world.send(OWNER, "launch").events[0].name == "Launched"
    operation = world.operation("set_threshold", 3)
    (event,) = world.send(OWNER, "schedule", operation).events
    assert event.fields == {"operation": operation, "eta_s": world.now_s + TIMELOCK_S}
    world.wait(TIMELOCK_S)
    names = [event.name for event in world.send(OWNER, "set_threshold", 3).events]
    assert names == ["OperationConsumed", "ThresholdChanged", "ConfigChanged"]
    world.send(OWNER, "schedule", operation)
    (event,) = world.send(OWNER, "cancel_scheduled", operation).events
    assert (event.name, event.fields) == ("OperationCancelled", {"operation": operation})


def test_pauses__of_the_guardian__tell_both_ends():
    world = OracleWorld()
    (event,) = world.send(GUARDIAN, "pause", 5, 86_400).events
    ends = {"until_s": world.now_s + 86_400, "liquidation_until_s": world.now_s + 3_600}
    assert (event.name, event.fields) == ("Paused", {"scope": 5, **ends, "by_owner": False})
    (event,) = world.send(GUARDIAN, "pause_market", 1, 86_400).events
    assert event.fields == {"market": 1, **ends, "by_owner": False}


def test_tightening_and_revert__of_the_guardian__are_told():
    world = OracleWorld()
    (event,) = world.send(GUARDIAN, "tighten_market", 1, 500, 1_000, True, 60).events
    told = {"cap_e2": 500, "open_interest_cap": 1_000, "reduce_only": True}
    assert event.fields == {"market": 1, **told, "until_s": world.now_s + 60}
    world.update(capped(900))
    (event,) = world.send(GUARDIAN, "revert_market", 0).events
    assert (event.name, event.fields) == (
        "MarketReverted",
        {"market": 0, "maintenance_ppm": 50_000},
    )


@pytest.mark.parametrize("name", ["PriceFeed", "RiskOracle"])
def test_events__of_the_abi__are_all_reached_here_or_at_the_batches(name):
    told = {case[4] for case in CASES} | {"OwnerChanged", "Launched", "Paused", "MarketPaused"}
    told |= {"OperationScheduled", "OperationConsumed", "OperationCancelled", "ConfigChanged"}
    told |= {"MarketTightened", "MarketReverted", "PriceRoundPosted", "RiskUpdatePosted"}
    assert {e["name"] for e in artifacts.load(name).abi if e["type"] == "event"} <= told
