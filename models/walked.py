"""What a recipe did where it was judged, as figures that an artifact of that recipe carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from models.manifest import TrainedModel

WALKED = "walked_"
"""How these figures begin among the metrics of a manifest."""
OURS = "ours"
MEASURES = ("breaches", "average", "pinball")


def walked_figures(report: Mapping[str, Any]) -> dict[str, float]:
    """Take ours out of a report of `python -m benchmarks.models --json`."""
    figures: dict[str, float] = {}
    for name in ("24h", "4h"):
        figures[f"{WALKED}{name}_qlike"] = float(report[f"qlike_{name}"][OURS]["all"])
        for line in report[f"tails_{name}"]:
            if line["model"] == OURS:
                figures |= {
                    f"{WALKED}{name}_{line['side']}_{measure}": float(line[measure])
                    for measure in MEASURES
                }
    figures[f"{WALKED}1h_qlike"] = float(report["short_horizon"][OURS])
    return figures


def with_walked(model: TrainedModel, report: Mapping[str, Any]) -> TrainedModel:
    """Return the model with these figures in its manifest; they are part of its hash."""
    metrics = dict(model.manifest.metrics) | walked_figures(report)
    return TrainedModel(fitted=model.fitted, manifest=replace(model.manifest, metrics=metrics))
