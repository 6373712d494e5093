"""A written crash, played to a daemon on a simulated world: what it did with prices and caps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio

from agent import app
from agent.config import FOLDER
from agent.demo.stage import Stage
from agent.deploying import deploy_network
from agent.network import local_network
from agent.prices import TickResult
from contracts.units import MarketId
from relayer.local import client
from relayer.local.simulation import HISTORY_DAYS, STARTS_MS
from relayer.market.jumps import JumpWatch
from relayer.market.values import HOUR_MS
from tests.agent.test_scenarios import ALL, settings

pytestmark = [pytest.mark.loopback]
PLAY_MS = STARTS_MS + HISTORY_DAYS * 24 * HOUR_MS
BTC, ETH = MarketId(0), MarketId(1)
TICKS_S = (*range(100, 125, 5), 126, 128, *range(130, 255, 5))  # the fall begins at 120


@dataclass
class Watched:
    """A daemon on the world of the shipped file, and the caps that it found at each cycle."""

    stage: Stage
    caps: list[list[int]] = field(default_factory=list)
    spreads: list[list[int]] = field(default_factory=list)

    async def at(self, seconds: float) -> TickResult:
        """Let the clock come to a second of play, and look at prices."""
        await self.stage.pass_to(PLAY_MS + round(seconds * 1_000))
        return await self.stage.tick()

    async def decide(self) -> str:
        """Run a cycle; keep what the oracle held before it."""
        result = await self.stage.cycle()
        states = result.observation.limits.states
        self.caps.append([state.values.cap_e2 for state in states])
        self.spreads.append([state.values.spread_ppm for state in states])
        return result.entry.result


@pytest_asyncio.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    told = settings()
    shipped = FOLDER / "scenarios/crash.toml"
    world = client.start(tmp_path, chain_time=True, scenario=shipped)
    try:
        network = local_network(world, tmp_path)
        await deploy_network(network, told, lambda _: None)
        # by REST alone: a stream's message comes when it comes, an answer is of the clock's moment
        asked = tuple(venue.model_copy(update={"streams": ()}) for venue in network.venues)
        made = replace(network, venues=asked)
        async with app.daemon(made, told, app.load_model(told)) as daemon:
            watch = [JumpWatch(rules=told.jumps)]
            yield Watched(Stage(world=world, daemon=daemon, settings=told, say=print, seen=watch))
    finally:
        client.stop(tmp_path)


def doubted(result: TickResult) -> list[bool]:
    """Tell of each market whether the contract lets nobody take new risk at its price."""
    return [posted.unconfirmed for posted in result.feed.posted if posted is not None]


async def test_crash__one_venue_out__jump_is_held_then_taken_and_caps_tighten(
    watched: Watched,
) -> None:
    calm = await watched.at(60)
    assert {mark.venues for mark in calm.marks.values()} == {ALL}
    assert await watched.decide() == "effective"
    seen = {seconds: await watched.at(seconds) for seconds in TICKS_S}
    assert {mark.venues for mark in seen[120].marks.values()} == {ALL[1:]}
    assert doubted(seen[120]) == [False, False]

    # a fall of more than 3 % is held, and taken where a second look shows it again
    held = seen[126].entry.holds[0]
    assert (held.market, held.reason) == (BTC, "jump_unconfirmed")
    assert [BTC in seen[seconds].marks for seconds in (120, 126, 128)] == [True, False, True]
    # what the contract's band does not take at once leaves its old price without new risk
    assert [True, True] in [doubted(each) for each in seen.values()]
    assert seen[250].marks[BTC].price_e18 < 0.85 * seen[120].marks[BTC].price_e18

    for seconds in (300, 360, 420, 480):
        assert doubted(await watched.at(seconds)) == [False, False]
        assert await watched.decide() == "effective"
    assert watched.caps[0] == watched.caps[1]  # what was decided before the crash changed nothing
    for market in (BTC, ETH):
        caps = [each[market] for each in watched.caps[1:]]
        spreads = [each[market] for each in watched.spreads[1:]]
        assert caps == sorted(set(caps), reverse=True), caps
        assert spreads == sorted(set(spreads)), spreads
