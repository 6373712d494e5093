"""The guards: each lets a sound decision pass and holds on the fault that it is there for."""

from __future__ import annotations

import dataclasses

import pytest

from agent.decisions import Decision, GuardedDecision, Hold, HoldReason
from agent.guard import GuardSettings, guard
from agent.policy import decide
from agent.snapshot import MarketSnapshot
from tests.agent.builders import candles, history, mark, market_snapshot, policy, posted, scores

SETTINGS = GuardSettings()


def decision() -> Decision:
    made = decide(scores(), 1, policy())
    assert isinstance(made, Decision)
    return made


def reason(made: Decision, market: MarketSnapshot) -> HoldReason:
    held = guard(made, market, SETTINGS)
    assert isinstance(held, Hold)
    return held.reason


def test_guard__sound_decision__passes() -> None:
    made = decision()
    assert guard(made, market_snapshot(), SETTINGS) == GuardedDecision(decision=made)


def test_guard__half_clamped_tuple__holds() -> None:
    """The Aave CAPO incident: one field of a pair moved to its limit, the other did not."""
    made = dataclasses.replace(decision(), cap_e2=1_500)
    assert reason(made, market_snapshot()) is HoldReason.SCORES_INCOHERENT


def test_guard__amount_of_zero__holds() -> None:
    made = dataclasses.replace(decision(), open_interest_cap_usdc=0)
    assert reason(made, market_snapshot()) is HoldReason.SCORES_INCOHERENT


@pytest.mark.parametrize("age_ms", [11_000, -1])
def test_guard__mark_stale_or_from_the_future__holds(age_ms: int) -> None:
    market = market_snapshot(mark=mark(age_ms=age_ms))
    assert reason(decision(), market) is HoldReason.VENUES_STALE


def test_guard__history_ends_long_ago__holds() -> None:
    hours, minutes = candles(3_600_000, 200), candles(60_000, 300)
    old = dataclasses.replace(
        history(),
        hours=hours.between(0, int(hours.open_ms[-1])),
        minutes=minutes.between(0, int(minutes.open_ms[-20])),
    )
    assert reason(decision(), market_snapshot(history=old)) is HoldReason.HISTORY_STALE


def test_guard__no_history__holds() -> None:
    none = dataclasses.replace(history(), hours=candles(3_600_000, 0), minutes=candles(60_000, 0))
    assert reason(decision(), market_snapshot(history=none)) is HoldReason.HISTORY_STALE


@pytest.mark.parametrize("price", [0.045, 1_000.0, 125.0])
def test_guard__mark_far_from_a_fresh_chain_price__holds(price: float) -> None:
    """Moonwell's ratio used as a price, Term's decimals: a power of ten between mark and chain."""
    market = market_snapshot(mark=mark(price=price))
    assert reason(decision(), market) is HoldReason.MARK_FAR_FROM_CHAIN


def test_guard__mark_far_from_an_old_chain_price__passes() -> None:
    market = market_snapshot(mark=mark(price=150.0), posted=posted(age_ms=600_000))
    assert isinstance(guard(decision(), market, SETTINGS), GuardedDecision)
