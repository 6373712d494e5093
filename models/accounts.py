"""Account risk: the chance that an account is liquidated soon, from its own history, and its cap.

A logistic classifier on leverage used, liquidations, concentration, cadence and holding time, with
a fixed sign where only one is defensible, recalibrated on traders it has not seen. It is shrunk
to the prior while history is short, and turned into a multiplier on the cap in [0.5, 1]: an account
without history gets the prior's, never the best.

The shipped labels come from `models.population` and are SIMULATED; `AccountRisk.origin_` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from models.grid import depth_down, risk_up
from models.logistic import BoundedLogistic, logit_of, sigmoid
from models.population import (
    LIQUIDATED,
    SIMULATED,
    Trades,
    simulated_prices,
    trade,
    traders,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
LOOK_BACK_MS = 90 * DAY_MS
"""What an account did longer ago does not follow it."""
HORIZON_MS = 30 * DAY_MS
"""The label: liquidated at least once within so long."""
RECENT_DAYS = 30.0
TRADES_BELIEVED = 10.0
"""Trades at which an account's own history weighs as much as the prior."""
LEAST_MULTIPLIER = 0.5
CALM_SHARE, RISKY_SHARE = 0.05, 0.95
"""Quantiles of the population's risk at which the multiplier reaches its two ends."""
PRIOR_DISTANCE = 0.25
"""The best score lies at least so far, in logits, below the prior: it has to be earned."""
SIGNS = {
    "cap_share_mean": 1,
    "cap_share_most": 1,
    "leverage": 1,
    "liquidations": 1,
    "liquidated_share": 1,
    "liquidated_lately": 1,
    "concentration": 0,
    "cadence": 0,
    "holding": 0,
}
"""Columns of an account, and what they may do to its risk (1: only raise it)."""
NAMES = tuple(SIGNS)
ACCOUNTS_BELIEVED = 1_000.0
"""Recorded accounts that weigh as much as the whole simulated population; chosen."""
CALIBRATION_SHARE = 0.3
"""Part of the traders that are kept apart for recalibration."""
WORLD_DAYS, WORLD_MARKETS, WORLD_LOOKS, WORLD_ACCOUNTS = 150, 6, (60, 120), 1_500
"""A simulated world's length, markets, and the days on which its accounts are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AccountTable:
    """Histories of some accounts as they were known at an instant.

    Attributes
    ----------
    accounts : ndarray of int64, shape (accounts,)
    values : ndarray of float64, shape (accounts, NAMES)
        Zeros for an account without trades.
    trades : ndarray of float64, shape (accounts,)
        Trades in the look-back.
    """

    accounts: IntArray
    values: FloatArray
    trades: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountScore:
    """One account's risk, on the grid of 1e-6 relative and rounded toward safety.

    Attributes
    ----------
    risk : float
        Probability of a liquidation within 30 days, up.
    multiplier : float
        What its cap on leverage is multiplied by, in [0.5, 1], down.
    has_history : bool
        Whether any trade of its own was counted.
    """

    account: int
    risk: float
    multiplier: float
    has_history: bool


def account_table(trades: Trades, accounts: IntArray, as_of_ms: int) -> AccountTable:
    """Describe each account by what was known of it at `as_of_ms`; unknown accounts are zeros.

    A trade that was open then is known as open: how it ended later is not read. Sums run in the
    order of opening, so an account's numbers do not depend on the others.
    """
    known = trades.select(np.isin(trades.account, accounts) & (trades.opened_ms <= as_of_ms))
    known = known.select(known.closed_ms > as_of_ms - LOOK_BACK_MS)
    order = np.argsort(accounts, kind="stable")
    place = order[np.searchsorted(accounts[order], known.account)]
    count = len(accounts)
    dead = (known.end == LIQUIDATED) & (known.closed_ms <= as_of_ms)
    number = np.bincount(place, minlength=count).astype(np.float64)
    most = np.maximum(number, 1.0)

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(place, values, minlength=count) / most, dtype=np.float64)

    share = known.leverage / known.cap
    highest = np.zeros(count)
    np.maximum.at(highest, place, share)
    days = (np.minimum(known.closed_ms, as_of_ms) - known.opened_ms) / HOUR_MS
    ago = np.where(dead, (as_of_ms - known.closed_ms) / DAY_MS, np.inf)
    lately = np.zeros(count)
    np.maximum.at(lately, place, np.exp(-ago / RECENT_DAYS))
    liquidations = np.bincount(place, dead.astype(np.float64), minlength=count)
    columns = {
        "cap_share_mean": mean(share),
        "cap_share_most": highest,
        "leverage": mean(np.log(known.leverage)),
        "liquidations": np.log1p(liquidations),
        "liquidated_share": liquidations / most,
        "liquidated_lately": lately,
        "concentration": _concentration(known, place, count),
        "cadence": np.log1p(number),
        "holding": mean(np.log(np.maximum(days, 1.0))),
    }
    values = np.stack([columns[name] for name in NAMES], axis=1)
    return AccountTable(accounts=accounts, values=values, trades=number)


def liquidated_within(trades: Trades, accounts: IntArray, as_of_ms: int) -> FloatArray:
    """Label accounts: 1 where one was liquidated in (as_of, as_of + 30 days], else 0."""
    late = trades.closed_ms - as_of_ms
    dead = (trades.end == LIQUIDATED) & (late > 0) & (late <= HORIZON_MS)
    return np.isin(accounts, trades.account[dead]).astype(np.float64)


class AccountRisk(BaseEstimator):  # type: ignore[misc] # untyped library
    """Calibrated classifier of accounts.

    logit = prior + w * (slope * (intercept + sum_j b_j x_j) + shift - prior), w = n / (n + 10).

    Parameters
    ----------
    penalty : float
        Ridge penalty of the classifier, in accounts.

    Attributes
    ----------
    origin_ : str
        Where the labels come from.
    intercept_, slope_, shift_, prior_ : float
        Classifier, its recalibration, and the logit of an account nothing is known of.
    coefficients_ : ndarray of float64, shape (NAMES,)
    calm_, risky_ : float
        Logits at which the multiplier is 1 and 0.5.
    """

    def __init__(self, *, penalty: float = 5.0) -> None:
        self.penalty = penalty

    def fit(
        self,
        table: AccountTable,
        liquidated: FloatArray,
        origin: str,
        weight: FloatArray | None = None,
    ) -> Self:
        """Fit to accounts and their labels; whole accounts are kept apart for recalibration."""
        weights = np.ones(len(liquidated)) if weight is None else weight
        kept = table.accounts % 10 < round(10 * CALIBRATION_SHARE)
        known = table.trades > 0
        learn, check = known & ~kept, known & kept
        model = BoundedLogistic(signs=tuple(SIGNS.values()), penalty=self.penalty)
        model.fit(table.values[learn], liquidated[learn], weights[learn])
        self.origin_ = origin
        self.intercept_, self.coefficients_ = model.intercept_, model.coefficients_
        self.slope_, self.shift_, self.prior_ = 1.0, 0.0, 0.0
        raw = model.logit(table.values[check])[:, None]
        platt = BoundedLogistic(signs=(1,), penalty=1e-6)
        platt.fit(raw, liquidated[check], weights[check])
        self.slope_, self.shift_ = float(platt.coefficients_[0]), platt.intercept_
        share = float(np.average(liquidated[known], weights=weights[known]))
        share = min(max(share, 1e-4), 1.0 - 1e-4)
        self.prior_ = float(np.log(share / (1.0 - share)))
        logits, of = self.logit(table)[check], None if weight is None else weight[check]
        calm, risky = (_quantile(logits, q, of) for q in (CALM_SHARE, RISKY_SHARE))
        self.calm_ = min(calm, self.prior_ - PRIOR_DISTANCE)
        self.risky_ = max(risky, self.prior_ + PRIOR_DISTANCE)
        return self

    def logit(self, table: AccountTable) -> FloatArray:
        """Logit of the risk, shape (accounts,)."""
        own = self.slope_ * logit_of(self.intercept_, self.coefficients_, table.values)
        weight = table.trades / (table.trades + TRADES_BELIEVED)
        return np.asarray(self.prior_ + weight * (own + self.shift_ - self.prior_))

    def predict(self, table: AccountTable) -> FloatArray:
        """Probability of a liquidation within 30 days, shape (accounts,)."""
        return sigmoid(self.logit(table))

    def multiplier(self, table: AccountTable) -> FloatArray:
        """What each account's cap is multiplied by, shape (accounts,)."""
        place = (self.logit(table) - self.calm_) / (self.risky_ - self.calm_)
        return np.asarray(1.0 - (1.0 - LEAST_MULTIPLIER) * np.clip(place, 0.0, 1.0))

    def score(self, table: AccountTable) -> tuple[AccountScore, ...]:
        """Score each account; its score does not depend on the others in the table."""
        return tuple(
            AccountScore(
                account=int(account),
                risk=risk_up(float(risk)),
                multiplier=max(depth_down(float(multiplier)), LEAST_MULTIPLIER),
                has_history=bool(trades > 0),
            )
            for account, risk, multiplier, trades in zip(
                table.accounts,
                self.predict(table),
                self.multiplier(table),
                table.trades,
                strict=True,
            )
        )


def simulated_accounts(
    *, seed: int, count: int = WORLD_ACCOUNTS
) -> tuple[AccountTable, FloatArray]:
    """Describe and label the accounts of one simulated world, on each of `WORLD_LOOKS`."""
    prices = simulated_prices(hours=WORLD_DAYS * 24, markets=WORLD_MARKETS, seed=seed)
    trades = trade(traders(count, markets=WORLD_MARKETS, seed=seed), prices, seed=seed)
    accounts = np.arange(count, dtype=np.int64)
    looks = [day * DAY_MS for day in WORLD_LOOKS]
    tables = [account_table(trades, accounts, look) for look in looks]
    labels = [liquidated_within(trades, accounts, look) for look in looks]
    return _joined(tables), np.concatenate(labels)


@lru_cache(maxsize=4)  # one simulation, however many heads are trained in a process
def simulated_risk(*, seed: int = 0, worlds: int = 8, count: int = WORLD_ACCOUNTS) -> AccountRisk:
    """Fit account risk to several simulated worlds, calm ones and stormy ones."""
    table, liquidated = _population(seed, worlds, count)
    return AccountRisk().fit(table, liquidated, SIMULATED)


def joined_risk(
    recorded: AccountTable,
    liquidated: FloatArray,
    *,
    seed: int = 0,
    worlds: int = 8,
    count: int = WORLD_ACCOUNTS,
) -> AccountRisk:
    """Fit account risk to simulated worlds and to recorded accounts beside them.

    n recorded accounts have n / (n + `ACCOUNTS_BELIEVED`) of the whole weight.
    """
    table, labels = _population(seed, worlds, count)
    each = len(labels) / ACCOUNTS_BELIEVED
    weight = np.concatenate([np.ones(len(labels)), np.full(len(liquidated), each)])
    origin = f"{SIMULATED} and {len(liquidated)} recorded accounts"
    together = np.concatenate([labels, liquidated])
    return AccountRisk().fit(_joined([table, recorded]), together, origin, weight)


def _population(seed: int, worlds: int, count: int) -> tuple[AccountTable, FloatArray]:
    """Describe and label the accounts of all simulated worlds."""
    parts = [simulated_accounts(seed=seed * 1_000 + place, count=count) for place in range(worlds)]
    return _joined([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _joined(tables: Sequence[AccountTable]) -> AccountTable:
    return AccountTable(
        accounts=np.concatenate([table.accounts for table in tables]),
        values=np.concatenate([table.values for table in tables]),
        trades=np.concatenate([table.trades for table in tables]),
    )


def _quantile(values: FloatArray, share: float, weight: FloatArray | None) -> float:
    """Give a quantile, of the weight where one is given."""
    if weight is None:
        return float(np.quantile(values, share))
    return float(np.quantile(values, share, method="inverted_cdf", weights=weight))


def _concentration(known: Trades, place: IntArray, count: int) -> FloatArray:
    """Herfindahl index of the notional over markets: 1 where all is in one, 0 without trades."""
    pairs, inverse = np.unique(np.stack([place, known.market]), axis=1, return_inverse=True)
    money = np.bincount(inverse.ravel(), known.notional_usdc, minlength=pairs.shape[1])
    total = np.bincount(pairs[0], money, minlength=count)
    squares = np.bincount(pairs[0], np.square(money), minlength=count)
    return np.where(total > 0.0, squares / np.square(np.where(total > 0.0, total, 1.0)), 0.0)
