"""What the metrics say of each venue after a cycle."""

from __future__ import annotations

import dataclasses

from prometheus_client import CollectorRegistry

from agent.cycle import CycleResult
from agent.decisions import HoldReason
from agent.judge import Judgement
from agent.snapshot import Observation
from agent.telemetry import Telemetry
from relayer.journal import CycleEntry
from relayer.market.values import QuoteRefusal, RefusedQuote, VenueFault
from relayer.metrics import Metrics, Vocabulary
from tests.agent.builders import NOW_MS, observation, quote

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


def test_venues__before_any_cycle__stand_at_zero() -> None:
    registry = CollectorRegistry()
    telemetry(registry)
    for name in ("weight", "used"):
        assert shown(registry, name) == dict.fromkeys(VENUES, 0.0)


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
