"""Sequential tests of promises kept, forecasts at the right level, and probabilities come true.

Promises are watched by a sequential test, looked at after every outcome. It is the e-detector of
Shin, Ramdas and Rinaldo (arXiv 2203.03532), of Shiryaev-Roberts form: for each bet b,

    M_t = (M_{t-1} + 1) (1 + b x_t),     M = mean over bets,     alarm when M >= threshold,

where x_t is the mean over markets of outcome less promise. As long as x_t is at most 0 in
expectation, the mean time to a false alarm is at least `threshold` steps, whatever the
distribution and however the markets hang together at one instant. Outcomes must not overlap in
time: one step a horizon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

YEAR_S = 365 * 86_400
BETS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""From slow leaks to a crash; below 1 / promise for every promise of up to 6 %."""
CALIBRATION_BETS = (0.05, 0.1, 0.2, 0.4, 0.8)
"""A probability misses by at most 1, so a bet on it stays below 1."""
TOLERANCE = 1.2
"""A breach rate of up to 1.2 times the promise is inside what the evaluation accepts."""
HIGHEST = 1e200
MARKET_BETS = (1.0, 4.0, 16.0)
"""Fewer, for the many tests of single markets whose state is journalled."""
LEVEL_BETS = (0.05, 0.1, 0.2)
"""Below one over what a step of a level test can lose."""
LEVEL_TOLERANCE = 1.5
"""Realised over forecast variance of up to 1.5, on average, is a forecast at the right level."""
LOW_TOLERANCE, MOST_RATIO = 0.4, 4.0
"""A forecast is too high where the ratio, none counted as more than 4, is below 0.4 on average."""
LOSS_TOLERANCE = 1.5
"""QLIKE of up to 1.5 times that of training's later folds counts as kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A sequential test and what it has seen; a value, so it can be journalled and resumed.

    Attributes
    ----------
    threshold : float
        Steps of the mean time between false alarms, at least.
    bets : tuple of float
        Ascending; 1 + bet x must stay positive for every x.
    levels : tuple of float
        State, one a bet.
    steps : int
        Outcomes seen since the last start.
    """

    threshold: float
    bets: tuple[float, ...] = BETS
    levels: tuple[float, ...] = ()
    steps: int = 0

    def __post_init__(self) -> None:
        """Refuse a state that does not belong to the bets."""
        if self.threshold <= 1.0:
            raise ValueError("a threshold of one step or less alarms at once")
        if not self.levels:
            object.__setattr__(self, "levels", (0.0,) * len(self.bets))
        if len(self.levels) != len(self.bets):
            raise ValueError("one level a bet")

    @property
    def evidence(self) -> float:
        """Return how much speaks against the promise; it alarms at the threshold."""
        return sum(self.levels) / len(self.levels)

    @property
    def alarms(self) -> bool:
        """Tell whether the promise is held to be broken."""
        return self.evidence >= self.threshold

    def after(self, excess: float) -> Detector:
        """Return the detector after one more step; `excess` is outcome less promise."""
        factors = [1.0 + bet * excess for bet in self.bets]
        if min(factors) < 0.0:
            raise ValueError(f"an excess of {excess} is outside what the bets allow")
        levels = tuple(
            min((level + 1.0) * factor, HIGHEST)
            for level, factor in zip(self.levels, factors, strict=True)
        )
        return replace(self, levels=levels, steps=self.steps + 1)

    def restarted(self) -> Detector:
        """Return it as it was at the beginning."""
        return replace(self, levels=(), steps=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm: when, and how many steps after the detector's last start."""

    at_ms: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """How a monitor met a crisis.

    Attributes
    ----------
    name : str
    alarm_ms : int or None
        First alarm within the window, None when there was none.
    days : float or None
        From the onset to it.
    """

    name: str
    alarm_ms: int | None
    days: float | None


def breach_detector(
    horizon_s: int, *, years: float = 1.0, bets: tuple[float, ...] = BETS
) -> Detector:
    """Return a monitor of breaches: at most one false alarm in `years` on average."""
    return Detector(threshold=years * YEAR_S / horizon_s, bets=bets)


def breach_excess(breaches: FloatArray, promise: float) -> float:
    """Return what one step adds: share of markets that breached less what was allowed."""
    return float(breaches.sum() / max(len(breaches), 1)) - TOLERANCE * promise


def level_excess(ratios: FloatArray) -> float:
    """Return what one step adds for forecasts too low; ratios are realised over forecast variance.

    Ratios have no upper bound, which a bet on high ones does not need.
    """
    return float(ratios.sum() / max(len(ratios), 1)) - LEVEL_TOLERANCE


def idle_excess(ratios: FloatArray) -> float:
    """Return what one step adds for forecasts too high: margins that nobody needed."""
    capped = np.minimum(ratios, MOST_RATIO)
    return LOW_TOLERANCE - float(capped.sum() / max(len(ratios), 1))


def loss_excess(losses: FloatArray, promised: float) -> float:
    """Return what one step adds for forecasts worse than training's later folds promised."""
    return float(losses.sum() / max(len(losses), 1)) / promised - LOSS_TOLERANCE


def calibration_detectors(horizon_s: int, *, years: float = 1.0) -> tuple[Detector, Detector]:
    """Return monitors of probabilities that are too low and too high; together as stated."""
    each = Detector(threshold=2.0 * years * YEAR_S / horizon_s, bets=CALIBRATION_BETS)
    return each, each


def calibration_excess(happened: FloatArray, probability: FloatArray) -> float:
    """Return what one step adds for probabilities that are too low; its negative, too high."""
    return float((happened - probability).sum() / max(len(happened), 1))


def alarms(detector: Detector, stamps: Sequence[int], excesses: Sequence[float]) -> list[Alarm]:
    """Run a detector over a record, starting again after each alarm."""
    found = []
    for stamp, excess in zip(stamps, excesses, strict=True):
        detector = detector.after(excess)
        if detector.alarms:
            found.append(Alarm(at_ms=int(stamp), steps=detector.steps))
            detector = detector.restarted()
    return found


def delays(
    found: Sequence[Alarm], onsets: Sequence[tuple[str, int]], *, within_days: float = 45.0
) -> list[Delay]:
    """Say for each onset (name, ms) when the first alarm after it came."""
    result = []
    for name, onset in onsets:
        end = onset + within_days * 86_400_000
        later = [alarm.at_ms for alarm in found if onset <= alarm.at_ms < end]
        first = min(later) if later else None
        days = None if first is None else (first - onset) / 86_400_000
        result.append(Delay(name=name, alarm_ms=first, days=days))
    return result
