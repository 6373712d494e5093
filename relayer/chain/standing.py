"""What a process knows of its endpoints: how fast, how faulty, how far behind, and whom to ask."""

from __future__ import annotations

import math
from collections import Counter as Count
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median_high
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge

from relayer.labelled import Labelled, unknown

Name = TypeVar("Name")
Value = TypeVar("Value", bound=Hashable)

_WEIGHT: Final = 0.2  # of the newest answer in the averages
_PREFERRED: Final = 1.5  # how much better another has to be before it is asked instead
_DOUBLINGS: Final = 6


class Why(StrEnum):
    """Why an endpoint is left out for a while."""

    FAULTS = "faults"
    STALE = "stale"
    LYING = "lying"
    CLOSED = "closed"


class Compared(StrEnum):
    """What came of holding two endpoints' answers against each other."""

    SAME = "same"
    DIFFERENT = "different"
    ALONE = "alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRules:
    """When an endpoint is left out, for how long, and how far heads may be apart."""

    faults_in_a_row: int = 3
    most_lag_blocks: int = 5
    rest_s: float = 5.0  # doubled each time, until one release was worth it
    look_s: float = 2.0
    witness_s: float = 1.0  # how long the second answer is waited for after the first


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One endpoint's record; each event makes the next one."""

    latency_s: float = 0.1  # to begin with, so that a new one is neither first nor last
    heard: bool = False
    faults: float = 0.0  # share of its answers, newest weighted most
    in_a_row: int = 0
    lag_blocks: int = 0
    lagging: int = 0  # looks in a row
    out_until_s: float = 0.0
    out: Why | None = None
    times_out: int = 0

    @property
    def score(self) -> float:
        """Give what asking it costs: less is better."""
        return self.latency_s * (1.0 + 10.0 * self.faults) + 0.05 * self.lag_blocks


class Table:
    """The standings of all endpoints by number."""

    def __init__(self, count: int, rules: PoolRules) -> None:
        self._rules = rules
        self._rows = [Standing() for _ in range(count)]
        self._chosen = 0

    def __getitem__(self, number: int) -> Standing:
        return self._rows[number]

    def answered(self, number: int, seconds: float) -> None:
        """Note an answer."""
        row = self._rows[number]
        self._rows[number] = replace(
            row,
            latency_s=row.latency_s + _WEIGHT * (seconds - row.latency_s),
            faults=row.faults * (1.0 - _WEIGHT),
            in_a_row=0,
            heard=True,
        )

    def failed(self, number: int, now_s: float) -> None:
        """Note a fault; a few in a row leave the endpoint out."""
        row = self._rows[number]
        faults = row.faults + _WEIGHT * (1.0 - row.faults)
        self._rows[number] = replace(row, faults=faults, in_a_row=row.in_a_row + 1)
        if self._rows[number].in_a_row >= self._rules.faults_in_a_row:
            self.leave_out(number, Why.FAULTS, now_s)

    def leave_out(self, number: int, why: Why, now_s: float) -> None:
        """Ask an endpoint no more until it has rested, each time twice as long."""
        row = self._rows[number]
        rest_s = self._rules.rest_s * 2 ** min(row.times_out, _DOUBLINGS)
        self._rows[number] = replace(
            row, out=why, out_until_s=now_s + rest_s, times_out=row.times_out + 1
        )

    def release(self, number: int) -> None:
        """Ask it again: it has answered, and is where the others are."""
        self._rows[number] = replace(self._rows[number], out=None, in_a_row=0, lagging=0)

    def rested(self, number: int, now_s: float) -> bool:
        """Tell whether one that is left out may be tried."""
        row = self._rows[number]
        return row.out is not None and now_s >= row.out_until_s

    def heads(self, heads: Mapping[int, int], now_s: float) -> None:
        """Compare heads; one that is behind at two looks in a row is stale.

        With three or more the middle one counts, so that a single liar cannot make the others
        look old by naming a block that nobody has.
        """
        if not heads:
            return
        newest = median_high(heads.values()) if len(heads) > 2 else max(heads.values())
        for number, head in heads.items():
            lag = max(0, newest - head)
            late = self._rows[number].lagging + 1 if lag > self._rules.most_lag_blocks else 0
            self._rows[number] = replace(self._rows[number], lag_blocks=lag, lagging=late)
            if late >= 2 and self._rows[number].out is None:
                self.leave_out(number, Why.STALE, now_s)

    def in_use(self) -> list[int]:
        """Name the endpoints that may be asked, the one in use first."""
        there = [n for n, row in enumerate(self._rows) if row.out is None]
        there.sort(key=lambda n: self._rows[n].score)
        if self._chosen in there and there:
            best = self._rows[there[0]].score
            if self._rows[self._chosen].score <= best * _PREFERRED:
                there.remove(self._chosen)
                there.insert(0, self._chosen)
        if there:
            self._chosen = there[0]
        return there


def outvoted(said: Mapping[int, Value]) -> list[int] | None:
    """Name those whose answer is not the majority's; None where there is no majority."""
    counts = Count(said.values()).most_common(1)
    if not counts or counts[0][1] * 2 <= len(said):
        return None
    return [number for number, value in said.items() if value != counts[0][0]]


class EndpointMetrics:
    """What Prometheus hears of endpoints; they are numbered as the configuration lists them."""

    def __init__(self, registry: CollectorRegistry, numbers: Sequence[str]) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"aml_endpoint_{name}", text, ["endpoint"], registry=registry)

        self.in_use = Labelled(gauge("in_use", "1 where an endpoint may be asked"), numbers)
        self.latency_seconds = unknown(
            Labelled(gauge("latency_seconds", "Mean time of its newest answers"), numbers)
        )
        self.head_lag_blocks = unknown(
            Labelled(gauge("head_lag_blocks", "Blocks behind the others"), numbers)
        )
        left_out = Counter(
            "aml_endpoint_quarantines",
            "Times that an endpoint was left out",
            ["endpoint", "reason"],
            registry=registry,
        )
        self.quarantines = Labelled(left_out, numbers, Why)
        compared = Counter(
            "aml_endpoint_comparisons",
            "Reads that decide, held against a second endpoint's",
            ["result"],
            registry=registry,
        )
        self.comparisons = Labelled(compared, Compared)
        for number in numbers:
            self.in_use[number].set(1)  # until one is left out; a single endpoint never is

    def show(self, table: Table) -> None:
        """Show where every endpoint stands."""
        for (number,) in self.in_use:
            row = table[int(number) - 1]
            self.in_use[number].set(row.out is None)
            self.latency_seconds[number].set(row.latency_s if row.heard else math.nan)
            self.head_lag_blocks[number].set(row.lag_blocks)
