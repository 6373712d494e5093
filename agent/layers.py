"""Where settings come from: the shipped defaults, a network on top, the operator's file over both.

A file names what it stands on by `extends`; every file stands on `default.toml`. Tables are merged
key by key; anything else, lists of tables among it, is replaced as a whole.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from agent.errors import ConfigError

Tables: TypeAlias = dict[str, Any]
Origins: TypeAlias = Mapping[tuple[str, ...], str]

EXTENDS: Final = "extends"
DEFAULT: Final = "default"
NOT_NETWORKS: Final = frozenset({DEFAULT, "exchanges"})  # layers that a network stands on
_IN_CHECKOUT: Final = Path(__file__).resolve().parent.parent / "config"
_IN_WHEEL: Final = Path(__file__).resolve().parent / "shipped_config"


def shipped(inside: Path = _IN_WHEEL, beside: Path = _IN_CHECKOUT) -> Path:
    """Find the folder that comes with us: inside the package in a wheel, beside it in a checkout.

    The package's own comes first: an unrelated `config` in site-packages must not shadow it.
    """
    return inside if inside.is_dir() else beside


FOLDER: Final = shipped()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layered:
    """Merged tables, and for each value the file that it was last written in."""

    source: str
    tables: Tables
    origins: Origins


def networks() -> list[str]:
    """Name the networks that come with us."""
    return sorted({path.stem for path in FOLDER.glob("*.toml")} - NOT_NETWORKS)


def layered(network: str) -> Layered:
    """Read a network that comes with us, by name, or any file, by path, on all it stands on.

    Raises
    ------
    ConfigError
        A file is missing, is not TOML, or stands on itself.
    """
    path = path_of(network)
    tables: Tables = {}
    origins: dict[tuple[str, ...], str] = {}
    chain = _chain(path)
    for each, own in chain:
        _merge(tables, own, each.name if each.parent == FOLDER else str(each), origins, ())
    return Layered(source=str(path), tables=tables, origins=MappingProxyType(origins))


def path_of(network: str) -> Path:
    """Find a network's file."""
    path = Path(network)
    if network in networks():
        return FOLDER / f"{network}.toml"
    if path.suffix or path.exists():
        return path
    names = networks()
    near = difflib.get_close_matches(network, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"network {network}: unknown; {hint}Give one of {', '.join(names)}, or a TOML file."
    )


def _chain(path: Path) -> list[tuple[Path, Tables]]:
    """Read a file and what it stands on, the lowest first."""
    found: list[tuple[Path, Tables]] = []
    seen: list[Path] = []
    following: Path | None = path
    while following is not None:
        if following.resolve() in seen:
            raise ConfigError(f"{path}: {EXTENDS} leads back to {following}")
        seen.append(following.resolve())
        tables = read_tables(following)
        found.append((following, tables))
        following = _below(following, tables.pop(EXTENDS, None))
    default = FOLDER / f"{DEFAULT}.toml"
    if default.resolve() not in seen:
        found.append((default, read_tables(default)))
    return found[::-1]


def _below(path: Path, given: object) -> Path | None:
    """Find the file that another names by `extends`: one of ours, or one beside it."""
    if given is None:
        return None
    if not isinstance(given, str):
        raise ConfigError(f"{path}: {EXTENDS} must be the name of a network, or a file's path")
    named, beside = FOLDER / f"{given}.toml", path.parent / given
    if named.exists():
        return named
    if beside.exists():
        return beside
    near = difflib.get_close_matches(given, networks(), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(
        f"{path}: {EXTENDS} = {given!r}: is no network and no file beside it; "
        f"{hint}Give one of {', '.join(networks())}, or a path relative to this file."
    )


def read_tables(path: Path) -> Tables:
    """Parse one TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"{path} is not valid TOML: {fault}. Correct that line.") from fault
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path} is not UTF-8 text (byte {fault.start}).") from fault
    except PermissionError as fault:
        hint = "Let this user read it, and enter the folders that it is in."
        raise ConfigError(f"{path} cannot be read: {fault.strerror}. {hint}") from fault
    except OSError as fault:
        hint = "Give --network a name (local) or the path of a TOML file."
        raise ConfigError(f"{path} cannot be read: {fault.strerror}. {hint}") from fault


def _merge(
    into: Tables,
    tables: Mapping[str, Any],
    source: str,
    origins: dict[tuple[str, ...], str],
    at: tuple[str, ...],
) -> None:
    """Lay tables over others; remember who wrote what."""
    for name, value in tables.items():
        here = (*at, name)
        if isinstance(value, Mapping):
            if not isinstance(into.get(name), dict):
                origins.pop(here, None)
                into[name] = {}
            _merge(into[name], value, source, origins, here)
            continue
        into[name] = value
        for old in [key for key in origins if key[: len(here)] == here]:
            del origins[old]
        origins[here] = source


def origin_of(origins: Origins, path: tuple[str, ...]) -> str | None:
    """Name the file that a value was written in; what lies inside a list came with the list."""
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return origins[path[:length]]
    return None
