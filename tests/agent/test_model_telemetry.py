"""What is heard of the monitors over the models: every label from the start, each alarm counted."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from agent.model_telemetry import ModelTelemetry
from agent.serving import Learned, Standing
from models.live import Raised
from models.promises import Ending, Promise
from models.scorer import HorizonTail
from relayer.metrics import Metrics, Vocabulary

KNOWN = Vocabulary(hold_reasons=(), refusal_reasons=(), signers=(), venues=(), markets=())


def told(registry: CollectorRegistry, learned: Learned | None) -> None:
    telemetry = ModelTelemetry(Metrics(registry, KNOWN))
    if learned is not None:
        telemetry.learned(learned, 90_000)


def test_model_alarms__before_any__stand_at_zero_and_the_rest_is_unknown() -> None:
    registry = CollectorRegistry()
    told(registry, None)
    for monitor in ("breaches", "market", "level", "drift"):
        labels = {"role": "challenger", "monitor": monitor}
        assert registry.get_sample_value("aml_model_alarms_total", labels) == 0.0
    labels = {"role": "champion", "horizon": "900", "kind": "loss"}
    assert math.isnan(registry.get_sample_value("aml_model_evidence_ratio", labels) or 0.0)
    for name in ("aml_model_age_seconds", "aml_feature_drift_ratio"):
        assert math.isnan(registry.get_sample_value(name, {"role": "challenger"}) or 0.0)


def test_learned__alarm__is_counted_and_logged_with_what_to_do() -> None:
    registry = CollectorRegistry()
    tail = HorizonTail(horizon_s=900, long_990=0.05, long_995=0.06, short_990=0.05, short_995=0.06)
    promise = Promise(market=0, from_ms=0, deviation=0.01, tail=tail)
    standing = Standing(
        alarms=(Raised(monitor="market", key="900/long/000000", words="over 15 min in market 0"),),
        shares={("900", "long"): 0.25},
        drift_ratio=0.5,
        drift_watched=True,
        trained_before_ms=30_000,
    )
    learned = Learned(
        endings={"champion": (Ending(promise=promise, variance=2e-4, fall=0.0, rise=0.0),)},
        standings={"champion": standing},
    )
    with capture_logs() as lines:
        told(registry, learned)
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("model_alarm", "error")
    assert "retrain or roll back" in line["next_step"]
    role = {"role": "champion"}
    value = registry.get_sample_value
    assert value("aml_model_alarms_total", role | {"monitor": "market"}) == 1.0
    evidence = role | {"horizon": "900", "kind": "long"}
    assert value("aml_model_evidence_ratio", evidence) == 0.25
    assert value("aml_feature_drift_ratio", role) == 0.5
    assert value("aml_feature_drift_watched", role) == 1.0
    assert (value("aml_model_age_seconds", role) or 0.0) >= 60.0
    assert value("aml_forecast_level_ratio_total", role | {"horizon": "900"}) == 2.0
