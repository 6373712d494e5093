"""Facts about the metrics: names, units, closed labels, and who can reach them."""

from __future__ import annotations

import math
import urllib.request
from enum import StrEnum

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from relayer.labelled import aging
from relayer.market.counting import Counted
from relayer.market.events import Repair, StreamEvent
from relayer.market.values import QuoteRefusal
from relayer.metrics import Metrics, Vocabulary, only

VOCABULARY = Vocabulary(
    hold_reasons=("warming_up", "venues_stale"),
    refusal_reasons=("expired", "round_jump"),
    signers=("signer-0", "signer-1", "signer-2"),
    venues=("alpha", "beta"),
    markets=("BTC", "ETH"),
)
UNITS = ("_seconds", "_ratio", "_ether", "_round", "_number", "_info")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry, VOCABULARY)


def samples(registry: CollectorRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_names__prefix_and_base_units(registry: CollectorRegistry, metrics: Metrics) -> None:
    for family in registry.collect():
        assert family.name.startswith("aml_")
        if family.type == "gauge":
            assert family.name.endswith(UNITS), family.name
        if family.type == "counter":
            assert {s.name for s in family.samples if not s.name.endswith("_created")} == {
                f"{family.name}_total"
            }


def test_labels__all_stand_at_zero_before_anything_happens(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    found = samples(registry)
    assert found["aml_cycles_total", (("result", "effective"),)] == 0
    assert found["aml_venue_stream_events_total", (("event", "silent"), ("venue", "alpha"))] == 0
    assert found["aml_venue_quote_refusals_total", (("reason", "absent"), ("venue", "beta"))] == 0
    assert found["aml_deliveries_total", (("kind", "price"), ("state", "expired"))] == 0
    assert found["aml_signer_refusals_total", (("reason", "expired"), ("signer", "signer-2"))] == 0
    assert found["aml_venue_faults_total", (("reason", "unreachable"), ("venue", "beta"))] == 0
    assert all(value == 0 for (name, _), value in found.items() if name.endswith("_total"))


def test_gauges__before_anybody_looked__are_no_number(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    known = {"aml_loop_stuck_number", "aml_build_info", "aml_model_info", "aml_config_info"}
    gauges = {family.name for family in registry.collect() if family.type == "gauge"} - known
    values = {key: value for key, value in samples(registry).items() if key[0] in gauges}
    assert {name for name, _ in values} == gauges
    assert [key for key, value in values.items() if not math.isnan(value)] == []


def test_age__grows_by_itself__until_it_is_said_anew(metrics: Metrics) -> None:
    gauge = metrics.markets.price_age_seconds["BTC"]

    def shown() -> float:
        return next(iter(gauge.collect())).samples[0].value

    aging(gauge, 30.0)
    first = shown()
    assert shown() > first >= 30.0
    aging(gauge, 1.0)
    assert shown() < 30.0


def test_label__not_in_the_closed_set__is_an_error_not_a_series(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    before = set(samples(registry))
    with pytest.raises(KeyError):
        metrics.holds["because"].inc()
    assert set(samples(registry)) == before


def test_histograms__none_has_labels(registry: CollectorRegistry, metrics: Metrics) -> None:
    # 200 labelled histograms cost 36 ms of every scrape.
    histograms = [family for family in registry.collect() if family.type == "histogram"]
    assert [family.name for family in histograms] == [
        "aml_decision_latency_seconds",
        "aml_loop_lag_seconds",
    ]
    for histogram in histograms:
        assert {label for s in histogram.samples for label in s.labels} == {"le"}


def test_increment__shows_in_the_scrape(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.deliveries["risk", "effective"].inc()
    metrics.describe_model({"model_hash": "ab" * 32, "feature_version": "1"})
    found = samples(registry)
    assert found["aml_deliveries_total", (("kind", "risk"), ("state", "effective"))] == 1
    assert found["aml_model_info", (("feature_version", "1"), ("model_hash", "ab" * 32))] == 1


@pytest.mark.loopback
def test_serve__on_this_machine_only__and_closes(metrics: Metrics) -> None:
    server = metrics.serve(0)
    assert server.address == "127.0.0.1"
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
        assert b"aml_cycles_total" in answer.read()
    server.close()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5)


def test_counted__market_events__by_venue_and_reason(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    events = Counted(metrics)
    events.stream("alpha", StreamEvent.SILENT)
    events.repaired("alpha", Repair.TRADE_OUT_OF_ORDER)
    events.refused("beta", QuoteRefusal.CROSSED)
    found = samples(registry)
    assert found["aml_venue_stream_events_total", (("event", "silent"), ("venue", "alpha"))] == 1
    assert found["aml_venue_quote_refusals_total", (("reason", "crossed"), ("venue", "beta"))] == 1
    repaired = (("reason", "trade_out_of_order"), ("venue", "alpha"))
    assert found["aml_market_data_repairs_total", repaired] == 1


@pytest.mark.parametrize("closed", [StreamEvent, Repair, QuoteRefusal])
def test_labels__closed_sets__every_member_has_a_series(
    closed: type[StrEnum], registry: CollectorRegistry, metrics: Metrics
) -> None:
    values = {value for _, labels in samples(registry) for _, value in labels}
    assert {member.value for member in closed} <= values


def test_only__families_that_are_named__are_shown_alone() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, VOCABULARY)
    metrics.cycles["effective"].inc()
    shown = {family.name for family in only(registry, ("aml_cycles",)).collect()}
    assert shown == {"aml_cycles"}
