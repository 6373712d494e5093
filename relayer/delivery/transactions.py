"""A type-2 transaction by hand: the bytes that leave the machine, and their hash."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from contracts.fields import checksummed, keccak256
from relayer.delivery.fees import Fees
from relayer.signing.keys import Key

_TYPE: Final = b"\x02"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """What a transaction says, before it is signed; it never moves value.

    `recipient` "0x" creates a contract from the payload.
    """

    chain_id: int
    nonce: int
    fees: Fees
    gas_limit: int
    recipient: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTransaction:
    """The bytes that a node takes, and the hash under which they will be found."""

    raw: bytes
    tx_hash: bytes


def sign(transaction: Transaction, key: Key) -> SignedTransaction:
    """Encode and sign a transaction (EIP-1559)."""
    fields: list[int | bytes | Sequence[bytes]] = [
        transaction.chain_id,
        transaction.nonce,
        transaction.fees.priority_fee_wei,
        transaction.fees.max_fee_wei,
        transaction.gas_limit,
        bytes.fromhex(transaction.recipient[2:]),
        0,
        transaction.payload,
        [],
    ]
    r, s, parity = key.sign_parts(keccak256(_TYPE + _rlp(fields)))
    raw = _TYPE + _rlp([*fields, parity, r, s])
    return SignedTransaction(raw=raw, tx_hash=keccak256(raw))


async def sign_off_loop(transaction: Transaction, key: Key) -> SignedTransaction:
    """Encode and sign without holding up the event loop where the key is asked over a network."""
    if key.remote:
        return await asyncio.to_thread(sign, transaction, key)
    return sign(transaction, key)


def created_address(sender: str, nonce: int) -> str:
    """Return where a contract will stand that a transaction of this account creates."""
    return checksummed("0x" + keccak256(_rlp([bytes.fromhex(sender[2:]), nonce]))[-20:].hex())


def _rlp(item: int | bytes | Sequence[int | bytes | Sequence[bytes]]) -> bytes:
    """Encode an item of the recursive length prefix: a list, bytes, or a number without zeros."""
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < 0x80 else _prefixed(0x80, item)
    if isinstance(item, int):
        return _rlp(item.to_bytes((item.bit_length() + 7) // 8, "big"))
    return _prefixed(0xC0, b"".join([_rlp(part) for part in item]))


def _prefixed(base: int, content: bytes) -> bytes:
    if len(content) < 56:
        return bytes([base + len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(length)]) + length + content
