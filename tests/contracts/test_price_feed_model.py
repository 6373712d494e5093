"""PriceFeed is its Python mirror bit for bit, whatever is offered to it in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from contracts import price_feed, readings
from contracts.packing import PRICE_WORD_BITS, UNTOUCHED, PriceHalf
from contracts.refusals import Refusal
from contracts.units import UnixS
from tests.contracts.chain import FAST, RefusedError
from tests.contracts.world import CLASS, PRICE, FeedWorld, price_word, skips

MARKETS = 3


def mostly(usual, *others):
    """Draw the usual value most of the time."""
    return st.sampled_from([usual] * 6 * len(others) + list(others))


moves_ppm = st.sampled_from(
    [0, 100, -100, 2_000, -5_000, 30_000, -500_000, 4_000_000]
) | st.integers(-20_000, 20_000)
halves = st.fixed_dictionaries(
    {
        "ppm": moves_ppm,
        "confidence": mostly(6, 0, 40, 41, 4_094, 4_095),
        "age_ms": mostly(0, 1, 900, 29_000, 31_000, 65_535),
        "touched": mostly(True, False),
        "raw": st.one_of(*[st.none()] * 12, st.integers(0, 2**66 - 1)),
    }
)
drawn_words = st.tuples(mostly(0, 1, 1, 1, 2), halves, halves)
raw_words = st.integers(0, 2 ** (PRICE_WORD_BITS + 1) - 1)
words = st.one_of(*[drawn_words] * 12, raw_words)


def split(raw):
    return PriceHalf(raw & (2**32 - 1), raw >> 32 & 63, raw >> 38 & 4_095, raw >> 50)


def normalised(value, confidence, age_ms):
    """Give a price's canonical form, kept inside the field."""
    exponent = min(63, max(0, value.bit_length() - 32))
    return PriceHalf(min(2**32 - 1, value >> exponent), exponent, confidence, age_ms)


class FeedMachine(RuleBasedStateMachine):
    """Drive contract and mirror side by side."""

    def __init__(self):
        super().__init__()
        self.world = FeedWorld(MARKETS)
        self.state = self.world.state()
        self.resumed_s = {}

    @property
    def now_s(self):
        return UnixS(self.world.now_s)

    def half(self, market, draw):
        if not draw["touched"]:
            return UNTOUCHED
        if draw["raw"] is not None:
            return split(draw["raw"])
        known = market < MARKETS and self.state.markets[market].has_price
        last = self.state.markets[market].price_e18 if known else PRICE.mantissa << PRICE.exponent
        value = last * (1_000_000 + draw["ppm"]) // 1_000_000
        return normalised(value, draw["confidence"], draw["age_ms"])

    @rule(seconds=st.sampled_from([1, 2, 5, 30, 119, 120, 300, 3_600]))
    def wait(self, seconds):
        self.world.wait(seconds)

    @rule(
        drawn=st.lists(words, min_size=1, max_size=4),
        seconds=st.sampled_from([1, 2, 5, 30, 119, 120, 300]),
        lag_ms=mostly(0, 1, 700, 59_000, 61_000, -1_999, -2_001),
        validity_ms=mostly(30_000, -1, 0, 120_000, 120_001),
        jump=mostly(1, 2**32, 2**32 + 1, 0),
    )
    def post(self, drawn, seconds, lag_ms, validity_ms, jump):
        self.world.wait(seconds)
        packed = [
            item
            if isinstance(item, int)
            else price_word(
                self.half(2 * item[0], item[1]), self.half(2 * item[0] + 1, item[2]), item[0]
            )
            for item in drawn
        ]
        observed = self.world.now_ms - lag_ms
        message = self.world.message(
            *packed,
            round=self.state.latest_round + jump,
            observed_at_ms=observed,
            valid_until_ms=observed + validity_ms,
        )
        expected = price_feed.apply_round(self.state, message, self.now_s)
        if isinstance(expected, Refusal):
            with pytest.raises(RefusedError) as caught:
                self.world.post(message)
            assert caught.value.refusal is expected
            return
        receipt = self.world.post(message)
        assert skips(receipt) == [(skip.market, skip.refusal) for skip in expected.skipped]
        self.state = expected.state
        self.resumed_s |= dict.fromkeys(expected.resumed, self.now_s)

    @invariant()
    def slots_are_the_mirror_s(self):
        markets = (*self.state.markets, None)
        expected = [
            price_feed.encode_slot(low, high)
            for low, high in zip(markets[::2], markets[1::2], strict=True)
        ]
        assert list(self.world.read("slots", 0, 2)) == expected

    @invariant()
    def views_are_the_mirror_s(self):
        rules = self.state.rules[CLASS]
        for market, state in enumerate(self.state.markets):
            price, average, confidence, observed, unconfirmed = self.world.read("price", market)
            assert (price, average) == (state.price_e18, state.average_e18)
            assert confidence == state.confidence_ppm
            assert observed == (state.observed_at_ms if state.has_price else 0)
            assert unconfirmed == state.unconfirmed
            allowed = price_feed.may_carry_new_risk(state, rules, self.now_s)
            assert self.world.read("may_carry_new_risk", market) == allowed
            marked = self.world.read("mark", market)
            assert marked == (price, average, readings.mark_word(state, rules, self.now_s))
            status = readings.decode_mark(marked[2])
            assert (status.confidence_ppm, status.observed_at_ms) == (confidence, observed)
            assert (status.unconfirmed, status.new_risk) == (unconfirmed, allowed)
            assert status.fresh >= status.new_risk
            assert self.world.read("resumed_at", market) == self.resumed_s.get(market, 0)


TestPriceFeedIsItsMirror = FeedMachine.TestCase
TestPriceFeedIsItsMirror.settings = settings(
    max_examples=80 if FAST else 5,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
