"""The fast digest is what the contract's own view computes, for any message."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.messages import digest
from tests.contracts import strategies
from tests.contracts.chain import FAST
from tests.contracts.world import FeedWorld, OracleWorld, raw_words

PROVEN = settings(max_examples=150 if FAST else 20, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def feed():
    return FeedWorld(0)


@pytest.fixture(scope="module")
def oracle():
    return OracleWorld(0)


def values_of(message):
    found = [getattr(message, item.name) for item in fields(message)]
    return [int(value) if isinstance(value, int) else value for value in found]


@PROVEN
@given(message=strategies.price_rounds)
def test_digest__any_price_round__is_the_contract_s(feed, message):
    *plain, words = values_of(message)
    view = feed.read("digest_price_round", *plain, raw_words(words))
    assert view == digest(message, feed.domain())


@PROVEN
@given(message=strategies.risk_updates)
def test_digest__any_risk_update__is_the_contract_s(oracle, message):
    *plain, words = values_of(message)
    view = oracle.read("digest_risk_update", *plain, raw_words(words))
    assert view == digest(message, oracle.domain())


@PROVEN
@given(message=strategies.position_terms)
def test_digest__any_position_terms__are_the_contract_s(oracle, message):
    view = oracle.read("digest_position_terms", tuple(values_of(message)))
    assert view == digest(message, oracle.domain())


@PROVEN
@given(message=strategies.position_actions)
def test_digest__any_position_action__is_the_contract_s(oracle, message):
    view = oracle.read("digest_position_action", tuple(values_of(message)))
    assert view == digest(message, oracle.domain())


@PROVEN
@given(st.integers(0, 3))
def test_domain_separator__of_any_configuration__is_the_library_of_messages(changes):
    world = FeedWorld(0)
    for index in range(changes):
        world.send(world.contract.read("owner"), "set_policy_hash", bytes([index]) * 32)
    assert world.read("domain_separator") == world.domain().separator
