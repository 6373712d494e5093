"""Where a key is: a file, a systemd credential, or AWS KMS; one name for each, in configuration.

keys/price-1.json               a keystore v3, or 64 hexadecimal digits, of mode 0600
credential:price-1              the file of that name in $CREDENTIALS_DIRECTORY
kms:eu-west-1/alias/price-1     a secp256k1 key that stays in AWS KMS
"""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path
from typing import Final

from relayer.errors import KeyRefused
from relayer.signing.keys import Key, load

_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9._-]{1,255}\Z")


def open_key(source: str, password: str | None = None) -> Key:
    """Open a key by its name; it may take seconds, so call it off the event loop.

    Raises
    ------
    KeyRefused
        There is no such key, or it cannot be used; the message names it and what mends it.
    """
    forbid_core_dumps()
    kind, _, name = source.partition(":")
    if kind == "kms":
        return _kms(name)
    return load(file_of(source), None if password is None else file_of(password))


def file_of(source: str) -> Path:
    """Find a secret's file: as it is named, or among what systemd lent to this service."""
    kind, _, name = source.partition(":")
    if kind != "credential":
        return Path(source)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise KeyRefused(
            f"{source}: $CREDENTIALS_DIRECTORY is not set; start it as a systemd service with "
            f"LoadCredential={name}:/path, or name a file"
        )
    if not _CREDENTIAL.match(name) or name in {".", ".."}:
        raise KeyRefused(f"{source}: a credential's name has letters, digits, '.', '_' and '-'")
    return Path(folder) / name


def forbid_core_dumps() -> None:
    """Keep this process's memory out of core files, for good: a key is in it from now on."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _kms(name: str) -> Key:
    try:
        from relayer.signing.keys_kms import KmsKey  # noqa: PLC0415 -- an extra that few install
    except ModuleNotFoundError:
        raise KeyRefused(
            f"kms:{name}: boto3 is not installed; install autonomous-margin-layer[aws]"
        ) from None
    return KmsKey.open(name)
