"""Facts about batch files: their check sum is the interface's, and they read back as written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.owner.safe import Batch, BatchError, checksum, decode, encode
from contracts.calls import CallError, NamedCall, text

ORACLE, FEED, SAFE = ("0x" + digit * 40 for digit in "123")
CHAIN = 4326
CALLS = (
    NamedCall(contract="RiskOracle", address=ORACLE, function="resume", values=(1,)),
    NamedCall(
        contract="RiskOracle",
        address=ORACLE,
        function="tighten_market",
        values=(2, 300, 5, True, 60),
    ),
    NamedCall(contract="PriceFeed", address=FEED, function="add_signer", values=(SAFE,)),
    NamedCall(contract="PriceFeed", address=FEED, function="schedule", values=(b"\x07" * 32,)),
    NamedCall(contract="PriceFeed", address=FEED, function="launch"),
)
BATCH = Batch(
    name="all kinds of values",
    description="for a test",
    chain_id=CHAIN,
    safe=SAFE,
    made_at_ms=1_761_326_849_944,
    calls=CALLS,
)
NAMES = {ORACLE: "RiskOracle", FEED: "PriceFeed"}

# A file that the interface itself exported, with its own check sum: published in the repository
# 5afe/safe-cli-nodejs, TRANSACTION_BUILDER_FORMAT_ANALYSIS.md.
EXPORTED: dict[str, Any] = {
    "version": "1.0",
    "chainId": "1",
    "createdAt": 1761326849944,
    "meta": {
        "name": "Transactions Batch",
        "description": "",
        "txBuilderVersion": "1.18.2",
        "createdFromSafeAddress": "0xA77DE01e157f9f57C7c4A326eeE9C4874D0598b6",
        "createdFromOwnerAddress": "",
        "checksum": "0x8b5032f716845c8b08bab3d63dbd9ba92e056f3557793cd041e59b84e16aa989",
    },
    "transactions": [
        {
            "to": "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
            "value": "0",
            "data": None,
            "contractMethod": {
                "inputs": [
                    {"internalType": "address", "name": "spender", "type": "address"},
                    {"internalType": "uint256", "name": "value", "type": "uint256"},
                ],
                "name": "approve",
                "payable": False,
            },
            "contractInputsValues": {
                "spender": "0x474e5Ded6b5D078163BFB8F6dBa355C3aA5478C8",
                "value": "100000000000",
            },
        }
    ],
}


def test_checksum__file_of_the_interface__is_its_own() -> None:
    assert checksum(EXPORTED) == EXPORTED["meta"]["checksum"]


def test_checksum__another_name__does_not_count() -> None:
    renamed = {**EXPORTED, "meta": {**EXPORTED["meta"], "name": "mine"}}
    assert checksum(renamed) == EXPORTED["meta"]["checksum"]


def test_encode__form__is_the_interfaces() -> None:
    body = json.loads(encode(BATCH))
    assert set(body) == set(EXPORTED)
    assert set(body["meta"]) == set(EXPORTED["meta"])
    for entry in body["transactions"]:
        assert set(entry) == set(EXPORTED["transactions"][0])
        assert entry["value"] == "0"
        assert all(isinstance(each, str) for each in entry["contractInputsValues"].values())
    assert body["chainId"] == str(CHAIN)


def test_decode__what_was_written__is_the_same_calls() -> None:
    assert decode(encode(BATCH), NAMES, CHAIN).calls == CALLS


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda body: body["transactions"].pop(), "changed after it was written"),
        (lambda body: body.update(chainId="1"), "changed after it was written"),
        (lambda body: body.pop("meta"), "not a batch"),
    ],
    ids=["a call less", "another chain", "no meta"],
)
def test_decode__changed_file__is_refused(change: Any, says: str) -> None:
    body = json.loads(encode(BATCH))
    change(body)
    with pytest.raises(BatchError, match=says):
        decode(json.dumps(body), NAMES, CHAIN)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda each: each.update(to="0x" + "9" * 40), "none of this deployment"),
        (lambda each: each.update(value="1"), "sends value"),
        (lambda each: each.update(data="0x00"), "sends value or bytes"),
        (lambda each: each["contractMethod"].update(name="selfdestruct"), "no function"),
        (lambda each: each["contractMethod"]["inputs"][0].update(type="int8"), "its inputs are"),
        (lambda each: each["contractInputsValues"].update(scope="-1"), "RiskOracle.resume"),
    ],
    ids=["stranger", "value", "bytes", "function", "type", "range"],
)
def test_decode__other_call_with_a_true_sum__is_refused(change: Any, says: str) -> None:
    body = json.loads(encode(BATCH))
    change(body["transactions"][0])
    body["meta"]["checksum"] = checksum(body)
    with pytest.raises(BatchError, match=says):
        decode(json.dumps(body), NAMES, CHAIN)


def test_decode__other_chain_with_a_true_sum__is_refused() -> None:
    with pytest.raises(BatchError, match="for chain 4326, this is chain 1"):
        decode(encode(BATCH), NAMES, 1)


def test_call__value_that_does_not_fit__is_named() -> None:
    call = NamedCall(contract="RiskOracle", address=ORACLE, function="resume", values=("x",))
    with pytest.raises(CallError, match=r"RiskOracle\.resume"):
        call.payload  # noqa: B018


def test_text__values__are_as_the_interface_takes_them() -> None:
    assert [text(each) for each in (True, 10**30, b"\x01", SAFE)] == [
        "true",
        "1" + "0" * 30,
        "0x01",
        SAFE,
    ]
