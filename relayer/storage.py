"""The daemon's memory that outlives it: tables, one database behind an executor.

SQLite by default (write-ahead log, each commit on disk before it counts), PostgreSQL through the
same models. Work runs as a plain function on a connection, in a transaction, off the event loop.
"""

from __future__ import annotations

import asyncio
import sqlite3
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, ExceptionContext, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from relayer.errors import Misconfigured, StorageFailed
from relayer.tables import (
    attempts,
    chance_tests,
    cycles,
    decisions,
    deliveries,
    factor_states,
    forecasts,
    held_decisions,
    index_blocks,
    index_rows,
    leases,
    liquidation_outcomes,
    liquidations_due,
    metadata,
    notices,
    position_watches,
    proposals,
    signed_rounds,
)

__all__ = [
    "Database",
    "attempts",
    "chance_tests",
    "create_engine",
    "cycles",
    "decisions",
    "deliveries",
    "factor_states",
    "forecasts",
    "held_decisions",
    "index_blocks",
    "index_rows",
    "leases",
    "liquidation_outcomes",
    "liquidations_due",
    "metadata",
    "notices",
    "position_watches",
    "proposals",
    "signed_rounds",
]

Result = TypeVar("Result")
Fence = Callable[[Connection], None]

# SQLite moves its log into the database inside whichever commit made the log too long, and that
# commit may be the one that a signature waits for. So it is done here, when nobody waits; a burst
# that never pauses still meets the limit in pages (32 MB).
COMMITS_A_CHECKPOINT: Final = 64
QUIET_S: Final = 0.02
LONGEST_LOG_PAGES: Final = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long PostgreSQL may take: a statement or an idle transaction there, an answer here."""

    statement_s: float = 5.0
    socket_s: float = 8.0


def create_engine(url: str | URL, waits: Waits | None = None) -> Engine:
    """Build an engine with the settings both databases need to keep what they were told."""
    target = make_url(url)
    if target.get_backend_name() == "sqlite":
        _make_folder(target)
        engine = sa.create_engine(target, connect_args={"timeout": 5})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if target.get_backend_name() == "postgresql":
        return _create_postgresql(target, waits or Waits())
    raise Misconfigured(f"database {target.get_backend_name()!r}: use sqlite or postgresql")


def _create_postgresql(target: URL, waits: Waits) -> Engine:
    """Build an engine whose every wait ends: here after a timeout, on the server a little before.

    A server that is cut off does not say so; without limits a transaction would wait for ever here,
    and its locks there.
    """
    longest = f"{round(waits.statement_s * 1_000)}ms"
    limits = {
        "statement_timeout": longest,
        "lock_timeout": longest,
        "idle_in_transaction_session_timeout": longest,
        "synchronous_commit": "on",  # a commit is on disk: bytes sent are bytes that are kept
    }
    engine = sa.create_engine(
        target.set(drivername="postgresql+pg8000"),
        pool_pre_ping=True,  # a server that was restarted costs one more connection, no failure
        pool_size=1,
        max_overflow=4,
        pool_timeout=waits.socket_s,
        connect_args={
            "timeout": waits.socket_s,
            "application_name": "aml",
            "startup_params": limits,
        },
    )
    event.listen(engine, "handle_error", _drop_broken)
    return engine


def _drop_broken(context: ExceptionContext) -> None:
    # A connection that timed out in the middle may still get that answer, and would take it for
    # the next one's. SQLAlchemy drops a connection by itself only for the driver's own errors.
    if isinstance(context.original_exception, OSError | struct.error):
        context.is_disconnect = True


def _make_folder(target: URL) -> None:
    if target.database and target.database != ":memory:":
        Path(target.database).parent.mkdir(parents=True, exist_ok=True)


def _configure_sqlite(connection: DBAPIConnection, _record: object) -> None:
    # The driver must not open transactions on its own: it would begin them too late for reads.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # a commit is on disk: bytes that were sent are bytes that are kept
        "foreign_keys=ON",
        "busy_timeout=5000",
        "journal_size_limit=67108864",
        f"wal_autocheckpoint={LONGEST_LOG_PAGES}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once where another one wrote between.
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _no_fence(_: Connection) -> None:
    """Let everything be written: this process shares the database with nobody."""


@dataclass(frozen=True, slots=True, eq=False)
class _Write:
    """A write that waits for the next transaction."""

    work: Callable[[Connection], Any]
    done: asyncio.Future[Any]


class Database:
    """One database, worked on by one thread.

    Writes that are asked for at the same moment share a transaction: three signers that remember
    one round cost one wait for the disk. So a write may be run again, and does nothing else.
    SQLite's log is moved into the database after the answers, once no write came for a moment.
    """

    def __init__(self, engine: Engine, fence: Fence | None = None) -> None:
        self.engine = engine
        self._fence = fence or _no_fence
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        self._waiting: list[_Write] = []
        self._flushes: set[asyncio.Future[None]] = set()
        self._commits = 0  # since SQLite's log was last moved into the database
        self._tidying: asyncio.TimerHandle | None = None

    @classmethod
    def open(
        cls, url: str | URL, waits: Waits | None = None, fence: Fence | None = None
    ) -> Database:
        """Open the database at a URL; its tables are made by `relayer.migrations.upgrade`.

        A `fence` is run first in each transaction that writes, and raises where none may be.
        """
        return cls(create_engine(url, waits), fence)

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run work in a transaction that is on disk when this returns, or did not happen.

        Raises
        ------
        StorageFailed
            The database could not write: nothing of the work is kept, or all of it, where only the
            answer to the commit was lost. So ask what is there before doing it again.
        IntegrityError
            The row was there already; nothing of the work is kept.
        """
        loop = asyncio.get_running_loop()
        write = _Write(work, loop.create_future())
        self._waiting.append(write)
        if len(self._waiting) == 1:
            # Behind whatever else is ready to run now, and may want to write too.
            loop.call_soon(self._start_flush)
        result: Result = await write.done
        return result

    async def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run work in a transaction that only reads, and so blocks nobody."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(self._read, work))

    async def close(self) -> None:
        """Let the work under way end, then close the connections."""
        await asyncio.gather(*self._flushes)
        if self._tidying is not None:
            self._tidying.cancel()
        await asyncio.to_thread(self._thread.shutdown, wait=True)
        self.engine.dispose()

    def _start_flush(self) -> None:
        batch, self._waiting = self._waiting, []
        self._follow(asyncio.create_task(self._flush(batch)))

    def _follow(self, work: asyncio.Future[None]) -> None:
        self._flushes.add(work)
        work.add_done_callback(self._flushes.discard)

    async def _flush(self, batch: list[_Write]) -> None:
        loop = asyncio.get_running_loop()
        works = [write.work for write in batch]
        running = loop.run_in_executor(self._thread, partial(self._commit, works))
        await asyncio.wait([running])
        fault = running.exception()
        outcomes = [fault] * len(batch) if fault else running.result()
        for write, outcome in zip(batch, outcomes, strict=True):
            _tell(write.done, outcome)
        self._tidy_when_quiet()

    def _tidy_when_quiet(self) -> None:
        """Have SQLite's log moved after some commits, when the last of them is a moment past."""
        self._commits += 1
        if self._tidying is not None:
            self._tidying.cancel()
        if self._commits >= COMMITS_A_CHECKPOINT and self.engine.dialect.name == "sqlite":
            loop = asyncio.get_running_loop()
            self._tidying = loop.call_later(QUIET_S, self._start_tidying)

    def _start_tidying(self) -> None:
        self._commits = 0
        loop = asyncio.get_running_loop()
        self._follow(loop.run_in_executor(self._thread, self._checkpoint))

    def _checkpoint(self) -> None:
        # What was committed is on disk already, in the log: one that cannot be moved now is moved
        # later, and a disk that takes no more is the next write's to report.
        with suppress(SQLAlchemyError, sqlite3.Error), closing(self.engine.raw_connection()) as raw:
            raw.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _commit(self, works: list[Callable[[Connection], Any]]) -> list[Any]:
        """Run writes in one transaction, or each in its own where a row is there already."""
        try:
            with _classed(), self.engine.connect() as plain:
                connection = plain.execution_options(reading=False)
                with connection.begin():
                    self._fence(connection)
                    return [work(connection) for work in works]
        except IntegrityError as exc:
            if len(works) == 1:
                return [exc]
        return [outcome for work in works for outcome in self._commit([work])]

    def _read(self, work: Callable[[Connection], Result]) -> Result:
        with _classed(), self.engine.connect() as plain:
            connection = plain.execution_options(reading=True)
            with connection.begin():
                return work(connection)


@contextmanager
def _classed() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except (SQLAlchemyError, OSError, struct.error) as exc:
        # The PostgreSQL driver lets through what its socket and its parser raise when cut off.
        line = (str(exc).splitlines() or ["no message"])[0]
        raise StorageFailed(f"{type(exc).__name__}: {line}") from exc


def _tell(waiting: asyncio.Future[Any], outcome: object) -> None:
    if waiting.done():  # whoever asked was cancelled; what was written stays written
        return
    if isinstance(outcome, BaseException):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)
