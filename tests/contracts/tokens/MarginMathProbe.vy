# pragma version 0.4.3
# pragma evm-version prague
"""
@title MarginMathProbe: the internal functions of margin_math and margin_words, made callable
@license Apache-2.0
@notice For tests only.
"""

from contracts import margin_math
from contracts import margin_words


@deploy
def __init__():
    """
    @notice Nothing to set.
    """
    pass


@external
@pure
def ceil_div(numerator: uint256, denominator: uint256) -> uint256:
    """
    @return As the module answers.
    """
    return margin_math.ceil_div(numerator, denominator)


@external
@pure
def floor_div(numerator: int256, denominator: int256) -> int256:
    """
    @return As the module answers.
    """
    return margin_math.floor_div(numerator, denominator)


@external
@pure
def notional_up(size: uint256, price: uint256) -> uint256:
    """
    @return As the module answers.
    """
    return margin_math.notional_up(size, price)


@external
@pure
def notional_down(size: uint256, price: uint256) -> uint256:
    """
    @return As the module answers.
    """
    return margin_math.notional_down(size, price)


@external
@pure
def initial_margin(size: uint256, price: uint256, leverage_e2: uint256) -> uint256:
    """
    @return As the module answers.
    """
    return margin_math.initial_margin(size, price, leverage_e2)


@external
@pure
def charge(size: uint256, price: uint256, ratio_ppm: uint256) -> uint256:
    """
    @return As the module answers.
    """
    return margin_math.charge(size, price, ratio_ppm)


@external
@pure
def profit(long: bool, size: uint256, basis: int256, net: int256) -> int256:
    """
    @return As the module answers.
    """
    return margin_math.profit(long, size, basis, net)


@external
@pure
def average_basis(long: bool, size: uint256, basis: int256, added: uint256, net: int256) -> int256:
    """
    @return As the module answers.
    """
    return margin_math.average_basis(long, size, basis, added, net)


@external
@pure
def impact_cost(
    skew_before: int256, skew_after: int256, price: uint256, impact_ppm: uint256, size_scale: uint256
) -> uint256:
    """
    @return As the module answers.
    """
    return margin_math.impact_cost(skew_before, skew_after, price, impact_ppm, size_scale)


@external
@pure
def price_paid(buys: bool, size: uint256, price: uint256, cost: uint256) -> uint256:
    """
    @return As the module answers.
    """
    return margin_math.price_paid(buys, size, price, cost)


@external
@pure
def funding_rate(skew: int256, price: uint256, daily_ppm: uint256, size_scale: uint256) -> int256:
    """
    @return As the module answers.
    """
    return margin_math.funding_rate(skew, price, daily_ppm, size_scale)


@external
@pure
def leverage_cap(
    cap_e2: uint256, size_scale: uint256, account_notional: uint256, open_interest: uint256
) -> uint256:
    """
    @return As the module answers.
    """
    return margin_math.leverage_cap(cap_e2, size_scale, account_notional, open_interest)


@external
@pure
def ramped_ppm(start_ppm: uint256, target_ppm: uint256, elapsed_s: uint256, ramp_s: uint256) -> uint256:
    """
    @return As the module answers.
    """
    return margin_math.ramped_ppm(start_ppm, target_ppm, elapsed_s, ramp_s)


@external
@pure
def locked_margin(initial: uint256, notional: uint256) -> uint256:
    """
    @return As the module answers.
    """
    return margin_math.locked_margin(initial, notional)


@external
@pure
def cut_size(size: uint256, kept_before: uint256, kept_now: uint256) -> uint256:
    """
    @return As the module answers.
    """
    return margin_math.cut_size(size, kept_before, kept_now)


@external
@pure
def cut_cash(
    long: bool, size: uint256, basis: int256, kept_before: uint256, kept_now: uint256, paid: int256
) -> int256:
    """
    @return As the module answers.
    """
    return margin_math.cut_cash(long, size, basis, kept_before, kept_now, paid)


@external
@pure
def position_id(account: address, market: uint256, mode: uint256) -> uint256:
    """
    @return As the module answers.
    """
    return margin_words.position_id(account, market, mode)


@external
@pure
def basis(word: uint256) -> int256:
    """
    @return As the module answers.
    """
    return margin_words.basis(word)


@external
@pure
def index(flow: uint256) -> int256:
    """
    @return As the module answers.
    """
    return margin_words.index(flow)


@external
@pure
def rate(flow: uint256) -> int256:
    """
    @return As the module answers.
    """
    return margin_words.rate(flow)


@external
@view
def index_now(flow: uint256) -> int256:
    """
    @return As the module answers.
    """
    return margin_words.index_now(flow)


@external
@pure
def signed_112(number: int256) -> uint256:
    """
    @return As the module answers.
    """
    return margin_words.signed_112(number)
