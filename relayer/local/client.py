"""Starting, finding and stopping the local world from another process, and reading its clock."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp

from contracts.units import UnixMs
from relayer.errors import Unreachable
from relayer.local.errors import WorldAbsentError, WorldFailedError, WorldRunningError
from relayer.local.scenario import read_scenario
from relayer.local.state import (
    LOG_FILE,
    WorldState,
    is_locked,
    read_state,
    remove_state,
)

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 15.0
LEASE_S: Final = 30.0
_POLL_S: Final = 0.05
_WAIT_S: Final = 20.0  # one long poll of the clock
_HTTP_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldStatus:
    """A world and what its clock shows."""

    state: WorldState
    now_ms: UnixMs
    held: bool


def start(
    state: Path,
    *,
    replay: Path | None = None,
    start_at: datetime | Literal["now"] | None = None,
    speed: float = 1.0,
    chain_time: bool = False,
    scenario: Path | None = None,
) -> WorldState:
    """Start a world that outlives this process; return when it answers.

    It starts "now" with candles of its own around this moment, at the wall's time.

    Raises WorldRunningError when the folder has one, and WorldFailedError with the server's own
    words when it does not start.
    """
    if is_locked(state):
        raise WorldRunningError(f"a local world already runs in {state}")
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        said = f"state folder {state} cannot be made: {fault.strerror}; give --state another folder"
        raise WorldFailedError(said) from None
    remove_state(state)
    command = [sys.executable, "-m", "relayer.local.server", "--state", str(state)]
    command += ["--speed", str(speed)]
    command += ["--replay", str(replay.absolute())] if replay is not None else []
    command += _starting(start_at)
    command += ["--scenario", str(scenario.absolute())] if scenario is not None else []
    command += ["--chain-time"] if chain_time else []
    with (state / LOG_FILE).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 — our own module, arguments as a list
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    return _wait_ready(state, process)


def find(state: Path) -> WorldState | None:
    """Find the live world of a folder; what a dead one left is removed."""
    if not is_locked(state):
        remove_state(state)
        return None
    return read_state(state)


def stop(state: Path) -> bool:
    """Stop the world of a folder and wait until it is gone; False when there was none."""
    found = find(state)
    if found is None:
        return False
    os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while is_locked(state):
        if time.monotonic() > deadline:
            raise WorldFailedError(f"process {found.pid} does not stop; see {state / LOG_FILE}")
        time.sleep(_POLL_S)
    return True


def status(state: Path) -> WorldStatus:
    """Ask a world what its clock shows; raises WorldAbsentError where none lives."""
    found = find(state)
    if found is None:
        raise WorldAbsentError(f"no local world runs in {state}; `aml local up` starts one")
    clock = fetch_json(found.control_url + "/clock")
    return WorldStatus(state=found, now_ms=UnixMs(clock["now_ms"]), held=clock["held"])


def switch_venue(
    world: WorldState, venue: int, mode: str, *, symbol: str | None = None, **details: float | str
) -> None:
    """Make a venue (or one market of it) misbehave; modes and details: docs/local-world.md."""
    body = {"mode": mode, "symbol": symbol, **details}
    fetch_json(f"{world.control_url}/control/venue/{venue}", body)


def play_scenario(world: WorldState, path: Path) -> int:
    """Start a scenario in a running world; give how many steps it has."""
    symbols = [market.symbol for market in world.markets]
    read_scenario(path, len(world.venues), symbols)  # says what is wrong before anything changes
    fields = tomllib.loads(path.read_text(encoding="utf-8"))
    return int(fetch_json(world.control_url + "/control/scenario", fields)["steps"])


def faults(world: WorldState) -> list[dict[str, Any]]:
    """List what the exchanges do wrong now."""
    return list(fetch_json(world.control_url + "/control/faults")["faults"])


def advance(world: WorldState, to_ms: int) -> None:
    """Move a world's clock on, also a manual one."""
    fetch_json(world.control_url + "/clock/advance", {"to_ms": to_ms})


def fetch_json(url: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Ask the control port; raises WorldFailedError with its reason."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(url, data, timeout=_HTTP_TIMEOUT_S) as answer:  # noqa: S310 — our own loopback
            fields: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as refused:
        raise WorldFailedError(f"{url}: {refused.read().decode(errors='replace')}") from None
    except (OSError, ValueError) as fault:
        raise WorldFailedError(f"{url}: {fault}") from None
    return fields


def fetch_text(url: str) -> str:
    """Read a page of this machine, such as a daemon's metrics."""
    try:
        with urllib.request.urlopen(url, timeout=_HTTP_TIMEOUT_S) as answer:  # noqa: S310 — our own loopback
            return str(answer.read(), "utf-8")
    except OSError as fault:
        raise WorldFailedError(f"{url}: {fault}") from None


class LocalClock:
    """The `Clock` port on a local world's clock. Close it when done; it keeps one connection."""

    def __init__(self, control_url: str) -> None:
        self._url = control_url
        self._session: aiohttp.ClientSession | None = None

    async def now_ms(self) -> UnixMs:
        """Give the clock's time."""
        return UnixMs((await self._get("/clock"))["now_ms"])

    async def sleep_until(self, at_ms: int) -> None:
        """Return when the clock shows `at_ms` or later, at any speed and whoever holds it."""
        path = f"/clock/wait?until_ms={at_ms}&timeout_s={_WAIT_S}"
        while (await self._get(path))["now_ms"] < at_ms:
            continue

    def hold(self) -> AbstractAsyncContextManager[None]:
        """Stop the clock inside; it goes on by itself soon after this process dies."""
        return self._held()

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @contextlib.asynccontextmanager
    async def _held(self) -> AsyncIterator[None]:
        lease = (await self._post("/clock/hold", {"lease_s": LEASE_S}))["lease"]
        renewal = asyncio.create_task(self._renew(lease))
        try:
            yield
        finally:
            renewal.cancel()
            with contextlib.suppress(asyncio.CancelledError, Unreachable):
                await renewal
            await self._post("/clock/release", {"lease": lease})

    async def _renew(self, lease: str) -> None:
        """Keep a lease alive for as long as it is held."""
        while True:
            await asyncio.sleep(LEASE_S / 3)
            await self._post("/clock/renew", {"lease": lease, "lease_s": LEASE_S})

    async def _get(self, path: str) -> dict[str, Any]:
        return await self._ask("GET", path, None)

    async def _post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        return await self._ask("POST", path, body)

    async def _ask(
        self, method: str, path: str, body: Mapping[str, object] | None
    ) -> dict[str, Any]:
        """Ask the control port."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_WAIT_S + _HTTP_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout)
        try:
            async with self._session.request(method, self._url + path, json=body) as answer:
                answer.raise_for_status()
                fields: dict[str, Any] = await answer.json()
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise Unreachable(f"the local clock does not answer: {fault}") from None
        return fields


def _wait_ready(state: Path, process: subprocess.Popen[bytes]) -> WorldState:
    """Wait until the process has written its state, or say why it has not."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        found = read_state(state)
        if found is not None and found.pid == process.pid:
            return found
        if process.poll() is not None:
            raise WorldFailedError(_last_words(state))
        time.sleep(_POLL_S)
    process.terminate()
    process.wait(STOP_TIMEOUT_S)
    raise WorldFailedError(f"the local world did not start within {START_TIMEOUT_S:.0f} s")


def _last_words(state: Path) -> str:
    """Give the reason that a dead server wrote, or the end of its log."""
    lines = (state / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    for line in reversed(lines):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return str(json.loads(line)["detail"])
    return "the local world ended at once: " + " | ".join(lines[-3:])


def _starting(at: datetime | Literal["now"] | None) -> list[str]:
    """Write where play starts, as the server takes it."""
    if at is None:
        return []
    return ["--now"] if at == "now" else ["--from", _iso(at)]


def _iso(at: datetime) -> str:
    """Write a time; without a zone it is UTC."""
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()
