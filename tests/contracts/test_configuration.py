"""What messages are signed under: a fresh deployment's, and a signer set's after a removal."""

from __future__ import annotations

import eth_abi
import pytest

from contracts.fields import checksummed, keccak256
from contracts.refusals import Refusal
from tests.contracts.chain import Contract, new_evm
from tests.contracts.world import (
    BOTH,
    CLASS,
    GUARDIAN,
    OWNER,
    POLICY_HASH,
    SIGNERS,
    STRANGER,
    TIMELOCK_S,
)


def digest_of(count, signers, threshold, bounds_hash, policy_hash):
    types = ["uint256", "address[]", "uint256", "bytes32", "bytes32"]
    return keccak256(eth_abi.encode(types, [count, signers, threshold, bounds_hash, policy_hash]))


@pytest.fixture(params=BOTH, ids=["feed", "oracle"])
def world(request):
    return request.param()


def test_deployment__fresh__is_the_first_configuration_and_its_digest(world):
    signers = [signer.address for signer in SIGNERS]
    arguments = [OWNER, GUARDIAN, TIMELOCK_S, signers, 2, POLICY_HASH]
    fresh = Contract(new_evm(), world.name, OWNER, arguments)
    no_bounds = keccak256(bytes(8 * 32))
    assert fresh.read("config_count") == 1
    assert fresh.read("bounds_hash") == no_bounds
    assert fresh.read("config_digest") == digest_of(1, signers, 2, no_bounds, POLICY_HASH)


def test_digest__after_changes__is_the_formula_over_what_the_views_give(world):
    world.send(GUARDIAN, "remove_signer", SIGNERS[1].address)
    world.send(OWNER, "add_signer", STRANGER)
    world.send(OWNER, "set_threshold", 3)
    found = world.configuration()
    expected = [SIGNERS[0].address, SIGNERS[3].address, SIGNERS[2].address, STRANGER]
    assert found.signers == tuple(checksummed(address) for address in expected)
    assert found.config_digest == digest_of(
        found.config_count, found.signers, 3, world.read("bounds_hash"), POLICY_HASH
    )


@pytest.mark.parametrize("index", range(len(SIGNERS)))
def test_removed_signer__signs_under_the_new_digest__is_unknown(world, index):
    world.send(GUARDIAN, "remove_signer", SIGNERS[index].address)
    message = world.message()
    pair = sorted((index, (index + 1) % len(SIGNERS)))
    with world.refuses(Refusal.UNKNOWN_SIGNER):
        world.post(message, world.signatures(message, [SIGNERS[number] for number in pair]))
    rest = [signer for number, signer in enumerate(SIGNERS) if number != index]
    world.post(message, world.signatures(message, rest[:2]))
    assert world.read("latest_round") == 1


@pytest.mark.parametrize("class_id", [0, 2, 8, 2**200])
def test_set_market_class__without_rules__is_unknown(world, class_id):
    with world.refuses(Refusal.UNKNOWN_CLASS):
        world.send(OWNER, "set_market_class", 0, class_id)
    world.send(OWNER, "set_market_class", 0, CLASS)


def test_observation__exactly_as_old_as_allowed__lands(world):
    age_ms = 60_000 if world.name == "PriceFeed" else 600_000
    until = {"valid_until_ms": world.now_ms + 30_000}
    world.post(world.message(observed_at_ms=world.now_ms - age_ms, **until))
    assert world.read("latest_round") == 1
