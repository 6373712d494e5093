"""Account risk: nothing of the future is read, no history gets the prior, worse is never better."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.accounts import (
    DAY_MS,
    HORIZON_MS,
    NAMES,
    AccountRisk,
    account_table,
    liquidated_within,
    simulated_accounts,
    simulated_risk,
)
from models.grid import depth_down, risk_up
from models.population import (
    CLOSED,
    LIQUIDATED,
    SIMULATED,
    Trades,
    simulated_prices,
    trade,
    traders,
)

COUNT = 250
LOOK_MS = 40 * DAY_MS


@pytest.fixture(scope="module")
def trades() -> Trades:
    prices = simulated_prices(hours=24 * 50, markets=4, seed=7)
    return trade(traders(COUNT, markets=4, seed=7), prices, seed=7)


@pytest.fixture(scope="module")
def risk() -> AccountRisk:
    return simulated_risk(seed=1, worlds=1, count=COUNT)


ACCOUNTS = np.arange(COUNT, dtype=np.int64)


def history(count: int, *, leverage: float = 5.0, dead: int = 0, account: int = 3) -> Trades:
    """An account with `count` trades of a day each, the last `dead` of them liquidated."""
    opened = LOOK_MS - (np.arange(count, 0, -1, dtype=np.int64) + 1) * DAY_MS
    end = np.where(np.arange(count) >= count - dead, LIQUIDATED, CLOSED)
    return Trades(
        origin="test",
        account=np.full(count, account, dtype=np.int64),
        market=np.zeros(count, dtype=np.int64),
        side=np.ones(count, dtype=np.int64),
        opened_ms=opened,
        closed_ms=opened + DAY_MS,
        leverage=np.full(count, leverage),
        cap=np.full(count, 10.0),
        notional_usdc=np.full(count, 1_000.0),
        end=end.astype(np.int64),
    )


def multiplier(risk: AccountRisk, trades: Trades) -> float:
    return risk.score(account_table(trades, np.array([3]), LOOK_MS))[0].multiplier


def test_score__no_history__gets_the_prior_and_not_the_best(risk: AccountRisk):
    score = risk.score(account_table(history(0), np.array([3]), LOOK_MS))[0]
    assert not score.has_history
    assert score.risk == pytest.approx(1.0 / (1.0 + np.exp(-risk.prior_)), rel=1e-5)
    assert 0.5 < score.multiplier < 1.0


def test_score__one_careful_trade__is_not_yet_the_best(risk: AccountRisk):
    assert multiplier(risk, history(1, leverage=1.0)) < 1.0


def test_score__long_careful_history__beats_none(risk: AccountRisk):
    assert multiplier(risk, history(38, leverage=1.0)) > multiplier(risk, history(0))


@pytest.mark.parametrize("count", [1, 5, 38])
def test_score__more_liquidations__never_raise_the_multiplier(risk: AccountRisk, count: int):
    steps = [multiplier(risk, history(count, dead=dead)) for dead in range(count + 1)]
    assert steps == sorted(steps, reverse=True)


@pytest.mark.parametrize("count", [1, 5, 38])
def test_score__more_leverage__never_raises_the_multiplier(risk: AccountRisk, count: int):
    steps = [multiplier(risk, history(count, leverage=x)) for x in np.linspace(1.0, 10.0, 19)]
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] < steps[0]


def test_table__later_trades_and_endings__are_not_read(trades: Trades):
    late = trades.opened_ms > LOOK_MS
    unknown_end = (trades.opened_ms <= LOOK_MS) & (trades.closed_ms > LOOK_MS)
    changed = replace(
        trades,
        end=np.where(unknown_end, LIQUIDATED, trades.end),
        leverage=np.where(late, 9.9, trades.leverage),
    )
    first, second = (account_table(each, ACCOUNTS, LOOK_MS) for each in (trades, changed))
    assert np.array_equal(first.values, second.values)


def test_table__what_is_older_than_the_look_back__is_forgotten():
    table = account_table(history(5, dead=2), np.array([3]), LOOK_MS + 200 * DAY_MS)
    assert table.trades[0] == 0.0
    assert not table.values.any()


def test_labels__liquidations_after_the_look__within_the_horizon_count():
    dead = history(1, dead=1)
    at = int(dead.closed_ms[0])
    accounts = np.array([3, 4])
    assert liquidated_within(dead, accounts, at - 1).tolist() == [1.0, 0.0]
    assert liquidated_within(dead, accounts, at).tolist() == [0.0, 0.0]
    assert liquidated_within(dead, accounts, at - HORIZON_MS).tolist() == [1.0, 0.0]
    assert liquidated_within(dead, accounts, at - HORIZON_MS - 1).tolist() == [0.0, 0.0]


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(0, COUNT, 25)), st.integers(1, 10))
def test_score__order_and_batch__change_no_bit(
    risk: AccountRisk, trades: Trades, order: list[int], size: int
):
    chosen = np.array(order[:size])
    scores = risk.score(account_table(trades, chosen, LOOK_MS))
    for account, score in zip(chosen, scores, strict=True):
        assert score == risk.score(account_table(trades, np.array([account]), LOOK_MS))[0]


def test_score__every_number__lies_on_the_grid(risk: AccountRisk, trades: Trades):
    for score in risk.score(account_table(trades, ACCOUNTS, LOOK_MS)):
        assert 0.5 <= score.multiplier <= 1.0
        assert depth_down(score.multiplier) == score.multiplier
        assert risk_up(score.risk) == score.risk


def test_fit__labels__rank_accounts_of_another_world(risk: AccountRisk):
    table, liquidated = simulated_accounts(seed=99, count=COUNT)
    chance = risk.predict(table)
    careful, careless = (chance[liquidated == label] for label in (0.0, 1.0))
    better = (careless[:, None] > careful[None, :]).mean()
    assert better > 0.75
    assert risk.origin_ == SIMULATED
    assert len(risk.coefficients_) == len(NAMES)


def test_score__another_process__gives_the_same_bytes(risk: AccountRisk):
    code = (
        "import numpy as np; from models.accounts import *;"
        f"risk = simulated_risk(seed=1, worlds=1, count={COUNT});"
        f"table, _ = simulated_accounts(seed=1_000, count={COUNT});"
        "print(repr(risk.score(table)[:20]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
        env={"OMP_NUM_THREADS": "2", "PATH": ""},
    )
    table, _ = simulated_accounts(seed=1_000, count=COUNT)
    assert run.stdout.strip() == repr(risk.score(table)[:20])
