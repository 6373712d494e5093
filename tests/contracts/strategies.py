"""Valid values of the contracts package, drawn over their whole range, for any test to use."""

from __future__ import annotations

from hypothesis import strategies as st

from contracts import messages, packing, units

hashes = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=64, max_size=64)
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
words = st.lists(st.integers(0, 2**256 - 1), max_size=6).map(tuple)


def unsigned(bits: int) -> st.SearchStrategy[int]:
    """Any value of a uintN, its limits among the likely ones."""
    return st.integers(0, 2**bits - 1) | st.sampled_from([0, 1, 2**bits - 1])


_times = {"observed_at_ms": unsigned(64), "valid_until_ms": unsigned(64)}

domains = st.builds(
    messages.Domain, chain_id=unsigned(256), contract=addresses, config_digest=hashes
)
price_rounds = st.builds(
    messages.PriceRound, round=unsigned(64), evidence_hash=hashes, words=words, **_times
)
risk_updates = st.builds(
    messages.RiskUpdate,
    round=unsigned(64),
    model_hash=hashes,
    evidence_hash=hashes,
    words=words,
    **_times,
)
position_terms = st.builds(
    messages.PositionTerms,
    account=addresses,
    market=unsigned(16),
    side=st.sampled_from(messages.Side),
    margin_mode=st.sampled_from(messages.MarginMode),
    adjustment=st.sampled_from(messages.Adjustment),
    max_notional_e6=unsigned(128),
    max_leverage_e2=unsigned(32),
    maintenance_ppm=unsigned(32),
    maintenance_ceiling_ppm=unsigned(32),
    risk_score_ppm=unsigned(32),
    nonce=unsigned(64),
    model_hash=hashes,
    evidence_hash=hashes,
    **_times,
)
position_actions = st.builds(
    messages.PositionAction,
    position_id=unsigned(256),
    position_version=unsigned(64),
    kind=st.sampled_from(messages.ActionKind),
    maintenance_ppm=unsigned(32),
    max_size_e18=unsigned(128),
    price_bound_e18=unsigned(128),
    model_hash=hashes,
    evidence_hash=hashes,
    **_times,
)
posted = price_rounds | risk_updates
any_message = posted | position_terms | position_actions

prices = st.integers(32, 94).flatmap(
    lambda bits: st.integers(
        max(2 ** (bits - 1), packing.MIN_PRICE_E18), min(2**bits - 1, packing.MAX_PRICE_E18)
    )
)
amounts = st.integers(0, packing.MAX_AMOUNT_USDC.bit_length()).flatmap(
    lambda bits: st.integers(0, min(2**bits, packing.MAX_AMOUNT_USDC))
)
caps = st.integers(units.ONE_X, units.MAX_CAP_E2 - 1)
market_parameters = st.builds(
    packing.MarketParameters,
    market=unsigned(16),
    cap_e2=caps,
    maintenance_ppm=st.integers(1, units.PPM),
    open_interest_cap_usdc=amounts,
    size_scale_usdc=amounts.filter(bool),
    spread_ppm=st.integers(0, packing.MAX_SPREAD_PPM),
    reduce_only=st.booleans(),
    ramp_s=st.integers(0, packing.MAX_RAMP_S),
)


def price_quotes(observed_at_ms: int) -> st.SearchStrategy[list[packing.PriceQuote]]:
    """Quotes of different markets that a round observed at this instant can carry."""
    quote = st.builds(
        packing.PriceQuote,
        market=st.integers(0, 9) | unsigned(16),
        price_e18=prices,
        confidence_ppm=st.integers(0, packing.MAX_CONFIDENCE_PPM),
        observed_at_ms=st.integers(observed_at_ms - packing.MAX_AGE_MS, observed_at_ms),
    )
    return st.lists(quote, max_size=8, unique_by=lambda item: item.market)
