"""When liquidation waits: the second round, the window, the grace."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.margin_pace import (
    Agreement,
    Look,
    Pace,
    grace_until_s,
    second_round,
    window_at,
    window_left,
)
from tests.contracts.margins import PROVEN, e18, usd

NOW_S = 1_790_000_000
FAR = Look(
    price=e18(90),
    average=e18(100),
    observed_at_ms=NOW_S * 1_000,
    now_s=NOW_S,
    band_ppm=20_000,
)
NOTED = Pace(note_observed_ms=NOW_S * 1_000, note_s=NOW_S)


def later(seconds, observed_ms=0):
    return replace(FAR, now_s=NOW_S + seconds, observed_at_ms=NOW_S * 1_000 + observed_ms)


def test_second_round__near_the_average__is_not_asked():
    for price in (e18(98), e18(102)):
        assert second_round(Pace(), replace(FAR, price=price)) == (Agreement.AGREED, Pace())
    assert second_round(Pace(), replace(FAR, price=e18(98) - 1))[0] is Agreement.NOTED


def test_second_round__first_far_price__is_noted():
    assert second_round(Pace(), FAR) == (Agreement.NOTED, NOTED)


@pytest.mark.parametrize(
    ("look", "agreement"),
    [
        (later(1), Agreement.AWAITED),
        (later(5, 2_999), Agreement.AWAITED),
        (later(5, 3_000), Agreement.AGREED),
        (later(29), Agreement.AWAITED),
        (later(30), Agreement.AGREED),
        (later(119), Agreement.AGREED),
        (later(120), Agreement.NOTED),
    ],
)
def test_second_round__of_a_noted_price__waits_for_another_round_or_30_s(look, agreement):
    assert second_round(NOTED, look)[0] is agreement


def test_second_round__on_the_other_side__is_a_new_price():
    above = replace(later(10, 10_000), price=e18(110))
    agreement, pace = second_round(NOTED, above)
    assert agreement is Agreement.NOTED
    assert pace.note_above


@PROVEN
@given(st.integers(0, 200), st.integers(0, 200_000))
def test_second_round__any__keeps_the_window(seconds, observed_ms):
    pace = replace(NOTED, used=usd(5), begun_s=NOW_S - 7)
    after = second_round(pace, later(seconds, observed_ms))[1]
    assert (after.used, after.begun_s) == (pace.used, pace.begun_s)


def test_window__over__begins_anew():
    pace = Pace(used=usd(5), begun_s=NOW_S)
    assert window_at(pace, NOW_S + 59) == pace
    assert window_at(pace, NOW_S + 60) == Pace(begun_s=NOW_S + 60)


@PROVEN
@given(st.integers(0, 10**15), st.integers(0, 10**15), st.integers(0, 10**9))
def test_window_left__any__is_a_quarter_of_the_scale_less_what_was_used(used, scale, least):
    left = window_left(Pace(used=used), scale, least)
    assert left == max(0, max(scale // 4, least) - used)


def test_grace__after_the_later_of_pause_and_gap__is_five_minutes():
    assert grace_until_s(100, 50) == grace_until_s(50, 100) == 400
