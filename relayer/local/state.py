"""The file that says where the local world of a state folder is, and what it plays."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from relayer.local.accounts import LocalAccount
from relayer.local.errors import WorldFailedError, WorldRunningError

STATE_FILE: Final = "local.json"
LOCK_FILE: Final = "local.lock"
LOG_FILE: Final = "local.log"
FORMAT: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalVenue:
    """Where one local exchange listens."""

    id: str
    ccxt_class: str
    url: str
    ws_url: str  # replaces ccxt's urls.api.ws


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMarket:
    """One market that the local exchanges list; ids follow the order of the symbols."""

    market: int
    symbol: str  # ccxt's unified name, the same at each venue
    base: str
    quote: str
    class_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldState:
    """All that another process needs to use the local world."""

    pid: int
    instance: str  # new at each start: what was deployed on an earlier one is gone
    rpc_url: str
    control_url: str  # the clock is at control_url/clock
    chain_id: int
    genesis_hash: str
    venues: tuple[LocalVenue, ...]
    accounts: tuple[LocalAccount, ...]
    markets: tuple[LocalMarket, ...]
    origin_ms: int
    ends_ms: int
    shift_ms: int  # recorded stamps are kept, so 0
    speed: float
    source: str
    data_id: str  # of the candles and the seed: history of another one must not be mixed with it
    synthetic: bool
    seed: int
    format: int = FORMAT


def write_state(folder: Path, state: WorldState) -> None:
    """Write the file whole or not at all."""
    path = folder / STATE_FILE
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(dataclasses.asdict(state), indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def read_state(folder: Path) -> WorldState | None:
    """Read the file; None when there is none."""
    path = folder / STATE_FILE
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return _state(fields)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as fault:
        raise WorldFailedError(f"{path}: not a state file ({fault}); remove it") from None


def remove_state(folder: Path) -> None:
    """Remove the file of a world that is gone."""
    (folder / STATE_FILE).unlink(missing_ok=True)


def lock_folder(folder: Path) -> int:
    """Take the folder for this process's life; the kernel lets go of it however that ends."""
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise WorldRunningError(
            f"a local world already runs in {folder}; stop it first, or use another --state"
        ) from None
    return descriptor


def is_locked(folder: Path) -> bool:
    """Tell whether a live process holds the folder."""
    if not (folder / LOCK_FILE).exists():
        return False
    try:
        os.close(lock_folder(folder))
    except WorldRunningError:
        return True
    return False


def _state(fields: dict[str, Any]) -> WorldState:
    """Build the value of the file's fields."""
    if fields.get("format") != FORMAT:
        raise ValueError(f"format {fields.get('format')!r} instead of {FORMAT}")
    parts = {
        "venues": tuple(LocalVenue(**each) for each in fields["venues"]),
        "accounts": tuple(LocalAccount(**each) for each in fields["accounts"]),
        "markets": tuple(LocalMarket(**each) for each in fields["markets"]),
    }
    return WorldState(**{**fields, **parts})
