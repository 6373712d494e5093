"""Terms for one wish: what it may have, what that costs and risks, or why not and what would pass.

Pure. Every amount comes from the contracts' exact mirror: the order is asked for and executed in
the book as it was read, so an offer is one that engine and desk accept at the price of now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from agent.quoting.assessment import Assessment
from agent.quoting.history import Profile
from agent.quoting.joint import cross_account
from agent.quoting.passing import NOTHING_PASSES, Passing, what_passes
from agent.quoting.risk import Forecasts, Risk, Stand, risk_of
from agent.quoting.rules import DEFAULTS, QuoteSettings
from agent.quoting.trial import Ask, Trial, attempt, terms_of
from agent.terms import (
    NO_MODEL_MULTIPLIER_PPM,
    Allowance,
    Ratios,
    Wish,
    ratios_for,
    written,
)
from contracts.book import Book, Refused
from contracts.book_readings import Readings
from contracts.book_words import MAX_COLLATERAL, MAX_SIZE, account_number
from contracts.margin import SizeE18
from contracts.messages import PositionTerms
from contracts.refusals import MEANINGS, Refusal
from contracts.units import (
    ONE_X,
    PPM,
    USDC,
    LeverageE2,
    MarketId,
    Ppm,
    PriceE18,
    UsdcE6,
    ceil_div,
    ppm_ceil,
)
from models.accounts import AccountScore
from models.liquidation import CrossAccount

NOT_YET = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Footing:
    """What an offer stands on: the account's books, the market's limits, the last judgement.

    `symbols` name the markets; `score` is the account's own, None where no model judges accounts.
    """

    book: Book
    readings: Readings
    symbols: Mapping[MarketId, str]
    assessment: Assessment
    now_ms: int
    model_hash: bytes
    forecasts: Forecasts = field(default_factory=Forecasts)
    score: AccountScore | None = None
    settings: QuoteSettings = DEFAULTS
    profile: Profile | None = None  # for the account's owner only

    @property
    def multiplier_ppm(self) -> Ppm:
        """What of a market's cap is this account's."""
        if self.score is None:
            return NO_MODEL_MULTIPLIER_PPM
        return Ppm(int(self.score.multiplier * PPM))  # down: less leverage


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOffer:
    """No terms: which guard says so, about which field, why, and what would pass instead."""

    reason: str
    field: str
    detail: str
    passes: Passing = NOTHING_PASSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one size at one leverage comes to."""

    ask: Ask
    trial: Trial
    ratios: Ratios
    risk: Risk


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Terms, unsigned, and everything that a trader wants to know of them.

    `cap_e2` is the market's, `account_cap_e2` what of it this account has, `size_cap_e2` what the
    contract allows a position of this size. `alternatives`: less size, and less leverage.
    """

    symbol: str
    figures: Figures
    price_e18: PriceE18
    cap_e2: LeverageE2
    account_cap_e2: LeverageE2
    acceptable_price_e18: PriceE18
    execution_fee: UsdcE6
    alternatives: Mapping[str, Figures]
    terms: PositionTerms


def quote(ask: Ask, ground: Footing) -> Offer | NoOffer:
    """Offer terms for a wish, or say why not and what would pass."""
    refused = unfit(ask, ground) or untimely(ask, ground)
    if refused is not None:
        return refused
    figures = figures_of(ask, ground)
    if isinstance(figures, NoOffer):
        passing = what_passes(ask, lambda other: _fits(other, ground), _least_size(ask, ground))
        return replace(figures, passes=passing)
    return _offer(figures, ground)


def unfit(ask: Ask, ground: Footing) -> NoOffer | None:
    """Refuse what no market could be asked for."""
    if ask.market not in ground.book.markets or ask.market not in ground.readings.markets:
        detail = f"market {ask.market} is not open for margin here"
        return NoOffer(reason="unknown_market", field="market", detail=detail)
    if not 0 < ask.size <= MAX_SIZE:
        detail = "the size is zero, or more than a position can hold"
        return NoOffer(reason="amount_out_of_range", field="size", detail=detail)
    if ask.leverage_e2 < ONE_X:
        detail = "the least leverage is 1x"
        return NoOffer(reason="leverage_outside_terms", field="leverage", detail=detail)
    if ask.margin is not None and not 0 <= ask.margin <= MAX_COLLATERAL:
        detail = "the margin is below 0, or more than a position can hold"
        return NoOffer(reason="amount_out_of_range", field="margin", detail=detail)
    return None


def untimely(ask: Ask, ground: Footing) -> NoOffer | None:
    """Refuse while the agent has not judged the market, or holds it."""
    if ground.book.pool.assets == 0:
        detail = "the liquidity pool holds nothing, so there is nobody to trade against yet"
        return NoOffer(reason="pool_empty", field="market", detail=detail)
    judged = ground.assessment.markets.get(ask.market)
    age_s = (ground.now_ms - ground.assessment.as_of_ms) // 1_000
    symbol = ground.symbols[ask.market]
    if judged is None or age_s > ground.settings.judged_within_s:
        detail = f"{symbol} was last judged {age_s} s ago" if judged else f"{symbol} is not judged"
        return NoOffer(
            reason="judgement_stale",
            field="market",
            detail=f"{detail}; terms are given after the next risk cycle",
        )
    if judged.blocks is not None:
        return NoOffer(reason=judged.blocks.reason, field="market", detail=judged.blocks.detail)
    return None


def figures_of(ask: Ask, ground: Footing) -> Figures | NoOffer:
    """Work out one size at one leverage, or name the guard that is in its way."""
    ratios = ratios_of(ask, ground)
    if ask.leverage_e2 > ratios.max_leverage_e2:
        detail = (
            f"{_x(ask.leverage_e2)} is above {_x(ratios.max_leverage_e2)}: the market's cap is "
            f"{_x(_cap(ask, ground))}, of which this account has {ground.multiplier_ppm / PPM:.0%}"
        )
        return NoOffer(reason="leverage_above_account_cap", field="leverage", detail=detail)
    try:
        slippage_ppm = Ppm(ground.settings.slippage_ppm)
        terms = terms_of(ask, ratios)
        trial = attempt((ground.book, ground.readings), ask, terms, slippage_ppm)
    except Refused as refused:
        return _refusal(refused.refusal)
    judged = ground.assessment.markets[ask.market]
    stand = Stand(
        symbol=ground.symbols[ask.market],
        judged=judged,
        score=ground.score,
        ask=ask,
        trial=trial,
        account=_together(ask, trial, ground),
    )
    return Figures(ask=ask, trial=trial, ratios=ratios, risk=risk_of(stand, ground.forecasts))


def ratios_of(ask: Ask, ground: Footing) -> Ratios:
    """Give the tuple that terms would have."""
    limits = ground.readings.markets[ask.market].limits
    allowance = Allowance(cap_e2=limits.cap_e2, floor_ppm=limits.floor_maintenance_ppm)
    return ratios_for(_wish(ask, UsdcE6(0)), allowance, ground.multiplier_ppm)


def _offer(figures: Figures, ground: Footing) -> Offer:
    ask, trial, limits = figures.ask, figures.trial, ground.readings.markets[figures.ask.market]
    slippage_ppm = Ppm(ground.settings.slippage_ppm)
    most = ceil_div(ppm_ceil(trial.notional, Ppm(PPM + slippage_ppm)), USDC) * USDC
    hashes = (ground.model_hash, NOT_YET)
    wish = _wish(ask, UsdcE6(most))
    score = figures.risk.score_ppm
    return Offer(
        symbol=ground.symbols[ask.market],
        figures=figures,
        price_e18=limits.mark.price,
        cap_e2=limits.limits.cap_e2,
        account_cap_e2=figures.ratios.max_leverage_e2,
        acceptable_price_e18=_acceptable(trial.fill.price_paid, int(ask.side), slippage_ppm),
        execution_fee=ground.book.markets[ask.market].rules.execution_fee,
        alternatives=MappingProxyType(dict(_alternatives(ask, ground))),
        terms=written(wish, figures.ratios, ground.now_ms, hashes, score),
    )


def _alternatives(ask: Ask, ground: Footing) -> list[tuple[str, Figures]]:
    """Show what half the size, and two thirds of the leverage, would change."""
    less = LeverageE2(max(ONE_X, ask.leverage_e2 * 2 // 3))
    others = {
        "half_size": replace(ask, size=SizeE18(ask.size // 2), margin=None),
        "less_leverage": replace(ask, leverage_e2=less, margin=None),
    }
    worked = {name: figures_of(other, ground) for name, other in others.items() if other.size}
    return [(name, each) for name, each in worked.items() if isinstance(each, Figures)]


def _together(ask: Ask, trial: Trial, ground: Footing) -> CrossAccount | None:
    """Give the whole account where several markets carry it."""
    if not ask.is_cross or len(trial.markets) < 2:
        return None
    return cross_account(trial.book, ground.readings, account_number(ask.account))


def _fits(ask: Ask, ground: Footing) -> bool:
    """Tell whether a wish would get an offer, at the least work."""
    ratios = ratios_of(ask, ground)
    if ask.leverage_e2 > ratios.max_leverage_e2:
        return False
    try:
        attempt((ground.book, ground.readings), ask, terms_of(ask, ratios), Ppm(0))
    except Refused:
        return False
    return True


def _least_size(ask: Ask, ground: Footing) -> int:
    """Give the smallest size that a new position may have at the price of now."""
    price = ground.readings.markets[ask.market].mark.price
    least = ground.book.markets[ask.market].rules.min_notional
    return min(MAX_SIZE, ceil_div(least * 10**30, price)) if price else MAX_SIZE


def _refusal(refusal: Refusal) -> NoOffer:
    """Put a guard of the contracts into an answer; its meaning says what to do."""
    return NoOffer(
        reason=refusal.name.lower(),
        field=FIELDS.get(refusal, "market"),
        detail=MEANINGS[refusal],
    )


FIELDS: Mapping[Refusal, str] = MappingProxyType(
    {
        Refusal.LEVERAGE_ABOVE_CAP: "leverage",
        Refusal.CEILING_UNBEARABLE: "leverage",
        Refusal.OPEN_INTEREST_FULL: "size",
        Refusal.SKEW_FULL: "size",
        Refusal.BELOW_MINIMUM_SIZE: "size",
        Refusal.AMOUNT_OUT_OF_RANGE: "size",
        Refusal.PRICE_NOT_ACCEPTABLE: "size",
        Refusal.POOL_EXHAUSTED: "size",
        Refusal.MARGIN_SHORT: "margin",
        Refusal.TOO_MANY_POSITIONS: "account",
        Refusal.LOSS_EXCEEDS_MARGIN: "account",
        Refusal.WOULD_BE_LIQUIDATABLE: "account",
    }
)


def _acceptable(paid: PriceE18, direction: int, slippage_ppm: Ppm) -> PriceE18:
    """Move a price against the trader by what it may slip."""
    return PriceE18(paid * (PPM + direction * slippage_ppm) // PPM)


def _wish(ask: Ask, most: UsdcE6) -> Wish:
    return Wish(
        account=ask.account,
        market=ask.market,
        side=ask.side,
        mode=ask.mode,
        adjustment=ask.adjustment,
        max_notional=most,
        leverage_e2=ask.leverage_e2,
    )


def _cap(ask: Ask, ground: Footing) -> LeverageE2:
    return ground.readings.markets[ask.market].limits.cap_e2


def _x(leverage_e2: int) -> str:
    """Write a leverage."""
    return f"{leverage_e2 / 100:.2f}x"
