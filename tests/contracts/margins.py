"""Positions, ratios and rules as the margin law may meet them, and amounts in plain numbers."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st

from contracts import margin, margin_account, margin_price, packing, units

PROVEN = settings(derandomize=True, deadline=None, max_examples=150)


def e18(number):
    """Prices and sizes from a plain number."""
    return int(Decimal(str(number)) * 10**18)


def usd(number):
    """USDC from a plain number."""
    return int(Decimal(str(number)) * 10**6)


def logarithmic(low: int, high: int) -> st.SearchStrategy[int]:
    """Integers whose length is drawn first, so that dust and giants are both likely."""
    return st.integers(low.bit_length(), high.bit_length()).flatmap(
        lambda bits: st.integers(max(low, 2 ** max(0, bits - 1)), min(high, max(low, 2**bits - 1)))
    )


sides = st.sampled_from([margin.LONG, margin.SHORT])
prices = logarithmic(packing.MIN_PRICE_E18, packing.MAX_PRICE_E18)
usual_prices = logarithmic(10**12, 10**24)  # a millionth to a million USDC
sizes = logarithmic(1, 10**32)
usual_sizes = logarithmic(10**15, 10**24)
leverages = st.integers(units.ONE_X, units.MAX_CAP_E2)
ratios = st.integers(1, units.PPM // 2)
money = logarithmic(1, 10**15) | st.just(0)
signed_money = st.integers(-(10**13), 10**13)
skews = st.integers(-(10**24), 10**24)

trade_rules = st.builds(
    margin_price.TradeRules,
    fee_ppm=st.integers(0, 2_000),
    spread_ppm=st.integers(0, packing.MAX_SPREAD_PPM),
    impact_ppm=st.integers(0, 50_000),
    size_scale=st.integers(10**9, 10**14),
)
close_rules = st.builds(
    margin.CloseRules,
    cost_ppm=st.integers(0, 5_000),
    penalty_ppm=st.integers(0, 20_000),
    target_ppm=st.integers(units.PPM, 2 * units.PPM),
)
cross_positions = st.builds(
    margin_account.CrossPosition,
    side=sides,
    size=usual_sizes,
    entry_price=usual_prices,
    price=usual_prices,
    leverage_e2=st.integers(units.ONE_X, 10_000),
    maintenance_ppm=ratios,
    profit_share_ppm=st.integers(0, units.PPM),
    funding=st.integers(-(10**9), 10**9),
    is_live=st.booleans(),
)
