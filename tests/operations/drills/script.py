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


@dataclass
class Clocked:
    """When each of some alerts was first as wanted."""

    prometheus: Prometheus
    wanted: Mapping[str, Labels]
    silence_ends: bool = False  # a Prometheus that does not answer shows none
    at_s: dict[str, float] = field(default_factory=dict)

    def wait(self, began: float, patience_s: float, *, firing: bool) -> None:
        """Wait until all fire, or all have ceased for a while; what does not come is left out."""
        steady_s = 0.0 if firing else STEADY_S
        while time.monotonic() - began < patience_s and not self._steady(began, steady_s):
            self._look(began, self._active(), there=firing)
            time.sleep(0.2)

    def wait_until_away(self) -> None:
        """Wait until none fires or is about to: what comes then is of the next fault."""
        began = time.monotonic()
        while time.monotonic() - began < QUIET_S and not self._steady(began, 0.0):
            self._look(began, self._active(pending=True), there=False)
            time.sleep(0.2)

    def _steady(self, began: float, steady_s: float) -> bool:
        """Tell whether all have been as wanted for so long."""
        if len(self.at_s) < len(self.wanted):
            return False
        return time.monotonic() - began - max(self.at_s.values()) >= steady_s

    def _look(self, began: float, active: list[Labels] | None, *, there: bool) -> None:
        """Note when each came, or since when each is away; no answer is no finding."""
        if active is None:
            return
        now = time.monotonic() - began
        for name, labels in self.wanted.items():
            if there == any(_is(each, name, labels) for each in active):
                self.at_s.setdefault(name, now)
            elif not there:
                self.at_s.pop(name, None)

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
        until_quiet.wait(time.monotonic(), QUIET_S, firing=True)
    else:
        until_quiet.wait_until_away()
    fired = Clocked(prometheus, case.alerts)
    began = time.monotonic()
    case.provoke(scene)
    fired.wait(began, case.patience_s, firing=True)
    ended = Clocked(prometheus, case.alerts, silence_ends=case.always)
    began = time.monotonic()
    case.mend(scene)
    ended.wait(began, case.patience_s, firing=False)
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
