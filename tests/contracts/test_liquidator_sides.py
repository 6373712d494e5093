"""A side's profit beyond its share of the pool is cut to it, never further, whatever the sums."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from contracts.refusals import Refusal
from contracts.units import PPM
from tests.contracts.liquidators import (
    CUT_SHARE_PPM,
    FRESH,
    KEEPER,
    MARGIN,
    MARKET,
    PRICE,
    RULES,
    Place,
    event,
    mark,
    names,
)
from tests.contracts.margins import e18, usd
from tests.contracts.world import OWNER

E27, E30 = 10**27, 10**30
FEW = settings(derandomize=True, deadline=None, max_examples=60)
LONG_CUTS_AT, SHORT_CUTS_AT = 224, 239


@pytest.fixture
def place() -> Place:
    return Place()


def market(place, average=PRICE, **changes):
    words = {"mark": mark(place.now_ms - 1_000), "margin": MARGIN, "rules": RULES, **changes}
    place.around.send(OWNER, "set_mark", MARKET, (PRICE, average, words["mark"]))
    place.around.send(OWNER, "set_words", words["margin"], words["rules"])


def sides(size, entry, long=True, flow=0):
    """Aggregates of one side that holds `size`, entered at `entry` on average."""
    if long:
        return (size, size * entry, 0, flow)
    return (size << 120, 0, size * entry, flow)


def profitable(place, profit, assets, long=True, kept=E27, flow=0):
    """Give a side of a hundred units this profit, and the pool these assets."""
    size = e18(100)
    step = -(-profit * E30 // size)
    entry = PRICE - step if long else PRICE + step
    market(place)
    place.around.send(OWNER, "set_side", sides(size, entry, long, flow), assets, kept)
    return size, entry


def leave(place, size, entry, keep, assets, long=True):
    """Let the double cut as the engine does."""
    kept = size * keep // E27
    paid = (size - kept) * abs(PRICE - entry)
    left = assets + -(paid // E30)
    place.around.send(OWNER, "set_after_cut", sides(kept, entry, long), left)


def cut(place, long=True):
    return place.contract.send(KEEPER, "deleverage_side", MARKET, long)


@FEW
@given(
    assets=st.integers(usd(1_000), usd(10**9)),
    part=st.integers(CUT_SHARE_PPM * 102 // 100, 3 * PPM),
    long=st.booleans(),
)
def test_cut__any_excess__is_brought_to_its_share_and_no_further(assets, part, long):
    place = Place()
    profit = assets * part // PPM
    assume(profit < usd(299_000))
    size, entry = profitable(place, profit, assets, long)
    share = CUT_SHARE_PPM
    excess = (profit * PPM - share * assets) * E27
    wanted = -(-excess // (profit * (PPM - share)))
    keep = E27 - min(wanted, 9 * 10**26, (assets - 2) * E27 // (profit + 1))
    leave(place, size, entry, keep, assets, long)
    receipt = cut(place, long)
    assert event(receipt, "Cut").fields == {"market": MARKET, "long": long, "keep_e27": keep}
    fields = event(receipt, "SideDeleveraged").fields
    assert fields["payout"] == int.from_bytes(receipt.output, "big") <= assets
    assert (fields["profit"], fields["assets"]) == (profit, assets)


def test_cut__a_unit_more_than_its_excess__is_refused_beyond_a_usdc(place):
    assets = usd(100_000)
    size, entry = profitable(place, usd(50_000), assets)
    keep = E27 - -(-(usd(50_000) - usd(40_000)) * E27 // (usd(50_000) * 6 // 10))
    leave(place, size, entry, keep - E27 // 1_000, assets)
    with place.refuses(Refusal.DELEVERAGED_TOO_FAR):
        cut(place)
    leave(place, size, entry, keep - E27 // 10**6, assets)
    assert cut(place)


def test_cut__a_usdc_below_its_share__is_the_furthest(place):
    profitable(place, usd(50_000), usd(100_000))
    left = -(-usd(90_000) * CUT_SHARE_PPM // PPM) - usd(1)
    for profit, allowed in ((left, True), (left - 1, False)):
        size, entry = profitable(place, usd(50_000), usd(100_000))
        kept = size * profit // usd(50_000)
        place.around.send(OWNER, "set_after_cut", sides(kept, entry), usd(90_000))
        if allowed:
            assert cut(place)
            continue
        with place.refuses(Refusal.DELEVERAGED_TOO_FAR):
            cut(place)


def test_cut__profit_within_its_share_or_hardly_beyond__is_nothing_to_do(place):
    assets = usd(100_000)
    least = usd(40_000) * 1_000 // 994  # from here, a cut takes 1 %
    for profit in (usd(40_000), usd(40_000) + 1, least - 1):
        profitable(place, profit, assets)
        with place.refuses(Refusal.NOTHING_TO_DELEVERAGE):
            cut(place)
    profitable(place, least + 1, assets)
    assert "Cut" in names(cut(place))


@pytest.mark.parametrize("assets", [0, 1, 2])
def test_cut__a_pool_without_assets__is_nothing_to_do(place, assets):
    profitable(place, usd(40_000), assets)
    with place.refuses(Refusal.NOTHING_TO_DELEVERAGE):
        cut(place)


def test_cut__a_side_that_loses__is_nothing_to_do(place):
    profitable(place, usd(50_000), usd(100_000), long=True)
    with place.refuses(Refusal.NOTHING_TO_DELEVERAGE):
        cut(place, long=False)


def test_cut__funding__counts_in_the_profit(place):
    owed = e18(500)  # a unit: what longs have paid shorts
    profitable(place, usd(50_000), usd(100_000), flow=owed)
    with place.refuses(Refusal.NOTHING_TO_DELEVERAGE):
        cut(place)


def test_cut__far_price__needs_a_second_round(place):
    profitable(place, usd(50_000), usd(100_000))
    market(place, average=PRICE * 100 // 103)
    receipt = cut(place)
    assert names(receipt) == ["LiquidationDeferred"]
    assert int.from_bytes(receipt.output, "big") == 0
    with place.refuses(Refusal.AWAITING_SECOND_ROUND):
        cut(place)
    place.wait(4)
    market(place, average=PRICE * 100 // 103)
    assert "Cut" in names(cut(place))


@pytest.mark.parametrize("change", [{"margin": MARGIN | 1 << 8}, {"mark": 0}])
def test_cut__frozen_or_not_fresh__is_refused(place, change):
    profitable(place, usd(50_000), usd(100_000))
    if "mark" in change:
        change = {"mark": mark(place.now_ms - 1_000, flags=0)}
    market(place, **change)
    with place.refuses(Refusal.MARKET_NOT_LIVE):
        cut(place)


def test_cut__old_price_or_pause__is_refused(place):
    profitable(place, usd(50_000), usd(100_000))
    market(place, mark=mark(place.now_ms - 60_001, FRESH))
    with place.refuses(Refusal.PRICE_TOO_OLD):
        cut(place)
    market(place, margin=MARGIN & ~4)
    with place.refuses(Refusal.LIQUIDATION_PAUSED):
        cut(place)


def test_cut__settled_market__is_refused(place):
    profitable(place, usd(50_000), usd(100_000), flow=1 << 255)
    with place.refuses(Refusal.MARKET_SETTLED):
        cut(place)


@pytest.mark.parametrize("long", [True, False])
def test_cut__side_cut_too_often__is_refused(place, long):
    flow = 3 << (LONG_CUTS_AT if long else SHORT_CUTS_AT)
    excess = {"profit": usd(50_000), "assets": usd(100_000), "long": long, "flow": flow}
    profitable(place, **excess, kept=15 * 10**8 - 2)  # a third goes: less than 10^9 would stay
    with place.refuses(Refusal.CUT_TOO_DEEP):
        cut(place, long)
    profitable(place, **excess, kept=15 * 10**8 + 1)  # exactly 10^9 stays
    assert "Cut" in names(cut(place, long))
