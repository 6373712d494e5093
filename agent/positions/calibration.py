"""Whether chances of liquidation come true: each published chance beside what followed; pure.

For each horizon one look in so long a time is taken, so that outcomes do not overlap, and its
positions are one step of two sequential tests (`models.monitors`): that more were liquidated than
1.2 times what was said, and that fewer than half were. Who closed first counts against an alarm in
either test: as spared in the first, not at all in the second. So neither alarms more often than
stated, whoever closes when. Tests are of one model: with the first look of another they begin anew,
since what is left of the evidence against the one would alarm of the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from models.heads import HORIZONS_S
from models.monitors import CALIBRATION_BETS, TOLERANCE, YEAR_S, Detector
from relayer.outcomes import MS, Watched

LOW, HIGH = "low", "high"
KINDS: Final = (LOW, HIGH)
YEARS: Final = 1.0
"""Mean time between false alarms of all tests together, at least."""
HALF: Final = 0.5
"""Owners who heed a warning make chances look too high; down to this share that is no alarm."""
WORDS: Final = {
    LOW: "more are liquidated than 1.2 times what was said: warnings come late",
    HIGH: "fewer than half as many are liquidated as was said: warnings cry wolf, or are heeded",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One look at one horizon, so far: sums over its positions."""

    at_ms: int
    count: int = 0
    low: float = 0.0
    high: float = 0.0
    known: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The tests, by horizon and kind, and the look that each horizon is at; all of one model."""

    model: str = ""
    detectors: Mapping[str, Detector] = field(default_factory=dict)
    steps: Mapping[int, Step] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What one settlement added to a horizon: known outcomes, what was said of them, what came."""

    outcomes: int = 0
    predicted: float = 0.0
    liquidated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The tests after a settlement, its tallies by horizon, and alarms as (horizon, kind)."""

    calibration: Calibration
    tallies: Mapping[int, Tally]
    alarms: tuple[tuple[int, str], ...] = ()


def judged(before: Calibration, settled: Sequence[Watched]) -> Judged:
    """Take outcomes in the order of their looks; the newest look stays open for more of it."""
    calibration, alarms = before, []
    tallies = dict.fromkeys(HORIZONS_S, Tally())
    for row in settled:
        chances = _chances(row)
        if chances is None:
            continue
        calibration = _of_model(calibration, str(row.facts.get("model", "")))
        for horizon_s, chance in zip(HORIZONS_S, chances, strict=True):
            calibration, raised, counts = _opened(calibration, row.at_ms, horizon_s)
            alarms += [(horizon_s, kind) for kind in raised]
            if not counts:
                continue
            hit, closed = _ended(row, horizon_s)
            calibration = _added(calibration, horizon_s, chance, (hit, closed))
            if not closed:
                tallies[horizon_s] = _counted(tallies[horizon_s], chance, hit=hit)
    return Judged(calibration=calibration, tallies=tallies, alarms=tuple(alarms))


def shares(calibration: Calibration) -> dict[tuple[int, str], float]:
    """Say by horizon and kind how near each test is to its alarm, 1 at it."""
    found = {}
    for horizon_s in HORIZONS_S:
        for kind in KINDS:
            held = _detector(calibration, horizon_s, kind)
            found[horizon_s, kind] = held.evidence / held.threshold
    return found


def state_of(calibration: Calibration) -> dict[str, Any]:
    """Write it as JSON values."""
    return {
        "model": calibration.model,
        "detectors": {
            key: [each.steps, *each.levels] for key, each in sorted(calibration.detectors.items())
        },
        "steps": {
            str(horizon_s): [each.at_ms, each.count, each.low, each.high, each.known]
            for horizon_s, each in sorted(calibration.steps.items())
        },
    }


def calibration_from(content: Mapping[str, Any]) -> Calibration:
    """Read it back; a test that was written with other bets begins anew."""
    detectors = {}
    for key, values in content.get("detectors", {}).items():
        fresh = _fresh(int(key.split("/")[0]))
        if len(values) == len(fresh.bets) + 1:
            levels = tuple(float(each) for each in values[1:])
            detectors[key] = replace(fresh, levels=levels, steps=int(values[0]))
    steps = {
        int(horizon): Step(
            at_ms=int(at_ms), count=int(count), low=float(low), high=float(high), known=int(known)
        )
        for horizon, (at_ms, count, low, high, known) in content.get("steps", {}).items()
    }
    return Calibration(model=str(content.get("model", "")), detectors=detectors, steps=steps)


def _of_model(calibration: Calibration, model: str) -> Calibration:
    """Begin anew where another model speaks."""
    return calibration if calibration.model == model else Calibration(model=model)


def _opened(
    calibration: Calibration, at_ms: int, horizon_s: int
) -> tuple[Calibration, list[str], bool]:
    """Begin a look, if it is a horizon after the last; say whether a row of this time counts."""
    held = calibration.steps.get(horizon_s)
    if held is not None and at_ms < held.at_ms + horizon_s * MS:
        return calibration, [], at_ms == held.at_ms
    detectors, raised = dict(calibration.detectors), []
    if held is not None:
        for kind, excess in _excesses(held):
            after = _detector(calibration, horizon_s, kind).after(excess)
            if after.alarms:
                raised.append(kind)
                after = after.restarted()
            detectors[f"{horizon_s}/{kind}"] = after
    steps = {**calibration.steps, horizon_s: Step(at_ms=at_ms)}
    return replace(calibration, detectors=detectors, steps=steps), raised, True


def _excesses(step: Step) -> list[tuple[str, float]]:
    """Give what a look that is over adds to each test: means over its positions."""
    found = [(LOW, step.low / step.count)] if step.count else []
    return found + ([(HIGH, step.high / step.known)] if step.known else [])


def _added(
    calibration: Calibration, horizon_s: int, chance: float, end: tuple[bool, bool]
) -> Calibration:
    """Add a position to the look of its horizon; `end`: liquidated, or closed first."""
    hit, closed = end
    held = calibration.steps[horizon_s]
    high = held.high if closed else held.high + HALF * chance - hit
    step = Step(
        at_ms=held.at_ms,
        count=held.count + 1,
        low=held.low + hit - TOLERANCE * chance,
        high=high,
        known=held.known + (not closed),
    )
    return replace(calibration, steps={**calibration.steps, horizon_s: step})


def _ended(row: Watched, horizon_s: int) -> tuple[bool, bool]:
    """Say whether it was liquidated within the horizon, and else whether it closed before."""
    end_s = row.at_ms // MS + horizon_s
    closed = row.closed_s if row.closed_s is not None and row.closed_s <= end_s else None
    hit = row.liquidated_s is not None and row.liquidated_s <= end_s
    if hit and closed is not None and row.liquidated_s is not None:
        hit = row.liquidated_s <= closed
    return hit, closed is not None and not hit


def _chances(row: Watched) -> tuple[float, ...] | None:
    """Give what was said of a row; None where nothing was, or it was liquidatable already."""
    found = row.facts.get("chances")
    if not isinstance(found, list) or len(found) != len(HORIZONS_S):
        return None
    real = all(isinstance(each, int | float) and math.isfinite(each) for each in found)
    is_due = not row.facts.get("distance", 0.0) > 0.0
    return None if is_due or not real else tuple(min(max(float(e), 0.0), 1.0) for e in found)


def _counted(tally: Tally, chance: float, *, hit: bool) -> Tally:
    return Tally(
        outcomes=tally.outcomes + 1,
        predicted=tally.predicted + chance,
        liquidated=tally.liquidated + hit,
    )


def _detector(calibration: Calibration, horizon_s: int, kind: str) -> Detector:
    held = calibration.detectors.get(f"{horizon_s}/{kind}")
    return _fresh(horizon_s) if held is None else held


def _fresh(horizon_s: int) -> Detector:
    """Give a test that has seen nothing, with its part of the false alarms."""
    tests = len(HORIZONS_S) * len(KINDS)
    return Detector(threshold=tests * YEARS * YEAR_S / horizon_s, bets=CALIBRATION_BETS)
