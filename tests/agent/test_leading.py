"""Which daemon may use which files, and which database a lease needs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agent.config import LeaseSettings, Settings, StorageSettings, load_settings
from agent.errors import ConfigError
from agent.leading import exclusive, lease_of, own_files
from tests.agent.test_app import DEPLOYED, network


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
