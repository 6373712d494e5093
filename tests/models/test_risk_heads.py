"""The heads of risk: what they answer, what an artifact keeps of them, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.artifact import LoadedModel, load, save
from models.content import ContentError, put_together, taken_apart
from models.cross_training import HourCloses, aligned, died
from models.heads import HORIZONS_S
from models.liquidation import CrossAccount, CrossPosition, Exposure
from models.manifest import TrainedModel
from models.risk_heads import CrossMarkets, RiskHeads, liquidation_probability

DEVIATIONS = (0.004, 0.008, 0.016, 0.04)
HOURS = 720


@pytest.fixture(scope="module")
def loaded(trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(save(trained, tmp_path_factory.mktemp("artifact")))


@pytest.fixture(scope="module")
def heads(loaded: LoadedModel) -> RiskHeads:
    assert loaded.risks is not None
    return loaded.risks


def exposure(fall: float, side: int = 1, scale: float = 1.0) -> Exposure:
    return Exposure(
        position=3,
        side=side,
        price=100.0,
        liquidation_price=100.0 * (1.0 - side * fall),
        deviations=tuple(each * scale for each in DEVIATIONS),
    )


def markets(scale: float = 1.0) -> CrossMarkets:
    rng = np.random.default_rng(2)
    returns = rng.standard_normal((HOURS, 2)) * 0.008
    return CrossMarkets(returns=returns, deviations=scale * np.array(DEVIATIONS)[:, None] + [0, 0])


def cross(equity: float) -> CrossAccount:
    positions = tuple(
        CrossPosition(market=market, size=0.5, price=1.0, maintenance_ratio=0.01)
        for market in (0, 1)
    )
    return CrossAccount(equity=equity, positions=positions)


@given(
    near=st.floats(0.002, 0.3),
    far=st.floats(0.002, 0.3),
    side=st.sampled_from([1, -1]),
)
def test_probability__isolated__falls_in_distance_and_rises_in_horizon(
    heads: RiskHeads, near: float, far: float, side: int
):
    near, far = min(near, far), max(near, far)
    first, second = (
        liquidation_probability(heads, exposure(fall, side)).probabilities for fall in (near, far)
    )
    assert all(a >= b for a, b in zip(first, second, strict=True))
    assert list(first) == sorted(first)
    assert len(first) == len(HORIZONS_S)


def test_probability__cross__falls_in_equity_and_rises_in_horizon_and_deviation(heads: RiskHeads):
    poor, rich = (
        liquidation_probability(heads, cross(equity), markets()).probabilities
        for equity in (0.03, 0.2)
    )
    assert all(a >= b for a, b in zip(poor, rich, strict=True))
    assert list(poor) == sorted(poor)
    wild = liquidation_probability(heads, cross(0.1), markets(3.0)).probabilities
    calm = liquidation_probability(heads, cross(0.1), markets()).probabilities
    assert wild[-1] >= calm[-1]


def test_probability__account_under_maintenance__is_one(heads: RiskHeads):
    assert set(liquidation_probability(heads, cross(0.005), markets()).probabilities) == {1.0}


def test_probability__account_that_holds_nothing__is_zero(heads: RiskHeads):
    empty = CrossAccount(equity=0.0, positions=())
    assert set(liquidation_probability(heads, empty, markets()).probabilities) == {0.0}


def test_probability__cross_without_markets__is_refused(heads: RiskHeads):
    with pytest.raises(ValueError, match="give them"):
        liquidation_probability(heads, cross(0.1))


def test_artifact__saved_and_loaded__answers_to_the_bit(trained: TrainedModel, heads: RiskHeads):
    before = trained.fitted.risks
    assert before is not None
    for asked, known in ((exposure(0.05), None), (cross(0.08), markets())):
        assert liquidation_probability(heads, asked, known) == liquidation_probability(
            before, asked, known
        )
    assert heads.accounts.origin_ == before.accounts.origin_
    assert heads.accounts.coefficients_.tolist() == before.accounts.coefficients_.tolist()


@pytest.mark.parametrize(
    ("name", "values", "fault"),
    [
        ("joint/slope", [-1.0], "order round"),
        ("passage0/long/coefficients", [1.0] * 11, "as the distance shrinks"),
        ("accounts/coefficients", [0.0], "shape"),
    ],
)
def test_content__heads_that_break_their_promises__are_refused(
    trained: TrainedModel, name: str, values: list[float], fault: str
):
    layout, arrays = taken_apart(trained.fitted)
    with pytest.raises(ContentError, match=fault):
        put_together(layout, arrays | {name: np.array(values)})


def test_content__model_without_heads_of_risk__is_read_and_has_none(
    trained: TrainedModel, tmp_path: Path
):
    layout, arrays = taken_apart(trained.fitted)
    old = {
        name: array
        for name, array in arrays.items()
        if not name.startswith(("passage", "joint/", "accounts/", "drift/"))
    }
    found = put_together({key: layout[key] for key in ("heads", "domain")}, old)
    assert found.risks is None


def test_aligned__gap_and_late_listing__move_nothing():
    closes = [
        HourCloses(symbol="A", start_ms=0, values=np.array([0.0, np.nan, 0.2, 0.3])),
        HourCloses(symbol="B", start_ms=7_200_000, values=np.array([1.0, 1.1])),
        HourCloses(symbol="A", start_ms=0, values=np.array([9.0, 9.0, 9.0, 9.0])),
    ]
    moves, start_ms = aligned(closes, ["A", "B"])
    assert start_ms == 0
    assert moves[:, 0] == pytest.approx([0.0, 0.0, 0.2, 0.1])
    assert moves[:, 1] == pytest.approx([0.0, 0.0, 0.0, 0.1])


def test_died__fall_beyond_equity__kills_and_a_rise_does_not():
    down = np.full((24, 2), -0.01)
    assert died(cross(0.1), down)
    assert not died(cross(0.1), -down)
