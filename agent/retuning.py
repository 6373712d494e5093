"""What of a running process takes other settings: checked first, then all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from agent.config import Settings
from agent.errors import ConfigError
from agent.payer import PayerWatch
from agent.positions.levels import WarnSettings
from agent.positions.loop import PositionLoop
from agent.quoting.desk import TermsDesk
from relayer.errors import RelayerError
from relayer.notices import Channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunable:
    """The parts of a daemon, or of one of its halves, that take other settings as they run."""

    positions: PositionLoop | None = None
    desk: TermsDesk | None = None
    payer: PayerWatch | None = None

    def retune(self, settings: Settings) -> None:
        """Take other settings.

        Raises
        ------
        ConfigError
            A file that they name cannot be used; nothing has changed.
        """
        channels = channels_of(settings.warnings)
        if self.payer is not None:
            self.payer.retune(settings.payer)
        if self.desk is not None:
            self.desk.retune(settings.quotes)
        if self.positions is None:
            return
        positions = self.positions.positions
        positions.retune(settings.keeper)
        if positions.warner is not None:
            positions.warner.retune(settings.warnings, channels)
        if positions.actor is not None:
            positions.actor.retune(settings.actions)


def channels_of(settings: WarnSettings) -> Channels:
    """Read whom warnings go to; without a file they are only there to be read."""
    if settings.channels_file is None:
        return Channels([])
    try:
        return Channels.read(settings.channels_file)
    except RelayerError as fault:
        raise ConfigError(str(fault)) from fault


class Threshold:
    """Drops what is below a level from the log; the level may change as it runs."""

    levels: Sequence[str] = ("debug", "info", "warning", "error", "critical")

    def __init__(self, level: str) -> None:
        self.level = level

    def __call__(
        self, logger: object, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        """Pass an event on, or drop it."""
        del logger
        name = {"exception": "error", "warn": "warning"}.get(method, method)
        if self.levels.index(name) < self.levels.index(self.level):
            raise structlog.DropEvent
        return event
