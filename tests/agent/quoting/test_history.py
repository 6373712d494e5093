"""An account's own history: read from the index, scored, and shown to its owner in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.quoting.history import Profile, profile_of, trades_from
from models.accounts import AccountRisk, simulated_risk
from relayer.chain.index_lives import CLOSED, LIQUIDATED, OPEN, PastTrade

NOW_MS = 1_790_000_000_000
CALM = PastTrade(
    market=0,
    long=True,
    opened_s=1_789_000_000,
    closed_s=1_789_100_000,
    leverage_e2=200,
    maintenance_ppm=25_000,  # a cap of 20x
    notional=10_000 * 10**6,
    end=CLOSED,
)
WILD = replace(CALM, leverage_e2=1_900, end=LIQUIDATED)


@pytest.fixture(scope="module")
def risk() -> AccountRisk:
    return simulated_risk(seed=1, worlds=1, count=300)


def profile(risk: AccountRisk, *past: PastTrade) -> Profile:
    return profile_of(risk, trades_from(past), NOW_MS)


def test_trades__from_the_index__in_the_models_units() -> None:
    made = trades_from([CALM, replace(WILD, end=OPEN, closed_s=0, long=False)])
    assert list(made.leverage) == [2.0, 19.0]
    assert list(made.cap) == [20.0, 20.0]
    assert list(made.side) == [1, -1]
    assert made.notional_usdc[0] == 10_000.0
    assert made.closed_ms[1] > NOW_MS


def test_profile__nothing_traded__is_the_prior_and_says_so(risk: AccountRisk) -> None:
    found = profile(risk)
    assert not found.score.has_history
    assert found.score.multiplier < 1.0
    assert "no trade of its own" in found.reasons[0]


def test_profile__careful_and_reckless__differ_and_stay_in_bounds(risk: AccountRisk) -> None:
    careful, reckless = profile(risk, *[CALM] * 20), profile(risk, *[WILD] * 20)
    assert 0.5 <= reckless.score.multiplier < careful.score.multiplier <= 1.0
    assert "it was never liquidated" in careful.reasons
    assert "it was liquidated 20 times" in reckless.reasons


def test_profile__reckless__says_what_would_change_it(risk: AccountRisk) -> None:
    said = " ".join(profile(risk, *[WILD] * 20).changes)
    assert "half of that leverage" in said
    assert "no liquidation in the time looked at" in said


def test_profile__open_position__counts_and_has_not_ended(risk: AccountRisk) -> None:
    found = profile(risk, replace(CALM, end=OPEN, closed_s=0))
    assert found.score.has_history
    assert "it was never liquidated" in found.reasons
