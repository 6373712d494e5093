"""One local world for all tests of the folder: a real process, driven by a manual clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relayer.local import client
from relayer.local.state import WorldState
from tests.relayer.local.recordings import write_small_recording


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldState]:
    folder = tmp_path_factory.mktemp("world")
    replay = write_small_recording(folder / "candles.parquet")
    yield client.start(folder / "state", replay=replay, chain_time=True)
    client.stop(folder / "state")
