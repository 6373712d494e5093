"""`aml quote`: terms for one account, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import MANNER, Manner, grouped

if TYPE_CHECKING:
    from agent.cli.setup import Prepared
    from agent.quoting.trial import Ask
    from contracts.margin import SizeE18
    from contracts.messages import Adjustment, MarginMode, Side
    from contracts.units import LeverageE2, UsdcE6
    from relayer.http.port import NotGiven
    from relayer.http.schemas import Figures, QuoteAnswer, RiskProfile

EXIT_REFUSED = 1
HORIZONS = {3_600: "1 h", 14_400: "4 h", 86_400: "24 h"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was typed, as values; the market's name is for the network to know."""

    account: str
    side: Side
    mode: MarginMode | None
    adjustment: Adjustment
    size: SizeE18
    leverage_e2: LeverageE2
    margin: UsdcE6 | None


@grouped
def quote(
    account: Annotated[str, typer.Argument(help="Whose terms: an address.")],
    market: Annotated[str, typer.Argument(help="A market's symbol.")],
    side: Annotated[str, typer.Argument(help="long or short.")],
    size: Annotated[str, typer.Argument(help="In units of the asset: 0.25.")],
    leverage: Annotated[str, typer.Argument(help="5, or 12.5x.")],
    manner: Manner = MANNER,
) -> None:
    """Offer terms: cap, ratio, liquidation price, probabilities, costs, signatures.

    Exit code 0: terms are offered; 1: refused, with the reason and what would pass.

    Example: aml quote 0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045 ETH long 0.5 5x --mode cross
    """
    import asyncio

    from agent.cli.setup import require_world
    from agent.config import load_settings
    from agent.quoting import inputs as read
    from agent.quoting.desk import Signed
    from contracts.units import MarketId
    from relayer.http.port import NotGiven

    wish = _wish((account, side, size, leverage), manner)  # judged before anybody is asked
    settings = load_settings(manner.network)
    told = {MarketId(n): each.symbol for n, each in enumerate(settings.markets)}
    if told:
        read.market(market, told)
    prepared = require_world(manner.network, manner.state)
    answer, profile = asyncio.run(_asked(prepared, wish, market, sign=not manner.unsigned))
    body = answer if isinstance(answer, NotGiven) else _answered(answer)
    if manner.as_json:
        typer.echo(_json(body))
    elif isinstance(body, NotGiven):
        _show_refusal(body, profile)
    else:
        _show(body, profile, isinstance(answer, Signed))
    if isinstance(body, NotGiven):
        raise typer.Exit(EXIT_REFUSED)


def _wish(given: tuple[str, str, str, str], manner: Manner) -> Wish:
    """Read what was typed, but for the market, which the network has to name."""
    from agent.quoting import inputs as read
    from agent.quoting.answers import ADJUSTMENTS, MODES, SIDES

    account, side, size, leverage = given
    return Wish(
        account=read.address(account),
        side=read.choice("side", side, SIDES),
        mode=None if manner.mode is None else read.choice("--mode", manner.mode, MODES),
        adjustment=read.choice("--adjustment", manner.adjustment, ADJUSTMENTS),
        size=read.size(size),
        leverage_e2=read.leverage(leverage),
        margin=read.margin(manner.margin),
    )


async def _asked(
    prepared: Prepared, wish: Wish, market: str, *, sign: bool
) -> tuple[object, RiskProfile]:
    """Open a desk and ask it, also what it knows of the account."""
    from agent.app import load_model
    from agent.quoting.answers import profiled, refused
    from agent.quoting.desk import Signed
    from agent.quoting.offer import NoOffer
    from agent.quoting.session import open_desk
    from relayer.signing.values import NoQuorum

    ask = _ask(prepared, wish, market)
    model = load_model(prepared.settings)
    async with open_desk(prepared.network, prepared.settings, model, sign=sign) as desk:
        footing = await desk.footing(ask.account, (ask.market,))
        own = desk.profile_of(ask.account, footing.now_ms)
        profile = profiled(replace(footing, profile=own))
        if not sign:
            offer, _ = await desk.offer(ask)
            return (refused(offer) if isinstance(offer, NoOffer) else offer), profile
        answer = await desk.terms(ask)
    if isinstance(answer, NoOffer | NoQuorum):
        return refused(answer), profile
    assert isinstance(answer, Signed)
    return answer, profile


def _ask(prepared: Prepared, wish: Wish, market: str) -> Ask:
    """Put a wish to the markets that there are."""
    from agent.quoting import inputs as read
    from agent.quoting.answers import MODES
    from agent.quoting.trial import Ask

    symbols = {each.market: each.symbol for each in prepared.network.markets}
    return Ask(
        account=wish.account,
        market=read.market(market, symbols),
        side=wish.side,
        mode=wish.mode or MODES[prepared.settings.quotes.default_mode],
        adjustment=wish.adjustment,
        size=wish.size,
        leverage_e2=wish.leverage_e2,
        margin=wish.margin,
    )


def _answered(answer: object) -> QuoteAnswer:
    from agent.quoting.answers import offered
    from agent.quoting.desk import Signed
    from agent.quoting.offer import Offer

    if isinstance(answer, Signed):
        return offered(answer.offer, answer)
    assert isinstance(answer, Offer)
    return offered(answer)


def _json(body: QuoteAnswer | NotGiven) -> str:
    import json

    from relayer.http.port import NotGiven

    if isinstance(body, NotGiven):
        said = {"reason": body.reason, "field": body.field, "detail": body.detail}
        return json.dumps(said | {"passes": body.passes.model_dump()}, indent=1)
    return body.model_dump_json(indent=1)


def _show_refusal(body: NotGiven, profile: RiskProfile) -> None:
    """Print why not, what would pass, and what of the cap is this account's."""
    typer.echo(f"no terms: {body.detail}")
    if body.field:
        typer.echo(f"in the way: {body.field} ({body.reason})")
    passes = body.passes
    if passes.leverage_e2 is not None:
        typer.echo(f"passes at this size: leverage {passes.leverage_e2 / 100:.2f}x")
    if passes.size_e18 is not None:
        typer.echo(f"passes at this leverage: size {int(passes.size_e18) / 1e18:.8g}")
    _show_profile(profile)


def _show_profile(profile: RiskProfile) -> None:
    """Print what is known of the account, and what would change it."""
    typer.echo(f"{'account':<14} {profile.words}")
    for reason in profile.reasons:
        typer.echo(f"  because      {reason}")
    for change in profile.would_change:
        typer.echo(f"  would change {change}")


def _show(body: QuoteAnswer, profile: RiskProfile, signed: bool) -> None:
    """Print terms as a person reads them."""
    wanted, ceiling = body.wanted, body.maintenance_ceiling_ppm / 1e4
    rows = [
        ("price", f"{int(body.price_e18) / 1e18:,.6g} {body.market}/USDC"),
        ("cap", _caps(body)),
        ("maintenance", f"{body.maintenance_ppm / 1e4:.3f} %, ceiling {ceiling:.3f} %"),
        *_rows(wanted),
        ("execution fee", _usdc(body.execution_fee_e6)),
        ("acceptable", f"no worse than {int(body.acceptable_price_e18) / 1e18:,.6g}"),
        ("risk score", f"{wanted.risk_score_ppm / 1_000_000:.3f}"),
    ]
    for name, text in rows:
        typer.echo(f"{name:<14} {text}")
    for reason in wanted.reasons:
        typer.echo(f"  because      {reason}")
    _show_profile(profile)
    for name, other in body.alternatives.items():
        typer.echo(f"{name.replace('_', ' '):<14} {_short(other)}")
    if signed:
        typer.echo(f"signed by {len(body.signatures)} signers: {body.message_hash}")
    else:
        typer.echo("not signed: the contract would not take these terms")


def _caps(body: QuoteAnswer) -> str:
    account, size = body.account_cap_e2 / 100, body.size_cap_e2 / 100
    return f"{body.cap_e2 / 100:.2f}x; this account {account:.2f}x, this size {size:.2f}x"


def _rows(figures: Figures) -> list[tuple[str, str]]:
    costs, fatal = figures.costs, figures.liquidation_price_e18
    chances = ", ".join(
        f"{HORIZONS[each.horizon_s]} {each.probability:.3%}" for each in figures.chances
    )
    spread, impact, fee = (_usdc(each) for each in (costs.spread_e6, costs.impact_e6, costs.fee_e6))
    return [
        ("margin", f"{_usdc(figures.margin_e6)}; to deposit {_usdc(figures.deposit_needed_e6)}"),
        ("liquidation", "at no price" if fatal is None else f"at {int(fatal) / 1e18:,.6g}"),
        ("probability", f"{chances or 'unknown'} ({figures.chance_method})"),
        ("costs", f"spread {spread}, impact {impact}, fee {fee}"),
    ]


def _short(figures: Figures) -> str:
    fatal = figures.liquidation_price_e18
    where = "none" if fatal is None else f"{int(fatal) / 1e18:,.6g}"
    day = figures.chances[-1].probability if figures.chances else float("nan")
    size = int(figures.size_e18) / 1e18
    return (
        f"{size:.6g} at {figures.leverage_e2 / 100:.2f}x: margin {_usdc(figures.margin_e6)}, "
        f"liquidation {where}, 24 h {day:.3%}"
    )


def _usdc(amount: str) -> str:
    return f"{int(amount) / 1e6:,.2f} USDC"
