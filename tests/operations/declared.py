"""Every metric that the code declares, in one registry."""

from __future__ import annotations

from dataclasses import fields

from prometheus_client import CollectorRegistry, ProcessCollector

from relayer.chain.standing import EndpointMetrics
from relayer.chance_metrics import ChanceMetrics
from relayer.delivery.runway import RunwayMetrics
from relayer.handover.asking import HandoverMetrics
from relayer.impact_metrics import ImpactMetrics, ImpactVocabulary
from relayer.lease import LeaseMetrics
from relayer.metrics import Metrics, Vocabulary
from relayer.model_metrics import ModelMetrics, ModelVocabulary
from relayer.position_metrics import PositionMetrics, PositionVocabulary
from relayer.watcher import WatcherMetrics


def registry() -> CollectorRegistry:
    """Declare what each process of ours does, with one value for each label."""
    made = CollectorRegistry()
    metrics = Metrics(made, Vocabulary(**one_each(Vocabulary)))
    metrics.describe_build({"version": "1", "sources": "2"})
    metrics.describe_model({"hash": "3"})
    metrics.describe_config({"network": "4", "settings": "5"})
    PositionMetrics(made, PositionVocabulary(**one_each(PositionVocabulary)))
    ModelMetrics(made, ModelVocabulary(**one_each(ModelVocabulary)))
    ImpactMetrics(made, ImpactVocabulary(**one_each(ImpactVocabulary)))
    ChanceMetrics(made)
    LeaseMetrics(made)
    RunwayMetrics(made)
    EndpointMetrics(made, ["1"])
    HandoverMetrics(made)
    WatcherMetrics(made, ("x",), lambda: 0.0)
    ProcessCollector(registry=made)
    return made


def one_each(vocabulary: type) -> dict[str, tuple[str, ...]]:
    """Give every closed label one value."""
    return {field.name: ("x",) for field in fields(vocabulary)}
