"""Facts about the database: its settings, its migrations, and what a failure looks like."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from relayer import migrations
from relayer.errors import Misconfigured, SchemaOutdated, StorageFailed
from relayer.storage import (
    COMMITS_A_CHECKPOINT,
    LONGEST_LOG_PAGES,
    Database,
    create_engine,
    metadata,
    signed_rounds,
)
from tests.relayer import builders as b
from tests.relayer import postgres

ROW = {
    "signer": "0x" + "11" * 20,
    "chain_id": 6343,
    "contract": "0x" + "22" * 20,
    "round": 7,
    "digest": b"\x01" * 32,
    "signed_at_ms": 1_700_000_000_000,
}


@pytest.fixture
def url(database_url: str) -> str:
    return database_url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/state/aml.sqlite"


def test_upgrade__empty_database__tables_equal_the_models(url: str) -> None:
    migrations.upgrade(url)
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_upgrade__twice__changes_nothing(url: str) -> None:
    migrations.upgrade(url)
    migrations.upgrade(url)
    engine = create_engine(url)
    migrations.require_current(engine)
    engine.dispose()


def test_require_current__no_tables__says_what_is_needed(url: str) -> None:
    engine = create_engine(url)
    with pytest.raises(SchemaOutdated, match="this version needs"):
        migrations.require_current(engine)
    engine.dispose()


def test_upgrade__file_is_no_database__is_a_storage_failure(tmp_path: Path) -> None:
    path = tmp_path / "aml.sqlite"
    path.write_bytes(b"not a database at all, but long enough to be read as a header" * 20)
    with pytest.raises(StorageFailed, match="not a database"):
        migrations.upgrade(f"sqlite:///{path}")


def test_engine__sqlite__keeps_what_it_commits(sqlite_url: str) -> None:
    engine = create_engine(sqlite_url)
    with engine.connect() as connection:
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
        wanted |= {"wal_autocheckpoint": LONGEST_LOG_PAGES}
        found = {name: connection.scalar(sa.text(f"PRAGMA {name}")) for name in wanted}
    engine.dispose()
    assert found == wanted


def test_engine__other_database__is_refused() -> None:
    with pytest.raises(Misconfigured, match="use sqlite or postgresql"):
        create_engine("mysql://localhost/aml")


async def test_write__work_raises__nothing_is_kept(url: str) -> None:
    migrations.upgrade(url)
    database = Database.open(url)

    def insert_and_stop(connection: sa.Connection) -> None:
        connection.execute(sa.insert(signed_rounds).values(ROW))
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(insert_and_stop)
    count = sa.select(sa.func.count()).select_from(signed_rounds)
    assert await database.read(lambda c: c.scalar(count)) == 0
    await database.close()


async def test_write__committed__another_connection_sees_it_at_once(url: str) -> None:
    migrations.upgrade(url)
    database, other = Database.open(url), create_engine(url)
    await database.write(lambda c: c.execute(sa.insert(signed_rounds).values(ROW)))
    with other.connect() as connection:
        assert connection.scalars(sa.select(signed_rounds.c.round)).all() == [7]
    other.dispose()
    await database.close()


async def test_write__three_at_once__share_one_wait_for_the_disk(url: str) -> None:
    migrations.upgrade(url)
    database = Database.open(url)
    commits: list[object] = []
    sa.event.listen(database.engine, "commit", commits.append)
    rows = [ROW | {"signer": f"0x{n:040x}"} for n in range(3)]
    works = [lambda c, row=row: c.execute(sa.insert(signed_rounds).values(row)) for row in rows]
    await asyncio.gather(*(database.write(work) for work in works))
    assert len(commits) == 1
    await database.close()


async def test_write__one_of_three_is_there_already__the_others_are_kept(url: str) -> None:
    migrations.upgrade(url)
    database = Database.open(url)
    rounds = (7, 7, 8)
    works = [
        lambda c, row=ROW | {"round": n}: c.execute(sa.insert(signed_rounds).values(row))
        for n in rounds
    ]
    written = (database.write(work) for work in works)
    answers = await asyncio.gather(*written, return_exceptions=True)
    assert [isinstance(answer, IntegrityError) for answer in answers] == [False, True, False]
    found = await database.read(lambda c: c.scalars(sa.select(signed_rounds.c.round)).all())
    assert sorted(found) == [7, 8]
    await database.close()


async def test_write__whoever_asked_is_cancelled__what_was_written_stays(url: str) -> None:
    migrations.upgrade(url)
    database = Database.open(url)
    insert = sa.insert(signed_rounds).values(ROW)
    asking = asyncio.create_task(database.write(lambda c: c.execute(insert)))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await database.close()
    reopened = Database.open(url)
    assert await reopened.read(lambda c: c.scalar(sa.select(signed_rounds.c.round))) == 7
    await reopened.close()


async def test_write__log_grown__is_moved_into_the_file_only_once_it_is_quiet(
    sqlite_url: str,
) -> None:
    migrations.upgrade(sqlite_url)
    database = Database.open(sqlite_url)
    marks = [bytes([n]) * 32 for n in range(1, COMMITS_A_CHECKPOINT + 1)]
    for n, mark in enumerate(marks[:-1]):
        await put(database, ROW | {"round": n, "digest": mark})
    assert in_file(sqlite_url, marks) == 0  # each is on disk, but in the log
    await put(database, ROW | {"round": COMMITS_A_CHECKPOINT, "digest": marks[-1]})
    await until(lambda: in_file(sqlite_url, marks) == len(marks))
    await database.close()


async def test_write__log_cannot_be_moved__later_writes_are_kept(sqlite_url: str) -> None:
    migrations.upgrade(sqlite_url)
    database = Database.open(sqlite_url)
    taken: list[object] = []

    def refuse_the_checkpoint(*_: object) -> None:
        taken.append(None)
        if len(taken) == COMMITS_A_CHECKPOINT + 1:
            raise sqlite3.OperationalError("disk I/O error")

    sa.event.listen(database.engine, "checkout", refuse_the_checkpoint)
    for n in range(COMMITS_A_CHECKPOINT):
        await put(database, ROW | {"round": n})
    await until(lambda: len(taken) == COMMITS_A_CHECKPOINT + 1)
    await put(database, ROW | {"round": COMMITS_A_CHECKPOINT})
    found = await database.read(lambda c: c.scalars(sa.select(signed_rounds.c.round)).all())
    assert sorted(found) == list(range(COMMITS_A_CHECKPOINT + 1))
    await database.close()


async def put(database: Database, row: dict[str, object]) -> None:
    await database.write(lambda c: c.execute(sa.insert(signed_rounds).values(row)))


def in_file(url: str, marks: list[bytes]) -> int:
    """Count the rows that the database file has without its log."""
    content = Path(url.removeprefix("sqlite:///")).read_bytes()
    return sum(mark in content for mark in marks)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in a file or a thread
            await asyncio.sleep(0.01)


async def test_write__disk_full__is_a_storage_failure_and_nothing_is_kept(sqlite_url: str) -> None:
    migrations.upgrade(sqlite_url)
    database = Database.open(sqlite_url)

    def fill(connection: sa.Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        connection.execute(sa.insert(signed_rounds), [ROW | {"round": n} for n in range(2000)])

    with pytest.raises(StorageFailed, match="full"):
        await database.write(fill)
    await database.close()


async def test_read__while_another_writes__is_not_blocked(url: str) -> None:
    migrations.upgrade(url)
    writer, reader = Database.open(url), Database.open(url)
    with writer.engine.connect() as connection, connection.begin():
        connection.execute(sa.insert(signed_rounds).values(ROW))
        assert await reader.read(lambda c: c.scalar(sa.text("select 1"))) == 1
    await writer.close()
    await reader.close()


@pytest.fixture
def cluster() -> Iterator[postgres.Postgres]:
    """A cluster of this test's own, to be ended and paused."""
    with postgres.running() as started:
        yield started


async def test_write__server_restarted__the_next_one_is_kept(cluster: postgres.Postgres) -> None:
    async with b.database(cluster.fresh()) as database:
        await database.write(lambda c: c.execute(sa.insert(signed_rounds).values(ROW)))
        cluster.stop()
        with pytest.raises(StorageFailed, match="InterfaceError"):
            await database.read(lambda c: c.scalar(sa.select(signed_rounds.c.round)))
        cluster.start()
        another = ROW | {"round": 8}
        await database.write(lambda c: c.execute(sa.insert(signed_rounds).values(another)))
        found = await database.read(lambda c: c.scalars(sa.select(signed_rounds.c.round)).all())
        assert sorted(found) == [7, 8]


async def test_write__server_dies_under_it__is_a_storage_failure_and_nothing_is_kept(
    cluster: postgres.Postgres,
) -> None:
    async with b.database(cluster.fresh()) as database:

        def write_into_the_void(connection: sa.Connection) -> None:
            connection.execute(sa.insert(signed_rounds).values(ROW))
            cluster.stop()
            connection.execute(sa.insert(signed_rounds).values(ROW | {"round": 8}))

        with pytest.raises(StorageFailed):
            await database.write(write_into_the_void)
        cluster.start()
        count = sa.select(sa.func.count()).select_from(signed_rounds)
        assert await database.read(lambda c: c.scalar(count)) == 0


async def test_read__server_silent__ends_and_its_late_answer_is_nobody_elses(
    cluster: postgres.Postgres,
) -> None:
    async with b.database(cluster.fresh()) as database:
        session = await database.read(lambda c: c.scalar(sa.text("SELECT pg_backend_pid()")))
        os.kill(session, signal.SIGSTOP)
        with pytest.raises(StorageFailed, match="timed out"):
            await database.read(lambda c: c.scalar(sa.text("SELECT 1")))
        os.kill(session, signal.SIGCONT)
        assert await database.read(lambda c: c.scalar(sa.text("SELECT 2"))) == 2


async def test_write__lock_held_elsewhere__ends_with_a_storage_failure(
    cluster: postgres.Postgres,
) -> None:
    url = cluster.fresh()
    async with b.database(url) as database:
        other = create_engine(url)
        with other.connect() as holding, holding.begin():
            holding.execute(sa.text("LOCK TABLE signed_rounds IN ACCESS EXCLUSIVE MODE"))
            holding.execute(sa.text("SET idle_in_transaction_session_timeout = 0"))
            with pytest.raises(StorageFailed, match="timeout"):
                await database.write(lambda c: c.execute(sa.insert(signed_rounds).values(ROW)))
        other.dispose()
