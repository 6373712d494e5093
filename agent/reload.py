"""What SIGHUP does: the configuration is read again, and what may change while it runs is changed.

All or nothing: with one fault in the files nothing changes. What a running daemon cannot change
(keys, venues, markets, model, rules that signers hold as well) is named, and waits for a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from agent.coherence import leaves
from agent.config import Settings, load_settings
from agent.config_report import plain, without_secret
from agent.errors import ConfigError

# Read at each turn, and asked of no signer.
AT_ONCE: Final = ("cycle", "prices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One setting that is not what it was."""

    name: str
    before: Any
    after: Any

    @property
    def at_once(self) -> bool:
        """Whether a running daemon can take it."""
        return self.name.split(".")[0] in AT_ONCE


def changes(old: Settings, new: Settings) -> tuple[Change, ...]:
    """List every setting that differs, with no secret in it."""
    before = {".".join(at): plain(value) for at, value in leaves(old)}
    after = {".".join(at): plain(value) for at, value in leaves(new)}
    names = [*after, *(name for name in before if name not in after)]
    return tuple(
        Change(
            name=name,
            before=without_secret(before.get(name)),
            after=without_secret(after.get(name)),
        )
        for name in names
        if before.get(name) != after.get(name)
    )


def taken(old: Settings, new: Settings) -> Settings:
    """Give the old settings with what can be taken at once."""
    return old.model_copy(update={name: getattr(new, name) for name in AT_ONCE})


class Reloader:
    """Holds the settings in force, and reads their files again when told."""

    def __init__(self, network: str, settings: Settings) -> None:
        self.settings = settings
        self._network = network
        self._log = structlog.get_logger("aml")

    def reload(self, apply: Callable[[Settings], None]) -> str:
        """Read the files again and apply what can be; return in a sentence what became of it."""
        try:
            new = load_settings(self._network)
        except ConfigError as fault:
            self._log.error("reload_refused", detail=str(fault))
            return "reload refused: the files are faulty; running as before"
        found = changes(self.settings, new)
        self.settings = taken(self.settings, new)
        apply(self.settings)
        for each in found:
            event = "setting_changed" if each.at_once else "setting_needs_restart"
            self._log.warning(event, name=each.name, before=each.before, after=each.after)
        at_once = sum(each.at_once for each in found)
        return f"reloaded: {at_once} changed, {len(found) - at_once} wait for a restart"
