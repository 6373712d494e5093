"""Brings a database to this version's tables, and says so when one is not there."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import SQLAlchemyError

from relayer.errors import SchemaOutdated, StorageFailed
from relayer.storage import create_engine


def upgrade(url: str | URL) -> None:
    """Create or migrate the tables at a URL; does nothing when they are this version's."""
    engine = create_engine(url)
    try:
        upgrade_engine(engine)
    except SQLAlchemyError as exc:
        raise StorageFailed(f"migration: {str(exc).splitlines()[0]}") from exc
    finally:
        engine.dispose()


def upgrade_engine(engine: Engine) -> None:
    """Create or migrate the tables behind an engine, in one transaction."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # two daemons may be started at once
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(7238150)"))
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def require_current(engine: Engine) -> None:
    """Refuse a database whose tables are older or newer than this version's."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != head:
        raise SchemaOutdated(f"database is at revision {found}, this version needs {head}: upgrade")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
