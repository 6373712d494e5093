"""Each scenario file that is shipped, played to the daemon: what it did, step by step.

One world for all of them; the daemon follows every stream. The clock is moved by hand, so that
minutes pass in no time; what a scenario did is undone before the next.
"""

from __future__ import annotations

import inspect
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from agent import app
from agent.config import FOLDER, Settings, load_settings
from agent.demo.stage import Stage
from agent.deploying import deploy_network
from agent.network import Network, local_network
from agent.prices import TickResult
from agent.world import LiveWorld
from contracts.units import MarketId
from relayer.local import client
from relayer.local.state import WorldState
from relayer.market.jumps import JumpWatch
from relayer.market.values import MINUTE_MS
from relayer.market.venue_client import VenueClient

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="module")]

PATIENCE_S = 15.0
ALL = ("local-0", "local-1", "local-2")
Counts = dict[tuple[str, str], float]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorldState]:
    folder = tmp_path_factory.mktemp("scenarios")
    made = client.start(folder, chain_time=True)
    try:
        await deploy_network(local_network(made, folder), settings(), lambda _: None)
        yield made
    finally:
        client.stop(folder)


@asynccontextmanager
async def staged(world: WorldState, instance: str | None = None) -> AsyncIterator[Stage]:
    """Run a daemon on the world; one beside another has files of its own."""
    told = settings()
    network = quick(local_network(world, Path(world.source.split(",")[0]).parent))
    network = network if instance is None else network.instance(instance)
    async with app.daemon(network, told, app.load_model(told)) as running:
        watch = [JumpWatch(rules=told.jumps)]
        yield Stage(world=world, daemon=running, settings=told, say=print, seen=watch)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(world: WorldState) -> AsyncIterator[Stage]:
    """One daemon for what leaves nothing behind."""
    async with staged(world) as made:
        yield made


def settings() -> Settings:
    """The local network's own, on free ports."""
    told = load_settings("local")
    ports = {
        name: getattr(told, name).model_copy(update={"port": 0}) for name in ("metrics", "http")
    }
    return told.model_copy(update=ports)


class Play:
    """A daemon, and the scenario that it lives through."""

    def __init__(self, stage: Stage, world: WorldState) -> None:
        self.stage, self.world = stage, world
        self._began_ms = 0

    async def begin(self, name: str) -> None:
        self._began_ms = await self.stage.now_ms()
        client.play_scenario(self.world, FOLDER / "scenarios" / f"{name}.toml")

    async def at(self, seconds: float) -> TickResult:
        """Let the clock come to a time of the scenario, and look at prices."""
        await self.stage.pass_to(self._began_ms + round(seconds * 1_000))
        return await self.stage.tick()

    @property
    def venues(self) -> Sequence[VenueClient]:
        """The daemon's own connections."""
        world = self.stage.daemon.hands.world
        assert isinstance(world, LiveWorld)
        return world._pool.venues

    def counted(self, metric: str, label: str) -> Counts:
        """What was counted, by venue and reason."""
        url = f"http://127.0.0.1:{self.stage.daemon.metrics_port}/metrics"
        pattern = rf'^aml_{metric}_total{{{label}="(\w+)",venue="([\w-]+)"}} (\S+)$'
        found = re.findall(pattern, client.fetch_text(url), re.MULTILINE)
        return {(venue, reason): float(value) for reason, venue, value in found if float(value)}

    def streams(self, event: str, venue: str) -> float:
        return self.counted("venue_stream_events", "event").get((venue, event), 0.0)

    async def until(self, true: Callable[[], bool], seconds: float) -> None:
        """Tick, a second of the clock each, until something was seen."""
        ends = time.monotonic() + PATIENCE_S
        while not true() and time.monotonic() < ends:
            seconds += 1.0
            await self.at(seconds)
        assert true()


@pytest_asyncio.fixture(loop_scope="module")
async def play(stage: Stage) -> AsyncIterator[Play]:
    made = Play(stage, stage.world)
    await made.at(0)
    yield made
    for venue in range(3):
        client.switch_venue(stage.world, venue, "ok")


@pytest_asyncio.fixture(loop_scope="module")
async def followed(world: WorldState) -> AsyncIterator[Play]:
    """A daemon of its own, whose streams are all live: what ends them makes the next start late."""
    async with staged(world, "followed") as stage:
        made = Play(stage, world)
        await made.until(lambda: all(venue.streams.is_live for venue in made.venues), 0.0)
        yield made
        for venue in range(3):
            client.switch_venue(world, venue, "ok")


def quick(network: Network) -> Network:
    """Nobody waits ten seconds of the wall for a silent stream, or three for a slow answer."""
    fast = {"silent_after_s": 1.0, "timeout_s": 1.0}
    return replace(network, venues=tuple(v.model_copy(update=fast) for v in network.venues))


def voters(result: TickResult) -> set[tuple[str, ...]]:
    """Whose quotes make the marks; every market has one."""
    assert len(result.marks) == 6, result.entry.holds
    return {mark.venues for mark in result.marks.values()}


async def test_outage__one_gone_the_others_mark__two_gone_holds__back_again(play: Play) -> None:
    await play.begin("outage")
    assert voters(await play.at(61)) == {ALL[1:]}
    held = await play.at(361)
    assert {hold.reason for hold in held.entry.holds} == {"too_few_venues"}
    assert not held.postings
    assert voters(await play.at(665)) == {ALL}


async def test_frozen_feed__left_out_once_the_others_moved__then_the_stale_one(play: Play) -> None:
    await play.begin("frozen-feed")
    await play.at(59)
    seen: set[str] = set()
    for minute in range(2, 9):
        result = await play.at(60 * minute)
        seen |= {v for mark in result.marks.values() for v in ALL if v not in mark.venues}
    assert seen == {"local-2"}
    assert play.counted("venue_quote_refusals", "reason")["local-2", "frozen"] > 0
    assert voters(await play.at(735)) == {("local-0", "local-2")}
    assert voters(await play.at(845)) == {ALL}


async def test_lying_venue__excluded_by_ten_and_by_three_percent(play: Play) -> None:
    await play.begin("lying-venue")
    honest = (await play.at(59)).marks[MarketId(1)]
    for seconds in (65, 185):
        result = await play.at(seconds)
        assert {mark.excluded for mark in result.marks.values()} == {("local-1",)}
        assert abs(result.marks[MarketId(1)].price_e18 / honest.price_e18 - 1) < 0.01
    assert voters(await play.at(485)) == {ALL}


async def test_crossed_book__refused__then_its_streams_gaps_are_found(followed: Play) -> None:
    await followed.begin("crossed-book")
    assert voters(await followed.at(65)) == {ALL[1:]}
    assert followed.counted("venue_quote_refusals", "reason")["local-0", "crossed"] > 0
    before = followed.streams("gap", "local-0")
    assert voters(await followed.at(185)) == {ALL}
    await followed.until(lambda: followed.streams("gap", "local-0") > before, 185)


async def test_silent_stream__found_and_started_again_while_rest_goes_on(followed: Play) -> None:
    await followed.begin("silent-stream")
    assert voters(await followed.at(65)) == {ALL}
    before = followed.streams("silent", "local-0")
    await followed.until(lambda: followed.streams("silent", "local-0") > before, 65)
    assert followed.streams("fallback", "local-0") > 0
    assert voters(await followed.at(365)) == {ALL}
    await followed.until(lambda: followed.venues[0].streams.is_live, 365)
    trades = await followed.at(425)
    assert voters(trades) == {ALL}
    assert ("local-0", "trade_repeated") not in followed.counted("market_data_repairs", "reason")


async def test_closing_streams__closed_once_and_live_again(followed: Play) -> None:
    await followed.begin("closing-streams")
    before = followed.streams("closed", "local-0")
    await followed.at(61)
    await followed.until(lambda: followed.streams("closed", "local-0") > before, 61)
    live = followed.streams("live", "local-0")
    assert voters(await followed.at(70)) == {ALL}
    await followed.until(lambda: followed.streams("live", "local-0") > live, 70)


async def test_reconnect_storm__few_starts_and_marks_by_rest(followed: Play) -> None:
    await followed.begin("reconnect-storm")
    before = {venue: followed.streams("live", venue) for venue in ALL}
    assert voters(await followed.at(61)) == {ALL}
    ended = {venue: followed.streams("closed", venue) for venue in ALL}
    await followed.until(lambda: all(followed.streams("closed", v) > ended[v] for v in ALL), 61)
    assert all(followed.streams("live", venue) - before[venue] < 12 for venue in ALL)


async def test_rate_limit__left_alone_then_banned__the_others_mark(followed: Play) -> None:
    await followed.begin("rate-limit")
    await followed.at(61)
    await followed.until(lambda: followed.streams("fallback", "local-0") > 0, 61)
    await followed.stage.pass_to(await followed.stage.now_ms() + MINUTE_MS * 2)
    banned = await followed.stage.tick()
    assert voters(banned) == {ALL[1:]}
    cycle = await followed.stage.cycle()
    assert cycle.entry.result == "effective"
    assert {fault.venue for fault in cycle.observation.quotes.faults} == {"local-0"}


@pytest.mark.parametrize(
    ("seconds", "reason"), [(65, "unreachable"), (185, "bad_answer"), (305, "unreachable")]
)
async def test_server_errors__a_fault_of_its_venue_alone(
    play: Play, seconds: float, reason: str
) -> None:
    await play.begin("server-errors")
    assert voters(await play.at(seconds)) == {("local-0", "local-2")}
    cycle = await play.stage.cycle()
    faults = {(fault.venue, fault.reason) for fault in cycle.observation.quotes.faults}
    assert faults == {("local-1", reason)}
    assert cycle.entry.result == "effective"


async def test_clock_skew__two_of_three_are_wrong__holds_until_they_are_right(play: Play) -> None:
    await play.begin("clock-skew")
    held = await play.at(65)
    assert {hold.reason for hold in held.entry.holds} == {"venues_stale"}
    assert not held.postings
    assert voters(await play.at(365)) == {ALL}


async def test_candle_gaps__bars_of_the_venues_that_have_them(play: Play) -> None:
    await play.begin("candle-gaps")
    cycle = await play.stage.cycle()
    assert cycle.entry.result == "effective"
    assert not [notice for notice in cycle.observation.notices if "history" in notice]


async def test_delisted__not_quoted_there__the_others_mark(play: Play) -> None:
    await play.begin("delisted")
    result = await play.at(65)
    venues = {play.world.markets[m].base: mark.venues for m, mark in result.marks.items()}
    assert venues.pop("BTC") == ("local-1", "local-2")
    assert venues.pop("ETH") == ("local-0", "local-2")
    assert set(venues.values()) == {ALL}
    refused = play.counted("venue_quote_refusals", "reason")
    assert refused["local-0", "absent"] > 0
    assert refused["local-1", "absent"] > 0


async def test_files__each_is_played_above_or_by_the_simulator() -> None:
    shipped = {path.stem for path in (FOLDER / "scenarios").glob("*.toml")}
    played = set(re.findall(r'begin\("([\w-]+)"\)', inspect.getsource(sys.modules[__name__])))
    assert shipped - played == {"simulated", "crash"}
