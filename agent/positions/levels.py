"""How near the end a position is, in levels: by probability over 15 min to a day, or by distance.

A probability of liquidation falls in the distance to the liquidation price, so each level is a
distance for each market and side, worked out once a cycle. What has a level keeps it until it is
clearly off it, and stays so for a while: a price that trembles at a border says nothing new.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agent.settings import Section
from contracts.units import MarketId
from models.heads import HORIZONS_S
from models.liquidation import reflection

Floats = NDArray[np.float64]
Chances = Callable[[int, Floats, tuple[float, ...]], Floats]
"""(side, distances, deviations over `HORIZONS_S`) to probabilities, a row a distance."""

GRID: Final[Floats] = np.geomspace(1e-5, 1.6, 400)
"""Distances, as logarithms of price: from a tick to a fall by four fifths."""
SAFE: Final = math.inf


class Level(IntEnum):
    """How urgent it is; each is named by the horizon that it looks over."""

    NONE = 0
    NOTICE = 1  # a day
    WARNING = 2  # four hours
    DANGER = 3  # an hour
    CRITICAL = 4  # 15 minutes, or liquidatable now

    @property
    def label(self) -> str:
        """The level's name, as people and metrics read it."""
        return self.name.lower()


LEVELS: Final = (Level.NOTICE, Level.WARNING, Level.DANGER, Level.CRITICAL)


class WarnSettings(Section):
    """When somebody is warned, and how often anything is said."""

    enabled: bool = True
    chances: tuple[float, float, float, float] = (0.15, 0.15, 0.15, 0.2)
    distances: tuple[float, float, float, float] = (0.02, 0.01, 0.005, 0.0025)
    leave_chance_ratio: float = Field(default=0.6, gt=0, lt=1)
    leave_distance_ratio: float = Field(default=1.5, gt=1)
    calm_s: int = Field(default=600, ge=0)
    singles_a_minute: int = Field(default=10, ge=0, le=120)
    digest_every_s: int = Field(default=60, ge=10)
    link: str = "{base}/positions/{key}"
    base_url: str = ""
    channels_file: str | None = None  # one Apprise address a line; it is a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggers:
    """Of one market and side: the distances at which levels begin, and those past which they end.

    In the order of `LEVELS`; none smaller than the next.
    """

    enter: tuple[float, ...]
    leave: tuple[float, ...]

    def level_of(self, distance: float, held: Level = Level.NONE) -> Level:
        """Give the level at a distance, of a position that has `held` so far."""
        entered = max(
            (lv for lv, d in zip(LEVELS, self.enter, strict=True) if distance <= d),
            default=Level.NONE,
        )
        kept = max(
            (lv for lv, d in zip(LEVELS, self.leave, strict=True) if lv <= held and distance <= d),
            default=Level.NONE,
        )
        return max(entered, kept)

    def next_distance(self, level: Level) -> float:
        """Give the distance at which the next level begins; 0 past the last: liquidation."""
        return self.enter[level] if level < Level.CRITICAL else 0.0

    @property
    def farthest(self) -> float:
        """The distance past which nothing has a level."""
        return max(self.leave)


def textbook(side: int, distances: Floats, deviations: tuple[float, ...]) -> Floats:
    """Give 2 Phi(-d / deviation), never falling in the horizon: it stands in for trained heads."""
    del side
    columns = [reflection(distances, np.full(len(distances), each)) for each in deviations]
    return np.maximum.accumulate(np.stack(columns, axis=1), axis=1)


def triggers_of(
    side: int, deviations: tuple[float, ...], chances: Chances, settings: WarnSettings
) -> Triggers:
    """Work out a market's distances from its forecast."""
    table = chances(side, GRID, deviations)
    enter, leave = [], []
    for number, level in enumerate(LEVELS):
        column = table[:, HORIZONS_S.index(_HORIZON_OF[level])]
        wanted, least = settings.chances[number], settings.distances[number]
        enter.append(max(least, _last(column, wanted)))
        far = max(least * settings.leave_distance_ratio, enter[-1])
        leave.append(max(far, _last(column, wanted * settings.leave_chance_ratio)))
    return Triggers(enter=_falling(enter), leave=_falling(leave))


def without_forecast(settings: WarnSettings) -> Triggers:
    """Give the distances that hold where nobody forecasts a market: those of the settings alone."""
    ratio = settings.leave_distance_ratio
    return Triggers(
        enter=_falling(list(settings.distances)),
        leave=_falling([each * ratio for each in settings.distances]),
    )


def level_by_chances(chances: tuple[float, ...], held: Level, settings: WarnSettings) -> Level:
    """Give the level that probabilities over `HORIZONS_S` ask for; a held one is kept longer."""
    found = Level.NONE
    for number, level in enumerate(LEVELS):
        wanted = settings.chances[number]
        wanted *= settings.leave_chance_ratio if level <= held else 1.0
        if chances[HORIZONS_S.index(_HORIZON_OF[level])] >= wanted:
            found = level
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is known of every market's next day: triggers, and probabilities along the grid."""

    triggers: Mapping[tuple[MarketId, int], Triggers] = field(
        default_factory=lambda: MappingProxyType({})
    )
    tables: Mapping[tuple[MarketId, int], Floats] = field(
        default_factory=lambda: MappingProxyType({})
    )
    otherwise: Triggers

    def of(self, market: MarketId, side: int) -> Triggers:
        """Give a market's distances for a side."""
        return self.triggers.get((market, side), self.otherwise)

    def chances(self, market: MarketId, side: int, distance: float) -> tuple[float, ...] | None:
        """Give the probabilities at a distance, over `HORIZONS_S`; None without a forecast."""
        table = self.tables.get((market, side))
        if table is None:
            return None
        if distance <= 0.0:
            return (1.0,) * len(HORIZONS_S)
        at = math.log(min(max(distance, GRID[0]), GRID[-1]))
        grid = np.log(GRID)
        return tuple(float(np.interp(at, grid, column)) for column in table.T)

    def farthest(self, market: MarketId) -> float:
        """Give the distance past which no position of a market has a level."""
        return max(self.of(market, side).farthest for side in (1, -1))


def outlook_of(
    deviations: Mapping[MarketId, tuple[float, ...]], chances: Chances, settings: WarnSettings
) -> Outlook:
    """Look ahead for every market that has a forecast."""
    every = [(market, side) for market in deviations for side in (1, -1)]
    return Outlook(
        triggers={
            (m, side): triggers_of(side, deviations[m], chances, settings) for m, side in every
        },
        tables={(m, side): chances(side, GRID, deviations[m]) for m, side in every},
        otherwise=without_forecast(settings),
    )


_HORIZON_OF: Final[Mapping[Level, int]] = dict(
    zip(LEVELS, sorted(HORIZONS_S, reverse=True), strict=True)
)


def _last(column: Floats, wanted: float) -> float:
    """Give the farthest distance of the grid at which a probability is reached, and one step."""
    reached = np.nonzero(column >= wanted)[0]
    if not len(reached):
        return 0.0
    return float(GRID[min(reached[-1] + 1, len(GRID) - 1)])


def _falling(values: list[float]) -> tuple[float, ...]:
    """Let no level begin farther off than a lesser one."""
    return tuple(np.minimum.accumulate(np.array(values)).tolist())
