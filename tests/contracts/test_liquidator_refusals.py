"""Each number of the liquidator is reached, and where it refuses, nothing moved."""

from __future__ import annotations

import pytest

from contracts.refusals import Refusal
from tests.contracts.chain import Contract, RefusedError, new_evm
from tests.contracts.liquidators import (
    ADJUST,
    CROSS,
    DELEVERAGE,
    FRESH,
    LIQUIDATE,
    MARGIN,
    MARKET,
    PRICE,
    TRADER,
    Place,
    mark,
    position_id,
)
from tests.contracts.margins import e18
from tests.contracts.test_liquidator_sides import cut, leave, market, profitable, usd
from tests.contracts.world import OWNER

ZERO, SOME = "0x" + "00" * 20, "0x" + "11" * 20
FAR = PRICE * 100 // 97


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.mark.parametrize("missing", range(4))
def test_deploy__an_address_of_nobody__refuses_address_missing(missing):
    parts = [ZERO if index == missing else SOME for index in range(4)]
    with pytest.raises(RefusedError) as caught:
        Contract(new_evm(), "Liquidator", OWNER, parts)
    assert caught.value.refusal is Refusal.ADDRESS_MISSING


def test_liquidate__nobody_s_position__refuses_no_position(place):
    with place.refuses(Refusal.NO_POSITION):
        place.liquidate()
    place.stand(0.9)
    with place.refuses(Refusal.NO_POSITION):
        place.liquidate(CROSS)


@pytest.mark.parametrize(("number", "mode"), [(MARKET, 3), (MARKET, 257), (MARKET + 65_536, 1)])
def test_liquidate__a_number_that_names_another_position__refuses_no_position(place, number, mode):
    place.stand(0.9)
    another = int(TRADER, 16) << 24 | number << 8 | mode
    place.put(place.health(0.9), another)
    with place.refuses(Refusal.NO_POSITION):
        place.liquidate(mode, number)


def test_liquidate__the_last_market__may_be(place):
    place.put(place.health(0.9, largest_market=65_535), position_id(market=65_535))
    assert place.liquidate(market=65_535).output


def test_action__bits_above_the_id__refuses_no_position(place):
    strange = position_id() | 1 << 184
    place.put(place.health(0.9), strange)
    with place.refuses(Refusal.NO_POSITION):
        place.act("liquidate_signed", place.action(LIQUIDATE, position_id=strange))


def test_liquidate__settled_market__refuses_market_settled(place):
    place.stand(0.9, settled=True)
    with place.refuses(Refusal.MARKET_SETTLED):
        place.liquidate()


def test_liquidate__paused__refuses_liquidation_paused(place):
    place.stand(0.1, margin=MARGIN & ~4)
    with place.refuses(Refusal.LIQUIDATION_PAUSED):
        place.liquidate()
    with place.refuses(Refusal.LIQUIDATION_PAUSED):
        place.act("deleverage", place.action(DELEVERAGE))


def test_liquidate__price_older_than_the_age__refuses_price_too_old(place):
    place.stand(0.1, mark=mark(place.now_ms - 60_001), stamp_ms=0)
    with place.refuses(Refusal.PRICE_TOO_OLD):
        place.liquidate()
    place.stand(0.1, mark=mark(place.now_ms - 60_000), stamp_ms=0)
    assert place.liquidate().output


def test_liquidate__price_of_the_opening__refuses_price_before_position(place):
    place.stand(0.1, stamp_ms=place.now_ms - 1_000)
    with place.refuses(Refusal.PRICE_BEFORE_POSITION):
        place.liquidate()
    place.stand(0.1, stamp_ms=place.now_ms - 1_001)
    assert place.liquidate().output


def test_liquidate__equity_at_maintenance__refuses_not_liquidatable(place):
    place.stand(1.0)
    with place.refuses(Refusal.NOT_LIQUIDATABLE):
        place.liquidate()
    place.stand(equity=place.health().maintenance - 1)
    assert place.liquidate().output


def test_liquidate__cross_and_another_larger__refuses_not_the_largest(place):
    place.stand(0.5, mode=CROSS, largest_market=MARKET + 1)
    with place.refuses(Refusal.NOT_THE_LARGEST):
        place.liquidate(CROSS)


def test_liquidate__same_round_again__refuses_awaiting_second_round(place):
    place.stand(0.1, average=FAR)
    place.liquidate()
    with place.refuses(Refusal.AWAITING_SECOND_ROUND):
        place.liquidate()


def test_liquidate__partial_after_a_gap__refuses_grace_running(place):
    place.around.send(OWNER, "set_times", place.now_s, 0)
    place.stand(0.9)
    with place.refuses(Refusal.GRACE_RUNNING):
        place.liquidate()


def test_liquidate__partial_beyond_the_minute_s__refuses_window_used_up(place):
    place.stand(0.68, size=e18(200))
    place.liquidate()
    with place.refuses(Refusal.WINDOW_USED_UP):
        place.liquidate()


def test_action__carried_out_before__refuses_action_void(place):
    place.stand(0.9)
    action = place.action(LIQUIDATE, max_size=e18(1))
    place.act("liquidate_signed", action)
    with place.refuses(Refusal.ACTION_VOID):
        place.act("liquidate_signed", action)


@pytest.mark.parametrize("kind", [0, ADJUST, DELEVERAGE, 4, 255])
def test_action__another_kind__refuses_wrong_action_kind(place, kind):
    place.stand(0.9)
    with place.refuses(Refusal.WRONG_ACTION_KIND):
        place.act("liquidate_signed", place.action(kind))


def test_action__worse_price_than_signed__refuses_price_beyond_bound(place):
    place.stand(0.9)
    with place.refuses(Refusal.PRICE_BEYOND_BOUND):
        place.act("liquidate_signed", place.action(LIQUIDATE, price_bound=PRICE + 1))


def test_action__price_of_the_signing__refuses_price_before_action(place):
    place.stand(0.9)
    seen = place.action(LIQUIDATE, observed_at=place.now_ms - 1_000)
    with place.refuses(Refusal.PRICE_BEFORE_ACTION):
        place.act("liquidate_signed", seen)


@pytest.mark.parametrize(("function", "kind"), [("adjust", ADJUST), ("deleverage", DELEVERAGE)])
def test_action__fixed_position__refuses_not_managed(place, function, kind):
    place.stand(1.2, managed=False)
    with place.refuses(Refusal.NOT_MANAGED):
        place.act(function, place.action(kind))


@pytest.mark.parametrize("share", [0.6, 1.6])
def test_deleverage__outside_its_trigger__refuses_trigger_gone(place, share):
    place.stand(share)
    with place.refuses(Refusal.TRIGGER_GONE):
        place.act("deleverage", place.action(DELEVERAGE))


def test_side__market_frozen__refuses_market_not_live(place):
    profitable(place, usd(50_000), usd(100_000))
    market(place, margin=MARGIN | 1 << 8, mark=mark(place.now_ms - 1_000, FRESH))
    with place.refuses(Refusal.MARKET_NOT_LIVE):
        cut(place)


def test_side__profit_within_its_share__refuses_nothing_to_deleverage(place):
    profitable(place, usd(40_000), usd(100_000))
    with place.refuses(Refusal.NOTHING_TO_DELEVERAGE):
        cut(place)


def test_side__engine_that_cuts_more__refuses_deleveraged_too_far(place):
    size, entry = profitable(place, usd(50_000), usd(100_000))
    leave(place, size, entry, 10**26, usd(100_000))
    with place.refuses(Refusal.DELEVERAGED_TOO_FAR):
        cut(place)


def test_side__hardly_anything_kept__refuses_cut_too_deep(place):
    profitable(place, usd(50_000), usd(100_000), flow=1 << 224, kept=10**9)
    with place.refuses(Refusal.CUT_TOO_DEEP):
        cut(place)
