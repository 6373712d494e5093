"""Which daemon may use which files, and which database a lease needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from agent.config import LeaseSettings, Settings, StorageSettings, load_settings
from agent.errors import ConfigError
from agent.ground import Part
from agent.leading import exclusive, lease_of, own_files, require_apart
from relayer import migrations
from relayer.lease import LeaseTimes, open_lease
from tests.agent.test_app import DEPLOYED, network
from tests.relayer import postgres


def settings(**tables: object) -> Settings:
    return load_settings("local").model_copy(update=tables)


def test_exclusive__folder_in_use__is_refused_by_the_process_that_has_it(tmp_path: Path) -> None:
    first = exclusive(tmp_path / "state", "daemon")
    refused = pytest.raises(ConfigError, match=r"in use by another daemon \(process \d+\)")
    with first, refused, exclusive(tmp_path / "state", "daemon"):
        pass
    with exclusive(tmp_path / "state", "daemon"):
        pass


async def test_lease__sqlite__there_is_none_to_share() -> None:
    async with lease_of(network(), settings(), DEPLOYED) as lease:
        assert lease is None


async def test_lease__table_without_postgresql__is_refused() -> None:
    told = settings(lease=LeaseSettings(), storage=StorageSettings())
    with pytest.raises(ConfigError, match=r"storage\.url"):
        async with lease_of(network(), told, DEPLOYED):
            pass


def test_instance__has_files_of_its_own_and_shares_deployment_and_evidence(tmp_path: Path) -> None:
    first = dataclasses.replace(network(), state=tmp_path, history=tmp_path / "history")
    second = own_files(first, settings(lease=LeaseSettings(instance="b")))
    assert second.state == tmp_path / "instances" / "b"
    assert second.history == tmp_path / "history-b"
    assert second.deployment_file == first.deployment_file
    assert second.evidence == first.evidence


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    with postgres.running() as running:
        yield running


LEASES = {Part.WHOLE: "sender:1:feed", Part.AGENT: "decider:1:feed", Part.RELAY: "sender:1:feed"}


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (Part.AGENT, Part.WHOLE, "`aml agent` decides over this database"),
        (Part.WHOLE, Part.AGENT, "`aml run` decides over this database"),
        (Part.RELAY, Part.AGENT, ""),
        (Part.AGENT, Part.RELAY, ""),
    ],
)
async def test_apart__a_whole_daemon_and_a_half__is_refused_with_what_to_stop(
    server: postgres.Postgres, first: Part, second: Part, says: str
) -> None:
    url, times = make_url(server.fresh()), LeaseTimes(heartbeat_s=9.0, lasts_s=60.0)
    migrations.upgrade(url)
    quick = LeaseTimes(heartbeat_s=0.6, lasts_s=6.0)
    async with AsyncExitStack() as stack:
        theirs = await stack.enter_async_context(
            open_lease(url, LEASES[first], times, by=first.value)
        )
        ours = await stack.enter_async_context(
            open_lease(url, LEASES[second], quick, by=second.value)
        )
        assert await theirs.take()
        if says:
            with pytest.raises(ConfigError, match=says):
                await require_apart(ours, second)
            await theirs.release()
        await require_apart(ours, second)
