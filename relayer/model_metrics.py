"""What Prometheus hears of the monitors over the models in service and in shadow."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge

from relayer.labelled import Labelled, unknown
from relayer.metrics import FORECAST_HORIZONS, MODEL_ROLES


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVocabulary:
    """The closed label values that only the agent knows."""

    monitors: tuple[str, ...]
    kinds: tuple[str, ...]


class ModelMetrics:
    """Every metric of the monitors, as attributes; gauges are NaN where there is no model."""

    def __init__(self, registry: CollectorRegistry, known: ModelVocabulary) -> None:
        self.alarms = Labelled(
            Counter(
                "aml_model_alarms",
                "Alarms of the monitors over a model",
                ("role", "monitor"),
                registry=registry,
            ),
            MODEL_ROLES,
            known.monitors,
        )
        self.evidence_ratio = unknown(
            Labelled(
                Gauge(
                    "aml_model_evidence_ratio",
                    "Evidence against a model's promises over what alarms",
                    ("role", "horizon", "kind"),
                    registry=registry,
                ),
                MODEL_ROLES,
                FORECAST_HORIZONS,
                known.kinds,
            )
        )
        self.age_seconds = _by_role(
            registry, "aml_model_age_seconds", "Since the newest bar that a model learned from"
        )
        self.drift_ratio = _by_role(
            registry,
            "aml_feature_drift_ratio",
            "Distance of the week's furthest feature from training over its level; NaN: unwatched",
        )
        self.drift_watched = _by_role(
            registry,
            "aml_feature_drift_watched",
            "Whether the model holds what drift is measured by",
        )
        self.level = _level(registry)


def _level(registry: CollectorRegistry) -> Labelled[Counter]:
    return Labelled(
        Counter(
            "aml_forecast_level_ratio",
            "Sum of realised over forecast variance of ended forecasts",
            ("role", "horizon"),
            registry=registry,
        ),
        MODEL_ROLES,
        FORECAST_HORIZONS,
    )


def _by_role(registry: CollectorRegistry, name: str, help_text: str) -> Labelled[Gauge]:
    return unknown(Labelled(Gauge(name, help_text, ("role",), registry=registry), MODEL_ROLES))
