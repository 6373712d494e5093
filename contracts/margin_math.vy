# pragma version 0.4.3
"""
@title Margin math: the arithmetic of positions, to the unit
@license Apache-2.0
@notice Pure. Equal to contracts/margin.py, margin_account.py, margin_price.py and margin_terms.py, bit for bit; each
        rounding is against the trader. Prices and sizes x 1e18, USDC x 1e6, ratios in ppm, leverage x 100. `net` is a
        price less the funding index, `basis` an entry price less the index at entry: both may be below zero.
@dev Unchecked arithmetic, because every argument is a bit field of bounded width: sizes 120 bits, prices of the feed 95,
     ratios 20, leverages 16, basis, index and net price 112 and a sign (net: 113), kept shares 90, size scales 69
     (USDC e6), amounts of USDC e6 116. So a notional has at most 116 bits and no product more than 253, as each
     function says; callers keep to these widths. Divisions are checked where a divisor could be 0.
"""

PPM: constant(uint256) = 1_000_000
ONE_X: constant(uint256) = 100
DAY_S: constant(uint256) = 86_400
E30: constant(uint256) = 10**30  # size x price in one USDC e6
E36: constant(uint256) = 10**36  # size x price x ratio in one USDC e6
I30: constant(int256) = 10**30
LOCKED_PPM: constant(uint256) = 100_000  # 10 % of the notional stays after any withdrawal
INTEREST_SHARE_PPM: constant(uint256) = 100_000  # a tenth of open interest counts toward the cap's size
MOST_RATE: constant(int256) = 2**71 - 1  # 72 bits, signed


@internal
@pure
def ceil_div(numerator: uint256, denominator: uint256) -> uint256:
    """
    @return numerator / denominator, rounded up; reverts on a denominator of 0.
    """
    # 0 for a numerator of 0, without a branch.
    return unsafe_add(
        unsafe_sub(numerator, convert(numerator != 0, uint256)) // denominator, convert(numerator != 0, uint256)
    )


@internal
@pure
def floor_div(numerator: int256, denominator: int256) -> int256:
    """
    @notice Signed, rounded down, toward minus infinity: Vyper's own rounds toward 0.
    @param denominator Above 0.
    """
    quotient: int256 = numerator // denominator
    # The product is no further from 0 than the numerator.
    if numerator < 0 and unsafe_mul(quotient, denominator) != numerator:
        return unsafe_sub(quotient, 1)
    return quotient


@internal
@pure
def notional_up(size: uint256, price: uint256) -> uint256:
    """
    @return What a size is worth, rounded up: where more is asked for more.
    """
    return self.ceil_div(unsafe_mul(size, price), E30)


@internal
@pure
def notional_down(size: uint256, price: uint256) -> uint256:
    """
    @return What a size is worth, rounded down: where more is paid for more.
    """
    return unsafe_div(unsafe_mul(size, price), E30)


@internal
@pure
def initial_margin(size: uint256, price: uint256, leverage_e2: uint256) -> uint256:
    """
    @return size x price / leverage, rounded up.
    """
    return self.initial_of(unsafe_mul(size, price), leverage_e2)


@internal
@pure
def initial_of(worth: uint256, leverage_e2: uint256) -> uint256:
    """
    @notice initial_margin of a product size x price that is there already.
    """
    return self.ceil_div(unsafe_mul(worth, ONE_X), unsafe_mul(leverage_e2, E30))


@internal
@pure
def charge(size: uint256, price: uint256, ratio_ppm: uint256) -> uint256:
    """
    @return A ratio of a size's worth, rounded up: maintenance margin, fee, spread, penalty.
    """
    return self.charge_of(unsafe_mul(size, price), ratio_ppm)


@internal
@pure
def charge_of(worth: uint256, ratio_ppm: uint256) -> uint256:
    """
    @notice charge of a product size x price that is there already.
    """
    return self.ceil_div(unsafe_mul(worth, ratio_ppm), E36)


@internal
@pure
def profit(long: bool, size: uint256, basis: int256, net: int256) -> int256:
    """
    @notice unrealised_pnl with funding in it: side x size x (net - basis), rounded toward minus infinity.
    """
    # 120 bits x 114.
    moved: int256 = unsafe_sub(net, basis) if long else unsafe_sub(basis, net)
    return self.floor_div(unsafe_mul(convert(size, int256), moved), I30)


@internal
@pure
def average_basis(long: bool, size: uint256, basis: int256, added: uint256, net: int256) -> int256:
    """
    @notice average_entry_price: the basis of a position that grew by `added` at `net`; a long's up, a short's down.
    """
    # 120 bits x 113, twice.
    paid: int256 = unsafe_add(
        unsafe_mul(convert(size, int256), basis), unsafe_mul(convert(added, int256), net)
    )
    total: int256 = convert(unsafe_add(size, added), int256)
    if long:
        return unsafe_sub(0, self.floor_div(unsafe_sub(0, paid), total))
    return self.floor_div(paid, total)


@internal
@pure
def impact_cost(
    skew_before: int256, skew_after: int256, price: uint256, impact_ppm: uint256, size_scale: uint256
) -> uint256:
    """
    @notice What moving the skew costs, rounded up; nothing where it moves toward zero. Through zero only the part
            beyond pays.
    @param size_scale USDC e6, above 0.
    """
    start: uint256 = convert(abs(skew_before), uint256)
    if (skew_before < 0 and skew_after > 0) or (skew_before > 0 and skew_after < 0):
        start = 0
    end: uint256 = convert(abs(skew_after), uint256)
    if end <= start:
        return 0
    far: uint256 = self.notional_up(end, price)
    near: uint256 = self.notional_down(start, price)
    # 116 bits squared x 20; near is not above far, as its size is smaller.
    return self.ceil_div(
        unsafe_mul(unsafe_sub(unsafe_mul(far, far), unsafe_mul(near, near)), impact_ppm),
        unsafe_mul(size_scale, 2 * PPM),
    )


@internal
@pure
def price_paid(buys: bool, size: uint256, price: uint256, cost: uint256) -> uint256:
    """
    @notice The price for one unit with the cost in it: a buyer's rounded up, a seller's down.
    @return 0 where the cost leaves a seller nothing: no such trade has a price.
    """
    each: uint256 = self.ceil_div(cost * E30, size)
    if buys:
        return price + each
    if each >= price:
        return 0
    return unsafe_sub(price, each)


@internal
@pure
def funding_rate(skew: int256, price: uint256, daily_ppm: uint256, size_scale: uint256) -> int256:
    """
    @notice funding_step for one second: what the index grows by, rounded toward 0, held to its 72 bits.
    @param skew Long less short open interest.
    @param size_scale USDC e6, above 0.
    """
    worth: uint256 = min(size_scale, self.notional_down(convert(abs(skew), uint256), price))
    # 95 bits x 20 x 69, as worth is not above the scale.
    step: uint256 = unsafe_mul(unsafe_mul(price, daily_ppm), worth) // unsafe_mul(PPM * DAY_S, size_scale)
    # A field's limit on what longs pay a second; reached only where one unit costs 10^12 USDC and more.
    step = min(step, convert(MOST_RATE, uint256))
    return convert(step, int256) if skew > 0 else unsafe_sub(0, convert(step, int256))


@internal
@pure
def leverage_cap(
    cap_e2: uint256, size_scale: uint256, account_notional: uint256, open_interest: uint256
) -> uint256:
    """
    @notice The cap for a size, rounded down: one size scale is free, two halve it. A tenth of the market's open
            interest counts as well.
    """
    exposure: uint256 = unsafe_add(
        account_notional, self.ceil_div(unsafe_mul(open_interest, INTEREST_SHARE_PPM), PPM)
    )
    return unsafe_mul(cap_e2, size_scale) // max(size_scale, exposure)


@internal
@pure
def ramped_ppm(start_ppm: uint256, target_ppm: uint256, elapsed_s: uint256, ramp_s: uint256) -> uint256:
    """
    @notice A ratio on its way from start to target, linear in time, rounded toward the start.
    """
    if elapsed_s >= ramp_s:
        return target_ppm
    if target_ppm >= start_ppm:
        return unsafe_add(
            start_ppm, unsafe_div(unsafe_mul(unsafe_sub(target_ppm, start_ppm), elapsed_s), ramp_s)
        )
    return unsafe_sub(
        start_ppm, unsafe_div(unsafe_mul(unsafe_sub(start_ppm, target_ppm), elapsed_s), ramp_s)
    )


@internal
@pure
def locked_margin(initial: uint256, notional: uint256) -> uint256:
    """
    @notice What stays after any withdrawal: max(initial margin, 10 % of notional, rounded up).
    """
    return max(initial, self.ceil_div(unsafe_mul(notional, LOCKED_PPM), PPM))


@internal
@pure
def cut_size(size: uint256, kept_before: uint256, kept_now: uint256) -> uint256:
    """
    @notice What deleveraging has left of a size, rounded down.
    @param kept_before The side's kept share (x 1e27) when the size was stored; above 0.
    @param kept_now The same now.
    """
    return unsafe_mul(size, kept_now) // kept_before


@internal
@pure
def cut_cash(
    long: bool,
    size: uint256,
    basis: int256,
    kept_before: uint256,
    kept_now: uint256,
    paid: int256,
) -> int256:
    """
    @notice What deleveraging owes a position for the part it took: price of a unit rounded down, then the amount.
    @param paid Growth of the side's cash (kept share x net price) since the size was stored.
    """
    # Kept shares only fall: 113 bits x 90, as the growth of cash; a unit is a price's distance from the basis.
    owed: int256 = unsafe_sub(paid, unsafe_mul(basis, convert(unsafe_sub(kept_before, kept_now), int256)))
    unit: int256 = self.floor_div(owed if long else unsafe_sub(0, owed), convert(kept_before, int256))
    return self.floor_div(unsafe_mul(convert(size, int256), unit), I30)
