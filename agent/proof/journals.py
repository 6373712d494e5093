"""Opening a daemon's journal to read it: nothing is made, and no password is typed."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from agent.errors import ConfigError
from relayer import migrations
from relayer.signing.keys import require_private
from relayer.signing.keys_source import file_of
from relayer.storage import Database

HOW = "give sqlite:////srv/aml/aml.db, or postgresql://USER@HOST/NAME?password_file=FILE"


def open_journal(given: str) -> Database:
    """Open a journal: the URL of a database, or the path of a SQLite file.

    Raises
    ------
    ConfigError
        There is none, or it cannot be reached; a password is in the URL.
    KeyRefused
        The password file is missing, or open to others.
    SchemaOutdated
        Its tables are another version's.
    """
    url = url_of(given)
    database = Database.open(url)
    try:
        migrations.require_current(database.engine)
    except SQLAlchemyError as fault:
        said = str(fault).splitlines()[0]
        raise ConfigError(f"{url.render_as_string()}: cannot be read: {said}") from None
    return database


def url_of(given: str) -> URL:
    """Read what was typed; the password is in the file that it names."""
    if "://" not in given:
        return _existing(URL.create("sqlite", database=given))
    try:
        url = make_url(given)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError):
        raise ConfigError(f"journal: is no database's URL; {HOW}") from None
    if url.password is not None:
        raise ConfigError(f"journal: has a password in its URL, which others see; {HOW}")
    if backend == "sqlite":
        return _existing(url)
    if backend != "postgresql":
        raise ConfigError(f"journal: {backend} is not known; {HOW}")
    named = url.query.get("password_file")
    url = url.difference_update_query(["password_file"])
    if not isinstance(named, str):
        return url
    file = file_of(named)
    require_private(file, "password file", "write the password into it, and chmod 600 it")
    return url.set(password=file.read_text("utf-8").rstrip("\r\n"))


def _existing(url: URL) -> URL:
    if not url.database or not Path(url.database).is_file():
        raise ConfigError(f"journal {url.database or ''}: there is no such file; {HOW}")
    return url
