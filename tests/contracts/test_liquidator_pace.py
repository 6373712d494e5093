"""Notes and windows on chain are those of contracts/margin_pace.py, over any run of calls."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import margin, margin_pace
from contracts.envelope import split_bits
from contracts.margin_pace import Agreement, Look, Pace
from contracts.refusals import Refusal
from contracts.units import USDC
from tests.contracts.chain import RefusedError
from tests.contracts.liquidators import BAND_PPM, MIN_NOTIONAL_USDC, SCALE_USDC, Place, law_of, mark
from tests.contracts.margins import e18

RUNS = settings(derandomize=True, deadline=None, max_examples=60)
AVERAGE = e18(1_000)
LEAST = MIN_NOTIONAL_USDC * USDC
looks = st.lists(
    st.tuples(
        st.integers(0, 45),  # seconds since the last call
        st.sampled_from([900, 979, 980, 990, 1_020, 1_021, 1_100]),  # price
        st.integers(0, 5_999),  # milliseconds that its observation is old
    ),
    min_size=1,
    max_size=12,
)
partials = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 30_000), st.integers(670, 995)),
    min_size=1,
    max_size=10,
)


def stored(place: Place) -> Pace:
    """Read a market's slot as the law writes it."""
    used, begun, observed, noted, above = split_bits(place.pace(), (64, 40, 44, 40, 1))
    return Pace(
        used=used,
        begun_s=begun,
        note_observed_ms=observed,
        note_s=noted,
        note_above=bool(above),
    )


def answer(place: Place, mode: int = 1) -> str:
    """Liquidate; say what came of it."""
    try:
        receipt = place.liquidate(mode)
    except RefusedError as error:
        return error.refusal.name
    return receipt.events[0].name


@RUNS
@given(looks)
def test_second_round__any_run_of_prices__is_the_law_s(run):
    place, pace = Place(), Pace()
    said = {
        Agreement.AGREED: "PositionLiquidated",
        Agreement.NOTED: "LiquidationDeferred",
        Agreement.AWAITED: Refusal.AWAITING_SECOND_ROUND.name,
    }
    for seconds, price, age_ms in run:
        place.wait(seconds)
        observed = place.now_ms - age_ms
        place.stand(0.1, price=e18(price), average=AVERAGE, mark=mark(observed))
        look = Look(
            price=e18(price),
            average=AVERAGE,
            observed_at_ms=observed,
            now_s=place.now_s,
            band_ppm=BAND_PPM,
        )
        agreement, pace = margin_pace.second_round(pace, look)
        assert answer(place) == said[agreement]
        assert stored(place) == pace


@RUNS
@given(partials)
def test_window__any_run_of_partials__is_the_law_s(run):
    place, pace = Place(), Pace()
    for seconds, hundredths, share in run:
        place.wait(seconds)
        health = place.stand(share / 1_000, size=e18(hundredths) // 100)
        size = whole_or(health, law_of(health))
        if margin.notional_down(size, health.price) < LEAST:
            assert answer(place) == "PositionLiquidated"
            continue
        window = margin_pace.window_at(pace, place.now_s)
        left = margin_pace.window_left(window, SCALE_USDC * USDC, LEAST)
        if margin.notional_down(size, health.price) > left:
            if left < LEAST:
                assert answer(place) == Refusal.WINDOW_USED_UP.name
                continue
            size = whole_or(health, left * 10**30 // health.price)
        worth = margin.notional_down(size, health.price)
        pace = replace(window, used=window.used + worth)
        assert answer(place) == "WindowUsed"
        assert stored(place) == pace


def whole_or(health, size):
    """Take all of a position of which dust would stay."""
    left = margin.notional_down(health.size - size, health.price)
    return health.size if left < LEAST else size
