"""Who says what to whom: each request and each answer signed with a key that the other side knows.

A request is bound to one receiver, one body, one moment and one nonce; an answer to its request.
Nothing here is secret on the way: what is proposed will be public, and nobody can alter it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from contracts.fields import keccak256
from relayer.signing.keys import Key, recover

TIME_BOUND_MS: Final = 30_000
REQUEST_HEADERS: Final = ("AML-From", "AML-Time", "AML-Nonce", "AML-Signature")
ANSWER_HEADER: Final = "AML-Signature"
# Not the prefix of EIP-712 or of a transaction, so that a seal can never be one of those.
_REQUEST: Final = b"autonomous margin layer, signer transport 1, request\n"
_ANSWER: Final = b"autonomous margin layer, signer transport 1, answer\n"
_NONCE: Final = re.compile(r"[0-9a-f]{32}\Z")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}\Z")
_TIME: Final = re.compile(r"[0-9]{1,15}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Whose request it says it is, from when, and its one-time number."""

    sender: str
    time_ms: int
    nonce: str
    signature: bytes

    def headers(self) -> dict[str, str]:
        """Write the seal as HTTP headers."""
        values = (self.sender, str(self.time_ms), self.nonce, self.signature.hex())
        return dict(zip(REQUEST_HEADERS, values, strict=True))


def seal_request(key: Key, receiver: str, path: str, body: bytes, now_ms: int) -> Seal:
    """Sign a request to one receiver."""
    nonce = secrets.token_hex(16)
    digest = _request_digest(receiver, path, now_ms, nonce, body)
    return Seal(sender=key.address, time_ms=now_ms, nonce=nonce, signature=key.sign_digest(digest))


def read_seal(headers: Mapping[str, str]) -> Seal | None:
    """Read the seal of a request; None where it is not one."""
    sender, time, nonce, signature = (headers.get(name, "") for name in REQUEST_HEADERS)
    if not (_TIME.match(time) and _NONCE.match(nonce) and _SIGNATURE.match(signature)):
        return None
    return Seal(sender=sender, time_ms=int(time), nonce=nonce, signature=bytes.fromhex(signature))


def is_sealed(seal: Seal, receiver: str, path: str, body: bytes) -> bool:
    """Tell whether a request is from whom it says, to this receiver, with this body."""
    digest = _request_digest(receiver, path, seal.time_ms, seal.nonce, body)
    return recover(digest, seal.signature) == seal.sender


def seal_answer(key: Key, request: Seal, status: int, body: bytes) -> str:
    """Sign an answer to one request."""
    return key.sign_digest(_answer_digest(request, status, body)).hex()


def is_answer(seal: str, answerer: str, request: Seal, status: int, body: bytes) -> bool:
    """Tell whether an answer is from whom was asked, and to this request."""
    if not _SIGNATURE.match(seal):
        return False
    return recover(_answer_digest(request, status, body), bytes.fromhex(seal)) == answerer


def _request_digest(receiver: str, path: str, time_ms: int, nonce: str, body: bytes) -> bytes:
    head = f"{receiver}\n{path}\n{time_ms}\n{nonce}\n".encode()
    return keccak256(_REQUEST + head + keccak256(body))


def _answer_digest(request: Seal, status: int, body: bytes) -> bytes:
    return keccak256(_ANSWER + request.signature + f"\n{status}\n".encode() + keccak256(body))


class Replays:
    """The nonces seen within the time bound; only requests that are authentic come here."""

    def __init__(self, started_ms: int, bound_ms: int = TIME_BOUND_MS) -> None:
        self._started_ms = started_ms
        self._bound_ms = bound_ms
        self._seen: dict[str, int] = {}

    def is_timely(self, seal: Seal, now_ms: int) -> bool:
        """Tell whether a request is of about now, and not of before this process began."""
        # What was seen before a restart is forgotten, so nothing from before it counts.
        return abs(now_ms - seal.time_ms) <= self._bound_ms and seal.time_ms >= self._started_ms

    def is_first(self, seal: Seal, now_ms: int) -> bool:
        """Tell whether a request was not seen before, and remember it."""
        oldest = now_ms - 2 * self._bound_ms
        # In the order of arrival, so that the oldest stand first.
        while self._seen and next(iter(self._seen.values())) < oldest:
            del self._seen[next(iter(self._seen))]
        if seal.nonce in self._seen:
            return False
        self._seen[seal.nonce] = now_ms
        return True
