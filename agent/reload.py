"""What SIGHUP does: the configuration is read again, and what may change while it runs is changed.

All or nothing: with one fault in the files nothing changes. What a running daemon cannot change
(keys, venues, endpoints, markets, model, rules that signers hold as well) is named, and waits for a
restart. What each part of a daemon can take is listed here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from agent.coherence import leaves
from agent.config import Settings, load_settings
from agent.config_report import plain, without_secret
from agent.errors import ConfigError
from agent.ground import Part

# Read at each turn, and asked of no signer beyond what it allows anyway.
AT_ONCE: Final[Mapping[Part, tuple[str, ...]]] = {
    Part.WHOLE: (
        *("cycle", "prices", "impact", "warnings", "keeper", "actions", "quotes"),
        *("payer", "log"),
    ),
    Part.AGENT: ("cycle", "prices", "impact", "warnings", "keeper", "actions", "quotes", "log"),
    Part.RELAY: ("payer", "log"),
}
# Of those tables, what is built once: the board of warnings, and who prunes evidence of terms.
ONCE: Final = ("warnings.enabled", "quotes.evidence_kept_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One setting that is not what it was."""

    name: str
    before: Any
    after: Any

    def at_once(self, part: Part) -> bool:
        """Whether a running process of this part can take it."""
        return self.name.split(".")[0] in AT_ONCE[part] and self.name not in ONCE


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


def taken(old: Settings, new: Settings, part: Part = Part.WHOLE) -> Settings:
    """Give the old settings with what can be taken at once."""
    following = {name: getattr(new, name) for name in AT_ONCE[part]}
    for table, name in (each.split(".") for each in ONCE):
        if table in following:
            kept = getattr(getattr(old, table), name)
            following[table] = following[table].model_copy(update={name: kept})
    return old.model_copy(update=following)


class Reloader:
    """Holds the settings in force, and reads their files again when told."""

    def __init__(
        self,
        network: str,
        settings: Settings,
        part: Part = Part.WHOLE,
        told: Callable[[Settings], Settings] = lambda read: read,
    ) -> None:
        """Keep what is in force; `told`: what the command line changes of the files."""
        self.settings = settings
        self._network = network
        self._part = part
        self._told = told
        self._log = structlog.get_logger("aml")

    def reload(self, apply: Callable[[Settings], None]) -> str:
        """Read the files again and apply what can be; return in a sentence what became of it.

        `apply` takes all of it, or raises `ConfigError` before it has taken anything.
        """
        try:
            new = self._told(load_settings(self._network))
            found, following = changes(self.settings, new), taken(self.settings, new, self._part)
            apply(following)
        except ConfigError as fault:
            self._log.error("reload_refused", detail=str(fault))
            return "reload refused: the files are faulty; running as before"
        self.settings = following
        for each in found:
            event = "setting_changed" if each.at_once(self._part) else "setting_needs_restart"
            self._log.warning(event, name=each.name, before=each.before, after=each.after)
        at_once = sum(each.at_once(self._part) for each in found)
        return f"reloaded: {at_once} changed, {len(found) - at_once} wait for a restart"
