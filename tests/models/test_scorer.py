"""Scores: monotone toward safety, the same bits anywhere, and honest about their domain."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features import (
    HOUR_MS,
    MINUTE_MS,
    BookDepth,
    FeatureVector,
    MarketWindow,
    feature_vector,
    feature_vectors,
)
from models.grid import depth_down, risk_up
from models.scorer import (
    HORIZONS_S,
    REFERENCE_NOTIONALS_USDC,
    MarketFactors,
    RiskScores,
    Scorer,
)
from tests.models.fakes import candles, changed, stormier, window

Move = Callable[[FeatureVector], FeatureVector]


def scores_of(scorer: Scorer, market: MarketWindow) -> RiskScores:
    vector = feature_vector(market)
    assert isinstance(vector, FeatureVector)
    return scorer.score((vector,))[0]


def numbers(scores: RiskScores) -> list[float]:
    tails = [value for tail in scores.tails for value in astuple(tail)[1:]]
    return [*scores.volatility, *tails, *scores.liquidity.slippage_ratio]


def moved(vector: FeatureVector, name: str, value: float) -> FeatureVector:
    values = list(vector.values)
    values[vector.names.index(name)] = value
    return replace(vector, values=tuple(values))


def some_vectors() -> list[FeatureVector]:
    markets = [window(market=i, minutes=0 if i % 2 else 1_440) for i in range(8)]
    return [vector for vector in feature_vectors(markets) if isinstance(vector, FeatureVector)]


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(8)), st.integers(1, 8))
def test_score__order_and_batch__change_no_bit(scorer: Scorer, order: list[int], size: int):
    vectors = some_vectors()
    alone = [scorer.score((vector,))[0] for vector in vectors]
    chosen = order[:size]
    assert list(scorer.score([vectors[i] for i in chosen])) == [alone[i] for i in chosen]


def test_score__no_market__is_empty(scorer: Scorer):
    assert scorer.score(()) == ()


@pytest.mark.parametrize("minutes", [0, 1_440])
@pytest.mark.parametrize("market", range(4))
def test_score__every_move_larger__no_risk_is_lower(scorer: Scorer, market: int, minutes: int):
    calm = window(market=market, minutes=minutes)
    last = numbers(scores_of(scorer, calm))
    for factor in (1.2, 1.7, 2.5, 4.0):
        stormy = replace(
            calm, hours=stormier(calm.hours, factor), minutes=stormier(calm.minutes, factor)
        )
        following = numbers(scores_of(scorer, stormy))
        assert all(after >= before for before, after in zip(last, following, strict=True))
        last = following


def test_score__quantiles__rise_with_level_and_horizon(scorer: Scorer):
    for vector in some_vectors():
        tails = scorer.score((vector,))[0].tails
        for tail in tails:
            assert tail.long_990 <= tail.long_995 < 1.0
            assert tail.short_990 <= tail.short_995
        longs, shorts = [[t.long_995 for t in tails], [t.short_995 for t in tails]]
        assert longs == sorted(longs)
        assert shorts == sorted(shorts)


def test_score__horizons__are_the_stated_ones(scorer: Scorer):
    scores = scorer.score(some_vectors()[:1])[0]
    assert tuple(tail.horizon_s for tail in scores.tails) == HORIZONS_S == (900, 3600, 14400, 86400)
    assert len(scores.volatility) == len(HORIZONS_S)
    assert scores.tail_long == scores.tails[0].long_995
    assert scores.tail_short == scores.tails[0].short_995


def test_score__thinner_days__no_deeper_and_no_cheaper(scorer: Scorer):
    for vector in some_vectors():
        scores = [
            scorer.score((moved(vector, "hours_thin_day_usdc", float(money)),))[0].liquidity
            for money in np.linspace(20.0, -5.0, 20)
        ]
        depths = [score.stressed_depth_usdc for score in scores]
        assert depths == sorted(depths, reverse=True)
        for place in range(len(REFERENCE_NOTIONALS_USDC)):
            costs = [score.slippage_ratio[place] for score in scores]
            assert costs == sorted(costs)


def test_score__thinner_book__no_deeper_and_no_cheaper(scorer: Scorer):
    liquidity = []
    for share in (1.0, 0.5, 0.1, 0.0):
        depths = tuple(share * money for money in (1e4, 3e4, 6e4, 1e5))
        market = replace(window(market=2), book=BookDepth(bid_usdc=depths, ask_usdc=depths))
        liquidity.append(scores_of(scorer, market).liquidity)
    depth = [score.stressed_depth_usdc for score in liquidity]
    assert depth == sorted(depth, reverse=True)
    assert depth[-1] == 0.0
    for costs in zip(*(score.slippage_ratio for score in liquidity), strict=True):
        assert list(costs) == sorted(costs)


def test_score__book_seen__never_makes_liquidity_better(scorer: Scorer):
    without = scores_of(scorer, window(market=2)).liquidity
    deep = (1e9, 2e9, 3e9, 4e9)
    book = BookDepth(bid_usdc=deep, ask_usdc=deep)
    assert scores_of(scorer, replace(window(market=2), book=book)).liquidity == without


def test_score__three_days_of_history__widens_the_tail_of_a_day(scorer: Scorer):
    vector = some_vectors()[1]
    centre = moved(moved(vector, "hours_long_excursion", 0.85), "hours_short_excursion", 0.72)
    young = moved(centre, "hours_history", float(np.log(0.1)))
    whole, short = scorer.score((centre,))[0], scorer.score((young,))[0]
    assert short.tails[-1].long_995 > whole.tails[-1].long_995


def test_score__every_number__lies_on_the_grid(scorer: Scorer):
    scores = scores_of(scorer, window(market=1))
    assert all(risk_up(value) == value for value in numbers(scores))
    depth = scores.liquidity.stressed_depth_usdc
    assert depth_down(depth) == depth


def test_score__ordinary_market__is_in_domain(scorer: Scorer):
    assert scores_of(scorer, window()).out_of_domain == ()


def test_score__storm_ten_times_as_strong__is_in_domain(scorer: Scorer):
    calm = window(deviation=0.004)
    stormy = replace(calm, hours=stormier(calm.hours, 10.0), minutes=stormier(calm.minutes, 10.0))
    assert scores_of(scorer, stormy).out_of_domain == ()


def test_score__prices_in_a_wrong_unit_now_and_then__are_out_of_domain(scorer: Scorer):
    market = window(market=1, minutes=0)
    unit = np.where(np.arange(720) // 5 % 2 == 0, 1.0, 100.0)
    prices = {name: getattr(market.hours, name) * unit for name in ("open", "high", "low", "close")}
    reasons = scores_of(scorer, replace(market, hours=changed(market.hours, **prices)))
    assert any("above" in reason for reason in reasons.out_of_domain)


def test_score__market_that_stands_still__is_out_of_domain(scorer: Scorer):
    flat = {name: np.full(720, 1.0) for name in ("open", "high", "low", "close")}
    market = replace(
        window(minutes=0),
        hours=changed(candles(HOUR_MS, 720), **flat),
        minutes=candles(MINUTE_MS, 0),
    )
    reasons = scores_of(scorer, market).out_of_domain
    assert any("hours_squared_720" in reason and "below" in reason for reason in reasons)


@pytest.mark.parametrize("size", [-1e3, 1e3])
def test_score__absurd_features__are_finite_and_refused(scorer: Scorer, size: float):
    vector = some_vectors()[0]
    scores = scorer.score((replace(vector, values=(size,) * len(vector.values)),))[0]
    assert np.isfinite(numbers(scores)).all()
    assert scores.out_of_domain


def test_score__features_of_no_head__say_so(scorer: Scorer):
    vector = FeatureVector(market=0, as_of_ms=0, names=("clock",), values=(0.0,))
    with pytest.raises(ValueError, match="lack columns"):
        scorer.score((vector,))


def test_score__another_process__gives_the_same_bytes(scorer: Scorer):
    code = (
        "from tests.models.fakes import window; from models.features import feature_vector;"
        "from models.artifact import default_artifact, load;"
        "scorer = load(default_artifact()).scorer;"
        "print(repr(scorer.score((feature_vector(window(market=7)),))[0]))"
    )
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={"OMP_NUM_THREADS": "3", "PATH": ""},
    )
    assert run.stdout.strip() == repr(scores_of(scorer, window(market=7)))


def test_score__online_factors__widen_the_tails_of_their_market_alone(scorer: Scorer):
    vectors = some_vectors()[:2]
    wider = MarketFactors(long=((1.2, 1.2),) * 4, short=((1.1, 1.1),) * 4)
    plain, changed_scores = scorer.score(vectors), scorer.score(vectors, {0: wider})
    assert changed_scores[1] == plain[1]
    assert changed_scores[0].volatility == plain[0].volatility
    for one, other in zip(plain[0].tails, changed_scores[0].tails, strict=True):
        grown = np.log1p(-other.long_995) / np.log1p(-one.long_995)
        assert grown == pytest.approx(1.2, rel=1e-5)
        assert np.log1p(other.short_990) / np.log1p(one.short_990) == pytest.approx(1.1, rel=1e-5)


def test_score__factor_of_one_level__keeps_the_levels_in_order(scorer: Scorer):
    crossed = MarketFactors(long=((1.5, 0.75),) * 4, short=((1.5, 0.75),) * 4)
    for tail in scorer.score(some_vectors()[:1], {0: crossed})[0].tails:
        assert tail.long_990 <= tail.long_995
        assert tail.short_990 <= tail.short_995


@pytest.mark.parametrize("factor", [0.5, 2.0, float("nan")])
def test_market_factors__beyond_the_rules__are_refused(factor: float):
    with pytest.raises(ValueError, match="within"):
        MarketFactors(long=((factor, 1.0),) * 4, short=((1.0, 1.0),) * 4)


def test_market_factors__horizon_missing__is_refused():
    with pytest.raises(ValueError, match="levels for each"):
        MarketFactors(long=((1.0, 1.0),) * 3, short=((1.0, 1.0),) * 4)
