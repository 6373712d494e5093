"""The stated grid of all scores: seven significant digits, rounded toward safety.

The last bit of a sum differs between processors; on a grid of 1e-6 relative it does not show.
"""

from __future__ import annotations

import math

DIGITS = 6
"""Digits after the first: one step is between 1e-7 and 1e-6 of the value."""
SAME = 1e-6
"""Part of a step within which a value is already on the grid, so that rounding twice is once."""


def risk_up(value: float) -> float:
    """Round a risk up to the grid."""
    return _on_grid(value, up=True)


def depth_down(value: float) -> float:
    """Round an amount that protects down to the grid."""
    return _on_grid(value, up=False)


def _on_grid(value: float, *, up: bool) -> float:
    if not math.isfinite(value) or value < 0.0:
        raise ValueError(f"a score must be finite and at least 0, not {value}")
    if value == 0.0:
        return 0.0
    places = DIGITS - math.floor(math.log10(value))
    steps = value * 10.0**places if places >= 0 else value / 10.0**-places
    whole = math.ceil(steps - SAME) if up else math.floor(steps + SAME)
    return whole / 10.0**places if places >= 0 else whole * 10.0**-places
