"""How fast terms are offered: `python -m benchmarks.quotes --json OUT`.

Book in hand to offer: caps, the order carried out in the exact mirror, liquidation price,
probabilities, two alternatives. With ten cross positions, refused with what would pass, and with
evidence packed and three signatures made. Over HTTP: the same offer through server, fences,
validation and JSON on a loopback connection that stays open. What an endpoint takes to answer for
the book is not in any of them. One thread.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.network import local_keys
from agent.quoting.answers import ask_of, offered, refused
from agent.quoting.assessment import Assessment, MarketAssessment
from agent.quoting.desk import evidence_of
from agent.quoting.offer import Footing, NoOffer, Offer, quote
from agent.quoting.risk import Forecasts
from agent.quoting.trial import Ask
from benchmarks.latency import show, summary
from contracts.book import Book, MarketBook, SideBook
from contracts.book_readings import ALL_PERMISSIONS, Limits, Mark, Reading, Readings
from contracts.book_words import (
    CROSS,
    Account,
    AccountBook,
    MarketRules,
    Position,
    account_number,
    position_id,
)
from contracts.messages import Adjustment, Domain, MarginMode, Side, digest
from contracts.pool import PoolState
from contracts.units import maintenance_from_cap
from models.artifact import default_artifact, load
from models.heads import HORIZONS_S
from models.scorer import HorizonTail, LiquidityScore, RiskScores
from relayer.evidence import pack
from relayer.http import schemas
from relayer.http.app import create_app
from relayer.http.port import NotGiven
from relayer.http.server import serving
from relayer.http.settings import HttpRules

NOW_S = 1_790_000_000
MARKETS, RUNS, HTTP_RUNS = 50, 500, 500
E18, USDC = 10**18, 10**6
TRADER = "0x" + "a1" * 20
OPEN = HttpRules(requests_per_minute=10**9, terms_per_minute=10**9, terms_per_minute_of_all=10**9)
RULES = MarketRules(
    fee_ppm=500, impact_ppm=1_000, funding_daily_ppm=3_000, interest_share_ppm=500_000,
    skew_share_ppm=300_000, penalty_min_ppm=2_000, penalty_max_ppm=5_000, cut_share_ppm=5_000,
    min_notional_usdc=10, reward=20_000, execution_fee=50_000, liquidation_age_s=60,
    band_ppm=20_000,
)  # fmt: skip
LIMITS = Limits(
    permissions=int(ALL_PERMISSIONS), halted=False,
    effective_maintenance_ppm=maintenance_from_cap(2_500), cap_e2=2_500,
    floor_maintenance_ppm=10_000, profit_share_ppm=500_000, spread_ppm=200,
    open_interest_cap_usdc=50_000_000, size_scale_usdc=1_000_000,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    rows = [*measure(), asyncio.run(over_http())]
    show(rows)
    if options.json:
        options.json.write_text(json.dumps({"unit": "ms", "rows": rows}, indent=1) + "\n")
    return 0


def measure() -> list[dict[str, Any]]:
    """Time offers over an empty account, over ten cross positions, refused, and signed."""
    alone, crowded = footing(0), footing(10)
    keys = local_keys().risk_signers
    domain = Domain(chain_id=1, contract="0x" + "11" * 20, config_digest=b"\7" * 32)

    def signed(index: int) -> None:
        offer = offer_of(wish(index), alone)
        evidence_hash, _ = pack(evidence_of(offer, alone))
        message = digest(replace(offer.terms, evidence_hash=evidence_hash), domain)
        for key in keys:
            key.sign_digest(message)

    cross = {"mode": MarginMode.CROSS}
    return [
        timed("offer_isolated", lambda i: offer_of(wish(i), alone)),
        timed("offer_cross_1", lambda i: offer_of(replace(wish(i), **cross), alone)),
        timed("offer_cross_11", lambda i: offer_of(replace(wish(i), market=20, **cross), crowded)),
        timed("refused_with_what_passes", lambda i: refusal_of(wish(i), alone)),
        timed("offer_isolated_signed", signed),
    ]


def offer_of(ask: Ask, at: Footing) -> Offer:
    """Ask for something that is offered."""
    answer = quote(ask, at)
    assert isinstance(answer, Offer), answer
    return answer


def refusal_of(ask: Ask, at: Footing) -> NoOffer:
    """Ask for more than the market takes."""
    answer = quote(replace(ask, size=10**6 * E18, leverage_e2=500), at)
    assert isinstance(answer, NoOffer), answer
    return answer


def timed(name: str, run: Callable[[int], object], count: int = RUNS) -> dict[str, Any]:
    """Run many times after a warm-up, and sum up the milliseconds."""
    for index in range(20):
        run(index)
    times = []
    for index in range(count):
        began = time.perf_counter()
        run(index)
        times.append((time.perf_counter() - began) * 1_000)
    return {"name": name, **summary(times)}


def wish(index: int) -> Ask:
    """Give one of many wishes, all within the limits."""
    drawn = random.Random(index)
    return Ask(
        account=TRADER,
        market=drawn.randrange(20, MARKETS),
        side=drawn.choice([Side.LONG, Side.SHORT]),
        mode=MarginMode.ISOLATED,
        adjustment=Adjustment.MANAGED,
        size=drawn.randrange(E18, 200 * E18),
        leverage_e2=drawn.randrange(100, 1_500),
    )


def footing(cross_positions: int) -> Footing:
    """Give markets at one price, and an account with so many cross positions."""
    account = Account(account_number(TRADER))
    held = Position(
        size=10 * E18, basis=100 * E18, leverage_e2=500, long=True, managed=True,
        maintenance_ppm=20_000, ceiling_ppm=40_000, version=1,
    )  # fmt: skip
    mark = Mark(
        price=100 * E18, average=100 * E18, confidence_ppm=100, observed_at_ms=NOW_S * 1_000,
        unconfirmed=False, fresh=True, new_risk=True,
    )  # fmt: skip
    side = SideBook(size=10_000 * E18, basis_sum=10_000 * E18 * 100 * E18)
    listed = tuple(range(cross_positions - 1)) if cross_positions else ()
    model = load(default_artifact())
    return Footing(
        book=Book(
            positions={position_id(account, market, CROSS): held for market in listed},
            accounts={account: AccountBook(markets=listed, balance=50_000 * USDC)},
            markets={
                market: MarketBook(rules=RULES, long=side, short=side, at_s=NOW_S - 60)
                for market in range(MARKETS)
            },
            pool=PoolState(assets=50_000_000 * USDC, insurance=10**12),
        ),
        readings=Readings(
            now_s=NOW_S,
            markets={each: Reading(mark=mark, limits=LIMITS) for each in range(MARKETS)},
        ),
        symbols={each: f"M{each}" for each in range(MARKETS)},
        assessment=Assessment(
            as_of_ms=NOW_S * 1_000,
            markets={
                each: MarketAssessment(market=each, scores=scores(each)) for each in range(MARKETS)
            },
        ),
        now_ms=NOW_S * 1_000,
        model_hash=model.model_hash,
        forecasts=Forecasts(heads=model.risks),
    )


def scores(market: int) -> RiskScores:
    """Give a market's scores."""
    tails = tuple(
        HorizonTail(horizon_s=h, long_990=0.02, long_995=0.02, short_990=0.02, short_995=0.02)
        for h in HORIZONS_S
    )
    return RiskScores(
        market=market,
        as_of_ms=NOW_S * 1_000,
        volatility=(0.004, 0.008, 0.016, 0.04),
        tail_long=0.02,
        tail_short=0.02,
        tails=tails,
        liquidity=LiquidityScore(
            slippage_ratio=(0.0001, 0.0005, 0.002, 0.01), stressed_depth_usdc=1e6
        ),
        out_of_domain=(),
    )


class BenchAgent:
    """Answers quotes from memory; nothing else is asked."""

    def __init__(self) -> None:
        self._at = footing(0)

    async def quote(self, asked: schemas.QuoteRequest) -> schemas.QuoteAnswer | NotGiven:
        """Offer terms."""
        answer = quote(ask_of(asked, int(asked.market[1:]), "isolated"), self._at)
        return refused(answer) if isinstance(answer, NoOffer) else offered(answer)


async def over_http() -> dict[str, Any]:
    """Ask over one open loopback connection."""
    app = create_app(BenchAgent(), OPEN, "0")
    times = []
    async with serving(app, "127.0.0.1", 0) as listening:
        reader, writer = await asyncio.open_connection(listening.host, listening.port)
        for index in range(HTTP_RUNS + 20):
            body = json.dumps(asked(wish(index))).encode()
            head = f"POST /quote HTTP/1.1\r\nHost: b\r\nContent-Length: {len(body)}\r\n"
            began = time.perf_counter()
            writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            times.append((time.perf_counter() - began) * 1_000)
            assert answer.startswith(b"HTTP/1.1 200"), answer
        writer.close()
    return {"name": "offer_over_http", **summary(times[20:])}


def asked(ask: Ask) -> dict[str, object]:
    """Write a wish as an interface does."""
    return {
        "account": ask.account,
        "market": f"M{ask.market}",
        "side": ask.side.name.lower(),
        "mode": ask.mode.name.lower(),
        "size_e18": str(ask.size),
        "leverage_e2": ask.leverage_e2,
    }


if __name__ == "__main__":
    sys.exit(main())
