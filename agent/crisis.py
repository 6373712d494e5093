"""Caps through a file's stormiest months beside an exchange's tiers: for a model's card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from agent.policy import ClassPolicy, PolicySettings, margin_of
from models.bars import BarMatrix
from models.dataset import (
    HOUR_MS,
    PRICE_COLUMNS,
    Rows,
    Series,
    hour_rows,
    joined,
    read_series,
    with_state,
)
from models.features import FeatureVector
from models.judging import Tiers, first_month, read_tiers
from models.rivals import TIER_NOTIONALS, tier_tables
from models.scorer import Scorer

DAY_MS = 86_400_000
STEP_HOURS, BEFORE_DAYS, AFTER_DAYS = 4, 7, 38
LOOK_BACK_DAYS = 30
LEAST_ROWS = 20
POLICY = PolicySettings(classes={})
RULES = ClassPolicy(
    maintenance_floor_ratio=0.01, max_leverage=50, liquidation_notional_usdc=TIER_NOTIONALS[-1]
)
"""The local configuration's majors, at a liquidation of a million."""


def crisis_caps(
    scorer: Scorer, candles: Path, report: Mapping[str, Any], tiers: Path | None
) -> list[dict[str, Any]]:
    """Score the largest market every four hours around the month with the largest moves.

    Where tiers came into force later than that, the stormiest month since then is drawn too.
    Returns what the card draws: leverage caps of the policy, and of the tiers where they are in
    force all along; a month with too little of every market is left out.
    """
    known = read_tiers(tiers)
    months = [_stormiest(report["months"])]
    since = None if known is None else first_month(known)
    later = [month for month in report["months"] if since is not None and month["month"] > since]
    if later and _stormiest(later) not in months:
        months.append(_stormiest(later))
    drawn = (_drawn(scorer, candles, month, known) for month in months)
    return [each for each in drawn if each is not None]


def _stormiest(months: Sequence[Mapping[str, Any]]) -> str:
    """Name the stormiest month, the earliest of several."""
    return str(max(months, key=lambda month: month["realised"])["month"])


def _drawn(scorer: Scorer, candles: Path, month: str, known: Tiers | None) -> dict[str, Any] | None:
    """Score one month of its largest market."""
    start = int(datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC).timestamp() * 1_000)
    span = (start - BEFORE_DAYS * DAY_MS, start + AFTER_DAYS * DAY_MS)
    rows = _rows_within(candles, span)
    if rows is None:
        return None
    if len(rows.as_of_ms) < LEAST_ROWS:
        return None
    vectors = [
        FeatureVector(market=0, as_of_ms=int(stamp), names=rows.names, values=tuple(values))
        for stamp, values in zip(rows.as_of_ms, rows.features.tolist(), strict=True)
    ]
    margins = [margin_of(score, RULES, POLICY).ratio for score in scorer.score(vectors)]
    days = rows.as_of_ms.astype("datetime64[ms]").astype("datetime64[D]")
    drawn: dict[str, Any] = {
        "name": f"{rows.symbols[0]}, {days[0]} to {days[-1]}, every {STEP_HOURS} hours",
        "ours": [min(0.5 / margin, RULES.max_leverage) for margin in margins],
        "labels": [str(day) for day in days],
    }
    if known is not None:
        tables = tier_tables(rows.as_of_ms, rows.symbols, known)
        rates = np.expm1(list(tables.values())[-1][1][:, 0])
        if np.isfinite(rates).all():
            drawn["tiers"] = (0.5 / rates).tolist()
    return drawn


def _rows_within(candles: Path, span: tuple[int, int]) -> Rows | None:
    """Rows of the market with the most money between two instants, in the state of all."""
    parts, most, largest = [], -1.0, ""
    for series in read_series(candles):
        own = _cut(series, span)
        if own is None:
            continue
        money = float(np.nansum(own.bars.close * own.bars.volume))
        if money > most:
            most, largest = money, series.symbol
        stride_ms = STEP_HOURS * HOUR_MS
        parts.append(hour_rows(own, horizons_s=(STEP_HOURS * 3_600,), stride_ms=stride_ms))
    if not parts:
        return None
    rows = with_state(joined(parts))
    inside = (rows.as_of_ms >= span[0]) & (rows.as_of_ms < span[1])
    return rows.select(inside & (rows.symbols == largest))


def _cut(series: Series, span: tuple[int, int]) -> Series | None:
    """Keep the bars of a span and of the look-back before it."""
    start_ms = span[0] - (LOOK_BACK_DAYS + 1) * DAY_MS
    first = max((start_ms - series.start_ms) // series.bar_ms, 0)
    end = (span[1] - series.start_ms) // series.bar_ms
    if end <= first:
        return None
    bars = BarMatrix(**{name: getattr(series.bars, name)[:, first:end] for name in PRICE_COLUMNS})
    return replace(series, start_ms=series.start_ms + first * series.bar_ms, bars=bars)
