"""Each refusal of a price is reached, and leaves the rest of its round to land."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.packing import PRICE_WORD_BITS, UNTOUCHED, PriceHalf
from contracts.price_feed import encode_rules
from contracts.refusals import Refusal
from tests.contracts.world import (
    CLASS,
    EVIDENCE_HASH,
    OWNER,
    PRICE,
    RELAYER,
    RULES,
    SIGNERS,
    STRANGER,
    FeedWorld,
    moved,
    price_word,
    skips,
    with_market_count,
)


@pytest.fixture
def world():
    return FeedWorld()


def assert_skipped(world, half, refusal, **changes):
    """Market 0's offer is skipped and changes nothing; its neighbour's lands."""
    before = world.read("price", 0)
    receipt = world.post(world.message(price_word(half, PRICE), **changes))
    assert skips(receipt) == [(0, refusal)]
    assert world.read("price", 0) == before
    assert world.read("price", 1)[0] == PRICE.mantissa << PRICE.exponent


class TestItems:
    """A bad price is skipped alone."""

    def test_price__mantissa_without_its_top_bit__skips_not_canonical(self, world):
        assert_skipped(world, PRICE._replace(mantissa=2**31 - 1), Refusal.NOT_CANONICAL)

    def test_price__untouched_with_a_confidence__skips_not_canonical(self, world):
        assert_skipped(world, UNTOUCHED._replace(confidence=1), Refusal.NOT_CANONICAL)

    @pytest.mark.parametrize("word", [1, price_word(PRICE, slot=1) | 1 << PRICE_WORD_BITS])
    def test_word__empty_or_with_bits_above_it__skips_not_canonical(self, world, word):
        receipt = world.post(world.message(word, price_word(PRICE)))
        assert skips(receipt) == [(2, Refusal.NOT_CANONICAL)]
        assert world.read("price", 0)[0] == PRICE.mantissa << PRICE.exponent

    def test_price__of_a_market_never_added__skips_unknown_market(self, world):
        receipt = world.post(world.message(price_word(PRICE, PRICE, slot=1), price_word(PRICE)))
        assert skips(receipt) == [(3, Refusal.UNKNOWN_MARKET)]

    def test_price__of_the_last_slot_that_a_word_can_name__skips_unknown_market(self, world):
        receipt = world.post(world.message(price_word(UNTOUCHED, PRICE, slot=65_535)))
        assert skips(receipt) == [(131_071, Refusal.UNKNOWN_MARKET)]

    def test_price__observed_before_the_last__skips_older_observation(self, world):
        world.offer(PRICE)
        world.wait(1)
        assert_skipped(world, PRICE._replace(age_ms=1_001), Refusal.OLDER_OBSERVATION)

    def test_price__observed_with_the_last__skips_older_observation(self, world):
        world.offer(PRICE)
        world.wait(1)
        assert_skipped(world, PRICE._replace(age_ms=1_000), Refusal.OLDER_OBSERVATION)

    def test_price__twice_in_a_round__skips_older_observation(self, world):
        receipt = world.post(world.message(price_word(PRICE), price_word(moved(PRICE, 1))))
        assert skips(receipt) == [(0, Refusal.OLDER_OBSERVATION)]
        assert world.read("price", 0)[0] == PRICE.mantissa << PRICE.exponent

    def test_price__older_than_its_class_allows__skips_item_too_old(self, world):
        assert_skipped(world, PRICE._replace(age_ms=30_001), Refusal.ITEM_TOO_OLD)

    def test_price__as_old_as_its_class_allows__lands(self, world):
        assert skips(world.offer(PRICE._replace(age_ms=30_000))) == []

    @pytest.mark.parametrize(
        "half",
        [
            PRICE._replace(mantissa=2**32 - 1, exponent=63),
            PRICE._replace(mantissa=2**31, exponent=0),
            PRICE._replace(confidence=4_095),
        ],
    )
    def test_price__at_its_field_s_limit__skips_at_absolute_limit(self, world, half):
        assert_skipped(world, half, Refusal.AT_ABSOLUTE_LIMIT)

    # 2,000 ppm a second for 1 s: rt + (rt)^2 = 2,004 ppm
    @pytest.mark.parametrize("ppm", [2_005, -2_005, 300_000, -250_000])
    def test_price__beyond_the_band__skips_out_of_band(self, world, ppm):
        world.offer(PRICE)
        price, average, *_ = world.read("price", 0)
        world.wait(1)
        assert skips(world.offer(moved(PRICE, ppm))) == [(0, Refusal.OUT_OF_BAND)]
        assert world.read("price", 0) == (price, average, 300, world.now_ms - 1_000, True)
        assert not world.read("may_carry_new_risk", 0)

    @pytest.mark.parametrize("ppm", [2_004, -2_004, 0])
    def test_price__inside_the_band__lands(self, world, ppm):
        world.offer(PRICE)
        world.wait(1)
        assert skips(world.offer(moved(PRICE, ppm))) == []

    def test_price__inside_the_band_after_one_outside__confirms(self, world):
        world.offer(PRICE)
        world.wait(1)
        world.offer(moved(PRICE, 100_000))
        world.wait(1)
        assert skips(world.offer(PRICE)) == []
        assert world.read("price", 0)[4] is False

    def test_price__true_jump__is_accepted_within_the_window(self, world):
        world.offer(PRICE)
        jump = moved(PRICE, -500_000)
        for _ in range(11):
            world.wait(10)
            assert skips(world.offer(jump._replace(mantissa=2**31, exponent=29))) == [
                (0, Refusal.OUT_OF_BAND)
            ]
        world.wait(10)
        assert skips(world.offer(PriceHalf(2**31 + 1, 29, 6, 0))) == []
        assert world.read("price", 0)[4] is False


class TestAverage:
    """The five-minute average counts a price for the time it was in force."""

    def test_average__first_price__is_the_price(self, world):
        world.offer(PRICE)
        assert world.read("price", 0)[1] == PRICE.mantissa << PRICE.exponent

    def test_average__new_print__moves_nothing_until_it_stood(self, world):
        world.offer(PRICE)
        world.wait(60)
        world.offer(moved(PRICE, 100_000))
        assert world.read("price", 0)[1] == PRICE.mantissa << PRICE.exponent

    def test_average__price_that_stood_five_minutes__is_that_price(self, world):
        world.offer(PRICE)
        world.wait(60)
        world.offer(moved(PRICE, 100_000))
        world.wait(300)
        world.offer(PRICE)
        assert world.read("price", 0)[1] == moved(PRICE, 100_000).mantissa << PRICE.exponent

    def test_average__price_fell_to_a_tenth__saturates(self, world):
        world.offer(PRICE)
        world.wait(120)
        world.offer(PriceHalf(PRICE.mantissa, PRICE.exponent - 3, 6, 0))
        price, average, *_ = world.read("price", 0)
        assert average == (2**34 - 1) << (PRICE.exponent - 3)
        assert 4 * price < 8 * price == PRICE.mantissa << PRICE.exponent


class TestNewRisk:
    """Where a price may not carry new risk."""

    def test_may_carry_new_risk__fresh_price__may(self, world):
        world.offer(PRICE)
        assert world.read("may_carry_new_risk", 0)

    def test_may_carry_new_risk__no_price_yet__may_not(self, world):
        assert not world.read("may_carry_new_risk", 0)

    def test_may_carry_new_risk__stale__may_not(self, world):
        world.offer(PRICE)
        world.wait(45)
        assert world.read("may_carry_new_risk", 0)
        world.wait(1)
        assert not world.read("may_carry_new_risk", 0)

    def test_may_carry_new_risk__confidence_too_wide__is_accepted_and_may_not(self, world):
        assert skips(world.offer(PRICE._replace(confidence=41))) == []
        assert world.read("price", 0)[2] == 2_050
        assert not world.read("may_carry_new_risk", 0)


class TestConfiguration:
    """Markets and classes."""

    @pytest.mark.parametrize("view", ["price", "may_carry_new_risk", "mark", "resumed_at"])
    @pytest.mark.parametrize("market", [3, 65_535, 65_536, 2**255])
    def test_views__unknown_market__refuses_unknown_market(self, world, view, market):
        with world.refuses(Refusal.UNKNOWN_MARKET):
            world.read(view, market)

    def test_add_market__stranger__refuses_not_owner(self, world):
        with world.refuses(Refusal.NOT_OWNER):
            world.send(STRANGER, "add_market", 3, CLASS)

    @pytest.mark.parametrize("market", [2, 4])
    def test_add_market__not_the_next__refuses_market_out_of_order(self, world, market):
        with world.refuses(Refusal.MARKET_OUT_OF_ORDER):
            world.send(OWNER, "add_market", market, CLASS)

    @pytest.mark.parametrize("class_id", [0, 2, 8])
    def test_add_market__class_without_rules__refuses_unknown_class(self, world, class_id):
        with world.refuses(Refusal.UNKNOWN_CLASS):
            world.send(OWNER, "add_market", 3, class_id)

    @pytest.mark.parametrize("class_id", [0, 8])
    def test_set_class__no_such_class__refuses_unknown_class(self, world, class_id):
        with world.refuses(Refusal.UNKNOWN_CLASS):
            world.send(OWNER, "set_class", class_id, encode_rules(RULES))

    @pytest.mark.parametrize(
        "changes",
        [
            {"rate_ppm_per_s": 0},
            {"window_ms": 0},
            {"window_ms": 250_001},
            {"max_age_ms": 0},
            {"max_confidence_ppm": 0},
            {"new_risk_age_ms": 0},
        ],
    )
    def test_set_class__unsound__refuses_class_rules_invalid(self, world, changes):
        unsound = replace(RULES, **changes)
        assert unsound.fault()
        with world.refuses(Refusal.CLASS_RULES_INVALID):
            world.send(OWNER, "set_class", CLASS, encode_rules(unsound))

    def test_set_class__bits_above_the_rules__refuses_class_rules_invalid(self, world):
        with world.refuses(Refusal.CLASS_RULES_INVALID):
            world.send(OWNER, "set_class", CLASS, encode_rules(RULES) | 1 << 93)

    def test_set_market_class__other_class__keeps_the_price(self, world):
        world.send(OWNER, "set_class", 2, encode_rules(RULES))
        world.post(world.message(price_word(PRICE, PRICE)))
        before = world.read("price", 1)
        world.send(OWNER, "set_market_class", 1, 2)
        assert world.read("price", 1) == before
        low, high = (word & (2**128 - 1) for word in (self.slot(world), self.slot(world) >> 128))
        assert (low >> 124 & 7, high >> 124 & 7) == (1, 2)

    def slot(self, world):
        return world.read("slots", 0, 1)[0]


def test_event__round_with_skips__names_everything(world):
    message = world.message(price_word(PRICE, PRICE._replace(mantissa=1)))
    signed = world.signatures(message, SIGNERS[1:3])
    (event,) = world.post(message, signed).events
    assert event.name == "PriceRoundPosted"
    assert event.fields == {
        "round": 1,
        "observed_at": message.observed_at_ms,
        "message_hash": world.read(
            "digest_price_round",
            1,
            message.observed_at_ms,
            message.valid_until_ms,
            EVIDENCE_HASH,
            message.words[0].to_bytes(32, "big"),
        ),
        "evidence_hash": EVIDENCE_HASH,
        "skipped": (1 << 16 | Refusal.NOT_CANONICAL,),
    }


def test_add_market__65537th__refuses_too_many_markets():
    world = with_market_count(FeedWorld, 65_536)
    with world.refuses(Refusal.TOO_MANY_MARKETS):
        world.send(OWNER, "add_market", 65_536, CLASS)


def test_post__by_anybody__lands(world):
    assert world.post(world.message()).events
    assert RELAYER not in {signer.address for signer in SIGNERS}
