"""What every command that touches a network needs first: its settings, and a world that answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import typer

from agent.cli.local import moment
from agent.config import Settings, load_settings
from agent.errors import ConfigError
from agent.network import LOCAL, Network, live_network, local_network
from relayer.local import client
from relayer.local.state import WorldState


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A network and its settings, ready to be worked on."""

    settings: Settings
    network: Network
    source: str  # the name or the file that the settings were read from, and are read from again


def prepare(
    network: str,
    state: Path,
    *,
    replay: Path | None = None,
    start_at: str | None = None,
    speed: float | None = None,
) -> Prepared:
    """Read the settings; on the local network, find the world or start it."""
    settings = load_settings(network)
    if settings.network.name != LOCAL:
        told = live_network(settings, state)
        return Prepared(settings=settings, network=told, source=network)
    world = client.find(state)
    if world is None:
        typer.echo("starting the local world ...", err=True)
        start = moment(start_at)
        world = client.start(state, replay=replay, start_at=start, speed=speed or 1.0)
    else:
        require_same(world, replay, speed, state)
    told = _with_spares(local_network(world, state), settings)
    return Prepared(settings=settings, network=told, source=network)


def _with_spares(network: Network, settings: Settings) -> Network:
    return replace(network, spare_rpc_urls=settings.network.spare_rpc_urls)


def require_same(world: WorldState, replay: Path | None, speed: float | None, state: Path) -> None:
    """Refuse a running world that is not the one that was asked for."""
    hint = f"stop it first (aml local down --state {state}) or name another --state"
    if replay is not None and replay.name not in world.source:
        raise ConfigError(f"the local world in {state} plays {world.source}, not {replay}; {hint}")
    if speed is not None and speed != world.speed:
        raise ConfigError(f"the local world in {state} runs at {world.speed:g}x; {hint}")


def require_world(network: str, state: Path, *, keys: bool = True) -> Prepared:
    """Read the settings; on the local network the world must be there already.

    Without `keys` none is opened: for who only looks, or has other keys than the daemon's.
    """
    settings = load_settings(network)
    if settings.network.name != LOCAL:
        told = live_network(settings, state, keys=keys)
    else:
        told = _with_spares(local_network(client.status(state).state, state), settings)
    return Prepared(settings=settings, network=told, source=network)
