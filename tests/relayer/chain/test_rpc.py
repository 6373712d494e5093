"""Facts about JSON-RPC as chains speak it: what is tolerated, and what a refusal means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.fields import checksummed
from contracts.refusals import REFUSED_SELECTOR, Refusal
from relayer.chain import rpc
from relayer.chain.events import batch_event, skipped_item
from relayer.chain.rpc import Log, SendRefusal
from relayer.errors import BadAnswer, ChainRefused, RateLimited, RelayerError, Reverted, Unreachable

ADDRESS = "0xe7f1725e7734ce288f8367e1bb143e90bb3f0512"
RECEIPT: dict[str, Any] = {
    "transactionHash": "0x" + "11" * 32,
    "blockNumber": "0x10",
    "blockHash": "0x" + "22" * 32,
    "status": "0x1",
    "gasUsed": "0x5208",
    "effectiveGasPrice": "0xf4240",
    "logs": [{"address": ADDRESS, "topics": ["0x" + "33" * 32], "data": "0x44"}],
}


@given(value=st.integers(0, 2**256 - 1))
def test_quantity__any_number__is_read_exactly(value: int) -> None:
    assert rpc.quantity(hex(value)) == value


@pytest.mark.parametrize("value", [None, 5, "5", "0x", "0xg", "", "-0x1", "0x" + "f" * 65, True])
def test_quantity__anything_else__is_a_bad_answer(value: object) -> None:
    with pytest.raises(BadAnswer):
        rpc.quantity(value)


@pytest.mark.parametrize("value", [None, "0x1", "11", b"\x11", "0x11", 17])
def test_data__not_32_bytes__is_a_bad_answer(value: object) -> None:
    with pytest.raises(BadAnswer):
        rpc.data(value, 32)


def test_fault__revert_quoted_as_raw_bytes__is_said_in_words_that_can_be_kept() -> None:
    quoted = "execution reverted: Y\nQQ\x00\x00\x00!\ud800"
    code = REFUSED_SELECTOR.hex() + Refusal.EXPIRED.to_bytes(32, "big").hex()
    found = rpc.fault({"code": 3, "message": quoted, "data": "0x" + code})
    assert str(found) == "execution reverted: Y QQ ! (EXPIRED)"


def test_receipt__of_a_sealed_block__is_read() -> None:
    receipt = rpc.receipt(RECEIPT)
    assert receipt is not None
    assert (receipt.block_number, receipt.succeeded, receipt.gas_used) == (16, True, 21_000)
    assert receipt.gas_price_wei == 1_000_000
    assert receipt.logs[0].address == checksummed(ADDRESS)


def test_receipt__of_a_mini_block__has_no_block_hash() -> None:
    receipt = rpc.receipt(RECEIPT | {"blockHash": None})
    assert receipt is not None
    assert receipt.block_hash is None


def test_receipt__with_an_l1_fee_and_other_fields__keeps_the_fee() -> None:
    receipt = rpc.receipt(RECEIPT | {"l1Fee": "0x64", "l1BaseFeeScalar": "0x1", "new": {}})
    assert receipt is not None
    assert receipt.l1_fee_wei == 100


def test_receipt__absent_or_pending__is_none() -> None:
    assert rpc.receipt(None) is None
    assert rpc.receipt(RECEIPT | {"blockNumber": None}) is None


@pytest.mark.parametrize("answer", ["0x", [], 7, {"blockNumber": "0x1"}, RECEIPT | {"status": 1}])
def test_receipt__anything_else__is_a_bad_answer(answer: object) -> None:
    with pytest.raises(BadAnswer):
        rpc.receipt(answer)


def test_block_stamp__unknown_block__is_refused_not_misread() -> None:
    with pytest.raises(ChainRefused):
        rpc.block_stamp(None)


REFUSED = "0x" + REFUSED_SELECTOR.hex() + f"{Refusal.STALE_ROUND:064x}"


@pytest.mark.parametrize(
    "error",
    [
        {"code": 3, "message": "execution reverted", "data": REFUSED},
        {"code": -32000, "message": "execution reverted", "data": {"data": REFUSED}},
        {"code": -32015, "message": "VM execution error", "data": f"Reverted {REFUSED}"},
    ],
)
def test_fault__revert__is_decoded_wherever_a_node_puts_the_bytes(error: object) -> None:
    fault = rpc.fault(error)
    assert isinstance(fault, Reverted)
    assert fault.code == Refusal.STALE_ROUND
    assert "STALE_ROUND" in str(fault)


def test_fault__revert_of_another_contract__has_no_number() -> None:
    fault = rpc.fault({"code": 3, "message": "execution reverted", "data": "0x08c379a0"})
    assert isinstance(fault, Reverted)
    assert fault.code is None
    assert fault.data == bytes.fromhex("08c379a0")


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        ({"code": -32022, "message": "rate limited, retry in 2.5 seconds"}, 2.5),
        ({"code": -32021, "message": "compute units spent"}, None),
        ({"code": -32005, "message": "limit exceeded"}, None),
    ],
)
def test_fault__asked_too_often__says_how_long(error: object, wait_s: float | None) -> None:
    fault = rpc.fault(error)
    assert isinstance(fault, RateLimited)
    assert fault.retry_after_s == wait_s


@pytest.mark.parametrize("error", ["boom", None, {}, {"code": "x"}, ["a"]])
def test_fault__not_even_an_error_object__is_still_classed(error: object) -> None:
    assert isinstance(rpc.fault(error), ChainRefused)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("nonce too low", SendRefusal.NONCE_TOO_LOW),
        ("nonce too low: next nonce 5, tx nonce 3", SendRefusal.NONCE_TOO_LOW),
        ("Invalid transaction nonce: Expected 5, but got 4", SendRefusal.NONCE_TOO_LOW),
        ("Invalid transaction nonce: Expected 5, but got 6", SendRefusal.NONCE_TOO_HIGH),
        ("nonce too high", SendRefusal.NONCE_TOO_HIGH),
        ("already known", SendRefusal.ALREADY_KNOWN),
        ("transaction already imported", SendRefusal.ALREADY_KNOWN),
        ("replacement transaction underpriced", SendRefusal.UNDERPRICED),
        ("max fee per gas less than block base fee", SendRefusal.UNDERPRICED),
        ("insufficient funds for gas * price + value", SendRefusal.NO_FUNDS),
        ("realtime transaction expired", SendRefusal.RECEIPT_TIMEOUT),
        ("intrinsic gas too low", SendRefusal.OTHER),
    ],
)
def test_send_refusal__words_of_each_node__are_one_value(
    message: str, expected: SendRefusal
) -> None:
    assert rpc.send_refusal(ChainRefused(message, code=-32000)) is expected


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (ChainRefused("gone", code=-32601), True),
        (ChainRefused("HTTP 403", code=403), True),
        (ChainRefused("the method x does not exist/is not available", code=-32000), True),
        (ChainRefused("invalid params", code=-32602), False),
        (ChainRefused("failed to decode signed transaction", code=-32000), False),
        (Unreachable("not supported"), False),
    ],
)
def test_is_method_missing__told_from_a_method_that_refuses(
    error: RelayerError, missing: bool
) -> None:
    assert rpc.is_method_missing(error) is missing


def test_skipped_item__known_and_unknown_numbers__keep_their_market() -> None:
    known = skipped_item(7 << 16 | Refusal.TOO_SOON)
    assert (known.market, known.reason) == (7, "TOO_SOON")
    later = skipped_item(65_535 << 16 | 0xFFFF)
    assert (later.market, later.code, later.reason) == (65_535, 0xFFFF, "CODE_65535")


def test_batch_event__another_event__is_none() -> None:
    assert batch_event(Log(address=ADDRESS, topics=(b"\x01" * 32,), data=b"")) is None
    assert batch_event(Log(address=ADDRESS, topics=(), data=b"")) is None
