"""A bar is walked inside its own time and never shows its future."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from relayer.local.tape import BAR_MS, Tape
from tests.relayer.local.recordings import STARTS_MS, tape

MINUTES = 600
TAPE = tape(MINUTES)
INSTANTS = st.integers(STARTS_MS, STARTS_MS + MINUTES * BAR_MS + 5 * BAR_MS)
HOUR_MS = 60 * BAR_MS


@given(at_ms=INSTANTS)
def test_walk__any_instant__lies_inside_the_bar(at_ms: int) -> None:
    spot = TAPE.spot(at_ms)
    assert spot is not None
    assert TAPE.low[spot.bar] <= spot.price <= TAPE.high[spot.bar]
    assert spot.observed_ms <= at_ms


@given(at_ms=INSTANTS)
def test_bar_in_progress__any_instant__is_what_was_walked(at_ms: int) -> None:
    index = TAPE.bar_at(at_ms)
    bar = TAPE.bar(index, at_ms)
    opened = int(TAPE.open_ms[index])
    walked = [TAPE.spot(t).price for t in range(opened, min(at_ms, opened + BAR_MS - 1) + 1, 500)]
    ends = TAPE.path(index)[1] if bar.closed else ()
    assert bar.high <= max(*walked, *ends, TAPE.spot(at_ms).price) * 1.002
    assert bar.high >= max(walked) - 1e-9
    assert bar.low <= min(walked) + 1e-9
    assert bar.closed == (at_ms >= opened + BAR_MS)


@given(at_ms=INSTANTS, cut=st.integers(0, MINUTES - 1))
def test_bars__later_bars_changed__what_is_shown_stays(at_ms: int, cut: int) -> None:
    """Whatever happens after an instant cannot be seen at it."""
    current = max(0, TAPE.bar_at(at_ms))
    changed = _scrambled_after(TAPE, current)
    for length in (BAR_MS, HOUR_MS):
        shown = TAPE.bars(length, STARTS_MS, STARTS_MS + 11 * HOUR_MS, at_ms)
        assert shown == changed.bars(length, STARTS_MS, STARTS_MS + 11 * HOUR_MS, at_ms)
        assert all(bar.open_ms <= at_ms for bar in shown)
    assert TAPE.spot(at_ms) == changed.spot(at_ms)


@given(at_ms=INSTANTS)
def test_bar_in_progress__extreme_not_reached_yet__not_shown(at_ms: int) -> None:
    index = TAPE.bar_at(at_ms)
    times, prices = TAPE.path(index)
    share = (at_ms - int(TAPE.open_ms[index])) / BAR_MS
    bar = TAPE.bar(index, at_ms)
    reached = [price for time, price in zip(times, prices, strict=True) if time <= share]
    if share < times[2] and prices[2] not in reached:
        hidden_high = prices[2] == max(prices) and prices[2] > max(*reached, bar.close)
        assert not hidden_high or bar.high < prices[2]


def test_bar__closed__is_the_recorded_one() -> None:
    bar = TAPE.bar(5, int(TAPE.open_ms[6]))
    assert bar.closed
    recorded = [TAPE.open[5], TAPE.high[5], TAPE.low[5], TAPE.close[5], TAPE.volume[5]]
    assert [bar.open, bar.high, bar.low, bar.close, bar.volume] == recorded


def test_path__both_orders_occur__up_bars_mostly_low_first() -> None:
    rising = [i for i in range(MINUTES) if TAPE.close[i] > TAPE.open[i]]
    low_first = sum(TAPE.path(i)[1][1] == TAPE.low[i] for i in rising)
    assert 0.65 * len(rising) < low_first < 0.85 * len(rising)


def test_path__same_symbol_and_bar__same_walk() -> None:
    assert tape(MINUTES).path(17) == TAPE.path(17)


def test_hours__from_minutes__open_high_low_close_volume() -> None:
    hour = TAPE.bars(HOUR_MS, STARTS_MS, STARTS_MS + HOUR_MS, STARTS_MS + HOUR_MS)[0]
    rows = slice(0, 60)
    assert hour.closed
    assert hour.open == TAPE.open[0]
    assert hour.high == TAPE.high[rows].max()
    assert hour.low == TAPE.low[rows].min()
    assert hour.close == TAPE.close[59]
    assert hour.volume == float(np.sum(TAPE.volume[rows]))


def test_spot__after_the_last_bar__stale_close() -> None:
    spot = TAPE.spot(TAPE.ends_ms + 3_600_000)
    assert spot is not None
    assert not spot.live
    assert spot.price == TAPE.close[-1]
    assert spot.observed_ms == TAPE.ends_ms


def test_spot__before_the_first_bar__none() -> None:
    assert TAPE.spot(STARTS_MS - 1) is None


def _scrambled_after(whole: Tape, last: int) -> Tape:
    """The same bars up to `last`, other prices and volumes afterwards."""
    factor = np.where(np.arange(len(whole.open_ms)) > last, 3.0, 1.0)
    return Tape(
        symbol=whole.symbol,
        base=whole.base,
        quote=whole.quote,
        open_ms=whole.open_ms,
        open=whole.open * factor,
        high=whole.high * factor,
        low=whole.low * factor,
        close=whole.close * factor,
        volume=whole.volume * factor,
    )
