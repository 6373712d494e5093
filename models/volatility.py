"""Forecasts of realised variance: linear models and a boosting for all markets, combined.

One model for all markets (Zhang et al. 2023, arXiv 2202.08962: pooled models carry over to
assets never seen). The linear part is the HAR model of Corsi 2009 on logarithms with range,
semivariance, jump, volume, return, state and clock columns; the boosting forecasts relative to the
market's own level. Plain HAR and log-HAR stand beside them, and weights combine the four
(`models.combination`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from models.combination import RELATIVE_FLOOR, Combination, PooledHar
from models.trees import TreeTable, tree_table

FloatArray = NDArray[np.float64]

WINSOR_LEVEL = 0.999
"""Ratios of outcome to forecast above this quantile count as the quantile itself.

The bias of a log model is the mean of exp(residual); its plain mean blew QLIKE up to 2.6 on ETH
(reference, table A), because a handful of residuals carry it.
"""
TREE_DEPTH = 4
LEARNING_RATE = 0.05
LEAF_PENALTY = 10.0
MEMBERS = 4


class PooledLogHar(RegressorMixin, BaseEstimator):  # type: ignore[misc] # untyped library
    """Ridge regression of log realised variance on columns of the feature table.

    log RV = intercept + sum_j coefficient_j (x_j - centre_j) / scale_j + bias, where bias makes
    the forecast of the variance itself unbiased (winsorised mean of exp(residual)).

    Parameters
    ----------
    penalty : float
        Ridge penalty on standardised columns.

    Attributes
    ----------
    centre_, scale_, coefficients_ : ndarray of float64, shape (columns,)
    intercept_, bias_ : float
        Both in logarithms of variance.
    """

    def __init__(self, *, penalty: float = 10.0) -> None:
        self.penalty = penalty

    def fit(self, features: FloatArray, variance: FloatArray) -> Self:
        """Fit to positive realised variance, shape (rows,)."""
        target = log_target(variance)
        self.centre_ = features.mean(axis=0)
        deviation = features.std(axis=0)
        self.scale_ = np.where(deviation > 0.0, deviation, 1.0)
        with threadpool_limits(1):
            ridge = Ridge(alpha=self.penalty)
            ridge.fit((features - self.centre_) / self.scale_, target)
        self.coefficients_ = np.asarray(ridge.coef_, dtype=np.float64)
        self.intercept_ = float(ridge.intercept_)
        self.bias_ = 0.0
        self.bias_ = log_bias(variance, self.predict(features))
        return self

    def predict(self, features: FloatArray) -> FloatArray:
        """Forecast the logarithm of the variance; columns are added in order, shape (rows,)."""
        total = np.full(len(features), self.intercept_)
        for column in range(features.shape[1]):
            standard = (features[:, column] - self.centre_[column]) / self.scale_[column]
            total = total + self.coefficients_[column] * standard
        return total + self.bias_


class PooledBoosting(RegressorMixin, BaseEstimator):  # type: ignore[misc] # untyped library
    """Histogram gradient boosting of log realised variance, relative to the market's own level.

    The level is the mean of the variance columns; trees see how each of them stands to it, and
    forecast how the outcome will. So a market moving k times as much gets a variance forecast of
    exactly k squared times as much, however far that is from anything trained on: trees alone
    would stand still beyond their last split.

    Parameters
    ----------
    variances : sequence of bool
        Columns that are logarithms of variance.
    trees, leaves, leaf_rows : int
        Size of the ensemble and of a tree; rows that a leaf must hold.
    random_state : int
        Seed (bins are drawn from a sample of very large tables).

    Attributes
    ----------
    trees_ : TreeTable
    bias_ : float
    """

    def __init__(
        self,
        *,
        variances: Sequence[bool],
        trees: int = 150,
        leaves: int = 8,
        leaf_rows: int = 300,
        random_state: int = 0,
    ) -> None:
        self.variances = variances
        self.trees = trees
        self.leaves = leaves
        self.leaf_rows = leaf_rows
        self.random_state = random_state

    def fit(self, features: FloatArray, variance: FloatArray) -> Self:
        """Fit to positive realised variance, shape (rows,)."""
        boosting = HistGradientBoostingRegressor(
            max_iter=self.trees,
            max_leaf_nodes=self.leaves,
            max_depth=TREE_DEPTH,
            min_samples_leaf=min(self.leaf_rows, max(len(features) // 20, 1)),
            learning_rate=LEARNING_RATE,
            l2_regularization=LEAF_PENALTY,
            early_stopping=False,
            random_state=self.random_state,
        )
        level, relative = self._relative(features)
        with threadpool_limits(1):
            boosting.fit(relative, log_target(variance) - level)
        self.trees_: TreeTable = tree_table(boosting)
        self.bias_ = 0.0
        self.bias_ = log_bias(variance, self.predict(features))
        return self

    def predict(self, features: FloatArray) -> FloatArray:
        """Forecast the logarithm of the variance, shape (rows,)."""
        level, relative = self._relative(features)
        return level + self.trees_.predict(relative) + self.bias_

    def _relative(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Level of each row, and its columns with the level taken from those of variance."""
        places = np.flatnonzero(np.asarray(self.variances))
        level = np.zeros(len(features))
        for place in places:
            level = level + features[:, place]
        level = level / max(len(places), 1)
        relative = features.copy()
        relative[:, places] -= level[:, None]
        return level, relative


class VolatilityForecast(RegressorMixin, BaseEstimator):  # type: ignore[misc] # untyped library
    """Four forecasts of variance and the weights that combine them.

    `fit` learns the four; their weights are learned apart, from forecasts of the past
    (`combination_.fit(members, outcomes)`), since what was fitted to an outcome does not show
    how well it forecasts it. Until then the linear model and the boosting count half each.

    Parameters
    ----------
    variances : sequence of bool
        Columns that are logarithms of variance.
    har : sequence of int
        Places of the columns that the plain HAR and log-HAR read.
    trees : int
        Number of boosted trees.
    random_state : int
        Seed of the boosting.

    Attributes
    ----------
    linear_, log_har_ : PooledLogHar
    boosting_ : PooledBoosting
    har_ : PooledHar
    combination_ : Combination
    """

    def __init__(
        self,
        *,
        variances: Sequence[bool],
        har: Sequence[int],
        trees: int = 150,
        random_state: int = 0,
    ) -> None:
        self.variances = variances
        self.har = har
        self.trees = trees
        self.random_state = random_state

    def fit(self, features: FloatArray, variance: FloatArray) -> Self:
        """Fit all members to positive realised variance, shape (rows,)."""
        self.linear_ = PooledLogHar().fit(features, variance)
        self.boosting_ = PooledBoosting(
            variances=self.variances, trees=self.trees, random_state=self.random_state
        ).fit(features, variance)
        plain = features[:, list(self.har)]
        self.log_har_ = PooledLogHar().fit(plain, variance)
        self.har_ = PooledHar().fit(plain, variance)
        self.combination_ = Combination().prior(MEMBERS)
        return self

    def members(self, features: FloatArray) -> FloatArray:
        """Forecast the logarithm of the variance by each member, shape (rows, members)."""
        plain = features[:, list(self.har)]
        forecasts = [self.linear_.predict(features), self.boosting_.predict(features)]
        forecasts += [self.log_har_.predict(plain), self.har_.predict(plain)]
        return np.stack(forecasts, axis=1)

    def predict(self, features: FloatArray) -> FloatArray:
        """Forecast the logarithm of the variance, shape (rows,)."""
        return self.combination_.predict(self.members(features))


def log_target(variance: FloatArray) -> FloatArray:
    """Logarithm of realised variance, with dead stretches lifted to a floor."""
    floor = float(np.median(variance)) * RELATIVE_FLOOR
    return np.asarray(np.log(np.maximum(variance, max(floor, 1e-14))), dtype=np.float64)


def log_bias(variance: FloatArray, forecast: FloatArray) -> float:
    """Logarithm of the winsorised mean of outcome over forecast.

    The mean of the ratio is the constant that minimises QLIKE; the winsor keeps a handful of
    shocks from setting the level of every forecast.
    """
    ratio = variance / np.exp(forecast)
    return float(np.log(np.minimum(ratio, np.quantile(ratio, WINSOR_LEVEL)).mean()))
