"""One crisis, one seed: the same minutes and traders under every peer, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np

from agent.config import Settings
from agent.decisions import Decision
from agent.judge import Rules
from agent.positions.chances import trained
from agent.positions.levels import Level, Outlook, WarnSettings, outlook_of
from benchmarks.crises_book import Floats, Rows, Table
from benchmarks.crises_daemon import Daemon, Scored, settled_values, words_for
from benchmarks.crises_floor import (
    MEASURED_MINUTES,
    REACTION_MINUTES,
    REST_MINUTES,
    Floor,
    Look,
    Record,
    nobody_looks,
)
from benchmarks.crises_law import MS, Class, Law, deployed
from benchmarks.crises_orders import Crowd
from benchmarks.crises_peers import (
    EWMA,
    HEEDED,
    MATCHED,
    NOBODY,
    OURS,
    SCALED,
    TIERS,
    Ewma,
    Multiples,
    Tiers,
    scaled_caps,
    with_caps,
)
from benchmarks.crises_prices import (
    LEAD_MINUTES,
    LOOK_BACK_HOURS,
    MINUTE_MS,
    Bars,
    Walk,
    path_of,
    read_bars,
    within,
)
from contracts.risk_bounds import Values
from contracts.units import LeverageE2, MarketId, Ppm, WholeUsdc
from models.artifact import LoadedModel
from models.intents import intents
from models.population import traders
from models.risk_heads import RiskHeads

POOL_USDC, INSURANCE_USDC = 50_000_000, 500_000
LEAST_VALID_S: Final = 900
FIRST: Final = Values(
    cap_e2=LeverageE2(1_000),
    open_interest_cap_usdc=WholeUsdc(1_048_576),
    size_scale_usdc=WholeUsdc(131_072),
    spread_ppm=Ppm(520),
    reduce_only=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crisis:
    """A stretch of recorded candles: which file, markets and their classes, and when.

    What happens in the first `warm_days` fills the books and is not counted. `witness` is another
    venue's file of the same bars, which wicks are held to.
    """

    name: str
    file: str
    markets: tuple[tuple[str, int], ...]
    start: datetime
    end: datetime
    warm_days: int = 1
    witness: str | None = None

    @property
    def symbols(self) -> tuple[str, ...]:
        """The markets' names."""
        return tuple(symbol for symbol, _ in self.markets)

    @property
    def classes(self) -> tuple[int, ...]:
        """The markets' classes."""
        return tuple(class_id for _, class_id in self.markets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What every replay of a run stands on."""

    model: LoadedModel
    settings: Settings
    found: Multiples
    tiers: Tiers
    accounts: int
    every_minutes: int

    @property
    def rules(self) -> Rules:
        """The rules of the configuration, with updates that hold until after the next is due."""
        valid_s = max(LEAST_VALID_S, 120 * self.every_minutes)
        return self.settings.rules.model_copy(update={"valid_for_s": valid_s})

    @property
    def classes(self) -> dict[int, Class]:
        """The deployed classes."""
        assert self.settings.deployment is not None
        return {
            int(number): Class(prices=each.rules, bounds=each.bounds, margin=each.margin)
            for number, each in self.settings.deployment.classes.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One peer's replay of one crisis and seed."""

    peer: str
    record: Record
    walk: Walk
    warm_minutes: int


def bars_of(folder: Path, crisis: Crisis) -> Bars:
    """Read a crisis' candles, from 30 days and one before it.

    Raises
    ------
    MissingCandlesError
        When the file does not hold them.
    """
    start_ms = int(crisis.start.timestamp()) * MS
    lead_ms = (LOOK_BACK_HOURS * 60 + LEAD_MINUTES) * MINUTE_MS
    end_ms = int(crisis.end.timestamp()) * MS
    first_ms = start_ms - lead_ms
    bars = read_bars(folder / crisis.file, crisis.symbols, first_ms, end_ms)
    if crisis.witness is None:
        return bars
    names = [symbol.removesuffix(":USDT") for symbol in crisis.symbols]
    return within(bars, read_bars(folder / crisis.witness, names, first_ms, end_ms))


class Play:
    """One crisis and seed; ours goes first, for the others start from its scores."""

    def __init__(self, ground: Ground, crisis: Crisis, bars: Bars, seed: int) -> None:
        self._ground, self._crisis = ground, crisis
        self.walk = path_of(bars, crisis.symbols, int(crisis.start.timestamp()) * MS, seed)
        people = traders(ground.accounts, markets=len(crisis.symbols), seed=seed)
        policy = ground.rules.policy.classes
        self._most = tuple(policy[str(each)].max_leverage for each in crisis.classes)
        self._crowd = Crowd(
            people=people,
            intents=intents(
                people, minutes=self.walk.length, markets=len(crisis.symbols), seed=seed
            ),
            most_leverage=self._most,
        )
        self.warm_minutes = crisis.warm_days * 1_440
        self.scored: list[Scored] = []
        self._average: dict[MarketId, LeverageE2] = {}
        self._shares: dict[MarketId, float] = {}
        self._follow: Callable[[Record], None] | None = None

    def run(
        self, peer: str, look: Look = nobody_looks, follow: Callable[[Record], None] | None = None
    ) -> Played:
        """Replay the crisis under one peer; `follow` is given the record that is being written."""
        law = self._law()
        self._follow = follow
        if peer == OURS:
            floor = self._run_ours(law, look)
        else:
            if peer == HEEDED:
                look = Heeding(
                    self.scored, len(self._crisis.symbols), self._ground.model.risks
                ).look
            if peer == SCALED:
                self._scale()
            floor = self._run(law, self._steered(peer), look)
        return Played(
            peer=peer, record=floor.record, walk=self.walk, warm_minutes=self.warm_minutes
        )

    def _scale(self) -> None:
        """Measure what EWMA's caps are to be multiplied by to be ours on average."""
        floor = self._run(self._law(), self._steered(EWMA), nobody_looks)
        found = _average_caps(floor.record, self.warm_minutes)
        self._shares = {market: self._average[market] / cap for market, cap in found.items()}

    def _law(self) -> Law:
        return deployed(
            self._ground.classes,
            self._crisis.classes,
            [FIRST] * len(self._crisis.classes),
            self.walk.start_ms // MS,
            (POOL_USDC, INSURANCE_USDC),
        )

    def _run(self, law: Law, steer: Callable[[Law, int], None], look: Look) -> Floor:
        floor = Floor(law, self.walk, self._crowd, steer, look)
        if self._follow is not None:
            self._follow(floor.record)
        floor.begin()
        for minute in range(1, self.walk.length + 1):
            floor.play(minute)
        return floor

    def _run_ours(self, law: Law, look: Look) -> Floor:
        daemon = Daemon(self._ground.model, self._ground.rules, self.walk)

        def steer(law: Law, minute: int) -> None:
            if not self._is_time(minute):
                return
            judgement, scored = daemon.cycle(law, minute)
            self.scored.append(scored)
            words, validity_s = judgement.words, judgement.validity_s
            if minute == 0:
                rules = self._ground.rules
                law.begin_at(settled_values(law, self.walk, scored.decisions, rules))
                words, validity_s = words_for(law, self.walk, 0, scored.decisions, rules)
            if words:
                law.update(words, law.now_s * MS, validity_s, daemon.model_hash)

        floor = self._run(law, steer, look)
        daemon.close()
        self._average = _average_caps(floor.record, self.warm_minutes)
        return floor

    def _is_time(self, minute: int) -> bool:
        return minute % self._ground.every_minutes == 0

    def _steered(self, peer: str) -> Callable[[Law, int], None]:
        """Give what sets a peer's limits, from our liquidity figures and its own caps."""
        by_minute = {each.minute: each for each in self.scored}
        decisions = self._decisions(peer)
        rules = self._ground.rules

        def steer(law: Law, minute: int) -> None:
            if not self._is_time(minute) or minute not in by_minute:
                return
            if peer == NOBODY and minute > self.warm_minutes:
                return
            wanted = decisions(by_minute[minute])
            if minute == 0:
                law.begin_at(settled_values(law, self.walk, wanted, rules))
            words, validity_s = words_for(law, self.walk, minute, wanted, rules)
            if words:
                law.update(words, law.now_s * MS, validity_s, bytes(32))

        return steer

    def _decisions(self, peer: str) -> Callable[[Scored], Mapping[MarketId, Decision]]:
        policy, classes = self._ground.rules.policy, self._crisis.classes
        if peer in (EWMA, SCALED):
            ewma = Ewma(self.walk, self._ground.found, policy)

            def by_ewma(scored: Scored) -> Mapping[MarketId, Decision]:
                found = ewma.decisions(scored, classes)
                return found if peer == EWMA else with_caps(found, scaled_caps(found, self._shares))

            return by_ewma
        if peer == TIERS:
            return lambda scored: with_caps(scored.decisions, self._tier_caps(scored.minute))
        if peer == MATCHED:
            return lambda scored: with_caps(scored.decisions, self._average)
        return lambda scored: scored.decisions

    def _tier_caps(self, minute: int) -> dict[MarketId, LeverageE2]:
        now_ms = self.walk.start_ms + minute * MINUTE_MS
        policy = self._ground.rules.policy.classes
        found = {}
        for place, (symbol, class_id) in enumerate(self._crisis.markets):
            own = policy[str(class_id)]
            cap = self._ground.tiers.cap_e2(symbol, own.liquidation_notional_usdc, now_ms)
            found[MarketId(place)] = LeverageE2(min(cap, int(own.max_leverage * 100)))
        return found


class Heeding:
    """What traders do who heed warnings: half of the position goes ten minutes after it is said."""

    def __init__(self, scored: Sequence[Scored], markets: int, heads: RiskHeads | None) -> None:
        self.scored = {each.minute: each for each in scored}
        self._heads = heads
        self._outlook: Outlook | None = None
        self._rests: dict[int, int] = {}
        self._markets = markets

    def look(self, law: Law, table: Table, minute: int, prices: Floats) -> list[tuple[int, int]]:
        """Find who has come within the level `warning`, and acts on it."""
        scored = self.scored.get(minute)
        if scored is not None:
            known = {market: each.volatility for market, each in scored.scores.items()}
            self._outlook = outlook_of(known, trained(self._heads), WarnSettings())
        rows = np.flatnonzero((table.size > 0) & table.heeds)
        if self._outlook is None or not len(rows):
            return []
        near = self._near(self._outlook, table, rows, table.distances(law, prices, rows))
        found = [row for row in near if self._rests.get(row, 0) <= minute]
        self._rests |= dict.fromkeys(found, minute + REST_MINUTES)
        return [(row, minute + REACTION_MINUTES) for row in found]

    def _near(self, outlook: Outlook, table: Table, rows: Rows, distances: Floats) -> list[int]:
        place = int(Level.WARNING) - 1
        found = []
        for market in range(self._markets):
            for side in (1, -1):
                border = outlook.of(MarketId(market), side).enter[place]
                of = (table.market[rows] == market) & (table.side[rows] == side)
                found += [int(row) for row in rows[of & (distances <= border)]]
        return found


def _average_caps(record: Record, warm_minutes: int) -> dict[MarketId, LeverageE2]:
    means = np.array(record.caps)[warm_minutes // MEASURED_MINUTES :].mean(axis=0)
    return {MarketId(place): LeverageE2(int(mean * 100)) for place, mean in enumerate(means)}
