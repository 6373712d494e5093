"""How likely a position is to be liquidated, and its risk score with the reasons in words; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from agent.quoting.assessment import MarketAssessment
from agent.quoting.joint import can_simulate
from agent.quoting.trial import Ask, Trial
from contracts.book_margin import Standing
from contracts.messages import Adjustment, Side
from contracts.units import PPM, Ppm, PriceE18
from models.accounts import AccountScore
from models.heads import HORIZONS_S
from models.liquidation import CrossAccount, Exposure, LiquidationScore, reflection
from models.risk_heads import CrossMarkets, RiskHeads, liquidation_probability
from models.scorer import RiskScores

SHOWN_S = (3_600, 14_400, 86_400)
"""Horizons that an answer names: 1 h, 4 h, 24 h."""
DAY_S = 86_400
E18 = 10**18
UNTRAINED = "reflection"
TRAINED = "first_passage"
TOGETHER = "joint_simulation"
ALONE = "first_passage_of_this_market_alone"
UNKNOWN_RISK = 0.5  # of an account, where no model judges accounts: the middle of the scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecasts:
    """The trained heads that terms read; without one a textbook formula stands in, and says so."""

    heads: RiskHeads | None = None
    markets: CrossMarkets | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """Probabilities of liquidation within `SHOWN_S`, and by which method they were computed."""

    probabilities: tuple[float, ...]
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """Chances, and a score from 0 (none) to 1,000,000 with its reasons, the weightiest first.

    The score is the chance that at least one of two warnings comes true, were they independent: the
    position is liquidated within a day; an account like this one is liquidated within a month.
    """

    chances: Chances | None
    score_ppm: Ppm
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """What a score is made from."""

    symbol: str
    judged: MarketAssessment
    score: AccountScore | None
    ask: Ask
    trial: Trial
    account: CrossAccount | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A position with its liquidation price; `account` where others could move with it."""

    standing: Standing
    liquidation_price: PriceE18 | None
    account: CrossAccount | None = None


def risk_of(stand: Stand, forecasts: Forecasts) -> Risk:
    """Judge a position as it would be after the order."""
    trial = stand.trial
    held = Held(
        standing=trial.standing, liquidation_price=trial.liquidation_price, account=stand.account
    )
    chances = chances_of(held, stand.judged.scores, forecasts)
    own = UNKNOWN_RISK if stand.score is None else stand.score.risk
    day = chances.probabilities[-1] if chances else 1.0  # unknown is never the best
    score = 1.0 - (1.0 - day) * (1.0 - own)
    return Risk(
        chances=chances,
        score_ppm=Ppm(min(PPM, math.ceil(score * PPM))),  # up: more risk
        reasons=_reasons(stand, chances),
    )


def chances_of(held: Held, scores: RiskScores | None, forecasts: Forecasts) -> Chances | None:
    """Give the probability of liquidation within each horizon; None without a forecast."""
    own, fatal, heads = held.standing, held.liquidation_price, forecasts.heads
    if scores is None:
        return None
    if own.position.size == 0:
        return Chances(probabilities=(0.0,) * len(SHOWN_S), method=TRAINED)
    exposure = Exposure(
        position=0,
        side=own.position.side,
        price=own.now.price / E18,
        liquidation_price=None if fatal is None else fatal / E18,
        deviations=scores.volatility,
    )
    if heads is None:
        return Chances(probabilities=_untrained(exposure), method=UNTRAINED)
    if held.account is not None and can_simulate(held.account, forecasts.markets):
        together = liquidation_probability(heads, held.account, forecasts.markets)
        return Chances(probabilities=_shown(together), method=TOGETHER)
    found = liquidation_probability(heads, exposure)
    return Chances(probabilities=_shown(found), method=TRAINED if held.account is None else ALONE)


def _shown(found: LiquidationScore) -> tuple[float, ...]:
    """Pick the horizons that an answer names."""
    by_horizon = dict(zip(found.horizons_s, found.probabilities, strict=True))
    return tuple(by_horizon[horizon_s] for horizon_s in SHOWN_S)


def _untrained(exposure: Exposure) -> tuple[float, ...]:
    """Give the textbook's answer for a path without drift."""
    distance = exposure.distance
    if not math.isfinite(distance):
        return (0.0,) * len(SHOWN_S)
    if distance <= 0.0:
        return (1.0,) * len(SHOWN_S)
    deviations = np.array([exposure.deviations[HORIZONS_S.index(each)] for each in SHOWN_S])
    found = reflection(np.full(len(SHOWN_S), distance), deviations)
    return tuple(min(float(each), 1.0) for each in np.maximum.accumulate(found))


def _reasons(stand: Stand, chances: Chances | None) -> tuple[str, ...]:
    """Say what weighs, the weightiest first."""
    weighed = [_distance(stand, chances), _account(stand), *_size(stand), *_terms(stand)]
    ordered = sorted(weighed, key=lambda each: -each[0])
    market = stand.judged.reasons[:1]
    return tuple([text for _, text in ordered] + [f"{stand.symbol}: {each}" for each in market])


def _distance(stand: Stand, chances: Chances | None) -> tuple[float, str]:
    """How far the liquidation price is, in the market's own days."""
    scores, trial = stand.judged.scores, stand.trial
    if scores is None or chances is None:
        return 1.0, f"{stand.symbol} has no forecast now, which counts as the worst"
    day, chance = scores.volatility[-1], chances.probabilities[-1]
    typical = f"{stand.symbol} moves about {day:.1%} a day"
    if trial.standing.position.size == 0:
        return 0.0, "nothing stays open, so nothing can be liquidated"
    if trial.liquidation_price is None:
        return chance, f"{typical}; no price above zero liquidates this position"
    away = abs(trial.liquidation_price / trial.standing.now.price - 1.0)
    where = "above" if stand.ask.side is Side.SHORT else "below"
    return chance, (
        f"{typical}; the liquidation price is {away:.1%} {where}, which is {away / day:.1f} such "
        f"days: {chance:.2%} within 24 h"
    )


def _account(stand: Stand) -> tuple[float, str]:
    """What the account's own history says."""
    score = stand.score
    if score is None:
        return UNKNOWN_RISK, "no model judges accounts here; a middling one is assumed"
    share = f"{score.multiplier:.0%} of the market's cap is this account's"
    if not score.has_history:
        return score.risk, f"the account has no history: {share}"
    return score.risk, (
        f"the account's own history gives a {score.risk:.0%} chance of a liquidation within "
        f"30 days: {share}"
    )


def _size(stand: Stand) -> list[tuple[float, str]]:
    """What the size takes from the cap."""
    limits = stand.trial.standing.now.limits
    if stand.trial.size_cap_e2 >= limits.cap_e2:
        return []
    lost = 1.0 - stand.trial.size_cap_e2 / limits.cap_e2
    text = (
        f"at this size the cap is {stand.trial.size_cap_e2 / 100:.2f}x instead of "
        f"{limits.cap_e2 / 100:.2f}x: the market's depth carries no more"
    )
    return [(lost / 2, text)]


def _terms(stand: Stand) -> list[tuple[float, str]]:
    """What the choice of leverage and adjustment means."""
    ask, held = stand.ask, stand.trial.standing.position
    found = []
    cap = stand.trial.standing.now.limits.cap_e2
    used = ask.leverage_e2 / cap
    if used > 0.5:
        text = f"{ask.leverage_e2 / 100:.2f}x is {used:.0%} of the market's cap"
        found.append((used / 4, text))
    if ask.adjustment is Adjustment.MANAGED and held.ceiling_ppm > held.maintenance_ppm:
        text = (
            f"its maintenance ratio may rise from {held.maintenance_ppm / PPM:.2%} to "
            f"{held.ceiling_ppm / PPM:.2%} while it is open, slowly and announced"
        )
        found.append((0.01, text))
    return found
