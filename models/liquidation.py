"""Probability of liquidation within a horizon: first passage on the forecast, recalibrated.

An isolated position is liquidated when price reaches its liquidation price. For a path without
drift, P(reach distance d within T) = 2 Phi(-d / deviation): it depends on z = d / deviation alone,
and is a third of what is observed at far distances (reference, table C). Here the logit of what
was observed is fitted in z, piecewise linear in its logarithm, with the signs that make the result
fall in distance and rise in deviation for every input, not only on average.

Cross accounts have no single price. Their markets' own hours are divided by the volatility that
was known before each (filtered historical simulation), laid as blocks of all markets together on
the forecast deviations, and the share of paths that fall below maintenance is recalibrated alike.
Nothing is drawn at random: the same account gives the same bits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from models.grid import risk_up
from models.logistic import BoundedLogistic, logit_of, sigmoid

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DISTANCES = tuple(
    -math.log1p(-fall) for fall in (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.14, 0.2, 0.3)
)
"""Distances that are learned from, as logarithms of price: a fall of 0.5 % to 30 %."""
KNOTS = tuple(math.log(z) for z in (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.5, 7.0))
SIGNS = (-1,) * (len(KNOTS) + 1) + (-1, 1)
"""Of the pieces of log z, of log distance, and of log deviation."""
HALF_LIFE_DAYS = 365.0
"""An outcome counts half after a year: chosen on forecasts before 2020 (docs/models.md)."""
POSITIONS_BELIEVED = 5_000.0
"""Recorded positions that weigh as much as all candles at one distance; chosen."""
LEAST = 1e-9
DAY_MS = 86_400_000
LONG, SHORT = 1, -1
MEMORY = 0.94
"""Decay an hour of the volatility that filters the hours of a cross account."""
SURPRISES = 8
SURPRISE_SPREAD = 0.35
"""What comes over what was forecast is lognormal with this spread, taken in so many steps."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PassageRows:
    """Positions of one side and what came of them within one horizon, shape (rows,) each.

    Attributes
    ----------
    distance, deviation : ndarray of float64
        Logarithms of price: to the liquidation price, and as it was forecast.
    hit : ndarray of float64
        1 where it was liquidated, else 0.
    as_of_ms : ndarray of int64
    """

    distance: FloatArray
    deviation: FloatArray
    hit: FloatArray
    as_of_ms: IntArray

    @property
    def table(self) -> FloatArray:
        """The columns that `FirstPassage` learns from."""
        return _columns(np.maximum(self.distance, LEAST), np.maximum(self.deviation, LEAST))


class FirstPassage(BaseEstimator):  # type: ignore[misc] # untyped library
    """Calibrated probability that price runs a distance against a side within one horizon.

    Attributes
    ----------
    intercept_ : float
    coefficients_ : ndarray of float64, shape (KNOTS + 3,)
        None above 0 but the last, which is not below it.
    """

    def fit(
        self,
        deviation: FloatArray,
        excursion: FloatArray,
        as_of_ms: IntArray | None = None,
        recorded: PassageRows | None = None,
    ) -> Self:
        """Fit to excursions and the deviations forecast before them, logarithms, shape (rows,).

        With `as_of_ms`, older outcomes count less. Recorded positions join by their count.
        """
        table = np.concatenate([_columns(np.full(len(deviation), d), deviation) for d in DISTANCES])
        hit = np.concatenate([excursion >= d for d in DISTANCES]).astype(np.float64)
        weight = None
        if as_of_ms is not None:
            weight = np.tile(_fading(as_of_ms), len(DISTANCES))
        if recorded is not None:
            before = np.ones(len(hit)) if weight is None else weight
            each = before.sum() / len(DISTANCES) / POSITIONS_BELIEVED
            own = _fading(recorded.as_of_ms) * each
            table = np.concatenate([table, recorded.table])
            hit, weight = np.concatenate([hit, recorded.hit]), np.concatenate([before, own])
        model = BoundedLogistic(signs=SIGNS).fit(table, hit, weight)
        self.intercept_, self.coefficients_ = model.intercept_, model.coefficients_
        return self

    def predict(self, distance: FloatArray, deviation: FloatArray) -> FloatArray:
        """Probability of reaching each distance; 1 where it is reached already, shape (rows,)."""
        columns = _columns(np.maximum(distance, LEAST), np.maximum(deviation, LEAST))
        chance = sigmoid(logit_of(self.intercept_, self.coefficients_, columns))
        return np.where(distance > 0.0, chance, 1.0)


def reflection(distance: FloatArray, deviation: FloatArray) -> FloatArray:
    """Return the textbook answer for a path without drift, 2 Phi(-d / deviation)."""
    ratio = distance / deviation / math.sqrt(2.0)
    return np.array([math.erfc(each) for each in ratio.tolist()])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PassageHead:
    """Both sides of one horizon."""

    horizon_s: int
    long: FirstPassage
    short: FirstPassage


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One isolated position, in plain numbers.

    Attributes
    ----------
    position : int
        Id of the position.
    side : int
        1 for long, -1 for short.
    price, liquidation_price : float
        The mark, and the first price that liquidates; None where no price does.
    deviations : tuple of float
        Forecast deviation of the log return over each horizon of the model
        (`RiskScores.volatility`).
    """

    position: int
    side: int
    price: float
    liquidation_price: float | None
    deviations: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what is no position."""
        if self.side not in (LONG, SHORT):
            raise ValueError(f"side is {self.side}; give 1 for long or -1 for short")
        numbers = (self.price, *self.deviations)
        if not all(math.isfinite(number) and number > 0.0 for number in numbers):
            raise ValueError("price and deviations must be finite and above 0")

    @property
    def distance(self) -> float:
        """Logarithm that price can run against the position; infinite where no price liquidates."""
        fatal = self.liquidation_price
        if fatal is None or (fatal <= 0.0 and self.side == LONG):
            return math.inf
        if fatal <= 0.0:
            return 0.0
        return self.side * math.log(self.price / fatal)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidationScore:
    """Chance of liquidation within each horizon, never falling in it, on the grid and up."""

    position: int
    horizons_s: tuple[int, ...]
    probabilities: tuple[float, ...]


class LiquidationScorer:
    """Scores positions; it has no state that a score could change."""

    def __init__(self, heads: Sequence[PassageHead]) -> None:
        self._heads = tuple(sorted(heads, key=lambda head: head.horizon_s))
        self.horizons_s = tuple(head.horizon_s for head in self._heads)

    def score(self, exposures: Sequence[Exposure]) -> tuple[LiquidationScore, ...]:
        """Score each position; its score does not depend on the others in the batch."""
        if not exposures:
            return ()
        if any(len(each.deviations) != len(self._heads) for each in exposures):
            raise ValueError(f"give one deviation for each horizon of {self.horizons_s}")
        distance = np.array([each.distance for each in exposures])
        deviations = np.array([each.deviations for each in exposures])
        long = np.array([each.side == LONG for each in exposures])
        table = np.zeros(deviations.shape)
        for place, head in enumerate(self._heads):
            for side, chosen in ((head.long, long), (head.short, ~long)):
                finite = chosen & np.isfinite(distance)
                table[finite, place] = side.predict(distance[finite], deviations[finite, place])
        rows: list[list[float]] = np.maximum.accumulate(table, axis=1).tolist()
        return tuple(
            LiquidationScore(
                position=each.position,
                horizons_s=self.horizons_s,
                probabilities=tuple(min(risk_up(value), 1.0) for value in row),
            )
            for each, row in zip(exposures, rows, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossPosition:
    """One position of a cross account; `size` is below 0 for a short, `market` names a column."""

    market: int
    size: float
    price: float
    maintenance_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossAccount:
    """A cross account: its equity now (profit included) and what it holds."""

    equity: float
    positions: tuple[CrossPosition, ...]

    @property
    def in_order(self) -> tuple[CrossPosition, ...]:
        """The positions in one order, so that sums do not depend on how they were given."""
        return tuple(sorted(self.positions, key=astuple))


def filtered(returns: FloatArray) -> FloatArray:
    """Divide aligned log returns, shape (bars, markets), by the volatility before each bar."""
    floor = np.maximum(np.mean(np.square(returns), axis=0), LEAST**2)
    level, residuals = floor.copy(), np.zeros(returns.shape)
    for bar in range(len(returns)):
        residuals[bar] = returns[bar] / np.sqrt(np.maximum(level, 0.01 * floor))
        level = MEMORY * level + (1.0 - MEMORY) * np.square(returns[bar])
    scale = np.sqrt(np.maximum(np.mean(np.square(residuals), axis=0), LEAST))
    return np.asarray(residuals / scale, dtype=np.float64)


def joint_chance(
    account: CrossAccount, returns: FloatArray, deviations: FloatArray, steps: int
) -> float:
    """Share of simulated paths on which a cross account falls below its maintenance.

    Parameters
    ----------
    account : CrossAccount
        Its markets are columns of `returns`.
    returns : ndarray, shape (bars, markets)
        Aligned log returns of the markets' own past, 0 where nothing was traded.
    deviations : ndarray, shape (markets,)
        Forecast deviation of each market over the horizon.
    steps : int
        Bars in the horizon; maintenance is looked at after each.
    """
    positions = account.in_order
    if not positions:
        return 0.0
    used = sorted({each.market for each in positions})
    place = {market: column for column, market in enumerate(used)}
    residuals = filtered(np.ascontiguousarray(returns[:, used]))
    count = len(residuals) - steps + 1
    if count < 1:
        raise ValueError(f"{steps} steps need at least as many bars, not {len(residuals)}")
    index = np.arange(count)[:, None] + np.arange(steps)[None, :]
    paths = np.cumsum(residuals[index], axis=1) * (deviations[used] / math.sqrt(steps))
    dead = 0
    for surprise in _surprises():
        spare = np.full((count, steps), account.equity)
        for each in positions:
            moved = each.price * np.exp(surprise * paths[:, :, place[each.market]])
            spare = spare + each.size * (moved - each.price)
            spare = spare - abs(each.size) * moved * each.maintenance_ratio
        dead += int((spare < 0.0).any(axis=1).sum())
    return dead / (count * SURPRISES)


class JointCalibration(BaseEstimator):  # type: ignore[misc] # untyped library
    """Turns the share of simulated paths into what was observed; it never turns an order round.

    Attributes
    ----------
    intercept_, slope_ : float
        Of the logit of the share; the slope is not below 0.
    """

    def fit(self, share: FloatArray, liquidated: FloatArray) -> Self:
        """Fit to shares and to whether liquidation followed, shape (rows,)."""
        model = BoundedLogistic(signs=(1,)).fit(_share_logit(share)[:, None], liquidated)
        self.intercept_, self.slope_ = model.intercept_, float(model.coefficients_[0])
        return self

    def predict(self, share: FloatArray) -> FloatArray:
        """Probability of liquidation, shape (rows,)."""
        return sigmoid(self.intercept_ + self.slope_ * _share_logit(share))


def cross_probability(calibration: JointCalibration, share: float, *, is_below: bool) -> float:
    """Return a cross account's probability on the grid, up; 1 where it is below maintenance."""
    if is_below:
        return 1.0
    return min(risk_up(float(calibration.predict(np.array([share]))[0])), 1.0)


def _fading(as_of_ms: IntArray) -> FloatArray:
    """Weigh outcomes by their age against the newest of them."""
    age = (as_of_ms.max() - as_of_ms) / (HALF_LIFE_DAYS * DAY_MS)
    return np.asarray(np.exp2(-age), dtype=np.float64)


def _share_logit(share: FloatArray) -> FloatArray:
    bounded = np.clip(share, 1e-4, 1.0 - 1e-4)
    return np.asarray(np.log(bounded) - np.log1p(-bounded), dtype=np.float64)


def _surprises() -> tuple[float, ...]:
    """Steps of the ratio of the deviation that comes to the one forecast; mean square 1."""
    normal = NormalDist(0.0, SURPRISE_SPREAD)
    raw = [math.exp(normal.inv_cdf((k + 0.5) / SURPRISES)) for k in range(SURPRISES)]
    scale = math.sqrt(sum(each * each for each in raw) / SURPRISES)
    return tuple(each / scale for each in raw)


def _columns(distance: FloatArray, deviation: FloatArray) -> FloatArray:
    """Pieces of log z between the knots, log distance, log deviation; shape (rows, columns)."""
    far, wide = np.log(distance), np.log(deviation)
    z = far - wide
    pieces = [np.minimum(z, KNOTS[0])]
    for low, high in itertools.pairwise(KNOTS):
        pieces.append(np.clip(z, low, high) - low)
    pieces.append(np.maximum(z, KNOTS[-1]) - KNOTS[-1])
    return np.stack([*pieces, far, wide], axis=1)
