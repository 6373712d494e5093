"""Triggers: which markets a price round is for."""

from __future__ import annotations

from agent.triggers import Trigger, TriggerSettings, due
from agent.world import needed_since
from contracts.units import MarketId, UnixMs
from relayer.chain.requests import WaitingRequest
from tests.agent.builders import mark, posted

SETTINGS = TriggerSettings(deviation_ppm=1_000, heartbeat_s=30, early_ratio=0.5)
A, B = MarketId(0), MarketId(1)


def test_triggers__nothing_moved__nothing_goes() -> None:
    assert due({A: mark()}, {A: posted(age_ms=2_000)}, SETTINGS) == {}


def test_triggers__market_without_a_price__goes_first() -> None:
    assert due({A: mark()}, {A: None}, SETTINGS) == {A: Trigger.FIRST}


def test_triggers__moved_by_the_deviation__goes() -> None:
    marks = {A: mark(price=100.1)}
    assert due(marks, {A: posted(age_ms=2_000)}, SETTINGS) == {A: Trigger.DEVIATION}


def test_triggers__heartbeat_passed__goes() -> None:
    assert due({A: mark()}, {A: posted(age_ms=30_500)}, SETTINGS) == {A: Trigger.HEARTBEAT}


def test_triggers__unconfirmed__goes_again_until_it_is_accepted() -> None:
    known = posted(age_ms=2_000, unconfirmed=True)
    assert due({A: mark(price=140.0)}, {A: known}, SETTINGS) == {A: Trigger.UNCONFIRMED}


def test_triggers__half_way__rides_with_a_round_but_starts_none() -> None:
    half = {B: mark(1, price=100.05)}
    known = {A: posted(age_ms=2_000), B: posted(age_ms=2_000)}
    assert due(half, known, SETTINGS) == {}
    both = {A: mark(price=101.0)} | half
    assert due(both, known, SETTINGS) == {A: Trigger.DEVIATION, B: Trigger.EARLY}


def test_triggers__mark_not_newer_than_the_chains__never_goes() -> None:
    assert due({A: mark(price=150.0, age_ms=2_000)}, {A: posted(age_ms=2_000)}, SETTINGS) == {}


def test_triggers__a_waiting_request__gets_the_first_price_that_serves_it() -> None:
    known = {A: posted(age_ms=2_000)}
    fresh = mark()
    served_from = fresh.observed_at_ms
    assert due({A: fresh}, known, SETTINGS, {A: served_from}) == {A: Trigger.REQUEST}
    too_early = UnixMs(served_from + 1)
    assert due({A: fresh}, known, SETTINGS, {A: too_early}) == {}
    served = UnixMs(served_from - 2_000)  # the chain has a price of then
    assert due({A: fresh}, known, SETTINGS, {A: served}) == {}


def test_needed_since__several_requests__the_latest_that_can_be_served_now() -> None:
    def waiting(requested_at_ms: int) -> WaitingRequest:
        return WaitingRequest(
            request_id=b"\x01" * 32,
            account="0x" + "a1" * 20,
            market=A,
            requested_at_ms=UnixMs(requested_at_ms),
            body=b"",
        )

    requests = [waiting(1_000), waiting(3_000), waiting(9_000)]
    assert needed_since(requests, 6_000) == {A: 5_001}
    assert needed_since(requests[2:], 6_000) == {}
