"""Private keys: read from a file that only we can read, kept where nothing prints them.

A key file is a keystore v3 (JSON, with a password file beside it) or one line of 64 hexadecimal
digits, as a systemd credential holds it. A secret lives in the key object only: the functions that
touch one return a reason instead of raising, so that no traceback has a frame with a secret in it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import coincurve
from eth_account import Account

from contracts.fields import checksummed, keccak256
from relayer.errors import KeyRefused

SCRYPT_ROUNDS: Final = 262_144  # eth-account's own: 1 s and 256 MB to open, and to try a password
_RAW_KEY: Final = re.compile(r"(?:0x)?(?P<digits>[0-9a-fA-F]{64})\s*\Z")
_LARGEST_KEY_FILE: Final = 16_384  # bytes; a keystore has about 500
_HOW_TO_MAKE_ONE: Final = "create it with `aml keys new`, or take one in with `aml keys import`"
_RECOVERY_BIT: Final = 255  # EIP-2098: the recovery bit is the top bit of s


class Key:
    """A private key that signs digests and says its address, and nothing else.

    `remote`: it is asked over a network, and never on the event loop (`signed_by`).
    """

    __slots__ = ("_private", "address")
    remote = False

    def __init__(self, private: coincurve.PrivateKey) -> None:
        self._private = private
        self.address = address_of(private.public_key)

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign 32 bytes: 64 bytes as in EIP-2098 (r, then s with the recovery bit), s low."""
        r, s, recovery = self.sign_parts(digest)
        return r.to_bytes(32, "big") + (s | recovery << _RECOVERY_BIT).to_bytes(32, "big")

    def sign_parts(self, digest: bytes) -> tuple[int, int, int]:
        """Sign 32 bytes: r, s (low) and the recovery bit, as a transaction carries them."""
        if len(digest) != 32:
            raise ValueError(f"a digest has 32 bytes, not {len(digest)}")
        signature = self._private.sign_recoverable(digest, hasher=None)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
        return r, s, signature[64]

    def __repr__(self) -> str:
        return f"Key({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not to be copied out of the process")


async def signed_by(key: Key, digest: bytes) -> bytes:
    """Sign 32 bytes without holding up the event loop."""
    if key.remote:
        return await asyncio.to_thread(key.sign_digest, digest)
    return key.sign_digest(digest)


def address_of(public: coincurve.PublicKey) -> str:
    """Return the address of a public key, in EIP-55 case."""
    return checksummed("0x" + keccak256(public.format(compressed=False)[1:])[-20:].hex())


def recover(digest: bytes, signature: bytes) -> str | None:
    """Return who signed a digest with 64 EIP-2098 bytes; None when nobody can have.

    A high s is refused, as the contract refuses it, although a point could be recovered.
    """
    if len(signature) != 64:
        return None
    packed = int.from_bytes(signature[32:], "big")
    recovery, s = packed >> _RECOVERY_BIT, packed & ((1 << _RECOVERY_BIT) - 1)
    if s > HALF_ORDER:
        return None
    plain = signature[:32] + s.to_bytes(32, "big") + bytes([recovery])
    try:
        return address_of(
            coincurve.PublicKey.from_signature_and_message(plain, digest, hasher=None)
        )
    except ValueError:
        return None


ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
HALF_ORDER: Final = ORDER // 2


def load(path: Path, password_path: Path | None = None) -> Key:
    """Open a key file; scrypt takes a second and 256 MB, so call it off the event loop.

    Raises
    ------
    KeyRefused
        The file or its password file is missing, open to others, too large or not readable as a
        key; the message names the file and what mends it.
    """
    require_private(path)
    if password_path is not None:
        require_private(password_path, "password file", "`aml keys new` writes one beside the key")
    outcome = _open(path, password_path)
    if isinstance(outcome, str):
        raise KeyRefused(f"key file {path}: {outcome}")
    return outcome


def require_private(path: Path, what: str = "key file", absent: str = _HOW_TO_MAKE_ONE) -> None:
    """Refuse a secret's file that is missing, not a file, or open to anyone but its owner.

    `what` it is, and how one comes by it where it is `absent`.
    """
    try:
        status = path.stat()
    except OSError as exc:
        reason = exc.strerror or "cannot be read"
        raise KeyRefused(f"{what} {path}: {reason}; {absent}") from None
    if not stat.S_ISREG(status.st_mode):
        raise KeyRefused(f"{what} {path}: is not a regular file")
    if status.st_mode & forbidden_bits(owner=status.st_uid, user=os.geteuid()):
        mode = stat.S_IMODE(status.st_mode)
        raise KeyRefused(f"{what} {path}: mode {mode:04o} lets others read it; chmod 600 {path}")
    if status.st_size > _LARGEST_KEY_FILE:
        raise KeyRefused(f"{what} {path}: has {status.st_size} bytes; that is none")


def forbidden_bits(*, owner: int, user: int) -> int:
    """Say which permissions a secret's file must not have.

    What root lends to a service (systemd's LoadCredential) is readable through an access list,
    and the list's mask shows as the group's right to read; otherwise the group has no right.
    """
    lent = owner == 0 and user != 0
    group = stat.S_IWGRP | stat.S_IXGRP if lent else stat.S_IRWXG
    return group | stat.S_IRWXO


def _open(path: Path, password_path: Path | None) -> Key | str:
    try:
        text = path.read_text("utf-8")
        if raw := _RAW_KEY.match(text):
            return Key(coincurve.PrivateKey(bytes.fromhex(raw["digits"])))
        return _decrypt(json.loads(text), password_path)
    except OSError as exc:
        return f"{exc.strerror or 'cannot be read'}"
    except (ValueError, TypeError):  # not text, not JSON, or a number that is no private key
        return "neither a keystore v3 (JSON) nor 64 hexadecimal digits of a valid key"


def _decrypt(keystore: object, password_path: Path | None) -> Key | str:
    if not isinstance(keystore, dict) or keystore.get("version") != 3:
        return "is JSON but no keystore v3"
    if password_path is None:
        return "is encrypted: name its password file too"
    password = password_path.read_text("utf-8").rstrip("\r\n")
    try:
        return Key(coincurve.PrivateKey(Account.decrypt(keystore, password)))
    except ValueError:
        return f"the password in {password_path} does not open it"
    except (KeyError, TypeError, NotImplementedError):
        return "is a keystore v3 with parts missing or of an unknown kind"


def new(path: Path, password_path: Path, *, scrypt_rounds: int = SCRYPT_ROUNDS) -> str:
    """Make a key in a new keystore v3 and return its address; never overwrites a file.

    A password file is made beside it, with 32 random bytes in it, unless there is one.
    """
    if not password_path.exists():
        _create(password_path, lambda: secrets.token_hex(32).encode() + b"\n")
    require_private(password_path)
    _create(path, lambda: _new_keystore(password_path, scrypt_rounds))
    return address(path)


def take_in(
    path: Path,
    password_path: Path,
    ask: Callable[[], str],
    *,
    scrypt_rounds: int = SCRYPT_ROUNDS,
) -> str:
    """Put an existing key into a new keystore v3 and return its address.

    `ask` gives its 64 hexadecimal digits; it is called where no traceback can show its answer.
    """
    if not password_path.exists():
        _create(password_path, lambda: secrets.token_hex(32).encode() + b"\n")
    require_private(password_path)
    _create(path, lambda: _taken_in(ask, password_path, scrypt_rounds))
    return address(path)


def _taken_in(ask: Callable[[], str], password_path: Path, rounds: int) -> bytes | None:
    try:
        given = _RAW_KEY.match(ask())
        if given is None:
            return None
        private = coincurve.PrivateKey(bytes.fromhex(given["digits"])).secret
    except ValueError:  # not text, or a number that is no private key
        return None
    return _keystore(private, password_path, rounds)


def _new_keystore(password_path: Path, rounds: int) -> bytes:
    return _keystore(coincurve.PrivateKey().secret, password_path, rounds)


def _keystore(private: bytes, password_path: Path, rounds: int) -> bytes:
    password = password_path.read_text("utf-8").rstrip("\r\n")
    keystore = Account.encrypt(private, password, kdf="scrypt", iterations=rounds)
    return json.dumps(keystore, indent=1).encode() + b"\n"


def _create(path: Path, content: Callable[[], bytes | None]) -> None:
    if fault := _write_new(path, content):
        raise KeyRefused(f"key file {path}: {fault}")


def _write_new(path: Path, content: Callable[[], bytes | None]) -> str | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            written = content()
            if written is not None:
                file.write(written)
                file.flush()
                os.fsync(file.fileno())
        if written is None:
            path.unlink()
            return "what was given is not 64 hexadecimal digits of a valid key"
    except FileExistsError:
        return "exists, and is not overwritten" if path.is_file() else "its folder is a file"
    except OSError as exc:
        return exc.strerror or "cannot be written"
    return None


def address(path: Path) -> str:
    """Return a key file's address without its password (a keystore says it in the open)."""
    require_private(path)
    outcome = _open_address(path)
    if outcome is None:
        raise KeyRefused(f"key file {path}: neither a keystore v3 with an address nor a raw key")
    return outcome


def _open_address(path: Path) -> str | None:
    opened = _open(path, None)
    if isinstance(opened, Key):
        return opened.address
    try:
        return checksummed("0x" + json.loads(path.read_text("utf-8"))["address"].removeprefix("0x"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
