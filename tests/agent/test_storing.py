"""Facts about where a daemon's memory is kept, and that its password is shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import Settings, StorageSettings
from agent.errors import ConfigError
from agent.settings import parse
from agent.storing import database_url
from relayer.errors import KeyRefused

SERVER = "postgresql+pg8000://aml@db.internal/aml"


def test_database_url__nothing_named__is_sqlite_in_the_state_folder(tmp_path: Path) -> None:
    url = database_url(StorageSettings(), tmp_path)
    assert url.render_as_string() == f"sqlite:///{tmp_path}/aml.db"


def test_database_url__password_file__is_in_the_url_and_not_in_its_text(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("planted-secret\n")
    password.chmod(0o600)
    url = database_url(StorageSettings(url=SERVER, password_file=str(password)), tmp_path)
    assert url.password == "planted-secret"
    assert "planted" not in f"{url} {url!r}"


def test_database_url__password_file_open_to_others__is_refused(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("planted-secret\n")
    password.chmod(0o644)
    with pytest.raises(KeyRefused, match="chmod 600"):
        database_url(StorageSettings(url=SERVER, password_file=str(password)), tmp_path)


def test_database_url__password_in_it__is_refused_without_showing_it(tmp_path: Path) -> None:
    settings = StorageSettings(url="postgresql://aml:planted@db.internal/aml")
    with pytest.raises(ConfigError, match=r"storage\.password_file") as refused:
        database_url(settings, tmp_path)
    assert "planted" not in str(refused.value)


def test_settings__another_kind_of_database__is_refused() -> None:
    with pytest.raises(ConfigError, match=r"storage\.url"):
        parse(Settings, '[storage]\nurl = "mysql://aml@db/aml"\n', source="a.toml")
