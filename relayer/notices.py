"""Notices to people: out through Apprise, and a table that remembers what was never said."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

import apprise
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from relayer.errors import KeyRefused, Misconfigured
from relayer.signing.keys import require_private
from relayer.signing.keys_source import file_of
from relayer.storage import Database, notices

TIMEOUT_S: Final = 20.0
_URGENT: Final = 3  # from this level on channels may ring
_ROWS_AT_ONCE: Final = 500


class Channels:
    """Every channel of one file; an address is a secret, and is never shown."""

    def __init__(self, addresses: Sequence[str]) -> None:
        # It writes an address that it cannot read, or a token in it, into its log.
        logging.getLogger("apprise").setLevel(logging.CRITICAL)
        self._apprise = apprise.Apprise()
        for number, address in enumerate(addresses, 1):
            if not self._apprise.add(address):
                raise Misconfigured(f"warnings.channels_file: line {number} is no Apprise address")

    @classmethod
    def read(cls, source: str) -> Channels:
        """Read a file, or credential:NAME, with one address a line; `#` begins a remark.

        Raises
        ------
        Misconfigured
            It is missing, open to others, or a line of it is no address.
        """
        try:
            path = file_of(source)
            require_private(path, "file", "write it, an Apprise address a line, and chmod 600 it")
            lines = path.read_text(encoding="utf-8").splitlines()
        except KeyRefused as fault:
            raise Misconfigured(f"warnings.channels_file: {fault}") from None
        except (OSError, UnicodeDecodeError):
            raise Misconfigured(f"warnings.channels_file: {source} cannot be read") from None
        return cls([line.strip() for line in lines if line.strip() and line.strip()[0] != "#"])

    async def send(self, title: str, body: str, urgency: int) -> bool:
        """Hand a message to every channel; False where one did not take it in time."""
        if not len(self._apprise):
            return True
        kind = apprise.NotifyType.FAILURE if urgency >= _URGENT else apprise.NotifyType.WARNING
        try:
            async with asyncio.timeout(TIMEOUT_S):
                taken = await self._apprise.async_notify(body=body, title=title, notify_type=kind)
        except TimeoutError:
            return False
        return bool(taken)


class NoticeStore:
    """What is to be said and what was, of one chain's engine; rows are never removed."""

    def __init__(self, database: Database, chain_id: int, engine: str) -> None:
        self._database = database
        self._owner = {"chain_id": chain_id, "contract": engine}

    async def waiting(self) -> Sequence[tuple[int, str, int, str]]:
        """Return what was never said, oldest first: number, key, level, text."""
        columns = (notices.c.id, notices.c.key, notices.c.level, notices.c.text)
        query = sa.select(*columns).where(*self._mine(), notices.c.said_at_ms.is_(None))
        rows = await self._database.read(lambda c: c.execute(query.order_by(notices.c.id)).all())
        return [(row.id, row.key, row.level, row.text) for row in rows]

    async def said_since(self, at_ms: int) -> Mapping[str, int]:
        """Return the highest level that was said of each key since a time."""
        query = (
            sa.select(notices.c.key, sa.func.max(notices.c.level).label("level"))
            .where(*self._mine(), notices.c.said_at_ms >= at_ms)
            .group_by(notices.c.key)
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return {row.key: row.level for row in rows}

    async def note(self, rows: Sequence[tuple[str, int, str]], now_ms: int) -> Sequence[int]:
        """Keep key, level and text of what is to be said; return their numbers."""

        def work(connection: Connection) -> list[int]:
            numbers = []
            for key, level, text in rows:
                values = {"key": key, "level": level, "text": text, "noted_at_ms": now_ms}
                statement = sa.insert(notices).values(**self._owner, **values)
                made = connection.execute(statement).inserted_primary_key
                assert made is not None
                numbers.append(int(made[0]))
            return numbers

        return await self._database.write(work)

    async def said(self, numbers: Sequence[int], now_ms: int) -> None:
        """Write that these were handed over."""

        def work(connection: Connection) -> None:
            for first in range(0, len(numbers), _ROWS_AT_ONCE):
                page = list(numbers[first : first + _ROWS_AT_ONCE])
                chosen = sa.update(notices).where(notices.c.id.in_(page))
                connection.execute(chosen.values(said_at_ms=now_ms))

        await self._database.write(work)

    def _mine(self) -> tuple[sa.ColumnElement[bool], ...]:
        return tuple(notices.c[name] == value for name, value in self._owner.items())
