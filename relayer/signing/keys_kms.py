"""A key that never leaves AWS KMS: secp256k1, asked for one digest at a time.

What comes back is DER with any s and no recovery bit; chain and contracts want a low s, and the
bit. A signature takes tens of milliseconds and one of a quota: not for every price.
"""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn

import boto3
import coincurve
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from relayer.errors import BadAnswer, KeyRefused, RateLimited, RelayerError, Unreachable
from relayer.signing.keys import ORDER, Key, address_of

_NAME: Final = re.compile(r"(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)/(?P<key>[A-Za-z0-9:/_-]{1,256})\Z")
# What stands before the 65 bytes of a point in a public key of secp256k1 (RFC 5480).
_HEAD: Final = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200")
_POINT_BYTES: Final = 65
_TIMEOUT_S: Final = 5
_BUSY: Final = frozenset({"ThrottlingException", "LimitExceededException"})
_LATER: Final = frozenset({"KMSInternalException", "DependencyTimeoutException"})


class KmsKey(Key):
    """One KMS key, as good as a local one; `remote`, so never asked on the event loop."""

    __slots__ = ("_client", "_key_id", "_public")
    remote = True

    def __init__(self, client: Any, key_id: str) -> None:  # noqa: ANN401 -- boto3 has no types
        self._client = client
        self._key_id = key_id
        try:
            answer = client.get_public_key(KeyId=key_id)
        except (ClientError, BotoCoreError) as fault:
            raise _classed(fault, key_id) from None
        self._public = _public_key(answer["PublicKey"], key_id)
        self.address = address_of(self._public)

    @classmethod
    def open(cls, name: str) -> KmsKey:
        """Find a key by REGION/KEY, where KEY is its id, its ARN or alias/NAME.

        Raises
        ------
        KeyRefused
            The name is none, the key is not of secp256k1, or this process may not use it.
        Unreachable
            KMS did not answer.
        """
        parts = _NAME.match(name)
        if parts is None:
            raise KeyRefused(
                f"kms:{name}: write kms:REGION/KEY, such as kms:eu-west-1/alias/price-1"
            )
        config = Config(
            connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"total_max_attempts": 2}
        )
        try:
            client = boto3.client("kms", region_name=parts["region"], config=config)
        except BotoCoreError as fault:
            raise _classed(fault, name) from None
        return cls(client, parts["key"])

    def sign_parts(self, digest: bytes) -> tuple[int, int, int]:
        """Sign 32 bytes: r, s (low) and the recovery bit.

        Raises
        ------
        RelayerError
            KMS did not sign; its class says whether asking again may help.
        """
        if len(digest) != 32:
            raise ValueError(f"a digest has 32 bytes, not {len(digest)}")
        try:
            answer = self._client.sign(
                KeyId=self._key_id,
                Message=digest,
                MessageType="DIGEST",
                SigningAlgorithm="ECDSA_SHA_256",  # of 32 bytes as they are: a Keccak digest too
            )
        except (ClientError, BotoCoreError) as fault:
            raise _classed(fault, self._key_id) from None
        r, s = parse_der(answer["Signature"])
        s = min(s, ORDER - s)
        return r, s, self._recovery(digest, r, s)

    def _recovery(self, digest: bytes, r: int, s: int) -> int:
        plain = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        for bit in (0, 1):
            try:
                found = coincurve.PublicKey.from_signature_and_message(
                    plain + bytes([bit]), digest, hasher=None
                )
            except ValueError:
                continue
            if found == self._public:
                return bit
        raise BadAnswer(f"kms {self._key_id}: what it gave is no signature of its key")

    def __repr__(self) -> str:
        return f"KmsKey({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not to be copied out of the process")


def parse_der(encoded: bytes) -> tuple[int, int]:
    """Read r and s of an ECDSA signature, strictly.

    Raises
    ------
    BadAnswer
        It is not exactly a sequence of two positive integers below the curve's order.
    """
    try:
        if encoded[0] != 0x30 or encoded[1] != len(encoded) - 2:
            raise BadAnswer("a signature that is no DER sequence")
        r, rest = _integer(encoded[2:])
        s, rest = _integer(rest)
    except IndexError:
        raise BadAnswer("a signature that is cut off") from None
    if rest or not (0 < r < ORDER and 0 < s < ORDER):
        raise BadAnswer("a signature with numbers that the curve does not have")
    return r, s


def _integer(encoded: bytes) -> tuple[int, bytes]:
    length = encoded[1]
    content, rest = encoded[2 : 2 + length], encoded[2 + length :]
    minimal = not (length > 1 and content[0] == 0 and content[1] < 0x80)
    if encoded[0] != 0x02 or len(content) != length or not length or not minimal:
        raise BadAnswer("a signature whose numbers are not DER's")
    if content[0] >= 0x80:
        raise BadAnswer("a signature with a negative number")
    return int.from_bytes(content, "big"), rest


def _public_key(encoded: bytes, key_id: str) -> coincurve.PublicKey:
    if not encoded.startswith(_HEAD) or len(encoded) != len(_HEAD) + _POINT_BYTES:
        raise KeyRefused(f"kms {key_id}: is no key of secp256k1; make it as ECC_SECG_P256K1")
    return coincurve.PublicKey(encoded[len(_HEAD) :])


def _classed(fault: ClientError | BotoCoreError, key_id: str) -> RelayerError:
    """Say in our tree what KMS said; what it says names no secret, and is cut all the same."""
    if isinstance(fault, ClientError):
        code = str(fault.response.get("Error", {}).get("Code", "unknown"))
        if code in _BUSY:
            return RateLimited(f"kms {key_id}: {code}")
        return (
            Unreachable(f"kms {key_id}: {code}")
            if code in _LATER
            else KeyRefused(f"kms {key_id}: {code}")
        )
    name = type(fault).__name__
    missing = "Credentials" in name or "Region" in name
    return KeyRefused(f"kms: {name}") if missing else Unreachable(f"kms: {name}")
