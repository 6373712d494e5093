"""What a drill is: a fault, the alerts that it must raise, what mends it, and that they end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tests.operations.drills.server import Prometheus

S = TypeVar("S")
Labels = Mapping[str, str]
PATIENCE_S = 240.0
STEADY_S = 8.0  # so long an alert must stay away to have ended
QUIET_S = 180.0  # after the fault before


@dataclass(frozen=True, slots=True, kw_only=True)
class Case(Generic[S]):
    """One fault; `alerts` name the labels that tell its alerts from those of another cause."""

    alerts: Mapping[str, Labels]
    fault: str
    mended: str
    provoke: Callable[[S], None]
    mend: Callable[[S], None]
    after: Callable[[S], None] = lambda _: None  # brings back what the mending took
    always: bool = False  # it fires already, and ends with Prometheus alone
    patience_s: float = PATIENCE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one alert; None: it did not come, or did not end."""

    alert: str
    fault: str
    fired_s: float | None
    mended: str
    resolved_s: float | None
    factor: float
    load: float  # of the machine, while it went on

    @property
    def passed(self) -> bool:
        return self.fired_s is not None and self.resolved_s is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene(Generic[S]):
    """Processes that live together, and the faults that they go through."""

    name: str
    factor: float
    open: Callable[[], AbstractContextManager[tuple[S, Prometheus]]]
    cases: tuple[Case[S], ...]
    beside: tuple[tuple[Case[S], ...], ...] = ()  # each in turn, beside the rest
    missing: Callable[[], str] = lambda: ""  # what a machine lacks for it


@dataclass
class Clocked:
    """When each of some alerts was first as wanted."""

    prometheus: Prometheus
    wanted: Mapping[str, Labels]
    silence_ends: bool = False  # a Prometheus that does not answer shows none
    at_s: dict[str, float] = field(default_factory=dict)

    def wait_until_firing(self, began: float, patience_s: float) -> None:
        """Wait until all fire at once; what does not fire at the end is left out.

        An alert that has ceased before anything is mended shows no end by mending.
        """
        there: set[str] | None = None
        while (now := time.monotonic() - began) < patience_s:
            there = self._there()
            for name in there or ():
                self.at_s.setdefault(name, now)
            if there == self.wanted.keys():
                return
            time.sleep(0.2)
        self.at_s = {name: at_s for name, at_s in self.at_s.items() if name in (there or ())}

    def wait_until_ended(self, began: float, patience_s: float) -> None:
        """Wait until all have ceased for a while."""
        self._wait_until_away(began, patience_s, STEADY_S, pending=False)

    def wait_until_away(self) -> None:
        """Wait until none fires or is about to: what comes then is of the next fault."""
        self._wait_until_away(time.monotonic(), QUIET_S, 0.0, pending=True)

    def _wait_until_away(
        self, began: float, patience_s: float, steady_s: float, *, pending: bool
    ) -> None:
        while (now := time.monotonic() - began) < patience_s:
            there = self._there(pending=pending)
            if there is not None:  # no answer is no finding
                kept = {name: self.at_s.get(name, now) for name in self.wanted.keys() - there}
                self.at_s = kept
            all_are_away = self.at_s.keys() == self.wanted.keys()
            if all_are_away and now - max(self.at_s.values()) >= steady_s:
                return
            time.sleep(0.2)

    def _there(self, *, pending: bool = False) -> set[str] | None:
        """Name those that fire; None: nobody knows."""
        active = self._active(pending=pending)
        if active is None:
            return None
        wanted = self.wanted.items()
        return {name for name, labels in wanted if any(_is(e, name, labels) for e in active)}

    def _active(self, *, pending: bool = False) -> list[Labels] | None:
        try:
            found = self.prometheus.active()
        except OSError:
            return [] if self.silence_ends else None
        return [each["labels"] for each in found if pending or each["state"] == "firing"]


def _is(labels: Labels, name: str, wanted: Labels) -> bool:
    return {"alertname": name, **wanted}.items() <= labels.items()


def play(case: Case[S], scene: S, prometheus: Prometheus) -> list[Row]:
    """Provoke, see every alert fire, mend, see every alert end."""
    until_quiet = Clocked(prometheus, case.alerts)
    if case.always:
        until_quiet.wait_until_firing(time.monotonic(), QUIET_S)
    else:
        until_quiet.wait_until_away()
    fired = Clocked(prometheus, case.alerts)
    began = time.monotonic()
    case.provoke(scene)
    fired.wait_until_firing(began, case.patience_s)
    ended = Clocked(prometheus, case.alerts, silence_ends=case.always)
    began = time.monotonic()
    case.mend(scene)
    ended.wait_until_ended(began, case.patience_s)
    case.after(scene)
    return [
        Row(
            alert=name,
            fault=case.fault,
            fired_s=fired.at_s.get(name) if name in until_quiet.at_s else None,
            mended=case.mended,
            resolved_s=ended.at_s.get(name),
            factor=prometheus.factor,
            load=os.getloadavg()[0],
        )
        for name in case.alerts
    ]
