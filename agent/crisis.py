"""Caps through the worst month of a candle file, beside an exchange's tiers: for a model's card."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from agent.policy import ClassPolicy, PolicySettings, margin_of
from models.dataset import HOUR_MS, hour_rows, read_series
from models.features import FeatureVector
from models.judging import read_tiers
from models.rivals import TIER_NOTIONALS, tier_tables
from models.scorer import Scorer

DAY_MS = 86_400_000
STEP_HOURS, BEFORE_DAYS, AFTER_DAYS = 4, 7, 38
LEAST_ROWS = 20
POLICY = PolicySettings(classes={})
RULES = ClassPolicy(
    maintenance_floor_ratio=0.01, max_leverage=50, liquidation_notional_usdc=TIER_NOTIONALS[-1]
)
"""The local configuration's majors, at a liquidation of a million."""


def crisis_caps(
    scorer: Scorer, candles: Path, report: Mapping[str, Any], tiers: Path | None
) -> list[dict[str, Any]]:
    """Score the largest market every four hours around the month with the most breaches.

    Returns what the card draws: leverage caps of the policy, and of the tiers where they are in
    force all along; empty where the month has too little of that market.
    """
    worst = max(report["months"], key=lambda month: month["long"] + month["short"])["month"]
    chosen = max(report["assets"], key=lambda each: (each["rows"], each["symbol"]))["symbol"]
    start = int(datetime.fromisoformat(f"{worst}-01").replace(tzinfo=UTC).timestamp() * 1_000)
    series = next(each for each in read_series(candles) if each.symbol == chosen)
    rows = hour_rows(series, horizons_s=(STEP_HOURS * 3_600,), stride_ms=STEP_HOURS * HOUR_MS)
    inside = (rows.as_of_ms >= start - BEFORE_DAYS * DAY_MS) & (
        rows.as_of_ms < start + AFTER_DAYS * DAY_MS
    )
    rows = rows.select(inside)
    if len(rows.as_of_ms) < LEAST_ROWS:
        return []
    vectors = [
        FeatureVector(market=0, as_of_ms=int(stamp), names=rows.names, values=tuple(values))
        for stamp, values in zip(rows.as_of_ms, rows.features.tolist(), strict=True)
    ]
    margins = [margin_of(score, RULES, POLICY).ratio for score in scorer.score(vectors)]
    drawn: dict[str, Any] = {
        "name": f"{chosen}, from {BEFORE_DAYS} days before {worst}, every {STEP_HOURS} hours",
        "ours": [min(0.5 / margin, RULES.max_leverage) for margin in margins],
    }
    known = read_tiers(tiers)
    if known is not None:
        tables = tier_tables(rows.as_of_ms, rows.symbols, known)
        rates = np.expm1(list(tables.values())[-1][1][:, 0])
        if np.isfinite(rates).all():
            drawn["tiers"] = (0.5 / rates).tolist()
    return [drawn]
