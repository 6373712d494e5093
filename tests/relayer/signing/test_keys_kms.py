"""Facts about keys in AWS KMS: what comes back is what chain and contracts take, or a reason."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import coincurve
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws
from moto.kms.utils import ECDSAPrivateKey

from contracts.fields import keccak256
from relayer.delivery.fees import Fees
from relayer.delivery.transactions import Transaction, sign_off_loop
from relayer.errors import BadAnswer, KeyRefused, RateLimited, RelayerError, Unreachable
from relayer.signing.keys import HALF_ORDER, ORDER, recover, signed_by
from relayer.signing.keys_kms import KmsKey, parse_der
from relayer.signing.keys_source import open_key
from relayer.signing.memory import SignedRounds
from relayer.signing.signer import Signer, SignerPorts
from relayer.signing.values import Refusal, RefusalReason
from relayer.storage import Database
from tests.relayer import builders as b
from tests.relayer.signing.test_signer import Views

REGION = "eu-west-1"


def sign_as_kms(self: ECDSAPrivateKey, message: bytes, signing_algorithm: str) -> bytes:
    """Sign a digest as KMS does: moto takes no notice of MessageType, and hashes it once more."""
    signed: bytes = self.private_key.sign(message, ec.ECDSA(Prehashed(hashes.SHA256())))
    return signed


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setattr(ECDSAPrivateKey, "sign", sign_as_kms)
    with mock_aws():
        yield boto3.client("kms", region_name=REGION)


def made(kms: Any, spec: str = "ECC_SECG_P256K1") -> str:
    return str(kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"])


def der(r: int, s: int) -> bytes:
    def integer(value: int) -> bytes:
        content = value.to_bytes(value.bit_length() // 8 + 1, "big")
        return b"\x02" + bytes([len(content)]) + content

    body = integer(r) + integer(s)
    return b"\x30" + bytes([len(body)]) + body


def test_sign__many_digests__low_s_and_its_own_address_each_time(kms: Any) -> None:
    key = open_key(f"kms:{REGION}/{made(kms)}")
    for number in range(40):
        digest = keccak256(bytes([number]))
        assert key.sign_parts(digest)[1] <= HALF_ORDER
        assert recover(digest, key.sign_digest(digest)) == key.address


def test_open__by_alias__is_the_same_key(kms: Any) -> None:
    key_id = made(kms)
    kms.create_alias(AliasName="alias/price-1", TargetKeyId=key_id)
    assert open_key(f"kms:{REGION}/alias/price-1").address == KmsKey(kms, key_id).address


@pytest.mark.parametrize("name", ["kms:", "kms:eu-west-1", "kms:/x", "kms:nowhere/x y"])
def test_open__no_name_of_a_key__is_refused(name: str) -> None:
    with pytest.raises(KeyRefused, match="REGION/KEY"):
        open_key(name)


def test_open__key_of_another_curve__is_refused(kms: Any) -> None:
    with pytest.raises(KeyRefused, match="ECC_SECG_P256K1"):
        KmsKey(kms, made(kms, "ECC_NIST_P256"))


def test_open__no_such_key__is_refused(kms: Any) -> None:
    with pytest.raises(KeyRefused, match="NotFoundException"):
        open_key(f"kms:{REGION}/00000000-0000-0000-0000-000000000000")


async def test_transaction__signed_by_kms__recovers_to_its_address(kms: Any) -> None:
    key = KmsKey(kms, made(kms))
    transaction = Transaction(
        chain_id=6343,
        nonce=7,
        fees=Fees(max_fee_wei=10**9, priority_fee_wei=1),
        gas_limit=100_000,
        recipient=b.PRICE_FEED,
        payload=b"\x01\x02",
    )
    signed = await sign_off_loop(transaction, key)
    assert Account.recover_transaction(signed.raw) == key.address


def test_key__printed_or_pickled__shows_its_address_only(kms: Any) -> None:
    key = KmsKey(kms, made(kms))
    assert repr(key) == f"KmsKey({key.address})"
    with pytest.raises(TypeError, match="not to be copied"):
        pickle.dumps(key)


def secret(number: int) -> coincurve.PrivateKey:
    return coincurve.PrivateKey(bytes([number]) * 32)


@dataclass
class Client:
    """A KMS that answers as told, with a real key's public half."""

    private: coincurve.PrivateKey = field(
        default_factory=lambda: coincurve.PrivateKey(b"\x07" * 32)
    )
    fault: Exception | None = None
    high: bool = False
    other: bool = False

    def get_public_key(self, **_: object) -> dict[str, bytes]:
        head = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200")
        return {"PublicKey": head + self.private.public_key.format(compressed=False)}

    def sign(self, **request: Any) -> dict[str, bytes]:
        if self.fault:
            raise self.fault
        signer = secret(8) if self.other else self.private
        signature = signer.sign_recoverable(request["Message"], hasher=None)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
        return {"Signature": der(r, ORDER - s if self.high else s)}


@given(st.binary(min_size=32, max_size=32), st.booleans())
@settings(max_examples=60)
def test_sign__either_s__is_made_low_with_the_bit_that_fits(digest: bytes, high: bool) -> None:
    key = KmsKey(Client(high=high), "x")
    assert recover(digest, key.sign_digest(digest)) == key.address


def test_sign__signature_of_another_key__is_refused() -> None:
    with pytest.raises(BadAnswer, match="no signature of its key"):
        KmsKey(Client(other=True), "x").sign_digest(b"\x01" * 32)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (ClientError({"Error": {"Code": "ThrottlingException"}}, "Sign"), RateLimited),
        (ClientError({"Error": {"Code": "KMSInternalException"}}, "Sign"), Unreachable),
        (ClientError({"Error": {"Code": "AccessDeniedException"}}, "Sign"), KeyRefused),
        (ClientError({"Error": {"Code": "DisabledException"}}, "Sign"), KeyRefused),
        (EndpointConnectionError(endpoint_url="https://kms"), Unreachable),
        (NoCredentialsError(), KeyRefused),
    ],
)
async def test_sign__kms_says_no__is_classed_by_what_to_do(
    fault: Exception, kind: type[RelayerError]
) -> None:
    key = KmsKey(Client(fault=fault), "x")
    with pytest.raises(kind):
        await signed_by(key, b"\x01" * 32)


@given(st.integers(1, ORDER - 1), st.integers(1, ORDER - 1))
def test_der__there_and_back__is_the_same(r: int, s: int) -> None:
    assert parse_der(der(r, s)) == (r, s)


@given(st.binary(max_size=80))
def test_der__any_bytes__are_refused_in_our_own_words(encoded: bytes) -> None:
    try:
        r, s = parse_der(encoded)
    except BadAnswer:
        return
    assert der(r, s) == encoded


async def test_signer__key_cannot_be_used__refuses_and_says_so(database: Database) -> None:
    denied = ClientError({"Error": {"Code": "AccessDeniedException"}}, "Sign")
    key = KmsKey(Client(fault=denied), "x")
    views = Views()
    assert views.shown.feed is not None
    config = b.configuration((*b.PRICE_KEYS[:2], key))
    object.__setattr__(views.shown.feed, "config", config)
    ports = SignerPorts(views=views, memory=SignedRounds(database))
    answer = await Signer("signer-0", key, ports, b.signer_rules()).sign(b.price_proposal())
    assert isinstance(answer, Refusal)
    assert answer.reason is RefusalReason.NO_KEY
