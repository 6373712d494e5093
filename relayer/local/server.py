"""The local world's process: chain, exchanges, control and clock, each on a free loopback port.

    python -m relayer.local.server --state DIR [--replay PATH] [--from TIME] [--speed X]
                                   [--chain-time] [--now] [--seed N] [--scenario FILE]

Exit codes: 0 stopped by SIGTERM or SIGINT, 2 a file or an argument is refused, 3 the folder has
a running world.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from aiohttp import web

from relayer.local.accounts import local_accounts
from relayer.local.candles import write_demo_candles
from relayer.local.chain import EmbeddedChain
from relayer.local.clock import WorldClock
from relayer.local.control import Control
from relayer.local.errors import LocalWorldError, ReplayError, ScenarioError, WorldRunningError
from relayer.local.gate import Gate
from relayer.local.instruments import class_of, instrument
from relayer.local.okx import OkxVenue
from relayer.local.okx_stream import PATH as STREAM_PATH
from relayer.local.okx_stream import OkxStream
from relayer.local.replay import SCORING_MS, Recording, load_funding, load_recording
from relayer.local.rpc import RpcServer
from relayer.local.scenario import faults_of, read_scenario, read_simulation
from relayer.local.simulation import write_simulation
from relayer.local.state import (
    LocalMarket,
    LocalVenue,
    WorldState,
    lock_folder,
    read_state,
    remove_state,
    write_state,
)
from relayer.local.tape import BAR_MS
from relayer.local.venue import Venue

HOST: Final = "127.0.0.1"
VENUES: Final = 3
DEMO_FILE: Final = "demo-candles.parquet"
SIMULATED_FILE: Final = "simulated-candles.parquet"
ORPHAN_CHECK_S: Final = 2.0
MAX_BODY: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What one local world is asked to be."""

    state: Path
    replay: Path | None
    start_ms: int | None
    speed: float  # 0: only blocks and /clock/advance move the clock
    seed: int
    scenario: Path | None = None
    at_wall: bool = False  # candles of our own around this moment, and the wall's own time


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The parts of a world before it listens."""

    recording: Recording
    clock: WorldClock
    chain: EmbeddedChain
    venues: tuple[Venue, ...]
    seed: int
    speed: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop; give the exit code."""
    settings = _parse(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        settings.state.mkdir(parents=True, exist_ok=True)
        lock = lock_folder(settings.state)
        world = build_world(settings)
        asyncio.run(_serve(world, settings.state))
    except WorldRunningError as fault:
        return _fail(fault, 3)
    except (LocalWorldError, OSError) as fault:
        return _fail(fault, 2)
    os.close(lock)
    return 0


def build_world(settings: ServerSettings) -> World:
    """Load the candles and put chain, venues and clock together; nothing listens yet."""
    path, has_funding = _candles(settings)
    recording = load_recording(path)
    funding = load_funding(path) if has_funding else {}
    start = _wall_ms() if settings.at_wall else settings.start_ms
    origin = recording.play_start_ms() if start is None else recording.check_start(start)
    clock = WorldClock(origin_ms=origin, ends_ms=recording.ends_ms, speed=settings.speed)
    listed = tuple(instrument(tape) for tape in recording.tapes)
    venues = tuple(
        Venue(
            index=index,
            seed=settings.seed,
            instruments=listed,
            funding=funding,
            now_ms=clock.now_ms,
        )
        for index in range(VENUES)
    )
    if settings.scenario is not None:
        steps = read_scenario(settings.scenario, VENUES, venues[0].symbols)
        for venue in venues:
            venue.faults.play(faults_of(steps, venue.index, origin))
    return World(
        recording=recording,
        clock=clock,
        chain=EmbeddedChain(clock),
        venues=venues,
        seed=settings.seed,
        speed=settings.speed,
    )


def _candles(settings: ServerSettings) -> tuple[Path, bool]:
    """Find or make up what is played; tell whether funding may lie beside it."""
    if settings.replay is not None:
        return settings.replay, True
    wanted = None if settings.scenario is None else read_simulation(settings.scenario)
    path = settings.state / (DEMO_FILE if wanted is None else SIMULATED_FILE)
    if wanted is None and settings.at_wall:
        write_demo_candles(path, settings.seed, _wall_ms() // BAR_MS * BAR_MS - SCORING_MS)
    elif wanted is None:
        write_demo_candles(path, settings.seed)
    else:
        write_simulation(path, wanted)
    return path, wanted is not None


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


async def _serve(world: World, folder: Path) -> None:
    """Listen, write the state file, and wait for the signal to stop."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    runners: list[web.AppRunner] = []
    try:
        exchanges = [exchange_application(each, world.clock) for each in world.venues]
        urls = [await _listen(each, runners) for each in exchanges]
        rpc_url = await _listen(_rpc_application(RpcServer(world.chain)), runners)
        described: list[WorldState] = []
        control = Control(world.clock, world.venues, lambda: described[0])
        control_url = await _listen(control.application(), runners)
        described.append(_describe(world, urls, rpc_url, control_url))
        write_state(folder, described[0])
        await _until_stopped_or_orphaned(stopped, folder, described[0].instance)
    finally:
        remove_state(folder)
        for runner in runners:
            await runner.cleanup()


async def _until_stopped_or_orphaned(stopped: asyncio.Event, folder: Path, instance: str) -> None:
    """Return on the signal, or when the state file is gone: then nobody can find this world."""
    while not stopped.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), ORPHAN_CHECK_S)
        found = read_state(folder)
        if found is None or found.instance != instance:
            return


def exchange_application(venue: Venue, clock: WorldClock) -> web.Application:
    """Build one exchange's REST and websocket endpoints."""
    application, gate = web.Application(), Gate(venue)
    OkxVenue(venue, gate).add_to(application)
    OkxStream(venue, gate, clock.moved).add_to(application)
    return application


async def _listen(application: web.Application, runners: list[web.AppRunner]) -> str:
    """Serve an application on a free loopback port and give its address."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    runners.append(runner)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    port = runner.addresses[0][1]
    return f"http://{HOST}:{port}"


def _rpc_application(rpc: RpcServer) -> web.Application:
    """Build the JSON-RPC endpoint."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(rpc.answer(await request.read()))

    application = web.Application(client_max_size=MAX_BODY)
    application.router.add_post("/", answer)
    return application


def _describe(
    world: World, venue_urls: Sequence[str], rpc_url: str, control_url: str
) -> WorldState:
    """Say where everything is."""
    reading = world.clock.read()
    markets = [
        LocalMarket(
            market=market,
            symbol=tape.symbol,
            base=tape.base,
            quote=tape.quote,
            class_id=class_of(tape.base),
        )
        for market, tape in enumerate(world.recording.tapes)
    ]
    venues = [
        LocalVenue(id=f"local-{index}", ccxt_class="okx", url=url, ws_url=_stream_url(url))
        for index, url in enumerate(venue_urls)
    ]
    return WorldState(
        pid=os.getpid(),
        instance=secrets.token_hex(8),
        rpc_url=rpc_url,
        control_url=control_url,
        chain_id=world.chain.chain_id,
        genesis_hash="0x" + world.chain.genesis_hash.hex(),
        venues=tuple(venues),
        accounts=local_accounts(),
        markets=tuple(markets),
        origin_ms=reading.origin_ms,
        ends_ms=reading.ends_ms,
        shift_ms=0,
        speed=world.speed,
        source=world.recording.source,
        data_id=_data_id(Path(world.recording.source), world.seed),
        synthetic=world.recording.synthetic,
        seed=world.seed,
    )


def _stream_url(url: str) -> str:
    """Give the address that ccxt appends /public and /business to."""
    return url.replace("http://", "ws://") + STREAM_PATH


def _data_id(candles: Path, seed: int) -> str:
    """Name what the exchanges play: the candles' bytes and the seed of the venues' differences."""
    content = hashlib.sha256(candles.read_bytes()).hexdigest()
    return hashlib.sha256(f"{content} {seed}".encode()).hexdigest()[:16]


def _parse(arguments: Sequence[str] | None) -> ServerSettings:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m relayer.local.server", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder of this world")
    parser.add_argument("--replay", type=Path, help="parquet file of one-minute candles")
    parser.add_argument("--from", dest="start", type=_time_ms, help="where play starts, ISO 8601")
    parser.add_argument(
        "--speed", type=_speed, default=1.0, help="clock seconds in one of the wall"
    )
    parser.add_argument(
        "--chain-time",
        action="store_true",
        help="a manual clock: only blocks and POST /clock/advance move it",
    )
    parser.add_argument("--now", action="store_true", help="made-up candles, at the wall's time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", type=Path, help="file of what the exchanges do wrong, when")
    read = parser.parse_args(arguments)
    return ServerSettings(
        state=read.state,
        replay=read.replay,
        start_ms=read.start,
        speed=0.0 if read.chain_time else read.speed,
        seed=read.seed,
        scenario=read.scenario,
        at_wall=read.now,
    )


def _time_ms(text: str) -> int:
    """Read a time; without an offset it is UTC."""
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000)


def _speed(text: str) -> float:
    """Read a speed."""
    speed = float(text)
    if not 0 < speed <= 100_000:
        raise argparse.ArgumentTypeError("give a speed above 0 and at most 100,000")
    return speed


def _fail(fault: Exception, code: int) -> int:
    """Say on one line why, and give the exit code."""
    kinds: dict[type, str] = {ReplayError: "replay", ScenarioError: "scenario"}
    kind = kinds.get(type(fault), "local")
    sys.stderr.write(json.dumps({"error": kind, "detail": str(fault)}) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
