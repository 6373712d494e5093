"""What would pass instead of a refused wish, found by trying the contracts' own mirror; pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from agent.quoting.trial import Ask
from contracts.margin import SizeE18
from contracts.units import ONE_X, LeverageE2

STEPS = 24  # of halving the size: within 10^-7 of the most that passes
Fits = Callable[[Ask], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """What would pass with everything else as asked; None where no value of that field does."""

    leverage_e2: LeverageE2 | None = None
    size: SizeE18 | None = None


NOTHING_PASSES = Passing()


def what_passes(ask: Ask, fits: Fits, least_size: int) -> Passing:
    """Find the nearest leverage and the nearest size that pass."""
    free = replace(ask, margin=None)
    return Passing(
        leverage_e2=_most_leverage(free, fits), size=_nearest_size(free, fits, least_size)
    )


def nearest(name: str, names: Sequence[str]) -> str:
    """Say which name was meant, or which there are."""
    near = difflib.get_close_matches(name.upper(), names, n=1, cutoff=0.4)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"


def _most_leverage(ask: Ask, fits: Fits) -> LeverageE2 | None:
    """Halve the way between the least leverage and the one asked for."""
    low, high = int(ONE_X), max(int(ONE_X), int(ask.leverage_e2))
    if not fits(replace(ask, leverage_e2=LeverageE2(low))):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if fits(replace(ask, leverage_e2=LeverageE2(middle))):
            low = middle
        else:
            high = middle
    return LeverageE2(low)


def _nearest_size(ask: Ask, fits: Fits, least: int) -> SizeE18 | None:
    """Give the least that may be held where the wish is below it, else the most that passes."""
    if not fits(replace(ask, size=SizeE18(least))):
        return None
    low, high = least, int(ask.size)
    for _ in range(STEPS):
        if high <= low:
            break
        middle = (low + high) // 2
        if fits(replace(ask, size=SizeE18(middle))):
            low = middle
        else:
            high = middle
    return SizeE18(low)
