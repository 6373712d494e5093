"""The EIP-712 types that our messages use: which values they hold, and their 32 bytes in a digest.

The usual encoder signs '5' for 5 and text for a hash, pads a short hash and drops a field that it
does not know (tests/contracts/test_messages.py shows each), so exactness is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import sha3

from contracts.units import int_fault

WORD_BYTES: Final = 32
_ADDRESS_DIGITS: Final = 40
_HEXADECIMAL: Final = frozenset("0123456789abcdef")


class FieldType(NamedTuple):
    """One EIP-712 type: `fault` says why a value is not of it, `encode` takes those that are."""

    fault: Callable[[object], str | None]
    encode: Callable[[Any], bytes]


def keccak256(data: bytes) -> bytes:
    """Hash with Ethereum's Keccak-256, which is not the later SHA3-256."""
    hashed: bytes = sha3.keccak_256(data).digest()
    return hashed


def bytes_fault(value: object, length: int) -> str | None:
    """Say why `value` is not exactly `length` bytes, or None when it is."""
    if type(value) is not bytes:
        return f"must be bytes, not {type(value).__name__}; convert it where it enters"
    return None if len(value) == length else f"has {len(value)} bytes; give exactly {length}"


def address_fault(value: object) -> str | None:
    """Say why `value` is not an address as a 0x-string in any case, or None when it is."""
    if type(value) is not str:
        return f"must be a 0x-string, not {type(value).__name__}; convert it where it enters"
    digits = value[2:].lower()
    if value[:2] == "0x" and len(digits) == _ADDRESS_DIGITS and _HEXADECIMAL.issuperset(digits):
        return None
    return f"is {value[:50]!r}; give 0x and 40 hexadecimal digits"


def checksummed(address: str) -> str:
    """Write an address in the one form that compares equal: the mixed case of EIP-55."""
    digits = address[2:].lower()
    upper = keccak256(digits.encode()).hex()[:_ADDRESS_DIGITS]
    pairs = zip(digits, upper, strict=True)
    return "0x" + "".join([digit.upper() if mark >= "8" else digit for digit, mark in pairs])


def words_fault(value: object) -> str | None:
    """Say why `value` is not a tuple of uint256, or None when it is."""
    if type(value) is not tuple:
        return f"must be a tuple, not {type(value).__name__}; freeze it where it enters"
    for index, word in enumerate(value):
        if type(word) is not int or word < 0 or word >> 256:
            return f"item {index} {int_fault(word, 0, 2**256 - 1)}"
    return None


def pack_words(words: Sequence[int]) -> bytes:
    """Join unsigned words, 32 bytes each, as both the digest and the ABI do."""
    return b"".join([word.to_bytes(WORD_BYTES, "big") for word in words])


def encode_uint(value: int) -> bytes:
    """Encode an unsigned integer in one word."""
    return value.to_bytes(WORD_BYTES, "big")


def _encode_int(value: int) -> bytes:
    return value.to_bytes(WORD_BYTES, "big", signed=True)


def _encode_address(value: str) -> bytes:
    return bytes(12) + bytes.fromhex(value[2:])


def _encode_words(words: tuple[int, ...]) -> bytes:
    return keccak256(pack_words(words))


def _unsigned(bits: int) -> FieldType:
    return FieldType(partial(int_fault, low=0, high=2**bits - 1), encode_uint)


TYPES: Final[Mapping[str, FieldType]] = MappingProxyType(
    {
        **{f"uint{bits}": _unsigned(bits) for bits in (8, 16, 32, 64, 128, 256)},
        "int8": FieldType(partial(int_fault, low=-(2**7), high=2**7 - 1), _encode_int),
        "bytes32": FieldType(partial(bytes_fault, length=WORD_BYTES), bytes),
        "address": FieldType(address_fault, _encode_address),
        "uint256[]": FieldType(words_fault, _encode_words),
    }
)


class Member(NamedTuple):
    """One field of a struct: its name in Python, and its name and type in EIP-712."""

    attribute: str
    name: str
    type: str


class Struct(NamedTuple):
    """A type string read against a class's attributes, with what the hash needs of it."""

    type_hash: bytes
    members: tuple[Member, ...]
    values: Callable[[object], tuple[Any, ...]]
    encoders: tuple[Callable[[Any], bytes], ...]


def split_type(type_string: str) -> list[list[str]]:
    """Split "Name(type name,type name)" into pairs of type and name."""
    return [pair.split(" ") for pair in type_string[type_string.index("(") + 1 : -1].split(",")]


def struct(type_string: str, attributes: Sequence[str]) -> Struct:
    """Read a type string against two or more attributes that stand in the same order."""
    pairs = zip(attributes, split_type(type_string), strict=True)
    members = tuple(Member(attribute, name, kind) for attribute, (kind, name) in pairs)
    encoders = tuple(TYPES[member.type].encode for member in members)
    return Struct(keccak256(type_string.encode()), members, attrgetter(*attributes), encoders)
