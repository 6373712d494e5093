"""A database of an older version, with rows, becomes this version's; its copy goes back.

docs/upgrading.md: migrations run at the start, forward only; copy the file or take a dump before.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from relayer import migrations
from relayer.errors import SchemaOutdated
from relayer.storage import create_engine

HEAD = "0010"
OLDER = [f"{number:04}" for number in range(1, int(HEAD))]
# Read again from the chain: the newer version understands its events in another way.
ANEW = {"index_rows": "0008", "index_blocks": "0008"}
Rows = dict[str, list[dict[str, Any]]]


def config() -> Config:
    made = Config()
    made.set_main_option("script_location", str(Path(migrations.__file__).parent))
    made.set_main_option("path_separator", "os")
    return made


def at(url: str, revision: str) -> Rows:
    """Make the tables as an older version had them, with a row in each; give the rows."""
    engine = create_engine(url)
    with engine.begin() as connection:
        made = config()
        made.attributes["connection"] = connection
        command.upgrade(made, revision)
    tables = sa.MetaData()
    tables.reflect(engine)
    with engine.begin() as connection:
        for table in tables.sorted_tables:
            if table.name != "alembic_version":
                connection.execute(table.insert(), {c.name: sample(c) for c in table.columns})
    found = rows(engine, set(tables.tables) - {"alembic_version"})
    engine.dispose()
    return found


def sample(column: sa.Column[Any]) -> Any:
    """Make up a value that fits a column."""
    if column.foreign_keys:
        return sample(next(iter(column.foreign_keys)).column)
    kind = column.type
    if isinstance(kind, sa.LargeBinary):
        return b"\x07" * 32
    if isinstance(kind, (sa.Text, sa.String)):
        return "7"
    if isinstance(kind, sa.DateTime):
        return datetime(2026, 11, 21, tzinfo=UTC if kind.timezone else None)
    if isinstance(kind, sa.JSON):
        return {"seven": 7}
    return True if isinstance(kind, sa.Boolean) else 7


def rows(engine: sa.Engine, names: set[str]) -> Rows:
    tables = sa.MetaData()
    tables.reflect(engine, only=sorted(names))
    with engine.connect() as connection:
        return {
            name: [dict(row) for row in connection.execute(table.select()).mappings()]
            for name, table in tables.tables.items()
        }


def test_head__is_what_these_tests_go_to() -> None:
    assert ScriptDirectory.from_config(config()).get_current_head() == HEAD


@pytest.mark.parametrize("revision", OLDER)
def test_upgrade__older_revision_with_rows__each_row_stays_as_it_was(
    database_url: str, revision: str
) -> None:
    before = at(database_url, revision)
    migrations.upgrade(database_url)
    engine = create_engine(database_url)
    migrations.require_current(engine)
    after = rows(engine, set(before))
    engine.dispose()
    for name, had in before.items():
        if name in ANEW and revision < ANEW[name]:
            assert after[name] == []
            continue
        kept = [{key: row[key] for key in had[0]} for row in after[name]]
        assert kept == had, name


def test_upgrade__copy_put_back__is_the_old_version_s_again(tmp_path: Path) -> None:
    file, copy = tmp_path / "aml.db", tmp_path / "aml.db.before"
    before = at(f"sqlite:///{file}", "0009")
    shutil.copy(file, copy)
    migrations.upgrade(f"sqlite:///{file}")
    shutil.copy(copy, file)
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    engine = create_engine(f"sqlite:///{file}")
    with pytest.raises(SchemaOutdated, match="0009"):
        migrations.require_current(engine)
    assert rows(engine, set(before)) == before
    engine.dispose()
