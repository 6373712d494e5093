"""What a venue counts for is visible: its weight, and why it lacks some."""

from __future__ import annotations

from contracts.units import MarketId, UnixMs
from relayer.market.aggregate import AggregationRules, aggregate_round
from relayer.market.health import venue_health
from relayer.market.values import QuoteRefusal, QuoteRound, RefusedQuote, VenueFault
from tests.relayer.market.builders import MARKET, NOW_MS, quote

OTHER = MarketId(8)


def test_health__weights_ages_and_reasons() -> None:
    refused = RefusedQuote(venue="c", market=OTHER, reason=QuoteRefusal.CROSSED, detail="")
    taken = QuoteRound(
        quotes=(
            quote("a", 100.0, age_ms=200),
            quote("b", 100.1, age_ms=400),
            quote("c", 130.0),
            quote("a", 5.0, market=OTHER, age_ms=600),
            quote("b", 5.0, market=OTHER),
        ),
        stablecoins=(),
        refused=(refused,),
        faults=(VenueFault(venue="d", reason="unreachable", detail="no answer"),),
        taken_at_ms=UnixMs(NOW_MS),
    )
    marks = aggregate_round(taken, [MARKET, OTHER], NOW_MS, AggregationRules())
    a, b, c, d = venue_health(taken, marks, NOW_MS)
    assert a.healthy
    assert (a.quoted, a.used, a.weight_ppm, a.age_ms) == (2, 2, 500_000, 400)
    assert b.deviation_ppm == 0
    assert [each.used_ppm for each in (a, b, c, d)] == [1_000_000, 1_000_000, 0, 0]
    assert not c.healthy
    assert (c.excluded, c.used, c.weight_ppm, dict(c.refused)) == (1, 0, 0, {"crossed": 1})
    assert (d.faults, d.weight_ppm, d.age_ms) == (("unreachable",), 0, None)
