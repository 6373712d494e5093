"""Who may send: a lease in PostgreSQL, counted by its clock, held by one process at a time.

Taking it raises its term. Whoever holds it renews it with each heartbeat, and counts from before
it asked until when it is certain to hold it: by this machine's boot clock, which neither a change
of the time nor a stopped process stops. Right before each send that is looked at. A process that
was stopped just after looking is not caught by that; its writes are, by the term that each
transaction asks the database for, and its transaction is, by the nonce and round that it shares
with whoever came after.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import URL, Connection

from relayer.errors import Misconfigured, NotLeading, StorageFailed
from relayer.storage import Database, Waits, create_engine, leases

# Not now(): that is when the transaction began, and it may have waited for the row since.
_NOW: Final = sa.func.clock_timestamp(type_=sa.DateTime(timezone=True))


def boot_clock_s() -> float:
    """Seconds since the machine was started, those in which it was suspended among them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """How often a lease is renewed or asked for, and how long it stands without that."""

    heartbeat_s: float = 1.0
    lasts_s: float = 4.0

    def __post_init__(self) -> None:
        """Refuse a lease that one late heartbeat would lose."""
        if not 0 < self.heartbeat_s * 2 <= self.lasts_s:
            raise ValueError("lease.lasts_s: at least twice lease.heartbeat_s, which is above 0")


class Lease:
    """One process's part in one lease; `fence` keeps its late writes out of the database."""

    def __init__(
        self,
        database: Database,
        name: str,
        times: LeaseTimes,
        boot_clock_s: Callable[[], float],
        by: str = "",
    ) -> None:
        self._database = database
        self._boot_clock_s = boot_clock_s
        self._until_s = 0.0
        self._shown: LeaseMetrics | None = None
        self.name = name
        self.times = times
        process = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
        self.holder = f"{by}:{process}" if by else process
        self.term: int | None = None
        self.takes = 0

    @property
    def held(self) -> bool:
        """Tell whether this process is certain to hold the lease at this moment."""
        return self.term is not None and self._boot_clock_s() < self._until_s

    async def holder_of(self, name: str) -> str | None:
        """Give who holds a lease of this database now; None: nobody.

        Raises
        ------
        StorageFailed
            The database did not answer.
        """
        standing = sa.select(leases.c.holder).where(leases.c.name == name)
        standing = standing.where(leases.c.expires_at > _NOW)
        found: str | None = await self._database.read(lambda c: c.execute(standing).scalar())
        return found

    def require(self) -> None:
        """Refuse to go on where another process may hold the lease.

        Raises
        ------
        NotLeading
            Nothing may be signed or sent here now.
        """
        if not self.held:
            raise NotLeading(f"lease {self.name}: not held by this process now")

    def fence(self, connection: Connection) -> None:
        """Refuse a transaction of a term that is over; until it ends, no other term begins."""
        found = None
        if self.term is not None:
            # Locked until the transaction ends, so that no term begins in between.
            locked = sa.select(leases.c.term).where(self._mine()).with_for_update(read=True)
            found = connection.execute(locked).scalar()
        if found is None:
            raise NotLeading(f"lease {self.name}: term {self.term} is over, nothing is written")

    async def take(self) -> bool:
        """Take the lease if nobody holds it; False where somebody does.

        Raises
        ------
        StorageFailed
            The database did not answer.
        """
        asked_s = self._boot_clock_s()
        first = insert(leases).values(
            name=self.name, holder=self.holder, term=1, expires_at=self._end()
        )
        free = first.on_conflict_do_update(
            index_elements=[leases.c.name],
            set_={
                "holder": self.holder,
                "term": leases.c.term + 1,
                "expires_at": self._end(),
            },
            where=leases.c.expires_at <= _NOW,
        )
        term = await self._ask(free.returning(leases.c.term))
        if term is None:
            return False
        self.term, self._until_s = term, asked_s + self.times.lasts_s
        self.takes += 1
        if self._shown is not None:
            self._shown.takeovers.inc()
        return True

    async def renew(self) -> bool:
        """Hold on to the lease; False where another process has taken it.

        Also after it ran out: had anybody taken it since, the term would be another.
        """
        asked_s = self._boot_clock_s()
        longer = sa.update(leases).where(self._mine()).values(expires_at=self._end())
        if await self._ask(longer.returning(leases.c.term)) is None:
            self.term = None
            return False
        self._until_s = asked_s + self.times.lasts_s
        return True

    async def release(self) -> None:
        """Let the next process have it at once; where the database is away, it runs out."""
        if self.term is None:
            return
        over = sa.update(leases).where(self._mine()).values(expires_at=_NOW)
        self.term, self._until_s = None, 0.0
        try:
            await self._ask(over.returning(leases.c.term))
        except StorageFailed as fault:
            structlog.get_logger("aml").warning("lease_not_released", detail=str(fault))

    async def keep(self) -> None:
        """Renew with each heartbeat; returns when another process has the lease."""
        log, failing = structlog.get_logger("aml"), False
        while True:
            await asyncio.sleep(self.times.heartbeat_s)
            try:
                if not await self.renew():
                    return
                failing = False
            except StorageFailed as fault:
                if not failing:
                    log.warning("lease_not_renewed", lease=self.name, detail=str(fault))
                failing = True

    def show(self, metrics: LeaseMetrics) -> None:
        """Let metrics say what is held; the takes so far are counted there too."""
        self._shown = metrics
        metrics.takeovers.inc(self.takes)
        metrics.held.set_function(lambda: float(self.held))
        metrics.term.set_function(lambda: float(self.term or 0))

    def _mine(self) -> sa.ColumnElement[bool]:
        mine = {"name": self.name, "holder": self.holder, "term": self.term}
        return sa.and_(*(leases.c[name] == value for name, value in mine.items()))

    def _end(self) -> sa.ColumnElement[datetime]:
        return _NOW + timedelta(seconds=self.times.lasts_s)

    async def _ask(self, statement: sa.Executable) -> int | None:
        found: int | None = await self._database.write(lambda c: c.execute(statement).scalar())
        return found


class LeaseMetrics:
    """What Prometheus hears of the lease; without one (SQLite) this process alone sends."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.held = Gauge("aml_lease_held", "1 where this process may send", registry=registry)
        self.term = Gauge("aml_lease_term", "Term that this process leads in", registry=registry)
        self.takeovers = Counter(
            "aml_lease_takeovers", "Times that this process took the lease", registry=registry
        )

    def alone(self) -> None:
        """Say that there is nobody to share with."""
        self.held.set(1)


@asynccontextmanager
async def open_lease(
    url: URL,
    name: str,
    times: LeaseTimes,
    boot_clock_s: Callable[[], float] = boot_clock_s,
    by: str = "",
) -> AsyncIterator[Lease]:
    """Open a lease over connections of its own: a slow write must not cost the term.

    `by`: what kind of process asks; others read it in `Lease.holder_of`.

    Raises
    ------
    Misconfigured
        The database is not PostgreSQL.
    """
    if url.get_backend_name() != "postgresql":
        raise Misconfigured("a lease needs PostgreSQL: set storage.url, or drop [lease]")
    waits = Waits(statement_s=times.lasts_s, socket_s=times.lasts_s + times.heartbeat_s)
    database = Database(create_engine(url, waits))
    lease = Lease(database, name, times, boot_clock_s, by)
    try:
        yield lease
    finally:
        await lease.release()
        await database.close()
