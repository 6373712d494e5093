"""The local world at the wall's time, and its exchanges as tables of an operator's own file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli.main import app
from agent.config import load_settings
from agent.errors import ConfigError
from agent.local_tables import tables_of
from agent.network import live_network, local_network
from relayer.local import client
from relayer.local.state import WorldState

pytestmark = pytest.mark.loopback
CHAIN = 'extends = "megaeth-testnet"\n[network]\nrpc_url = "http://127.0.0.1:1"\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldState]:
    folder = tmp_path_factory.mktemp("world")
    try:
        yield client.start(folder, start_at="now")
    finally:
        client.stop(folder)


def test_now__the_clock_shows_the_walls_time(world: WorldState) -> None:
    shown = client.fetch_json(world.control_url + "/clock")["now_ms"]
    assert abs(shown - time.time() * 1_000) < 5_000
    assert world.synthetic
    assert world.ends_ms > shown + 20 * 3_600_000


def test_tables__in_a_file_of_ones_own__name_the_same_venues_and_markets(
    world: WorldState, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(CHAIN + tables_of(world))
    told = live_network(load_settings(str(file)), tmp_path, keys=False)
    own = local_network(world, tmp_path)
    assert told.venues == own.venues
    assert told.markets == own.markets


def test_tables__without_a_market__leave_it_out(world: WorldState, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(CHAIN + tables_of(world, without=["SOL"]))
    symbols = [market.symbol for market in load_settings(str(file)).markets]
    assert symbols == [market.base for market in world.markets if market.base != "SOL"]


def test_tables__without_a_market_that_is_none__says_which_there_are(world: WorldState) -> None:
    with pytest.raises(ConfigError, match="--without SOLX: the exchanges have ADA, BTC"):
        tables_of(world, without=["SOLX"])


def test_up__now_and_a_recording__is_refused(tmp_path: Path) -> None:
    options = ["--now", "--speed", "2", "--state", str(tmp_path)]
    refused = CliRunner().invoke(app, ["local", "up", *options])
    assert refused.exit_code == 2
    assert client.find(tmp_path) is None
