"""What a liquidation takes, from whom, and who bears what the collateral cannot.

Pure and integer; the units of margin.py. What a trader pays is rounded up, and is never more than
the position still has; what is beyond that is a loss of insurance, then of the pool.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.margin import check, is_liquidatable
from contracts.units import PPM, Ppm, UnitError, UsdcE6, ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class LossShares:
    """Who bears a loss, in the order in which they do; the three are the whole of it."""

    collateral: UsdcE6
    insurance: UsdcE6
    pool: UsdcE6


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """Where a closed position's equity goes; `loss` is what it falls short of 0, borne by others.

    `cost` and `penalty` stay with the protocol, `reward` is the caller's part of the penalty,
    `trader` is what is left.
    """

    cost: UsdcE6
    penalty: UsdcE6
    reward: UsdcE6
    trader: UsdcE6
    loss: UsdcE6


def is_backstop(equity: int, maintenance: int) -> bool:
    """Tell whether equity is below two thirds of maintenance, strictly: all is closed, now."""
    return maintenance > 0 and 3 * equity < 2 * maintenance


def lacks_prices(equity: int, absent: int, maintenance: int) -> bool:
    """Tell whether a liquidatable account lacks only profit that has no live price.

    With it, it would not be liquidatable, or in part where it now is whole.
    """
    priced = equity + absent
    return not is_liquidatable(priced, maintenance) or (
        is_backstop(equity, maintenance) and not is_backstop(priced, maintenance)
    )


def penalty_ppm(equity: int, maintenance: int, minimum_ppm: Ppm, maximum_ppm: Ppm) -> Ppm:
    """Give the penalty ratio: minimum at the threshold, maximum at bankruptcy, a line between, up.

    maximum − (maximum − minimum) × equity ÷ maintenance, with equity held to 0 … maintenance. So
    who comes first, at the threshold, gains least, and there is nothing to race for.
    """
    check("maintenance", maintenance, 1)
    check("minimum_ppm", minimum_ppm, 0, PPM)
    check("maximum_ppm", maximum_ppm, 0, PPM)
    if minimum_ppm > maximum_ppm:
        raise UnitError(f"minimum_ppm {minimum_ppm} is above maximum_ppm {maximum_ppm}")
    below = min(maintenance, max(0, maintenance - equity))
    return Ppm(minimum_ppm + ceil_div((maximum_ppm - minimum_ppm) * below, maintenance))


def collectable(amount: UsdcE6, remaining: int) -> UsdcE6:
    """Give what can be taken of an amount: never more than the position still has."""
    check("amount", amount, 0)
    return UsdcE6(min(amount, max(0, remaining)))


def settle(equity: UsdcE6, cost: UsdcE6, penalty: UsdcE6, reward: UsdcE6) -> Settlement:
    """Divide the equity of a wholly closed position: cost first, then penalty, the rest returned.

    The caller's fixed `reward` comes out of the penalty that was taken, and is never more.
    """
    check("equity", equity)
    check("reward", reward, 0)
    cost_taken = collectable(cost, equity)
    penalty_taken = collectable(penalty, equity - cost_taken)
    return Settlement(
        cost=cost_taken,
        penalty=penalty_taken,
        reward=min(reward, penalty_taken),
        trader=UsdcE6(max(0, equity) - cost_taken - penalty_taken),
        loss=UsdcE6(max(0, -equity)),
    )


def share_loss(loss: UsdcE6, collateral: UsdcE6, insurance: UsdcE6) -> LossShares:
    """Lay a loss on the collateral, then on the insurance tranche, then on the pool."""
    check("collateral", collateral, 0)
    check("insurance", insurance, 0)
    own = collectable(loss, collateral)
    insured = collectable(UsdcE6(loss - own), insurance)
    return LossShares(collateral=own, insurance=insured, pool=UsdcE6(loss - own - insured))
