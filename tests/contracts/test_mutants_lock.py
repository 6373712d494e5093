"""While the lock is held, nothing that changes the engine's book is done, whoever asks."""

from __future__ import annotations

import pytest

from contracts import artifacts
from contracts.refusals import Refusal
from tests.contracts.chain import Contract, RefusedError, new_evm
from tests.contracts.doubles import double
from tests.contracts.world import GUARDIAN, OWNER, TIMELOCK_S

OF_THE_AUTHORITY = {
    "propose_owner",
    "accept_ownership",
    "set_guardian",
    "launch",
    "schedule",
    "cancel_scheduled",
}
ZERO = "0x" + "00" * 20
ZEROS = {"uint256": 0, "address": ZERO, "bool": False}
FUNCTIONS = {
    entry["name"]: entry["inputs"]
    for entry in artifacts.load("MarginEngine").abi
    if entry["type"] == "function"
    and entry["stateMutability"] == "nonpayable"
    and entry["name"] not in OF_THE_AUTHORITY | {"leave"}
}


def zero_of(item):
    if item["type"] == "tuple":
        return tuple(zero_of(part) for part in item["components"])
    return ZEROS[item["type"]]


@pytest.fixture(scope="module")
def parties():
    """An engine of which one contract is desk, liquidator, vault, pool and owner."""
    evm = new_evm()
    holder = double(evm, "LockHolder", OWNER)
    arguments = [holder.address] * 7 + [GUARDIAN, TIMELOCK_S]
    return holder, Contract(evm, "MarginEngine", OWNER, arguments)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_engine__called_inside_the_lock__refuses_reentered(parties, function):
    holder, engine = parties
    data = engine.calldata(function, *(zero_of(item) for item in FUNCTIONS[function]))
    with pytest.raises(RefusedError) as caught:
        holder.send(OWNER, "call_locked", engine.address, data)
    assert caught.value.refusal is Refusal.REENTERED
