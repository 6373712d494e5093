"""What Prometheus hears of chances of liquidation: said, come true, and how near an alarm is."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from relayer.labelled import Labelled

CHANCE_HORIZONS = ("15m", "1h", "4h", "24h")
CHANCE_KINDS = ("low", "high")


class ChanceMetrics:
    """Every metric of the chances' calibration; labels stand at 0 from the first scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.outcomes = _counter(
            registry, "outcomes", "Chances of liquidation whose horizon has ended, looks apart"
        )
        self.predicted = _counter(
            registry, "predicted", "Liquidations that these chances add up to"
        )
        self.liquidated = _counter(registry, "liquidated", "Of these, who was liquidated")
        self.alarms = Labelled(
            Counter(
                "aml_chance_alarms",
                "Alarms that chances of liquidation do not come true",
                ("kind",),
                registry=registry,
            ),
            CHANCE_KINDS,
        )
        self.evidence_ratio = Labelled(
            Gauge(
                "aml_chance_evidence_ratio",
                "Evidence that chances of liquidation are off, over what alarms",
                ("horizon", "kind"),
                registry=registry,
            ),
            CHANCE_HORIZONS,
            CHANCE_KINDS,
        )


def _counter(registry: CollectorRegistry, name: str, text: str) -> Labelled[Counter]:
    made = Counter(f"aml_chance_{name}", text, ("horizon",), registry=registry)
    return Labelled(made, CHANCE_HORIZONS)
