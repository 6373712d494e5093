"""What Prometheus and the log hear of the monitors over the models."""

from __future__ import annotations

import structlog

from agent.serving import Learned
from models.live import HIGH, LOSS, LOW, MARKET, MONITORS
from models.promises import SIDES
from relayer.labelled import aging
from relayer.metrics import Metrics
from relayer.model_metrics import ModelMetrics, ModelVocabulary

MS = 1_000
KINDS = (*SIDES, LOW, HIGH, LOSS, MARKET)


class ModelTelemetry:
    """Counts and logs alarms, and shows how near each test is to one."""

    def __init__(self, metrics: Metrics) -> None:
        known = ModelVocabulary(monitors=MONITORS, kinds=KINDS)
        self._metrics = ModelMetrics(metrics.registry, known)
        self._log = structlog.get_logger("aml")

    def learned(self, learned: Learned, at_ms: int) -> None:
        """Report what one cycle taught."""
        for role, endings in learned.endings.items():
            for each in endings:
                ratio = each.variance / each.promise.deviation**2
                self._metrics.level[role, str(each.promise.horizon_s)].inc(ratio)
        for role, standing in learned.standings.items():
            for (horizon, kind), share in standing.shares.items():
                self._metrics.evidence_ratio[role, horizon, kind].set(share)
            aging(self._metrics.age_seconds[role], (at_ms - standing.trained_before_ms) / MS)
            self._metrics.drift_ratio[role].set(standing.drift_ratio)
            self._metrics.drift_watched[role].set(standing.drift_watched)
            for alarm in standing.alarms:
                self._metrics.alarms[role, alarm.monitor].inc()
                self._log.error(
                    "model_alarm",
                    role=role,
                    monitor=alarm.monitor,
                    key=alarm.key,
                    detail=alarm.words,
                    next_step="judge it with `aml models evaluate`, retrain or roll back",
                )
