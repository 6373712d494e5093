"""What followed a promise is measured as in training, and teaches the same factors in any order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bars import BarMatrix
from models.conformal import RULES, Promises, replayed
from models.dataset import HOUR_MS, Series, hour_rows, minute_rows
from models.features import MINUTE_MS, Candles
from models.heads import HORIZONS_S
from models.promises import (
    NOTHING_LEARNED,
    Ending,
    FactorState,
    Promise,
    after,
    ending_of,
    is_over,
    start_of,
)
from models.scorer import HorizonTail
from tests.models.fakes import AS_OF_MS, DAY_MS, candles, changed

NAMES = ("open", "high", "low", "close", "volume")


def promise(market: int = 0, horizon_s: int = 86_400, from_ms: int = 0, q: float = 0.1) -> Promise:
    tail = HorizonTail(
        horizon_s=horizon_s, long_990=q, long_995=1.1 * q, short_990=q, short_995=1.1 * q
    )
    return Promise(market=market, from_ms=from_ms, deviation=0.03, tail=tail)


def ending(each: Promise, *, fall: float = 0.0, rise: float = 0.0) -> Ending:
    return Ending(promise=each, variance=1e-3, fall=fall, rise=rise)


def as_series(bars: Candles) -> Series:
    columns = {name: getattr(bars, name)[None, :] for name in NAMES}
    start = int(bars.open_ms[0])
    return Series(symbol="A", bar_ms=bars.bar_ms, start_ms=start, bars=BarMatrix(**columns))


@pytest.mark.parametrize("horizon_s", HORIZONS_S)
def test_ending__recorded_bars__is_what_training_measures(horizon_s: int):
    short = horizon_s <= 3_600
    bars = candles(MINUTE_MS if short else HOUR_MS, 44_640 if short else 1_440, seed=3)
    rows = (minute_rows if short else hour_rows)(
        as_series(bars), horizons_s=(horizon_s,), stride_ms=horizon_s * 1_000
    )
    row = len(rows.as_of_ms) - 2
    made = promise(horizon_s=horizon_s, from_ms=int(rows.as_of_ms[row]))
    found = ending_of(made, bars)
    assert found is not None
    assert found.fall == pytest.approx(rows.falls[row, 0], rel=1e-9, abs=1e-12)
    assert found.rise == pytest.approx(rows.rises[row, 0], rel=1e-9, abs=1e-12)
    assert found.variance == pytest.approx(rows.variance[row, 0], rel=1e-9)


def test_ending__hardly_traded__says_nothing():
    bars = candles(HOUR_MS, 240, seed=1)
    keep = np.ones(240, dtype=bool)
    keep[-20:-2] = False
    thin = changed(
        bars,
        open_ms=bars.open_ms[keep],
        **{name: getattr(bars, name)[keep] for name in NAMES},
    )
    made = promise(from_ms=AS_OF_MS - DAY_MS)
    assert is_over(made, thin)
    assert ending_of(made, thin) is None
    assert ending_of(made, bars) is not None


def test_start__only_at_the_horizons_instants_and_soon_after_them():
    bars = candles(HOUR_MS, 100, seed=1)
    assert start_of(86_400, AS_OF_MS + 60_000, bars) == AS_OF_MS
    assert start_of(86_400, AS_OF_MS + 1_200_000, bars) is None
    earlier = changed(
        bars, open_ms=bars.open_ms - HOUR_MS, **{name: getattr(bars, name) for name in NAMES}
    )
    assert start_of(86_400, AS_OF_MS, earlier) is None
    nothing = changed(
        bars, open_ms=bars.open_ms[:0], **{name: getattr(bars, name)[:0] for name in NAMES}
    )
    assert start_of(86_400, AS_OF_MS, nothing) is None


def test_after__daily_promises__teach_what_a_replay_of_them_gives():
    rng = np.random.default_rng(4)
    days, markets = 60, 3
    falls = np.abs(rng.standard_normal((days, markets))) * 0.06
    state = NOTHING_LEARNED
    served = np.ones((days, markets))
    for day in range(days):
        endings = []
        for market in range(markets):
            own = state.of_market(market)
            served[day, market] = 1.0 if own is None else own.long[-1][0]
            made = promise(market, from_ms=day * DAY_MS, q=-np.expm1(-0.1 * served[day, market]))
            endings.append(ending(made, fall=float(falls[day, market])))
        state = after(state, endings, (day + 1) * DAY_MS)
    history = Promises(
        as_of_ms=np.repeat(np.arange(days, dtype=np.int64) * DAY_MS, markets),
        markets=np.tile([f"{market:06}" for market in range(markets)], days),
        quantile=np.full(days * markets, 0.1),
        outcome=falls.ravel(),
    )
    wanted = replayed(history, level=0.99, horizon_ms=DAY_MS, rules=RULES)
    assert served.ravel() == pytest.approx(wanted, rel=2e-4)


def test_factors__market_never_judged__begins_at_the_pooled_prior():
    made = [promise(market) for market in (0, 1)]
    state = after(NOTHING_LEARNED, [ending(made[0], fall=1.0), ending(made[1])], DAY_MS)
    first, second, fresh = (state.of_market(market) for market in (0, 1, 7))
    assert first is not None
    assert second is not None
    assert fresh is not None
    assert fresh.long[-1][0] == pytest.approx(np.sqrt(first.long[-1][0] * second.long[-1][0]))
    assert NOTHING_LEARNED.of_market(0) is None


ENDINGS = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from(HORIZONS_S), st.floats(0.0, 0.3), st.floats(0.0, 0.3)
    ),
    max_size=12,
)


@given(st.lists(ENDINGS, max_size=8), st.randoms(use_true_random=False))
def test_after__any_order_of_outcomes__gives_the_same_bits_inside_the_bounds(history, random):
    states: list[FactorState] = []
    for shuffled in (False, True):
        state = NOTHING_LEARNED
        for step, batch in enumerate(history):
            made = {
                (market, horizon): ending(
                    promise(market, horizon, from_ms=step * DAY_MS), fall=fall, rise=rise
                )
                for market, horizon, fall, rise in batch
            }
            endings = list(made.values())
            if shuffled:
                random.shuffle(endings)
            before = state
            state = after(state, endings, (step + 1) * DAY_MS)
            for key, factors in state.factors.items():
                for market, log in factors.logs.items():
                    old = before.factors.get(key)
                    was = 0.0 if old is None else old.logs.get(market, old.prior)
                    drawn = 0.0 if old is None else abs(was - old.prior)
                    assert abs(log - was) <= RULES.step + drawn + 1e-12
        states.append(state)
        for market in range(4):
            state.of_market(market)  # refuses what lies outside the bounds
    assert states[0] == states[1]
