"""Facts about where keys are: a file, a credential of systemd's; and what says where they are."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from relayer.errors import KeyRefused
from relayer.signing import keys
from relayer.signing.keys_source import open_key
from tests.relayer.signing.test_keys import ADDRESS, SECRET, everything_printed, keystore, write


def test_open__credential__is_the_file_that_systemd_lent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    write(tmp_path / "price-1", SECRET.hex() + "\n", 0o400)
    assert open_key("credential:price-1").address == ADDRESS


def test_open__keystore_and_password_both_credentials__opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    path, password = keystore(tmp_path)
    found = open_key(f"credential:{path.name}", f"credential:{password.name}")
    assert found.address == ADDRESS


def test_open__no_credentials_here__says_how_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(KeyRefused, match="LoadCredential=price-1"):
        open_key("credential:price-1")


@pytest.mark.parametrize("name", ["../key", "..", ".", "a/b", ""])
def test_open__credential_outside_the_folder__is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(KeyRefused, match="letters"):
        open_key(f"credential:{name}")


def test_open__any_key__no_core_file_from_then_on(tmp_path: Path) -> None:
    open_key(str(write(tmp_path / "key", SECRET.hex())))
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)


def test_take_in__a_key__is_the_same_key_and_not_in_the_open(tmp_path: Path) -> None:
    path, password = tmp_path / "key.json", tmp_path / "key.password"
    made = keys.take_in(path, password, lambda: SECRET.hex() + "\n", scrypt_rounds=2)
    assert (made, keys.load(path, password).address) == (ADDRESS, ADDRESS)
    assert SECRET.hex() not in path.read_text() + password.read_text()
    assert {file.stat().st_mode & 0o777 for file in (path, password)} == {0o600}


@pytest.mark.parametrize("given", ["", "zz", SECRET.hex() + "00", "00" * 32])
def test_take_in__no_key__leaves_no_file_and_shows_nothing(tmp_path: Path, given: str) -> None:
    path = tmp_path / "key.json"
    with pytest.raises(KeyRefused, match="64 hexadecimal") as caught:
        keys.take_in(path, tmp_path / "key.password", lambda: given, scrypt_rounds=2)
    assert not path.exists()
    assert len(given) < 64 or given not in everything_printed(caught.value)
