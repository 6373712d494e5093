"""Drift: quiet on weeks like training's, at the stated rate, and loud on features that left it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.dataset import Rows
from models.drift import (
    LEAST_HOURS,
    WEEK_MS,
    Reference,
    Week,
    drifted,
    ratios,
    reference_of,
    state_of_week,
    week_from,
    week_of,
)
from models.features import HOUR_MS, FeatureVector
from models.manifest import TrainedModel

HOURS_NAMES = ("hours_a", "hours_b", "hours_thin_day_usdc", "clock_day_sine")
WEEK_HOURS = 168


def history(seed: int, weeks: int, markets: int = 8) -> Rows:
    """Features that stay where they are for long, around a level of each market's own."""
    rng = np.random.default_rng(seed)
    steps = weeks * WEEK_HOURS
    own = rng.normal(0.0, 0.5, (markets, 1, 5))
    values = np.zeros((markets, steps, 5))
    noise = rng.normal(0.0, 0.1, values.shape)
    for step in range(1, steps):
        values[:, step] = 0.98 * values[:, step - 1] + noise[:, step]
    stamps = np.tile(HOUR_MS * np.arange(steps, dtype=np.int64), markets)
    symbols = np.repeat([f"M{market}" for market in range(markets)], steps)
    names = (*HOURS_NAMES, "minutes_c")
    return rows_of(names, (own + values).reshape(-1, 5), stamps, symbols)


def rows_of(
    names: tuple[str, ...], values: np.ndarray, stamps: np.ndarray, symbols: np.ndarray
) -> Rows:
    nothing = np.zeros((len(stamps), 0))
    return Rows(
        names=names,
        features=values,
        as_of_ms=stamps,
        symbols=symbols,
        variance=nothing,
        falls=nothing,
        rises=nothing,
    )


def weeks_of(rows: Rows) -> list[Week]:
    """Serve the rows hour by hour, each week from its start."""
    found, week = [], week_of(0)
    for stamp in np.unique(rows.as_of_ms):
        hour = int(stamp) // HOUR_MS
        if week_of(hour).number != week.number:
            found.append(week)
            week = week_of(hour)
        chosen = rows.features[rows.as_of_ms == stamp].tolist()
        vectors = [
            FeatureVector(market=m, as_of_ms=int(stamp), names=rows.names, values=tuple(values))
            for m, values in enumerate(chosen)
        ]
        week = week.with_hour(vectors, hour)
    return [*found, week]


@pytest.fixture(scope="module")
def reference() -> Reference:
    rows = history(1, 60, markets=40)
    return reference_of(rows, rows)


def test_reference__names__leave_out_the_clock_and_money(reference: Reference) -> None:
    assert reference.names == ("hours_a", "hours_b", "minutes_c")


def test_drifted__one_market_like_trainings__alarms_about_once_a_year(
    reference: Reference,
) -> None:
    found = [bool(drifted(reference, week)) for m in range(8) for week in one_market(m)]
    assert sum(found) / len(found) <= 3.0 / 52.0


def one_market(seed: int) -> list[Week]:
    return weeks_of(history(100 + seed, 26, markets=1))


def test_drifted__many_markets_like_trainings__are_rarer_still(reference: Reference) -> None:
    assert not [week for week in weeks_of(history(2, 26)) if drifted(reference, week)]


def test_drifted__a_feature_that_moved__is_named_with_how_far(reference: Reference) -> None:
    rows = history(3, 1)
    moved = rows.features + np.array([0.0, 6.0, 0.0, 0.0, 0.0])
    (week,) = weeks_of(rows_of(rows.names, moved, rows.as_of_ms, rows.symbols))
    (found,) = drifted(reference, week)
    assert found.name == "hours_b"
    assert found.ratio > 2.0


def test_ratios__less_than_half_a_week__says_nothing(reference: Reference) -> None:
    rows = history(4, 1)
    early = rows.select(rows.as_of_ms < (LEAST_HOURS - 1) * HOUR_MS)
    (week,) = weeks_of(early)
    assert ratios(reference, week) == {}


def test_week__written_and_read__goes_on_to_the_bit() -> None:
    (week,) = weeks_of(history(5, 1))
    assert week_from(json.loads(json.dumps(state_of_week(week)))) == week


def test_week__order_of_markets__changes_no_bit() -> None:
    rows = history(6, 1, markets=3)
    last = rows.select(rows.as_of_ms == rows.as_of_ms.max())
    vectors = [
        FeatureVector(market=m, as_of_ms=0, names=rows.names, values=tuple(values))
        for m, values in enumerate(last.features.tolist())
    ]
    assert week_of(0).with_hour(vectors, 1) == week_of(0).with_hour(vectors[::-1], 1)


def test_week__starts_with_the_epochs_own_weeks() -> None:
    assert week_of(WEEK_MS // HOUR_MS).number == 1
    assert week_of(WEEK_MS // HOUR_MS - 1).number == 0


def test_reference__impossible_scale__is_refused() -> None:
    zero = np.zeros(1)
    with pytest.raises(ValueError, match="positive"):
        Reference(names=("a",), centre=zero, scale=zero, level=zero + 1.0)


def test_train__reference__is_part_of_the_model(trained: TrainedModel) -> None:
    reference = trained.fitted.reference
    assert reference is not None
    assert "hours_squared_24" in reference.names
    assert "minutes_squared_60m" in reference.names
    assert np.isfinite(reference.centre).all()
