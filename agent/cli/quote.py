"""`aml quote`: terms for one account, or why there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.local import DEFAULT_STATE, StateOption
from agent.cli.run import NetworkOption

if TYPE_CHECKING:
    from agent.cli.setup import Prepared
    from agent.quoting.trial import Ask
    from relayer.http.port import NotGiven
    from relayer.http.schemas import Figures, QuoteAnswer

EXIT_REFUSED = 1
HORIZONS = {3_600: "1 h", 14_400: "4 h", 86_400: "24 h"}


def quote(  # noqa: PLR0913, PLR0917 - the options of a command are its parameters
    account: Annotated[str, typer.Argument(help="Whose terms: an address.")],
    market: Annotated[str, typer.Argument(help="A market's symbol.")],
    side: Annotated[str, typer.Argument(help="long or short.")],
    size: Annotated[str, typer.Argument(help="In units of the asset: 0.25.")],
    leverage: Annotated[str, typer.Argument(help="5, or 12.5x.")],
    mode: Annotated[
        str | None, typer.Option("--mode", help="isolated or cross; else quotes.default_mode.")
    ] = None,
    adjustment: Annotated[str, typer.Option("--adjustment", help="fixed or managed.")] = "managed",
    margin: Annotated[
        str | None, typer.Option("--margin", help="USDC; as much as is needed if not given.")
    ] = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Show the terms, but do not have them signed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As the HTTP interface answers.")] = False,
    network: NetworkOption = "local",
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Offer terms: cap, ratio, liquidation price, probabilities, costs, signatures.

    Exit code 0: terms are offered; 1: refused, with the reason and what would pass.

    Example: aml quote 0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045 ETH long 0.5 5x --mode cross
    """
    import asyncio

    from agent.cli.setup import require_world
    from agent.quoting.desk import Signed
    from relayer.http.port import NotGiven

    prepared = require_world(network, state)
    choices = (account, market, side, mode or prepared.settings.quotes.default_mode, adjustment)
    amounts = (size, leverage, margin)
    answer = asyncio.run(_asked(prepared, choices, amounts, sign=not unsigned))
    body = answer if isinstance(answer, NotGiven) else _answered(answer)
    if as_json:
        typer.echo(_json(body))
    elif isinstance(body, NotGiven):
        _show_refusal(body)
    else:
        _show(body, isinstance(answer, Signed))
    if isinstance(body, NotGiven):
        raise typer.Exit(EXIT_REFUSED)


async def _asked(
    prepared: Prepared,
    choices: tuple[str, str, str, str, str],
    amounts: tuple[str, str, str | None],
    *,
    sign: bool,
) -> object:
    """Open a desk and ask it; what was typed is read first."""
    from agent.app import load_model
    from agent.quoting.answers import refused
    from agent.quoting.desk import Signed
    from agent.quoting.offer import NoOffer
    from agent.quoting.session import open_desk
    from relayer.signing.values import NoQuorum

    network = prepared.network
    ask = _ask(prepared, choices, amounts)
    model = load_model(prepared.settings)
    async with open_desk(network, prepared.settings, model, sign=sign) as desk:
        if not sign:
            offer, _ = await desk.offer(ask)
            return refused(offer) if isinstance(offer, NoOffer) else offer
        answer = await desk.terms(ask)
    if isinstance(answer, NoOffer | NoQuorum):
        return refused(answer)
    assert isinstance(answer, Signed)
    return answer


def _ask(
    prepared: Prepared,
    choices: tuple[str, str, str, str, str],
    amounts: tuple[str, str, str | None],
) -> Ask:
    """Read what was typed."""
    from agent.quoting import inputs as read
    from agent.quoting.answers import ADJUSTMENTS, MODES, SIDES
    from agent.quoting.trial import Ask

    account, market, side, mode, adjustment = choices
    size, leverage, margin = amounts
    symbols = {each.market: each.symbol for each in prepared.network.markets}
    return Ask(
        account=read.address(account),
        market=read.market(market, symbols),
        side=read.choice("side", side, SIDES),
        mode=read.choice("--mode", mode, MODES),
        adjustment=read.choice("--adjustment", adjustment, ADJUSTMENTS),
        size=read.size(size),
        leverage_e2=read.leverage(leverage),
        margin=read.margin(margin),
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


def _show_refusal(body: NotGiven) -> None:
    """Print why not, and what would pass."""
    typer.echo(f"no terms: {body.detail}")
    if body.field:
        typer.echo(f"in the way: {body.field} ({body.reason})")
    passes = body.passes
    if passes.leverage_e2 is not None:
        typer.echo(f"passes at this size: leverage {passes.leverage_e2 / 100:.2f}x")
    if passes.size_e18 is not None:
        typer.echo(f"passes at this leverage: size {int(passes.size_e18) / 1e18:.8g}")


def _show(body: QuoteAnswer, signed: bool) -> None:
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
