"""Two endpoints show harm: the daemon's guardian stops new risk on a real chain, once an hour."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent import app
from agent.config import load_settings
from agent.demo.stage import Stage
from agent.deploying import deploy_network
from agent.network import local_network
from agent.positions.loop import FREEZE_S, Guardian
from relayer.chain.reads import read_chain
from relayer.local import client

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("guardian")
    world = client.start(folder, chain_time=True)
    told = load_settings("local")
    ports = {n: getattr(told, n).model_copy(update={"port": 0}) for n in ("metrics", "http")}
    told = told.model_copy(update=ports)
    try:
        network = local_network(world, folder)
        await deploy_network(network, told, lambda _: None)
        async with app.daemon(network, told, app.load_model(told)) as running:
            yield Stage(world=world, daemon=running, settings=told, say=print, seen=[])
    finally:
        client.stop(folder)


async def paused_until_s(stage: Stage) -> int:
    state = await read_chain(stage.daemon.endpoint, stage.daemon.deployment)
    return int(state.oracle.controls.new_risk_until_s)


async def test_guardian__harm_that_two_endpoints_show__new_risk_is_paused_for_an_hour_once(
    stage: Stage,
) -> None:
    positions = stage.daemon.positions
    assert positions is not None
    assert await paused_until_s(stage) == 0
    now_ms = await stage.now_ms()
    said = await positions._guardian.stop_new_risk(now_ms)
    until_s = await paused_until_s(stage)
    assert abs(until_s - (now_ms // 1_000 + FREEZE_S)) < 60, said
    await positions._guardian.stop_new_risk(await stage.now_ms())  # the next cycle sees it still
    assert await paused_until_s(stage) == until_s


async def test_guardian__no_key_here__says_what_to_do_by_hand() -> None:
    assert "aml halt" in await Guardian(None, 1, "0x" + "11" * 20).stop_new_risk(0)
