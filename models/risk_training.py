"""Fits of the heads of risk: candles and simulation, and beside them what a daemon recorded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.accounts import AccountRisk, joined_risk, simulated_risk
from models.liquidation import FirstPassage, PassageHead, PassageRows
from models.recorded_risks import RecordedRisks

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Watched = tuple[PassageRows | None, PassageRows | None]
"""Recorded positions of one horizon, long and short; None where they are too few."""

PASSAGE_ROWS = 60_000
"""Rows that first passage is fitted on, evenly drawn, each at ten distances."""


def passage_head(
    horizon_s: int,
    forecast: tuple[IntArray, FloatArray],
    outcomes: tuple[FloatArray, FloatArray],
    watched: Watched,
) -> PassageHead:
    """Fit first passage of one horizon; `forecast` is of instants and deviations."""
    stamps, deviation = forecast
    every = slice(None, None, -(-len(stamps) // PASSAGE_ROWS))
    long, short = (
        FirstPassage().fit(deviation[every], outcome[every], stamps[every], held)
        for outcome, held in zip(outcomes, watched, strict=True)
    )
    return PassageHead(horizon_s=horizon_s, long=long, short=short)


def account_risk(seen: RecordedRisks, *, seed: int, worlds: int) -> AccountRisk:
    """Fit account risk to the simulated population, and to recorded accounts that are enough."""
    people = seen.population()
    if people is None:
        return simulated_risk(seed=seed, worlds=worlds)
    return joined_risk(people.table, people.liquidated, seed=seed, worlds=worlds)
