"""A world's life: started once, found, stopped, outlived by nothing; and its clock from outside."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relayer.errors import Unreachable
from relayer.local import client
from relayer.local.client import LocalClock
from relayer.local.errors import WorldAbsentError, WorldFailedError, WorldRunningError
from relayer.local.state import STATE_FILE, WorldState, is_locked
from tests.relayer.local.recordings import columns, write

pytestmark = pytest.mark.loopback


@pytest.fixture
async def clock(world: WorldState) -> AsyncIterator[LocalClock]:
    made = LocalClock(world.control_url)
    yield made
    await made.close()


@pytest.fixture
def replay(tmp_path: Path) -> Path:
    return write(tmp_path / "candles.parquet", columns("BTC/USDT:USDT", 4_400))


def test_start__state_file__says_all_that_is_needed(world: WorldState) -> None:
    assert [market.symbol for market in world.markets] == ["BTC/USDT:USDT", "ETH/USDT:USDT"]
    assert [market.market for market in world.markets] == [0, 1]
    assert len(world.venues) == 3
    assert world.shift_ms == 0
    assert {account.role for account in world.accounts} >= {"deployer", "gas-payer", "guardian"}


def test_markets__listing__for_the_daemon(world: WorldState) -> None:
    listed = client.fetch_json(world.control_url + "/markets")
    assert listed[0] == {
        "market": 0,
        "symbol": "BTC/USDT:USDT",
        "base": "BTC",
        "quote": "USDT",
        "class_id": 1,
    }


def test_start_stop_find__one_life(tmp_path: Path, replay: Path) -> None:
    state = tmp_path / "state"
    assert client.find(state) is None
    started = client.start(state, replay=replay, chain_time=True)
    assert client.find(state) == started
    assert client.status(state).now_ms == started.origin_ms
    with pytest.raises(WorldRunningError, match="already runs"):
        client.start(state, replay=replay)
    assert client.stop(state)
    assert client.find(state) is None
    assert not client.stop(state)
    with pytest.raises(WorldAbsentError):
        client.status(state)


def test_find__world_was_killed__its_file_is_no_world(tmp_path: Path, replay: Path) -> None:
    state = tmp_path / "state"
    started = client.start(state, replay=replay, chain_time=True)
    os.kill(started.pid, signal.SIGKILL)
    os.waitpid(started.pid, 0)
    assert (state / STATE_FILE).exists()
    assert client.find(state) is None
    again = client.start(state, replay=replay, chain_time=True)
    assert again.instance != started.instance
    assert again.data_id == started.data_id
    assert client.stop(state)


def test_server__its_folder_is_removed__ends_by_itself(tmp_path: Path, replay: Path) -> None:
    state = tmp_path / "state"
    started = client.start(state, replay=replay, chain_time=True)
    shutil.rmtree(state)
    assert os.waitpid(started.pid, 0)[1] == 0


def test_start__unplayable_file__the_server_s_own_words(tmp_path: Path) -> None:
    made = columns("BTC/USDT:USDT", 20)
    made.pop("close")
    replay = write(tmp_path / "candles.parquet", made)
    with pytest.raises(WorldFailedError, match="missing column close"):
        client.start(tmp_path / "state", replay=replay)
    assert not is_locked(tmp_path / "state")


def test_switch__unknown_symbol_mode_or_venue__refused_with_what_is_known(
    world: WorldState,
) -> None:
    with pytest.raises(WorldFailedError, match="known are BTC/USDT:USDT"):
        client.switch_venue(world, 0, "down", symbol="DOGE/USDT:USDT")
    with pytest.raises(WorldFailedError, match="one of ok, down"):
        client.switch_venue(world, 0, "drunk")
    with pytest.raises(WorldFailedError, match="there are 0 to 2"):
        client.switch_venue(world, 7, "down")


async def test_clock__waits__until_the_world_gets_there(
    world: WorldState, clock: LocalClock
) -> None:
    at_ms = await clock.now_ms() + 5_000
    waiting = asyncio.create_task(clock.sleep_until(at_ms))
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    await asyncio.to_thread(client.advance, world, at_ms)
    await asyncio.wait_for(waiting, 5.0)
    assert await clock.now_ms() == at_ms


async def test_clock__hold__stands_and_is_let_go(world: WorldState, clock: LocalClock) -> None:
    async with clock.hold():
        held = await asyncio.to_thread(client.fetch_json, world.control_url + "/clock")
    after = await asyncio.to_thread(client.fetch_json, world.control_url + "/clock")
    assert (held["held"], after["held"]) == (True, False)


async def test_clock__running_world__sleeps_clock_time_not_wall_time(
    tmp_path: Path, replay: Path
) -> None:
    state = tmp_path / "state"
    started = await asyncio.to_thread(client.start, state, replay=replay, speed=600.0)
    clock = LocalClock(started.control_url)
    try:
        before = await clock.now_ms()
        await asyncio.wait_for(clock.sleep_until(before + 120_000), 5.0)  # 0.2 s of the wall
        async with clock.hold():
            first = await clock.now_ms()
            second = await clock.now_ms()
    finally:
        await clock.close()
        await asyncio.to_thread(client.stop, state)
    assert first >= before + 120_000
    assert first == second


async def test_clock__nobody_answers__unreachable() -> None:
    clock = LocalClock("http://127.0.0.1:9")
    with pytest.raises(Unreachable, match="local clock does not answer"):
        await clock.now_ms()
    await clock.close()


def test_start__folder_that_cannot_be_made__says_so_and_names_the_option(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("not a folder")
    with pytest.raises(WorldFailedError, match=r"cannot be made: Not a directory; give --state"):
        client.start(taken / "state")
