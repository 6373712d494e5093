"""Scenario files: which exchange misbehaves how, from when, for how long.

Format: docs/local-world.md. Times count from the start of play, or from now for one that is given
to a running world.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from relayer.local.errors import ScenarioError
from relayer.local.faults import FOREVER_MS, Fault, VenueMode
from relayer.local.simulation import HISTORY_DAYS, MOST_MARKETS, Crash, Simulation

MOST_DAYS: Final = 60
_SIMULATION: Final = {"markets": 20, "days": 7, "seed": 1}
ALL_VENUES: Final = "all"
_ALWAYS: Final = frozenset({"mode", "at_s", "for_s", "venue", "market"})
# What each mode needs to be told, and what it does when it is not told.
DETAILS: Final[Mapping[VenueMode, Mapping[str, float | int | str]]] = {
    VenueMode.OFF: {"factor": 1.3},
    VenueMode.SLOW: {"delay_s": 5.0},
    VenueMode.CLOSES: {"delay_s": 5.0},
    VenueMode.SKEW: {"skew_ms": 30_000},
    VenueMode.LIMITED: {"rate": 0.0},
    VenueMode.RENAMED: {"name": "RENAMED"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One instruction; `fault` counts its times from the scenario's start."""

    venues: tuple[int, ...]
    fault: Fault


def read_scenario(path: Path, venues: int, symbols: Collection[str]) -> tuple[Step, ...]:
    """Read a file; raises ScenarioError saying which step is wrong and what would be right."""
    fields = _fields(path)
    simulated = fields.pop("simulation", None) is not None
    try:
        if simulated and "step" not in fields:
            _known(fields, {"title"}, "scenario")
            return ()
        return parse_scenario(fields, venues, symbols)
    except ScenarioError as fault:
        raise ScenarioError(f"{path}: {fault}") from None


def read_simulation(path: Path) -> Simulation | None:
    """Read what a file wants to be made up; None when it says nothing of it."""
    wanted = _fields(path).get("simulation")
    if wanted is None:
        return None
    try:
        return _simulation(wanted)
    except ScenarioError as fault:
        raise ScenarioError(f"{path}: simulation: {fault}") from None


def _fields(path: Path) -> dict[str, Any]:
    """Read a TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise ScenarioError(f"{path}: {fault.strerror or fault}") from None
    except ValueError as fault:
        raise ScenarioError(f"{path}: no TOML: {fault}") from None


def _simulation(wanted: Mapping[str, Any]) -> Simulation:
    """Read the simulation's table."""
    _known(wanted, {"markets", "days", "seed", "crash"}, "simulation")
    whole = {name: int(_number(wanted, name, d) or 0) for name, d in _SIMULATION.items()}
    if not 1 <= whole["markets"] <= MOST_MARKETS or not HISTORY_DAYS < whole["days"] <= MOST_DAYS:
        raise ScenarioError(f"markets 1 to {MOST_MARKETS}, days {HISTORY_DAYS + 1} to {MOST_DAYS}")
    return Simulation(
        markets=whole["markets"],
        days=whole["days"],
        seed=whole["seed"],
        crashes=tuple(_crash(each) for each in wanted.get("crash", [])),
    )


def _crash(wanted: Mapping[str, Any]) -> Crash:
    """Read one crash."""
    _known(wanted, {"at_s", "fall", "minutes", "recovery"}, "crash")
    fall = _number(wanted, "fall", 0.2) or 0.0
    if not 0 < fall < 0.5:
        raise ScenarioError("fall is a share of the price, above 0 and below 0.5")
    return Crash(
        at_s=_number(wanted, "at_s", 0.0) or 0.0,
        fall=fall,
        minutes=max(1, int(_number(wanted, "minutes", 30) or 0)),
        recovery=_number(wanted, "recovery", 0.3) or 0.0,
    )


def parse_scenario(
    fields: Mapping[str, Any], venues: int, symbols: Collection[str]
) -> tuple[Step, ...]:
    """Read a scenario's fields."""
    _known(fields, {"title", "step"}, "scenario")
    steps = fields.get("step", [])
    if not isinstance(steps, list) or not steps:
        raise ScenarioError("no [[step]] tables")
    found = []
    for number, step in enumerate(steps, 1):
        try:
            found.append(_step(step, venues, symbols))
        except ScenarioError as fault:
            raise ScenarioError(f"step {number}: {fault}") from None
    return tuple(found)


def faults_of(steps: Sequence[Step], venue: int, origin_ms: int) -> tuple[Fault, ...]:
    """Give one venue's faults in the clock's time."""
    return tuple(
        replace(
            step.fault,
            since_ms=origin_ms + step.fault.since_ms,
            until_ms=min(FOREVER_MS, origin_ms + step.fault.until_ms),
        )
        for step in steps
        if venue in step.venues
    )


def _step(step: Mapping[str, Any], venues: int, symbols: Collection[str]) -> Step:
    """Read one step."""
    mode = _mode(step.get("mode"))
    details = DETAILS.get(mode, {})
    _known(step, _ALWAYS | set(details), str(mode))
    at_s, for_s = _number(step, "at_s", 0.0), _number(step, "for_s", None)
    if for_s is not None and for_s <= 0:
        raise ScenarioError("for_s must be above 0")
    market = step.get("market")
    if market is not None and market not in symbols:
        raise ScenarioError(_nearest(f"no market {market}", str(market), symbols))
    since_ms = int((at_s or 0.0) * 1_000)
    told: dict[str, Any] = {name: _detail(step, name, each) for name, each in details.items()}
    fault = Fault(
        mode=mode,
        since_ms=since_ms,
        until_ms=FOREVER_MS if for_s is None else since_ms + int(for_s * 1_000),
        symbol=market,
        **told,
    )
    return Step(venues=_venues(step.get("venue", ALL_VENUES), venues), fault=fault)


def _detail(step: Mapping[str, Any], name: str, default: float | str) -> float | int | str:
    """Read what a mode needs to be told, in the type of its default."""
    if isinstance(default, str):
        return str(step.get(name, default))
    return type(default)(_number(step, name, default) or 0)


def _mode(value: object) -> VenueMode:
    """Read a mode, offering the nearest."""
    try:
        return VenueMode(str(value))
    except ValueError:
        raise ScenarioError(_nearest(f"no mode {value}", str(value), list(VenueMode))) from None


def _venues(value: object, count: int) -> tuple[int, ...]:
    """Read which venues are meant: a number, a list of them, or all."""
    if value == ALL_VENUES:
        return tuple(range(count))
    chosen = value if isinstance(value, list) else [value]
    if not all(isinstance(each, int) and 0 <= each < count for each in chosen):
        raise ScenarioError(f"venue {value}: give 0 to {count - 1}, a list of them, or all")
    return tuple(chosen)


def _number(step: Mapping[str, Any], name: str, default: float | None) -> float | None:
    """Read a number, or its default."""
    value = step.get(name, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ScenarioError(f"{name} must be a number, not {value!r}")
    return value


def _known(fields: Mapping[str, Any], names: Collection[str], where: str) -> None:
    """Refuse a field that means nothing here."""
    for name in fields:
        if name not in names:
            raise ScenarioError(_nearest(f"{where} has no field {name}", name, names))


def _nearest(message: str, name: str, known: Collection[str]) -> str:
    """Add the nearest known name to a message, or all of them."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"{message}; did you mean {near[0]}?" if near else f"{message}; {', '.join(known)}"
