"""Settings as an operator reads them: each value with the file it was written in, and no secret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from agent.coherence import leaves
from agent.config import Settings
from agent.layers import Layered, origin_of

CODE: Final = "the code"  # where a value comes from that no file has
_LONG: Final = re.compile(r"[A-Za-z0-9_-]{16,}")  # of a path: an endpoint's key, as sellers do it


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One setting."""

    name: str
    value: Any
    origin: str

    @property
    def line(self) -> str:
        """The setting as TOML would have it, and where it was written."""
        return f"{self.name} = {written(self.value)}  # {self.origin}"


def shown(settings: Settings, layers: Layered) -> tuple[Shown, ...]:
    """List every setting in force, in the order of the tables."""
    return tuple(
        Shown(
            name=".".join(at),
            value=without_secret(plain(value)),
            origin=(origin_of(layers.origins, at) if _is_written(layers.tables, at) else None)
            or CODE,
        )
        for at, value in leaves(settings)
        if value is not None
    )


def _is_written(tables: Any, at: tuple[str, ...]) -> bool:  # noqa: ANN401 - TOML's own values
    """Tell whether a file has this value; one that a list's tables leave out has no origin."""
    for step in at:
        if isinstance(tables, Mapping) and step in tables:
            tables = tables[step]
        elif isinstance(tables, list) and step.isdigit():
            tables = tables[int(step)]
        else:
            return False
    return True


def plain(value: object) -> Any:  # noqa: ANN401 - what JSON has
    """Write a value as JSON and TOML have it."""
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    return str(value) if isinstance(value, Path) else value


def written(value: object) -> str:
    """Write a plain value; TOML's numbers, strings and lists of them look like JSON's."""
    return json.dumps(value, ensure_ascii=False)


def without_secret(value: Any) -> Any:  # noqa: ANN401 - a plain value
    """Hide what may be a secret in addresses: user, password, query, long parts of a path."""
    if isinstance(value, list):
        return [without_secret(each) for each in value]
    if not isinstance(value, str) or "://" not in value:
        return value
    parts = urlsplit(value)
    host = parts.netloc.rpartition("@")
    hidden = ("…@" if host[1] else "") + host[2]
    path = "/".join("…" if _LONG.fullmatch(each) else each for each in parts.path.split("/"))
    query = "?…" if parts.query else ""
    return f"{parts.scheme}://{hidden}{path}{query}"
