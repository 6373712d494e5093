"""Cross accounts of several markets: what their joint simulation is fed with; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from agent.judge import Judgement
from agent.snapshot import MarketHistory
from contracts.book import Book
from contracts.book_margin import cross_standings, sum_up
from contracts.book_readings import Readings
from contracts.book_words import Account
from contracts.units import PPM, USDC
from models.heads import HORIZONS_S
from models.liquidation import CrossAccount, CrossPosition
from models.risk_heads import CrossMarkets

HOUR_MS = 3_600_000
HOURS = 720  # 30 days, as the simulation was calibrated on
E18 = 10**18


def cross_markets(
    histories: Sequence[MarketHistory], judgement: Judgement, as_of_ms: int
) -> CrossMarkets | None:
    """Lay the markets' hours side by side, a column a market id; None where nothing is judged.

    A market without scores has no deviation (nan): an account that holds it is not simulated.
    """
    scores = {each.market: each.scores for each in judgement.judged if each.scores is not None}
    if not scores or not histories:
        return None
    count = 1 + max(int(each.market) for each in histories)
    last = as_of_ms - as_of_ms % HOUR_MS
    grid = np.arange(last - (HOURS + 1) * HOUR_MS, last, HOUR_MS, dtype=np.int64)
    returns, deviations = np.zeros((HOURS, count)), np.full((len(HORIZONS_S), count), math.nan)
    for history in histories:
        hours = history.hours
        if len(hours):
            place = np.searchsorted(hours.open_ms, grid, side="right") - 1
            close = np.log(hours.close[np.maximum(place, 0)])
            returns[:, history.market] = np.diff(close)
        if history.market in scores:
            deviations[:, history.market] = scores[history.market].volatility
    return CrossMarkets(returns=returns, deviations=deviations)


def cross_account(book: Book, readings: Readings, account: Account) -> CrossAccount:
    """Write an account's cross positions in plain numbers."""
    standings = cross_standings(book, readings, account)
    sums = sum_up(book.account(account).balance, standings)
    return CrossAccount(
        equity=sums.equity / USDC,
        positions=tuple(
            CrossPosition(
                market=int(each.now.market),
                size=each.position.side * each.position.size / E18,
                price=each.now.price / E18,
                maintenance_ratio=each.ratio_ppm / PPM,
            )
            for each in standings
        ),
    )


def can_simulate(account: CrossAccount, markets: CrossMarkets | None) -> bool:
    """Tell whether every market of an account has hours and a deviation."""
    if markets is None:
        return False
    known = markets.deviations.shape[1]
    used = {each.market for each in account.positions}
    return all(
        each < known and bool(np.isfinite(markets.deviations[:, each]).all()) for each in used
    )
