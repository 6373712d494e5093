"""The daemon's memory that outlives it: tables, one database behind an executor.

SQLite by default (write-ahead log, each commit on disk before it counts), PostgreSQL through the
same models. Work runs as a plain function on a connection, in a transaction, off the event loop.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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

Result = TypeVar("Result")

_STATEMENT_TIMEOUT_S: Final = 5
_SOCKET_TIMEOUT_S: Final = 8

# Named, so that a migration can alter each constraint on both databases.
metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers a row by itself only in a column of type INTEGER.
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

cycles = sa.Table(
    "cycles",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("started_at_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("finished_at_ms", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("result", sa.String(32), nullable=False),
    sa.Column("round", sa.BigInteger),
    sa.Column("block_number", sa.BigInteger),
    sa.Column("holds", sa.JSON, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("contract", sa.String(42), nullable=False),
    sa.Column("round", sa.BigInteger, nullable=False),
    sa.Column("decided_at_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("message_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("evidence_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("model_hash", sa.LargeBinary(32)),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("tx_hash", sa.LargeBinary(32), index=True),
    sa.Column("block_number", sa.BigInteger),
    sa.Column("skipped", sa.JSON, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.UniqueConstraint("chain_id", "contract", "message_hash"),
    sa.Index("ix_decisions_round", "chain_id", "contract", "round"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("contract", sa.String(42), nullable=False),
    sa.Column("sender", sa.String(42), nullable=False),
    sa.Column("round", sa.BigInteger, nullable=False),
    sa.Column("valid_until_ms", sa.BigInteger, nullable=False),
    sa.Column("message_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("nonce", sa.BigInteger),
    sa.Column("tx_hash", sa.LargeBinary(32)),
    sa.Column("block_number", sa.BigInteger),
    sa.Column("outcome", sa.JSON, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("chain_id", "contract", "message_hash"),
)

# Each set of signed bytes that may ever have left the machine, one row a set; never altered.
attempts = sa.Table(
    "delivery_attempts",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("delivery_id", sa.ForeignKey("deliveries.id"), nullable=False, index=True),
    sa.Column("purpose", sa.String(8), nullable=False),
    sa.Column("nonce", sa.BigInteger, nullable=False),
    sa.Column("gas_limit", sa.BigInteger, nullable=False),
    sa.Column("max_fee_wei", sa.BigInteger, nullable=False),
    sa.Column("priority_fee_wei", sa.BigInteger, nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("tx_hash", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("signed_at_ms", sa.BigInteger, nullable=False),
)

# What a signer has put its name to; the primary key is the promise "one message a round".
signed_rounds = sa.Table(
    "signed_rounds",
    metadata,
    sa.Column("signer", sa.String(42), primary_key=True),
    sa.Column("chain_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("contract", sa.String(42), primary_key=True),
    sa.Column("round", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("signed_at_ms", sa.BigInteger, nullable=False),
)


# What the margin contracts store, as their events told it: rows of numbers in hexadecimal.
index_rows = sa.Table(
    "index_rows",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("contract", sa.String(42), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("row", sa.Text, nullable=False),
)

# The recent blocks that it has come to, and what taking each of them back would put there.
index_blocks = sa.Table(
    "index_blocks",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("contract", sa.String(42), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("undo", sa.JSON, nullable=False),
)

# What the models in service and in shadow promised, and what followed; no outcome: still open.
forecasts = sa.Table(
    "forecasts",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("model_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("symbol", sa.String(64), nullable=False),
    sa.Column("horizon_s", sa.BigInteger, nullable=False),
    sa.Column("from_ms", sa.BigInteger, nullable=False),
    sa.Column("deviation", sa.Double, nullable=False),
    sa.Column("quantiles", sa.JSON, nullable=False),
    sa.Column("features", sa.LargeBinary),
    sa.Column("ended_ms", sa.BigInteger, index=True),
    sa.Column("variance", sa.Double),
    sa.Column("fall", sa.Double),
    sa.Column("rise", sa.Double),
    sa.UniqueConstraint("model_hash", "symbol", "horizon_s", "from_ms"),
)

# What the outcomes have taught: one row a model, replaced with each lesson.
factor_states = sa.Table(
    "factor_states",
    metadata,
    sa.Column("model_hash", sa.LargeBinary(32), primary_key=True),
    sa.Column("judged_ms", sa.BigInteger, nullable=False),
    sa.Column("state", sa.JSON, nullable=False),
)


# What people are told, each warning once; `said_at_ms` is empty until a channel has taken it.
notices = sa.Table(
    "notices",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("contract", sa.String(42), nullable=False),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("noted_at_ms", sa.BigInteger, nullable=False),
    sa.Column("said_at_ms", sa.BigInteger, index=True),
)


def create_engine(url: str | URL) -> Engine:
    """Build an engine with the settings both databases need to keep what they were told."""
    target = make_url(url)
    if target.get_backend_name() == "sqlite":
        _make_folder(target)
        engine = sa.create_engine(target, connect_args={"timeout": 5})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if target.get_backend_name() == "postgresql":
        return _create_postgresql(target)
    raise Misconfigured(f"database {target.get_backend_name()!r}: use sqlite or postgresql")


def _create_postgresql(target: URL) -> Engine:
    """Build an engine whose every wait ends: here after a timeout, on the server a little before.

    A server that is cut off does not say so; without limits a transaction would wait for ever here,
    and its locks there.
    """
    limits = {
        "statement_timeout": f"{_STATEMENT_TIMEOUT_S}s",
        "lock_timeout": f"{_STATEMENT_TIMEOUT_S}s",
        "idle_in_transaction_session_timeout": f"{_STATEMENT_TIMEOUT_S}s",
        "synchronous_commit": "on",  # a commit is on disk: bytes sent are bytes that are kept
    }
    engine = sa.create_engine(
        target.set(drivername="postgresql+pg8000"),
        pool_pre_ping=True,  # a server that was restarted costs one more connection, no failure
        pool_size=1,
        max_overflow=4,
        pool_timeout=_SOCKET_TIMEOUT_S,
        connect_args={
            "timeout": _SOCKET_TIMEOUT_S,
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
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once where another one wrote between.
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@dataclass(frozen=True, slots=True, eq=False)
class _Write:
    """A write that waits for the next transaction."""

    work: Callable[[Connection], Any]
    done: asyncio.Future[Any]


class Database:
    """One database, worked on by one thread.

    Writes that are asked for at the same moment share a transaction: three signers that remember
    one round cost one wait for the disk. So a write may be run again, and does nothing else.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        self._waiting: list[_Write] = []
        self._flushes: set[asyncio.Task[None]] = set()

    @classmethod
    def open(cls, url: str | URL) -> Database:
        """Open the database at a URL; its tables are made by `relayer.migrations.upgrade`."""
        return cls(create_engine(url))

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
        await asyncio.to_thread(self._thread.shutdown, wait=True)
        self.engine.dispose()

    def _start_flush(self) -> None:
        batch, self._waiting = self._waiting, []
        flush = asyncio.create_task(self._flush(batch))
        self._flushes.add(flush)
        flush.add_done_callback(self._flushes.discard)

    async def _flush(self, batch: list[_Write]) -> None:
        loop = asyncio.get_running_loop()
        works = [write.work for write in batch]
        running = loop.run_in_executor(self._thread, partial(self._commit, works))
        await asyncio.wait([running])
        fault = running.exception()
        outcomes = [fault] * len(batch) if fault else running.result()
        for write, outcome in zip(batch, outcomes, strict=True):
            _tell(write.done, outcome)

    def _commit(self, works: list[Callable[[Connection], Any]]) -> list[Any]:
        """Run writes in one transaction, or each in its own where a row is there already."""
        try:
            with _classed(), self.engine.connect() as plain:
                connection = plain.execution_options(reading=False)
                with connection.begin():
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
