"""The columns of the feature table, computed row by row from cleaned bars."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.bars import (
    CleanBars,
    excursion_scores,
    fall_share,
    jump_share,
    largest_share,
    low_daily_quote_volume,
    mean_of_last,
    present_in_last,
)
from models.state import own_state

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Columns = dict[str, FloatArray]

VARIANCE_FLOOR = 1e-10
"""Variance an hour below which a market counts as not moving at all (0.001 % an hour)."""
VOLUME_FLOOR = 1e-9
EXCURSION_SHARE = 0.05
"""The score of past excursions is their 95 % quantile: deep enough, and 30 days have 35 of them."""
HOUR_SPANS = (24, 168, 720)
"""Day, week and month of the HAR model (Corsi 2009), in hourly bars."""
FIVE_MINUTE_SPANS = {"15m": 3, "60m": 12, "240m": 48, "1440m": 288}
FIVE_MINUTES_IN_HOUR = 12
DAY_MS, WEEK_MS = 86_400_000, 604_800_000
WEEK_ORIGIN_MS = 4 * DAY_MS
"""1970-01-05 was a Monday: weeks are counted from Monday 00:00 UTC."""


def hour_columns(bars: CleanBars, as_of_ms: IntArray) -> Columns:
    """Columns from 720 hourly bars; variances are natural logarithms of variance an hour."""
    columns: Columns = {}
    traded = {span: present_in_last(bars, span) for span in (1, 4, *HOUR_SPANS)}
    for span in (1, 4, *HOUR_SPANS):
        mean = mean_of_last(bars.range_variance, span, traded[span])
        columns[f"hours_range_{span}"] = _log_variance(mean)
    squares = np.square(bars.returns)
    for span in (4, *HOUR_SPANS):
        columns[f"hours_squared_{span}"] = _log_variance(mean_of_last(squares, span, bars.known))
    columns["hours_fall_share_24"] = fall_share(bars.returns, 24)
    columns["hours_fall_share_168"] = fall_share(bars.returns, 168)
    columns["hours_jump_share_24"] = jump_share(bars.returns, 24)
    columns["hours_largest_share_24"] = largest_share(bars.returns, 24)
    columns["hours_largest_share_720"] = largest_share(bars.returns, 720)
    columns["hours_drawdown_24"] = _drawdown(bars, 24)
    columns["hours_drawdown_168"] = _drawdown(bars, 168)
    columns["hours_return_24"] = _standard_return(bars, squares, 24)
    columns["hours_return_168"] = _standard_return(bars, squares, 168)
    columns |= _volume_columns(bars)
    columns |= own_state(columns)
    columns |= _clock_columns(as_of_ms)
    columns["hours_history"] = np.log(
        np.maximum(bars.present.sum(axis=1), 1) / bars.present.shape[1]
    )
    falls, rises = excursion_scores(bars, scale_bars=24, ahead=4, share=EXCURSION_SHARE)
    columns["hours_long_excursion"] = np.log(falls)
    columns["hours_short_excursion"] = np.log(rises)
    return columns


def five_minute_columns(bars: CleanBars) -> Columns:
    """Columns from 288 bars of five minutes; variances again are logarithms an hour."""
    columns: Columns = {}
    squares = np.square(bars.returns)
    for name, span in FIVE_MINUTE_SPANS.items():
        # a five-minute bar without a trade did not move, so it counts
        ranged = mean_of_last(bars.range_variance, span, bars.known) * FIVE_MINUTES_IN_HOUR
        squared = mean_of_last(squares, span, bars.known) * FIVE_MINUTES_IN_HOUR
        columns[f"minutes_range_{name}"] = _log_variance(ranged)
        columns[f"minutes_squared_{name}"] = _log_variance(squared)
    columns["minutes_fall_share_60m"] = fall_share(bars.returns, 12)
    columns["minutes_jump_share_240m"] = jump_share(bars.returns, 48)
    columns["minutes_drawdown_60m"] = _drawdown(bars, 12)
    columns["minutes_volume_15m"] = _relative_volume(bars, 3, 288)
    columns["minutes_volume_60m"] = _relative_volume(bars, 12, 288)
    falls, rises = excursion_scores(bars, scale_bars=12, ahead=3, share=EXCURSION_SHARE)
    columns["minutes_long_excursion"] = np.log(falls)
    columns["minutes_short_excursion"] = np.log(rises)
    return columns


def _log_variance(variance: FloatArray) -> FloatArray:
    return np.log(np.maximum(variance, VARIANCE_FLOOR))


def _drawdown(bars: CleanBars, span: int) -> FloatArray:
    """Fall from the span's highest close, in deviations of the whole row; at most 8."""
    highest = bars.close[:, -span:].max(axis=1)
    variance = mean_of_last(np.square(bars.returns), bars.returns.shape[1], bars.known)
    deviation = np.sqrt(np.maximum(variance, VARIANCE_FLOOR) * span)
    return np.asarray(np.minimum((highest - bars.close[:, -1]) / deviation, 8.0))


def _standard_return(bars: CleanBars, squares: FloatArray, span: int) -> FloatArray:
    """Return over the span, in deviations of the whole row: rises and falls are not alike."""
    variance = mean_of_last(squares, squares.shape[1], bars.known)
    deviation = np.sqrt(np.maximum(variance, VARIANCE_FLOOR) * span)
    return np.asarray((bars.close[:, -1] - bars.close[:, -span - 1]) / deviation)


def _relative_volume(bars: CleanBars, short: int, long: int) -> FloatArray:
    """Logarithm of the recent volume a bar over the row's usual; within e^±6."""
    recent = mean_of_last(bars.volume, short, bars.known)
    usual = mean_of_last(bars.volume, long, bars.known)
    ratio = np.log(np.maximum(recent, VOLUME_FLOOR)) - np.log(np.maximum(usual, VOLUME_FLOOR))
    return np.asarray(np.clip(ratio, -6.0, 6.0))


def _volume_columns(bars: CleanBars) -> Columns:
    """Relative volume, and the two money measures of liquidity: thin day and Amihud 2002."""
    absolute = mean_of_last(np.abs(bars.returns), 720, bars.known)
    money = mean_of_last(bars.quote_volume, 720, bars.known)
    return {
        "hours_volume_4": _relative_volume(bars, 4, 720),
        "hours_volume_24": _relative_volume(bars, 24, 720),
        "hours_volume_168": _relative_volume(bars, 168, 720),
        "hours_thin_day_usdc": np.log(np.maximum(low_daily_quote_volume(bars), VOLUME_FLOOR)),
        "hours_amihud": np.log(
            np.maximum(absolute, VARIANCE_FLOOR) / np.maximum(money, VOLUME_FLOOR)
        ),
    }


def _clock_columns(as_of_ms: IntArray) -> Columns:
    """Hour of day and of week as first harmonics, and the weekend as it lies in the next day."""
    day = (as_of_ms % DAY_MS) / DAY_MS * (2.0 * np.pi)
    week_ms = (as_of_ms - WEEK_ORIGIN_MS) % WEEK_MS
    week = week_ms / WEEK_MS * (2.0 * np.pi)
    # share of the next 24 hours that is Saturday or Sunday
    saturday = 5 * DAY_MS
    entering = np.clip((week_ms - (saturday - DAY_MS)) / DAY_MS, 0.0, 1.0)
    leaving = np.clip((week_ms - (WEEK_MS - DAY_MS)) / DAY_MS, 0.0, 1.0)
    return {
        "clock_day_sine": np.sin(day),
        "clock_day_cosine": np.cos(day),
        "clock_week_sine": np.sin(week),
        "clock_week_cosine": np.cos(week),
        "clock_weekend": entering - leaving,
    }
