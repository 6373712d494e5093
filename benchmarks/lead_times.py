"""How early liquidations are announced, and how often nothing follows an announcement.

    python -m benchmarks.lead_times --json OUT [--accounts N] [--seed N]
    python -m benchmarks.lead_times --early --model FOLDER [--chances 0.15,0.15,0.15,0.2]

The population of `benchmarks.crises` trades on recorded candles of 2025 (perpetuals, 1 and 5
minutes) under our agent; each minute the daemon's own levels, board and screen look at every
position (`agent.positions`). Nothing was trained or tuned on 2025: it is looked at, no more.
`--early` plays crises before 2020 instead, on which thresholds may be chosen; `--textbook` asks the
formula, not the heads.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from agent.config import load_settings
from agent.positions.chances import trained
from agent.positions.levels import LEVELS, Level, Outlook, WarnSettings, outlook_of
from agent.positions.warn import Assessed, Board
from benchmarks.crises import DATA, QUICK_MULTIPLES, TIERS
from benchmarks.crises_book import Floats, Rows, Table
from benchmarks.crises_daemon import Scored
from benchmarks.crises_floor import Record
from benchmarks.crises_law import MS, Law
from benchmarks.crises_peers import OURS, Tiers
from benchmarks.crises_prices import MINUTE_MS, read_bars
from benchmarks.crises_run import Crisis, Ground, Play
from benchmarks.early_crises import EARLY, early_bars
from contracts.units import MarketId, PriceE18
from models.artifact import default_artifact, load
from models.risk_heads import RiskHeads

AHEAD_MINUTES: Final = 30
DAY_MINUTES: Final = 1_440
SIX: Final = (
    ("BTC/USDT:USDT", 1),
    ("ETH/USDT:USDT", 1),
    ("BNB/USDT:USDT", 2),
    ("LTC/USDT:USDT", 2),
    ("LINK/USDT:USDT", 3),
    ("ADA/USDT:USDT", 3),
)
FIVE: Final = SIX[:-1]
"""ADA is recorded from five days later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A stretch of 2025, and from when its candles are read."""

    crisis: Crisis
    known_from: datetime


STRETCHES: Final = (
    Stretch(
        crisis=Crisis(
            name="2025-04, 5 min",
            file="binance-usdm-1m-2025/5m.parquet",
            markets=SIX,
            start=datetime(2025, 4, 5, tzinfo=UTC),
            end=datetime(2025, 4, 9, tzinfo=UTC),
        ),
        known_from=datetime(2025, 3, 7, tzinfo=UTC),
    ),
    Stretch(
        crisis=Crisis(
            name="2025-05, 1 min",
            file="binance-usdm-1m-2025/1m.parquet",
            markets=FIVE,
            start=datetime(2025, 5, 28, tzinfo=UTC),
            end=datetime(2025, 6, 1, tzinfo=UTC),
        ),
        known_from=datetime(2025, 5, 5, tzinfo=UTC),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One level of one position, from when it was reached."""

    level: Level
    row: int
    held_since: int
    minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A position's first liquidation, how long it was held, and how early each level stood."""

    row: int
    held_since: int
    minute: int
    leads: Mapping[Level, int]

    @property
    def held_minutes(self) -> int:
        """How long it was open."""
        return self.minute - self.held_since


@dataclass(slots=True)
class Watcher:
    """The daemon's board over a replay, asked every minute; it keeps alarms and ends."""

    settings: WarnSettings
    start_ms: int
    every_minutes: int
    scored: Sequence[Scored]
    heads: RiskHeads | None = None
    record: Record | None = None
    board: Board = field(default_factory=Board)
    alarms: list[Alarm] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    position_minutes: int = 0
    since: dict[tuple[int, Level], int] = field(default_factory=dict)
    instances: dict[int, int] = field(default_factory=dict)
    outlook: Outlook | None = None
    read: int = 0

    def look(self, law: Law, table: Table, minute: int, prices: Floats) -> list[tuple[int, int]]:
        """Note who was liquidated this minute, then look at everybody again; nobody reacts."""
        self._ended(table)
        self._expect(minute)
        if self.outlook is not None:
            rows = table.open_rows()
            self.position_minutes += len(rows)
            self._step(self.outlook, table, rows, (law, prices, minute))
        return []

    def _expect(self, minute: int) -> None:
        """Take the last cycle's forecasts, as the daemon's warner does."""
        if self.scored and (minute % self.every_minutes == 1 or self.outlook is None):
            latest = self.scored[-1].scores
            found = {market: each.volatility for market, each in latest.items()}
            self.outlook = outlook_of(found, trained(self.heads), self.settings)

    def _step(
        self, outlook: Outlook, table: Table, rows: Rows, at: tuple[Law, Floats, int]
    ) -> None:
        law, prices, minute = at
        distances = table.distances(law, prices, rows)
        assessed = [
            _assessed(outlook, table, int(row), float(distance), self.board)
            for row, distance in zip(rows, distances, strict=True)
            if distance <= outlook.farthest(MarketId(int(table.market[row])))
            or str(row) in self.board.standing
        ]
        now_ms = self.start_ms + minute * MINUTE_MS
        self.board, _, _ = self.board.step(assessed, now_ms, self.settings)
        self._note(table, minute)

    def _note(self, table: Table, minute: int) -> None:
        """Note where levels begin and end."""
        standing = {int(key): each.level for key, each in self.board.standing.items()}
        for row, held in standing.items():
            instance = int(table.held_since[row])
            if self.instances.get(row) != instance:
                self._forget(row)
                self.instances[row] = instance
            for level in LEVELS:
                if level <= held and (row, level) not in self.since:
                    self.since[row, level] = minute
                    self.alarms.append(
                        Alarm(level=level, row=row, held_since=instance, minute=minute)
                    )
        over = [key for key in self.since if standing.get(key[0], Level.NONE) < key[1]]
        for key in over:
            del self.since[key]

    def _forget(self, row: int) -> None:
        for level in LEVELS:
            self.since.pop((row, level), None)

    def _ended(self, table: Table) -> None:
        """Note first liquidations since the last look, and which levels stood then."""
        assert self.record is not None
        known = {(end.row, end.held_since) for end in self.ends[-500:]}
        for each in self.record.liquidations[self.read :]:
            instance = int(table.held_since[each.row])
            if (each.row, instance) in known:
                continue
            known.add((each.row, instance))
            leads = {
                level: each.minute - self.since[each.row, level]
                for level in LEVELS
                if (each.row, level) in self.since and self.instances.get(each.row) == instance
            }
            self.ends.append(
                End(row=each.row, held_since=instance, minute=each.minute, leads=leads)
            )
        self.read = len(self.record.liquidations)


def _assessed(outlook: Outlook, table: Table, row: int, distance: float, board: Board) -> Assessed:
    """Assess a position as `agent.positions.warn_turn` does, prices and cure left out."""
    market, side = MarketId(int(table.market[row])), int(table.side[row])
    before = board.standing.get(str(row))
    held = before.level if before else Level.NONE
    return Assessed(
        key=str(row),
        account=str(int(table.trader[row])),
        market=market,
        side=side,
        is_cross=False,
        level=outlook.of(market, side).level_of(distance, held),
        distance=distance,
        price=PriceE18(1),
        liquidation_price=None,
        next_price=None,
        chances=None,
    )


def figures(watcher: Watcher, warm_minutes: int, last_minute: int) -> dict[str, Any]:
    """Give leads by level, and what came of alarms that had 24 hours to come true."""
    ends = [each for each in watcher.ends if each.minute > warm_minutes]
    old = [each for each in ends if each.held_minutes >= AHEAD_MINUTES]
    return {
        "liquidated": len(ends),
        "held_30_min": len(old),
        "position_days": watcher.position_minutes / DAY_MINUTES,
        "levels": {
            level.label: _level(watcher, level, (ends, old), (warm_minutes, last_minute))
            for level in LEVELS
        },
    }


def _level(
    watcher: Watcher,
    level: Level,
    of: tuple[Sequence[End], Sequence[End]],
    between: tuple[int, int],
) -> dict[str, float]:
    ends, old = of
    warm, last = between
    leads = [end.leads[level] for end in ends if level in end.leads]
    early = sum(end.leads.get(level, -1) >= AHEAD_MINUTES for end in ends)
    ended = {(end.row, end.held_since): end.minute for end in watcher.ends}
    judged = [
        alarm
        for alarm in watcher.alarms
        if alarm.level is level and warm < alarm.minute <= last - DAY_MINUTES
    ]
    kept = {(alarm.row, alarm.held_since) for alarm in judged}
    true = sum(_came_true(alarm, ended) for alarm in judged)
    came = {(alarm.row, alarm.held_since) for alarm in judged if _came_true(alarm, ended)}
    days = watcher.position_minutes / DAY_MINUTES
    every = sum(alarm.level is level for alarm in watcher.alarms)
    return {
        "flagged_30_min_ahead": early / len(ends) if ends else math.nan,
        "flagged_30_min_ahead_of_held": early / len(old) if old else math.nan,
        "flagged_at_all": len(leads) / len(ends) if ends else math.nan,
        "median_lead_min": float(np.median(leads)) if leads else math.nan,
        "alarms_judged": float(len(judged)),
        "false_alarms": 1.0 - true / len(judged) if judged else math.nan,
        "false_positions": 1.0 - len(came) / len(kept) if kept else math.nan,
        "alarms_a_position_day": every / days if days else math.nan,
    }


def _came_true(alarm: Alarm, ended: Mapping[tuple[int, int], int]) -> bool:
    minute = ended.get((alarm.row, alarm.held_since))
    return minute is not None and 0 <= minute - alarm.minute <= DAY_MINUTES


def watched(
    ground: Ground, play: Play, settings: WarnSettings, heads: RiskHeads | None
) -> dict[str, Any]:
    """Play ours over a stretch with the board beside it."""
    watcher = Watcher(
        settings=settings,
        start_ms=play.walk.start_ms,
        every_minutes=ground.every_minutes,
        scored=play.scored,
        heads=heads,
    )
    play.run(OURS, watcher.look, follow=lambda record: setattr(watcher, "record", record))
    return figures(watcher, play.warm_minutes, play.walk.length)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play both stretches, print the tables, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.lead_times", description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--every", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--early", action="store_true", help="crises before 2020")
    parser.add_argument("--model", type=Path, help="an artifact's folder, if not the shipped one")
    parser.add_argument("--chances", help="where levels begin, four between commas")
    parser.add_argument("--textbook", action="store_true", help="the formula, not the heads")
    options = parser.parse_args(arguments)
    chosen = EARLY if options.early else [each.crisis for each in STRETCHES]
    missing = [each.file for each in chosen if not (DATA / each.file).exists()]
    if missing:
        print(f"skipped: {missing[0]} is absent; the recorded candles are not part of the product")
        return 0
    ground = _ground(options)
    found: dict[str, Any] = {"artifact": ground.model.model_hash.hex(), "seed": options.seed}
    heads = None if options.textbook else ground.model.risks
    settings = _settings(options.chances)
    for name, play in _plays(ground, options):
        found[name] = watched(ground, play, settings, heads)
        print(json.dumps({name: found[name]}, indent=1), flush=True)
        if options.json is not None:
            options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def _settings(chances: str | None) -> WarnSettings:
    if chances is None:
        return WarnSettings()
    return WarnSettings.model_validate({"chances": [float(each) for each in chances.split(",")]})


def _plays(ground: Ground, options: argparse.Namespace) -> Iterator[tuple[str, Play]]:
    """Give what is to be played, one after the other."""
    for crisis in EARLY if options.early else ():
        yield crisis.name, Play(ground, crisis, early_bars(DATA, crisis), options.seed)
    for stretch in () if options.early else STRETCHES:
        yield stretch.crisis.name, _play(ground, stretch, options.seed)


def _play(ground: Ground, stretch: Stretch, seed: int) -> Play:
    crisis = stretch.crisis
    between = [int(each.timestamp()) * MS for each in (stretch.known_from, crisis.end)]
    bars = read_bars(DATA / crisis.file, crisis.symbols, between[0], between[1])
    return Play(ground, crisis, bars, seed)


def _ground(options: argparse.Namespace) -> Ground:
    return Ground(
        model=load(options.model or default_artifact()),
        settings=load_settings("local"),
        found=QUICK_MULTIPLES,
        tiers=Tiers(pd.read_parquet(DATA / TIERS)),
        accounts=options.accounts,
        every_minutes=options.every,
    )


if __name__ == "__main__":
    sys.exit(main())
