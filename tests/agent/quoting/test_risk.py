"""Probabilities of liquidation by the trained heads: one position alone, an account together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.judge import Rules, judge
from agent.quoting.desk import LatestJudgement, no_history
from agent.quoting.joint import can_simulate, cross_markets
from agent.quoting.offer import Offer, quote
from agent.quoting.risk import Forecasts
from agent.snapshot import snapshot_of
from contracts.messages import MarginMode, Side
from contracts.units import PPM
from models.accounts import AccountRisk, account_table, simulated_accounts
from models.heads import HORIZONS_S
from models.liquidation import (
    CrossAccount,
    CrossPosition,
    FirstPassage,
    JointCalibration,
    PassageHead,
)
from models.risk_heads import CrossMarkets, RiskHeads
from tests.agent import builders
from tests.agent.proof.test_explain import Known
from tests.agent.quotes import ask, ground
from tests.agent.quoting.test_offer import later, taken
from tests.contracts.books import opened_book, readings

ITSELF = np.zeros(1, dtype=np.int64)


@pytest.fixture(scope="module")
def heads() -> RiskHeads:
    """Heads that have seen a small simulated world."""
    random = np.random.default_rng(5)
    deviation = random.uniform(0.005, 0.06, 4_000)
    side = FirstPassage().fit(deviation, np.abs(random.normal(0.0, deviation)))
    share = random.uniform(0.0, 1.0, 2_000)
    joint = JointCalibration().fit(share, (random.uniform(size=2_000) < share).astype(float))
    table, labels = simulated_accounts(seed=3, count=300)
    return RiskHeads(
        passages=tuple(PassageHead(horizon_s=h, long=side, short=side) for h in HORIZONS_S),
        joint=joint,
        accounts=AccountRisk().fit(table, labels, "simulated"),
    )


def together(seed: int = 2) -> CrossMarkets:
    random = np.random.default_rng(seed)
    deviations = np.tile(np.array([[0.004], [0.008], [0.016], [0.04]]), 3)
    return CrossMarkets(returns=random.normal(0.0, 0.008, (720, 3)), deviations=deviations)


def test_chances__trained__rise_with_leverage_and_horizon(heads: RiskHeads) -> None:
    found = []
    for leverage in (200, 1_000, 2_000):
        offer = quote(ask(leverage_e2=leverage), ground(forecasts=Forecasts(heads=heads)))
        assert isinstance(offer, Offer)
        chances = offer.figures.risk.chances
        assert chances is not None
        assert chances.method == "first_passage"
        assert list(chances.probabilities) == sorted(chances.probabilities)
        found.append(chances.probabilities[-1])
    assert found == sorted(found)


def test_chances__cross_account_of_two_markets__are_simulated_together(heads: RiskHeads) -> None:
    book, seen = opened_book(), readings()
    known = {"forecasts": Forecasts(heads=heads, markets=together())}
    first = quote(ask(mode=MarginMode.CROSS, leverage_e2=1_500), ground(book, seen, **known))
    assert isinstance(first, Offer)
    assert first.figures.risk.chances.method == "first_passage"
    book, seen = taken(first, book, seen), later(seen)
    wish = ask(mode=MarginMode.CROSS, market=1, side=Side.LONG, leverage_e2=1_500)
    footing = ground(book, seen, now_ms=first.terms.nonce + 5, **known)
    second = quote(wish, footing)
    assert isinstance(second, Offer)
    assert second.figures.risk.chances.method == "joint_simulation"
    nothing_known = replace(footing, forecasts=Forecasts(heads=heads))
    alone = quote(wish, nothing_known)
    assert isinstance(alone, Offer)
    assert alone.figures.risk.chances.method == "first_passage_of_this_market_alone"


def test_score__nobody_s_history__is_the_prior_s(heads: RiskHeads) -> None:
    (score,) = heads.accounts.score(account_table(no_history(), ITSELF, 10**12))
    assert not score.has_history
    assert 0.5 <= score.multiplier < 1.0
    offer = quote(ask(), ground(score=score))
    assert isinstance(offer, Offer)
    assert offer.account_cap_e2 == offer.cap_e2 * int(score.multiplier * PPM) // PPM


def test_cross_markets__a_market_without_scores__is_not_simulated() -> None:
    observation = builders.observation()
    judgement = judge(snapshot_of(observation), Known(0.02), Rules(policy=builders.policy()))
    markets = cross_markets(observation.histories, judgement, observation.as_of_ms)
    assert markets is not None
    assert np.isfinite(markets.returns).all()
    held = CrossPosition(market=0, size=1.0, price=100.0, maintenance_ratio=0.02)
    for market in (0, 1, 7):
        account = CrossAccount(equity=10.0, positions=(replace(held, market=market),))
        scored = any(j.market == market and j.scores is not None for j in judgement.judged)
        assert can_simulate(account, markets) is scored


def test_latest_judgement__before_the_first_cycle__knows_nothing() -> None:
    assert LatestJudgement().assessment.markets == {}
