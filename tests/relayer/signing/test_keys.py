"""Facts about keys: what they sign, what they accept as a file, and that nothing prints them."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from pathlib import Path

import coincurve
import pytest
from eth_account import Account
from eth_keys.datatypes import Signature
from hypothesis import given, settings
from hypothesis import strategies as st

from relayer.errors import KeyRefused
from relayer.signing import keys
from relayer.signing.keys import Key

HERE = str(Path(__file__).parent)
SECRET = bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318")
ADDRESS = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"  # of SECRET, from eth-account's documents
HALF_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2


def key() -> Key:
    return Key(coincurve.PrivateKey(SECRET))


def write(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def keystore(folder: Path, password: str = "correct horse") -> tuple[Path, Path]:
    encrypted = Account.encrypt(SECRET, password, kdf="scrypt", iterations=2)
    return (
        write(folder / "key.json", json.dumps(encrypted)),
        write(folder / "key.password", password + "\n"),
    )


def test_address__known_key__known_address() -> None:
    assert key().address == ADDRESS


@given(digest=st.binary(min_size=32, max_size=32))
@settings(max_examples=100, deadline=None)
def test_sign_digest__any_digest__is_compact_low_and_recovers_elsewhere_too(digest: bytes) -> None:
    signature = key().sign_digest(digest)
    assert len(signature) == 64
    s = int.from_bytes(signature[32:], "big") & (2**255 - 1)
    assert 0 < s <= HALF_ORDER
    recovery = signature[32] >> 7
    other = Signature(vrs=(recovery, int.from_bytes(signature[:32], "big"), s))
    assert other.recover_public_key_from_msg_hash(digest).to_checksum_address() == ADDRESS
    assert keys.recover(digest, signature) == ADDRESS


def test_recover__high_s__is_nobody() -> None:
    r = key().sign_digest(b"\x01" * 32)[:32]
    highest, too_high = (r + (HALF_ORDER + more).to_bytes(32, "big") for more in (0, 1))
    assert keys.recover(b"\x01" * 32, highest) is not None
    assert keys.recover(b"\x01" * 32, too_high) is None


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(65), b"\xff" * 64])
def test_recover__no_signature_at_all__is_nobody(signature: bytes) -> None:
    assert keys.recover(bytes(32), signature) is None


def test_sign_digest__not_32_bytes__is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        key().sign_digest(b"message")


def test_load__raw_file__opens(tmp_path: Path) -> None:
    for text in (SECRET.hex(), "0x" + SECRET.hex() + "\n"):
        assert keys.load(write(tmp_path / "key", text)).address == ADDRESS


def test_load__keystore__opens_with_its_password_file(tmp_path: Path) -> None:
    path, password = keystore(tmp_path)
    assert keys.load(path, password).address == ADDRESS


def test_new__keystore__opens_again_and_is_private(tmp_path: Path) -> None:
    path, password = tmp_path / "a" / "key.json", tmp_path / "a" / "key.password"
    made = keys.new(path, password, scrypt_rounds=2)
    assert keys.load(path, password).address == made == keys.address(path)
    assert {file.stat().st_mode & 0o777 for file in (path, password)} == {0o600}


def test_new__file_exists__is_not_overwritten(tmp_path: Path) -> None:
    path, password = keystore(tmp_path)
    before = path.read_bytes()
    with pytest.raises(KeyRefused, match="exists, and is not overwritten"):
        keys.new(path, password, scrypt_rounds=2)
    assert path.read_bytes() == before


def test_address__of_a_raw_file_and_of_a_keystore_without_password(tmp_path: Path) -> None:
    assert keys.address(write(tmp_path / "raw", SECRET.hex())) == ADDRESS
    assert keys.address(keystore(tmp_path)[0]) == ADDRESS


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_load__others_may_read_or_write__is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "key", SECRET.hex(), mode)
    with pytest.raises(KeyRefused, match="chmod 600"):
        keys.load(path)


@pytest.mark.parametrize(
    ("owner", "user", "mode", "refused"),
    [
        (0, 0, 0o440, True),
        (1_000, 1_000, 0o440, True),
        (0, 1_000, 0o440, False),  # lent by systemd through an access list
        (0, 1_000, 0o460, True),
        (0, 1_000, 0o444, True),
        (1_000, 1_000, 0o400, False),
    ],
)
def test_forbidden_bits__own_file_and_lent_file(
    owner: int, user: int, mode: int, refused: bool
) -> None:
    assert bool(mode & keys.forbidden_bits(owner=owner, user=user)) is refused


def test_load__password_file_open_to_others__is_refused(tmp_path: Path) -> None:
    path, password = keystore(tmp_path)
    password.chmod(0o644)
    with pytest.raises(KeyRefused, match=r"key\.password.*chmod 600"):
        keys.load(path, password)


def test_load__missing__says_which_and_what_mends_it(tmp_path: Path) -> None:
    with pytest.raises(KeyRefused, match=r"absent: No such file.*aml keys new"):
        keys.load(tmp_path / "absent")


def test_load__folder__is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(KeyRefused, match="not a regular file"):
        keys.load(tmp_path)


def test_load__keystore_without_password__says_so(tmp_path: Path) -> None:
    with pytest.raises(KeyRefused, match="name its password file"):
        keys.load(keystore(tmp_path)[0])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not a key",
        "00" * 32,
        "ff" * 32,
        SECRET.hex()[:-2],
        "[]",
        '{"version": 1}',
        '{"version": 3}',
        '{"version": 3, "crypto": {"kdf": "argon2"}}',
        "x" * 20_000,
    ],
)
def test_load__no_key_in_it__is_refused(tmp_path: Path, content: str) -> None:
    password = write(tmp_path / "password", "correct horse")
    with pytest.raises(KeyRefused, match="key file"):
        keys.load(write(tmp_path / "key", content), password)


def everything_printed(exc: BaseException) -> str:
    """The whole chain of an exception, with each frame's locals, as careless loggers print it.

    Without the tests' own frames: a test has to know the secret that it looks for.
    """
    parts = []
    link: BaseException | None = exc
    while link is not None:
        shown = traceback.TracebackException.from_exception(link, capture_locals=True)
        frames = [frame for frame in shown.stack if not frame.filename.startswith(HERE)]
        parts.append("".join(traceback.StackSummary.from_list(frames).format()))
        parts.append("".join(shown.format_exception_only()))
        link = link.__context__
    return "".join(parts)


def test_load__wrong_password__no_secret_in_any_frame_of_the_traceback(tmp_path: Path) -> None:
    path, password = keystore(tmp_path)
    password.write_text("planted-password\n")
    with pytest.raises(KeyRefused, match="does not open it") as caught:
        keys.load(path, password)
    assert "planted-password" not in everything_printed(caught.value)


def test_load__damaged_raw_key__no_secret_in_any_frame_of_the_traceback(tmp_path: Path) -> None:
    path = write(tmp_path / "key", SECRET.hex() + "0")
    with pytest.raises(KeyRefused) as caught:
        keys.load(path)
    assert SECRET.hex() not in everything_printed(caught.value)


def test_new__cannot_be_written__no_secret_in_any_frame_of_the_traceback(tmp_path: Path) -> None:
    blocked = write(tmp_path / "file", "not a folder")
    with pytest.raises(KeyRefused, match="its folder is a file") as caught:
        keys.new(blocked / "key", write(tmp_path / "pw", "planted-password"), scrypt_rounds=2)
    assert "planted-password" not in everything_printed(caught.value)


def test_key__printed_logged_or_pickled__shows_its_address_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = key()
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%s %r %s", one, one, [one])
    printed = caplog.text + f"{one}{one!r}"
    assert ADDRESS in printed
    assert SECRET.hex() not in printed
    assert not hasattr(one, "__dict__")
    with pytest.raises(TypeError, match="not to be copied"):
        pickle.dumps(one)


def test_sign__fails__no_secret_in_any_frame_of_the_traceback() -> None:
    one = key()
    with pytest.raises(ValueError, match="32 bytes") as caught:
        one.sign_digest(b"short")
    printed = everything_printed(caught.value)
    assert SECRET.hex() not in printed
    assert str(int.from_bytes(SECRET, "big")) not in printed
