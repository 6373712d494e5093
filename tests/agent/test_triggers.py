"""Triggers: which markets a price round is for."""

from __future__ import annotations

from agent.triggers import Trigger, TriggerSettings, due
from contracts.units import MarketId
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
