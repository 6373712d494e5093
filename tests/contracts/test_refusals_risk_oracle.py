"""Each refusal of a risk item is reached, and leaves the rest of its update to land."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.packing import RISK_WORD_BITS, join_risk_word, pack_amount
from contracts.refusals import Refusal
from contracts.risk_bounds import encode_bounds
from contracts.units import WholeUsdc
from tests.contracts.world import (
    BOUNDS,
    CLASS,
    EVIDENCE_HASH,
    FIELDS,
    GUARDIAN,
    MODEL_HASH,
    OWNER,
    STRANGER,
    OracleWorld,
    capped,
    raw_words,
    skips,
    with_market_count,
)


def usdc(amount):
    return pack_amount(WholeUsdc(amount))


@pytest.fixture
def world():
    return OracleWorld()


def assert_skipped(world, item, refusal, **changes):
    """Market 0's item is skipped and changes nothing; its neighbour's lands."""
    before = world.read("slots", 0, 1)
    receipt = world.update(item, FIELDS._replace(market=1), **changes)
    assert skips(receipt) == [(0, refusal)]
    assert world.read("slots", 0, 1) == before
    assert world.parameters(1)["observed_at"] == world.now_ms


class TestForm:
    """An item judged by itself."""

    @pytest.mark.parametrize(
        "item",
        [
            join_risk_word(FIELDS) | 1 << RISK_WORD_BITS,
            join_risk_word(FIELDS) | 1 << 255,
            FIELDS._replace(open_interest_cap=1 << 11 | 1_023),
            FIELDS._replace(size_scale=31 << 11 | 1_023),
        ],
    )
    def test_item__two_forms_of_one_meaning__skips_not_canonical(self, world, item):
        assert_skipped(world, item, Refusal.NOT_CANONICAL)

    @pytest.mark.parametrize("market", [2, 65_535])
    def test_item__market_never_added__skips_unknown_market(self, world, market):
        receipt = world.update(FIELDS._replace(market=market), FIELDS)
        assert skips(receipt) == [(market, Refusal.UNKNOWN_MARKET)]

    def test_item__observed_before_the_last__skips_older_observation(self, world):
        world.update(FIELDS)
        receipt = world.update(FIELDS, FIELDS._replace(market=1))
        assert skips(receipt) == [(0, Refusal.OLDER_OBSERVATION)]

    def test_item__same_market_twice__skips_older_observation(self, world):
        assert skips(world.update(FIELDS, FIELDS)) == [(0, Refusal.OLDER_OBSERVATION)]

    def test_item__longer_than_its_class_allows__skips_class_validity_too_long(self, world):
        until = world.now_ms + (BOUNDS.max_validity_s + 10) * 1_000
        receipt = world.update(FIELDS, valid_until_ms=until)
        assert skips(receipt) == [(0, Refusal.CLASS_VALIDITY_TOO_LONG)]
        assert world.parameters()["expired"]

    def test_item__as_long_as_its_class_allows__lands(self, world):
        until = world.now_ms + BOUNDS.max_validity_s * 1_000
        assert skips(world.update(FIELDS, valid_until_ms=until)) == []
        assert world.parameters()["valid_until"] == until

    @pytest.mark.parametrize(
        "item",
        [
            FIELDS._replace(maintenance_ppm=49_999),
            FIELDS._replace(maintenance_ppm=50_001),
            FIELDS._replace(maintenance_ppm=0),
            FIELDS._replace(cap_e2=0),
            FIELDS._replace(cap_e2=1_050),
        ],
    )
    def test_item__cap_and_maintenance_apart__skips_tuple_incoherent(self, world, item):
        assert_skipped(world, item, Refusal.TUPLE_INCOHERENT)

    @pytest.mark.parametrize("cap_e2", [99, 5_001, 65_535])
    def test_item__cap_outside__skips_cap_out_of_bounds(self, world, cap_e2):
        assert_skipped(world, capped(cap_e2), Refusal.CAP_OUT_OF_BOUNDS)

    @pytest.mark.parametrize("amount", [0, usdc((1 << 30) + (1 << 20)), 2**16 - 1])
    def test_item__interest_outside__skips_open_interest_cap_out_of_bounds(self, world, amount):
        item = FIELDS._replace(open_interest_cap=amount)
        assert_skipped(world, item, Refusal.OPEN_INTEREST_CAP_OUT_OF_BOUNDS)

    @pytest.mark.parametrize("amount", [0, usdc(1_023), 2**16 - 1])
    def test_item__scale_outside__skips_size_scale_out_of_bounds(self, world, amount):
        item = FIELDS._replace(size_scale=amount)
        assert_skipped(world, item, Refusal.SIZE_SCALE_OUT_OF_BOUNDS)

    @pytest.mark.parametrize("spread", [251, 1_023])
    def test_item__spread_outside__skips_spread_out_of_bounds(self, world, spread):
        assert_skipped(world, FIELDS._replace(spread=spread), Refusal.SPREAD_OUT_OF_BOUNDS)

    @pytest.mark.parametrize("ramp_s", [1, 3_599])
    def test_item__less_notice_than_promised__skips_ramp_too_short(self, world, ramp_s):
        assert_skipped(world, capped(900, ramp_s=ramp_s), Refusal.RAMP_TOO_SHORT)


class TestSteps:
    """How far and how often values move, against the last accepted ones."""

    # 1,000 may move 30 % down and 10 % up
    @pytest.mark.parametrize("cap_e2", [699, 1_101])
    def test_cap__beyond_a_step__skips_cap_step_too_large(self, world, cap_e2):
        assert_skipped(world, capped(cap_e2), Refusal.CAP_STEP_TOO_LARGE)

    @pytest.mark.parametrize("cap_e2", [700, 1_100])
    def test_cap__one_whole_step__lands(self, world, cap_e2):
        assert skips(world.update(capped(cap_e2))) == []
        assert world.parameters()["cap_e2"] == cap_e2

    @pytest.mark.parametrize("amount", [3_490_000, 5_510_000])
    def test_interest__beyond_a_step__skips_open_interest_cap_step_too_large(self, world, amount):
        item = FIELDS._replace(open_interest_cap=usdc(amount))
        assert_skipped(world, item, Refusal.OPEN_INTEREST_CAP_STEP_TOO_LARGE)

    @pytest.mark.parametrize("amount", [690_000, 1_110_000])
    def test_scale__beyond_a_step__skips_size_scale_step_too_large(self, world, amount):
        item = FIELDS._replace(size_scale=usdc(amount))
        assert_skipped(world, item, Refusal.SIZE_SCALE_STEP_TOO_LARGE)

    # 50 units may move 30 % up (tighter) and 10 % down
    @pytest.mark.parametrize("spread", [66, 44])
    def test_spread__beyond_a_step__skips_spread_step_too_large(self, world, spread):
        assert_skipped(world, FIELDS._replace(spread=spread), Refusal.SPREAD_STEP_TOO_LARGE)

    def test_spread__out_of_zero__takes_the_absolute_step(self, world):
        quiet = FIELDS._replace(market=2, spread=0)
        world.send(OWNER, "add_market", 2, CLASS, join_risk_word(quiet))
        receipt = world.update(quiet._replace(spread=3))
        assert skips(receipt) == [(2, Refusal.SPREAD_STEP_TOO_LARGE)]
        world.wait(1)
        assert skips(world.update(quiet._replace(spread=2))) == []

    def test_cap__above_a_bound_narrowed_since__comes_down_in_one_step(self, world):
        world.update(FIELDS)
        world.rebound(max_cap_e2=600)
        world.wait(1)
        assert skips(world.update(FIELDS)) == [(0, Refusal.CAP_OUT_OF_BOUNDS)]
        assert skips(world.update(capped(550))) == []
        after = world.parameters()
        assert (after["cap_e2"], after["effective_maintenance_ppm"]) == (550, 50_000)
        world.wait(1)
        assert skips(world.update(capped(300))) == [(0, Refusal.CAP_STEP_TOO_LARGE)]

    def test_interest__above_a_bound_narrowed_since__comes_down_in_one_step(self, world):
        world.rebound(max_open_interest_cap_usdc=WholeUsdc(1 << 20))
        world.wait(1)
        item = FIELDS._replace(open_interest_cap=usdc(1 << 20))
        assert skips(world.update(capped(699, item))) == [(0, Refusal.CAP_STEP_TOO_LARGE)]
        assert skips(world.update(item)) == []
        world.wait(1)
        lower = item._replace(open_interest_cap=usdc(1 << 19))
        assert skips(world.update(lower)) == [(0, Refusal.OPEN_INTEREST_CAP_STEP_TOO_LARGE)]

    def test_small_value__absolute_step_is_more__lands(self, world):
        world.rebound(min_step_cap_e2=200)
        assert skips(world.update(capped(1_200))) == []
        world.wait(900)
        assert skips(world.update(capped(1_401))) == [(0, Refusal.CAP_STEP_TOO_LARGE)]

    def test_loosening__before_the_delay__skips_too_soon(self, world):
        world.update(capped(900))
        world.wait(899)
        assert_skipped(world, capped(910), Refusal.TOO_SOON)

    def test_reduce_only_off__before_the_delay__skips_too_soon(self, world):
        world.update(FIELDS._replace(reduce_only=1))
        world.wait(899)
        assert_skipped(world, FIELDS, Refusal.TOO_SOON)

    def test_tightening__after_a_change__needs_no_delay(self, world):
        world.update(capped(900))
        world.wait(1)
        assert skips(world.update(capped(800))) == []

    # the bucket holds half of 50 %: two steps of 10 % and a bit
    def test_loosening__third_step_of_ten_percent__skips_drift_spent(self, world):
        for cap_e2 in (1_100, 1_210):
            assert skips(world.update(capped(cap_e2))) == []
            world.wait(900)
        assert_skipped(world, capped(1_331), Refusal.DRIFT_SPENT)

    def test_loosening__drift_emptied__lands_again(self, world):
        for cap_e2 in (1_100, 1_210):
            world.update(capped(cap_e2))
            world.wait(900)
        world.wait(86_400)
        assert skips(world.update(capped(1_331))) == []

    def test_values__frozen__skips_market_frozen(self, world):
        world.send(GUARDIAN, "freeze_market", 0)
        assert_skipped(world, capped(900), Refusal.MARKET_FROZEN)

    def test_renewal__frozen__lands(self, world):
        world.send(GUARDIAN, "freeze_market", 0)
        assert skips(world.update(FIELDS)) == []
        assert not world.parameters()["expired"]

    def test_values__unfrozen__move_from_the_last_accepted(self, world):
        world.send(GUARDIAN, "freeze_market", 0)
        world.send(OWNER, "unfreeze_market", 0)
        assert skips(world.update(capped(900))) == []

    def test_renewal__after_an_outage__is_an_ordinary_update(self, world):
        world.update(capped(900))
        world.wait(30 * 86_400)
        assert world.parameters()["expired"]
        assert skips(world.update(capped(900))) == []
        assert not world.parameters()["expired"]


class TestConfiguration:
    """Markets and classes."""

    def test_add_market__stranger__refuses_not_owner(self, world):
        with world.refuses(Refusal.NOT_OWNER):
            world.send(STRANGER, "add_market", 2, CLASS, join_risk_word(FIELDS))

    @pytest.mark.parametrize(("market", "named"), [(3, 3), (1, 1), (2, 1)])
    def test_add_market__not_the_next__refuses_market_out_of_order(self, world, market, named):
        with world.refuses(Refusal.MARKET_OUT_OF_ORDER):
            word = join_risk_word(FIELDS._replace(market=named))
            world.send(OWNER, "add_market", market, CLASS, word)

    def test_add_market__65537th__refuses_market_out_of_order(self):
        world = with_market_count(OracleWorld, 65_536)
        with world.refuses(Refusal.MARKET_OUT_OF_ORDER):
            world.send(OWNER, "add_market", 65_536, CLASS, join_risk_word(FIELDS))

    @pytest.mark.parametrize("class_id", [0, 2, 8])
    def test_add_market__class_without_bounds__refuses_unknown_class(self, world, class_id):
        with world.refuses(Refusal.UNKNOWN_CLASS):
            word = join_risk_word(FIELDS._replace(market=2))
            world.send(OWNER, "add_market", 2, class_id, word)

    def test_add_market__incoherent__refuses_tuple_incoherent(self, world):
        with world.refuses(Refusal.TUPLE_INCOHERENT):
            word = join_risk_word(FIELDS._replace(market=2, maintenance_ppm=1))
            world.send(OWNER, "add_market", 2, CLASS, word)

    def test_add_market__before_its_first_update__is_expired(self):
        fresh = OracleWorld(1)
        assert fresh.parameters()["expired"]
        assert fresh.parameters()["effective_maintenance_ppm"] == 50_000
        assert fresh.read("permissions", 0) & 1 == 0

    @pytest.mark.parametrize("class_id", [0, 8])
    def test_set_class__no_such_class__refuses_unknown_class(self, world, class_id):
        with world.refuses(Refusal.UNKNOWN_CLASS):
            world.send(OWNER, "set_class", class_id, encode_bounds(BOUNDS))

    @pytest.mark.parametrize(
        "changes",
        [
            {"min_cap_e2": 99},
            {"min_cap_e2": 5_001},
            {"max_cap_e2": 65_535},
            {"floor_maintenance_ppm": 0},
            {"floor_maintenance_ppm": 500_001},
            {"profit_share_ppm": 1_000_001},
            {"max_open_interest_cap_usdc": 0},
            {"min_size_scale_usdc": 0},
            {"max_spread_ppm": 1_023 * 20},
            {"notice_s": 299},
            {"notice_s": 65_535},
            {"max_validity_s": 9},
            {"tighten_ppm": 0},
            {"tighten_ppm": 1_000_001},
            {"loosen_ppm": 0},
            {"loosen_ppm": 1_000_001},
            {"min_step_cap_e2": 0},
            {"min_step_amount_usdc": 0},
            {"min_step_spread_ppm": 19},
            {"loosen_delay_s": 0},
            {"daily_drift_ppm": 1_999},
        ],
    )
    def test_set_class__unsound__refuses_class_rules_invalid(self, world, changes):
        unsound = replace(BOUNDS, **changes)
        assert unsound.fault()
        with world.refuses(Refusal.CLASS_RULES_INVALID):
            world.send(OWNER, "set_class", CLASS, encode_bounds(unsound))

    @pytest.mark.parametrize("bit", [94, 137, 138, 244, 255])
    def test_set_class__bits_without_meaning__refuses_class_rules_invalid(self, world, bit):
        with world.refuses(Refusal.CLASS_RULES_INVALID):
            world.send(OWNER, "set_class", CLASS, encode_bounds(BOUNDS) | 1 << bit)

    @pytest.mark.parametrize(("at", "bits"), [(52, 16), (68, 16), (201, 16)])
    def test_set_class__amount_at_its_limit__refuses_class_rules_invalid(self, world, at, bits):
        with world.refuses(Refusal.CLASS_RULES_INVALID):
            limit = (2**bits - 1) << at
            world.send(OWNER, "set_class", CLASS, encode_bounds(BOUNDS) | limit)

    def test_set_market_class__other_class__keeps_the_values(self, world):
        world.send(OWNER, "set_class", 2, encode_bounds(BOUNDS))
        before = world.parameters(1)
        world.send(OWNER, "set_market_class", 1, 2)
        assert world.parameters(1) == {**before, "class_id": 2}

    @pytest.mark.parametrize(
        "view", ["parameters", "permissions", "margin", "liquidation_resumes_at"]
    )
    @pytest.mark.parametrize("market", [2, 65_535, 65_536, 2**255])
    def test_views__unknown_market__refuses_unknown_market(self, world, view, market):
        with world.refuses(Refusal.UNKNOWN_MARKET):
            world.read(view, market)


def test_event__update_with_skips__names_everything(world):
    message = world.message(capped(900), capped(901, FIELDS._replace(market=1), spread=251))
    (event,) = world.post(message).events
    hashes = (MODEL_HASH, EVIDENCE_HASH)
    times = (message.observed_at_ms, message.valid_until_ms)
    assert event.name == "RiskUpdatePosted"
    assert event.fields == {
        "round": 1,
        "observed_at": message.observed_at_ms,
        "message_hash": world.read(
            "digest_risk_update", 1, *times, *hashes, raw_words(message.words)
        ),
        "model_hash": MODEL_HASH,
        "evidence_hash": EVIDENCE_HASH,
        "skipped": (1 << 16 | Refusal.SPREAD_OUT_OF_BOUNDS,),
    }
