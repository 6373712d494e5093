"""A ground to ask for terms on: the book model's own readings, and a judgement of its markets."""

from __future__ import annotations

from dataclasses import replace

from agent.quoting.assessment import Assessment, MarketAssessment
from agent.quoting.offer import Footing
from agent.quoting.trial import Ask
from contracts.book import Book
from contracts.book_readings import Readings
from contracts.messages import Adjustment, MarginMode, Side
from models.accounts import AccountScore
from tests.agent.builders import scores
from tests.contracts.books import MARKETS, START_S, opened_book, readings
from tests.contracts.margins import e18

NOW_MS = START_S * 1_000
TRADER = f"0x{0xA1:040x}"
CALM = AccountScore(account=0, risk=0.05, multiplier=1.0, has_history=True)
SYMBOLS = dict(zip(MARKETS, ("BTC", "ETH", "SOL"), strict=True))


def assessment(as_of_ms: int = NOW_MS, **changes) -> Assessment:
    """Every market judged, with the same scores."""
    judged = {
        market: replace(
            MarketAssessment(
                market=market, scores=scores(market), reasons=("cap 25.00x is set by the tail",)
            ),
            **changes,
        )
        for market in MARKETS
    }
    return Assessment(as_of_ms=as_of_ms, markets=judged)


def ground(book: Book | None = None, seen: Readings | None = None, **changes) -> Footing:
    plain = {
        "book": opened_book() if book is None else book,
        "readings": readings() if seen is None else seen,
        "symbols": SYMBOLS,
        "assessment": assessment(),
        "now_ms": NOW_MS,
        "model_hash": b"\x01" * 32,
        "score": CALM,
    }
    return Footing(**plain | changes)


def ask(**changes) -> Ask:
    plain = {
        "account": TRADER,
        "market": 0,
        "side": Side.LONG,
        "mode": MarginMode.ISOLATED,
        "adjustment": Adjustment.MANAGED,
        "size": e18(100),
        "leverage_e2": 500,
    }
    return Ask(**plain | changes)
