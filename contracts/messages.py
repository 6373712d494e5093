"""The four signed messages: strict values, their EIP-712 digest, and the calldata that posts them.

A type string is the law; the fields below it stand in the same order and are named by their units.
Validation is about encoding alone. Whether a message is fresh, in bounds or first of its round is
the contract's to say, so what it would refuse can still be expressed, and proved refused.

The exceptions, by what to do::

    MessageError(LawError)       nothing was signed or encoded
    ├── FieldError               a value is not exactly of its EIP-712 type: mend the caller
    └── CalldataError            bytes that no canonical post_* call has: not ours, drop them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from contracts.fields import (
    TYPES,
    WORD_BYTES,
    Struct,
    bytes_fault,
    checksummed,
    encode_uint,
    keccak256,
    pack_words,
    split_type,
    struct,
)
from contracts.units import LawError, LeverageE2, MarketId, Ppm, UnixMs, UsdcE6

NAME: Final = "AutonomousMarginLayer"
VERSION: Final = "1"
MAX_PRICE_WORDS: Final = (
    64  # bounds in PriceFeed.vy, RiskOracle.vy and quorum.vy: 128 markets a batch
)
MAX_RISK_WORDS: Final = 128
MAX_SIGNATURES: Final = 16
SIGNATURE_BYTES: Final = 64  # EIP-2098: r, then s with the recovery bit on top
SELECTOR_BYTES: Final = 4

_DOMAIN_TYPE: Final = (
    "EIP712Domain(string name,string version,uint256 chainId,"
    "address verifyingContract,bytes32 salt)"
)
_DOMAIN_HEAD: Final = b"".join(keccak256(text.encode()) for text in (_DOMAIN_TYPE, NAME, VERSION))


class MessageError(LawError):
    """A message or a call that may not be signed, encoded or believed."""


class FieldError(MessageError):
    """A value is not exactly of its EIP-712 type."""


class CalldataError(MessageError):
    """Bytes that no canonical post_* call has."""


class Side(IntEnum):
    """The side of a position. Here and below, 0, what a forgotten field holds, means nothing."""

    SHORT = -1
    LONG = 1


class MarginMode(IntEnum):
    """Own collateral for each position, or one pool for all of an account's positions."""

    ISOLATED = 1
    CROSS = 2


class Adjustment(IntEnum):
    """Whether the maintenance ratio of an open position may follow the market's."""

    FIXED = 1
    MANAGED = 2


class ActionKind(IntEnum):
    """What a signed action does to a position."""

    ADJUST = 1
    DELEVERAGE = 2
    LIQUIDATE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRound:
    """Prices of many markets, observed by one instant; words as in packing.py."""

    TYPE: ClassVar[str] = (
        "PriceRound(uint64 round,uint64 observedAt,uint64 validUntil,bytes32 evidenceHash,"
        "uint256[] words)"
    )

    round: int
    observed_at_ms: UnixMs
    valid_until_ms: UnixMs
    evidence_hash: bytes
    words: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse what is not exactly of its EIP-712 type."""
        _validate(self)
        _limit_words(self.words, MAX_PRICE_WORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskUpdate:
    """Risk parameters of many markets, decided by one model; words as in packing.py."""

    TYPE: ClassVar[str] = (
        "RiskUpdate(uint64 round,uint64 observedAt,uint64 validUntil,bytes32 modelHash,"
        "bytes32 evidenceHash,uint256[] words)"
    )

    round: int
    observed_at_ms: UnixMs
    valid_until_ms: UnixMs
    model_hash: bytes
    evidence_hash: bytes
    words: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse what is not exactly of its EIP-712 type."""
        _validate(self)
        _limit_words(self.words, MAX_RISK_WORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionTerms:
    """What one account may open in one market; the trader takes it to the contract."""

    TYPE: ClassVar[str] = (
        "PositionTerms(uint64 observedAt,uint64 validUntil,address account,uint16 market,int8 side,"
        "uint8 marginMode,uint8 adjustment,uint128 maxNotional,uint32 maxLeverage,"
        "uint32 maintenancePpm,uint32 maintenanceCeilingPpm,uint32 riskScore,uint64 nonce,"
        "bytes32 modelHash,bytes32 evidenceHash)"
    )

    observed_at_ms: UnixMs
    valid_until_ms: UnixMs
    account: str
    market: MarketId
    side: Side
    margin_mode: MarginMode
    adjustment: Adjustment
    max_notional_e6: UsdcE6
    max_leverage_e2: LeverageE2
    maintenance_ppm: Ppm
    maintenance_ceiling_ppm: Ppm
    risk_score_ppm: Ppm
    nonce: int
    model_hash: bytes
    evidence_hash: bytes

    def __post_init__(self) -> None:
        """Refuse what is not exactly of its EIP-712 type; keep the account in its EIP-55 form."""
        _validate(self)
        object.__setattr__(self, "account", checksummed(self.account))


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionAction:
    """What may be done, once, to one version of one position."""

    TYPE: ClassVar[str] = (
        "PositionAction(uint64 observedAt,uint64 validUntil,uint256 positionId,"
        "uint64 positionVersion,uint8 kind,uint32 maintenancePpm,uint128 maxSize,"
        "uint128 priceBound,bytes32 modelHash,bytes32 evidenceHash)"
    )

    observed_at_ms: UnixMs
    valid_until_ms: UnixMs
    position_id: int
    position_version: int
    kind: ActionKind
    maintenance_ppm: Ppm
    max_size_e18: int
    price_bound_e18: int
    model_hash: bytes
    evidence_hash: bytes

    def __post_init__(self) -> None:
        """Refuse what is not exactly of its EIP-712 type."""
        _validate(self)


Message: TypeAlias = PriceRound | RiskUpdate | PositionTerms | PositionAction
Posted: TypeAlias = PriceRound | RiskUpdate


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Where a message is valid: one chain, one contract, one configuration of it."""

    chain_id: int
    contract: str
    config_digest: bytes
    separator: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse inexact values, and hash the domain once for all its messages."""
        _check("chain_id", "uint256", self.chain_id)
        _check("contract", "address", self.contract)
        _check("config_digest", "bytes32", self.config_digest)
        object.__setattr__(self, "contract", checksummed(self.contract))
        encoded = encode_uint(self.chain_id) + TYPES["address"].encode(self.contract)
        separator = keccak256(_DOMAIN_HEAD + encoded + self.config_digest)
        object.__setattr__(self, "separator", separator)


_STRUCTS: Final[Mapping[type, Struct]] = MappingProxyType(
    {
        kind: struct(kind.TYPE, [item.name for item in fields(kind)])
        for kind in (PriceRound, RiskUpdate, PositionTerms, PositionAction)
    }
)
_CHOICES: Final[Mapping[str, type[IntEnum]]] = MappingProxyType(
    {"side": Side, "marginMode": MarginMode, "adjustment": Adjustment, "kind": ActionKind}
)


def _check(name: str, type_name: str, value: object) -> None:
    fault = TYPES[type_name].fault(value)
    if fault:
        raise FieldError(f"{name} {fault}")


def _validate(message: Message) -> None:
    """Check each field against its EIP-712 type, or against the enumeration that narrows it."""
    for member in _struct_of(message).members:
        value = getattr(message, member.attribute)
        choice = _CHOICES.get(member.name)
        if choice is None:
            _check(member.attribute, member.type, value)
        elif type(value) is not choice:
            names = ", ".join(f"{choice.__name__}.{item.name}" for item in choice)
            raise FieldError(f"{member.attribute} is {value!r}; give one of {names}")


def _limit_words(words: tuple[int, ...], limit: int) -> None:
    if len(words) > limit:
        raise FieldError(f"words has {len(words)} items, the contract takes {limit}; split them")


def _struct_of(message: Message) -> Struct:
    """Find a message's struct by its exact class; a subclass could hash one thing, be another."""
    found = _STRUCTS.get(type(message))
    if found is None:
        raise FieldError(f"{type(message).__name__} is none of our four messages")
    return found


def digest(message: Message, domain: Domain) -> bytes:
    """Hash a message under its domain: the 32 bytes that signers sign."""
    layout = _struct_of(message)
    pairs = zip(layout.encoders, layout.values(message), strict=True)
    encoded = b"".join([encode(value) for encode, value in pairs])
    return keccak256(b"\x19\x01" + domain.separator + keccak256(layout.type_hash + encoded))


def _plain(value: object) -> object:
    """Write a field as JSON and eth_account take it."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, tuple):
        return list(value)
    return int(value) if isinstance(value, IntEnum) else value


def typed_data(message: Message, domain: Domain) -> dict[str, Any]:
    """Write the message as EIP-712 JSON: `full_message` of eth_account, input of a wallet."""
    members = _struct_of(message).members
    primary = type(message).__name__
    return {
        "types": {
            "EIP712Domain": [{"name": n, "type": t} for t, n in split_type(_DOMAIN_TYPE)],
            primary: [{"name": member.name, "type": member.type} for member in members],
        },
        "primaryType": primary,
        "domain": {
            "name": NAME,
            "version": VERSION,
            "chainId": domain.chain_id,
            "verifyingContract": domain.contract,
            "salt": _plain(domain.config_digest),
        },
        "message": {m.name: _plain(getattr(message, m.attribute)) for m in members},
    }


class _Call(NamedTuple):
    """One post_* function: its selector, and how many words its array may have."""

    message: type[Posted]
    selector: bytes
    max_words: int


def _call(message: type[Posted], signature: str, max_words: int) -> _Call:
    return _Call(message, keccak256(signature.encode())[:SELECTOR_BYTES], max_words)


POST_ROUND: Final = "post_round(uint64,uint64,uint64,bytes32,bytes,bytes32[])"
POST_UPDATE: Final = "post_update(uint64,uint64,uint64,bytes32,bytes32,bytes,bytes32[])"
_CALLS: Final = (
    _call(PriceRound, POST_ROUND, MAX_PRICE_WORDS),
    _call(RiskUpdate, POST_UPDATE, MAX_RISK_WORDS),
)
_SELECTORS: Final = MappingProxyType({call.message: call.selector for call in _CALLS})


def calldata(message: Posted, signatures: Sequence[bytes]) -> bytes:
    """Encode the call that posts a message with its 64-byte signatures, in the order given."""
    selector = _SELECTORS.get(type(message))
    if selector is None:
        raise FieldError(f"{type(message).__name__} is not posted; give a PriceRound or RiskUpdate")
    if len(signatures) > MAX_SIGNATURES:
        raise FieldError(f"{len(signatures)} signatures, the contract takes {MAX_SIGNATURES}")
    for index, signature in enumerate(signatures):
        fault = bytes_fault(signature, SIGNATURE_BYTES)
        if fault:
            raise FieldError(f"signature {index} {fault} (EIP-2098: r, vs)")
    layout = _struct_of(message)
    static = zip(layout.encoders[:-1], layout.values(message)[:-1], strict=True)
    # One bytes value, as the digest hashes it: the contract need not copy it together first.
    words = encode_uint(WORD_BYTES * len(message.words)) + pack_words(message.words)
    first = WORD_BYTES * (len(layout.members) + 1)
    parts = [selector, *(encode(value) for encode, value in static)]
    parts += [encode_uint(first), encode_uint(first + len(words)), words]
    return b"".join([*parts, encode_uint(2 * len(signatures)), *signatures])


def parse_calldata(data: bytes) -> tuple[Posted, tuple[bytes, ...]]:
    """Read a post_* call back: the strict inverse of `calldata`, for bytes from anyone."""
    if type(data) is not bytes:
        raise CalldataError(f"calldata must be bytes, not {type(data).__name__}")
    call = next((item for item in _CALLS if item.selector == data[:SELECTOR_BYTES]), None)
    if call is None:
        raise CalldataError(f"selector 0x{data[:SELECTOR_BYTES].hex()} is no post_* call of ours")
    try:
        message, signatures = _parse_body(call, data[SELECTOR_BYTES:])
        if calldata(message, signatures) != data:
            raise CalldataError("offsets are not the canonical ones; drop the call")
    except FieldError as fault:
        raise CalldataError(f"{fault}; drop the call") from fault
    return message, signatures


def _parse_body(call: _Call, body: bytes) -> tuple[Posted, tuple[bytes, ...]]:
    """Read arguments where the canonical encoding puts them, whatever the offsets say."""
    members = _STRUCTS[call.message].members
    slots = [body[at : at + WORD_BYTES] for at in range(0, len(body), WORD_BYTES)]
    head, rest = slots[: len(members) - 1], slots[len(members) + 1 :]
    words, rest = _parse_array(rest, call.max_words, unit=WORD_BYTES)
    pairs, rest = _parse_array(rest, 2 * MAX_SIGNATURES, unit=1)
    if len(pairs) % 2 or rest:
        raise CalldataError("half a signature or trailing bytes; drop the call")
    values: dict[str, Any] = {
        member.attribute: slot if member.type == "bytes32" else int.from_bytes(slot, "big")
        for member, slot in zip(members[:-1], head, strict=True)
    }
    message = call.message(words=tuple(int.from_bytes(word, "big") for word in words), **values)
    return message, tuple(r + vs for r, vs in zip(pairs[::2], pairs[1::2], strict=True))


def _parse_array(slots: list[bytes], limit: int, *, unit: int) -> tuple[list[bytes], list[bytes]]:
    """Split a length, counted in `unit`s an item, and its items from what follows them."""
    count, part = divmod(int.from_bytes(slots[0], "big"), unit) if slots else (limit + 1, 0)
    if part or count > min(limit, len(slots) - 1):
        raise CalldataError(f"an array is cut off or longer than {limit}; drop the call")
    return slots[1 : 1 + count], slots[1 + count :]
