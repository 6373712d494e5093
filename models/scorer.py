"""From features to scores: the only thing of the models that a decision reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.features import FeatureVector

HORIZONS_S = (900, 3_600, 14_400, 86_400)
"""Horizons of the forecasts in seconds: 15 min (the close-out period), 1 h, 4 h, 24 h."""
REFERENCE_NOTIONALS_USDC = (10_000.0, 100_000.0, 1_000_000.0, 10_000_000.0)
"""Notionals whose cost to unwind is scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonTail:
    """Quantiles of the adverse excursion over one horizon, as ratios of today's price.

    A long loses ``1 - lowest low / close``, a short ``highest high / close - 1``. Within a
    side they never fall as the level or the horizon grows.
    """

    horizon_s: int
    long_990: float
    long_995: float
    short_990: float
    short_995: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidityScore:
    """What it costs to leave, for `REFERENCE_NOTIONALS_USDC`, and the depth to count on in stress.

    Attributes
    ----------
    slippage_ratio : tuple of float
        Loss as a ratio of the notional, one a reference notional; at most 1.
    stressed_depth_usdc : float
        Money within 50 basis points of the mid that a stressed market still offers.
    """

    slippage_ratio: tuple[float, ...]
    stressed_depth_usdc: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskScores:
    """One market's scores, on a grid of 1e-6 relative: risk rounded up, depth rounded down.

    Attributes
    ----------
    volatility : tuple of float
        Standard deviation of the log return over each of `HORIZONS_S`.
    tail_long, tail_short : float
        99.5 % quantile of the adverse excursion over the close-out period (15 min).
    tails : tuple of HorizonTail
        The same at 99 % and 99.5 % for each of `HORIZONS_S`.
    liquidity : LiquidityScore
        Cost to unwind and stressed depth.
    out_of_domain : tuple of str
        Reasons why these scores must not be used; empty when the market is inside the domain.
    """

    market: int
    as_of_ms: int
    volatility: tuple[float, ...]
    tail_long: float
    tail_short: float
    tails: tuple[HorizonTail, ...]
    liquidity: LiquidityScore
    out_of_domain: tuple[str, ...]


class Scorer:
    """A trained model, ready to score; it has no state that a score could change."""

    def score(self, vectors: Sequence[FeatureVector]) -> tuple[RiskScores, ...]:
        """Score each vector; a market's scores do not depend on the others in the batch."""
        raise NotImplementedError
