"""Liquidation probabilities: calibrated on a known truth, isotone everywhere, the same bits."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.grid import risk_up
from models.liquidation import (
    CrossAccount,
    CrossPosition,
    Exposure,
    FirstPassage,
    JointCalibration,
    LiquidationScorer,
    PassageHead,
    cross_probability,
    filtered,
    joint_chance,
    reflection,
)

HORIZONS_S = (900, 3_600, 14_400, 86_400)


def excursions(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Deviations, and how far driftless heavy-tailed paths of 48 steps fall by them."""
    rng = np.random.default_rng(seed)
    deviation = np.exp(rng.normal(-3.2, 0.5, rows))
    steps = rng.standard_t(5.0, (rows, 48)) * math.sqrt(0.6 / 48.0)
    return deviation, np.maximum(-(deviation[:, None] * np.cumsum(steps, axis=1)).min(axis=1), 0.0)


@pytest.fixture(scope="module")
def passage() -> FirstPassage:
    return FirstPassage().fit(*excursions(6_000, 0))


@pytest.fixture(scope="module")
def scorer(passage: FirstPassage) -> LiquidationScorer:
    heads = [PassageHead(horizon_s=h, long=passage, short=passage) for h in HORIZONS_S]
    return LiquidationScorer(heads)


def exposures(count: int = 12) -> list[Exposure]:
    rng = np.random.default_rng(1)
    return [
        Exposure(
            position=place,
            side=1 if place % 2 else -1,
            price=100.0,
            liquidation_price=100.0 * math.exp((-1 if place % 2 else 1) * rng.uniform(0.0, 0.4)),
            deviations=tuple(np.sort(rng.uniform(0.001, 0.1, 4)).tolist()),
        )
        for place in range(count)
    ]


@pytest.mark.parametrize("fall", [0.02, 0.05, 0.10, 0.20])
def test_passage__truth_known__is_calibrated_where_the_textbook_is_not_better(
    passage: FirstPassage, fall: float
):
    deviation, excursion = excursions(20_000, 5)
    distance = np.full(len(deviation), -math.log1p(-fall))
    hit = (excursion >= distance).mean()
    ours = passage.predict(distance, deviation).mean()
    assert ours == pytest.approx(hit, rel=0.15)
    assert abs(ours - hit) <= abs(reflection(distance, deviation).mean() - hit)


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-6, 5.0), st.floats(1e-6, 5.0), st.floats(1e-6, 3.0), st.floats(1.0, 10.0))
def test_passage__any_input__falls_in_distance_and_rises_in_deviation(
    passage: FirstPassage, near: float, further: float, deviation: float, wider: float
):
    one, two = np.array([deviation]), np.array([deviation * wider])
    close, far = np.array([near]), np.array([near + further])
    slack = 1e-12
    assert passage.predict(far, one)[0] <= passage.predict(close, one)[0] + slack
    assert passage.predict(close, two)[0] >= passage.predict(close, one)[0] - slack


def test_passage__reached_already__is_certain(passage: FirstPassage):
    assert passage.predict(np.array([0.0, -0.1]), np.array([0.01, 0.01])).tolist() == [1.0, 1.0]


def test_passage__half_life__believes_the_later_half():
    deviation, excursion = excursions(4_000, 2)
    early = np.arange(4_000) < 2_000
    doubled = np.where(early, 2.0 * excursion, excursion)
    stamps = np.where(early, 0, 5 * 365 * 86_400_000).astype(np.int64)
    distance = np.full(4_000, 0.05)
    truth = FirstPassage().fit(deviation[~early], excursion[~early]).predict(distance, deviation)
    aged = FirstPassage().fit(deviation, doubled, stamps).predict(distance, deviation)
    blind = FirstPassage().fit(deviation, doubled).predict(distance, deviation)
    assert abs(aged.mean() - truth.mean()) < 0.2 * abs(blind.mean() - truth.mean())


def test_score__probabilities__never_fall_with_the_horizon(scorer: LiquidationScorer):
    for score in scorer.score(exposures()):
        assert list(score.probabilities) == sorted(score.probabilities)
        assert score.horizons_s == HORIZONS_S


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 12))
def test_score__order_and_batch__change_no_bit(
    scorer: LiquidationScorer, order: list[int], size: int
):
    every = exposures()
    chosen = [every[place] for place in order[:size]]
    assert list(scorer.score(chosen)) == [scorer.score((each,))[0] for each in chosen]


def test_score__every_number__lies_on_the_grid(scorer: LiquidationScorer):
    for score in scorer.score(exposures()):
        assert all(0.0 <= value <= 1.0 for value in score.probabilities)
        assert all(value in (risk_up(value), 1.0) for value in score.probabilities)


def test_score__no_price_liquidates__is_zero(scorer: LiquidationScorer):
    safe = replace(exposures()[1], liquidation_price=None)
    assert scorer.score((safe,))[0].probabilities == (0.0,) * 4
    assert scorer.score(()) == ()


@pytest.mark.parametrize("side", [1, -1])
def test_score__price_beyond_liquidation__is_certain(scorer: LiquidationScorer, side: int):
    gone = replace(exposures()[0], side=side, liquidation_price=100.0 * (1.0 + side * 0.01))
    assert scorer.score((gone,))[0].probabilities == (1.0,) * 4


def test_score__wrong_inputs__are_refused(scorer: LiquidationScorer):
    with pytest.raises(ValueError, match="one deviation for each horizon"):
        scorer.score((replace(exposures()[0], deviations=(0.01,)),))
    with pytest.raises(ValueError, match="side is 2"):
        replace(exposures()[0], side=2)
    with pytest.raises(ValueError, match="above 0"):
        replace(exposures()[0], price=math.nan)


RETURNS = np.random.default_rng(4).standard_t(5.0, (720, 3)) * 0.01
SPREADS = np.array([0.05, 0.06, 0.07])
LONG = CrossPosition(market=0, size=1.0, price=100.0, maintenance_ratio=0.02)
HEDGE = CrossPosition(market=1, size=-1.0, price=100.0, maintenance_ratio=0.02)


def chance(equity: float, *positions: CrossPosition, returns: np.ndarray = RETURNS) -> float:
    account = CrossAccount(equity=equity, positions=positions)
    return joint_chance(account, returns, SPREADS, 24)


def test_joint__more_equity_or_fewer_positions__is_no_riskier():
    risks = [chance(equity, LONG) for equity in (3.0, 5.0, 10.0, 20.0, 60.0)]
    assert risks == sorted(risks, reverse=True)
    assert risks[0] > 0.3 > risks[-1]
    assert chance(5.0) == 0.0


def test_joint__hedge_in_a_market_that_moves_alike__is_safer_than_none():
    alike = RETURNS[:, [0, 0, 2]]
    small = replace(HEDGE, size=-0.8)
    assert chance(8.0, LONG, small, returns=alike) < chance(8.0, LONG, returns=alike)


def test_joint__order_of_positions_and_other_markets__change_no_bit():
    first = chance(8.0, LONG, HEDGE)
    assert chance(8.0, HEDGE, LONG) == first
    other = RETURNS.copy()
    other[:, 2] *= 3.0
    assert chance(8.0, LONG, HEDGE, returns=other) == first


def test_joint__too_little_history__is_refused():
    with pytest.raises(ValueError, match="at least as many bars"):
        chance(8.0, LONG, returns=RETURNS[:10])


def test_filtered__calm_and_stormy_hours__get_one_scale():
    residuals = filtered(RETURNS)
    assert np.square(residuals).mean(axis=0) == pytest.approx(np.ones(3))
    stormy = RETURNS.copy()
    stormy[360:] *= 8.0
    calm, storm = (
        np.square(filtered(stormy)[part]).mean() for part in (slice(0, 360), slice(360, 720))
    )
    assert 0.3 < calm / storm < 3.0


def test_calibration__biased_shares__are_put_right_in_order():
    rng = np.random.default_rng(6)
    truth = rng.uniform(0.01, 0.4, 8_000)
    died = (rng.random(8_000) < truth).astype(np.float64)
    model = JointCalibration().fit(truth / 2.0, died)
    assert model.predict(truth / 2.0).mean() == pytest.approx(truth.mean(), rel=0.05)
    steps = model.predict(np.linspace(0.0, 1.0, 50))
    assert (np.diff(steps) >= 0.0).all()
    assert cross_probability(model, 0.1, is_below=True) == 1.0
    value = cross_probability(model, 0.1, is_below=False)
    assert risk_up(value) == value


def test_score__another_process__gives_the_same_bytes(scorer: LiquidationScorer):
    code = (
        "from tests.models.test_liquidation import *;"
        "fitted = FirstPassage().fit(*excursions(6_000, 0));"
        "heads = [PassageHead(horizon_s=h, long=fitted, short=fitted) for h in HORIZONS_S];"
        "print(repr((LiquidationScorer(heads).score(exposures()), chance(8.0, HEDGE, LONG))))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
        env={"OMP_NUM_THREADS": "2", "PATH": ""},
    )
    assert run.stdout.strip() == repr((scorer.score(exposures()), chance(8.0, LONG, HEDGE)))


def test_first_passage__events_almost_never__keeps_its_feet():
    """Over 15 minutes most distances are hardly reached: a plain Newton step flies off there."""
    rng = np.random.default_rng(0)
    deviation = 0.003 * np.exp(0.7 * rng.standard_normal(20_000))
    excursion = np.abs(rng.standard_t(3, 20_000)) * deviation * 0.9
    passage = FirstPassage().fit(deviation, excursion)
    assert np.abs(passage.coefficients_).max() < 10.0
    for distance in (0.005, 0.01, 0.02):
        chance = passage.predict(np.full(20_000, distance), deviation).mean()
        assert chance == pytest.approx((excursion > distance).mean(), rel=0.1)
