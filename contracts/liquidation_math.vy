# pragma version 0.4.3
"""
@title Liquidation math: how much of a position is closed, and at what penalty
@license Apache-2.0
@notice Pure. Equal to partial_close_size and close_grid in contracts/margin.py, is_backstop, lacks_prices and penalty_ppm
        in margin_losses.py and close_cost_ppm in margin_price.py, bit for bit; each rounding is against the trader.
@dev Prices and sizes x 1e18, USDC x 1e6, ratios in ppm. While a position's worth is below 2**62 (USDC e6) and
     equity below 2**80, nothing here passes 2**224.
"""

from contracts import margin_math

PPM: constant(uint256) = 1_000_000
E36: constant(uint256) = 10**36  # size x price x ratio in one USDC e6
E27: constant(uint256) = 10**27
E42: constant(uint256) = 10**42
MOST_CUT_E27: constant(uint256) = 9 * 10**26  # one cut takes at most 90 % of a side
# Cuts are counted in 15 bits: a trickle of cuts, one a round while prices rise, would use the count up in hours.
LEAST_CUT_E27: constant(uint256) = 10**25
# What a close may cost beyond its ratio: fee, spread and impact are rounded apart (less than 5 units), and the
# profit of two parts is rounded down where that of one was (1 unit).
CLOSE_ROUNDINGS: constant(uint256) = 6

struct Asked:
    size: uint256
    price: uint256
    maintenance_ppm: uint256
    equity: int256  # the account's in cross, profit included
    other_maintenance: uint256  # asked by the account's other positions
    cost_ppm: uint256
    penalty_ppm: uint256
    target_ppm: uint256


@internal
@pure
def is_liquidatable(equity: int256, maintenance: uint256) -> bool:
    """
    @return Whether equity is below maintenance, strictly. Who is asked nothing has nothing to liquidate.
    """
    return maintenance > 0 and equity < convert(maintenance, int256)


@internal
@pure
def is_backstop(equity: int256, maintenance: uint256) -> bool:
    """
    @return Whether equity is below two thirds of maintenance, strictly: all is closed, now.
    """
    return maintenance > 0 and 3 * equity < convert(2 * maintenance, int256)


@internal
@pure
def lacks_prices(equity: int256, absent: uint256, maintenance: uint256) -> bool:
    """
    @param absent Profit that only the want of a live price keeps out of equity.
    @return Whether, with it, an account that is liquidatable would not be, or in part where it now is whole.
    """
    priced: int256 = equity + convert(absent, int256)
    return not self.is_liquidatable(priced, maintenance) or (
        self.is_backstop(equity, maintenance) and not self.is_backstop(priced, maintenance)
    )


@internal
@pure
def penalty_ppm(equity: int256, maintenance: uint256, minimum_ppm: uint256, maximum_ppm: uint256) -> uint256:
    """
    @return The penalty ratio: minimum at the threshold, maximum at bankruptcy, a line between, rounded up. Who
            comes first gains least, so there is nothing to race for.
    """
    below: uint256 = 0
    if equity <= 0:
        below = maintenance
    elif convert(equity, uint256) < maintenance:
        below = maintenance - convert(equity, uint256)
    return minimum_ppm + margin_math.ceil_div((maximum_ppm - minimum_ppm) * below, maintenance)


@internal
@pure
def reach(long: bool, size: uint256, skew: int256) -> uint256:
    """
    @notice How far from zero a close takes the skew, where it moves it away from zero; else 0.
    @param long The side of the position that is closed: a long's close sells.
    @param skew Long minus short open interest, before the close.
    """
    end: int256 = skew + convert(size, int256)
    if long:
        end = convert(size, int256) - skew
    return convert(max(end, 0), uint256)


@internal
@pure
def close_cost_ppm(
    reach: uint256, price: uint256, fee_and_spread_ppm: uint256, impact_ppm: uint256, size_scale: uint256
) -> uint256:
    """
    @notice A ratio that no close of up to a size exceeds: fee, spread, and impact at the far end, where it is
            dearest; at most the whole notional.
    @param reach Of that size.
    @param size_scale USDC e6.
    """
    impact: uint256 = margin_math.ceil_div(margin_math.notional_up(reach, price) * impact_ppm, size_scale)
    return min(PPM, fee_and_spread_ppm + impact)


@internal
@pure
def partial_close_size(asked: Asked) -> uint256:
    """
    @notice The smallest close that restores equity >= target x maintenance.
    @return A multiple of the grid; 0 where nothing has to be closed, the whole size where no part of it restores.
    """
    if self._is_restored(asked, asked.size, asked.equity):
        return 0
    relief: uint256 = asked.target_ppm * asked.maintenance_ppm
    burden: uint256 = (asked.cost_ppm + asked.penalty_ppm) * PPM
    # A close that costs as much as it frees restores nothing: all of it goes.
    if relief <= burden:
        return asked.size
    gain: uint256 = asked.price * (relief - burden)
    # The smallest size whose close brings more than all roundings together take.
    roundings: uint256 = CLOSE_ROUNDINGS + 3 + margin_math.ceil_div(asked.target_ppm, PPM)
    grid: uint256 = margin_math.ceil_div(roundings * E42, gain)
    due: int256 = convert(
        (asked.size * asked.price * asked.maintenance_ppm + asked.other_maintenance * E36) * asked.target_ppm, int256
    )
    short: int256 = due - asked.equity * convert(E42, int256)
    units: uint256 = 1
    if short > 0:
        units = margin_math.ceil_div(convert(short, uint256), gain * grid)
    close: uint256 = units * grid
    for i: uint256 in range(2):
        if close >= asked.size:
            return asked.size
        if self._is_restored(asked, asked.size - close, self._equity_after(asked, close)):
            return close
        close += grid
    # Not reached: one grid unit past the exact answer restores.
    return asked.size


@internal
@pure
def cut_e27(profit: uint256, assets: uint256, share_ppm: uint256) -> uint256:
    """
    @notice The smallest share of a side that brings its profit to its share of what the pool has left after paying:
            (profit - cut) <= share x (assets - cut).
    @param profit The side's, USDC e6, rounded down.
    @param assets The pool's own, USDC e6.
    @param share_ppm Of the assets.
    @return x 1e27, rounded up; at most 90 %, and what the assets can pay; 0 where profit is within its share, or
            beyond it by so little that less than 1 % would be cut.
    """
    bound: uint256 = share_ppm * assets
    # Two units of assets stay for the roundings of the payout, one unit of profit was rounded away.
    if profit * PPM <= bound or assets < 2:
        return 0
    cut: uint256 = min(MOST_CUT_E27, (assets - 2) * E27 // (profit + 1))
    # A share of all leaves no smaller cut that would do.
    if share_ppm < PPM:
        cut = min(cut, margin_math.ceil_div((profit * PPM - bound) * E27, profit * (PPM - share_ppm)))
    return cut if cut >= LEAST_CUT_E27 else 0


@internal
@pure
def _is_restored(asked: Asked, left: uint256, equity: int256) -> bool:
    """
    @return Whether equity reaches the target with this size left open.
    """
    maintenance: uint256 = margin_math.charge(left, asked.price, asked.maintenance_ppm) + asked.other_maintenance
    return equity >= convert(margin_math.ceil_div(maintenance * asked.target_ppm, PPM), int256)


@internal
@pure
def _equity_after(asked: Asked, close: uint256) -> int256:
    """
    @return The equity that a partial close leaves at least: cost and penalty rounded up, each.
    """
    taken: uint256 = (
        margin_math.charge(close, asked.price, asked.cost_ppm)
        + margin_math.charge(close, asked.price, asked.penalty_ppm)
        + CLOSE_ROUNDINGS
    )
    return asked.equity - convert(taken, int256)
