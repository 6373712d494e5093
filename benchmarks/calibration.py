"""How well forecast chances fit what was observed: share, ratio, ECE, AUC and Brier score."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def line_of(chance: FloatArray, hit: FloatArray) -> dict[str, Any]:
    """Say how well forecast chances fit what was observed."""
    return {
        "observed": round(float(hit.mean()), 5),
        "ratio": round(float(chance.mean() / max(hit.mean(), 1e-9)), 3),
        "ece": round(_calibration_error(chance, hit), 5),
        "auc": round(_area(chance, hit), 4),
        "brier": round(float(np.square(chance - hit).mean()), 5),
    }


def _calibration_error(chance: FloatArray, hit: FloatArray, bins: int = 20) -> float:
    """Mean distance of forecast and observed over bins of equal width, weighted by their rows."""
    place = np.minimum((chance * bins).astype(np.int64), bins - 1)
    miss = np.bincount(place, chance - hit, minlength=bins)
    return float(np.abs(miss).sum() / len(hit))


def _area(chance: FloatArray, hit: FloatArray) -> float:
    """Area under the receiver operating curve, ties counted half."""
    _, inverse, counts = np.unique(chance, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2.0
    positive = float(hit.sum())
    total = float(rank[inverse][hit > 0.0].sum()) - positive * (positive + 1.0) / 2.0
    return total / max(positive * (len(hit) - positive), 1.0)
