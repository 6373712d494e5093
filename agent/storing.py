"""Which database a daemon keeps its memory in, with its password from a file only."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL, make_url

from agent.config import StorageSettings
from agent.errors import ConfigError
from relayer.signing.keys import require_private
from relayer.signing.keys_source import file_of


def database_url(settings: StorageSettings, state: Path) -> URL:
    """Give the configured database's URL, or that of the SQLite file in the state folder.

    Raises
    ------
    ConfigError
        The URL itself holds a password: configuration files are read and copied by many.
    KeyRefused
        The password file is missing, or open to others.
    """
    if settings.url is None:
        return URL.create("sqlite", database=str(state / "aml.db"))
    url = make_url(settings.url)
    if url.password is not None:
        raise ConfigError("storage.url: has a password in it; put it into storage.password_file")
    if settings.password_file is None:
        return url
    file = file_of(settings.password_file)
    require_private(file, "storage.password_file", "write the password into it, and chmod 600 it")
    return url.set(password=file.read_text("utf-8").rstrip("\r\n"))
