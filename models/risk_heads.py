"""The heads beside the scorer: chances of liquidation and the risk of accounts, trained and served.

`liquidation_probability` is what warnings, terms and quotes ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.accounts import AccountRisk
from models.liquidation import (
    CrossAccount,
    Exposure,
    JointCalibration,
    LiquidationScore,
    LiquidationScorer,
    PassageHead,
    cross_probability,
    joint_chance,
)

FloatArray = NDArray[np.float64]

HOUR_S = 3_600
ACCOUNT = 0
"""Position id in the score of a whole account."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RiskHeads:
    """Calibrated first passage of every horizon, of cross accounts, and account risk."""

    passages: tuple[PassageHead, ...]
    joint: JointCalibration
    accounts: AccountRisk

    @property
    def isolated(self) -> LiquidationScorer:
        """Return what scores isolated positions."""
        return LiquidationScorer(self.passages)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrossMarkets:
    """What a cross account is simulated on.

    Attributes
    ----------
    returns : ndarray, shape (hours, markets)
        Aligned hourly log returns of the last 30 days, 0 where nothing was traded.
    deviations : ndarray, shape (horizons, markets)
        `RiskScores.volatility` of each market.
    """

    returns: FloatArray
    deviations: FloatArray


def liquidation_probability(
    heads: RiskHeads, asked: Exposure | CrossAccount, markets: CrossMarkets | None = None
) -> LiquidationScore:
    """Chance of liquidation within 15 min, 1 h, 4 h and 24 h, never falling in the horizon.

    An isolated position is judged on its own; a cross account jointly, on `markets`. Fifteen
    minutes of a cross account are one step with the deviation of fifteen minutes.

    Raises
    ------
    ValueError
        A cross account without markets, or too few hours of them.
    """
    if isinstance(asked, Exposure):
        return heads.isolated.score([asked])[0]
    if markets is None:
        raise ValueError("a cross account is simulated on its markets: give them")
    below = _is_below(asked)
    chances: list[float] = []
    for head, deviations in zip(heads.passages, markets.deviations, strict=True):
        steps = max(head.horizon_s // HOUR_S, 1)
        share = 1.0 if below else joint_chance(asked, markets.returns, deviations, steps)
        chance = cross_probability(heads.joint, share, is_below=below)
        chances.append(max([chance, *chances[-1:]]) if asked.positions else 0.0)
    return LiquidationScore(
        position=ACCOUNT,
        horizons_s=tuple(head.horizon_s for head in heads.passages),
        probabilities=tuple(chances),
    )


def _is_below(account: CrossAccount) -> bool:
    """Whether equity is under maintenance already."""
    needed = sum(abs(p.size) * p.price * p.maintenance_ratio for p in account.in_order)
    return account.equity < needed


def in_order(passages: Sequence[PassageHead]) -> tuple[PassageHead, ...]:
    """Return the heads by horizon."""
    return tuple(sorted(passages, key=lambda head: head.horizon_s))
