"""Offers, refusals, accounts and simulations as interfaces read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.quoting.desk import Signed
from agent.quoting.offer import Figures, Footing, NoOffer, Offer
from agent.quoting.risk import Chances
from agent.quoting.simulation import Moment, Step, Supposed
from agent.quoting.trial import Ask
from contracts.book_margin import Standing, cross_margin, standing
from contracts.book_views import position_liquidation_price
from contracts.book_words import CROSS, account_number, split_position_id
from contracts.margin import is_liquidatable
from contracts.messages import Adjustment, MarginMode, PositionTerms, Side
from contracts.units import PPM, LeverageE2, MarketId, Ppm, PriceE18, UsdcE6
from relayer.http import schemas
from relayer.http.port import NotGiven
from relayer.signing.values import NoQuorum

MODES: Mapping[str, MarginMode] = {"isolated": MarginMode.ISOLATED, "cross": MarginMode.CROSS}
SIDES: Mapping[str, Side] = {"long": Side.LONG, "short": Side.SHORT}
ADJUSTMENTS: Mapping[str, Adjustment] = {"fixed": Adjustment.FIXED, "managed": Adjustment.MANAGED}


def ask_of(asked: schemas.QuoteRequest, market: MarketId, mode: schemas.ModeName) -> Ask:
    """Read a wish; the body has been validated, and `mode` is for one that names none."""
    return Ask(
        account=asked.account,
        market=market,
        side=SIDES[asked.side],
        mode=MODES[asked.mode or mode],
        adjustment=ADJUSTMENTS[asked.adjustment],
        size=int(asked.size_e18),  # type: ignore[arg-type]
        leverage_e2=LeverageE2(asked.leverage_e2),
        margin=None if asked.margin_e6 is None else UsdcE6(int(asked.margin_e6)),
    )


def offered(offer: Offer, signed: Signed | None = None) -> schemas.QuoteAnswer:
    """Write an offer."""
    return schemas.QuoteAnswer(
        market=offer.symbol,
        price_e18=str(offer.price_e18),
        cap_e2=offer.cap_e2,
        account_cap_e2=offer.account_cap_e2,
        size_cap_e2=offer.figures.trial.size_cap_e2,
        maintenance_ppm=offer.terms.maintenance_ppm,
        maintenance_ceiling_ppm=offer.terms.maintenance_ceiling_ppm,
        acceptable_price_e18=str(offer.acceptable_price_e18),
        execution_fee_e6=str(offer.execution_fee),
        wanted=figured(offer.figures),
        alternatives={name: figured(each) for name, each in offer.alternatives.items()},
        terms=termed(offer.terms),
        message_hash=_hex(signed.message.message_hash) if signed else None,
        signatures=tuple(_hex(each) for each in signed.message.signatures) if signed else (),
    )


def figured(figures: Figures) -> schemas.Figures:
    """Write what one size at one leverage comes to."""
    ask, trial, risk = figures.ask, figures.trial, figures.risk
    costs, fatal = trial.fill.costs, trial.liquidation_price
    return schemas.Figures(
        size_e18=str(ask.size),
        leverage_e2=ask.leverage_e2,
        notional_e6=str(trial.notional),
        margin_e6=str(trial.margin),
        deposit_needed_e6=str(trial.deposit),
        price_paid_e18=str(trial.fill.price_paid),
        costs=schemas.Costs(
            spread_e6=str(costs.spread), impact_e6=str(costs.impact), fee_e6=str(costs.fee)
        ),
        position_size_e18=str(trial.standing.position.size),
        liquidation_price_e18=None if fatal is None else str(fatal),
        chances=chances_of(risk.chances),
        chance_method=risk.chances.method if risk.chances else None,
        risk_score_ppm=risk.score_ppm,
        reasons=risk.reasons,
    )


def chances_of(chances: Chances | None) -> tuple[schemas.Chance, ...]:
    """Write probabilities by horizon."""
    if chances is None:
        return ()
    hour, four, day = chances.probabilities
    return (
        schemas.Chance(horizon_s=3_600, probability=hour),
        schemas.Chance(horizon_s=14_400, probability=four),
        schemas.Chance(horizon_s=86_400, probability=day),
    )


def termed(terms: PositionTerms) -> schemas.TermsBody:
    """Write terms."""
    return schemas.TermsBody(
        observed_at_ms=terms.observed_at_ms,
        valid_until_ms=terms.valid_until_ms,
        account=terms.account,
        market=terms.market,
        side=int(terms.side),
        margin_mode=int(terms.margin_mode),
        adjustment=int(terms.adjustment),
        max_notional_e6=str(terms.max_notional_e6),
        max_leverage_e2=terms.max_leverage_e2,
        maintenance_ppm=terms.maintenance_ppm,
        maintenance_ceiling_ppm=terms.maintenance_ceiling_ppm,
        risk_score_ppm=terms.risk_score_ppm,
        nonce=terms.nonce,
        model_hash=_hex(terms.model_hash),
        evidence_hash=_hex(terms.evidence_hash),
    )


def refused(answer: NoOffer | NoQuorum) -> NotGiven:
    """Write why there are no terms."""
    if isinstance(answer, NoQuorum):
        said = "; ".join(f"{name}: {r.reason} {r.field}" for name, r in answer.refusals.items())
        detail = f"{answer.given} of {answer.needed} signers agreed; {said}".rstrip("; ")
        if answer.needed == 0:
            detail = "this agent has no keys: it offers nothing that a contract would take"
        return NotGiven(reason="no_quorum", field="", detail=detail)
    passes = answer.passes
    return NotGiven(
        reason=answer.reason,
        field=answer.field,
        detail=answer.detail,
        passes=schemas.Passes(
            leverage_e2=passes.leverage_e2,
            size_e18=None if passes.size is None else str(passes.size),
        ),
    )


def account_of(
    account: str, footing: Footing, block_number: int, chances: Mapping[int, Chances | None]
) -> schemas.AccountAnswer:
    """Write an account as it stands; `chances` are by position."""
    holder = account_number(account)
    sums = cross_margin(footing.book, footing.readings, holder)
    places = [each for each, held in footing.book.positions.items() if held.size]
    held = [(each, standing(footing.book, footing.readings, each)) for each in sorted(places)]
    return schemas.AccountAnswer(
        account=account,
        block_number=block_number,
        at_ms=footing.now_ms,
        balance_e6=str(sums.balance),
        equity_e6=str(sums.equity),
        opening_equity_e6=str(sums.opening_equity),
        initial_e6=str(sums.initial),
        maintenance_e6=str(sums.maintenance),
        liquidatable=sums.is_liquidatable,
        positions=tuple(_position(each, own, footing, chances.get(each)) for each, own in held),
        profile=profiled(footing),
    )


def _position(
    identity: int, own: Standing, footing: Footing, chances: Chances | None
) -> schemas.OpenPosition:
    account, market, mode = split_position_id(identity)  # type: ignore[arg-type]
    held, equity, asked = own.position, own.equity, own.maintenance
    if mode == CROSS:
        sums = cross_margin(footing.book, footing.readings, account)
        equity, asked = UsdcE6(sums.equity), sums.maintenance
    fatal = position_liquidation_price(footing.book, footing.readings, identity)  # type: ignore[arg-type]
    return schemas.OpenPosition(
        market=footing.symbols[market],
        mode="cross" if mode == CROSS else "isolated",
        side="long" if held.long else "short",
        adjustment="managed" if held.managed else "fixed",
        size_e18=str(held.size),
        entry_price_e18=str(own.entry_price),
        price_e18=str(own.now.price),
        leverage_e2=held.leverage_e2,
        collateral_e6=str(held.collateral),
        profit_e6=str(own.profit),
        equity_e6=str(equity),
        maintenance_e6=str(asked),
        maintenance_ppm=own.ratio_ppm,
        maintenance_ceiling_ppm=held.ceiling_ppm,
        liquidation_price_e18=None if fatal is None else str(fatal),
        liquidatable=is_liquidatable(equity, asked),
        chances=chances_of(chances),
        chance_method=chances.method if chances else None,
    )


def profiled(footing: Footing) -> schemas.RiskProfile:
    """Show an account what is known of it."""
    share, score = footing.multiplier_ppm, footing.score
    if score is None:
        words = "no model judges accounts here: everybody has the middling share of caps"
    elif not score.has_history:
        words = "no history yet: the prior, which is below the best"
    else:
        words = f"a {score.risk:.1%} chance of a liquidation within 30 days, by its own history"
    return schemas.RiskProfile(
        judged=score is not None,
        has_history=score is not None and score.has_history,
        risk=score.risk if score else None,
        cap_share_ppm=share,
        words=f"{words}; {share / PPM:.0%} of each market's cap is this account's",
        reasons=footing.profile.reasons if footing.profile else (),
        would_change=footing.profile.changes if footing.profile else (),
    )


def supposed_of(
    asked: schemas.HeldPosition, market: MarketId, footing: tuple[Ppm, Ppm]
) -> Supposed:
    """Read a hypothetical position; `footing` is the market's ratio and share of profit."""
    ratio_ppm, share_ppm = footing
    return Supposed(
        market=market,
        is_cross=asked.mode == "cross",
        side=int(SIDES[asked.side]),
        size=int(asked.size_e18),  # type: ignore[arg-type]
        entry_price=PriceE18(int(asked.entry_price_e18)),
        leverage_e2=LeverageE2(asked.leverage_e2),
        maintenance_ppm=Ppm(asked.maintenance_ppm or ratio_ppm),
        profit_share_ppm=share_ppm,
        collateral=UsdcE6(int(asked.collateral_e6)),
    )


def simulated(steps: Sequence[Step], symbols: Mapping[MarketId, str]) -> schemas.SimulateAnswer:
    """Write what a book would have lived through."""
    first = next((n for n, step in enumerate(steps) if step.liquidatable), None)
    rows = tuple(_step(number, step, symbols) for number, step in enumerate(steps))
    return schemas.SimulateAnswer(steps=rows, first_liquidation_step=first)


def _step(number: int, step: Step, symbols: Mapping[MarketId, str]) -> schemas.SimulatedStep:
    account = step.account
    return schemas.SimulatedStep(
        step=number,
        equity_e6=str(account.equity),
        initial_e6=str(account.initial),
        maintenance_e6=str(account.maintenance),
        free_margin_e6=str(account.free_margin),
        withdrawable_e6=str(account.withdrawable),
        liquidatable=is_liquidatable(account.equity, account.maintenance),
        positions=tuple(_moment(each, symbols) for each in step.moments),
    )


def _moment(moment: Moment, symbols: Mapping[MarketId, str]) -> schemas.SimulatedPosition:
    fatal = moment.liquidation_price
    return schemas.SimulatedPosition(
        market=symbols[moment.position.market],
        mode="cross" if moment.position.is_cross else "isolated",
        price_e18=str(moment.price),
        profit_e6=str(moment.profit),
        equity_e6=str(moment.equity),
        initial_e6=str(moment.initial),
        maintenance_e6=str(moment.maintenance),
        liquidation_price_e18=None if fatal is None else str(fatal),
        liquidatable=moment.liquidatable,
    )


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
