"""Facts about the state machine: which ways exist, and that ends are ends."""

from __future__ import annotations

import pytest

from relayer.delivery.states import (
    TERMINAL,
    TRANSITIONS,
    DeliveryState,
    Effective,
    Expired,
    Failed,
    FailureReason,
    IllegalTransition,
    Superseded,
    advance,
    state_of,
)
from relayer.metrics import DELIVERY_STATES

PATH = [DeliveryState(name) for name in ("planned", "signed", "sent", "mined", "effective")]


def test_advance__the_whole_way__is_allowed_step_by_step() -> None:
    state = PATH[0]
    for following in PATH[1:]:
        state = advance(state, following)
    assert state is DeliveryState.EFFECTIVE


ENDS = [
    (state, following)
    for state in sorted(TERMINAL)
    for following in DeliveryState
    if (state, following) != (DeliveryState.EFFECTIVE, DeliveryState.SENT)
]


def test_advance__effective_in_a_block_that_is_gone__is_out_again() -> None:
    assert advance(DeliveryState.EFFECTIVE, DeliveryState.SENT) is DeliveryState.SENT


@pytest.mark.parametrize(("state", "following"), ENDS)
def test_advance__from_an_end__is_illegal(state: DeliveryState, following: DeliveryState) -> None:
    with pytest.raises(IllegalTransition):
        advance(state, following)


@pytest.mark.parametrize("state", [s for s in DeliveryState if s not in TERMINAL])
def test_advance__open_state__can_be_given_up(state: DeliveryState) -> None:
    for following in (DeliveryState.SUPERSEDED, DeliveryState.EXPIRED, DeliveryState.FAILED):
        assert advance(state, following) is following


@pytest.mark.parametrize("state", [s for s in DeliveryState if s is not DeliveryState.MINED])
def test_advance__to_effective__only_from_mined(state: DeliveryState) -> None:
    with pytest.raises(IllegalTransition):
        advance(state, DeliveryState.EFFECTIVE)


def test_advance__rolled_back_block__is_sent_again() -> None:
    assert advance(DeliveryState.MINED, DeliveryState.SENT) is DeliveryState.SENT


def test_transitions__every_state__has_its_row() -> None:
    assert set(TRANSITIONS) == set(DeliveryState)


def test_state_of__every_outcome__is_a_terminal_state_that_is_counted() -> None:
    outcomes = (
        Effective(tx_hash=b"", block_number=1, gas_used=1, skipped=()),
        Superseded(latest_round=1),
        Expired(detail=""),
        Failed(reason=FailureReason.REVERTED, detail=""),
    )
    states = {state_of(outcome) for outcome in outcomes}
    assert states == TERMINAL
    assert {state.value for state in states} == set(DELIVERY_STATES)
