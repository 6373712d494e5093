"""Live watch over promises: the sequential test of `models.monitors` on outcomes in service.

One detector a horizon and side; all together raise a false alarm once in `YEARS` on average at
most, as long as each breach rate stays within 1.2 times its promise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.heads import HORIZONS_S
from models.monitors import Detector, breach_detector, breach_excess
from models.promises import SIDES, Ending
from models.tails import LEVELS

YEARS = 1.0
"""Mean time between false alarms of the whole watch, at least."""
LEVEL = LEVELS[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The detectors by horizon and side, as ``900/long``; a value, so it is journalled."""

    detectors: Mapping[str, Detector]


def new_watch() -> Watch:
    """Return a watch that has seen nothing."""
    count = len(HORIZONS_S) * len(SIDES)
    return Watch(
        detectors={
            f"{horizon_s}/{side}": breach_detector(horizon_s, years=count * YEARS)
            for horizon_s in HORIZONS_S
            for side in SIDES
        }
    )


def watched(watch: Watch, endings: Sequence[Ending]) -> tuple[Watch, tuple[str, ...]]:
    """Return the watch after one look, and what it raises an alarm for.

    The endings of a horizon are one step, whatever their number; a detector that alarmed starts
    again.
    """
    detectors, alarms = dict(watch.detectors), []
    for horizon_s in HORIZONS_S:
        ended = [each for each in endings if each.promise.horizon_s == horizon_s]
        for side in SIDES if ended else ():
            key = f"{horizon_s}/{side}"
            broken = np.array([each.breached(side, LEVEL) for each in ended], dtype=np.float64)
            after = detectors[key].after(breach_excess(broken, 1.0 - LEVEL))
            if after.alarms:
                alarms.append(key)
                after = after.restarted()
            detectors[key] = after
    return Watch(detectors=detectors), tuple(alarms)


def state_of_watch(watch: Watch) -> dict[str, Any]:
    """Write a watch as JSON values."""
    return {key: [each.steps, *each.levels] for key, each in sorted(watch.detectors.items())}


def watch_from(content: Mapping[str, Sequence[float]]) -> Watch:
    """Read a watch back; a detector that was not written begins anew."""
    fresh = new_watch().detectors
    return Watch(
        detectors={
            key: Detector(
                threshold=each.threshold,
                levels=tuple(float(level) for level in content[key][1:]),
                steps=int(content[key][0]),
            )
            if key in content
            else each
            for key, each in fresh.items()
        }
    )
