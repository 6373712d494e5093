"""Words of the card for what the code names briefly: horizons, columns, measures."""

from __future__ import annotations

from collections.abc import Mapping

from models.manifest import Manifest
from models.walked import WALKED

HOUR_S = 3_600
SPANS = {"1": "1 h", "4": "4 h", "24": "day", "168": "week", "720": "month"}
KINDS = {
    "range": "variance by highs and lows",
    "squared": "variance by returns",
    "fall_share": "share of falls in the variance",
    "jump_share": "share of jumps in the variance",
    "largest_share": "share of the largest hour",
    "drawdown": "fall from the high",
    "return": "return",
    "volume": "volume against its month",
    "surge": "variance against its month",
}
CLOCK = {
    "clock_day_sine": "hour of the day (1)",
    "clock_day_cosine": "hour of the day (2)",
    "clock_week_sine": "hour of the week (1)",
    "clock_week_cosine": "hour of the week (2)",
    "clock_weekend": "weekend ahead",
}
MEASURES = {
    "rows_hours": "instants learned from, hourly candles",
    "rows_minutes": "instants learned from, minute candles",
}
FAMILIES = {"hours": "hourly candles", "minutes": "minute candles"}
FOLD = "fold_qlike_"


def span_words(horizon_s: int) -> str:
    """Write a horizon as people say it: 15 min, 4 h."""
    return f"{horizon_s // HOUR_S} h" if horizon_s >= HOUR_S else f"{horizon_s // 60} min"


def column_words(name: str) -> str:
    """Write what a column of the forecast is, and whether of the market itself or of all."""
    if name in CLOCK:
        return CLOCK[name]
    family, _, rest = name.partition("_")
    kind, _, span = rest.rpartition("_")
    if kind not in KINDS:
        return name
    whose = "all markets: " if family == "market" else ""
    return f"{whose}{KINDS[kind]}, {SPANS.get(span, span)}"


def measure_words(name: str) -> str:
    """Write what a figure of the training is."""
    if not name.startswith(FOLD):
        return MEASURES.get(name, name.replace("_", " "))
    horizon, _, family = name.removeprefix(FOLD).partition("_")
    return f"QLIKE of later folds, {span_words(int(horizon))}, {FAMILIES.get(family, family)}"


def walked_lines(manifest: Manifest) -> list[tuple[str, ...]]:
    """List what the recipe did where it was walked forward, one line a horizon and side.

    Horizon, QLIKE, side, promised breaches, breaches, average and pinball loss; empty where no
    figures were given.
    """
    figures = {
        name.removeprefix(WALKED): value
        for name, value in manifest.metrics.items()
        if name.startswith(WALKED)
    }
    lines: list[tuple[str, ...]] = []
    if "1h_qlike" in figures:
        lines.append(("1 h", _loss(figures, "1h"), "", "", "", "", ""))
    for horizon, words, promise in (("4h", "4 h", "0.50%"), ("24h", "24 h", "1.00%")):
        for side in ("long", "short"):
            if f"{horizon}_{side}_breaches" in figures:
                own = [figures[f"{horizon}_{side}_{each}"] for each in ("breaches", "average")]
                pinball = f"{1e4 * figures[f'{horizon}_{side}_pinball']:.2f}"
                tail = (side, promise, f"{own[0]:.2%}", f"{own[1]:.2%}", pinball)
                lines.append((words, _loss(figures, horizon), *tail))
    return lines


def _loss(figures: Mapping[str, float], horizon: str) -> str:
    return f"{figures[f'{horizon}_qlike']:.4f}"
