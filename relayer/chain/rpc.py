"""JSON-RPC as chains really speak it: numbers, receipts and refusals read into our own values.

Tolerates what MegaETH and others send: a receipt without a block hash (a mini-block's), addresses
in lower case, fields nobody asked for. Tolerates nothing else: what cannot be read is `BadAnswer`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from contracts.fields import checksummed
from contracts.refusals import decode_refusal
from relayer.errors import (
    BadAnswer,
    ChainRefused,
    RateLimited,
    RelayerError,
    Reverted,
    readable,
    redact_addresses,
)

_HEX: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*\Z")
_QUANTITY: Final = re.compile(r"0x[0-9a-fA-F]{1,64}\Z")
_RETRY_IN: Final = re.compile(r"(?:retry|try again) (?:in|after) (?P<s>[0-9.]+)", re.IGNORECASE)
# MegaETH's -32021 and -32022 by compute units and bandwidth; -32005 elsewhere (EIP-1474).
_RATE_LIMITS: Final = frozenset({-32005, -32021, -32022, 429})
# JSON-RPC's own, and the HTTP statuses of gateways that let a method through or do not.
_METHOD_NOT_FOUND: Final = frozenset({-32601, 403, 404, 405})


def quantity(value: object) -> int:
    """Read a JSON-RPC quantity."""
    if isinstance(value, str) and _QUANTITY.match(value):
        return int(value, 16)
    raise BadAnswer(f"not a quantity: {str(value)[:80]!r}")


def data(value: object, length: int | None = None) -> bytes:
    """Read JSON-RPC bytes, of a given length where one is known."""
    if isinstance(value, str) and _HEX.match(value):
        decoded = bytes.fromhex(value[2:])
        if length is None or len(decoded) == length:
            return decoded
    raise BadAnswer(f"not {length or 'some'} bytes in hexadecimal: {str(value)[:80]!r}")


def member(answer: object, name: str) -> Any:  # noqa: ANN401 -- JSON
    """Take a field out of a JSON object that must have it."""
    if isinstance(answer, Mapping) and name in answer:
        return answer[name]
    raise BadAnswer(f"answer has no field {name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStamp:
    """Which block, by number and hash; the base fee rides along because it costs no call."""

    number: int
    block_hash: bytes
    timestamp_s: int
    base_fee_wei: int


def block_stamp(answer: object) -> BlockStamp:
    """Read a block header."""
    if answer is None:
        raise ChainRefused("the endpoint does not know that block")
    fee = answer.get("baseFeePerGas") if isinstance(answer, Mapping) else None
    return BlockStamp(
        number=quantity(member(answer, "number")),
        block_hash=data(member(answer, "hash"), 32),
        timestamp_s=quantity(member(answer, "timestamp")),
        base_fee_wei=0 if fee is None else quantity(fee),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStanding:
    """What the chain counts of an account: transactions mined, mined or pending, and its gas."""

    mined_nonce: int
    pending_nonce: int
    balance_wei: int
    base_fee_wei: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One event of a contract."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """That a transaction was included, and what came of it.

    `block_hash` None: in a mini-block that is not sealed yet. Included is not effective.
    """

    tx_hash: bytes
    block_number: int
    block_hash: bytes | None
    succeeded: bool
    gas_used: int
    gas_price_wei: int
    l1_fee_wei: int
    logs: tuple[Log, ...]


def receipt(answer: object) -> Receipt | None:
    """Read a receipt; None when there is none yet."""
    if answer is None:
        return None
    if not isinstance(answer, Mapping):
        raise BadAnswer(f"not a receipt: {str(answer)[:80]!r}")
    if answer.get("blockNumber") is None:
        return None
    block_hash = answer.get("blockHash")
    return Receipt(
        tx_hash=data(member(answer, "transactionHash"), 32),
        block_number=quantity(answer["blockNumber"]),
        block_hash=None if block_hash is None else data(block_hash, 32),
        succeeded=quantity(member(answer, "status")) == 1,
        gas_used=quantity(member(answer, "gasUsed")),
        gas_price_wei=quantity(answer.get("effectiveGasPrice") or "0x0"),
        l1_fee_wei=quantity(answer.get("l1Fee") or "0x0"),
        logs=tuple(read_log(item) for item in answer.get("logs") or ()),
    )


def read_log(answer: object) -> Log:
    """Read one log entry."""
    topics: Sequence[object] = member(answer, "topics")
    return Log(
        address=checksummed("0x" + data(member(answer, "address"), 20).hex()),
        topics=tuple(data(topic, 32) for topic in topics),
        data=data(member(answer, "data")),
    )


def fault(error: object) -> RelayerError:
    """Class a JSON-RPC error object by what to do about it."""
    code, message = _code(error), _message(error)
    if code in _RATE_LIMITS:
        wait = _RETRY_IN.search(message)
        return RateLimited(message, retry_after_s=float(wait["s"]) if wait else None)
    revert = _revert_data(error)
    if code == 3 or revert or "revert" in message.lower():
        refusal = decode_refusal(revert)
        name = "" if refusal is None else f" ({refusal.name})"
        return Reverted(f"{message}{name}", code=refusal, data=revert)
    return ChainRefused(message, code=code)


def is_method_missing(error: RelayerError) -> bool:
    """Tell whether an endpoint does not offer a method (or does not let us use it)."""
    if not isinstance(error, ChainRefused):
        return False
    return error.code in _METHOD_NOT_FOUND or _says(str(error), _MISSING)


class SendRefusal(StrEnum):
    """Why a node did not take a transaction, as far as it changes what we do next."""

    ALREADY_KNOWN = "already_known"
    NONCE_TOO_LOW = "nonce_too_low"
    NONCE_TOO_HIGH = "nonce_too_high"
    UNDERPRICED = "underpriced"
    NO_FUNDS = "no_funds"
    RECEIPT_TIMEOUT = "receipt_timeout"
    OTHER = "other"


# JSON-RPC has no codes for these: the words of geth, reth, anvil, py-evm and MegaETH, in one place.
_MISSING: Final = (
    *("method not found", "not supported", "not available", "does not exist", "unsupported"),
    *("not whitelisted", "unknown method", "not implemented", "unknown rpc"),
)
_WORDS: Final[Mapping[SendRefusal, tuple[str, ...]]] = {
    SendRefusal.ALREADY_KNOWN: ("already known", "already imported", "known transaction"),
    SendRefusal.NONCE_TOO_LOW: ("nonce too low", "nonce is too low", "nonce has already been used"),
    SendRefusal.NONCE_TOO_HIGH: ("nonce too high", "nonce gap", "nonce is too high"),
    SendRefusal.UNDERPRICED: (
        *("underpriced", "max fee per gas less than block base fee", "fee too low"),
        *("fee cap less than block base fee", "fee per gas lower than block base fee"),
    ),
    SendRefusal.NO_FUNDS: ("insufficient funds", "sender does not have enough balance"),
    SendRefusal.RECEIPT_TIMEOUT: ("realtime transaction expired", "timed out waiting for receipt"),
}
_PY_EVM_NONCE: Final = re.compile(
    r"invalid transaction nonce: expected (?P<expected>\d+), but got (?P<got>\d+)"
)


def send_refusal(error: RelayerError) -> SendRefusal:
    """Read why a node did not take a transaction."""
    message = str(error).lower()
    if found := _PY_EVM_NONCE.search(message):
        low = int(found["got"]) < int(found["expected"])
        return SendRefusal.NONCE_TOO_LOW if low else SendRefusal.NONCE_TOO_HIGH
    matching = (kind for kind, words in _WORDS.items() if _says(message, words))
    return next(matching, SendRefusal.OTHER)


def _says(message: str, words: tuple[str, ...]) -> bool:
    lowered = message.lower()
    return any(word in lowered for word in words)


def _code(error: object) -> int | None:
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, int) else None


def _message(error: object) -> str:
    text = error.get("message") if isinstance(error, Mapping) else error
    return readable(redact_addresses(str(text)))[:300]


def _revert_data(error: object) -> bytes:
    # Some nodes put the bytes one level deeper, some behind a word such as "Reverted 0x".
    found = error.get("data") if isinstance(error, Mapping) else None
    if isinstance(found, Mapping):
        found = found.get("data") or found.get("result")
    text = str(found).rsplit(maxsplit=1)[-1] if isinstance(found, str) and found else ""
    return bytes.fromhex(text[2:]) if _HEX.match(text) else b""
