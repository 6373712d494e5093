"""Features: the same alone and in a batch, in training and in serving, and nothing of tomorrow."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dataset import hour_rows, minute_rows, read_series
from models.features import (
    HOUR_MS,
    MINUTE_MS,
    BookDepth,
    Candles,
    FeatureVector,
    MarketWindow,
    WarmingUp,
    feature_vector,
    feature_vectors,
)
from tests.models.fakes import AS_OF_MS, DAY_MS, candles, changed, frame, scaled, window

BOOK = BookDepth(bid_usdc=(1e4, 3e4, 5e4, 9e4), ask_usdc=(2e4, 2e4, 6e4, 8e4))


def vector(market: MarketWindow) -> FeatureVector:
    result = feature_vector(market)
    assert isinstance(result, FeatureVector)
    return result


def of_itself(each: FeatureVector | WarmingUp) -> dict[str, float] | WarmingUp:
    """All columns but the state of all markets (tests/models/test_state.py)."""
    if isinstance(each, WarmingUp):
        return each
    columns = dict(zip(each.names, each.values, strict=True))
    return {name: value for name, value in columns.items() if not name.startswith("market_")}


def kept(bars: Candles, chosen: np.ndarray) -> Candles:
    names = ("open_ms", "open", "high", "low", "close", "volume")
    return Candles(bar_ms=bars.bar_ms, **{name: getattr(bars, name)[chosen] for name in names})


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(20)), st.integers(1, 20))
def test_feature_vectors__order_and_batch__change_no_bit(order: list[int], size: int):
    markets = [
        window(market=i, hours=72 + 36 * i, minutes=0 if i % 3 == 0 else 1_440) for i in range(20)
    ]
    alone = [of_itself(feature_vector(market)) for market in markets]
    chosen = order[:size]
    batch = feature_vectors([markets[place] for place in chosen])
    assert [of_itself(each) for each in batch] == [alone[place] for place in chosen]


def test_feature_vectors__no_market__is_empty():
    assert feature_vectors(()) == ()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 40), st.integers(0, 3))
def test_feature_vector__hours__equal_the_training_row(
    tmp_path_factory: pytest.TempPathFactory, place: int, seed: int
):
    path = tmp_path_factory.mktemp("hours") / "x.parquet"
    bars = frame("X", HOUR_MS, 1_000, seed=seed)
    bars.drop(index=[500, 501, 830]).to_parquet(path)
    rows = hour_rows(next(read_series(path)), horizons_s=(86_400,), stride_ms=25 * HOUR_MS)
    row = place % len(rows.as_of_ms)
    whole = candles(HOUR_MS, 1_000, seed=seed)
    past = kept(whole, np.setdiff1d(np.arange(1_000), [500, 501, 830]))
    market = MarketWindow(
        market=1, as_of_ms=int(rows.as_of_ms[row]), hours=past, minutes=candles(MINUTE_MS, 0)
    )
    served = vector(market)
    assert served.names == rows.names
    assert np.array(served.values).tobytes() == rows.features[row].tobytes()


def test_feature_vector__minutes__equal_the_training_row(tmp_path: Path):
    path = tmp_path / "X-1m.parquet"
    bars = frame("X", MINUTE_MS, 1_440 * 5, seed=5)
    bars.to_parquet(path)
    series = next(read_series(path))
    rows = minute_rows(series, horizons_s=(900,), stride_ms=55 * MINUTE_MS)
    minutes = candles(MINUTE_MS, 1_440 * 5, seed=5)
    frame_hours = bars.set_index("ts").resample("1h")
    hours = Candles(
        bar_ms=HOUR_MS,
        open_ms=AS_OF_MS - HOUR_MS * np.arange(120, 0, -1, dtype=np.int64),
        open=frame_hours["open"].first().to_numpy(),
        high=frame_hours["high"].max().to_numpy(),
        low=frame_hours["low"].min().to_numpy(),
        close=frame_hours["close"].last().to_numpy(),
        volume=np.array(
            [part["volume"].to_numpy().reshape(12, 5).sum(axis=1).sum() for _, part in frame_hours]
        ),
    )
    for row in (0, 10, len(rows.as_of_ms) - 1):
        as_of_ms = int(rows.as_of_ms[row])
        served = vector(MarketWindow(market=1, as_of_ms=as_of_ms, hours=hours, minutes=minutes))
        assert served.names == rows.names
        assert served.values == pytest.approx(tuple(rows.features[row]), rel=1e-9, abs=1e-9)


def test_feature_vector__bars_after_the_instant__change_nothing():
    market = window(market=3)
    earlier = AS_OF_MS - 5 * HOUR_MS - 7 * MINUTE_MS
    past = replace(
        market,
        as_of_ms=earlier,
        hours=kept(market.hours, market.hours.open_ms + HOUR_MS <= earlier),
        minutes=kept(market.minutes, market.minutes.open_ms + MINUTE_MS <= earlier),
    )
    assert vector(replace(market, as_of_ms=earlier)) == vector(past)


def test_feature_vector__bar_still_open__is_not_read():
    market = window(market=4)
    wild = market.hours.high.copy()
    wild[-1] *= 1.5
    during = replace(market, as_of_ms=AS_OF_MS - 1)
    changed_bar = replace(during, hours=changed(market.hours, high=wild))
    assert vector(changed_bar) == vector(during)


@settings(max_examples=15, deadline=None)
@given(st.floats(1e-6, 1e6))
def test_feature_vector__another_denomination__changes_nothing(factor: float):
    market = window(market=5)
    other = replace(
        market, hours=scaled(market.hours, factor), minutes=scaled(market.minutes, factor)
    )
    assert vector(other).values == pytest.approx(vector(market).values, rel=1e-7, abs=1e-7)


def test_feature_vector__one_absurd_low__changes_little():
    market = window(market=6)
    low = market.hours.low.copy()
    low[700] = 0.0001
    bad = vector(replace(market, hours=changed(market.hours, low=low)))
    good = vector(market)
    assert np.abs(np.array(bad.values) - np.array(good.values)).max() < 0.2


def test_feature_vector__all_values_are_finite_for_a_market_that_never_trades():
    flat = np.full(720, 100.0)
    bars = candles(HOUR_MS, 720)
    still = changed(bars, open=flat, high=flat, low=flat, close=flat, volume=np.zeros(720))
    values = vector(replace(window(minutes=0), hours=still)).values
    assert np.isfinite(values).all()


def test_feature_vector__under_three_days__is_warming_up():
    result = feature_vector(window(hours=71))
    assert result == WarmingUp(
        market=0,
        as_of_ms=AS_OF_MS,
        reason="71 hourly bars in the last 30 days, 72 are needed",
    )


def test_feature_vector__three_days__is_scored():
    assert isinstance(feature_vector(window(hours=72)), FeatureVector)


def test_feature_vector__last_three_hours_missing__is_warming_up():
    market = window()
    hours = kept(market.hours, np.arange(720) < 717)
    result = feature_vector(replace(market, hours=hours))
    assert isinstance(result, WarmingUp)
    assert result.reason == "no hourly bar in the last 3 hours"


def test_feature_vector__half_a_day_missing__is_warming_up():
    market = window()
    hours = kept(market.hours, (np.arange(720) < 697) | (np.arange(720) > 710))
    result = feature_vector(replace(market, hours=hours))
    assert isinstance(result, WarmingUp)
    assert result.reason == "10 hourly bars in the last day, 12 are needed"


def test_feature_vector__old_minutes__have_no_names():
    market = window()
    minutes = kept(market.minutes, np.arange(1_440) < 1_400)
    names = vector(replace(market, minutes=minutes)).names
    assert not [name for name in names if name.startswith("minutes_")]


def test_feature_vector__book__gives_the_thinner_side_never_falling():
    result = vector(replace(window(), book=BOOK))
    named = dict(zip(result.names, result.values, strict=True))
    depths = [named[f"book_depth_{distance}"] for distance in (10, 25, 50, 100)]
    assert depths == [1e4, 2e4, 5e4, 8e4]


def test_feature_vector__hour_of_week__follows_the_clock():
    saturday = AS_OF_MS + 3 * DAY_MS  # 2020-01-04
    hours = changed(candles(HOUR_MS, 720), open_ms=candles(HOUR_MS, 720).open_ms + 3 * DAY_MS)
    market = replace(window(minutes=0), as_of_ms=saturday, hours=hours)
    named = dict(zip(vector(market).names, vector(market).values, strict=True))
    assert named["clock_weekend"] == 1.0
    assert named["clock_day_cosine"] == 1.0


@pytest.mark.parametrize("values", [(), (1.0, 2.0), (float("nan"),), (float("inf"),)])
def test_feature_vector__name_without_a_number__is_refused(values: tuple[float, ...]):
    with pytest.raises(ValueError, match="finite"):
        FeatureVector(market=0, as_of_ms=0, names=("a",), values=values)


@pytest.mark.parametrize("column", ["open", "volume"])
def test_candles__column_of_another_length__is_refused(column: str):
    with pytest.raises(ValueError, match=column):
        changed(candles(HOUR_MS, 10), **{column: np.ones(9)})


def test_candles__out_of_order__is_refused():
    bars = candles(HOUR_MS, 10)
    with pytest.raises(ValueError, match="ascending"):
        changed(bars, open_ms=bars.open_ms[::-1].copy())


def test_candles__off_the_grid__is_refused():
    bars = candles(HOUR_MS, 10)
    with pytest.raises(ValueError, match="multiple"):
        changed(bars, open_ms=bars.open_ms + 1)


@pytest.mark.parametrize("depth", [-1.0, float("nan"), float("inf")])
def test_book_depth__no_amount__is_refused(depth: float):
    with pytest.raises(ValueError, match="depth"):
        BookDepth(bid_usdc=(depth, 1.0, 1.0, 1.0), ask_usdc=(1.0, 1.0, 1.0, 1.0))


def test_market_window__minutes_of_another_length__are_refused():
    with pytest.raises(ValueError, match="minutes"):
        replace(window(), minutes=candles(HOUR_MS, 10))


def test_feature_vector__another_process__gives_the_same_bits():
    code = (
        "from tests.models.fakes import window; from models.features import feature_vector;"
        "import numpy as np; values = feature_vector(window(market=7)).values;"
        "print(np.array(values).tobytes().hex())"
    )
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert run.stdout.strip() == np.array(vector(window(market=7)).values).tobytes().hex()
