"""Facts about channels: a real local webhook is told, and told again after it failed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.positions.levels import WarnSettings
from agent.positions.warn_turn import Warner
from relayer.notices import Channels, NoticeStore
from tests.agent.positions.test_warn import Storm
from tests.relayer import builders as b

pytestmark = pytest.mark.loopback
NOW_MS = 1_700_000_000_000
SETTINGS = WarnSettings()


@dataclass
class Webhook:
    """An HTTP server of our own: it keeps what it is told, or answers that it cannot."""

    status: int = 200
    told: list[dict[str, str]] = field(default_factory=list)
    refused: int = 0
    port: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-len")]
        body = await reader.readexactly(int(lengths[0].split(b":")[1]))
        if self.status == 200:
            self.told.append(json.loads(body))
        else:
            self.refused += 1
        writer.write(f"HTTP/1.1 {self.status} said\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    @property
    def channels(self) -> Channels:
        return Channels([f"json://127.0.0.1:{self.port}/warnings"])


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    made = Webhook()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[NoticeStore]:
    async with b.database(f"sqlite:///{tmp_path}/w.sqlite") as database:
        yield NoticeStore(database, 6343, "0x" + "ee" * 20)


async def test_channels__a_webhook_that_answers__has_the_whole_message(webhook: Webhook) -> None:
    assert await webhook.channels.send("danger: a", "close 1", 3)
    (told,) = webhook.told
    assert (told["title"], told["message"]) == ("danger: a", "close 1")


async def test_channels__a_webhook_that_is_down__is_told_later_once_and_nothing_is_lost(
    webhook: Webhook, store: NoticeStore
) -> None:
    storm = Storm(40, store)
    storm.warner = Warner(storm.index, SETTINGS, webhook.channels, store)
    webhook.status = 500
    await storm.at(96.0, NOW_MS)
    for second in range(1, 4):
        await storm.at(96.0, NOW_MS + 1_000 * second)
    assert webhook.told == []
    assert webhook.refused == 1  # it backs off: a channel in trouble is not hammered
    assert len(await store.waiting()) == 40
    webhook.status = 200
    await storm.at(96.0, NOW_MS + 10_000)
    (told,) = webhook.told
    assert told["title"].startswith("40 warnings")
    assert await store.waiting() == []
    await storm.at(96.0, NOW_MS + 20_000)
    assert len(webhook.told) == 1
