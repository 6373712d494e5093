"""What a drill is: a fault, the alerts that it must raise, what mends it, and that they end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

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
    always: bool = False  # it fires already, before any fault
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
    at_s: dict[str, float] = field(default_factory=dict)

    def wait(self, began: float, patience_s: float, *, firing: bool) -> None:
        """Wait until all fire, or all have ceased for a while; what does not come is left out."""
        steady_s = 0.0 if firing else STEADY_S
        while time.monotonic() - began < patience_s:
            active = self._active()
            now = time.monotonic() - began
            for name, labels in self.wanted.items():
                if firing == any(_is(each, name, labels) for each in active):
                    self.at_s.setdefault(name, now)
                elif not firing:
                    self.at_s.pop(name, None)
            if len(self.at_s) == len(self.wanted) and now - max(self.at_s.values()) >= steady_s:
                return
            time.sleep(0.2)

    def wait_until_away(self) -> None:
        """Wait until none fires or is about to: what comes then is of the next fault."""
        began = time.monotonic()
        while (now := time.monotonic() - began) < QUIET_S:
            active = self._active(pending=True)
            for name, labels in self.wanted.items():
                if not any(_is(each, name, labels) for each in active):
                    self.at_s.setdefault(name, now)
                else:
                    self.at_s.pop(name, None)
            if len(self.at_s) == len(self.wanted):
                return
            time.sleep(0.2)

    def _active(self, *, pending: bool = False) -> list[dict[str, Any]]:
        try:
            found = self.prometheus.active()
        except OSError:
            return []
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
    ended = Clocked(prometheus, case.alerts)
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
