"""Packing: words and values are inverses; what is lost is lost toward safety, within its bound."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import packing
from contracts.packing import PackingError, PriceHalf, PriceWord, RiskFields
from contracts.units import LawError
from tests.contracts import strategies

PROVEN = settings(derandomize=True, deadline=None, max_examples=300)
NOW = 1_700_000_000_000
QUOTE = packing.PriceQuote(
    market=5, price_e18=64_000 * 10**18, confidence_ppm=120, observed_at_ms=NOW - 250
)
PARAMETERS = packing.MarketParameters(
    market=5,
    cap_e2=2_000,
    maintenance_ppm=25_000,
    open_interest_cap_usdc=10_000_000,
    size_scale_usdc=500_000,
    spread_ppm=100,
    reduce_only=False,
    ramp_s=0,
)
HALF = PriceHalf(mantissa=2**31 + 1, exponent=40, confidence=3, age_ms=250)
FIELDS = RiskFields(
    market=5,
    cap_e2=2_000,
    maintenance_ppm=25_000,
    open_interest_cap=packing.pack_amount(9_998_336),
    size_scale=packing.pack_amount(499_968),
    spread=5,
    reduce_only=0,
    ramp_s=0,
)
NO_INTEGER = [True, "5", 5.0, None]


class TestLayout:
    """Where each bit stands; the contracts read the same places."""

    @pytest.mark.parametrize(
        ("name", "shift", "bits"),
        [
            ("market", 0, 16),
            ("cap_e2", 16, 16),
            ("maintenance_ppm", 32, 20),
            ("open_interest_cap", 52, 16),
            ("size_scale", 68, 16),
            ("spread", 84, 10),
            ("reduce_only", 94, 1),
            ("ramp_s", 95, 16),
        ],
    )
    def test_risk_word__field__fills_its_bits_and_no_other(self, name, shift, bits):
        fields = RiskFields(*(0,) * 8)._replace(**{name: 2**bits - 1})
        assert packing.join_risk_word(fields) == (2**bits - 1) << shift
        assert packing.split_risk_word((2**bits - 1) << shift) == fields

    @pytest.mark.parametrize(
        ("name", "shift", "bits"),
        [("mantissa", 0, 32), ("exponent", 32, 6), ("confidence", 38, 12), ("age_ms", 50, 16)],
    )
    @pytest.mark.parametrize(("half", "start"), [("low", 16), ("high", 82)])
    def test_price_word__field__fills_its_bits_and_no_other(self, half, start, name, shift, bits):
        filled = packing.UNTOUCHED._replace(**{name: 2**bits - 1})
        word = PriceWord(0, packing.UNTOUCHED, packing.UNTOUCHED)._replace(**{half: filled})
        assert packing.join_price_word(word) == (2**bits - 1) << (start + shift)
        assert packing.split_price_word((2**bits - 1) << (start + shift)) == word

    def test_price_word__slot__fills_the_lowest_sixteen_bits(self):
        assert packing.split_price_word(2**16 - 1).slot == 2**16 - 1

    def test_words__fields__leave_the_stated_bits_free(self):
        assert (packing.PRICE_WORD_BITS, packing.RISK_WORD_BITS) == (148, 111)

    @PROVEN
    @given(strategies.unsigned(packing.RISK_WORD_BITS))
    def test_risk_word__any_bits__split_and_join_are_inverses(self, word):
        assert packing.join_risk_word(packing.split_risk_word(word)) == word

    @PROVEN
    @given(strategies.unsigned(packing.PRICE_WORD_BITS))
    def test_price_word__any_bits__split_and_join_are_inverses(self, word):
        assert packing.join_price_word(packing.split_price_word(word)) == word

    @PROVEN
    @given(strategies.unsigned(256))
    def test_split__any_word__ignores_what_is_above_its_fields(self, word):
        low = word % 2**packing.RISK_WORD_BITS
        assert packing.split_risk_word(word) == packing.split_risk_word(low)

    def test_join__field_that_does_not_fit__is_refused(self):
        with pytest.raises(PackingError, match="outside 0 … 1"):
            packing.join_risk_word(FIELDS._replace(reduce_only=2))


class TestPrice:
    """32 bits of mantissa, rounded down."""

    @PROVEN
    @given(strategies.prices)
    def test_round_down_price__any__loses_less_than_two_to_the_minus_31(self, price_e18):
        rounded = packing.round_down_price(price_e18)
        assert 0 <= (price_e18 - rounded) * 2**31 < price_e18

    @PROVEN
    @given(strategies.prices)
    def test_split_price__any__is_canonical(self, price_e18):
        mantissa, exponent = packing.split_price(price_e18)
        assert 2**31 <= mantissa < 2**32
        assert 0 <= exponent < 64

    @PROVEN
    @given(strategies.prices)
    def test_round_down_price__twice__changes_nothing_more(self, price_e18):
        once = packing.round_down_price(price_e18)
        assert packing.round_down_price(once) == once

    @PROVEN
    @given(strategies.prices, strategies.prices)
    def test_split_price__two_prices__their_bits_sort_as_they_do(self, one, other):
        low, high = sorted((one, other))
        packed = [e << 32 | m for m, e in map(packing.split_price, (low, high))]
        assert packed == sorted(packed)

    @pytest.mark.parametrize("price_e18", [0, -1, 2**31, (2**32 - 1) << 63, 2**95, *NO_INTEGER])
    def test_split_price__at_a_limit_or_beyond__is_no_price(self, price_e18):
        with pytest.raises(PackingError, match="price_e18"):
            packing.split_price(price_e18)

    @pytest.mark.parametrize("price_e18", [2**31 + 1, ((2**32 - 1) << 63) - 1])
    def test_split_price__just_inside_the_limits__is_a_price(self, price_e18):
        assert packing.round_down_price(price_e18) <= price_e18

    @pytest.mark.parametrize(
        ("mantissa", "exponent"), [(2**31 - 1, 4), (0, 4), (2**32, 4), (2**31 + 1, 64)]
    )
    def test_join_price__not_canonical__is_refused(self, mantissa, exponent):
        with pytest.raises(PackingError):
            packing.join_price(mantissa, exponent)

    @pytest.mark.parametrize(("mantissa", "exponent"), [(2**32 - 1, 63), (2**31, 0)])
    def test_join_price__absolute_limit__is_no_price(self, mantissa, exponent):
        with pytest.raises(PackingError, match="price_e18"):
            packing.join_price(mantissa, exponent)

    def test_join_price__full_mantissa_elsewhere__is_a_price(self):
        assert packing.join_price(2**32 - 1, 10) == (2**32 - 1) << 10


class TestAmount:
    """11 bits of mantissa, rounded down."""

    @PROVEN
    @given(strategies.amounts)
    def test_round_down_amount__any__loses_less_than_two_to_the_minus_10(self, amount):
        rounded = packing.round_down_amount(amount)
        assert rounded <= amount
        assert (amount - rounded) * 2**10 < max(amount, 1)

    @PROVEN
    @given(strategies.amounts, strategies.amounts)
    def test_pack_amount__two_amounts__their_bits_sort_as_they_do(self, one, other):
        low, high = sorted((one, other))
        assert packing.pack_amount(low) <= packing.pack_amount(high)

    @pytest.mark.parametrize("amount", [0, 1, 2_047, 2_048, 2_050])
    def test_round_down_amount__fits_the_mantissa__is_exact(self, amount):
        assert packing.round_down_amount(amount) == amount

    def test_amount__every_16_bits__is_canonical_and_back_or_refused(self):
        accepted = 0
        for bits in range(2**16 - 1):
            canonical = bits & 2_047 >= 1_024 or bits >> 11 == 0
            if canonical:
                accepted += 1
                assert packing.pack_amount(packing.unpack_amount(bits)) == bits
            else:
                with pytest.raises(PackingError, match="not canonical"):
                    packing.unpack_amount(bits)
        assert accepted == 2_048 + 31 * 1_024 - 1

    @pytest.mark.parametrize("bits", [2**16 - 1, 2**16, -1, *NO_INTEGER])
    def test_unpack_amount__limit_or_no_16_bits__is_refused(self, bits):
        with pytest.raises(PackingError, match="amount"):
            packing.unpack_amount(bits)

    @pytest.mark.parametrize("amount", [-1, 2_047 << 31, 2**63, *NO_INTEGER])
    def test_pack_amount__limit_or_no_amount__is_refused(self, amount):
        with pytest.raises(PackingError, match="amount_usdc"):
            packing.pack_amount(amount)

    def test_expand_amount__not_canonical__is_what_the_bits_say(self):
        assert packing.expand_amount(1 | 3 << 11) == 8


class TestPriceWords:
    """Quotes in, words out, two markets a word."""

    @PROVEN
    @given(strategies.price_quotes(NOW))
    def test_price_words__any_quotes__come_back_rounded_toward_safety(self, quotes):
        back = packing.unpack_price_words(packing.pack_price_words(quotes, NOW), NOW)
        for quote, found in zip(sorted(quotes, key=lambda q: q.market), back, strict=True):
            assert found.market == quote.market
            assert found.price_e18 == packing.round_down_price(quote.price_e18)
            assert 0 <= found.confidence_ppm - quote.confidence_ppm < 50
            assert found.observed_at_ms == quote.observed_at_ms

    @PROVEN
    @given(strategies.price_quotes(NOW))
    def test_price_words__what_came_back__packs_to_the_same_words(self, quotes):
        words = packing.pack_price_words(quotes, NOW)
        assert packing.pack_price_words(packing.unpack_price_words(words, NOW), NOW) == words

    @PROVEN
    @given(strategies.price_quotes(NOW), st.randoms(use_true_random=False))
    def test_pack_price_words__other_order__makes_the_same_words(self, quotes, random):
        shuffled = list(quotes)
        random.shuffle(shuffled)
        assert packing.pack_price_words(shuffled, NOW) == packing.pack_price_words(quotes, NOW)

    @settings(PROVEN, max_examples=500)
    @given(st.lists(strategies.unsigned(148) | strategies.unsigned(256), max_size=3))
    def test_unpack_price_words__any_words__are_refused_or_come_back(self, words):
        try:
            quotes = packing.unpack_price_words(words, NOW)
        except PackingError:
            return
        assert packing.pack_price_words(quotes, NOW) == tuple(words)

    @PROVEN
    @given(strategies.price_quotes(NOW).filter(bool), st.integers(0, 255))
    def test_unpack_price_words__one_bit_changed__is_refused_or_comes_back(self, quotes, bit):
        words = list(packing.pack_price_words(quotes, NOW))
        words[0] ^= 1 << bit
        try:
            found = packing.unpack_price_words(words, NOW)
        except PackingError:
            return
        assert packing.pack_price_words(found, NOW) == tuple(words)

    def test_pack_price_words__two_markets_of_a_slot__share_a_word(self):
        pair = [replace(QUOTE, market=4), QUOTE]
        (word,) = packing.pack_price_words(pair, NOW)
        fields = packing.split_price_word(word)
        assert (fields.slot, fields.low) == (2, fields.high)

    @pytest.mark.parametrize(("market", "untouched"), [(4, "high"), (5, "low")])
    def test_pack_price_words__one_market_of_a_slot__leaves_the_other(self, market, untouched):
        (word,) = packing.pack_price_words([replace(QUOTE, market=market)], NOW)
        assert getattr(packing.split_price_word(word), untouched) == packing.UNTOUCHED

    def test_price_words__no_quotes__are_no_words(self):
        assert packing.pack_price_words([], NOW) == ()
        assert packing.unpack_price_words([], NOW) == ()

    @pytest.mark.parametrize("age_ms", [0, 65_535])
    def test_pack_price_words__age_within_its_bits__is_exact(self, age_ms):
        quote = replace(QUOTE, observed_at_ms=NOW - age_ms)
        (found,) = packing.unpack_price_words(packing.pack_price_words([quote], NOW), NOW)
        assert found.observed_at_ms == NOW - age_ms

    @pytest.mark.parametrize("age_ms", [-1, 65_536])
    def test_pack_price_words__too_old_or_from_the_future__is_refused(self, age_ms):
        quote = replace(QUOTE, observed_at_ms=NOW - age_ms)
        with pytest.raises(PackingError, match="age in ms of market 5"):
            packing.pack_price_words([quote], NOW)

    def test_pack_price_words__one_market_twice__is_refused(self):
        with pytest.raises(PackingError, match="market 5 is quoted twice"):
            packing.pack_price_words([QUOTE, replace(QUOTE, observed_at_ms=NOW)], NOW)

    @pytest.mark.parametrize("confidence_ppm", [0, 1, 50, 51, 204_700])
    def test_pack_price_words__confidence__is_rounded_up(self, confidence_ppm):
        (word,) = packing.pack_price_words([replace(QUOTE, confidence_ppm=confidence_ppm)], NOW)
        assert packing.split_price_word(word).high.confidence == -(-confidence_ppm // 50)

    @pytest.mark.parametrize(
        "fields",
        [
            PriceWord(32_768, HALF, packing.UNTOUCHED),
            PriceWord(2, packing.UNTOUCHED, packing.UNTOUCHED),
            PriceWord(2, HALF._replace(mantissa=0), HALF),
            PriceWord(2, HALF._replace(mantissa=2**31 - 1), HALF),
            PriceWord(2, HALF._replace(confidence=4_095), HALF),
            PriceWord(2, HALF._replace(mantissa=2**32 - 1, exponent=63), HALF),
        ],
        ids=["no market", "nobody", "half empty", "not canonical", "confidence", "limit"],
    )
    def test_unpack_price_words__word_that_no_quote_makes__is_refused(self, fields):
        with pytest.raises(PackingError):
            packing.unpack_price_words([packing.join_price_word(fields)], NOW)

    @pytest.mark.parametrize("slots", [(2, 2), (3, 2)])
    def test_unpack_price_words__slots_not_ascending__is_refused(self, slots):
        words = [
            packing.join_price_word(PriceWord(slot, HALF, packing.UNTOUCHED)) for slot in slots
        ]
        with pytest.raises(PackingError, match="out of order"):
            packing.unpack_price_words(words, NOW)

    def test_unpack_price_words__bit_above_the_fields__is_refused(self):
        (word,) = packing.pack_price_words([QUOTE], NOW)
        with pytest.raises(PackingError, match="word"):
            packing.unpack_price_words([word | 1 << 148], NOW)

    def test_unpack_price_words__older_than_time_itself__is_refused(self):
        words = packing.pack_price_words([QUOTE], NOW)
        with pytest.raises(PackingError, match="observed_at_ms"):
            packing.unpack_price_words(words, 249)

    @pytest.mark.parametrize("observed_at_ms", [*NO_INTEGER, -1, 2**64])
    def test_price_words__round_without_an_instant__is_refused(self, observed_at_ms):
        with pytest.raises(PackingError, match="observed_at_ms"):
            packing.pack_price_words([], observed_at_ms)
        with pytest.raises(PackingError, match="observed_at_ms"):
            packing.unpack_price_words([], observed_at_ms)


class TestRiskWord:
    """Parameters in, one word out."""

    @PROVEN
    @given(strategies.market_parameters)
    def test_risk_word__any_parameters__come_back_rounded_toward_safety(self, parameters):
        found = packing.unpack_risk_word(packing.pack_risk_word(parameters))
        expected = replace(
            parameters,
            open_interest_cap_usdc=packing.round_down_amount(parameters.open_interest_cap_usdc),
            size_scale_usdc=packing.round_down_amount(parameters.size_scale_usdc),
            spread_ppm=-(-parameters.spread_ppm // 20) * 20,
        )
        assert found == expected

    @PROVEN
    @given(strategies.market_parameters)
    def test_risk_word__what_came_back__packs_to_the_same_word(self, parameters):
        word = packing.pack_risk_word(parameters)
        assert packing.pack_risk_word(packing.unpack_risk_word(word)) == word

    @settings(PROVEN, max_examples=500)
    @given(strategies.unsigned(111) | strategies.unsigned(256))
    def test_unpack_risk_word__any_word__is_refused_or_comes_back(self, word):
        try:
            parameters = packing.unpack_risk_word(word)
        except PackingError:
            return
        assert packing.pack_risk_word(parameters) == word

    @PROVEN
    @given(strategies.market_parameters, st.integers(0, 255))
    def test_unpack_risk_word__one_bit_changed__is_refused_or_comes_back(self, parameters, bit):
        word = packing.pack_risk_word(parameters) ^ 1 << bit
        try:
            found = packing.unpack_risk_word(word)
        except PackingError:
            return
        assert packing.pack_risk_word(found) == word

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("cap_e2", 99),
            ("cap_e2", 2**16 - 1),
            ("maintenance_ppm", 0),
            ("maintenance_ppm", 1_000_001),
            ("open_interest_cap", 2**16 - 1),
            ("open_interest_cap", 1 << 11),
            ("size_scale", 0),
            ("size_scale", 2**16 - 1),
            ("spread", 2**10 - 1),
            ("ramp_s", 2**16 - 1),
        ],
    )
    def test_unpack_risk_word__field_at_its_limit__is_refused(self, name, value):
        assert packing.unpack_risk_word(packing.join_risk_word(FIELDS))
        with pytest.raises(PackingError):
            packing.unpack_risk_word(packing.join_risk_word(FIELDS._replace(**{name: value})))

    @pytest.mark.parametrize("word", [*NO_INTEGER, -1, 1 << 111])
    def test_unpack_risk_word__no_such_word__is_refused(self, word):
        with pytest.raises(PackingError, match="word"):
            packing.unpack_risk_word(word)


class TestValues:
    """What a quote and parameters may hold at all."""

    @pytest.mark.parametrize(
        ("name", "outside"),
        [
            ("market", (-1, 65_536)),
            ("price_e18", (2**31, (2**32 - 1) << 63)),
            ("confidence_ppm", (-1, 204_701)),
            ("observed_at_ms", (-1, 2**64)),
        ],
    )
    def test_price_quote__value_outside__is_refused_by_name(self, name, outside):
        for value in (*outside, *NO_INTEGER):
            with pytest.raises(PackingError, match=rf"^{name} "):
                replace(QUOTE, **{name: value})

    @pytest.mark.parametrize(
        ("name", "outside"),
        [
            ("market", (-1, 65_536)),
            ("cap_e2", (99, 65_535)),
            ("maintenance_ppm", (0, 1_000_001)),
            ("open_interest_cap_usdc", (-1, 2_047 << 31)),
            ("size_scale_usdc", (0, 2_047 << 31)),
            ("spread_ppm", (-1, 20_441)),
            ("ramp_s", (-1, 65_535)),
        ],
    )
    def test_market_parameters__value_outside__is_refused_by_name(self, name, outside):
        for value in (*outside, *NO_INTEGER):
            with pytest.raises(PackingError, match=rf"^{name} "):
                replace(PARAMETERS, **{name: value})

    @pytest.mark.parametrize("value", [0, 1, None, "no"])
    def test_market_parameters__reduce_only_not_a_bool__is_refused(self, value):
        with pytest.raises(PackingError, match="give True or False"):
            replace(PARAMETERS, reduce_only=value)

    def test_market_parameters__tuple_not_coherent__can_be_held_and_judged(self):
        loose = replace(PARAMETERS, maintenance_ppm=24_999)
        assert packing.unpack_risk_word(packing.pack_risk_word(loose)).maintenance_ppm == 24_999

    @pytest.mark.parametrize("value", [QUOTE, PARAMETERS], ids=lambda item: type(item).__name__)
    def test_value__assignment__is_refused(self, value):
        with pytest.raises(FrozenInstanceError):
            value.market = 6

    def test_errors__packing__is_of_the_law(self):
        assert issubclass(PackingError, LawError)
