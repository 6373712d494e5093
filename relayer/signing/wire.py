"""Proposals and answers as bytes between processes: whole messages, read strictly, never a digest.

Whole numbers above 2^53 travel as hexadecimal text, which every language's JSON keeps exactly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Final

from contracts.messages import (
    ActionKind,
    Adjustment,
    Domain,
    MarginMode,
    Message,
    MessageError,
    PositionAction,
    PositionTerms,
    PriceRound,
    RiskUpdate,
    Side,
)
from relayer.errors import BadAnswer
from relayer.signing.values import Objection, Proposal, Refusal, RefusalReason, SignerAnswer

_LONGEST: Final = 300  # characters of a detail that travel
MAX_BYTES: Final = 32_768  # the longest message has 128 words: 9 kB
_KINDS: Final[Mapping[str, type[Message]]] = MappingProxyType(
    {kind.__name__: kind for kind in (PriceRound, RiskUpdate, PositionTerms, PositionAction)}
)
_CHOICES: Final = MappingProxyType(
    {"side": Side, "margin_mode": MarginMode, "adjustment": Adjustment, "kind": ActionKind}
)
_HEX: Final = re.compile(r"0x[0-9a-f]{1,64}\Z")
_BYTES: Final = frozenset({"model_hash", "evidence_hash", "config_digest", "signature"})
_TEXT: Final = frozenset({"account", "contract"})


class Malformed(Exception):  # noqa: N818 -- named for what the bytes are
    """Bytes that say no proposal; the message says where."""


def encode_proposal(proposal: Proposal) -> bytes:
    """Write a whole message with its domain."""
    message, domain = proposal.message, proposal.domain
    return _dump(
        {
            "type": type(message).__name__,
            "domain": {
                "chain_id": _plain(domain.chain_id),
                "contract": domain.contract,
                "config_digest": _plain(domain.config_digest),
            },
            "message": {f.name: _plain(getattr(message, f.name)) for f in fields(message)},
        }
    )


def decode_proposal(body: bytes) -> Proposal:
    """Read a proposal; its digest is computed here.

    Raises
    ------
    Malformed
        Not exactly a message of ours in a domain: anything missing, added or of another type.
    """
    given = _load(body)
    _require(given, {"type", "domain", "message"})
    kind = _KINDS.get(given["type"]) if isinstance(given["type"], str) else None
    if kind is None:
        raise Malformed("type: is none of our four messages")
    names = {f.name for f in fields(kind)}
    try:
        return Proposal(
            message=kind(**_read(given["message"], names)),
            domain=Domain(**_read(given["domain"], {"chain_id", "contract", "config_digest"})),
        )
    except MessageError as fault:
        raise Malformed(str(fault)) from None


def encode_answer(answer: SignerAnswer | Refusal) -> bytes:
    """Write what a signer says."""
    if isinstance(answer, SignerAnswer):
        return _dump({"address": answer.address, "signature": _plain(answer.signature)})
    first, *also = (
        {"field": o.field, "reason": o.reason, "detail": o.detail[:500]} for o in answer
    )
    return _dump({"refused": first, "also": also})


def decode_answer(body: bytes) -> SignerAnswer | Refusal:
    """Read what a signer says.

    Raises
    ------
    BadAnswer
        It is neither a signature nor a refusal.
    """
    try:
        given = _load(body)
        if "refused" not in given:
            _require(given, {"address", "signature"})
            signature = bytes.fromhex(given["signature"].removeprefix("0x"))
            return SignerAnswer(address=given["address"], signature=signature)
        _require(given, {"refused", "also"})
        first = _objection(given["refused"])
        also = tuple(_objection(each) for each in given["also"])
    except (Malformed, ValueError, TypeError, KeyError, AttributeError) as fault:
        raise BadAnswer(f"no signer's answer: {str(fault)[:200]}") from None
    return Refusal(reason=first.reason, field=first.field, detail=first.detail, also=also)


def _objection(given: Mapping[str, Any]) -> Objection:
    reason = RefusalReason(given["reason"])
    return Objection(
        reason=reason, field=str(given["field"])[:200], detail=str(given["detail"])[:500]
    )


def _read(given: object, names: set[str]) -> dict[str, Any]:
    """Read a table's values into the types that a message wants; the message judges the rest."""
    if not isinstance(given, Mapping):
        raise Malformed("a table is missing")
    _require(given, names)
    return {name: _value(name, value) for name, value in given.items()}


def _value(name: str, value: object) -> object:
    try:
        if name in _BYTES:
            return _unhexed(value)
        if name == "words":
            return tuple(_whole(word) for word in value) if isinstance(value, list) else value
        if name in _TEXT:
            return value
        whole = _whole(value)
        return _CHOICES[name](whole) if name in _CHOICES else whole
    except ValueError:
        raise Malformed(f"{name}: is not of its type") from None


def _whole(value: object) -> int:
    if isinstance(value, str) and _HEX.match(value):
        return int(value, 0)
    if type(value) is int:
        return value
    raise ValueError


def _unhexed(value: object) -> bytes:
    if not isinstance(value, str) or value[:2] != "0x":
        raise ValueError
    return bytes.fromhex(value[2:])


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, int):
        return int(value) if abs(value) < 2**53 else hex(value)
    return value


def _require(given: Mapping[str, Any], names: set[str]) -> None:
    if given.keys() != names:
        odd = sorted(given.keys() ^ names)
        raise Malformed(f"{', '.join(odd)[:200]}: missing, or not known here")


def _dump(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _load(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise Malformed("is not JSON") from None
    if not isinstance(given, dict):
        raise Malformed("is not a table")
    return given


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice: two readers could each believe another one."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise Malformed("a key stands twice")
    return table
