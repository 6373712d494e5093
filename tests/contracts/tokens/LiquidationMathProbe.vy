# pragma version 0.4.3
# pragma evm-version prague
"""
@title LiquidationMathProbe: the internal functions of liquidation_math, made callable
@license Apache-2.0
@notice For tests only.
"""

from contracts import liquidation_math


@deploy
def __init__():
    """
    @notice Nothing to set.
    """
    pass


@external
@pure
def is_liquidatable(equity: int256, maintenance: uint256) -> bool:
    """
    @return As the module answers.
    """
    return liquidation_math.is_liquidatable(equity, maintenance)


@external
@pure
def is_backstop(equity: int256, maintenance: uint256) -> bool:
    """
    @return As the module answers.
    """
    return liquidation_math.is_backstop(equity, maintenance)


@external
@pure
def penalty_ppm(equity: int256, maintenance: uint256, minimum_ppm: uint256, maximum_ppm: uint256) -> uint256:
    """
    @return As the module answers.
    """
    return liquidation_math.penalty_ppm(equity, maintenance, minimum_ppm, maximum_ppm)


@external
@pure
def close_cost_ppm(
    long: bool, size: uint256, price: uint256, skew: int256, flat_ppm: uint256, impact_ppm: uint256, scale: uint256
) -> uint256:
    """
    @return As the module answers.
    """
    reach: uint256 = liquidation_math.reach(long, size, skew)
    return liquidation_math.close_cost_ppm(reach, price, flat_ppm, impact_ppm, scale)


@external
@pure
def partial_close_size(asked: liquidation_math.Asked) -> uint256:
    """
    @return As the module answers.
    """
    return liquidation_math.partial_close_size(asked)


@external
@pure
def cut_e27(profit: uint256, assets: uint256, share_ppm: uint256) -> uint256:
    """
    @return As the module answers.
    """
    return liquidation_math.cut_e27(profit, assets, share_ppm)
