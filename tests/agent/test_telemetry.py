"""What the metrics say of each venue after a cycle."""

from __future__ import annotations

import dataclasses
import math

from prometheus_client import CollectorRegistry

from agent.cycle import CycleResult
from agent.decisions import HoldReason
from agent.judge import Judgement
from agent.posting import Posting
from agent.prices import TickResult
from agent.snapshot import Observation, marks_of
from agent.telemetry import Telemetry
from contracts.messages import RiskUpdate
from contracts.packing import MarketParameters, pack_risk_word
from contracts.units import MarketId, UnixMs
from relayer.delivery.states import Effective
from relayer.journal import CycleEntry
from relayer.market.aggregate import Mark
from relayer.market.jumps import JumpWatch
from relayer.market.values import QuoteRefusal, RefusedQuote, VenueFault
from relayer.metrics import Metrics, Vocabulary
from tests.agent.builders import NOW_MS, observation, posted, quote

VENUES = ("a", "b", "c", "d", "e")  # d fails, e is never heard of


def telemetry(registry: CollectorRegistry) -> Telemetry:
    vocabulary = Vocabulary(
        hold_reasons=tuple(HoldReason),
        refusal_reasons=(),
        signers=(),
        venues=VENUES,
        markets=("M0", "M1"),
    )
    return Telemetry(Metrics(registry, vocabulary), ("M0", "M1"))


def cycle(seen: Observation) -> CycleResult:
    entry = CycleEntry(kind="risk", started_at_ms=NOW_MS, finished_at_ms=NOW_MS, result="idle")
    judged = Judgement(judged=(), validity_s=900)
    return CycleResult(entry=entry, observation=seen, judgement=judged, postings=())


def lame() -> Observation:
    """Three venues quote; c is far off in the second market, and d cannot be asked."""
    seen = observation()
    quotes = tuple(
        quote("c", 1, price=130.0) if (each.venue, each.market) == ("c", 1) else each
        for each in seen.quotes.quotes
    )
    fault = VenueFault(venue="d", reason="unreachable", detail="no answer")
    round_ = dataclasses.replace(seen.quotes, quotes=quotes, faults=(fault,))
    return dataclasses.replace(seen, quotes=round_)


def shown(registry: CollectorRegistry, name: str) -> dict[str, float | None]:
    return {v: registry.get_sample_value(f"aml_venue_{name}_ratio", {"venue": v}) for v in VENUES}


def test_venues__before_any_cycle__are_unknown() -> None:
    registry = CollectorRegistry()
    telemetry(registry)
    for name in ("weight", "used"):
        assert all(math.isnan(value or 0.0) for value in shown(registry, name).values())


def test_venues__one_far_off_one_silent__weight_and_share_of_marks_say_so() -> None:
    registry = CollectorRegistry()
    telemetry(registry).cycle(cycle(lame()))
    # two marks: of three votes, and of two where c is excluded
    both = (333_333 + 500_000) // 2 / 1_000_000
    assert shown(registry, "weight") == {"a": both, "b": both, "c": 0.166666, "d": 0.0, "e": 0.0}
    assert shown(registry, "used") == {"a": 1.0, "b": 1.0, "c": 0.5, "d": 0.0, "e": 0.0}


def test_venues__refused_quote_lowers_the_share__and_the_next_cycle_mends_it() -> None:
    registry, seen = CollectorRegistry(), observation()
    told = telemetry(registry)
    refused = RefusedQuote(
        venue="c", market=quote("c").market, reason=QuoteRefusal.FROZEN, detail=""
    )
    kept = tuple(q for q in seen.quotes.quotes if (q.venue, q.market) != ("c", 0))
    round_ = dataclasses.replace(seen.quotes, quotes=kept, refused=(refused,))
    told.cycle(cycle(dataclasses.replace(seen, quotes=round_)))
    assert shown(registry, "used")["c"] == 0.5
    told.cycle(cycle(seen))
    assert shown(registry, "used")["c"] == 1.0
    assert shown(registry, "weight")["c"] == 0.333333


def counted(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def test_cycles_late__none__makes_no_event() -> None:
    registry = CollectorRegistry()
    telemetry(registry).cycles_late("overlapped", 0)
    assert counted(registry, "aml_scheduler_events_total", event="overlapped") == 0


def test_cycles_late__counted_by_how() -> None:
    registry = CollectorRegistry()
    told = telemetry(registry)
    told.cycles_late("missed", 1)
    told.cycles_late("overlapped", 3)
    assert counted(registry, "aml_scheduler_events_total", event="missed") == 1
    assert counted(registry, "aml_scheduler_events_total", event="overlapped") == 3


def test_lagged__falls_into_a_bucket_by_seconds() -> None:
    registry = CollectorRegistry()
    telemetry(registry).lagged(0.2)
    assert counted(registry, "aml_loop_lag_seconds_bucket", le="0.1") == 0
    assert counted(registry, "aml_loop_lag_seconds_bucket", le="0.25") == 1


def tick(marks: dict[MarketId, Mark], observed_ago_s: float = 20.0) -> TickResult:
    entry = CycleEntry(kind="price", started_at_ms=NOW_MS, finished_at_ms=NOW_MS, result="idle")
    there = posted(age_ms=round(observed_ago_s * 1_000))
    feed = dataclasses.replace(observation().limits.feed, round=7, posted=(there, None))
    return TickResult(
        entry=entry, feed=feed, marks=marks, triggers={}, postings=(), seen=JumpWatch()
    )


def of_market(registry: CollectorRegistry, name: str, market: str = "M0") -> float:
    return counted(registry, f"aml_market_{name}", market=market) or 0.0


def test_tick__market_without_a_mark__has_no_venues_and_no_dispersion() -> None:
    registry, seen = CollectorRegistry(), observation()
    told, marks = telemetry(registry), marks_of(seen)
    found = {market: mark for market, mark in marks.items() if isinstance(mark, Mark)}
    told.tick(tick(found))
    assert of_market(registry, "venues_number") == 3
    assert of_market(registry, "dispersion_ratio") >= 0
    told.tick(tick({}))
    assert of_market(registry, "venues_number") == 0
    assert math.isnan(of_market(registry, "dispersion_ratio"))


def test_tick__price_on_chain__its_age_goes_on_growing_and_one_without_is_unknown() -> None:
    registry = CollectorRegistry()
    telemetry(registry).tick(tick({}))
    first = of_market(registry, "price_age_seconds")
    assert of_market(registry, "price_age_seconds") > first >= 20.0
    assert math.isnan(of_market(registry, "price_age_seconds", "M1"))
    assert counted(registry, "aml_onchain_round", kind="price") == 7


def test_cycle__parameters_took_effect__their_age_is_of_what_was_posted() -> None:
    registry, seen = CollectorRegistry(), observation()
    values = {"cap_e2": 900, "maintenance_ppm": 60_000, "spread_ppm": 400, "ramp_s": 0}
    amounts = {"open_interest_cap_usdc": 5_000_000, "size_scale_usdc": 500_000}
    parameters = MarketParameters(market=MarketId(0), reduce_only=False, **values, **amounts)
    update = RiskUpdate(
        round=9,
        observed_at_ms=UnixMs(NOW_MS - 2_000),
        valid_until_ms=UnixMs(NOW_MS + 900_000),
        model_hash=b"\1" * 32,
        evidence_hash=b"\2" * 32,
        words=(pack_risk_word(parameters),),
    )
    effective = Effective(tx_hash=b"", block_number=1, gas_used=0, skipped=())
    posting = Posting(message=update, outcome=effective)
    told = telemetry(registry)
    told.cycle(cycle(seen))
    assert of_market(registry, "decision_age_seconds") > 10.0
    told.cycle(dataclasses.replace(cycle(seen), postings=(posting,)))
    assert 2.0 <= of_market(registry, "decision_age_seconds") < 10.0
    assert of_market(registry, "decision_age_seconds", "M1") > 10.0
    assert counted(registry, "aml_onchain_round", kind="risk") == 9


def test_cycle__venue_that_quoted__shows_how_old_its_quotes_are() -> None:
    registry = CollectorRegistry()
    telemetry(registry).cycle(cycle(lame()))
    age = {v: counted(registry, "aml_venue_quote_age_seconds", venue=v) for v in VENUES}
    assert all(0.0 <= (age[v] or 0.0) < 10.0 for v in "abc")
    assert all(math.isnan(age[v] or 0.0) for v in "de")
